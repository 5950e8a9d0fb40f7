//! The logical content of values, one file per logical type.
//!
//! Each type is a small state machine: it reads one part from the bytes at hand, or says that it
//! needs more, and remembers where in the collection it stands. Bytes are taken over only with
//! the part they make (or at a [`Cursor::commit`]), so a short read costs one element.

pub(crate) mod function;
pub(crate) mod hash;
pub(crate) mod list;
pub(crate) mod module;
pub(crate) mod set;
pub(crate) mod stream;
pub(crate) mod string;
pub(crate) mod zset;

use bytes::Bytes;

use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::{Event, Header, Part, ValueType};
use super::limits::Limits;

use hash::Hash;
use list::List;
use set::Set;
use stream::Stream;
use string::StringValue;
use zset::Zset;

/// A value that is being read.
#[derive(Debug)]
pub(crate) enum Value {
    String(StringValue),
    List(List),
    Set(Set),
    Zset(Zset),
    Hash(Hash),
    Stream(Box<Stream>),
    Module,
    Unknown(u8),
}

impl Value {
    pub(crate) fn new(value_type: ValueType) -> Self {
        let byte = value_type.byte;
        None.or_else(|| StringValue::new(byte).map(Self::String))
            .or_else(|| List::new(byte).map(Self::List))
            .or_else(|| Set::new(byte).map(Self::Set))
            .or_else(|| Zset::new(byte).map(Self::Zset))
            .or_else(|| Hash::new(value_type).map(Self::Hash))
            .or_else(|| Stream::new(value_type).map(|stream| Self::Stream(Box::new(stream))))
            .unwrap_or(match byte {
                super::opcode::TYPE_MODULE => Self::Module,
                _ => Self::Unknown(byte),
            })
    }

    /// The next part, `None` after the last one.
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        match self {
            Self::String(string) => string.next(cursor, limits),
            Self::List(list) => list.next(cursor, limits),
            Self::Set(set) => set.next(cursor, limits),
            Self::Zset(zset) => zset.next(cursor, limits),
            Self::Hash(hash) => hash.next(cursor, limits),
            Self::Stream(stream) => stream.next(cursor, limits),
            Self::Module => {
                let module = module::type_name(cursor.length()?);
                Err(cursor.bad(ErrorKind::NoElements { module }))
            }
            // Types without a layout are refused before a value is begun.
            Self::Unknown(byte) => Err(cursor.bad(ErrorKind::UnsupportedType {
                byte: *byte,
                header: Header {
                    valkey: false,
                    version: 0,
                },
            })),
        }
    }
}

/// Reads a value whose whole body is at hand, such as that of a RESTORE payload.
#[derive(Debug)]
pub struct ValueParser {
    body: Bytes,
    pos: usize,
    value: Option<Value>,
    value_type: ValueType,
    limits: Limits,
}

impl ValueParser {
    /// Reads `body`, which is what follows the type byte (and the key, in an RDB).
    pub fn new(value_type: ValueType, body: Bytes, limits: Limits) -> Self {
        Self {
            body,
            pos: 0,
            value: Some(Value::new(value_type)),
            value_type,
            limits,
        }
    }

    /// The next [`Event::Part`]; [`Event::ValueEnd`] after the last one, then `None`.
    ///
    /// # Errors
    ///
    /// `Truncated` where the body ends too early, `Corrupt` where it is wrong or goes on behind
    /// the value, `NoElements` for the value of a module. Offsets count from the start of the body.
    /// After an error there are no more events.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let Some(value) = &mut self.value else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.body, 0, self.pos);
        let stop = match value.next(&mut cursor, &self.limits) {
            Ok(Some(part)) => {
                self.pos = cursor.pos();
                return Ok(Some(Event::Part(part)));
            }
            Ok(None) if cursor.rest().is_empty() => {
                self.value = None;
                return Ok(Some(Event::ValueEnd));
            }
            Ok(None) => cursor.corrupt("the body goes on behind its value"),
            Err(stop) => stop,
        };
        self.value = None;
        let (kind, offset) = match stop {
            Stop::More => (ErrorKind::Truncated, self.body.len() as u64),
            Stop::Bad { kind, offset } => (kind, offset),
        };
        Err(Error {
            byte: Some(self.value_type.byte),
            ..Error::at(kind, offset)
        })
    }
}
