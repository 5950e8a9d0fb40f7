//! The pending entries of a consumer group, kept until its consumers have claimed them.

use crate::keyspace::StreamId;
use crate::rdb::cursor::Flaw;
use crate::rdb::part::StreamPending;

/// Pending entries in the order of their ids, and which of them have an owner.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: Vec<StreamPending>,
    claimed: Vec<bool>,
    /// Before here all are claimed.
    unclaimed_from: usize,
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody had claimed the entry.
    First(StreamPending),
    /// Somebody had.
    Again,
    /// There is no such entry.
    Unknown,
}

impl Pending {
    pub(crate) fn push(&mut self, pending: StreamPending) {
        self.entries.push(pending);
    }

    /// Call once after the last entry. Servers write them in order, so there is nothing to do.
    pub(crate) fn sort(&mut self) -> Result<(), Flaw> {
        if !self.entries.is_sorted_by_key(|pending| pending.id) {
            self.entries.sort_unstable_by_key(|pending| pending.id);
        }
        if self.entries.is_sorted_by(|one, next| one.id < next.id) {
            self.claimed = vec![false; self.entries.len()];
            return Ok(());
        }
        Err(Flaw("an entry is pending twice in one group"))
    }

    pub(crate) fn claim(&mut self, id: StreamId) -> Claim {
        let found = self.entries.binary_search_by_key(&id, |pending| pending.id);
        let entry = found
            .ok()
            .and_then(|at| self.entries.get(at).zip(self.claimed.get_mut(at)));
        match entry {
            None => Claim::Unknown,
            Some((_, true)) => Claim::Again,
            Some((pending, claimed)) => {
                *claimed = true;
                Claim::First(*pending)
            }
        }
    }

    /// Claims the first entry that nobody has claimed, if there is one.
    pub(crate) fn claim_next(&mut self) -> Option<StreamPending> {
        let unclaimed = self.claimed.get_mut(self.unclaimed_from..)?;
        let ahead = unclaimed.iter().position(|claimed| !claimed);
        let at = ahead.map_or(self.claimed.len(), |ahead| self.unclaimed_from + ahead);
        self.unclaimed_from = at;
        *self.claimed.get_mut(at)? = true;
        self.entries.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> StreamPending {
        let id = StreamId { ms: 5, seq };
        StreamPending {
            id,
            delivered_at_ms: 100 + seq as i64,
            delivery_count: seq,
        }
    }

    #[test]
    fn gives_each_entry_to_the_first_claim() {
        let mut pending = Pending::default();
        [3, 1, 2]
            .into_iter()
            .for_each(|seq| pending.push(entry(seq)));
        pending.sort().unwrap();
        assert_eq!(pending.claim(entry(2).id), Claim::First(entry(2)));
        assert_eq!(pending.claim(entry(3).id), Claim::First(entry(3)));
        assert_eq!(pending.claim(entry(2).id), Claim::Again);
        assert_eq!(pending.claim(entry(4).id), Claim::Unknown);
        assert_eq!(pending.claim_next(), Some(entry(1)));
        assert_eq!(pending.claim(entry(1).id), Claim::Again);
        assert_eq!(pending.claim_next(), None);
    }

    #[test]
    fn refuses_an_entry_given_twice() {
        let mut pending = Pending::default();
        [1, 2, 1]
            .into_iter()
            .for_each(|seq| pending.push(entry(seq)));
        assert!(pending.sort().is_err());
    }
}
