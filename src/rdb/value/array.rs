//! Arrays (type 28, Redis 8.8+): elements at indexes that may lie far apart, and the place of the
//! next insertion.
//!
//! ```text
//! len n | len flag | len insert cursor, if the flag is 1 | n * (len index, len tag, value)
//!
//! tag 0, 3: str    1: 8 bytes LE, signed    2: a double, LE
//! ```

use bytes::Bytes;

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::part::{Element, Part};

/// An array that is being read.
#[derive(Debug)]
pub(crate) enum Array {
    Start,
    Elements { left: u64 },
}

/// How an element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    String,
    Int,
    Float,
}

impl Array {
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        match self {
            Self::Start => {
                let (left, insert_cursor) = head(cursor)?;
                *self = Self::Elements { left };
                Ok(Some(Part::ArrayStart { insert_cursor }))
            }
            Self::Elements { left: 0 } => Ok(None),
            Self::Elements { left } => {
                let index = cursor.length()?;
                if index == u64::MAX {
                    return Err(cursor.corrupt("impossible index of an array"));
                }
                let value = match tag(cursor)? {
                    Tag::String => cursor.string(limits)?,
                    Tag::Int => Element::Int(cursor.array().map(i64::from_le_bytes)?),
                    Tag::Float => Element::Bytes(float_text(f64::from_le_bytes(cursor.array()?))),
                };
                *left -= 1;
                Ok(Some(Part::ArrayElement { index, value }))
            }
        }
    }
}

/// Reads how many elements there are, and the insert cursor if there is one.
pub(crate) fn head(cursor: &mut Cursor<'_>) -> Result<(u64, Option<u64>), Stop> {
    let count = cursor.count()?;
    if count == 0 {
        return Err(cursor.corrupt("an array without elements"));
    }
    let insert_cursor = match cursor.length()? {
        0 => None,
        1 => Some(cursor.length()?),
        _ => return Err(cursor.corrupt("undefined flag of an array")),
    };
    Ok((count, insert_cursor))
}

/// Reads how the next element is stored.
pub(crate) fn tag(cursor: &mut Cursor<'_>) -> Result<Tag, Stop> {
    match cursor.length()? {
        // Short strings are stored like others.
        0 | 3 => Ok(Tag::String),
        1 => Ok(Tag::Int),
        2 => Ok(Tag::Float),
        _ => Err(cursor.corrupt("undefined tag of an array's element")),
    }
}

/// The shortest text that reads back as this number and does not look like an integer.
fn float_text(value: f64) -> Bytes {
    let mut buffer = ryu::Buffer::new();
    Bytes::copy_from_slice(match value {
        f64::INFINITY => b"inf",
        f64::NEG_INFINITY => b"-inf",
        value if value.is_nan() => b"nan",
        value => buffer.format_finite(value).as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Error, ErrorKind, Event, ValueParser, ValueType};

    fn parts(body: &[u8]) -> Result<Vec<Part>, Error> {
        let body = Bytes::copy_from_slice(body);
        let mut parser = ValueParser::new(ValueType::common(28), body, Limits::default());
        let mut parts = Vec::new();
        while let Some(event) = parser.next_event()? {
            if let Event::Part(part) = event {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    #[test]
    fn reads_every_kind_of_element() {
        let double = |value: f64| [b"\x01\0\x05\x02", &value.to_le_bytes()[..]].concat();
        for (name, body, expected) in [
            ("string", b"\x01\0\x05\0\x02hi".to_vec(), "hi"),
            ("short string", b"\x01\0\x05\x03\x02hi".to_vec(), "hi"),
            ("string of digits", b"\x01\0\x05\0\xc0\x07".to_vec(), "7"),
            (
                "integer",
                b"\x01\0\x05\x01\xfb\xff\xff\xff\xff\xff\xff\xff".to_vec(),
                "-5",
            ),
            ("float", double(1.5), "1.5"),
            ("whole float", double(3.0), "3.0"),
            ("large float", double(1e300), "1e300"),
            ("minus zero", double(-0.0), "-0.0"),
            ("infinity", double(f64::NEG_INFINITY), "-inf"),
            ("no number", double(f64::NAN), "nan"),
        ] {
            let parts = parts(&body).unwrap();
            let [
                Part::ArrayStart {
                    insert_cursor: None,
                },
                Part::ArrayElement { index: 5, value },
            ] = &parts[..]
            else {
                panic!("{name}: {parts:?}");
            };
            assert_eq!(value.to_bytes(), expected, "{name}");
        }
        let start = parts(b"\x01\x01\x0a\0\0\0").unwrap().remove(0);
        let insert_cursor = Some(10);
        assert_eq!(start, Part::ArrayStart { insert_cursor });
    }

    #[test]
    fn refuses_what_no_server_writes() {
        let last = b"\x01\0\x81\xff\xff\xff\xff\xff\xff\xff\xff\0\0";
        for (name, body) in [
            ("no elements", &b"\0\0"[..]),
            ("flag", b"\x01\x02\x05\x05\0\0\0"),
            ("tag", b"\x01\0\x05\x04\x02hi"),
            ("index", last),
            ("count of -1", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\0"),
        ] {
            let error = parts(body).unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::Corrupt(_)),
                "{name}: {error}"
            );
        }
    }
}
