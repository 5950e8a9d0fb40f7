//! A command that cannot be said on the target.

use bytes::Bytes;

use crate::{keyspace::Escaped, sink::Loss};

/// The target cannot do what a command of the source did, and the policy is to stop then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target} cannot hold {loss}, which {command} {} needs", Escaped(.key))]
pub struct Untranslatable {
    /// The name of the command, upper case.
    pub command: String,
    /// Its first key, or the channel; empty when it has none.
    pub key: Bytes,
    /// What would be lost.
    pub loss: Loss,
    /// The target, e.g. `Redis 6.0.16`.
    pub target: String,
}
