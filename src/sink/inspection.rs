//! Bodies that a server may not be given as they stand, although it knows their type.
//!
//! RESTORE of Redis looks at some of a body only, and trusts the rest: a hash whose field expiries
//! are out of range, or a stream with pending entries that no consumer owns, ends the server then
//! or later. Valkey 9.1 refuses a stream that says another number of entries than it has. So such
//! bodies are read to their end here first.
//!
//! What else may end a server (elements that stand there twice or out of order, packed encodings
//! that are no such) never comes from a server that is alive. Bodies out of files are read to their
//! end for that, those of a source are not: it would cost several times what all else does.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    rdb::{self, Element, Event, Limits, Part, ValueParser, ValueType},
};

use super::{Target, policy::MadeBy, repeats};

/// Whether `target` may be given a body as it stands; otherwise a stream is converted, which puts
/// it right, and of other values the parts are written, as far as they have not expired by `now_ms`.
///
/// # Errors
/// What is wrong with the body.
pub(super) fn stands_as_is(
    target: &Target,
    value_type: ValueType,
    body: &Bytes,
    now_ms: UnixMs,
    made_by: MadeBy,
) -> Result<bool, rdb::Error> {
    let trusts = made_by == MadeBy::Server || value_type.is_module();
    let is_read = value_type.has_field_expiry() || value_type.is_stream() || !trusts;
    if !is_read && (target.refuses_empty_values() || value_type.is_module()) {
        return Ok(true);
    }
    let mut parser = ValueParser::new(value_type, body.clone(), Limits::default());
    if !is_read {
        // The parts are nothing but the end then.
        let first = parser.next_event()?;
        return Ok(first.is_some_and(|first| !first.ends_value()));
    }
    let mut stands = true;
    let mut entries = 0;
    let mut parts = 0_u64;
    let mut names = Names::default();
    let mut order = Order::of(value_type);
    while let Some(event) = parser.next_event()? {
        let Event::Part(part) = event else { continue };
        parts += 1;
        stands &= order.holds(&part);
        names.see(&part);
        stands &= match part {
            Part::HashField {
                expire_at_ms: Some(at),
                ..
            } => at > now_ms && at == target.field_expiry_within(at),
            Part::StreamEntry { .. } => {
                entries += 1;
                true
            }
            Part::StreamMeta(meta) => meta.length == entries,
            Part::StreamGroupEnd(end) => end.pending_unowned == 0 && end.pending_contested == 0,
            _ => true,
        };
    }
    Ok(stands && !names.repeat() && (parts > 0 || target.refuses_empty_values()))
}

/// The names of a value's elements, by 64 bits of each: two that are taken for the same one cost
/// no more than that the value is written by its parts.
#[derive(Default)]
struct Names {
    state: RandomState,
    hashes: Vec<u64>,
}

impl Names {
    fn see(&mut self, part: &Part) {
        if let Some(name) = repeats::name(part) {
            let hash = match name {
                Element::Bytes(bytes) => self.state.hash_one(&bytes[..]),
                Element::Int(int) => self
                    .state
                    .hash_one(itoa::Buffer::new().format(*int).as_bytes()),
            };
            self.hashes.push(hash);
        }
    }

    fn repeat(mut self) -> bool {
        self.hashes.sort_unstable();
        self.hashes
            .windows(2)
            .any(|two| matches!(two, [one, other] if one == other))
    }
}

/// The order that a packed encoding keeps its elements in, as its server searches them.
enum Order {
    Any,
    /// Ascending integers.
    Ints(Option<i64>),
    /// By score, then by member.
    Scores(Option<(f64, Element)>),
    /// By expiry; fields without one stand behind all others.
    Expiries(UnixMs),
}

impl Order {
    fn of(value_type: ValueType) -> Order {
        match value_type.byte {
            11 => Order::Ints(None),
            12 | 17 => Order::Scores(None),
            23 | 25 => Order::Expiries(UnixMs::MIN),
            _ => Order::Any,
        }
    }

