//! What could not be said on a target, and of which key.

use std::fmt;

use bytes::Bytes;

use crate::keyspace::{Escaped, Loss};

/// One thing that could not be said on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lossy {
    /// What is left out.
    pub loss: Loss,
    /// The key it belongs to; empty where it belongs to none.
    pub key: Bytes,
}

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.loss, Escaped(&self.key))
    }
}
