//! The words every room shares: databases, slots, keys as they are shown to people, stream ids,
//! times, what a server cannot hold.
//!
//! Nothing here knows a wire format, a file or a socket.

mod escaped;
mod loss;
mod slot;
mod stream_id;

pub use escaped::Escaped;
pub use loss::Loss;
pub use slot::Slot;
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

/// The time that a server's TIME answers, in whole milliseconds; what lies beyond is the last one.
pub fn unix_ms(seconds: i64, micros: i64) -> UnixMs {
    seconds.saturating_mul(1000).saturating_add(micros / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_milliseconds_and_never_overflow() {
        for (seconds, micros, ms) in [
            (0, 999, 0),
            (1_700_000_000, 123_999, 1_700_000_000_123),
            (i64::MAX, 0, i64::MAX),
            (i64::MAX / 1000, i64::MAX, i64::MAX),
        ] {
            assert_eq!(unix_ms(seconds, micros), ms, "{seconds} {micros}");
        }
    }
}
