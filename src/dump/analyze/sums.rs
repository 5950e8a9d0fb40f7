//! What is counted of any set of keys.

use std::ops::AddAssign;

use serde::Serialize;

use super::KeyFacts;

/// How many keys there are, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sums {
    /// Keys.
    pub keys: u64,
    /// Keys that expire.
    pub expiring_keys: u64,
    /// Elements, fields, members and entries.
    pub elements: u64,
    /// What the keys take in the memory of a server, estimated.
    pub memory_bytes: u64,
    /// What the keys take in the RDB.
    pub serialized_bytes: u64,
}

impl Sums {
    /// The sums of one key.
    pub(super) fn of(facts: &KeyFacts<'_>) -> Sums {
        Sums {
            keys: 1,
            expiring_keys: u64::from(facts.expire_at_ms.is_some()),
            elements: facts.elements,
            memory_bytes: facts.memory_bytes,
            serialized_bytes: facts.serialized_bytes,
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        let Sums {
            keys,
            expiring_keys,
            elements,
            memory_bytes,
            serialized_bytes,
        } = other;
        self.keys += keys;
        self.expiring_keys += expiring_keys;
        self.elements = self.elements.saturating_add(elements);
        self.memory_bytes = self.memory_bytes.saturating_add(memory_bytes);
        self.serialized_bytes = self.serialized_bytes.saturating_add(serialized_bytes);
    }
}
