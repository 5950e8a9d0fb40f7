//! RESP: commands and replies, as bytes and back.
//!
//! [`CommandDecoder`] reads the replication stream, [`ReplyDecoder`] the target's pipelined
//! replies, [`ReplyError`] says what an error reply means and what may be done about it,
//! [`Info`] looks things up in an INFO reply. Both decoders are pushed: bytes in, finished things
//! out, and any cut of the input gives the same result, or the same error at the same offset.
//!
//! No sockets, clocks or tasks; nothing is reserved by a length that was not checked. RESP2 only:
//! we never send `HELLO 3`, and a replica is never spoken to in RESP3.
//!
//! The format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>, and networking.c
//! `processMultibulkBuffer` for what servers themselves accept.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod command;
mod decode;
mod encode;
mod error;
mod info;
mod input;
mod limits;
mod reply;
mod reply_error;

pub use command::Command;
pub use decode::{CommandDecoder, Decoded};
pub use encode::{Encoder, LINK_BYTES_MIN, put_arg};
pub use error::{Error, ErrorKind};
pub use info::Info;
pub use limits::Limits;
pub use reply::{Reply, ReplyDecoder};
pub use reply_error::{ReplyError, ReplyErrorKind, Retry};
