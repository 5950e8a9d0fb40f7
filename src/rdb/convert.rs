//! Stream bodies for older servers: what those do not know is left out.
//!
//! The types nest: 27 is 26 with the entries of each group that nobody owns, 26 is 21 with idempotency behind the groups, 21 is 19 with the time a consumer
//! was last active, 19 is 15 with more counters. So nodes, groups and pending entries are copied
//! as they stand. The number of entries is counted: some old servers wrote one that is too high,
//! which Valkey 9.1 refuses.

use bytes::{BufMut, Bytes};

use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::{Event, Part, ValueType};
use super::length::{put_length, put_string};
use super::limits::Limits;
use super::value::ValueParser;
use super::value::stream::{Form, Node, id_of_lengths};

/// Who gets the entries that nobody owns, in a group without consumers.
const OWNER_OF_NACKED: &[u8] = b"keyferry";

/// Writes the body of a stream as one of type `to` (15, 19, 21, 26), or of its own type with the
/// number of its entries put right.
///
/// Changed from 27: entries that were given back ([`nacked_entries`]) are owned by the first
/// consumer of their group, where there is none by one called `keyferry`; servers take no pending
/// entry without an owner before, and without one nobody would ever be given it again. Lost from 26: recognition of repeated XADDs. Lost from 21: when consumers were last active.
/// Lost from 19: the greatest deleted id and the counters of entries added and read.
///
/// # Errors
///
/// `NotConvertible` if `from` is no stream or older than `to`; `Truncated` or `Corrupt` where the
/// body is wrong. Offsets count from the start of the body.
pub fn convert_stream(
    body: &Bytes,
    from: ValueType,
    to: u8,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let target = ValueType {
        byte: to,
        family: from.family,
    };
    let (Some(source), Some(target), true) = (Form::of(from), Form::of(target), to <= from.byte)
    else {
        return Err(Error::at(
            ErrorKind::NotConvertible {
                from: from.byte,
                to,
            },
            0,
        ));
    };
    let cursor = Cursor::new(body, 0, 0);
    let mut conversion = Conversion {
        body,
        cursor,
        out: Vec::new(),
        source,
        target,
        limits,
    };
    conversion.stream().map_err(|stop| match stop {
        Stop::More => Error::at(ErrorKind::Truncated, body.len() as u64),
        Stop::Bad { kind, offset } => Error {
            byte: Some(from.byte),
            ..Error::at(kind, offset)
        },
    })?;
    Ok(conversion.out)
}

/// How many pending entries of a stream are owned by nobody because a consumer gave them back.
///
/// # Errors
///
/// As [`ValueParser::next_event`].
pub fn nacked_entries(body: &Bytes, from: ValueType, limits: &Limits) -> Result<u64, Error> {
    let mut nacked = 0;
    if Form::of(from).is_some_and(|form| form.nacked) {
        let mut values = ValueParser::new(from, body.clone(), *limits);
        while let Some(event) = values.next_event()? {
            nacked += u64::from(matches!(event, Event::Part(Part::StreamNacked(_))));
        }
    }
    Ok(nacked)
}

struct Conversion<'a> {
    body: &'a Bytes,
    cursor: Cursor<'a>,
    out: Vec<u8>,
    source: Form,
    target: Form,
    limits: &'a Limits,
}

