//! Hashes with expiring fields that stand one by one: types 24 and 22 of Redis, 22 of Valkey.

use bytes::BufMut;

use crate::keyspace::{Loss, UnixMs};
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::length::put_length;
use crate::rdb::limits::Limits;
use crate::rdb::loss::Losses;
use crate::rdb::plain::FieldExpiry;
use crate::rdb::value::hash::{expiry_first, expiry_last};
use crate::rdb::value_type::{Family, ValueType};

use super::Progress;

/// What the expiries of a type 24 count from that is written before they are known.
///
/// The server only adds it to the distances behind it. With 1, a distance is the time itself.
const MIN_MS: UnixMs = 1;

/// A hash whose fields are written as they are read.
#[derive(Debug)]
pub(super) struct HashConversion {
    from: Form,
    to: Form,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Type 4: no expiry.
    Plain,
    /// Types 24 and 22 of Redis: before the field; relative to what stands in front, or not.
    ExpiryFirst { has_min: bool },
    /// Type 22 of Valkey: behind the value.
    ExpiryLast,
}

#[derive(Debug)]
enum State {
    Start,
    Fields { left: u64, min: Option<UnixMs> },
}

impl Form {
    fn of(value_type: ValueType) -> Option<Self> {
        match (value_type.byte, value_type.family) {
            (4, _) => Some(Self::Plain),
            (22, Family::Valkey) => Some(Self::ExpiryLast),
            (22, Family::Redis) => Some(Self::ExpiryFirst { has_min: false }),
            (24, Family::Redis) => Some(Self::ExpiryFirst { has_min: true }),
            _ => None,
        }
    }
}

impl HashConversion {
    pub(super) fn new(from: ValueType, to: ValueType) -> Option<Self> {
        let (from, to) = (Form::of(from)?, Form::of(to)?);
        let writes = to != Form::ExpiryFirst { has_min: false };
        (from != Form::Plain && writes).then_some(Self {
            from,
            to,
            state: State::Start,
        })
    }

    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<Progress, Stop> {
        match self.state {
            State::Start => {
                let has_min = self.from == Form::ExpiryFirst { has_min: true };
                let min = has_min.then(|| cursor.ms()).transpose()?;
                let left = cursor.count()?;
                if let Form::ExpiryFirst { .. } = self.to {
                    out.put_i64_le(MIN_MS);
                }
                put_length(out, left);
                self.state = State::Fields { left, min };
            }
            State::Fields { left: 0, .. } => return Ok(Progress::Ended),
            State::Fields { left, min } => {
                self.field(min, cursor, limits, out, losses)?;
                self.state = State::Fields {
                    left: left - 1,
                    min,
                };
            }
        }
        Ok(Progress::More)
    }

    fn field(
        &self,
        min: Option<UnixMs>,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<(), Stop> {
        let mut expire_at_ms = match self.from {
            Form::ExpiryFirst { .. } => expiry_first(cursor, min)?,
            Form::Plain | Form::ExpiryLast => None,
        };
        let start = cursor.pos();
        cursor.pass_string(limits)?;
        cursor.pass_string(limits)?;
        let pair = cursor.since(start);
        if self.from == Form::ExpiryLast {
            expire_at_ms = expiry_last(cursor)?;
        }
        match self.to {
            Form::Plain => {
                losses.add(Loss::FieldExpiry, expire_at_ms.is_some().into());
                out.put_slice(pair);
            }
            Form::ExpiryFirst { .. } => {
                let at = expire_at_ms.map(|at| FieldExpiry::Redis.nearest(at));
                put_length(out, at.map_or(0, |at| at.abs_diff(MIN_MS) + 1));
                out.put_slice(pair);
            }
            Form::ExpiryLast => {
                out.put_slice(pair);
                out.put_i64_le(expire_at_ms.unwrap_or(-1));
            }
        }
        Ok(())
    }
}
