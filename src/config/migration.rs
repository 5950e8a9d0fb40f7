//! One migration: from where, to where, and how far.

use std::time::Duration;

use super::{SourceConfig, TargetConfig};
use crate::sink::Publish;

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
    /// Bytes received from the source and not parsed yet, at the most.
    pub queue_bytes_max: usize,
}

/// How a migration is shown to those who look at its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Showing {
    /// What it is called.
    pub name: Option<String>,
    /// How long the target must have kept up before it is ready.
    pub ready_hold: Duration,
}
