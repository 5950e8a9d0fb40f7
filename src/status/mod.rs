//! Shows from outside what a migration is doing: over HTTP, as metrics, to systemd.
//!
//! ```text
//!  Progress ──► Watched ──► Status (JSON)      GET /status      ┐
//!               │  Readiness, a pure machine                    ├─ Server ◄── bearer token
//!               └─► keyferry_ready             GET /metrics     ┘
//!               └─► systemd: READY=1, STATUS=, WATCHDOG=1
//! ```
//!
//! It only looks: nothing here changes a migration, and a migration goes on when nobody can be
//! shown anything. What is shown is a contract: `docs/status.md`.

mod limits;
mod listener;
mod ready;
mod recorder;
mod report;
mod server;
mod systemd;
mod watched;

pub use ready::{Obstacle, Readiness, SourceOffset, Standing, Verdict};
pub use report::{Counts, ServerReport, Spool, Status, Window, rfc3339, to_json};
pub use server::{Board, Server};
pub use systemd::{Service, State};
pub use watched::Watched;
