//! Hashes whose field names stand apart from their values (Redis 8.10+): in files in a template
//! that was defined before, in payloads in front of the values.
//!
//! ```text
//! 30  listpack of template id, values            32  len template id | values
//! 29  names | listpack of a number, values       31  names | values
//!
//! names: len 0 | listpack of names,  or  len 1 | len n | n * str
//! ```

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed};
use crate::rdb::part::{Element, Part};
use crate::rdb::template::{NameList, Names};
use crate::rdb::value_type::{Family, ValueType};

/// Names in front of the values are a listpack.
const NAMES_PACKED: u64 = 0;
/// Names in front of the values are strings.
const NAMES_PLAIN: u64 = 1;

/// A hash with a template that is being read.
#[derive(Debug)]
pub(crate) struct TemplateHash {
    /// Its values are a listpack.
    packed: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the names.
    Start,
    Names {
        left: u64,
        names: NameList,
    },
    /// Before the id of the template, which is known.
    Id(Names),
    /// Before the listpack of values, if they are one.
    Values(Names),
    Fields {
        names: Names,
        next: usize,
        values: Option<Packed>,
    },
}

impl TemplateHash {
    /// A hash that brings its names with it, as payloads have them.
    pub(crate) fn new(value_type: ValueType) -> Option<Self> {
        match (value_type.byte, value_type.family) {
            (29, Family::Redis) => Some(Self::at(true, State::Start)),
            (31, Family::Redis) => Some(Self::at(false, State::Start)),
            _ => None,
        }
    }

    /// A hash whose names stand in a template, as files have them.
    pub(crate) fn of_template(packed: bool, names: Names) -> Self {
        match packed {
            true => Self::at(true, State::Values(names)),
            false => Self::at(false, State::Id(names)),
        }
    }

    fn at(packed: bool, state: State) -> Self {
        Self { packed, state }
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match &mut self.state {
                State::Start => self.state = start(cursor, limits)?,
                State::Names { left: 0, names } => self.state = State::Values(names.take()),
                State::Names { left, names } => {
                    names.push(cursor.text(limits)?, 0, cursor, limits)?;
                    *left -= 1;
                }
                State::Id(names) => {
                    cursor.length()?;
                    self.state = State::Values(names.clone());
                }
                State::Values(names) => {
                    let mut values = None;
                    if self.packed {
                        values = Some(packed_values(cursor, limits)?.1);
                    }
                    let (names, next) = (names.clone(), 0);
                    self.state = State::Fields {
                        names,
                        next,
                        values,
                    };
                }
                State::Fields {
                    names,
                    next,
                    values,
                } => {
                    let Some(field) = names.get(*next) else {
                        return end(values.as_mut());
                    };
                    let value = match values {
                        Some(values) => values.required()?,
                        None => cursor.string(limits)?,
                    };
                    *next += 1;
                    return Ok(Some(Part::HashField {
                        field: Element::Bytes(field.clone()),
                        value,
                        expire_at_ms: None,
                    }));
                }
            }
            cursor.commit();
        }
    }
}

/// Reads the id of the template that a hash in a file refers to.
pub(crate) fn template_id(
    packed: bool,
    cursor: &mut Cursor<'_>,
    limits: &Limits,
) -> Result<u64, Stop> {
    if !packed {
        return cursor.length();
    }
    let (id, _) = packed_values(cursor, limits)?;
    u64::try_from(id).map_err(|_| cursor.corrupt("impossible id of a hash template"))
}

/// Reads a listpack of values, and the number in front of them.
fn packed_values(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(i64, Packed), Stop> {
    let mut values = Packed::read(Encoding::Listpack, cursor, limits)?;
    Ok((values.required_int()?, values))
}

fn start(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<State, Stop> {
    match cursor.length()? {
        NAMES_PACKED => {
            let mut packed = Packed::read(Encoding::Listpack, cursor, limits)?;
            let mut names = NameList::default();
            while let Some(name) = packed.next()? {
                names.push(name.into_bytes(), 0, cursor, limits)?;
            }
            Ok(State::Names { left: 0, names })
        }
        NAMES_PLAIN => Ok(State::Names {
            left: cursor.count()?,
            names: NameList::default(),
        }),
        _ => Err(cursor.corrupt("undefined form of a hash's field names")),
    }
}

/// Nothing may follow the last value.
fn end(values: Option<&mut Packed>) -> Result<Option<Part>, Stop> {
    let Some(values) = values else {
        return Ok(None);
    };
    match values.next()? {
        None => Ok(None),
        Some(_) => Err(values.corrupt("a hash has more values than its template has fields")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rdb::{Error, ErrorKind, Event, ValueParser};

    /// Template number 7, then the values `v` and 5.
    const VALUES: &[u8] = b"\x0e\x0e\0\0\0\x03\0\x07\x01\x81v\x02\x05\x01\xff";
    /// The names `a` and `b`.
    const NAMES: &[u8] = b"\x0d\x0d\0\0\0\x02\0\x81a\x02\x81b\x02\xff";

    fn fields(byte: u8, body: &[&[u8]]) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let body = Bytes::from(body.concat());
        let mut parser = ValueParser::new(ValueType::common(byte), body, Limits::default());
        let mut fields = Vec::new();
        while let Some(event) = parser.next_event()? {
            if let Event::Part(Part::HashField { field, value, .. }) = event {
                fields.push((field.into_bytes(), value.into_bytes()));
            }
        }
        Ok(fields)
    }

    #[test]
    fn puts_names_and_values_together() {
        let plain = b"\x01\x02\x01a\x01b";
        let packed = [b"\0", NAMES].concat();
        for (name, names) in [("plain", &plain[..]), ("packed", &packed)] {
            for (byte, values) in [(29, VALUES), (31, b"\x01v\xc0\x05")] {
                let expected = [("a", "v"), ("b", "5")].map(|(a, b)| (a.into(), b.into()));
                let fields = fields(byte, &[names, values]);
                assert_eq!(fields, Ok(expected.to_vec()), "{name}, {byte}");
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for (name, byte, names) in [
            ("form of names", 31, &b"\x02\x01\x01a\x01v"[..]),
            ("fewer names than values", 29, b"\x01\x01\x01a"),
            ("more names than values", 29, b"\x01\x03\x01a\x01b\x01c"),
        ] {
            let error = fields(byte, &[names, VALUES]).unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::Corrupt(_)),
                "{name}: {error}"
            );
        }
    }
}
