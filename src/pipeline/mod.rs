//! Joins being a replica of the source to writing to the target.

mod consent;
mod lag;
mod progress;
mod stop;
mod summary;

use std::sync::Arc;

pub use consent::Consent;
pub use lag::Lag;
pub use progress::{Counter, KeyType, OffsetGauge, Phase, Progress, Sample, SkipReason};
pub use stop::{StopSignal, Stopper, stop_signal};
pub use summary::{Summary, SummaryError, SummaryResult};

use crate::config::Migration;

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The source failed, or the connection to it.
    Source,
    /// The target failed, or the connection to it.
    Target,
    /// A resource of this machine failed.
    Local,
    /// What was asked for cannot be done.
    Usage,
}

/// Why a migration failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    side: Side,
    what: String,
    why: String,
    next: String,
}

impl Error {
    /// Makes an error of its texts, none of which may hold a secret or a value.
    pub fn new(
        side: Side,
        what: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Error {
        Error {
            side,
            what: what.into(),
            why: why.into(),
            next: next.into(),
        }
    }

    /// The flush was declined.
    pub fn flush_declined() -> Error {
        Error::new(
            Side::Usage,
            "the target was not flushed",
            "the question was answered with no",
            "rerun without --flush-target, with --on-conflict if the target keeps its keys",
        )
    }

    /// Whose failure it is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Why it failed; may be empty.
    pub fn why(&self) -> String {
        self.why.clone()
    }

    /// What to do next.
    pub fn next(&self) -> String {
        self.next.clone()
    }
}

/// How a migration that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It went as far as it was asked to go.
    Complete,
    /// It was stopped, and all that was read is on the target.
    Stopped,
}

/// What is left to tell when a migration is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The replication id of the source, if it came to that.
    pub replid: Option<String>,
    /// The offset the snapshot was taken at.
    pub snapshot_offset: Option<u64>,
    /// How it ended.
    pub result: Result<Ended, Error>,
}

/// Runs a migration to its end.
///
/// `consent` is asked before the target is emptied. `stop` ends the run gracefully.
pub async fn run(
    migration: &Migration,
    progress: Arc<Progress>,
    stop: StopSignal,
    consent: Consent,
) -> Outcome {
    let _ = (migration, progress, stop, consent);
    Outcome {
        replid: None,
        snapshot_offset: None,
        result: Err(Error::new(
            Side::Local,
            "not connected yet",
            "the pipeline is not part of this build",
            "use a build that has it",
        )),
    }
}
