//! Streams (types 15, 19, 21, 26, 27): nodes of entries, counters, groups with their pending
//! entries and consumers, and from 8.6 on what recognises repeated XADDs (redis rdb.c
//! rdbSaveObject).
//!
//! ```text
//! len n | n * (str node id, str listpack) | len length | last id
//! from 19:  first id | greatest deleted id | len entries added
//! len n | n * group
//! from 26:  len duration | len size | len n | n * (producer, ids) | len added | len duplicates
//!
//! group:    str name | last id | from 19: len entries read
//!           len n | n * (id, ms delivered, len count)            the pending entries of the group
//!           len n | n * consumer
//!           from 27: len n | n * id                            given back by their consumers
//! consumer: str name | ms seen | from 21: ms active | len n | n * id
//! ```
//!
//! The pending entries of a group have to be kept until its consumers have claimed them: the one
//! place where more than an element is held, 33 bytes for at least 25 bytes of input.

mod node;
mod pending;

pub(crate) use node::Node;

use crate::keyspace::StreamId;
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::part::{
    Part, StreamConsumer, StreamGroup, StreamGroupEnd, StreamIdempotency, StreamMeta, StreamPending,
};
use crate::rdb::value_type::{Family, ValueType};

pub(crate) use pending::{Claim, Pending};

/// A stream that is being read.
#[derive(Debug)]
pub(crate) struct Stream {
    form: Form,
    step: Step,
    nodes_left: u64,
    last_node: Option<StreamId>,
    last_entry: Option<StreamId>,
    groups_left: u64,
    consumers_left: u64,
    pending: Pending,
    group_end: StreamGroupEnd,
    producers_left: u64,
}

/// Which optional fields a stream type has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// From type 19 on: first and greatest deleted id, entries added, entries read.
    pub(crate) counters: bool,
    /// From type 21 on: when a consumer last got something.
    pub(crate) active: bool,
    /// From type 26 on: the idempotency section.
    pub(crate) idempotency: bool,
    /// From type 27 on: the pending entries of a group that nobody owns.
    pub(crate) nacked: bool,
}

#[derive(Debug)]
enum Step {
    Start,
    Nodes,
    Entries(Box<Node>),
    Counters,
    GroupCount,
    Groups,
    PendingCount,
    Pending { left: u64 },
    ConsumerCount,
    Consumers,
    OwnedCount,
    Owned { left: u64 },
    NackedCount,
    Nacked { left: u64 },
    Unowned,
    Idempotency,
    Producers,
    ProducerIds { producer: bytes::Bytes, left: u64 },
    IdempotencyEnd,
    Done,
}

impl Form {
    pub(crate) fn of(value_type: ValueType) -> Option<Self> {
        let redis = value_type.family == Family::Redis;
        let byte = value_type.byte;
        let known = matches!(byte, 15 | 19 | 21) || (redis && matches!(byte, 26 | 27));
        if !known {
            return None;
        }
        // Each type has all that the ones before it have.
        Some(Self {
            counters: byte >= 19,
            active: byte >= 21,
            idempotency: byte >= 26,
            nacked: byte >= 27,
        })
    }
}

impl Stream {
    pub(crate) fn new(value_type: ValueType) -> Option<Self> {
        Some(Self {
            form: Form::of(value_type)?,
            step: Step::Start,
            nodes_left: 0,
            last_node: None,
            last_entry: None,
            groups_left: 0,
            consumers_left: 0,
            pending: Pending::default(),
            group_end: StreamGroupEnd::default(),
            producers_left: 0,
        })
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        while !matches!(self.step, Step::Done) {
            if let Some(part) = self.advance(cursor, limits)? {
                return Ok(Some(part));
            }
            cursor.commit();
        }
        Ok(None)
    }

