//! One migration: from where, to where, and how far.

use std::{path::PathBuf, time::Duration};

use super::{SourceConfig, TargetConfig};
use crate::{
    sink::{HoldExpiries, Publish},
    sync::SnapshotChannel,
};

/// How far a migration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The snapshot only; ends by itself.
    Full,
    /// The snapshot, then the stream until stopped.
    FullIncremental,
}

/// A migration from one server to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The server that is read.
    pub source: SourceConfig,
    /// The server that is written.
    pub target: TargetConfig,
    /// How far it goes.
    pub mode: Mode,
    /// Ends by itself once the target has caught up.
    pub until_caught_up: bool,
    /// What to do with PUBLISH.
    pub publish: Publish,
    /// Which expiries are held while the stream is followed.
    pub hold_expiries: HoldExpiries,
    /// What the migration is called: its checkpoint and its directory.
    pub name: String,
    /// Whether the snapshot comes over a connection of its own.
    pub snapshot_channel: SnapshotChannel,
    /// Where bytes wait that were received and are not applied.
    pub spool: SpoolConfig,
    /// Where it is kept how far the stream is applied.
    pub checkpoint: CheckpointPlace,
    /// Empties the target and begins anew when the stream cannot be continued.
    pub allow_full_resync: bool,
    /// How long a stop waits until what was received is applied.
    pub drain_timeout: Duration,
}

/// Where it is kept how far the stream is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPlace {
    /// On the target, with the data: every command is applied exactly once.
    Target,
    /// In a file: after a crash commands may be applied twice.
    File,
}

/// Where bytes wait that were received and are not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// In memory up to this size.
    pub memory_bytes_max: usize,
    /// On disk up to this size.
    pub disk_bytes_max: u64,
    /// The directory given for what is kept on disk.
    pub dir: Option<PathBuf>,
}

/// How a migration is shown to those who look at its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Showing {
    /// What it is called.
    pub name: Option<String>,
    /// How long the target must have kept up before it is ready.
    pub ready_hold: Duration,
}