impl Conversion<'_> {
    fn stream(&mut self) -> Result<(), Stop> {
        let start = self.cursor.pos();
        let entries = self.count_entries()?;
        self.copy_from(start);
        // The number of entries that is stored.
        self.cursor.length()?;
        put_length(&mut self.out, entries);
        self.copy(true, |cursor, _| id_of_lengths(cursor).map(drop))?;
        if self.source.counters {
            // First and greatest deleted id, entries added.
            self.copy(self.target.counters, |cursor, _| {
                id_of_lengths(cursor)?;
                id_of_lengths(cursor)?;
                cursor.length().map(drop)
            })?;
        }
        for _ in 0..self.count()? {
            self.group()?;
        }
        if self.source.idempotency {
            self.copy(self.target.idempotency, pass_idempotency)?;
        }
        if !self.cursor.rest().is_empty() {
            return Err(self.cursor.corrupt("the body goes on behind its value"));
        }
        Ok(())
    }

    fn count_entries(&mut self) -> Result<u64, Stop> {
        let mut entries = 0;
        for _ in 0..self.cursor.count()? {
            let mut node = Node::read(&mut self.cursor, self.limits)?;
            while node.next_entry()?.is_some() {
                entries += 1;
            }
        }
        Ok(entries)
    }

    fn group(&mut self) -> Result<(), Stop> {
        self.copy(true, |cursor, limits| {
            cursor.string(limits)?;
            id_of_lengths(cursor).map(drop)
        })?;
        if self.source.counters {
            // Entries read.
            self.copy(self.target.counters, |cursor, _| cursor.length().map(drop))?;
        }
        self.copy(true, pass_pending)?;
        let nacked = match self.source.nacked && !self.target.nacked {
            true => self.nacked_ahead()?,
            false => Ids::default(),
        };
        let consumers = self.cursor.count()?;
        put_length(&mut self.out, consumers.max(u64::from(nacked.count > 0)));
        let (mut more, none) = (&nacked, Ids::default());
        for _ in 0..consumers {
            self.consumer(more)?;
            more = &none;
        }
        if consumers == 0 && nacked.count > 0 {
            self.put_owner(&nacked);
        }
        if self.source.nacked {
            self.copy(self.target.nacked, pass_ids)?;
        }
        Ok(())
    }

    /// The entries that nobody owns, which stand behind the consumers.
    fn nacked_ahead(&self) -> Result<Ids, Stop> {
        let mut ahead = self.cursor.clone();
        for _ in 0..ahead.count()? {
            pass_consumer(&mut ahead, self.source, self.limits)?;
            pass_ids(&mut ahead, self.limits)?;
        }
        let count = ahead.count()?;
        let start = ahead.pos();
        for _ in 0..count {
            ahead.stream_id()?;
        }
        let bytes = self.body.slice(start..ahead.pos());
        Ok(Ids { count, bytes })
    }

    /// Copies a consumer and what it owns, and gives it more.
    fn consumer(&mut self, more: &Ids) -> Result<(), Stop> {
        // Name, and when it last tried to read.
        self.copy(true, |cursor, limits| {
            cursor.string(limits)?;
            cursor.ms().map(drop)
        })?;
        if self.source.active {
            self.copy(self.target.active, |cursor, _| cursor.ms().map(drop))?;
        }
        let owned = self.cursor.count()?;
        put_length(&mut self.out, owned + more.count);
        self.copy(true, |cursor, _| {
            for _ in 0..owned {
                cursor.stream_id()?;
            }
            Ok(())
        })?;
        self.out.put_slice(&more.bytes);
        Ok(())
    }

    /// Writes a consumer that was never seen and owns these entries.
    fn put_owner(&mut self, owned: &Ids) {
        put_string(&mut self.out, OWNER_OF_NACKED);
        self.out.put_i64_le(0);
        if self.target.active {
            self.out.put_i64_le(-1);
        }
        put_length(&mut self.out, owned.count);
        self.out.put_slice(&owned.bytes);
    }

    /// Reads a count and copies it.
    fn count(&mut self) -> Result<u64, Stop> {
        let count = self.cursor.count()?;
        put_length(&mut self.out, count);
        Ok(count)
    }

    /// Reads something and, if it is `kept`, copies what it read.
    fn copy(
        &mut self,
        kept: bool,
        read: impl FnOnce(&mut Cursor<'_>, &Limits) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let start = self.cursor.pos();
        read(&mut self.cursor, self.limits)?;
        if kept {
            self.copy_from(start);
        }
        Ok(())
    }

    fn copy_from(&mut self, start: usize) {
        let read = self.body.get(start..self.cursor.pos()).unwrap_or_default();
        self.out.extend_from_slice(read);
    }
}

/// Ids as they stand, 16 bytes each.
#[derive(Default)]
struct Ids {
    count: u64,
    bytes: Bytes,
}

fn pass_pending(cursor: &mut Cursor<'_>, _: &Limits) -> Result<(), Stop> {
    for _ in 0..cursor.count()? {
        cursor.stream_id()?;
        cursor.ms()?;
        cursor.length()?;
    }
    Ok(())
}

fn pass_consumer(cursor: &mut Cursor<'_>, form: Form, limits: &Limits) -> Result<(), Stop> {
    cursor.string(limits)?;
    cursor.ms()?;
    if form.active {
        cursor.ms()?;
    }
    Ok(())
}

fn pass_ids(cursor: &mut Cursor<'_>, _: &Limits) -> Result<(), Stop> {
    for _ in 0..cursor.count()? {
        cursor.stream_id()?;
    }
    Ok(())
}

fn pass_idempotency(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(), Stop> {
    cursor.length()?;
    cursor.length()?;
    for _ in 0..cursor.count()? {
        cursor.string(limits)?;
        for _ in 0..cursor.count()? {
            cursor.string(limits)?;
            id_of_lengths(cursor)?;
        }
    }
    cursor.length()?;
    cursor.length().map(drop)
}
