//! The source's clock, as far as it can be known here.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::keyspace::UnixMs;

/// Tells the source's time: relative expiries of old servers and expired keys are judged by it,
/// because the expiries themselves are.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceClock {
    /// How far the source's clock is ahead of ours.
    ahead_ms: i64,
}

impl SourceClock {
    /// Sets the clock by a reading of the source's; by ours where there is none.
    pub(super) fn new(source_ms: Option<UnixMs>) -> SourceClock {
        let ahead_ms = source_ms.map_or(0, |source_ms| source_ms.saturating_sub(our_ms()));
        SourceClock { ahead_ms }
    }

    /// The source's time.
    pub(super) fn now_ms(self) -> UnixMs {
        our_ms().saturating_add(self.ahead_ms)
    }
}

fn our_ms() -> UnixMs {
    // A clock before 1970 is a broken clock; everything is expired then or nothing is.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as UnixMs)
}
