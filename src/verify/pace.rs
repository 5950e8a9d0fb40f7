//! How fast keys may be read.

use std::{num::NonZeroU64, time::Instant};

use crate::sink::Bucket;

/// Spends keys and bytes at rates that have an upper bound. A page may be larger than what is
/// allowed at once: the next one has to wait for it.
#[derive(Debug)]
pub(super) struct Pace {
    keys: Option<Bucket>,
    bytes: Option<Bucket>,
    bytes_seen: u64,
}

impl Pace {
    /// Rates of so much a second at the most; `None` is any.
    pub(super) fn new(
        keys_per_s: Option<NonZeroU64>,
        bytes_per_s: Option<NonZeroU64>,
        now: Instant,
    ) -> Pace {
        let bucket = |rate: Option<NonZeroU64>| rate.map(|rate| Bucket::new(rate, now));
        Pace {
            keys: bucket(keys_per_s),
            bytes: bucket(bytes_per_s),
            bytes_seen: 0,
        }
    }

    /// When more may be spent; `None` is now.
    pub(super) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let buckets = [&mut self.keys, &mut self.bytes];
        buckets
            .into_iter()
            .flatten()
            .filter_map(|bucket| bucket.ready_at(now))
            .max()
    }

    /// Spends keys.
    pub(super) fn keys(&mut self, keys: usize) {
        if let Some(bucket) = &mut self.keys {
            bucket.take(keys as u64);
        }
    }

    /// Spends bytes, told as how many there were in all.
    pub(super) fn bytes(&mut self, total: u64) {
        let bytes = total.saturating_sub(self.bytes_seen);
        self.bytes_seen = total;
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes);
        }
    }
}
