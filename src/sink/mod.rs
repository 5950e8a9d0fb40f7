//! Writing to the target.
//!
//! Nothing here knows where a command came from, the snapshot or the stream.
//!
//! - [`Admin`] finds out what the target is ([`Target`]) and does the administrative work.
//! - [`ValueWriter`] turns keys and values into batches, [`TransactionBuilder`] commands into
//!   transactions; [`Translator`] says what a command becomes on this target.
//! - [`Lane`] is a connection: it sends batches, matches every reply to its command, waits out
//!   passing refusals and stops at the others.
//! - [`Hold`] keeps keys from expiring while the target is behind, [`Release`] ends that.

mod admin;
mod batch;
mod checkpoint;
mod claim;
mod connect;
mod error;
mod fallback;
mod gather;
mod hold;
mod import;
mod inspection;
mod judge;
mod lane;
mod line;
mod loss_log;
mod loss_names;
mod lossy;
mod mset;
mod outbox;
mod policy;
mod release;
mod repeats;
mod staging;
mod target;
mod throttle;
mod transaction;
mod value;
mod window;

pub mod rebuild;
pub mod translate;

pub use crate::keyspace::Loss;
pub use admin::Admin;
pub use batch::{Batch, Named};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointPhase};
pub use claim::{Claim, Listed, WritingConnection};
pub use error::{Error, ErrorKind};
pub use hold::{Hold, HoldExpiries};
pub use import::ImportMode;
pub use lane::{Confirmed, Lane, LaneConfig, LaneEnded, LaneEvent, Marks};
pub use loss_log::LossLog;
pub use loss_names::LossNames;
pub use lossy::Lossy;
pub use policy::{Conflict, Expired, MadeBy, OnLossy, Publish};
pub use release::{Due, Release, ReleaseStep};
pub use target::{Flavor, MODULE_BYTES_MAX, OLDEST, Target};
pub use throttle::{BatchMax, Bucket, INFLIGHT_BYTES_MAX, Throttle};
pub use transaction::TransactionBuilder;
pub use translate::Translator;
pub use value::{LeftOut, ValueConfig, ValueWriter};
pub use window::Window;
