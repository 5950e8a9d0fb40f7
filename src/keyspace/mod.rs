//! The words every room shares: databases, keys as they are shown to people, stream ids, times.
//!
//! Nothing here knows a wire format, a file or a socket.

mod escaped;
mod stream_id;

pub use escaped::Escaped;
pub use stream_id::StreamId;

/// The number of a logical database, as `SELECT` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Db(pub u32);

impl std::fmt::Display for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time: milliseconds since 1970-01-01 UTC. Negative values are times before that.
pub type UnixMs = i64;
