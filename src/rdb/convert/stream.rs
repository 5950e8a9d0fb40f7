//! Streams: what an older server does not know is left out.
//!
//! The types nest: 27 is 26 with the entries of each group that nobody owns, 26 is 21 with idempotency behind the groups, 21 is 19 with the time a consumer
//! was last active, 19 is 15 with more counters. So nodes, groups and pending entries are copied
//! as they stand. The number of entries is counted: some old servers wrote one that is too high,
//! which Valkey 9.1 refuses.
//!
//! Counters, the time a consumer was last active and how a stream recognises repeated XADDs are
//! bookkeeping: leaving them out is no loss, unless XADDs are recorded.
//!
//! An entry that nobody owns because its consumer gave it back goes to the first consumer of its
//! group, where there is none to one called `keyferry`: servers before 8.8 take no pending entry
//! without an owner, and one that is not pending is never delivered again. Those entries stand
//! behind the consumers, so the consumers of such a group are held until then.

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::event::ValueType;
use crate::rdb::length::{put_length, put_string};
use crate::rdb::limits::Limits;
use crate::rdb::loss::{Loss, Losses};
use crate::rdb::value::stream::{Form, Node, id_of_lengths};

use super::Progress;

const ID_BYTES: usize = 16;
/// Who gets the entries that nobody owns, in a group without consumers.
const OWNER_OF_NACKED: &[u8] = b"keyferry";

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
    /// The consumers of the group, where entries that nobody owns may follow that are given to one.
    held: Option<Consumers>,
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
            held: None,
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
                Step::Pending { left }
            }
            Step::Groups if self.source.idempotency => Step::Idempotency,
            Step::Groups => Step::Done,
            Step::Pending { left: 0 } => Step::ConsumerCount,
            Step::Pending { left } => {
                copy(cursor, out, |cursor| {
                    cursor.stream_id()?;
                    cursor.ms()?;
                    cursor.length()
                })?;
                Step::Pending { left: left - 1 }
            }
            Step::ConsumerCount => {
                if self.source.nacked && !self.target.nacked {
                    self.consumers_left = cursor.count()?;
                    self.held = Some(Consumers::new(self.consumers_left, self.target));
                } else {
                    self.consumers_left = copy_count(cursor, out)?;
                }
                Step::Consumers
            }
            Step::Consumers if self.consumers_left > 0 => {
                let left = self.consumer(cursor, limits, out)?;
                self.consumers_left -= 1;
                Step::Owned { left }
            }
            Step::Consumers if self.source.nacked => Step::NackedCount,
            Step::Consumers => Step::Groups,
            Step::Owned { left: 0 } => Step::Consumers,
            Step::Owned { left } => {
                match &mut self.held {
                    None => drop(copy(cursor, out, Cursor::stream_id)?),
                    Some(held) => held.own(cursor)?,
                }
                Step::Owned { left: left - 1 }
            }
            Step::NackedCount => Step::Nacked {
                left: match &self.held {
                    None => copy_count(cursor, out)?,
                    Some(_) => cursor.count()?,
                },
            },
            Step::Nacked { left: 0 } => {
                if let Some(held) = self.held.take() {
                    held.write(out, losses);
                }
                Step::Groups
            }
            Step::Nacked { left } => {
                match &mut self.held {
                    None => drop(copy(cursor, out, Cursor::stream_id)?),
                    Some(held) => held.give_to_first(cursor)?,
                }
                Step::Nacked { left: left - 1 }
            }
            step => self.idempotency(step, cursor, limits, out, losses)?,
        };
        Ok(match self.step {
            Step::Done => Progress::Ended,
            _ => Progress::More,
        })
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
        if !self.source.counters {
            return Ok(());
        }
        copy_if(self.target.counters, cursor, out, |cursor| {
            // The first id, the greatest deleted one, how many were ever added.
            id_of_lengths(cursor)?;
            id_of_lengths(cursor)?;
            cursor.length()
        })?;
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
            copy_if(self.target.counters, cursor, out, Cursor::length)?;
        }
        copy_count(cursor, out)
    }

    /// Copies a consumer up to the entries it owns, or holds it, and returns how many those are.
    fn consumer(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<u64, Stop> {
        let start = out.len();
        copy(cursor, out, |cursor| {
            cursor.pass_string(limits)?;
            cursor.ms()
        })?;
        if self.source.active {
            copy_if(self.target.active, cursor, out, Cursor::ms)?;
        }
        let owned = match &self.held {
            None => copy_count(cursor, out)?,
            Some(_) => cursor.count()?,
        };
        if let Some(held) = &mut self.held {
            held.begin(out.split_off(start), owned);
        }
        Ok(owned)
    }
}

/// The consumers of a group that are held until it is known what else the first one gets.
#[derive(Debug)]
struct Consumers {
    target: Form,
    count: u64,
    /// Name and times of the first one, if there is one.
    first: Option<Vec<u8>>,
    /// The ids of the entries it owns.
    owned: Vec<u8>,
    /// The others as they are written.
    others: Vec<u8>,
    begun: u64,
    nacked: u64,
}

impl Consumers {
    fn new(count: u64, target: Form) -> Self {
        Self {
            target,
            count,
            first: None,
            owned: Vec::new(),
            others: Vec::new(),
            begun: 0,
            nacked: 0,
        }
    }

    /// Takes name and times of the next one, and how many entries it owns.
    fn begin(&mut self, head: Vec<u8>, owned: u64) {
        self.begun += 1;
        if self.first.is_none() {
            self.first = Some(head);
        } else {
            self.others.extend_from_slice(&head);
            put_length(&mut self.others, owned);
        }
    }

    /// Reads an entry that the last one owns.
    fn own(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let id = cursor.take(ID_BYTES)?;
        let ids = match self.begun {
            1 => &mut self.owned,
            _ => &mut self.others,
        };
        ids.extend_from_slice(id);
        Ok(())
    }

    /// Reads an entry that nobody owns.
    fn give_to_first(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        self.owned.extend_from_slice(cursor.take(ID_BYTES)?);
        self.nacked += 1;
        Ok(())
    }

    fn write(self, out: &mut Vec<u8>, losses: &mut Losses) {
        losses.add(Loss::NackedEntry, self.nacked);
        put_length(out, self.count.max(u64::from(self.nacked > 0)));
        if self.count == 0 && self.nacked == 0 {
            return;
        }
        match self.first {
            Some(head) => out.extend_from_slice(&head),
            None => {
                // Never seen, never active.
                put_string(out, OWNER_OF_NACKED);
                out.extend_from_slice(&0_i64.to_le_bytes());
                if self.target.active {
                    out.extend_from_slice(&(-1_i64).to_le_bytes());
                }
            }
        }
        put_length(out, (self.owned.len() / ID_BYTES) as u64);
        out.extend_from_slice(&self.owned);
        out.extend_from_slice(&self.others);
    }
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
