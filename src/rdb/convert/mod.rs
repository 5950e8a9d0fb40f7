//! Values written as another type, which an older or another server loads.
//!
//! ```text
//!  stream                      node by node, what the older type has no place for left out
//!  list 18 ──► 14              node by node: a listpack or a large element becomes a ziplist
//!  hash 24, 22 ──► 22, 24, 4   field by field
//!  vector set                  element by element, in the form that Redis 8.0 reads
//!  anything else ──► plain     gathered: a packed blob, or a list or sorted set for a server
//!                               before Redis 4.0
//! ```
//!
//! A conversion reads what is at hand and writes what it is sure of, so it holds no more than one
//! element or one packed blob; only what is gathered is held whole. What it cannot say it counts.

mod gathered;
mod hash;
mod list;
mod module;
mod stream;

use bytes::Bytes;

use crate::keyspace::Loss;

use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Event};
use super::limits::Limits;
use super::loss::Losses;
use super::value::{Value, ValueParser};
use super::value_type::ValueType;

use gathered::Gathered;
use hash::HashConversion;
use list::ListConversion;
use module::ModuleConversion;
pub(crate) use stream::OWNER_OF_NACKED;
use stream::StreamConversion;

/// A piece is delivered when it has this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// A value in its new type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Its body.
    pub body: Vec<u8>,
    /// What was left out, and how often.
    pub losses: Vec<(Loss, u64)>,
}

impl Converted {
    /// How often something of this kind was left out.
    pub fn lost(&self, loss: Loss) -> u64 {
        let of_kind = self.losses.iter().filter(|(kind, _)| *kind == loss);
        of_kind.map(|(_, count)| count).sum()
    }
}

/// Writes the body of a value as one of type `to`. A stream may keep its type: the number of its
/// entries, of which some old servers wrote one that is too high, is put right.
///
/// # Errors
///
/// `NotConvertible` if there is no way from one to the other; `Truncated` or `Corrupt` where the
/// body is wrong. Offsets count from the start of the body.
pub fn convert(
    body: Bytes,
    from: ValueType,
    to: ValueType,
    limits: &Limits,
) -> Result<Converted, Error> {
    let mut converted = Converted {
        body: Vec::new(),
        losses: Vec::new(),
    };
    let mut parser = ValueParser::new(from, body, *limits);
    parser.choose(Altitude::Converted { to });
    while let Some(event) = parser.next_event()? {
        match event {
            Event::BodyPiece(piece) => converted.body.extend_from_slice(&piece),
            Event::Lost { loss, count } => converted.losses.push((loss, count)),
            // A conversion says nothing else.
            _ => {}
        }
    }
    Ok(converted)
}

/// A value that is being converted.
#[derive(Debug)]
pub(crate) struct Conversion {
    machine: Machine,
    losses: Losses,
    ended: bool,
    /// What is wrong with the input, while what stands before it is delivered.
    bad: Option<Stop>,
}

#[derive(Debug)]
enum Machine {
    Stream(StreamConversion),
    List(ListConversion),
    Hash(HashConversion),
    Module(ModuleConversion),
    Gathered(Box<Gathered>),
}

/// Where the steps of a conversion stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    Ended,
}

impl Conversion {
    pub(crate) fn new(from: ValueType, to: ValueType) -> Result<Self, ErrorKind> {
        let machine = None
            .or_else(|| StreamConversion::new(from, to).map(Machine::Stream))
            .or_else(|| ListConversion::new(from, to).map(Machine::List))
            .or_else(|| HashConversion::new(from, to).map(Machine::Hash))
            .or_else(|| ModuleConversion::new(from, to).map(Machine::Module))
            .or_else(|| Gathered::new(from, to).map(|one| Machine::Gathered(Box::new(one))));
        Self::with(machine, from, to)
    }

    /// A value that has been begun, from its first element on.
    pub(crate) fn of_value(
        value: Value,
        from: ValueType,
        to: ValueType,
    ) -> Result<Self, ErrorKind> {
        let gathered = Gathered::of_value(value, from, to);
        let machine = gathered.map(|one| Machine::Gathered(Box::new(one)));
        Self::with(machine, from, to)
    }

    fn with(machine: Option<Machine>, from: ValueType, to: ValueType) -> Result<Self, ErrorKind> {
        let (from, to) = (from.byte, to.byte);
        Ok(Self {
            machine: machine.ok_or(ErrorKind::NotConvertible { from, to })?,
            losses: Losses::default(),
            ended: false,
            bad: None,
        })
    }

    /// The next piece of the body, something that was lost, or the end.
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Event, Stop> {
        let mut out = Vec::new();
        while !self.ended && self.bad.is_none() && out.len() < PIECE_BYTES {
            let len = out.len();
            match self.step(cursor, limits, &mut out) {
                Ok(progress) => {
                    self.ended = progress == Progress::Ended;
                    cursor.commit();
                    continue;
                }
                Err(Stop::More) => {
                    // A step is done whole or not at all.
                    out.truncate(len);
                    cursor.rewind(cursor.committed());
                    if out.is_empty() {
                        return Err(Stop::More);
                    }
                }
                Err(bad) => {
                    out.truncate(len);
                    self.bad = Some(bad);
                }
            }
            break;
        }
        if !out.is_empty() {
            return Ok(Event::BodyPiece(out.into()));
        }
        if let Some(bad) = self.bad.take() {
            return Err(bad);
        }
        Ok(match self.losses.take() {
            Some((loss, count)) => Event::Lost { loss, count },
            None => Event::ValueEnd,
        })
    }

    /// Reads one thing and writes it. After an error nothing of it counts.
    fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Stop> {
        let losses = &mut self.losses;
        match &mut self.machine {
            Machine::Stream(stream) => stream.step(cursor, limits, out, losses),
            Machine::List(list) => list.step(cursor, limits, out),
            Machine::Hash(hash) => hash.step(cursor, limits, out, losses),
            Machine::Module(module) => module.step(cursor, limits, out),
            Machine::Gathered(gathered) => gathered.step(cursor, limits, out, losses),
        }
    }
}
