//! Hashes: by field (type 4), as a zipmap (9), a ziplist (13) or a listpack (16); with expiring
//! fields by field (24, Redis 22, Valkey 22) or as a listpack (25, 23).
//!
//! ```text
//! 24         ms min | len n | n * (len ttl, field, value)    expiry = min + ttl - 1, ttl 0: none
//! Redis 22            len n | n * (len expiry, field, value) expiry 0: none
//! Valkey 22           len n | n * (field, value, ms expiry)  expiry -1: none, 0 is a time
//! 25         ms min | listpack of field, value, expiry       expiry 0: none
//! 23                  listpack of the same
//! ```

use crate::keyspace::UnixMs;
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed};
use crate::rdb::part::{Element, Part};
use crate::rdb::value_type::{Family, ValueType};

const IMPOSSIBLE_EXPIRY: &str = "impossible expiry of a hash field";

/// A hash that is being read.
#[derive(Debug)]
pub(crate) struct Hash {
    form: Form,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Plain,
    /// The expiry before the field; relative to a minimum that stands in front, or absolute.
    ExpiryFirst {
        has_min: bool,
    },
    ExpiryLast,
    Pairs(Encoding),
    Triples {
        has_min: bool,
    },
}

#[derive(Debug)]
enum State {
    Start,
    Fields {
        left: u64,
        min: Option<UnixMs>,
        /// Read already, while its value has not arrived.
        field: Option<(Element, Option<UnixMs>)>,
    },
    Packed {
        packed: Packed,
        triples: bool,
    },
}

impl Form {
    fn of(value_type: ValueType) -> Option<Self> {
        Some(match (value_type.byte, value_type.family) {
            (4, _) => Self::Plain,
            (9, _) => Self::Pairs(Encoding::Zipmap),
            (13, _) => Self::Pairs(Encoding::Ziplist),
            (16, _) => Self::Pairs(Encoding::Listpack),
            (22, Family::Valkey) => Self::ExpiryLast,
            (22, Family::Redis) => Self::ExpiryFirst { has_min: false },
            (23, Family::Redis) => Self::Triples { has_min: false },
            (24, Family::Redis) => Self::ExpiryFirst { has_min: true },
            (25, Family::Redis) => Self::Triples { has_min: true },
            _ => return None,
        })
    }
}

impl Hash {
    pub(crate) fn new(value_type: ValueType) -> Option<Self> {
        Form::of(value_type).map(|form| Self {
            form,
            state: State::Start,
        })
    }

    /// The fields of a hash that is one blob; `None` for other types.
    pub(crate) fn of_blob(value_type: ValueType, packed: Packed) -> Option<Self> {
        let form = Form::of(value_type)?;
        let triples = match form {
            Form::Pairs(_) => false,
            Form::Triples { .. } => true,
            Form::Plain | Form::ExpiryFirst { .. } | Form::ExpiryLast => return None,
        };
        let state = State::Packed { packed, triples };
        Some(Self { form, state })
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        let form = self.form;
        loop {
            match &mut self.state {
                State::Start => {
                    self.state = start(form, cursor, limits)?;
                    cursor.commit();
                }
                State::Fields { left: 0, .. } => return Ok(None),
                State::Fields {
                    min,
                    field: field @ None,
                    ..
                } => {
                    let expire_at_ms = match form {
                        Form::ExpiryFirst { .. } => expiry_first(cursor, *min)?,
                        _ => None,
                    };
                    *field = Some((cursor.string(limits)?, expire_at_ms));
                    cursor.commit();
                }
                State::Fields { left, field, .. } => {
                    let (value, last) = cursor.string_and(limits, |cursor| match form {
                        Form::ExpiryLast => expiry_last(cursor),
                        _ => Ok(None),
                    })?;
                    let Some((field, first)) = field.take() else {
                        continue;
                    };
                    *left -= 1;
                    let expire_at_ms = first.or(last);
                    return Ok(Some(Part::HashField {
                        field,
                        value,
                        expire_at_ms,
                    }));
                }
                State::Packed { packed, triples } => return packed_field(packed, *triples),
            }
        }
    }
}

fn start(form: Form, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<State, Stop> {
    let mut min = None;
    if let Form::ExpiryFirst { has_min: true } | Form::Triples { has_min: true } = form {
        min = Some(cursor.ms()?);
    }
    let (encoding, triples) = match form {
        Form::Pairs(encoding) => (encoding, false),
        // The minimum in front of a listpack is informative: the listpack has absolute times.
        Form::Triples { .. } => (Encoding::Listpack, true),
        Form::Plain | Form::ExpiryFirst { .. } | Form::ExpiryLast => {
            return Ok(State::Fields {
                left: cursor.count()?,
                min,
                field: None,
            });
        }
    };
    Ok(State::Packed {
        packed: Packed::read(encoding, cursor, limits)?,
        triples,
    })
}

fn packed_field(packed: &mut Packed, triples: bool) -> Result<Option<Part>, Stop> {
    let Some(field) = packed.next()? else {
        return Ok(None);
    };
    let value = packed.required()?;
    let mut expire_at_ms = None;
    if triples {
        expire_at_ms = match packed.required_int()? {
            0 => None,
            time @ 1.. => Some(time),
            _ => return Err(packed.corrupt(IMPOSSIBLE_EXPIRY)),
        };
    }
    Ok(Some(Part::HashField {
        field,
        value,
        expire_at_ms,
    }))
}

pub(crate) fn expiry_first(
    cursor: &mut Cursor<'_>,
    min: Option<UnixMs>,
) -> Result<Option<UnixMs>, Stop> {
    let ttl = cursor.length()?;
    if ttl == 0 {
        return Ok(None);
    }
    let time = match min {
        None => i64::try_from(ttl).ok(),
        Some(min) => min.checked_add_unsigned(ttl - 1),
    };
    match time {
        Some(time @ 0..) => Ok(Some(time)),
        Some(_) | None => Err(cursor.corrupt(IMPOSSIBLE_EXPIRY)),
    }
}

pub(crate) fn expiry_last(cursor: &mut Cursor<'_>) -> Result<Option<UnixMs>, Stop> {
    match cursor.ms()? {
        -1 => Ok(None),
        time @ 0.. => Ok(Some(time)),
        _ => Err(cursor.corrupt(IMPOSSIBLE_EXPIRY)),
    }
}
