//! Losses in the log: a line for each key that has some, up to a number of lines.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;

use crate::keyspace::{Db, Escaped};

/// Keys that are named in the log, per kind of loss; all losses are counted.
const NAMED_MAX: u64 = 100;

/// Counts losses of some kinds and names the keys that have them.
///
/// A key is named once for each kind, with how often it has it, as soon as another key loses
/// something; how many more there are is said when this is dropped.
#[derive(Debug)]
pub struct LossNames<L: Ord + Copy + fmt::Display> {
    /// What stands before a loss in the log: who cannot do what with it.
    says: String,
    /// The key that lost something last.
    last: Option<(Db, Bytes)>,
    /// What it has lost.
    of_last: BTreeMap<L, u64>,
    kinds: BTreeMap<L, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    /// Keys whose lines were written, or would have been.
    keys: u64,
}

impl<L: Ord + Copy + fmt::Display> LossNames<L> {
    /// Begins without any; the log says what `says` and the loss say together.
    pub fn new(says: String) -> LossNames<L> {
        LossNames {
            says,
            last: None,
            of_last: BTreeMap::new(),
            kinds: BTreeMap::new(),
        }
    }

    /// Counts that a key loses something so many times.
    pub fn lose(&mut self, loss: L, count: u64, db: Db, key: &Bytes) {
        if self
            .last
            .as_ref()
            .is_none_or(|last| *last != (db, key.clone()))
        {
            self.name_last();
            // A copy of its own: the name is a slice of a buffer that would live as long.
            self.last = Some((db, Bytes::copy_from_slice(key)));
        }
        *self.of_last.entry(loss).or_default() += count;
        self.kinds.entry(loss).or_default().count += count;
    }

    /// How much was lost, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (L, u64)> {
        self.kinds.iter().map(|(loss, kind)| (*loss, kind.count))
    }

    /// How much was lost, of all kinds.
    pub fn total(&self) -> u64 {
        self.kinds.values().map(|kind| kind.count).sum()
    }

    fn name_last(&mut self) {
        let Some((db, key)) = self.last.take() else {
            return;
        };
        let says = &self.says;
        for (loss, count) in std::mem::take(&mut self.of_last) {
            let kind = self.kinds.entry(loss).or_default();
            kind.keys += 1;
            if kind.keys <= NAMED_MAX {
                tracing::warn!(%db, key = %Escaped(&key), count, "{says} {loss}");
            }
        }
    }
}

impl<L: Ord + Copy + fmt::Display> Drop for LossNames<L> {
    fn drop(&mut self) {
        self.name_last();
        for (loss, kind) in &self.kinds {
            let more = kind.keys.saturating_sub(NAMED_MAX);
            if more > 0 {
                tracing::warn!("and {more} more keys: {} {loss}", self.says);
            }
        }
    }
}
