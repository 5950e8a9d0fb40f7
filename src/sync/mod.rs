//! Being a replica of the source.
//!
//! Pure files, in the order a connection goes through them: [`Handshake`] (AUTH, REPLCONF, PSYNC),
//! [`Transfer`] and [`SnapshotEnd`] (how the snapshot is framed), [`StreamDecoder`] (commands,
//! databases, transactions, offsets), [`AckSchedule`] (when to acknowledge). They neither read,
//! write nor sleep; time is an argument. [`Link`] is the edge that drives the handshake over a
//! connection and then hands out a reader and a writer.
//!
//! ```text
//! Link::open ── Handshake ──> Start::FullResync ─> LinkReader ─> Transfer ─> (RDB parser)
//!                                                                   │            │
//!                             Start::Continue ──────────────┐   SnapshotEnd <────┘
//!                                                           v       v
//!                          LinkWriter <── AckSchedule <── StreamDecoder ──> commands
//! ```
//!
//! Nothing here knows that a target exists, or looks into the snapshot.
//!
//! The protocol: replication.c `syncWithMaster` (the replica's side) and `syncCommand` (the
//! source's), measured on Redis 2.8 to 8.6 and Valkey 7.2 to 9.1.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod ack;
mod backlog;
mod error;
mod handshake;
mod link;
mod position;
mod side;
mod stream;
mod transfer;

pub use ack::AckSchedule;
pub use backlog::{Backlog, Gap};
pub use error::{Error, ErrorKind, Recovery};
pub use handshake::{
    Channel, ChannelHandshake, ChannelStart, ChannelStep, Handshake, HandshakeConfig,
    HandshakeStep, Identity, SnapshotChannel, SnapshotOptions, Start,
};
pub use link::{Link, LinkConfig, LinkParts, LinkReader, LinkWriter, Notice};
pub use position::{Position, ReplOffset, Replid, ReplidError};
pub use side::{Side, SideError};
pub use stream::{Resumable, StreamDecoder, StreamItem};
pub use transfer::{Framing, SnapshotCut, SnapshotEnd, Transfer, TransferStep};
