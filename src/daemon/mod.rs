//! Runs the migrations that a file declares until it is stopped.
//!
//! ```text
//!  file ──► Declared ──► Fleet: one slot a name      SIGHUP: the file is read again
//!                         │  start, stop, settle
//!                         ▼
//!                        Supervised: runs one migration again and again
//!                         │  Job: starting ─ running ─ waiting to retry ─ finished | failed
//!                         ▼
//!                        pipeline::run
//! ```
//!
//! What becomes of a migration is decided by [`Job`], a pure machine; the rest owns, starts, stops
//! and shows. How a run begins, from a snapshot or from where the last one ended, is the
//! pipeline's matter. Migrations do not touch each other: one that fails holds up nobody.

mod board;
mod fleet;
mod job;
mod supervise;

pub use board::{DaemonStatus, JobStatus};
pub use fleet::{Daemon, Drained};
pub use job::{Action, Backoff, Ending, Event, Job, JobState};
