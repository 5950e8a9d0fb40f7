//! One file for each verb.

pub(super) mod checkpoint;
pub(super) mod completions;
pub(super) mod config;
pub(super) mod daemon;
pub(super) mod rdb;
pub(super) mod sync;
pub(super) mod verify;
