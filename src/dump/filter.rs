//! Which keys of an RDB are wanted.

use std::{
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
};

use regex::bytes::Regex;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Key, KeyType},
};

use super::glob::Glob;

/// Selects keys: every condition that is given must hold. The default selects all of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only keys of these dbs.
    pub dbs: Option<BTreeSet<Db>>,
    /// Only values of these types.
    pub types: Option<BTreeSet<KeyType>>,
    /// Only keys that match one of these, if there is any.
    pub keys: Vec<KeyPattern>,
    /// No keys that match one of these.
    pub not_keys: Vec<KeyPattern>,
    /// Only keys whose expiry is like this.
    pub ttl: Option<Ttl>,
    /// Only values whose serialized size, in bytes, lies in this range.
    pub size: Option<RangeInclusive<u64>>,
    /// Function libraries and scripts are wanted although keys are selected.
    pub functions: bool,
}

/// A condition on the expiry of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ttl {
    /// It has none.
    None,
    /// It has one, whenever that is.
    Some,
    /// It has one that lies in this range of absolute times.
    Within(Range<UnixMs>),
}

/// A condition on the name of a key.
#[derive(Debug, Clone)]
pub struct KeyPattern(Pattern);

#[derive(Debug, Clone)]
enum Pattern {
    Glob(Glob),
    Regex(Regex),
}

/// A regular expression that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(String);

impl KeyPattern {
    /// A pattern as KEYS takes it, which must match the whole name.
    pub fn glob(pattern: &str) -> KeyPattern {
        KeyPattern(Pattern::Glob(Glob::new(pattern.as_bytes())))
    }

    /// A regular expression over bytes, which may match anywhere in the name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn regex(pattern: &str) -> Result<KeyPattern, FilterError> {
        Regex::new(pattern)
            .map(|regex| KeyPattern(Pattern::Regex(regex)))
            .map_err(|error| FilterError(error.to_string()))
    }

    fn matches(&self, key: &[u8]) -> bool {
        match &self.0 {
            Pattern::Glob(glob) => glob.matches(key),
            Pattern::Regex(regex) => regex.is_match(key),
        }
    }
}

impl Ttl {
    fn selects(&self, expire_at_ms: Option<UnixMs>) -> bool {
        match (self, expire_at_ms) {
            (Ttl::None, expire_at_ms) => expire_at_ms.is_none(),
            (Ttl::Some, expire_at_ms) => expire_at_ms.is_some(),
            (Ttl::Within(range), Some(at)) => range.contains(&at),
            (Ttl::Within(_), None) => false,
        }
    }
}

impl Filter {
    /// Whether every key is selected.
    pub fn selects_all(&self) -> bool {
        self.dbs.is_none()
            && self.types.is_none()
            && self.keys.is_empty()
            && self.not_keys.is_empty()
            && self.ttl.is_none()
            && self.size.is_none()
    }

    /// Whether what belongs to no key, function libraries and scripts, is wanted.
    pub fn selects_functions(&self) -> bool {
        self.functions || self.selects_all()
    }

    /// Whether a key is selected, as far as its db and its name tell.
    pub fn selects_name(&self, db: Db, key: &[u8]) -> bool {
        let among = |patterns: &[KeyPattern]| patterns.iter().any(|one| one.matches(key));
        self.dbs.as_ref().is_none_or(|dbs| dbs.contains(&db))
            && (self.keys.is_empty() || among(&self.keys))
            && !among(&self.not_keys)
    }

    /// Whether a key is selected, as far as what stands before its value tells.
    pub(super) fn selects(&self, db: Db, key: &Key) -> bool {
        self.types
            .as_ref()
            .is_none_or(|types| types.contains(&KeyType::of(key.value_type)))
            && self
                .ttl
                .as_ref()
                .is_none_or(|ttl| ttl.selects(key.expire_at_ms))
            && self.selects_name(db, &key.key)
    }

    /// The size up to which a value has to be measured, if sizes matter.
    pub(super) fn measured_bytes_max(&self) -> Option<usize> {
        let size = self.size.as_ref()?;
        // An open end is reached as soon as the beginning is.
        let bytes = match *size.end() {
            u64::MAX => *size.start(),
            end => end,
        };
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Whether a value of this serialized size is selected; `None` is longer than was measured.
    pub(super) fn selects_size(&self, bytes: Option<u64>) -> bool {
        let Some(size) = &self.size else {
            return true;
        };
        match bytes {
            Some(bytes) => size.contains(&bytes),
            None => *size.end() == u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rdb::ValueType;

    fn key(name: &'static str, byte: u8, expire_at_ms: Option<UnixMs>) -> Key {
        Key {
            key: Bytes::from(name),
            value_type: ValueType::common(byte),
            expire_at_ms,
            idle_s: None,
            freq: None,
            has_metadata: false,
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let all = Filter::default();
        let dbs = Filter {
            dbs: Some(BTreeSet::from([Db(1)])),
            ..Filter::default()
        };
        let strings = Filter {
            types: Some(BTreeSet::from([KeyType::String])),
            ..Filter::default()
        };
        let users = Filter {
            keys: vec![
                KeyPattern::glob("user:*"),
                KeyPattern::regex("^u:").unwrap(),
            ],
            not_keys: vec![KeyPattern::regex("9$").unwrap()],
            ..Filter::default()
        };
        let within = Filter {
            ttl: Some(Ttl::Within(10..20)),
            ..Filter::default()
        };
        let forever = Filter {
            ttl: Some(Ttl::None),
            ..strings.clone()
        };
        for (name, filter, db, key, expected) in [
            ("all", &all, 0, key("a", 0, None), true),
            ("db", &dbs, 1, key("a", 0, None), true),
            ("another db", &dbs, 0, key("a", 0, None), false),
            ("type", &strings, 0, key("a", 0, None), true),
            ("another type", &strings, 0, key("a", 4, None), false),
            ("glob", &users, 0, key("user:1", 0, None), true),
            ("regex", &users, 0, key("u:1", 0, None), true),
            ("left out", &users, 0, key("u:19", 0, None), false),
            ("no pattern", &users, 0, key("x", 0, None), false),
            ("expiry", &within, 0, key("a", 0, Some(10)), true),
            ("late expiry", &within, 0, key("a", 0, Some(20)), false),
            ("no expiry", &within, 0, key("a", 0, None), false),
            ("two conditions", &forever, 0, key("a", 0, None), true),
            ("one of two", &forever, 0, key("a", 0, Some(1)), false),
        ] {
            assert_eq!(filter.selects(Db(db), &key), expected, "{name}");
        }
        assert!(all.selects_functions() && !dbs.selects_functions());
    }

    #[test]
    fn sizes_are_measured_no_further_than_needed() {
        for (size, measured, bytes, expected) in [
            (10..=u64::MAX, 10, Some(9), false),
            (10..=u64::MAX, 10, Some(10), true),
            (10..=u64::MAX, 10, None, true),
            (0..=20, 20, Some(20), true),
            (0..=20, 20, None, false),
            (10..=20, 20, Some(9), false),
        ] {
            let filter = Filter {
                size: Some(size.clone()),
                ..Filter::default()
            };
            assert_eq!(filter.measured_bytes_max(), Some(measured), "{size:?}");
            assert_eq!(filter.selects_size(bytes), expected, "{size:?} {bytes:?}");
        }
    }
}
