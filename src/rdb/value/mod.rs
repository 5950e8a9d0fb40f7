//! The logical content of values, one file per logical type.
//!
//! Each type is a small state machine: it reads one part from the bytes at hand, or says that it
//! needs more, and remembers where in the collection it stands. Bytes are taken over only with
//! the part they make (or at a [`Cursor::commit`]), so a short read costs one element.

pub(crate) mod array;
pub(crate) mod cron;
pub(crate) mod dragonfly;
pub(crate) mod function;
pub(crate) mod hash;
pub(crate) mod list;
pub(crate) mod module;
pub(crate) mod set;
pub(crate) mod stored;
pub(crate) mod stream;
pub(crate) mod string;
pub(crate) mod template_hash;
pub(crate) mod vector_set;
pub(crate) mod zset;

use bytes::Bytes;

use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Event, Header};
use super::limits::Limits;
use super::packed::{Encoding, Packed};
use super::part::Part;
use super::reading::Reading;
use super::value_type::{Family, ValueType};

use array::Array;
use cron::Cron;
use dragonfly::DragonflyValue;
use hash::Hash;
use list::List;
use module::ModuleValue;
use set::Set;
use stream::Stream;
use string::StringValue;
use template_hash::TemplateHash;
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
    Array(Array),
    TemplateHash(TemplateHash),
    Cron(Cron),
    Dragonfly(DragonflyValue),
    Module(ModuleValue),
    Unknown(u8),
}

impl Value {
    pub(crate) fn new(value_type: ValueType) -> Self {
        let byte = value_type.byte;
        // First, since its bytes mean other things elsewhere.
        DragonflyValue::new(value_type)
            .map(Self::Dragonfly)
            .or_else(|| StringValue::new(byte).map(Self::String))
            .or_else(|| List::new(byte).map(Self::List))
            .or_else(|| Set::new(byte).map(Self::Set))
            .or_else(|| Zset::new(byte).map(Self::Zset))
            .or_else(|| Hash::new(value_type).map(Self::Hash))
            .or_else(|| Stream::new(value_type).map(|stream| Self::Stream(Box::new(stream))))
            .or_else(|| TemplateHash::new(value_type).map(Self::TemplateHash))
            .unwrap_or(match (byte, value_type.family) {
                (super::opcode::TYPE_MODULE, _) => Self::Module(ModuleValue::Start),
                (28, Family::Redis) => Self::Array(Array::Start),
                (64, Family::Redis) => Self::Cron(Cron::Start),
                _ => Self::Unknown(byte),
            })
    }

    /// What is in one blob of a value of this type, `None` if it has none.
    fn of_blob(value_type: ValueType, packed: Packed) -> Option<Self> {
        match value_type.byte {
            10 | 14 | 18 => Some(Self::List(List::of_node(packed))),
            11 | 20 => Some(Self::Set(Set::Packed(packed))),
            12 | 17 => Some(Self::Zset(Zset::Packed(packed))),
            _ => Hash::of_blob(value_type, packed).map(Self::Hash),
        }
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
            Self::Array(array) => array.next(cursor, limits),
            Self::TemplateHash(hash) => hash.next(cursor, limits),
            Self::Dragonfly(value) => value.next(cursor, limits),
            Self::Cron(cron) => cron.next(cursor, limits),
            Self::Module(module) => module.next(cursor, limits),
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
    /// `None` after the last event.
    reading: Option<Reading>,
    value_type: ValueType,
    limits: Limits,
}

impl ValueParser {
    /// Reads `body`, which is what follows the type byte (and the key, in an RDB).
    pub fn new(value_type: ValueType, body: Bytes, limits: Limits) -> Self {
        Self {
            body,
            pos: 0,
            reading: Some(Reading::new(value_type)),
            value_type,
            limits,
        }
    }

