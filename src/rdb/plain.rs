//! The plain encodings, which RESTORE of every server takes, built from the parts of a value.
//!
//! The count of elements stands in front of them and is known last, so the encoded elements are
//! held until [`PlainEncoder::finish`]. Meant for small values, whose own encoding is too new for
//! the target.

use bytes::BufMut;

use crate::keyspace::UnixMs;

use super::length::{put_length, put_string};
use super::part::{Element, Part};
use super::value_type::{Family, ValueType};

/// Which server's encoding a hash with expiring fields gets. Without any such field it is plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldExpiry {
    /// Type 24, for Redis 7.4 and later.
    Redis,
    /// Type 22 of Valkey, for Valkey 9.0 and later.
    Valkey,
    /// Type 4: the expiry of fields is left out.
    Drop,
}

/// The times that Redis can give a field, ms: HPEXPIREAT refuses others (redis server.h
/// HFE_MAX_ABS_TIME_MSEC), and 0 stands for none.
const REDIS_TIMES: (UnixMs, UnixMs) = (1, (1 << 46) - 1);

impl FieldExpiry {
    /// The time nearest to this one that the server can give a field, whether in an encoding or by
    /// HPEXPIREAT.
    pub fn nearest(self, expire_at_ms: UnixMs) -> UnixMs {
        match self {
            Self::Redis => expire_at_ms.clamp(REDIS_TIMES.0, REDIS_TIMES.1),
            // Before 1970, -1 stands for none and the others are refused.
            Self::Valkey | Self::Drop => expire_at_ms.max(0),
        }
    }
}

/// Collects the parts of one value and writes them in a plain encoding.
#[derive(Debug)]
pub struct PlainEncoder {
    field_expiry: FieldExpiry,
    /// The type of the value, once a part has told.
    value_type: Option<u8>,
    count: u64,
    body: Vec<u8>,
    /// For each field of a hash where it begins in `body` and when it expires.
    fields: Vec<(usize, Option<UnixMs>)>,
}

/// A part of a stream or of a type of newer servers or forks: those have no plain encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value has no plain encoding")]
pub struct NoPlainEncoding;

