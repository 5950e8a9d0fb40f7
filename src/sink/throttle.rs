//! How fast a target may be written to. Pure: times and sizes go in, what is allowed comes out.
//!
//! ```text
//!  keys/s, bytes/s   a bucket each: what is sent is taken out, time fills it; while it is in debt
//!                    nothing more is sent, so what is larger than the bucket is only followed by
//!                    a longer pause
//!  latency           the bytes that may be in flight are halved when replies are late, and grow
//!                    again when they are not; when they cannot be fewer, there are pauses
//! ```

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// What may be in flight when nothing else is said, in bytes.
pub const INFLIGHT_BYTES_MAX: usize = 8 << 20;
/// The least that may be in flight by [`Adaptive`], about a batch.
const INFLIGHT_BYTES_MIN: usize = 128 << 10;
/// By how much more may be in flight after each timely reply.
const INFLIGHT_BYTES_STEP: usize = 16 << 10;
/// The longest pause for the sake of the target's latency.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Of a rate, so much may be used at once.
const AT_ONCE_S: f64 = 0.1;

/// What a target is spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Keys of the snapshot and commands of the stream, for each second; `None` is without limit.
    pub keys_per_s: Option<NonZeroU64>,
    /// Bytes sent, for each second; `None` is without limit.
    pub bytes_per_s: Option<NonZeroU64>,
    /// Bytes sent and not confirmed, at the most. What is larger by itself goes alone.
    pub inflight_bytes_max: usize,
    /// How late replies may be before less is sent; `None` does not care.
    pub latency_max: Option<Duration>,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle {
            keys_per_s: None,
            bytes_per_s: None,
            inflight_bytes_max: INFLIGHT_BYTES_MAX,
            latency_max: None,
        }
    }
}

impl Throttle {
    /// The most that is to be gathered for one batch, so that a slow rate is one of small steps.
    pub fn batch_max(&self) -> BatchMax {
        let at_once = |rate: Option<NonZeroU64>| {
            let share = rate.map(|rate| (rate.get() as f64 * AT_ONCE_S) as usize);
            share.map_or(usize::MAX, |share| share.max(1))
        };
        BatchMax {
            keys: at_once(self.keys_per_s),
            bytes: at_once(self.bytes_per_s).min(self.inflight_bytes_max),
        }
    }
}

/// The most that is to be gathered for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMax {
    /// Keys of the snapshot, or commands of the stream.
    pub keys: usize,
    /// Its size.
    pub bytes: usize,
}

/// A rate, kept on average.
#[derive(Debug)]
pub struct Bucket {
    per_s: f64,
    /// What may be used; less than nothing after a large thing.
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(per_s: NonZeroU64, now: Instant) -> Bucket {
        let per_s = per_s.get() as f64;
        Bucket {
            per_s,
            level: per_s * AT_ONCE_S,
            at: now,
        }
    }

    /// When something may be taken; `None` is now.
    pub fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let passed_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed_s * self.per_s).min(self.per_s * AT_ONCE_S);
        self.at = now;
        if self.level > 0.0 {
            return None;
        }
        // A little more than nothing, or rounding would ask again and again.
        let missing_s = (-self.level / self.per_s).min(3600.0) + 0.001;
        Some(now + Duration::from_secs_f64(missing_s))
    }

    /// Takes so much.
    pub fn take(&mut self, amount: u64) {
        self.level -= amount as f64;
    }
}

/// Finds how much may be in flight for replies to come in time.
#[derive(Debug)]
pub(super) struct Adaptive {
    latency_max: Duration,
    inflight_bytes: usize,
    inflight_bytes_max: usize,
    /// What was sent before this says nothing about the present choice.
    changed_at: Instant,
    paused_until: Option<Instant>,
}

impl Adaptive {
    pub(super) fn new(latency_max: Duration, inflight_bytes_max: usize, now: Instant) -> Adaptive {
        Adaptive {
            latency_max,
            inflight_bytes: inflight_bytes_max.min(1 << 20),
            inflight_bytes_max,
            changed_at: now,
            paused_until: None,
        }
    }

    /// How much may be in flight.
    pub(super) fn inflight_bytes(&self) -> usize {
        self.inflight_bytes
    }