    /// Reads the parts in an [`Event::Blob`] of a value of this type.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the blob does not begin and end as its encoding has it, or if no value of this
    /// type is packed. Offsets count from the start of the blob; for what is wrong inside, it is
    /// where the blob ends.
    pub fn of_blob(
        value_type: ValueType,
        encoding: Encoding,
        blob: Bytes,
        limits: Limits,
    ) -> Result<Self, Error> {
        let error = |kind| Error {
            byte: Some(value_type.byte),
            ..Error::at(kind, blob.len() as u64)
        };
        let packed = Packed::new(encoding, blob.clone(), blob.len() as u64);
        let packed = packed.map_err(|stop| match stop {
            Stop::More => error(ErrorKind::Truncated),
            Stop::Bad { kind, .. } => error(kind),
        })?;
        let value = Value::of_blob(value_type, packed);
        let value =
            value.ok_or_else(|| error(ErrorKind::Corrupt("no value of this type is packed")))?;
        Ok(Self {
            body: Bytes::new(),
            pos: 0,
            reading: Some(Reading::of(value_type, value)),
            value_type,
            limits,
        })
    }

    /// Chooses how deep to look, before the first event or after [`Event::Measured`].
    ///
    /// Without a choice it is [`Altitude::Elements`]. At any other time this does nothing.
    pub fn choose(&mut self, altitude: Altitude) {
        if let Some(reading) = &mut self.reading {
            reading.choose(altitude);
        }
    }

    /// The next event at the chosen altitude; [`Event::ValueEnd`] after the last one, unless that
    /// was [`Event::Body`], then `None`.
    ///
    /// # Errors
    ///
    /// `Truncated` where the body ends too early, `Corrupt` where it is wrong or goes on behind
    /// the value, `NoElements` for the parts of a module. Offsets count from the start of the
    /// body. After an error there are no more events.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let Some(reading) = &mut self.reading else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.body, 0, self.pos);
        let stop = match reading.next(&mut cursor, &self.limits) {
            Ok(event) if event.ends_value() && !cursor.rest().is_empty() => {
                cursor.corrupt("the body goes on behind its value")
            }
            Ok(event) => {
                self.pos = cursor.pos();
                if event.ends_value() {
                    self.reading = None;
                }
                return Ok(Some(event));
            }
            Err(stop) => stop,
        };
        self.reading = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::StreamId;
    use crate::rdb::part::{Element, StreamMeta};

    const FAR: i64 = 4_102_444_800_000;