impl PlainEncoder {
    /// Begins a value.
    pub fn new(field_expiry: FieldExpiry) -> Self {
        Self {
            field_expiry,
            value_type: None,
            count: 0,
            body: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Takes the next part of the value.
    ///
    /// # Errors
    ///
    /// [`NoPlainEncoding`] for a part of anything but a string, list, set, sorted set or hash.
    pub fn push(&mut self, part: &Part) -> Result<(), NoPlainEncoding> {
        let value_type = match part {
            Part::String(element) => {
                put_element(&mut self.body, element);
                0
            }
            Part::StringStart { len } => {
                put_length(&mut self.body, *len);
                0
            }
            Part::StringChunk(bytes) => {
                self.body.put_slice(bytes);
                0
            }
            Part::ListElement(element) => {
                put_element(&mut self.body, element);
                1
            }
            Part::SetMember(element) => {
                put_element(&mut self.body, element);
                2
            }
            Part::ZsetMember { member, score } => {
                put_element(&mut self.body, member);
                self.body.put_f64_le(*score);
                5
            }
            Part::HashField {
                field,
                value,
                expire_at_ms,
            } => {
                self.fields.push((self.body.len(), *expire_at_ms));
                put_element(&mut self.body, field);
                put_element(&mut self.body, value);
                4
            }
            Part::StreamEntry { .. }
            | Part::StreamMeta(_)
            | Part::StreamGroup(_)
            | Part::StreamConsumer(_)
            | Part::StreamPending(_)
            | Part::StreamGroupEnd(_)
            | Part::StreamIdempotency(_)
            | Part::StreamIdempotentId { .. }
            | Part::StreamNacked(_)
            | Part::StreamUnowned(_)
            | Part::StreamIdempotencyEnd { .. }
            | Part::ArrayStart { .. }
            | Part::ArrayElement { .. }
            | Part::ExpiringSetMember { .. }
            | Part::Json(_)
            | Part::VectorSet(_)
            | Part::Vector(_)
            | Part::CronJob { .. }
            | Part::CronKey(_)
            | Part::CronArgument(_) => return Err(NoPlainEncoding),
        };
        self.value_type = Some(value_type);
        self.count += 1;
        Ok(())
    }

    /// Takes the next member of a sorted set for servers that have scores as text (type 3).
    pub(crate) fn push_text_score(&mut self, member: &Element, score: f64) {
        put_element(&mut self.body, member);
        if score.is_infinite() {
            self.body.put_u8(if score > 0.0 { 254 } else { 255 });
        } else {
            // The shortest text that reads back the same; 24 bytes at most.
            put_string(&mut self.body, format!("{score:e}").as_bytes());
        }
        self.value_type = Some(3);
        self.count += 1;
    }

    /// Writes what was taken as the body of one type, which must be a plain one of its kind.
    pub(crate) fn write_as(&mut self, to: ValueType, out: &mut Vec<u8>) {
        match (to.byte, to.family) {
            (24, Family::Redis) => out.append(&mut self.with_expiry_first()),
            (22, Family::Valkey) => out.append(&mut self.with_expiry_last()),
            _ => {
                put_length(out, self.count);
                out.append(&mut self.body);
            }
        }
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> usize {
        self.body.len() + self.fields.len() * size_of::<(usize, Option<UnixMs>)>()
    }

    /// The value type and the body; `None` for a value that had no parts.
    pub fn finish(self) -> Option<(ValueType, Vec<u8>)> {
        let redis = ValueType::common;
        let byte = self.value_type?;
        if byte == 0 {
            return Some((redis(0), self.body));
        }
        let expires = self.min_expiry().is_some();
        Some(match (expires, self.field_expiry) {
            (false, _) | (_, FieldExpiry::Drop) => {
                let mut body = Vec::with_capacity(self.body.len() + 9);
                put_length(&mut body, self.count);
                body.put_slice(&self.body);
                (redis(byte), body)
            }
            (true, FieldExpiry::Redis) => (redis(24), self.with_expiry_first()),
            (true, FieldExpiry::Valkey) => {
                (ValueType::of(22, Family::Valkey), self.with_expiry_last())
            }
        })
    }

    fn min_expiry(&self) -> Option<UnixMs> {
        let expiries = self
            .fields
            .iter()
            .filter_map(|(_, expire_at_ms)| *expire_at_ms);
        expiries.min()
    }

    /// Type 24: the least expiry, then each field behind the distance of its own from that.
    fn with_expiry_first(&self) -> Vec<u8> {
        let nearest = |time| FieldExpiry::Redis.nearest(time);
        let min = self.min_expiry().map_or(0, nearest);
        let mut body = Vec::with_capacity(self.held_bytes());
        body.put_i64_le(min);
        put_length(&mut body, self.count);
        for (expire_at_ms, pair) in self.pairs() {
            // Zero stands for none, so the distance counts from one.
            let ttl = expire_at_ms.map_or(0, |time| nearest(time).abs_diff(min) + 1);
            put_length(&mut body, ttl);
            body.put_slice(pair);
        }
        body
    }

    /// Type 22 of Valkey: each field, its value and its expiry.
    fn with_expiry_last(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.held_bytes());
        put_length(&mut body, self.count);
        for (expire_at_ms, pair) in self.pairs() {
            body.put_slice(pair);
            body.put_i64_le(expire_at_ms.map_or(-1, |time| FieldExpiry::Valkey.nearest(time)));
        }
        body
    }

    /// Each field's expiry, and its encoded field and value.
    fn pairs(&self) -> impl Iterator<Item = (Option<UnixMs>, &[u8])> {
        let ends = self
            .fields
            .iter()
            .skip(1)
            .map(|(start, _)| *start)
            .chain([self.body.len()]);
        self.fields
            .iter()
            .zip(ends)
            .map(|((start, expire_at_ms), end)| {
                (
                    *expire_at_ms,
                    self.body.get(*start..end).unwrap_or_default(),
                )
            })
    }
}

fn put_element(out: &mut Vec<u8>, element: &Element) {
    match element {
        Element::Bytes(bytes) => put_string(out, bytes),
        Element::Int(value) => put_string(out, itoa::Buffer::new().format(*value).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Event, Limits, ValueParser};
    use super::*;

    fn parts(value_type: ValueType, body: Vec<u8>) -> Vec<Part> {
        let mut parser = ValueParser::new(value_type, body.into(), Limits::default());
        let mut parts = Vec::new();
        while let Some(event) = parser.next_event().unwrap() {
            if let Event::Part(part) = event {
                parts.push(part);
            }
        }
        parts
    }

    fn text(text: &'static str) -> Element {
        Element::Bytes(text.into())
    }

    #[test]
    fn reads_back_as_it_was() {
        let member = |member, score| Part::ZsetMember { member, score };
        let field = |field, expire_at_ms| Part::HashField {
            field,
            value: text("v"),
            expire_at_ms,
        };
        let timed = vec![
            field(text("a"), Some(2000)),
            field(text("b"), None),
            field(text("c"), Some(1000)),
        ];
        for (byte, expiry, value) in [
            (0, FieldExpiry::Redis, vec![Part::String(text("hi"))]),
            (
                1,
                FieldExpiry::Redis,
                vec![Part::ListElement(text("x")), Part::ListElement(text(""))],
            ),
            (2, FieldExpiry::Redis, vec![Part::SetMember(text("x"))]),
            (
                5,
                FieldExpiry::Redis,
                vec![member(text("x"), 1.5), member(text("y"), f64::NEG_INFINITY)],
            ),
            (4, FieldExpiry::Redis, vec![field(text("a"), None)]),
            (24, FieldExpiry::Redis, timed.clone()),
            (22, FieldExpiry::Valkey, timed),
        ] {
            let mut encoder = PlainEncoder::new(expiry);
            value.iter().for_each(|part| encoder.push(part).unwrap());
            let (value_type, body) = encoder.finish().unwrap();
            assert_eq!(
                value_type,
                match byte {
                    22 => ValueType::of(22, Family::Valkey),
                    byte => ValueType::common(byte),
                }
            );
            assert_eq!(parts(value_type, body), value, "type {byte}");
        }
    }

    #[test]
    fn writes_integers_as_text_and_chunks_as_one_string() {
        let mut encoder = PlainEncoder::new(FieldExpiry::Drop);
        encoder
            .push(&Part::ListElement(Element::Int(-70000)))
            .unwrap();
        assert_eq!(encoder.finish().unwrap().1, b"\x01\x06-70000");
        let mut encoder = PlainEncoder::new(FieldExpiry::Drop);
        let chunks = ["ab", "c"].map(|chunk| Part::StringChunk(Bytes::from(chunk)));
        for part in [Part::StringStart { len: 3 }].iter().chain(&chunks) {
            encoder.push(part).unwrap();
        }
        assert_eq!(encoder.finish().unwrap().1, b"\x03abc");
    }

    #[test]
    fn drops_expiry_where_asked_to() {
        let mut encoder = PlainEncoder::new(FieldExpiry::Drop);
        let field = Part::HashField {
            field: text("a"),
            value: text("b"),
            expire_at_ms: Some(5),
        };
        encoder.push(&field).unwrap();
        let (value_type, body) = encoder.finish().unwrap();
        assert_eq!((value_type.byte, body), (4, b"\x01\x01a\x01b".to_vec()));
    }

    #[test]
    fn fields_expire_at_times_that_the_server_has() {
        let last = (1 << 46) - 1;
        for (server, given, written) in [
            (FieldExpiry::Redis, -1, 1),
            (FieldExpiry::Redis, 0, 1),
            (FieldExpiry::Redis, 1000, 1000),
            (FieldExpiry::Redis, 1 << 50, last),
            (FieldExpiry::Redis, UnixMs::MAX, last),
            (FieldExpiry::Valkey, -1, 0),
            (FieldExpiry::Valkey, 1 << 50, 1 << 50),
        ] {
            let mut encoder = PlainEncoder::new(server);
            let field = |expire_at_ms| Part::HashField {
                field: text("a"),
                value: text("b"),
                expire_at_ms: Some(expire_at_ms),
            };
            encoder.push(&field(given)).unwrap();
            let (value_type, body) = encoder.finish().unwrap();
            assert_eq!(
                parts(value_type, body),
                [field(written)],
                "{server:?} {given}"
            );
        }
    }

    #[test]
    fn says_no_to_streams_and_nothing_to_nothing() {
        let end = Part::StreamGroupEnd(Default::default());
        assert_eq!(
            PlainEncoder::new(FieldExpiry::Drop).push(&end),
            Err(NoPlainEncoding)
        );
        assert_eq!(PlainEncoder::new(FieldExpiry::Drop).finish(), None);
    }
}
