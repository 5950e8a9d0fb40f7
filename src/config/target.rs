//! A target and how it is written to, wherever the data comes from.

use std::time::Duration;

use crate::{
    net::Node,
    sink::{Conflict, OnLossy, Throttle},
};

/// How a target is reached and written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetConfig {
    /// The server that is written.
    pub node: Node,
    /// What to do with keys that exist on the target; `None` refuses a target that has any.
    pub on_conflict: Option<Conflict>,
    /// Empties the target first.
    pub flush: bool,
    /// Emptying it was agreed to beforehand.
    pub yes: bool,
    /// What to do with what the target cannot hold.
    pub on_lossy: OnLossy,
    /// Puts a target that has it into import mode while the stream is followed.
    pub import_mode: bool,
    /// Connections that write the snapshot.
    pub lanes: usize,
    /// The longest value that is written by one RESTORE, in bytes.
    pub restore_bytes_max: usize,
    /// What it is spared.
    pub throttle: Throttle,
    /// How long transient errors of the target are waited out.
    pub retry_for: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long it may leave commands unanswered.
    pub silence_max: Duration,
}

impl TargetConfig {
    /// The conflict policy that keys are written with; on a target that was empty there is
    /// nothing to be in conflict with.
    pub fn conflict(&self) -> Conflict {
        self.on_conflict.unwrap_or(Conflict::Replace)
    }
}
