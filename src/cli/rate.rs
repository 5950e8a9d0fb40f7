//! How fast it goes and when it will be done, from samples of the progress.

use std::{collections::VecDeque, time::Duration};

use crate::pipeline::Sample;

/// The time over which speeds are averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// Numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Point {
    at: Duration,
    bytes_read: u64,
    rdb_bytes: u64,
    keys_read: u64,
    commands: u64,
}

/// Speeds per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Speed {
    pub(super) bytes: f64,
    pub(super) keys: f64,
    pub(super) commands: f64,
    pub(super) rdb_bytes: f64,
}

/// Averages over the last ten seconds.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<Point>);

impl Rate {
    /// Takes a sample into account and returns the speeds up to it; nil for the first one.
    pub(super) fn observe(&mut self, sample: &Sample) -> Speed {
        self.push(Point {
            at: sample.elapsed,
            bytes_read: sample.bytes_read,
            rdb_bytes: sample.rdb_bytes,
            keys_read: sample.keys_read,
            commands: sample.commands,
        })
    }

    fn push(&mut self, new: Point) -> Speed {
        while self
            .0
            .get(1)
            .is_some_and(|p| new.at.saturating_sub(p.at) >= WINDOW)
        {
            self.0.pop_front();
        }
        self.0.push_back(new);
        let old = self.0.front().copied().unwrap_or_default();
        let seconds = new.at.saturating_sub(old.at).as_secs_f64();
        let per_second = |new: u64, old: u64| match seconds {
            0.0 => 0.0,
            _ => new.saturating_sub(old) as f64 / seconds,
        };
        Speed {
            bytes: per_second(new.bytes_read, old.bytes_read),
            keys: per_second(new.keys_read, old.keys_read),
            commands: per_second(new.commands, old.commands),
            rdb_bytes: per_second(new.rdb_bytes, old.rdb_bytes),
        }
    }
}

/// How much of the snapshot is in, from 0 to 1; by bytes where its length is known, else by keys.
pub(super) fn fraction(sample: &Sample) -> Option<f64> {
    let of = |done: u64, total: u64| (total > 0).then(|| (done as f64 / total as f64).min(1.0));
    of(sample.rdb_bytes, sample.rdb_bytes_total).or_else(|| of(sample.keys_read, sample.keys_total))
}

/// When the snapshot will be in at this speed.
pub(super) fn eta(sample: &Sample, speed: Speed) -> Option<Duration> {
    let (left, speed) = if sample.rdb_bytes_total > 0 {
        (
            sample.rdb_bytes_total.saturating_sub(sample.rdb_bytes),
            speed.rdb_bytes,
        )
    } else if sample.keys_total > 0 {
        (
            sample.keys_total.saturating_sub(sample.keys_read),
            speed.keys,
        )
    } else {
        return None;
    };
    (speed > 0.0).then(|| Duration::from_secs((left as f64 / speed) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Progress;

    #[test]
    fn speeds_are_averages_over_the_window() {
        let mut rate = Rate::default();
        let mut speed = Speed::default();
        for second in 0..30_u64 {
            let keys_read = if second < 20 { second * 1000 } else { 20_000 };
            speed = rate.push(Point {
                at: Duration::from_secs(second),
                keys_read,
                ..Point::default()
            });
            if second == 15 {
                assert_eq!(speed.keys, 1000.0);
            }
        }
        assert_eq!(speed.keys, 100.0, "one second of ten still counts");
        assert!(rate.0.len() <= 12);
    }

    #[test]
    fn the_first_point_and_a_standstill_have_no_speed() {
        let mut rate = Rate::default();
        let point = Point {
            bytes_read: 7,
            ..Point::default()
        };
        assert_eq!(rate.push(point), Speed::default());
        assert_eq!(rate.push(point), Speed::default());
    }

    #[test]
    fn fraction_and_eta_prefer_bytes_to_keys() {
        let speed = Speed {
            rdb_bytes: 10.0,
            keys: 5.0,
            ..Speed::default()
        };
        for (name, bytes, keys, share, left_s) in [
            ("nothing known", (100, 0), (10, 0), None, None),
            ("bytes", (100, 400), (10, 20), Some(0.25), Some(30)),
            ("keys", (100, 0), (10, 20), Some(0.5), Some(2)),
            ("more than expected", (0, 0), (30, 20), Some(1.0), Some(0)),
        ] {
            let progress = Progress::default();
            progress.rdb_bytes.set(bytes.0);
            progress.rdb_bytes_total.set(bytes.1);
            progress.keys_read.set(keys.0);
            progress.keys_total.set(keys.1);
            let sample = progress.sample();
            assert_eq!(fraction(&sample), share, "{name}");
            assert_eq!(
                eta(&sample, speed),
                left_s.map(Duration::from_secs),
                "{name}"
            );
            assert_eq!(eta(&sample, Speed::default()), None, "{name}");
        }
    }
}
