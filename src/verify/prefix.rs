//! Counting by what keys begin with, in bounded memory.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// Prefixes that are counted apart; what comes later goes to `*`.
const COUNTED_MAX: usize = 1000;
/// The longest prefix that is kept, in bytes.
const BYTES_MAX: usize = 128;
/// Prefixes that a summary shows.
const SHOWN_MAX: usize = 50;

/// How often keys had a prefix. A key's prefix is what stands before its first `:`, and that
/// colon; a key without one has the prefix `""`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes {
    counted: BTreeMap<Vec<u8>, u64>,
    other: u64,
}

impl Prefixes {
    /// Counts a key.
    pub fn add(&mut self, key: &[u8]) {
        let end = key
            .iter()
            .position(|byte| *byte == b':')
            .map_or(0, |at| at + 1);
        let prefix = key.get(..end.min(BYTES_MAX)).unwrap_or_default();
        if let Some(count) = self.counted.get_mut(prefix) {
            *count += 1;
        } else if self.counted.len() < COUNTED_MAX {
            self.counted.insert(prefix.to_vec(), 1);
        } else {
            self.other += 1;
        }
    }

    /// The most frequent ones with their counts, as escaped text; all others together are `*`.
    pub fn shown(&self) -> Vec<(String, u64)> {
        let mut sorted: Vec<(&Vec<u8>, u64)> = self.counted.iter().map(|(p, n)| (p, *n)).collect();
        sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let rest: u64 = sorted.iter().skip(SHOWN_MAX).map(|(_, n)| n).sum();
        let mut shown: Vec<(String, u64)> = sorted
            .into_iter()
            .take(SHOWN_MAX)
            .map(|(prefix, n)| (prefix.escape_ascii().to_string(), n))
            .collect();
        if self.other + rest > 0 {
            shown.push(("*".to_owned(), self.other + rest));
        }
        shown
    }
}

impl Serialize for Prefixes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.shown();
        let mut map = serializer.serialize_map(Some(shown.len()))?;
        for (prefix, count) in shown {
            map.serialize_entry(&prefix, &count)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_the_rest_is_together() {
        let mut prefixes = Prefixes::default();
        for n in 0..2000 {
            prefixes.add(format!("p{n}:x").as_bytes());
        }
        for key in [&b"user:1"[..], b"plain", b"p7:y", b"\xff:1"] {
            prefixes.add(key);
        }
        let shown = prefixes.shown();
        assert_eq!(shown.first(), Some(&("p7:".to_owned(), 2)));
        assert_eq!(shown.last().map(|(name, _)| &**name), Some("*"));
        assert_eq!(shown.iter().map(|(_, n)| n).sum::<u64>(), 2004);
        let mut few = Prefixes::default();
        few.add(b"\xff:1");
        few.add(b"plain");
        assert_eq!(few.shown(), [(String::new(), 1), ("\\xff:".to_owned(), 1)]);
    }
}
