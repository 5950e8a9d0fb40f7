//! How far a verification has come, and what is left open there.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Head;
use crate::{
    keyspace::Db,
    verify::{Counts, UndecidedCounts},
};

/// Whose keys are walked through.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Those of the source, which are compared.
    #[default]
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

/// Which lives of the two servers a bookmark is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunIds {
    pub(super) source_run_id: Option<String>,
    pub(super) target_run_id: Option<String>,
}

impl RunIds {
    pub(super) fn of(head: &Head) -> RunIds {
        RunIds {
            source_run_id: head.source_run_id.clone(),
            target_run_id: head.target_run_id.clone(),
        }
    }
}

impl Bookmark {
    /// Begins its db anew where the server is not the one that it was: a server that was started
    /// again has its keys in another order, so that a cursor of its former life means nothing.
    pub(super) fn keep_for(&mut self, was: &RunIds, is: &RunIds) {
        let is_same = match self.pass {
            Pass::Forward => was.source_run_id == is.source_run_id,
            Pass::Reverse => was.target_run_id == is.target_run_id,
        };
        if !is_same {
            self.cursor = 0;
        }
    }
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
    /// What it begins with, the time of the first run; the run ids are those of the last one.
    pub head: Head,
    /// Where the walk goes on; `None` is its beginning. The cursor is 0 where the server was started
    /// again since.
    pub bookmark: Option<Bookmark>,
    /// Keys that have no verdict yet: neither different nor undecided nor settled.
    pub suspects: Vec<Suspect>,
    /// Keys that stand in it as different or undecided. Whoever comes across one of them once more,
    /// since pages may be walked twice, must not name it again.
    pub decided: HashSet<Suspect>,
    /// The differences that stand in it.
    pub counts: Counts,
    /// The undecided keys that stand in it.
    pub undecided: UndecidedCounts,
    /// The verification came to its end; what follows is another one of the same.
    pub finished: bool,
}