    /// Takes one step, which may or may not make a part.
    fn advance(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Option<Part>, Stop> {
        match &mut self.step {
            Step::Start => {
                self.nodes_left = cursor.count()?;
                self.step = Step::Nodes;
            }
            Step::Nodes if self.nodes_left == 0 => self.step = Step::Counters,
            Step::Nodes => {
                let node = Node::read(cursor, limits)?;
                if self.last_node >= Some(node.id()) {
                    return Err(cursor.corrupt("the nodes of a stream do not ascend"));
                }
                self.last_node = Some(node.id());
                self.nodes_left -= 1;
                self.step = Step::Entries(Box::new(node));
            }
            Step::Entries(node) => {
                let Some((id, fields)) = node.next_entry()? else {
                    self.step = Step::Nodes;
                    return Ok(None);
                };
                if self.last_entry >= Some(id) {
                    return Err(cursor.corrupt("the entries of a stream do not ascend"));
                }
                self.last_entry = Some(id);
                return Ok(Some(Part::StreamEntry { id, fields }));
            }
            Step::Counters => {
                let meta = self.counters(cursor)?;
                self.step = Step::GroupCount;
                return Ok(Some(Part::StreamMeta(meta)));
            }
            _ => return self.advance_group(cursor, limits),
        }
        Ok(None)
    }

    fn advance_group(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        match &mut self.step {
            Step::GroupCount => {
                self.groups_left = cursor.count()?;
                self.step = Step::Groups;
            }
            Step::Groups if self.groups_left == 0 => {
                self.step = if self.form.idempotency {
                    Step::Idempotency
                } else {
                    Step::Done
                };
            }
            Step::Groups => {
                let group = self.group(cursor, limits)?;
                self.groups_left -= 1;
                self.group_end = StreamGroupEnd::default();
                self.step = Step::PendingCount;
                return Ok(Some(Part::StreamGroup(group)));
            }
            Step::PendingCount => {
                self.pending = Pending::default();
                self.step = Step::Pending {
                    left: cursor.count()?,
                };
            }
            Step::Pending { left: 0 } => {
                let sorted = self.pending.sort();
                sorted.map_err(|flaw| cursor.corrupt(flaw.0))?;
                self.step = Step::ConsumerCount;
            }
            Step::Pending { left } => {
                let id = cursor.stream_id()?;
                let (delivered_at_ms, delivery_count) = (cursor.ms()?, cursor.length()?);
                *left -= 1;
                self.pending.push(StreamPending {
                    id,
                    delivered_at_ms,
                    delivery_count,
                });
            }
            Step::ConsumerCount => {
                self.consumers_left = cursor.count()?;
                self.step = Step::Consumers;
            }
            Step::Consumers if self.consumers_left == 0 && self.form.nacked => {
                self.step = Step::NackedCount;
            }
            Step::Consumers if self.consumers_left == 0 => self.step = Step::Unowned,
            Step::Consumers => {
                let consumer = self.consumer(cursor, limits)?;
                self.consumers_left -= 1;
                self.step = Step::OwnedCount;
                return Ok(Some(Part::StreamConsumer(consumer)));
            }
            Step::OwnedCount => {
                self.step = Step::Owned {
                    left: cursor.count()?,
                }
            }
            Step::Owned { left: 0 } => self.step = Step::Consumers,
            Step::Owned { left } => {
                let id = cursor.stream_id()?;
                *left -= 1;
                match self.pending.claim(id) {
                    Claim::First(pending) => return Ok(Some(Part::StreamPending(pending))),
                    Claim::Again => self.group_end.pending_contested += 1,
                    Claim::Unknown => {
                        let what = "a consumer owns an entry that is not pending in its group";
                        return Err(cursor.corrupt(what));
                    }
                }
            }
            Step::NackedCount => {
                self.step = Step::Nacked {
                    left: cursor.count()?,
                }
            }
            Step::Nacked { left: 0 } => self.step = Step::Unowned,
            Step::Nacked { left } => {
                let id = cursor.stream_id()?;
                *left -= 1;
                match self.pending.claim(id) {
                    Claim::First(pending) => return Ok(Some(Part::StreamNacked(pending))),
                    Claim::Again => self.group_end.pending_contested += 1,
                    Claim::Unknown => {
                        let what = "an entry was given back that is not pending in its group";
                        return Err(cursor.corrupt(what));
                    }
                }
            }
            Step::Unowned => return Ok(Some(self.unowned())),
            _ => return self.advance_idempotency(cursor, limits),
        }
        Ok(None)
    }

    /// The next entry that nobody has, or the end of the group.
    fn unowned(&mut self) -> Part {
        if let Some(pending) = self.pending.claim_next() {
            self.group_end.pending_unowned += 1;
            return Part::StreamUnowned(pending);
        }
        self.pending = Pending::default();
        self.step = Step::Groups;
        Part::StreamGroupEnd(self.group_end)
    }

    fn advance_idempotency(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        match &mut self.step {
            Step::Idempotency => {
                let (duration_s, entries_max) = (cursor.length()?, cursor.length()?);
                let producers = cursor.count()?;
                self.producers_left = producers;
                self.step = Step::Producers;
                let config = StreamIdempotency {
                    duration_s,
                    entries_max,
                    producers,
                };
                return Ok(Some(Part::StreamIdempotency(config)));
            }
            Step::Producers if self.producers_left == 0 => self.step = Step::IdempotencyEnd,
            Step::Producers => {
                let (producer, left) = cursor.string_and(limits, Cursor::count)?;
                self.step = Step::ProducerIds {
                    producer: producer.into_bytes(),
                    left,
                };
                self.producers_left -= 1;
            }
            Step::ProducerIds { left: 0, .. } => self.step = Step::Producers,
            Step::ProducerIds { producer, left } => {
                let (idempotent_id, id) = cursor.string_and(limits, id_of_lengths)?;
                *left -= 1;
                let (producer, idempotent_id) = (producer.clone(), idempotent_id.into_bytes());
                return Ok(Some(Part::StreamIdempotentId {
                    producer,
                    idempotent_id,
                    id,
                }));
            }
            Step::IdempotencyEnd => {
                let (ids_added, duplicates) = (cursor.length()?, cursor.length()?);
                self.step = Step::Done;
                return Ok(Some(Part::StreamIdempotencyEnd {
                    ids_added,
                    duplicates,
                }));
            }
            // All others were taken care of on the way here.
            _ => self.step = Step::Done,
        }
        Ok(None)
    }

    fn counters(&self, cursor: &mut Cursor<'_>) -> Result<StreamMeta, Stop> {
        let (length, last_id) = (cursor.length()?, id_of_lengths(cursor)?);
        let mut meta = StreamMeta {
            length,
            last_id,
            max_deleted_id: None,
            entries_added: None,
        };
        if self.form.counters {
            // The first id, which the entries say themselves.
            id_of_lengths(cursor)?;
            meta.max_deleted_id = Some(id_of_lengths(cursor)?);
            meta.entries_added = Some(cursor.length()?);
        }
        Ok(meta)
    }

    fn group(&self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<StreamGroup, Stop> {
        let counters = self.form.counters;
        let (name, (last_id, entries_read)) = cursor.string_and(limits, |cursor| {
            let last_id = id_of_lengths(cursor)?;
            // Servers store -1 where they do not know.
            let entries_read = match counters {
                true => Some(cursor.length()?).filter(|count| *count != u64::MAX),
                false => None,
            };
            Ok((last_id, entries_read))
        })?;
        Ok(StreamGroup {
            name: name.into_bytes(),
            last_id,
            entries_read,
        })
    }

    fn consumer(&self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<StreamConsumer, Stop> {
        let active = self.form.active;
        let (name, (seen_at_ms, active_at_ms)) = cursor.string_and(limits, |cursor| {
            let seen_at_ms = cursor.ms()?;
            // Servers store -1 for never.
            let active_at_ms = match active {
                true => Some(cursor.ms()?).filter(|time| *time != -1),
                false => None,
            };
            Ok((seen_at_ms, active_at_ms))
        })?;
        Ok(StreamConsumer {
            name: name.into_bytes(),
            seen_at_ms,
            active_at_ms,
        })
    }
}

/// A stream id as two lengths.
pub(crate) fn id_of_lengths(cursor: &mut Cursor<'_>) -> Result<StreamId, Stop> {
    Ok(StreamId {
        ms: cursor.length()?,
        seq: cursor.length()?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes};

    use super::*;
    use crate::rdb::{Event, ValueParser};

    fn id(seq: u64) -> [u8; 16] {
        u128::from(seq).to_be_bytes()
    }

    /// An empty stream with one group, in which entries 1 to 3 are pending, these consumers with
    /// the entries they claim, and from type 27 on the entries that were given back.
    fn stream(byte: u8, consumers: &[&[u64]], nacked: &[u64]) -> Bytes {
        let mut body = b"\0\0\0\0".to_vec();
        if byte >= 19 {
            body.put_slice(&[0; 5]);
        }
        body.put_slice(b"\x01\x01g\0\0");
        if byte >= 19 {
            body.put_u8(0);
        }
        body.put_u8(3);
        for seq in 1..=3 {
            body.put_slice(&id(seq));
            body.put_i64_le(1000 + seq as i64);
            body.put_u8(seq as u8);
        }
        body.put_u8(consumers.len() as u8);
        for claims in consumers {
            body.put_slice(b"\x01c");
            body.put_i64_le(5);
            if byte >= 21 {
                body.put_i64_le(-1);
            }
            body.put_u8(claims.len() as u8);
            claims.iter().for_each(|seq| body.put_slice(&id(*seq)));
        }
        if byte >= 27 {
            body.put_u8(nacked.len() as u8);
            nacked.iter().for_each(|seq| body.put_slice(&id(*seq)));
        }
        if byte >= 26 {
            body.put_slice(b"\x40\x64\x40\x64\0\0\0");
        }
        body.into()
    }

    /// The entries that have owners, those that were given back, those that are nobody's, and the
    /// end of the group.
    type Found = (Vec<u64>, Vec<u64>, Vec<u64>, StreamGroupEnd);

    fn pending(byte: u8, consumers: &[&[u64]], nacked: &[u64]) -> Result<Found, crate::rdb::Error> {
        let body = stream(byte, consumers, nacked);
        let mut parser = ValueParser::new(ValueType::common(byte), body, Limits::default());
        let (mut owned, mut nacked_found, mut unowned) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = None;
        while let Some(event) = parser.next_event()? {
            let (list, pending) = match event {
                Event::Part(Part::StreamPending(pending)) => (&mut owned, pending),
                Event::Part(Part::StreamNacked(pending)) => (&mut nacked_found, pending),
                Event::Part(Part::StreamUnowned(pending)) => (&mut unowned, pending),
                Event::Part(Part::StreamGroupEnd(found)) => {
                    end = Some(found);
                    continue;
                }
                _ => continue,
            };
            let seq = pending.id.seq;
            let found = (pending.delivered_at_ms, pending.delivery_count);
            assert_eq!(found, (1000 + seq as i64, seq));
            list.push(seq);
        }
        Ok((owned, nacked_found, unowned, end.expect("every group ends")))
    }

    fn end(pending_unowned: u64, pending_contested: u64) -> StreamGroupEnd {
        StreamGroupEnd {
            pending_unowned,
            pending_contested,
        }
    }

    #[test]
    fn pending_entries_follow_their_first_owner_and_the_others_are_counted() {
        for (name, consumers, owned, unowned, end) in [
            (
                "each has one",
                &[&[1, 3][..], &[2]][..],
                vec![1, 3, 2],
                vec![],
                end(0, 0),
            ),
            ("nobody has 2", &[&[1, 3]], vec![1, 3], vec![2], end(1, 0)),
            (
                "both have 1",
                &[&[1, 2, 3], &[1]],
                vec![1, 2, 3],
                vec![],
                end(0, 1),
            ),
            ("no consumers", &[], vec![], vec![1, 2, 3], end(3, 0)),
        ] {
            for byte in [15, 19, 21, 26, 27] {
                let expected = Ok((owned.clone(), vec![], unowned.clone(), end));
                assert_eq!(pending(byte, consumers, &[]), expected, "{name}, {byte}");
            }
        }
        assert!(pending(15, &[&[4]], &[]).is_err(), "4 is not pending");
    }

    #[test]
    fn entries_that_were_given_back_are_delivered_in_their_order() {
        for (name, consumers, nacked, expected) in [
            (
                "two of three",
                &[&[2][..]][..],
                &[3, 1][..],
                (vec![2], vec![3, 1], vec![], end(0, 0)),
            ),
            (
                "all, no consumer",
                &[],
                &[1, 2, 3],
                (vec![], vec![1, 2, 3], vec![], end(0, 0)),
            ),
            (
                "owned all the same",
                &[&[1]],
                &[1, 2],
                (vec![1], vec![2], vec![3], end(1, 1)),
            ),
        ] {
            assert_eq!(pending(27, consumers, nacked), Ok(expected), "{name}");
        }
        assert!(pending(27, &[], &[4]).is_err(), "4 is not pending");
    }
}
