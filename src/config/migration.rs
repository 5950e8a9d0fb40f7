//! One migration: from where, to where, and how.

use std::time::Duration;

use crate::{
    net::Node,
    sink::{Conflict, OnLossy, Publish},
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
    pub source: Node,
    /// The server that is written.
    pub target: Node,
    /// How far it goes.
    pub mode: Mode,
    /// Ends by itself once the target has caught up.
    pub until_caught_up: bool,
    /// What to do with keys that exist on the target; `None` refuses a target that has any.
    pub on_conflict: Option<Conflict>,
    /// Empties the target first.
    pub flush_target: bool,
    /// What to do with what the target cannot hold.
    pub on_lossy: OnLossy,
    /// What to do with PUBLISH.
    pub publish: Publish,
    /// Connections that write the snapshot.
    pub lanes: usize,
    /// The longest value that is written by one RESTORE, in bytes.
    pub restore_bytes_max: usize,
    /// Bytes received from the source and not parsed yet, at the most.
    pub queue_bytes_max: usize,
    /// Bytes sent to the target and not confirmed yet, at the most, per lane.
    pub window_bytes_max: usize,
    /// How long transient errors of the target are waited out.
    pub retry_for: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long the source may be silent.
    pub source_timeout: Duration,
    /// The address the source shows for us (`REPLCONF ip-address`).
    pub announce_ip: Option<String>,
    /// The port the source shows for us (`REPLCONF listening-port`).
    pub announce_port: u16,
}