    /// Whether the next part may stand behind those before it.
    fn holds(&mut self, part: &Part) -> bool {
        match (self, part) {
            (Order::Ints(last), Part::SetMember(Element::Int(int))) => {
                last.replace(*int).is_none_or(|last| last < *int)
            }
            (Order::Scores(last), Part::ZsetMember { member, score }) => {
                let before = last.replace((*score, member.clone()));
                before.is_none_or(|(before, its)| {
                    before < *score || (before == *score && its.to_bytes() < member.to_bytes())
                })
            }
            (Order::Expiries(last), Part::HashField { expire_at_ms, .. }) => {
                let next = expire_at_ms.unwrap_or(UnixMs::MAX);
                std::mem::replace(last, next) <= next
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rdb::Flavor, sink::OLDEST};

    fn stands(byte: u8, body: &'static [u8], now_ms: UnixMs) -> Option<bool> {
        let target = Target {
            flavor: Flavor::Redis,
            version: (8, 6, 0),
            modules: Vec::new(),
            bulk_bytes_max: 1 << 29,
            databases: 16,
        };
        let value_type = ValueType::common(byte);
        stands_as_is(
            &target,
            value_type,
            &Bytes::from_static(body),
            now_ms,
            MadeBy::Server,
        )
        .ok()
    }

    #[test]
    fn a_hash_stands_if_its_expiries_are_ahead_and_within_range() {
        let soon = b"\x10\x27\0\0\0\0\0\0\x01\x01\x01f\x01v";
        assert_eq!(stands(24, soon, 9_999), Some(true));
        assert_eq!(stands(24, soon, 10_000), Some(false));
        let far = b"\0\0\0\0\0\0\x04\0\x01\x01\x01f\x01v";
        assert_eq!(stands(24, far, 0), Some(false));
        let cut = b"\x10\x27\0\0\0\0\0\0\x02\x01\x01f\x01v";
        assert_eq!(stands(24, cut, 0), None);
    }

    #[test]
    fn what_anybody_made_stands_if_it_is_in_order_and_nothing_repeats() {
        let target = Target::of_version(rdb::ServerVersion::new(Flavor::Redis, 8, 6));
        let packed = b"\x13\x13\0\0\0\x04\0\x81f\x02\x81v\x02\x81f\x02\x81w\x02\xff";
        let cut = b"\x0c\x0c\0\0\0\x02\0\x81f\x02\x82v\xff";
        for (byte, body, by_anybody, name) in [
            (
                11,
                &b"\x0c\x02\0\0\0\x02\0\0\0\x01\0\x02\0"[..],
                Some(true),
                "a set",
            ),
            (
                11,
                b"\x0c\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
                Some(false),
                "unordered",
            ),
            (
                11,
                b"\x0c\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
                Some(false),
                "an integer",
            ),
            (16, packed, Some(false), "a field"),
            (16, cut, None, "cut"),
            (4, b"\x02\x01f\x01v\x01g\x01v", Some(true), "a hash"),
            (
                4,
                b"\x02\x01f\x01v\x01f\x01v",
                Some(false),
                "a field of a plain hash",
            ),
            (
                3,
                b"\x02\x01b\x011\x01a\x011",
                Some(true),
                "a plain sorted set",
            ),
            (1, b"\x02\x01a\x01a", Some(true), "a list"),
        ] {
            let (body, value_type) = (Bytes::copy_from_slice(body), ValueType::common(byte));
            let stands = |by| stands_as_is(&target, value_type, &body, 0, by).ok();
            assert_eq!(stands(MadeBy::Anybody), by_anybody, "{name}");
            assert_eq!(stands(MadeBy::Server), Some(true), "{name}");
        }
    }

    #[test]
    fn a_value_without_elements_does_not_stand_where_it_would_be_taken() {
        let (major, minor) = OLDEST;
        let target = Target::of_version(rdb::ServerVersion::new(Flavor::Redis, major, minor));
        for (body, stands) in [(&b"\x01\x01x"[..], true), (b"\0", false)] {
            let body = Bytes::from_static(body);
            let found = stands_as_is(&target, ValueType::common(1), &body, 0, MadeBy::Server);
            assert_eq!(found.unwrap(), stands);
        }
    }
}