    fn parts(byte: u8, valkey: bool, body: &[u8]) -> Result<Vec<Part>, Error> {
        let family = [Family::Redis, Family::Valkey][usize::from(valkey)];
        let value_type = ValueType::of(byte, family);
        let body = Bytes::copy_from_slice(body);
        let mut parser = ValueParser::new(value_type, body, Limits::default());
        let mut parts = Vec::new();
        while let Some(event) = parser.next_event()? {
            if let Event::Part(part) = event {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn text(text: &'static str) -> Element {
        Element::Bytes(text.into())
    }

    fn member(member: &'static str, score: f64) -> Part {
        Part::ZsetMember {
            member: text(member),
            score,
        }
    }

    fn field(field: &'static str, value: Element, expire_at_ms: Option<i64>) -> Part {
        Part::HashField {
            field: text(field),
            value,
            expire_at_ms,
        }
    }

    /// One small value of each encoding, as real servers take it.
    #[test]
    fn reads_every_encoding() {
        let ints = |ints: [i64; 3]| ints.map(|int| Part::SetMember(Element::Int(int))).to_vec();
        let timed = vec![
            field("a", text("1"), Some(FAR)),
            field("b", text("2"), None),
        ];
        let rows: [(u8, bool, &[u8], Vec<Part>); 11] = [
            (3, false, b"\x02\x01m\x031.5\x01n\xfe", vec![member("m", 1.5), member("n", f64::INFINITY)]),
            (5, false, b"\x01\x01m\0\0\0\0\0\0\xf8\x3f", vec![member("m", 1.5)]),
            (11, false, b"\x0e\x02\0\0\0\x03\0\0\0\xfb\xff\x01\0\x2c\x01", ints([-5, 1, 300])),
            (
                13,
                false,
                b"\x1c\x1c\0\0\0\x19\0\0\0\x06\0\0\x01f\x03\x01v\x03\x01n\x03\xfe\x64\x03\x01w\x03\xf3\xff",
                vec![field("f", text("v"), None), field("n", Element::Int(100), None), field("w", Element::Int(2), None)],
            ),
            (
                16,
                false,
                b"\x1d\x1d\0\0\0\x06\0\x81f\x02\x64\x01\x84long\x05\xdf\xfd\x02\x81n\x02\xf2\x70\x11\x01\x04\xff",
                vec![field("f", Element::Int(100), None), field("long", Element::Int(-3), None), field("n", Element::Int(70000), None)],
            ),
            (
                18,
                false,
                b"\x02\x02\x0c\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff\x01\x05plain",
                [text("a"), Element::Int(1), text("plain")].map(Part::ListElement).to_vec(),
            ),
            (24, false, b"\0\xd8\xc3\x2c\xbb\x03\0\0\x02\x01\x01a\x011\0\x01b\x012", timed.clone()),
            (
                25,
                false,
                b"\0\xd8\xc3\x2c\xbb\x03\0\0\x1f\x1f\0\0\0\x06\0\x81a\x02\x811\x02\xf4\0\xd8\xc3\x2c\xbb\x03\0\0\x09\x81b\x02\x812\x02\0\x01\xff",
                timed.clone(),
            ),
            (22, true, b"\x02\x01a\x011\0\xd8\xc3\x2c\xbb\x03\0\0\x01b\x012\xff\xff\xff\xff\xff\xff\xff\xff", timed),
            (22, false, b"\x01\x05\x01a\x011", vec![field("a", text("1"), Some(5))]),
            (0, false, b"\xc0\xff", vec![Part::String(Element::Int(-1))]),
        ];
        for (byte, valkey, body, expected) in rows {
            assert_eq!(
                parts(byte, valkey, body),
                Ok(expected),
                "type {byte}, valkey {valkey}"
            );
            for cut in 0..body.len() {
                let error = parts(byte, valkey, body.get(..cut).unwrap()).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Truncated, "type {byte} cut to {cut}");
                assert_eq!(error.offset, cut as u64, "type {byte} cut to {cut}");
            }
            let longer = [body, b"\0"].concat();
            assert!(
                parts(byte, valkey, &longer).is_err(),
                "type {byte} and one byte more"
            );
        }
    }

    /// One node with a live entry, a deleted one, and one with fields of its own.
    #[test]
    fn reads_a_stream() {
        let body = b"\x01\x10\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\x40\x41\
            \x41\0\0\0\x19\0\x02\x01\x01\x01\x02\x01\x81t\x02\x81h\x02\0\x01\
            \x02\x01\0\x01\0\x01\x8220\x03\x07\x01\x05\x01\
            \x03\x01\0\x01\x01\x01\x15\x01\x08\x01\x05\x01\
            \0\x01\xc5\xdc\x02\xdf\xff\x02\x01\x01\x81x\x02\x81y\x02\x06\x01\xff\
            \x02\x45\xe1\0\0";
        let id = |ms, seq| StreamId { ms, seq };
        let meta = StreamMeta {
            length: 2,
            last_id: id(1505, 0),
            max_deleted_id: None,
            entries_added: None,
        };
        let shared = vec![(text("t"), text("20")), (text("h"), Element::Int(7))];
        let expected = [
            Part::StreamEntry {
                id: id(5, 1),
                fields: shared,
            },
            Part::StreamEntry {
                id: id(1505, 0),
                fields: vec![(text("x"), text("y"))],
            },
            Part::StreamMeta(meta),
        ];
        assert_eq!(parts(15, false, body), Ok(expected.to_vec()));
    }

    #[test]
    fn refuses_what_no_server_writes() {
        for (name, byte, valkey, body) in [
            ("NaN", 5, false, &b"\x01\x01m\0\0\0\0\0\0\xf8\x7f"[..]),
            ("NaN as text", 3, false, b"\x01\x01m\xfd"),
            ("container", 18, false, b"\x01\x07\x01a"),
            (
                "negative field expiry",
                22,
                true,
                b"\x01\x01a\x011\xfb\xff\xff\xff\xff\xff\xff\xff",
            ),
            (
                "expiry over the end of time",
                24,
                false,
                b"\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x02\x01a\x011",
            ),
            (
                "count of -1",
                1,
                false,
                b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            ),
            ("integer as a blob", 16, false, b"\xc0\x01"),
        ] {
            let error = parts(byte, valkey, body).unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::Corrupt(_)),
                "{name}: {error}"
            );
        }
    }
}
