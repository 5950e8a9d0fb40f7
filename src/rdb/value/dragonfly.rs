//! Types that only Dragonfly has: JSON (20, 30), hashes (31) and sets (32) whose members expire,
//! and filters and sketches (33 to 37), which only it understands.
//!
//! ```text
//! 20, 30  str, JSON text
//! 31      len n | n * (str field, str value, str expiry)
//! 32      len n | n * (str member, str expiry)
//! ```
//!
//! An expiry is decimal text, -1 for none, else seconds since the first of February 2023.

use crate::keyspace::UnixMs;
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::error::{ErrorKind, Opaque};
use crate::rdb::limits::Limits;
use crate::rdb::part::{Element, Part};
use crate::rdb::value_type::{Family, ValueType};

/// 2023-02-01 00:00:00 UTC, from where Dragonfly counts.
const EPOCH_S: i64 = 1_675_209_600;

/// A value of Dragonfly that is being read.
#[derive(Debug)]
pub(crate) enum DragonflyValue {
    Json,
    Done,
    Table {
        hash: bool,
    },
    Members {
        hash: bool,
        left: u64,
        /// Read already, while the rest has not arrived: a member, or a field and its value.
        read: (Option<Element>, Option<Element>),
    },
    Opaque(&'static str),
}

impl DragonflyValue {
    pub(crate) fn new(value_type: ValueType) -> Option<Self> {
        if value_type.family != Family::Dragonfly {
            return None;
        }
        Some(match value_type.byte {
            20 | 30 => Self::Json,
            31 => Self::Table { hash: true },
            32 => Self::Table { hash: false },
            33 | 34 => Self::Opaque("a Bloom filter"),
            35 => Self::Opaque("a count-min sketch"),
            36 => Self::Opaque("a list of top elements"),
            37 => Self::Opaque("a cuckoo filter"),
            _ => return None,
        })
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match self {
                Self::Json => {
                    let json = Part::Json(cursor.text(limits)?);
                    *self = Self::Done;
                    return Ok(Some(json));
                }
                Self::Done => return Ok(None),
                Self::Opaque(what) => {
                    let opaque = Opaque::Dragonfly(what);
                    return Err(cursor.bad(ErrorKind::NoElements(opaque)));
                }
                Self::Table { hash } => {
                    *self = Self::Members {
                        hash: *hash,
                        left: cursor.count()?,
                        read: (None, None),
                    };
                }
                Self::Members { left: 0, .. } => return Ok(None),
                Self::Members { read, .. } if read.0.is_none() => {
                    read.0 = Some(cursor.string(limits)?);
                }
                Self::Members {
                    hash: true, read, ..
                } if read.1.is_none() => read.1 = Some(cursor.string(limits)?),
                Self::Members { left, read, .. } => {
                    let expire_at_ms = expiry(&cursor.string(limits)?)
                        .ok_or_else(|| cursor.corrupt("impossible expiry of a member"))?;
                    *left -= 1;
                    let (member, value) = std::mem::take(read);
                    return Ok(member.map(|member| part(member, value, expire_at_ms)));
                }
            }
            cursor.commit();
        }
    }
}

fn part(member: Element, value: Option<Element>, expire_at_ms: Option<UnixMs>) -> Part {
    match (value, expire_at_ms) {
        (Some(value), expire_at_ms) => Part::HashField {
            field: member,
            value,
            expire_at_ms,
        },
        (None, Some(expire_at_ms)) => Part::ExpiringSetMember {
            member,
            expire_at_ms,
        },
        (None, None) => Part::SetMember(member),
    }
}

/// When a member expires, if it does; `None` for what is no expiry.
fn expiry(text: &Element) -> Option<Option<UnixMs>> {
    match text.as_int()? {
        -1 => Some(None),
        seconds @ 0.. => seconds.checked_add(EPOCH_S)?.checked_mul(1000).map(Some),
        _ => None,
    }
}
