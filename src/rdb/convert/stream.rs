//! Streams: what an older server does not know is left out.
//!
//! The types nest: 26 is 21 with idempotency behind the groups, 21 is 19 with the time a consumer
//! was last active, 19 is 15 with more counters. So nodes, groups and pending entries are copied
//! as they stand. The number of entries is counted: some old servers wrote one that is too high,
//! which Valkey 9.1 refuses.

use crate::keyspace::StreamId;
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::event::ValueType;
use crate::rdb::length::put_length;
use crate::rdb::limits::Limits;
use crate::rdb::loss::{Loss, Losses};
use crate::rdb::value::stream::{Form, Node, id_of_lengths};

use super::Progress;

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
                self.counters(cursor, out, losses)?;
                Step::GroupCount
            }
            Step::GroupCount => {
                self.groups_left = copy_count(cursor, out)?;
                Step::Groups
            }
            Step::Groups if self.groups_left > 0 => {
                let left = self.group(cursor, limits, out, losses)?;
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
                self.consumers_left = copy_count(cursor, out)?;
                Step::Consumers
            }
            Step::Consumers if self.consumers_left == 0 => Step::Groups,
            Step::Consumers => {
                let left = self.consumer(cursor, limits, out, losses)?;
                self.consumers_left -= 1;
                Step::Owned { left }
            }
            Step::Owned { left: 0 } => Step::Consumers,
            Step::Owned { left } => {
                copy(cursor, out, Cursor::stream_id)?;
                Step::Owned { left: left - 1 }
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
                losses.add(Loss::StreamIdempotency, if kept { 0 } else { left });
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

    fn counters(
        &self,
        cursor: &mut Cursor<'_>,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<(), Stop> {
        // The number of entries that is stored.
        cursor.length()?;
        put_length(out, self.entries);
        copy(cursor, out, id_of_lengths)?;
        if !self.source.counters {
            return Ok(());
        }
        let (deleted, added) = copy_if(self.target.counters, cursor, out, |cursor| {
            // The first id, which the entries say themselves.
            id_of_lengths(cursor)?;
            Ok((id_of_lengths(cursor)?, cursor.length()?))
        })?;
        let follow = deleted == StreamId { ms: 0, seq: 0 } && added == self.entries;
        losses.add(Loss::StreamCounters, self.counters_lost(!follow));
        Ok(())
    }

    /// Copies a group up to its pending entries, and returns how many those are.
    fn group(
        &self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<u64, Stop> {
        copy(cursor, out, |cursor| {
            cursor.pass_string(limits)?;
            id_of_lengths(cursor)
        })?;
        // Servers store -1 where they do not know how many entries were read.
        let mut read = u64::MAX;
        if self.source.counters {
            read = copy_if(self.target.counters, cursor, out, Cursor::length)?;
        }
        let pending = copy_count(cursor, out)?;
        losses.add(Loss::StreamCounters, self.counters_lost(read != u64::MAX));
        Ok(pending)
    }

    /// Copies a consumer up to the entries it owns, and returns how many those are.
    fn consumer(
        &self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<u64, Stop> {
        let seen = copy(cursor, out, |cursor| {
            cursor.pass_string(limits)?;
            cursor.ms()
        })?;
        let mut active = seen;
        if self.source.active {
            active = copy_if(self.target.active, cursor, out, Cursor::ms)?;
        }
        let owned = copy_count(cursor, out)?;
        let lost = !self.target.active && active != seen;
        losses.add(Loss::ConsumerActivity, lost.into());
        Ok(owned)
    }

    /// One, if what is true of counters is lost.
    fn counters_lost(&self, say_more: bool) -> u64 {
        (say_more && !self.target.counters).into()
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
