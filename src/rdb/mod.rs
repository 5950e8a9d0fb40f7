//! The RDB format: bytes in, typed events out.
//!
//! No sockets, clocks, files or tasks; nothing is reserved by a length that was not checked.
#![deny(clippy::indexing_slicing)]

mod event;

pub use event::{
    Altitude, Checksum, Element, Event, Header, Key, Part, StreamConsumer, StreamGroup, StreamMeta,
    StreamPending, ValueType,
};
