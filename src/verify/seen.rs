//! The keys that the way forward has found equal, so that the way back need not ask the source
//! whether it has them.
//!
//! They are known by 64 bits of their names, drawn anew for each run. Those for which there is no
//! room are asked for.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
};

use crate::keyspace::Db;

use super::snapshot::digest::spread;

/// As many fill a table of 4 Mi places, 36 MiB, to seven eighths.
const KEYS_MAX: usize = (4 << 20) / 8 * 7;

/// What stands for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name(u64);

/// Takes a name for its own hash: it is one.
#[derive(Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a name is a u64")
    }
}

/// Makes names of keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namer {
    seed: u64,
}

impl Namer {
    /// The name of a key.
    pub(super) fn name(self, db: Db, key: &[u8]) -> Name {
        Name(spread(self.seed, db.0, key))
    }
}

/// The keys that were found equal.
#[derive(Debug)]
pub(super) struct Seen {
    namer: Namer,
    names: HashSet<Name, BuildHasherDefault<Itself>>,
}

impl Seen {
    /// None yet.
    pub(super) fn new() -> Seen {
        Seen {
            namer: Namer {
                seed: fastrand::u64(..),
            },
            names: HashSet::default(),
        }
    }

    /// What makes names of keys.
    pub(super) fn namer(&self) -> Namer {
        self.namer
    }

    /// Takes note of keys, as far as there is room.
    pub(super) fn add(&mut self, names: Vec<Name>) {
        let room = KEYS_MAX.saturating_sub(self.names.len());
        self.names.extend(names.into_iter().take(room));
    }

    /// Whether a key is among them.
    pub(super) fn has(&self, db: Db, key: &[u8]) -> bool {
        self.names.contains(&self.namer.name(db, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_in_their_db_as_long_as_there_is_room() {
        let mut seen = Seen::new();
        let namer = seen.namer();
        seen.add(vec![namer.name(Db(0), b"a"), namer.name(Db(1), b"b")]);
        assert!(seen.has(Db(0), b"a") && seen.has(Db(1), b"b"));
        assert!(!seen.has(Db(1), b"a") && !seen.has(Db(0), b"b"));
        let others = (0..KEYS_MAX as u64).map(Name).collect();
        seen.add(others);
        assert_eq!(seen.names.len(), KEYS_MAX);
        seen.add(vec![namer.name(Db(0), b"late")]);
        assert!(!seen.has(Db(0), b"late"));
    }
}
