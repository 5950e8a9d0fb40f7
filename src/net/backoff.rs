//! How long to pause before something is tried again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Pauses that double from the least to the greatest, each shortened by up to a half at random, so
/// that many who lost the same server do not come back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Begins with about `min` and never exceeds `max`.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { next: min, max }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.max);
        self.next = (pause * 2).min(self.max);
        // Every RandomState has other keys.
        let random = RandomState::new().build_hasher().finish();
        let share = (random >> 32) as f64 / f64::from(u32::MAX);
        pause.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_greatest_and_differ() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(450));
        let mut seen = Vec::new();
        for full in [100, 200, 400, 450, 450] {
            let pause = backoff.pause();
            assert!(
                (ms(full / 2)..=ms(full)).contains(&pause),
                "{full} {pause:?}"
            );
            seen.push(pause.as_nanos() as f64 / full as f64);
        }
        seen.dedup();
        assert!(seen.len() > 1, "they are random");
    }
}
