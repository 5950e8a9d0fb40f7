//! What is odd about an RDB and no damage.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::Serialize;

use crate::{dump::ByteString, keyspace::Db};

/// What a server would leave out, correct or refuse, although it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemarkKind {
    /// A key is there twice in its db.
    DuplicateKey,
    /// A key without elements.
    EmptyKey,
    /// A member, a field or a consumer group is there twice in its value.
    DuplicateElement,
    /// What is kept in order is not.
    Unordered,
    /// A time that no server writes.
    Expiry,
    /// A stream says another length than it has.
    StreamLength,
    /// A stream has entries behind the last id that it says it gave out.
    StreamLastId,
    /// Pending entries of a group that no consumer has.
    PendingUnowned,
    /// Pending entries of a group that several consumers have.
    PendingContested,
    /// A db says another number of keys than it has.
    DbSize,
    /// Bytes follow the RDB.
    BytesBehind,
}

impl RemarkKind {
    /// All of them, in the order they are shown.
    pub const ALL: [RemarkKind; 11] = [
        RemarkKind::DuplicateKey,
        RemarkKind::EmptyKey,
        RemarkKind::DuplicateElement,
        RemarkKind::Unordered,
        RemarkKind::Expiry,
        RemarkKind::StreamLength,
        RemarkKind::StreamLastId,
        RemarkKind::PendingUnowned,
        RemarkKind::PendingContested,
        RemarkKind::DbSize,
        RemarkKind::BytesBehind,
    ];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            RemarkKind::DuplicateKey => "duplicate_key",
            RemarkKind::EmptyKey => "empty_key",
            RemarkKind::DuplicateElement => "duplicate_element",
            RemarkKind::Unordered => "unordered",
            RemarkKind::Expiry => "expiry",
            RemarkKind::StreamLength => "stream_length",
            RemarkKind::StreamLastId => "stream_last_id",
            RemarkKind::PendingUnowned => "pending_unowned",
            RemarkKind::PendingContested => "pending_contested",
            RemarkKind::DbSize => "db_size",
            RemarkKind::BytesBehind => "bytes_behind",
        }
    }
}

impl fmt::Display for RemarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The db.
    pub db: u32,
    /// The key.
    pub key: ByteString,
}

impl Place {
    pub(super) fn new(db: Db, key: Bytes) -> Place {
        Place {
            db: db.0,
            key: ByteString(key),
        }
    }
}

/// Everything of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// What it is.
    pub kind: RemarkKind,
    /// How often it was found.
    pub count: u64,
    /// Where it was found first; null where it is about no key.
    pub first: Option<Place>,
    /// What was found there.
    pub detail: String,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Remarks(BTreeMap<RemarkKind, Remark>);

impl Remarks {
    /// Takes note; where and what matter the first time only.
    pub(super) fn note(
        &mut self,
        kind: RemarkKind,
        place: impl FnOnce() -> Option<Place>,
        detail: impl FnOnce() -> String,
    ) {
        let remark = self.0.entry(kind).or_insert_with(|| Remark {
            kind,
            count: 0,
            first: place(),
            detail: detail(),
        });
        remark.count += 1;
    }

    pub(super) fn into_list(self) -> Vec<Remark> {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_the_first_is_kept() {
        let mut remarks = Remarks::default();
        for (n, kind) in RemarkKind::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            for detail in ["first", "second"] {
                let place = || (n > 0).then(|| Place::new(Db(n as u32), "k".into()));
                remarks.note(kind, place, || detail.into());
            }
        }
        let list = remarks.into_list();
        assert_eq!(list.len(), RemarkKind::ALL.len());
        for (n, remark) in list.iter().enumerate() {
            assert_eq!(remark.kind, RemarkKind::ALL[n], "in the order of ALL");
            assert_eq!((remark.count, &*remark.detail), (2, "first"));
            assert_eq!(remark.first.is_some(), n > 0);
        }
    }
}
