//! RESP: commands and replies, as bytes and back.
//!
//! No sockets, clocks or tasks; nothing is reserved by a length that was not checked.
#![deny(clippy::indexing_slicing)]

mod command;

pub use command::Command;
