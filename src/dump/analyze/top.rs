//! The largest keys.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use serde::Serialize;

use crate::keyspace::{Db, UnixMs};

use super::{KeyFacts, Name};

/// Keeps the keys that take the most memory.
#[derive(Debug)]
pub(super) struct Top {
    max: usize,
    /// The least of them first.
    heap: BinaryHeap<Reverse<TopKey>>,
}

/// A key that takes much memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopKey {
    /// Its db.
    #[serde(serialize_with = "number")]
    pub db: Db,
    /// Its name.
    pub key: Name,
    /// The type of its value.
    #[serde(rename = "type")]
    pub key_type: &'static str,
    /// The encoding of its value.
    pub encoding: &'static str,
    /// Elements, fields, members or entries.
    pub elements: u64,
    /// What it takes in the memory of a server, estimated.
    pub memory_bytes: u64,
    /// What it takes in the RDB.
    pub serialized_bytes: u64,
    /// Its absolute expiry.
    pub expire_at_ms: Option<UnixMs>,
}

impl Top {
    /// Keeps up to `max` keys.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            heap: BinaryHeap::new(),
        }
    }

    pub(super) fn add(&mut self, facts: &KeyFacts<'_>) {
        let is_full = self.heap.len() >= self.max;
        // Most keys are too small; only what is kept is copied.
        match self.heap.peek() {
            Some(Reverse(least)) if is_full && facts.memory_bytes < least.memory_bytes => return,
            None if is_full => return,
            _ => {}
        }
        self.heap.push(Reverse(TopKey {
            db: facts.db,
            key: Name::of(facts.key),
            key_type: facts.key_type.name(),
            encoding: facts.encoding,
            elements: facts.elements,
            memory_bytes: facts.memory_bytes,
            serialized_bytes: facts.serialized_bytes,
            expire_at_ms: facts.expire_at_ms,
        }));
        if is_full {
            self.heap.pop();
        }
    }

    /// The keys, largest first.
    pub(super) fn into_sorted(self) -> Vec<TopKey> {
        let keys = self.heap.into_sorted_vec().into_iter();
        keys.map(|Reverse(key)| key).collect()
    }
}

/// By memory; of keys that take the same, the one that is named first counts as larger.
impl Ord for TopKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.memory_bytes
            .cmp(&other.memory_bytes)
            .then_with(|| (other.db, &other.key).cmp(&(self.db, &self.key)))
    }
}

impl PartialOrd for TopKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A db is its number.
pub(super) fn number<S: serde::Serializer>(db: &Db, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(db.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_whatever_the_order() {
        let sizes = [("a", 5), ("b", 9), ("c", 1), ("d", 9), ("e", 7), ("f", 5)];
        for (max, expected) in [
            (0, &[][..]),
            (1, &["b"]),
            (4, &["b", "d", "e", "a"]),
            (10, &["b", "d", "e", "a", "f", "c"]),
        ] {
            for turned in [false, true] {
                let mut top = Top::new(max);
                let mut sizes = sizes;
                if turned {
                    sizes.reverse();
                }
                for (key, memory_bytes) in sizes {
                    top.add(&KeyFacts {
                        memory_bytes,
                        ..KeyFacts::example(key.as_bytes())
                    });
                }
                let keys: Vec<_> = top
                    .into_sorted()
                    .iter()
                    .map(|k| k.key.to_string())
                    .collect();
                assert_eq!(keys, expected, "{max}, turned {turned}");
            }
        }
    }
}
