//! Whether something was seen before, by 64 bits of it.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
};

/// What was seen. Two things are taken for the same when a random 64-bit hash is: among a hundred
/// million, the odds that any two others are is one in several thousand.
#[derive(Debug)]
pub(super) struct Seen {
    state: RandomState,
    hashes: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// So many are remembered.
    count_max: usize,
}

/// The key is a hash already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "only whole hashes are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What is known about something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is new.
    New,
    /// It was there before.
    Before,
    /// It was not among those that are remembered, which are too many.
    Unsure,
}

impl Seen {
    /// Remembers up to `count_max`.
    pub(super) fn up_to(count_max: usize) -> Seen {
        Seen {
            state: RandomState::new(),
            hashes: HashSet::default(),
            count_max,
        }
    }

    /// Sees `thing`.
    pub(super) fn see(&mut self, thing: impl Hash) -> Known {
        let hash = self.state.hash_one(thing);
        if self.hashes.len() >= self.count_max {
            return match self.hashes.contains(&hash) {
                true => Known::Before,
                false => Known::Unsure,
            };
        }
        match self.hashes.insert(hash) {
            true => Known::New,
            false => Known::Before,
        }
    }

    /// Forgets everything, and gives up memory that is seldom needed.
    pub(super) fn clear(&mut self) {
        /// So many are usual.
        const KEPT: usize = 4096;
        self.hashes.clear();
        if self.hashes.capacity() > 2 * KEPT {
            self.hashes.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_up_to_its_limit() {
        let mut seen = Seen::up_to(10_000);
        for n in 0..10_000 {
            assert_eq!(seen.see(n), Known::New);
        }
        assert_eq!(seen.see(1), Known::Before);
        assert_eq!(seen.see(10_000), Known::Unsure);
        assert_eq!(seen.see(10_000), Known::Unsure);
        seen.clear();
        assert_eq!(seen.see(1), Known::New);
        assert!(seen.hashes.capacity() < 10_000);
    }
}
