//! How long keys have left to live.

use serde::Serialize;

use crate::keyspace::UnixMs;

use super::{KeyFacts, Sums};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The buckets: name, and the TTL in milliseconds that a key in it stays below.
const BUCKETS: [(&str, i64); 9] = [
    ("expired", 1),
    ("<1m", MINUTE_MS),
    ("<1h", HOUR_MS),
    ("<1d", DAY_MS),
    ("<1w", 7 * DAY_MS),
    ("<30d", 30 * DAY_MS),
    ("<1y", 365 * DAY_MS),
    ("1y+", i64::MAX),
    ("never", i64::MAX),
];
const NEVER: usize = BUCKETS.len() - 1;

/// Sums by the time that is left.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    now_ms: UnixMs,
    sums: [Sums; BUCKETS.len()],
}

/// One bucket of the histogram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TtlBucket {
    /// `expired`, `<1m`, ... `1y+`, `never`.
    pub ttl: &'static str,
    /// The keys in it.
    #[serde(flatten)]
    pub sums: Sums,
}

impl Histogram {
    /// Begins with TTLs that count from `now_ms`.
    pub(super) fn new(now_ms: UnixMs) -> Self {
        Self {
            now_ms,
            sums: Default::default(),
        }
    }

    pub(super) fn now_ms(&self) -> UnixMs {
        self.now_ms
    }

    /// Moves the time that TTLs count from, before any key was added.
    pub(super) fn set_now_ms(&mut self, now_ms: UnixMs) {
        self.now_ms = now_ms;
    }

    pub(super) fn add(&mut self, facts: &KeyFacts<'_>) {
        let bucket = facts.expire_at_ms.map_or(NEVER, |at| {
            let ttl_ms = at.saturating_sub(self.now_ms);
            BUCKETS
                .iter()
                .position(|(_, below)| ttl_ms < *below)
                .unwrap_or(NEVER - 1)
        });
        self.sums[bucket] += Sums::of(facts);
    }

    /// All buckets in order, empty ones among them.
    pub(super) fn buckets(&self) -> Vec<TtlBucket> {
        let sums = self.sums.iter();
        sums.zip(BUCKETS)
            .map(|(sums, (ttl, _))| TtlBucket { ttl, sums: *sums })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_into_buckets() {
        let now_ms = 1_700_000_000_000;
        for (expire_at_ms, bucket) in [
            (None, "never"),
            (Some(i64::MIN), "expired"),
            (Some(now_ms), "expired"),
            (Some(now_ms + 1), "<1m"),
            (Some(now_ms + MINUTE_MS), "<1h"),
            (Some(now_ms + HOUR_MS), "<1d"),
            (Some(now_ms + DAY_MS), "<1w"),
            (Some(now_ms + 7 * DAY_MS), "<30d"),
            (Some(now_ms + 30 * DAY_MS), "<1y"),
            (Some(now_ms + 365 * DAY_MS), "1y+"),
            (Some(i64::MAX), "1y+"),
        ] {
            let mut histogram = Histogram::new(now_ms);
            histogram.add(&KeyFacts {
                expire_at_ms,
                ..KeyFacts::example(b"k")
            });
            let buckets = histogram.buckets();
            let filled: Vec<_> = buckets.iter().filter(|one| one.sums.keys > 0).collect();
            assert_eq!(filled.len(), 1);
            assert_eq!(filled[0].ttl, bucket, "{expire_at_ms:?}");
        }
    }
}
