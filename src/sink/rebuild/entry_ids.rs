//! The ids of a stream's live entries, kept small.
//!
//! Pending entries come after the entries of a stream, and servers from 7.0 on do not make an
//! entry pending that is not there. To tell such a loss, the ids must be remembered: as
//! differences, in blocks that can be searched. About three bytes an entry.
//!
//! ```text
//! block  ──► first id, and where its differences begin
//! bytes  ──► (ms difference, seq difference or seq) ... as LEB128, for the other ids of a block
//! ```

use crate::keyspace::StreamId;

/// How many ids share one block.
const BLOCK_IDS: usize = 128;

/// A set of ascending ids.
#[derive(Debug, Default)]
pub(super) struct EntryIds {
    blocks: Vec<(StreamId, usize)>,
    bytes: Vec<u8>,
    in_last_block: usize,
    last: StreamId,
}

impl EntryIds {
    /// Adds an id that is greater than the last one; others are not found again.
    pub(super) fn push(&mut self, id: StreamId) {
        if self.blocks.is_empty() || self.in_last_block == BLOCK_IDS {
            self.blocks.push((id, self.bytes.len()));
            self.in_last_block = 0;
        } else {
            let ms = id.ms.wrapping_sub(self.last.ms);
            write(&mut self.bytes, ms);
            // Within a millisecond the difference is small, in a later one the sequence is.
            let base = if ms == 0 { self.last.seq } else { 0 };
            write(&mut self.bytes, id.seq.wrapping_sub(base));
        }
        self.in_last_block += 1;
        self.last = id;
    }

    /// Whether the id was added.
    pub(super) fn contains(&self, id: StreamId) -> bool {
        let after = self.blocks.partition_point(|(first, _)| *first <= id);
        let Some(&(mut at, from)) = after.checked_sub(1).and_then(|n| self.blocks.get(n)) else {
            return false;
        };
        let until = self
            .blocks
            .get(after)
            .map_or(self.bytes.len(), |next| next.1);
        let mut rest = self.bytes.get(from..until).unwrap_or_default();
        while at < id {
            let (Some(ms), Some(seq)) = (read(&mut rest), read(&mut rest)) else {
                return false;
            };
            let base = if ms == 0 { at.seq } else { 0 };
            at = StreamId {
                ms: at.ms.wrapping_add(ms),
                seq: base.wrapping_add(seq),
            };
        }
        at == id
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_added_is_found_and_nothing_else(
            ids in prop::collection::btree_set(
                (prop_oneof![0..40u64, any::<u64>()], prop_oneof![0..40u64, any::<u64>()]), 0..600),
            others in prop::collection::vec((0..40u64, 0..40u64), 0..200),
        ) {
            let mut kept = EntryIds::default();
            let ids: BTreeSet<StreamId> = ids.into_iter().map(|(ms, seq)| StreamId { ms, seq }).collect();
            ids.iter().for_each(|id| kept.push(*id));
            for id in &ids {
                prop_assert!(kept.contains(*id), "{}", id);
            }
            for (ms, seq) in others {
                let id = StreamId { ms, seq };
                prop_assert_eq!(kept.contains(id), ids.contains(&id), "{}", id);
            }
        }
    }

    #[test]
    fn an_entry_costs_three_bytes() {
        let mut kept = EntryIds::default();
        for n in 0..10_000u64 {
            kept.push(StreamId {
                ms: 1_795_000_000_000 + n * 100,
                seq: n % 3,
            });
        }
        assert!(kept.bytes.len() + kept.blocks.len() * 24 < 30_000);
    }
}
