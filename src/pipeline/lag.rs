//! How far the target is behind, in seconds, from observations of the source's offset.
//!
//! The lag is the age of the oldest byte the target has not applied: the time since the offset of
//! the source was first seen to be greater than the applied offset.
//!
//! ```text
//!  offset of the source   100     180     250     400
//!  seen at (s)              0       1       2       3        now = 3.5
//!  applied = 200:  181..250 were first seen at 2, so 201 is 1.5 s old  ->  lag = 1.5 s
//! ```
//!
//! Bytes cannot be seen before the source tells of them, so a source that is asked once a second
//! can be ahead by a second more. Nothing is written to the source to measure it.

use std::{collections::VecDeque, time::Duration};

/// Steps that are kept; when there are more, neighbours are merged and steps become longer.
const STEPS_MAX: usize = 512;

/// Observations closer than this are one step, to begin with.
const STEP_MIN: Duration = Duration::from_millis(100);

/// The bytes up to `offset` that were not in the step before were first seen at `seen_at`.
#[derive(Debug, Clone, Copy)]
struct Step {
    seen_at: Duration,
    offset: u64,
}

/// The recent offsets of the source.
#[derive(Debug)]
pub struct Lag {
    /// Both members ascend. Merged steps keep the earlier time: age is never understated.
    steps: VecDeque<Step>,
    step_min: Duration,
    source_offset: Option<u64>,
    observed_at: Option<Duration>,
}

impl Default for Lag {
    fn default() -> Lag {
        Lag {
            steps: VecDeque::new(),
            step_min: STEP_MIN,
            source_offset: None,
            observed_at: None,
        }
    }
}

impl Lag {
    /// Notes that the source's offset was `offset` at `at`, a time since any fixed start.
    ///
    /// Several observers may be out of step with each other: a smaller offset says nothing new.
    pub fn observe(&mut self, at: Duration, offset: u64) {
        self.observed_at = Some(at);
        if self.source_offset.is_some_and(|known| offset <= known) {
            return;
        }
        self.source_offset = Some(offset);
        match self.steps.back_mut() {
            Some(last) if at.saturating_sub(last.seen_at) < self.step_min => last.offset = offset,
            _ => self.steps.push_back(Step {
                seen_at: at,
                offset,
            }),
        }
        if self.steps.len() > STEPS_MAX {
            self.merge_neighbours();
        }
    }

    /// The last known offset of the source.
    pub fn source_offset(&self) -> Option<u64> {
        self.source_offset
    }

    /// How long ago at `now` the last observation was, whatever it said.
    pub fn silent_for(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.observed_at?))
    }

    /// How many bytes `applied` is behind the last known offset.
    pub fn bytes(&self, applied: u64) -> Option<u64> {
        Some(self.source_offset?.saturating_sub(applied))
    }

    /// The age at `now` of the oldest byte behind `applied`; nil when there is none, and `None`
    /// before the first observation.
    ///
    /// Steps that are covered are dropped; `applied` never goes back.
    pub fn age(&mut self, now: Duration, applied: u64) -> Option<Duration> {
        self.source_offset?;
        let covered = self.steps.partition_point(|step| step.offset <= applied);
        self.steps.drain(..covered);
        if self.steps.is_empty() {
            self.step_min = STEP_MIN;
        }
        let oldest = self.steps.front();
        Some(oldest.map_or(Duration::ZERO, |step| now.saturating_sub(step.seen_at)))
    }

    fn merge_neighbours(&mut self) {
        self.step_min *= 2;
        let steps: Vec<Step> = self.steps.drain(..).collect();
        for pair in steps.chunks(2) {
            if let (Some(first), Some(last)) = (pair.first(), pair.last()) {
                self.steps.push_back(Step {
                    seen_at: first.seen_at,
                    offset: last.offset,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn lag(observations: &[(f64, u64)]) -> Lag {
        let mut lag = Lag::default();
        for (at, offset) in observations {
            lag.observe(s(*at), *offset);
        }
        lag
    }

    #[test]
    fn is_the_age_of_the_oldest_byte_not_applied() {
        for (name, applied, bytes, age) in [
            ("all", 400, 0, 0.0),
            ("more than all", 500, 0, 0.0),
            ("one byte short", 399, 1, 0.5),
            ("all but the last step", 250, 150, 0.5),
            ("between", 200, 200, 1.5),
            ("exactly a step", 180, 220, 1.5),
            ("the first step", 100, 300, 2.5),
            ("nothing", 0, 400, 3.5),
        ] {
            let mut lag = lag(&[(0.0, 100), (1.0, 180), (2.0, 250), (3.0, 400)]);
            assert_eq!(lag.bytes(applied), Some(bytes), "{name}");
            assert_eq!(lag.age(s(3.5), applied), Some(s(age)), "{name}");
        }
    }

    #[test]
    fn a_source_that_was_idle_is_behind_only_since_it_wrote_again() {
        let mut lag = lag(&[(0.0, 100), (30.0, 100)]);
        assert_eq!(lag.age(s(60.0), 100), Some(s(0.0)));
        assert_eq!(lag.silent_for(s(60.0)), Some(s(30.0)));
        lag.observe(s(60.0), 114);
        assert_eq!(lag.age(s(60.5), 100), Some(s(0.5)));
        assert_eq!(lag.age(s(61.0), 114), Some(s(0.0)));
    }

    #[test]
    fn nothing_is_known_before_the_first_observation() {
        let mut lag = Lag::default();
        assert_eq!((lag.bytes(7), lag.age(s(1.0), 7)), (None, None));
        assert_eq!(lag.silent_for(s(1.0)), None);
        lag.observe(s(2.0), 5);
        assert_eq!(lag.bytes(5), Some(0));
    }

    #[test]
    fn close_observations_count_from_the_first_and_smaller_ones_not_at_all() {
        let mut lag = lag(&[(0.0, 100), (0.05, 150), (0.06, 120)]);
        assert_eq!(lag.bytes(100), Some(50));
        assert_eq!(lag.age(s(1.0), 100), Some(s(1.0)));
    }

    #[test]
    fn many_steps_are_bounded_and_never_understate() {
        let mut lag = Lag::default();
        for second in 0..100_000_u64 {
            lag.observe(s(second as f64), second * 10);
        }
        assert!(lag.steps.len() <= STEPS_MAX);
        let age = lag.age(s(100_000.0), 50_000 * 10).expect("observed");
        assert!((49_999.0..51_000.0).contains(&age.as_secs_f64()), "{age:?}");
    }
}
