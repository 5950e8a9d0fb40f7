//! Values whose elements have to be counted before the first one can be written.
//!
//! That is what is packed in a blob, which is held anyway. For servers before Redis 3.2, which know
//! no quicklists, it is a whole list, and for those before 4.0, which know no binary scores, a
//! whole sorted set.

use std::collections::HashSet;

use bytes::Bytes;

use crate::keyspace::Loss;
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::key_type::KeyType;
use crate::rdb::limits::Limits;
use crate::rdb::loss::Losses;
use crate::rdb::part::{Element, Part};
use crate::rdb::plain::{FieldExpiry, PlainEncoder};
use crate::rdb::value::Value;
use crate::rdb::value_type::{Family, ValueType};

use super::Progress;

/// A value that is written once all of it was read.
#[derive(Debug)]
pub(super) struct Gathered {
    value: Value,
    encoder: PlainEncoder,
    to: ValueType,
    expiring_fields: u64,
    /// What came already, in a packed blob: old servers load one that has an element twice, of which
    /// they find the first.
    seen: Option<HashSet<Bytes>>,
}

impl Gathered {
    /// `None` unless `to` is a plain encoding of the same logical type.
    pub(super) fn new(from: ValueType, to: ValueType) -> Option<Self> {
        Self::of_value(Value::new(from), from, to)
    }

    /// The same with a value that cannot be begun from its type alone.
    pub(super) fn of_value(value: Value, from: ValueType, to: ValueType) -> Option<Self> {
        let key_type = KeyType::of(from);
        let field_expiry = match (key_type, to.byte, to.family) {
            (KeyType::List, 1, _) | (KeyType::Set, 2, _) | (KeyType::Zset, 3 | 5, _) => {
                FieldExpiry::Drop
            }
            (KeyType::Hash, 4, _) => FieldExpiry::Drop,
            (KeyType::Hash, 24, Family::Redis) => FieldExpiry::Redis,
            (KeyType::Hash, 22, Family::Valkey) => FieldExpiry::Valkey,
            _ => return None,
        };
        Some(Self {
            value,
            encoder: PlainEncoder::new(field_expiry),
            to,
            expiring_fields: 0,
            seen: is_packed(from).then(HashSet::new),
        })
    }

    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
        losses: &mut Losses,
    ) -> Result<Progress, Stop> {
        let Some(mut part) = self.value.next(cursor, limits)? else {
            self.encoder.write_as(self.to, out);
            if self.to.byte == 4 {
                losses.add(Loss::FieldExpiry, self.expiring_fields);
            }
            return Ok(Progress::Ended);
        };
        if self.came_already(&part) {
            return Ok(Progress::More);
        }
        if let Part::HashField { expire_at_ms, .. } = &part {
            self.expiring_fields += u64::from(expire_at_ms.is_some());
        }
        if let Part::ExpiringSetMember { member, .. } = part {
            losses.add(Loss::MemberExpiry, 1);
            part = Part::SetMember(member);
        }
        let pushed = match (&part, self.to.byte) {
            (Part::ZsetMember { member, score }, 3) => {
                self.encoder.push_text_score(member, *score);
                Ok(())
            }
            (part, _) => self.encoder.push(part),
        };
        debug_assert!(pushed.is_ok(), "streams are not gathered");
        Ok(Progress::More)
    }

    /// Whether a member or field of a blob stood there before.
    fn came_already(&mut self, part: &Part) -> bool {
        let (
            Some(seen),
            Part::SetMember(name)
            | Part::ZsetMember { member: name, .. }
            | Part::HashField { field: name, .. },
        ) = (&mut self.seen, part)
        else {
            return false;
        };
        !seen.insert(match name {
            Element::Bytes(bytes) => bytes.clone(),
            Element::Int(value) => Bytes::from(value.to_string()),
        })
    }
}

/// Whether the elements of a value that has each of them once stand in one blob.
fn is_packed(value_type: ValueType) -> bool {
    matches!(
        (value_type.byte, value_type.family),
        (9 | 11..=13 | 16 | 17 | 20, _) | (23 | 25, Family::Redis)
    )
}

#[cfg(test)]
mod tests {
    use crate::rdb::{Event, Limits, Part, ValueParser, ValueType, convert};

    #[test]
    fn what_stands_twice_in_a_blob_is_written_once() {
        // 5, 5, 3: neither ascending nor each once.
        let intset = b"\x0e\x02\0\0\0\x03\0\0\0\x05\0\x05\0\x03\0";
        // a 1, a 2.
        let hash = b"\x11\x11\0\0\0\x04\0\x81a\x02\x01\x01\x81a\x02\x02\x01\xff";
        for (from, to, body, count) in [(11, 2, &intset[..], 2), (16, 4, hash, 1)] {
            let (from, to) = (ValueType::common(from), ValueType::common(to));
            let limits = Limits::default();
            let body = convert(body.to_vec().into(), from, to, &limits)
                .unwrap()
                .body;
            let mut parser = ValueParser::new(to, body.into(), limits);
            let mut found = 0;
            while let Some(event) = parser.next_event().unwrap() {
                found += usize::from(matches!(
                    event,
                    Event::Part(Part::SetMember(_) | Part::HashField { .. })
                ));
            }
            assert_eq!(found, count, "{from:?}");
        }
    }
}
