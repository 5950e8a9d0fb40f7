//! Streams: what an older server does not know is left out.
//!
//! The types nest: 27 is 26 with the entries of each group that nobody owns, 26 is 21 with
//! idempotency behind the groups, 21 is 19 with the time a consumer was last active, 19 is 15 with
//! more counters. So nodes, groups and pending entries are copied as they stand. The number of
//! entries is counted: some old servers wrote one that is too high, which Valkey 9.1 refuses.
//!
//! An entry that nobody owns, because its consumer gave it back or a server had a bug, goes to the
//! first consumer of its group, where there is none to [`OWNER_OF_NACKED`]: servers before 8.8
//! take no pending entry without an owner, and one that is not pending is never delivered again.
//! That it was given back is lost then; of the bug nothing is, the entry can be claimed as before.
//! One that several consumers own, by a bug too, stays with the first of them, and the others lose
//! it. All that is known at the end of a group, so its consumers are held until then.
//!
//! Counters and the time a consumer was last active are bookkeeping: leaving them out is no loss.

use crate::keyspace::{Loss, StreamId};
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::length::{put_length, put_string};
use crate::rdb::limits::Limits;
use crate::rdb::loss::Losses;
use crate::rdb::part::StreamPending;
use crate::rdb::value::stream::{Claim, Form, Node, Pending, id_of_lengths};
use crate::rdb::value_type::ValueType;

use super::Progress;

const ID_BYTES: usize = 16;
/// Who gets the entries that nobody owns, in a group without consumers.
pub(crate) const OWNER_OF_NACKED: &[u8] = b"keyferry";

/// A stream that is copied while it is read.
#[derive(Debug)]
pub(super) struct StreamConversion {
    source: Form,
    target: Form,
    step: Step,
    entries: u64,
    groups_left: u64,
    consumers_left: u64,
    producers_left: u64,
    /// The entries that are pending in the group.
    pending: Pending,
    held: Consumers,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Start,
    Nodes { left: u64 },
    Counters,
    GroupCount,
    Groups,
    Pending { left: u64 },
    ConsumerCount,
    Consumers,
    Owned { left: u64 },
    NackedCount,
    Nacked { left: u64 },
    Idempotency,
    Producers,
    ProducerIds { left: u64 },
    IdempotencyEnd,
    Done,
}

impl StreamConversion {
    /// `None` unless both are streams, the target not the newer one.
    pub(super) fn new(from: ValueType, to: ValueType) -> Option<Self> {
        let (source, target) = (Form::of(from)?, Form::of(to)?);
        (to.byte <= from.byte).then_some(Self {
            source,
            target,
            step: Step::Start,
            entries: 0,
            groups_left: 0,
            consumers_left: 0,
            producers_left: 0,
            pending: Pending::default(),
            held: Consumers::default(),
        })
    }

    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<Progress, Stop> {
        self.step = match self.step {
            Step::Start => Step::Nodes {
                left: copy_count(cursor, out)?,
            },
            Step::Nodes { left: 0 } => Step::Counters,
            Step::Nodes { left } => {
                self.node(cursor, limits, out)?;
                Step::Nodes { left: left - 1 }
            }
            Step::Counters => {
                self.counters(cursor, out)?;
                Step::GroupCount
            }
            Step::GroupCount => {
                self.groups_left = copy_count(cursor, out)?;
                Step::Groups
            }
            Step::Groups if self.groups_left > 0 => {
                let left = self.group(cursor, limits, out)?;
                self.groups_left -= 1;
                self.pending = Pending::default();
                Step::Pending { left }
            }
            Step::Groups if self.source.idempotency => Step::Idempotency,
            Step::Groups => Step::Done,
            step @ (Step::Idempotency
            | Step::Producers
            | Step::ProducerIds { .. }
            | Step::IdempotencyEnd) => self.idempotency(step, cursor, limits, out, losses)?,
            step => self.in_group(step, cursor, limits, out, losses)?,
        };
        Ok(match self.step {
            Step::Done => Progress::Ended,
            _ => Progress::More,
        })
    }

