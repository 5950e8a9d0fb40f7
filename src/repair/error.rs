//! What ends a repair.

use crate::{pipeline, verify};

/// Either half of a repair fails: reading, or writing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is read, or the report.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// What is written.
    #[error(transparent)]
    Write(#[from] pipeline::Error),
}
