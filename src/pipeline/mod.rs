//! Joins being a replica of the source, or reading an RDB file, to writing to the target.
//!
//! ```text
//!  file ──► dump::Reader ─────┐
//!                             ▼
//!  link ──► spool ──► parser ─► snapshot ──► lanes ──► target
//!   ▲  memory, disk       │ then      bounded windows
//!   │                     ▼
//!   └─ ACK applied ◄── follow: one transaction after the other, each with its checkpoint
//! ```
//!
//! It orders, bounds and counts; formats belong to `rdb` and `resp`, decisions about keys to
//! `sink`. Nothing is acknowledged to the source before the target has confirmed it.

mod checkpoint_file;
mod clock;
mod consent;
mod error;
mod follow;
mod join;
mod keeper;
mod key_copy;
mod lag;
mod lanes;
mod link_snapshot;
mod names;
mod offset_watch;
mod progress;
mod publish;
mod restore;
mod run;
mod skipped;
mod snapshot;
mod source;
mod source_side;
mod stop;
mod summary;
mod target;
mod workdir;
mod written;

/// Where the limits of a migration are, which may be changed while it runs.
pub use crate::sink::{Throttle, Window};
pub use crate::telemetry::Counter;
pub use consent::Consent;
pub use error::{Error, Side};
pub use join::link_config;
pub use key_copy::KeyCopy;
pub use lag::Lag;
pub use progress::{Awaited, OffsetGauge, Phase, Progress, Sample, Servers, SkipReason};
pub use restore::{Restoration, restore};
pub use run::run;
pub use stop::{StopSignal, Stopper, stop_signal};
pub use summary::{RESTORE, Route, Summary, SummaryError, SummaryResult};

/// How a migration that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It went as far as it was asked to go.
    Complete,
    /// It was stopped, and all that was read is on the target.
    Stopped,
}

/// What is left to tell when a migration is over.
#[derive(Debug)]
pub struct Outcome {
    /// The replication id of the source, if it came to that.
    pub replid: Option<String>,
    /// The offset the snapshot was taken at.
    pub snapshot_offset: Option<u64>,
    /// How it ended.
    pub result: Result<Ended, Error>,
}
