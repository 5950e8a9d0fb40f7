//! The tests that need real servers, as one binary.
//!
//! `make servers` brings the servers; a mandatory one that is missing fails the test that wants
//! it, an optional one is skipped by its name. Every server has its own port and directory, and
//! its log is shown when the test fails.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: a broken expectation fails the test, and stderr is its log"
)]

#[macro_use]
mod support;

mod analyze;
mod away;
mod backup;
mod channel;
mod conflicts;
mod cost;
mod daemon;
mod damaged;
mod expiry;
mod faults;
mod frozen;
mod harness;
mod link;
mod matrix;
mod rdb_files;
mod restore;
mod restore_commands;
mod restored;
mod resume;
mod spooled;
mod status;
mod sync;
mod throttle;
mod verify;