    /// The pending entries of a group and its consumers.
    fn in_group(
        &mut self,
        step: Step,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<Step, Stop> {
        Ok(match step {
            Step::Pending { left: 0 } => {
                let sorted = self.pending.sort();
                sorted.map_err(|flaw| cursor.corrupt(flaw.0))?;
                Step::ConsumerCount
            }
            Step::Pending { left } => {
                let (id, delivered_at_ms, delivery_count) = copy(cursor, out, |cursor| {
                    Ok((cursor.stream_id()?, cursor.ms()?, cursor.length()?))
                })?;
                self.pending.push(StreamPending {
                    id,
                    delivered_at_ms,
                    delivery_count,
                });
                Step::Pending { left: left - 1 }
            }
            Step::ConsumerCount => {
                self.consumers_left = cursor.count()?;
                Step::Consumers
            }
            Step::Consumers if self.consumers_left > 0 => {
                let left = self.consumer(cursor, limits)?;
                self.consumers_left -= 1;
                Step::Owned { left }
            }
            Step::Consumers if self.source.nacked => Step::NackedCount,
            Step::Owned { left: 0 } => Step::Consumers,
            Step::Owned { left } => {
                if let Some(id) = self.claim(cursor, losses)? {
                    self.held.own(id);
                }
                Step::Owned { left: left - 1 }
            }
            Step::NackedCount => Step::Nacked {
                left: cursor.count()?,
            },
            Step::Nacked { left: left @ 1.. } => {
                if let Some(id) = self.claim(cursor, losses)? {
                    put_id(&mut self.held.nacked, id);
                }
                Step::Nacked { left: left - 1 }
            }
            _ => {
                let mut held = std::mem::take(&mut self.held);
                if !self.target.nacked {
                    losses.add(Loss::NackedEntry, (held.nacked.len() / ID_BYTES) as u64);
                }
                while let Some(pending) = self.pending.claim_next() {
                    put_id(&mut held.nacked, pending.id);
                }
                held.write(self.target, out);
                Step::Groups
            }
        })
    }

    /// Reads the id of an entry; `None` if somebody has it already.
    fn claim(
        &mut self,
        cursor: &mut Cursor<'_>,
        losses: &mut Losses,
    ) -> Result<Option<StreamId>, Stop> {
        let id = cursor.stream_id()?;
        match self.pending.claim(id) {
            Claim::First(_) => Ok(Some(id)),
            Claim::Again => {
                losses.add(Loss::ContestedEntry, 1);
                Ok(None)
            }
            Claim::Unknown => {
                Err(cursor.corrupt("an entry has an owner that is not pending in its group"))
            }
        }
    }

    fn idempotency(
        &mut self,
        step: Step,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<Step, Stop> {
        let kept = self.target.idempotency;
        Ok(match step {
            Step::Idempotency => {
                self.producers_left = copy_if(kept, cursor, out, |cursor| {
                    cursor.length()?;
                    cursor.length()?;
                    cursor.count()
                })?;
                Step::Producers
            }
            Step::Producers if self.producers_left == 0 => Step::IdempotencyEnd,
            Step::Producers => {
                let left = copy_if(kept, cursor, out, |cursor| {
                    cursor.pass_string(limits)?;
                    cursor.count()
                })?;
                self.producers_left -= 1;
                if !kept && left > 0 {
                    losses.add_once(Loss::StreamIdempotency);
                }
                Step::ProducerIds { left }
            }
            Step::ProducerIds { left: 0 } => Step::Producers,
            Step::ProducerIds { left } => {
                copy_if(kept, cursor, out, |cursor| {
                    cursor.pass_string(limits)?;
                    id_of_lengths(cursor)
                })?;
                Step::ProducerIds { left: left - 1 }
            }
            Step::IdempotencyEnd => {
                copy_if(kept, cursor, out, |cursor| {
                    cursor.length()?;
                    cursor.length()
                })?;
                Step::Done
            }
            // All others were taken care of on the way here.
            _ => Step::Done,
        })
    }

    fn node(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let start = cursor.pos();
        let mut node = Node::read(cursor, limits)?;
        let mut entries = 0;
        while node.next_entry()?.is_some() {
            entries += 1;
        }
        self.entries += entries;
        out.extend_from_slice(cursor.since(start));
        Ok(())
    }

    fn counters(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        // The number of entries that is stored.
        cursor.length()?;
        put_length(out, self.entries);
        copy(cursor, out, id_of_lengths)?;
        if self.source.counters {
            copy_if(self.target.counters, cursor, out, |cursor| {
                // The first id, the greatest deleted one, and how many entries were added.
                id_of_lengths(cursor)?;
                id_of_lengths(cursor)?;
                cursor.length()
            })?;
        }
        Ok(())
    }

    /// Copies a group up to its pending entries, and returns how many those are.
    fn group(
        &self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<u64, Stop> {
        copy(cursor, out, |cursor| {
            cursor.pass_string(limits)?;
            id_of_lengths(cursor)
        })?;
        if self.source.counters {
            // How many entries were read.
            copy_if(self.target.counters, cursor, out, Cursor::length)?;
        }
        copy_count(cursor, out)
    }

    /// Holds a consumer, and returns how many entries it owns.
    fn consumer(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<u64, Stop> {
        let mut head = Vec::new();
        copy(cursor, &mut head, |cursor| {
            cursor.pass_string(limits)?;
            cursor.ms()
        })?;
        if self.source.active {
            copy_if(self.target.active, cursor, &mut head, Cursor::ms)?;
        }
        let owned = cursor.count()?;
        self.held.consumers.push((head, Vec::new()));
        Ok(owned)
    }
}

/// The consumers of a group, which are held until it is known what the first one gets.
#[derive(Debug, Default)]
struct Consumers {
    /// Name and times of each, and the ids of the entries it owns.
    consumers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The ids of the entries that nobody owns.
    nacked: Vec<u8>,
}

impl Consumers {
    /// The last consumer owns an entry.
    fn own(&mut self, id: StreamId) {
        if let Some((_, owned)) = self.consumers.last_mut() {
            put_id(owned, id);
        }
    }

    /// Writes the consumers, and who owns what nobody does.
    fn write(mut self, target: Form, out: &mut Vec<u8>) {
        if !target.nacked && !self.nacked.is_empty() {
            if self.consumers.is_empty() {
                self.consumers.push((never_seen(target), Vec::new()));
            }
            if let Some((_, owned)) = self.consumers.first_mut() {
                owned.append(&mut self.nacked);
            }
        }
        put_length(out, self.consumers.len() as u64);
        for (head, owned) in &self.consumers {
            out.extend_from_slice(head);
            put_ids(out, owned);
        }
        if target.nacked {
            put_ids(out, &self.nacked);
        }
    }
}

/// Name and times of a consumer that is made up.
fn never_seen(target: Form) -> Vec<u8> {
    let mut head = Vec::new();
    put_string(&mut head, OWNER_OF_NACKED);
    head.extend_from_slice(&0_i64.to_le_bytes());
    if target.active {
        head.extend_from_slice(&(-1_i64).to_le_bytes());
    }
    head
}

fn put_id(out: &mut Vec<u8>, StreamId { ms, seq }: StreamId) {
    out.extend_from_slice(&ms.to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
}

fn put_ids(out: &mut Vec<u8>, ids: &[u8]) {
    put_length(out, (ids.len() / ID_BYTES) as u64);
    out.extend_from_slice(ids);
}

/// Reads a count and copies it.
fn copy_count(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<u64, Stop> {
    copy(cursor, out, Cursor::count)
}

/// Reads something and copies what was read.
fn copy<'a, T>(
    cursor: &mut Cursor<'a>,
    out: &mut Vec<u8>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    copy_if(true, cursor, out, read)
}

/// Reads something and, if it is `kept`, copies what was read.
fn copy_if<'a, T>(
    kept: bool,
    cursor: &mut Cursor<'a>,
    out: &mut Vec<u8>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let start = cursor.pos();
    let value = read(cursor)?;
    if kept {
        out.extend_from_slice(cursor.since(start));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes};

    use super::*;
    use crate::rdb::{Event, Part, ValueParser, convert};

    /// An empty stream of type 21 with a group in which entries 1 to 3 are pending, and consumers
    /// that own these.
    fn stream(consumers: &[&[u64]]) -> Bytes {
        let mut body = b"\0\0\0\0\0\0\0\0\0\x01\x01g\0\0\0\x03".to_vec();
        let id = |seq| StreamId { ms: 0, seq };
        for seq in 1..=3 {
            put_id(&mut body, id(seq));
            body.put_slice(&[0; 9]);
        }
        body.put_u8(consumers.len() as u8);
        for owned in consumers {
            body.put_slice(b"\x01c");
            body.put_slice(&[0; 16]);
            body.put_u8(owned.len() as u8);
            owned.iter().for_each(|seq| put_id(&mut body, id(*seq)));
        }
        body.into()
    }

    #[test]
    fn every_pending_entry_gets_one_owner() {
        for (consumers, owned, losses) in [
            (&[&[1, 2][..], &[3]][..], &[&[1, 2][..], &[3]][..], &[][..]),
            (&[&[2], &[3]], &[&[2, 1], &[3]], &[]),
            (
                &[&[1, 2], &[1, 2, 3]],
                &[&[1, 2], &[3]],
                &[(Loss::ContestedEntry, 2)],
            ),
            (&[], &[&[1, 2, 3]], &[]),
        ] {
            let kind = ValueType::common(21);
            let converted = convert(stream(consumers), kind, kind, &Limits::default()).unwrap();
            assert_eq!(converted.losses, losses, "{consumers:?}");
            let body = Bytes::from(converted.body);
            let mut parser = ValueParser::new(kind, body, Limits::default());
            let mut found: Vec<Vec<u64>> = Vec::new();
            while let Some(event) = parser.next_event().unwrap() {
                match event {
                    Event::Part(Part::StreamConsumer(_)) => found.push(Vec::new()),
                    Event::Part(Part::StreamPending(pending)) => {
                        found.last_mut().unwrap().push(pending.id.seq);
                    }
                    Event::Part(Part::StreamGroupEnd(end)) => assert_eq!(end, Default::default()),
                    _ => {}
                }
            }
            assert_eq!(found, owned, "{consumers:?}");
        }
    }
}
