//! Counts what is lost of a value that is converted.

use crate::keyspace::Loss;

/// How often something was lost, by kind.
#[derive(Debug, Default)]
pub(crate) struct Losses(std::collections::BTreeMap<Loss, u64>);

impl Losses {
    pub(crate) fn add(&mut self, loss: Loss, count: u64) {
        if count > 0 {
            *self.0.entry(loss).or_default() += count;
        }
    }

    /// Counts what is lost of a value as a whole.
    pub(crate) fn add_once(&mut self, loss: Loss) {
        self.0.insert(loss, 1);
    }

    /// Takes one kind out.
    pub(crate) fn take(&mut self) -> Option<(Loss, u64)> {
        self.0.pop_first()
    }
}
