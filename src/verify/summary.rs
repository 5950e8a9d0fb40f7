//! What is left to tell when a verification is over. The field names are a contract:
//! `docs/verify.md`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Difference, Kind, Reason, prefix::Prefixes};

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was looked at is equal.
    Equal,
    /// There are differences.
    Different,
    /// No difference was found, but some keys could not be read.
    Incomplete,
}

impl Verdict {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Different => "different",
            Verdict::Incomplete => "incomplete",
        }
    }
}

/// Differences, counted in several ways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// Keys and function libraries that differ in something.
    pub keys: u64,
    /// By kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// By db.
    pub by_db: BTreeMap<u32, u64>,
    /// By the type of the value on the side that has it, the source first; `function` for
    /// libraries.
    pub by_type: BTreeMap<&'static str, u64>,
    /// By what stands before the first `:` of the key, the most frequent first; the rest is `*`.
    pub by_prefix: Prefixes,
}

impl Counts {
    /// Counts the differences of one key.
    pub fn add(&mut self, of_key: &[Difference]) {
        self.keys += u64::from(!of_key.is_empty());
        for difference in of_key {
            self.total += 1;
            *self.by_kind.entry(difference.kind.name()).or_default() += 1;
            let value_type = match difference.kind {
                Kind::Function => "function",
                _ => {
                    let held = difference
                        .source
                        .value_type
                        .or(difference.target.value_type);
                    held.map_or("unknown", |of| of.name())
                }
            };
            *self.by_type.entry(value_type).or_default() += 1;
            if difference.kind != Kind::Function {
                *self.by_db.entry(difference.db.0).or_default() += 1;
                self.by_prefix.add(&difference.key);
            }
        }
    }
}

/// Keys that nothing can be said about, by reason.
pub type UndecidedCounts = BTreeMap<&'static str, u64>;

/// All reasons, none of them met yet.
pub(super) fn none_undecided() -> UndecidedCounts {
    Reason::ALL
        .into_iter()
        .map(|reason| (reason.name(), 0))
        .collect()
}

/// What a verification has come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether both sides are equal.
    pub result: Verdict,
    /// The address of the source.
    pub source: String,
    /// The address of the target.
    pub target: String,
    /// `scan` or `snapshot`.
    pub method: &'static str,
    /// `full`, `metadata` or `existence`.
    pub depth: &'static str,
    /// One of so many keys was looked at; 1 is all of them.
    pub sample: u64,
    /// From beginning to end, all runs of a resumed verification together.
    pub duration_ms: u64,
    /// Whether it went on from an earlier run.
    pub resumed: bool,
    /// Keys that were looked for on the target; a key that SCAN returns twice counts twice.
    pub keys_compared: u64,
    /// Keys of the target that were looked for on the source.
    pub keys_looked_up: u64,
    /// Bytes received from both sides.
    pub bytes_read: u64,
    /// Values that were compared page by page.
    pub large_keys: u64,
    /// Function libraries that were compared.
    pub functions: u64,
    /// Rounds in which keys that differed were read again.
    pub rounds: u64,
    /// Keys that differed at first and were equal in the end.
    pub settled: u64,
    /// What differs.
    pub differences: Counts,
    /// Keys that nothing can be said about, by reason.
    pub undecided: UndecidedCounts,
    /// What was not looked at, by reason: `filtered` keys of keyferry itself and keys that are not
    /// selected, `not_sampled` keys.
    pub not_looked_at: BTreeMap<&'static str, u64>,
    /// Expiries that a running sync holds and that were compared by their true time.
    pub expiries_held: u64,
    /// What was put right, with `--repair`.
    pub repair: Option<RepairSummary>,
}

/// What a repair has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RepairSummary {
    /// Keys that were copied from the source.
    pub copied: u64,
    /// Keys of which only the expiry was set.
    pub expiries_set: u64,
    /// Keys that only the target had and that were removed.
    pub removed: u64,
    /// Function libraries that were loaded or removed.
    pub functions: u64,
    /// Keys that needed nothing when they were read again, or could not be read.
    pub skipped: u64,
    /// Keys and function libraries that only the target has and that were left alone.
    pub left: u64,
    /// Differences that were still there when everything was read again.
    pub remaining: u64,
    /// Keys of which nothing could be said then.
    pub undecided: u64,
}

impl Summary {
    /// Takes note of what a repair has done; the result is that of reading everything again.
    pub fn repaired(&mut self, repair: RepairSummary) {
        self.result = match (repair.remaining, repair.undecided, self.result) {
            (0, 0, Verdict::Different) if self.undecided_open() == 0 => Verdict::Equal,
            (0, _, Verdict::Different) => Verdict::Incomplete,
            (_, _, result) => result,
        };
        self.repair = Some(repair);
    }

    /// How many keys nothing can be said about, apart from those that expired.
    pub(super) fn undecided_open(&self) -> u64 {
        let open = [Reason::Changing, Reason::Evicted, Reason::Unreadable];
        let of = |reason: Reason| self.undecided.get(reason.name()).copied().unwrap_or(0);
        open.into_iter().map(of).sum()
    }
}
