//! Proves that two servers hold the same, or names every difference.
//!
//! ```text
//!  source ──SCAN──► pages ──► lanes: both sides read each key ──► equal ─► counted
//!                                                             └─► suspects
//!  target ──SCAN──► pages ──► lanes: does the source have it? ──► suspects
//!                                                                   │ read again, in rounds
//!                        report, summary ◄── differences, undecided ┘
//! ```
//!
//! Keys are read by ordinary commands, so what is compared is what clients would see. Values whose
//! bytes differ are decoded and compared by content: encodings, and orders that mean nothing, are no
//! differences. A difference counts only when it is still there after every round, and the source
//! did not change the key meanwhile.
//!
//! Nothing here writes to a server; `repair` does.

mod abilities;
mod compare;
mod difference;
mod error;
mod examiner;
mod fetch;
mod large;
mod ledger;
mod libraries;
mod own_keys;
mod pace;
mod pages;
mod peer;
mod plan;
mod prefix;
mod probe;
mod progress;
mod reading;
mod recheck;
pub mod report;
mod run;
mod seen;
mod server;
mod snapshot;
mod summary;
mod sync_status;
mod walk;

pub use difference::{Difference, First, Held, Kind, Place, Reason, SHOWN_BYTES_MAX, Undecided};
pub use error::{Error, ErrorKind, Side};
pub use examiner::Examiner;
pub use fetch::Fetched;
pub use ledger::Differing;
pub use pages::ValueError;
pub use peer::PeerConfig;
pub use plan::{Depth, Method, ReportConfig, Verification};
pub use prefix::Prefixes;
pub use progress::{Phase, Progress};
pub use reading::Examined;
pub use recheck::Settled;
pub use run::{Outcome, verify};
pub use summary::{Counts, RepairSummary, Summary, UndecidedCounts, Verdict};
pub use sync_status::SyncStatus;
