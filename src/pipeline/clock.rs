//! The clock of a server, as far as it can be known here.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::keyspace::UnixMs;

/// Tells a server's time.
///
/// While a source is followed it is the source's: relative expiries of old servers and expired
/// keys are judged by it, because the expiries themselves are. A file has no clock, so what has
/// expired in it is judged by the target's, as a server does that loads its own file.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerClock {
    /// How far the server's clock is ahead of ours.
    ahead_ms: i64,
}

impl ServerClock {
    /// Sets the clock by a reading of the server's; by ours where there is none.
    pub(super) fn new(server_ms: Option<UnixMs>) -> ServerClock {
        let ahead_ms = server_ms.map_or(0, |server_ms| server_ms.saturating_sub(our_ms()));
        ServerClock { ahead_ms }
    }

    /// The server's time.
    pub(super) fn now_ms(self) -> UnixMs {
        our_ms().saturating_add(self.ahead_ms)
    }
}

fn our_ms() -> UnixMs {
    // A clock before 1970 is a broken clock; everything is expired then or nothing is.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as UnixMs)
}