    /// Until when nothing is sent; `None` when something may be.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Takes note that what was sent at `sent_at` is confirmed `now`.
    pub(super) fn confirmed(&mut self, sent_at: Instant, now: Instant) {
        let latency = now.saturating_duration_since(sent_at);
        if latency <= self.latency_max {
            let more = self.inflight_bytes + INFLIGHT_BYTES_STEP;
            self.inflight_bytes = more.min(self.inflight_bytes_max);
            return;
        }
        if sent_at < self.changed_at {
            return;
        }
        self.changed_at = now;
        let least = INFLIGHT_BYTES_MIN.min(self.inflight_bytes_max);
        if self.inflight_bytes > least {
            self.inflight_bytes = (self.inflight_bytes / 2).max(least);
        } else {
            let pause = (latency - self.latency_max).min(PAUSE_MAX);
            self.paused_until = Some(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rate(per_s: u64) -> NonZeroU64 {
        NonZeroU64::new(per_s).unwrap()
    }

    /// Sends things of this size as soon as that is allowed; how many in so many ms.
    fn sent_within(per_s: u64, amount: u64, ms: u32) -> u64 {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate(per_s), start);
        let (mut now, mut sent) = (start, 0);
        while now <= start + ms * MS {
            match bucket.ready_at(now) {
                None => {
                    bucket.take(amount);
                    sent += amount;
                }
                Some(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        sent
    }

    #[test]
    fn a_rate_is_kept_on_average_whatever_the_size() {
        for (name, per_s, amount, ms, least, most) in [
            ("small things", 1000, 1, 10_000, 9_000, 10_200),
            ("as large as the bucket", 1000, 100, 10_000, 9_000, 10_300),
            ("larger than a second's", 1000, 3000, 10_000, 9_000, 15_000),
            ("slow", 1, 1, 10_000, 9, 12),
            (
                "fast",
                1_000_000_000,
                128 << 10,
                1000,
                900_000_000,
                1_200_000_000,
            ),
        ] {
            let sent = sent_within(per_s, amount, ms);
            assert!((least..=most).contains(&sent), "{name}: {sent}");
        }
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate(1000), start);
        let later = start + 60_000 * MS;
        assert_eq!(bucket.ready_at(later), None);
        bucket.take(101);
        assert!(bucket.ready_at(later).is_some());
    }

    #[test]
    fn batches_are_a_tenth_of_a_second_at_the_most() {
        let throttle = |keys, bytes| Throttle {
            keys_per_s: NonZeroU64::new(keys),
            bytes_per_s: NonZeroU64::new(bytes),
            ..Throttle::default()
        };
        for (name, throttle, keys, bytes) in [
            ("no limit", throttle(0, 0), usize::MAX, INFLIGHT_BYTES_MAX),
            ("keys", throttle(1000, 0), 100, INFLIGHT_BYTES_MAX),
            ("bytes", throttle(0, 50_000), usize::MAX, 5000),
            ("very slow", throttle(1, 1), 1, 1),
        ] {
            assert_eq!(throttle.batch_max(), BatchMax { keys, bytes }, "{name}");
        }
    }

    #[test]
    fn less_is_in_flight_while_replies_are_late_and_more_when_they_are_not() {
        let start = Instant::now();
        let mut adaptive = Adaptive::new(10 * MS, 1 << 20, start);
        // (sent at, confirmed at, bytes that may be in flight then, paused until), in ms
        for (name, sent, confirmed, bytes, paused) in [
            ("late", 0, 20, 512 << 10, None),
            ("sent before that was known", 5, 30, 512 << 10, None),
            ("late again", 30, 50, 256 << 10, None),
            ("once more", 60, 80, 128 << 10, None),
            (
                "as little as can be, so it waits",
                90,
                130,
                128 << 10,
                Some(160),
            ),
            ("in time", 160, 165, 144 << 10, None),
            ("in time again", 166, 170, 160 << 10, None),
            ("late for very long", 170, 9_000, 128 << 10, None),
            (
                "and again: not for ever",
                9_000,
                20_000,
                128 << 10,
                Some(21_000),
            ),
        ] {
            let now = start + confirmed * MS;
            adaptive.confirmed(start + sent * MS, now);
            assert_eq!(adaptive.inflight_bytes(), bytes, "{name}");
            let until = adaptive.paused_until(now);
            assert_eq!(until, paused.map(|ms: u32| start + ms * MS), "{name}");
        }
        for _ in 0..1000 {
            adaptive.confirmed(start + 20_000 * MS, start + 20_001 * MS);
        }
        assert_eq!(adaptive.inflight_bytes(), 1 << 20);
    }
}
