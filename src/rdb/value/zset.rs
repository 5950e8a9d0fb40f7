//! Sorted sets: by member with a score as text (type 3) or as a double (5), as a ziplist (12), as
//! a listpack (17).

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed};
use crate::rdb::part::{Element, Part};

const NOT_A_NUMBER: &str = "a score is not a number";

/// A sorted set that is being read.
#[derive(Debug)]
pub(crate) enum Zset {
    Table { text: bool },
    Members { text: bool, left: u64 },
    Blob(Encoding),
    Packed(Packed),
}

impl Zset {
    pub(crate) fn new(byte: u8) -> Option<Self> {
        match byte {
            3 => Some(Self::Table { text: true }),
            5 => Some(Self::Table { text: false }),
            12 => Some(Self::Blob(Encoding::Ziplist)),
            17 => Some(Self::Blob(Encoding::Listpack)),
            _ => None,
        }
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match self {
                Self::Table { text } => {
                    *self = Self::Members {
                        text: *text,
                        left: cursor.count()?,
                    };
                }
                Self::Blob(encoding) => {
                    *self = Self::Packed(Packed::read(*encoding, cursor, limits)?);
                }
                Self::Members { left: 0, .. } => return Ok(None),
                Self::Members { text, left } => {
                    let score = if *text { text_score } else { binary_score };
                    let (member, score) = cursor.string_and(limits, score)?;
                    *left -= 1;
                    return Ok(Some(Part::ZsetMember { member, score }));
                }
                Self::Packed(packed) => return packed_member(packed),
            }
            cursor.commit();
        }
    }
}

fn packed_member(packed: &mut Packed) -> Result<Option<Part>, Stop> {
    let Some(member) = packed.next()? else {
        return Ok(None);
    };
    let score = match packed.required()? {
        Element::Int(value) => Some(value as f64),
        Element::Bytes(text) => parse_score(&text),
    };
    let score = score.ok_or_else(|| packed.corrupt(NOT_A_NUMBER))?;
    Ok(Some(Part::ZsetMember { member, score }))
}

fn binary_score(cursor: &mut Cursor<'_>) -> Result<f64, Stop> {
    let score = f64::from_le_bytes(cursor.array()?);
    if score.is_nan() {
        return Err(cursor.corrupt(NOT_A_NUMBER));
    }
    Ok(score)
}

fn text_score(cursor: &mut Cursor<'_>) -> Result<f64, Stop> {
    match cursor.u8()? {
        253 => Err(cursor.corrupt(NOT_A_NUMBER)),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => {
            let text = cursor.take(len.into())?;
            parse_score(text).ok_or_else(|| cursor.corrupt(NOT_A_NUMBER))
        }
    }
}

/// Reads a score as servers print it. They read more leniently (`1.5x` as 1.5); no server writes
/// such a thing, so it is refused rather than guessed at.
fn parse_score(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scores_as_servers_print_them() {
        for (text, score) in [
            ("3", Some(3.0)),
            ("-0.5", Some(-0.5)),
            ("1e+17", Some(1e17)),
            ("inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("3.1415926535897931", Some(std::f64::consts::PI)),
            ("nan", None),
            ("", None),
            ("1.5x", None),
            (" 1", None),
        ] {
            assert_eq!(parse_score(text.as_bytes()), score, "{text:?}");
        }
    }
}
