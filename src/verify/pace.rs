//! How fast keys may be read.

use std::time::Duration;

use tokio::time::Instant;

/// Spends keys and bytes at rates that have an upper bound.
///
/// What was spent is paid for by waiting, so a single page may be larger than a second allows.
#[derive(Debug)]
pub(super) struct Pace {
    keys_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
    bytes_seen: u64,
    free_at: Instant,
}

impl Pace {
    /// Rates of so much a second at the most; `None` is any.
    pub(super) fn new(keys_per_second: Option<u64>, bytes_per_second: Option<u64>) -> Pace {
        Pace {
            keys_per_second,
            bytes_per_second,
            bytes_seen: 0,
            free_at: Instant::now(),
        }
    }

    /// When more may be spent.
    pub(super) fn free_at(&self) -> Instant {
        self.free_at
    }

    /// Spends keys.
    pub(super) fn keys(&mut self, keys: usize) {
        self.spend(keys as u64, self.keys_per_second);
    }

    /// Spends bytes, told as how many there were in all.
    pub(super) fn bytes(&mut self, total: u64) {
        let bytes = total.saturating_sub(self.bytes_seen);
        self.bytes_seen = total;
        self.spend(bytes, self.bytes_per_second);
    }

    fn spend(&mut self, amount: u64, per_second: Option<u64>) {
        if let Some(per_second) = per_second {
            let took = Duration::from_secs_f64(amount as f64 / per_second.max(1) as f64);
            self.free_at = self.free_at.max(Instant::now()) + took;
        }
    }
}
