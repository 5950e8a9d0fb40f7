//! How far a verification has come, and what is left open there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Head;
use crate::{
    keyspace::Db,
    verify::{Counts, UndecidedCounts},
};

/// Whose keys are walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Those of the source, which are compared.
    Forward,
    /// Those of the target, which are looked up.
    Reverse,
}

/// Where a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Whose keys.
    pub pass: Pass,
    /// Of which db.
    pub db: Db,
    /// What SCAN takes next; everything before it is compared.
    pub cursor: u64,
    /// The dbs of this pass that are done.
    pub dbs_done: Vec<Db>,
    /// What was done up to here.
    pub tallies: Tallies,
}

/// What was done, by all runs of a verification together. The fields are those of [`Summary`](crate::verify::Summary).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are those of the summary")]
pub struct Tallies {
    pub keys_compared: u64,
    pub keys_looked_up: u64,
    pub large_keys: u64,
    pub filtered: u64,
    pub not_sampled: u64,
    pub settled: u64,
    pub bytes_read: u64,
    pub elapsed_ms: u64,
}

/// A key that differed when it was last read, and will be read again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suspect {
    /// Its db.
    pub db: Db,
    /// Its name.
    pub key: Bytes,
}

/// What the report of an interrupted verification says.
#[derive(Debug)]
pub struct Resumed {
    /// What it begins with; the time is that of the first run.
    pub head: Head,
    /// Where the walk goes on; `None` is its beginning.
    pub bookmark: Option<Bookmark>,
    /// Keys that have no verdict yet: neither different nor undecided nor settled.
    pub suspects: Vec<Suspect>,
    /// The differences that stand in it.
    pub counts: Counts,
    /// The undecided keys that stand in it.
    pub undecided: UndecidedCounts,
    /// The verification came to its end.
    pub finished: bool,
}
