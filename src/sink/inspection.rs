//! Bodies that a server may not be given as they stand, although it knows their type.
//!
//! RESTORE of Redis looks at some of a body only, and trusts the rest: a hash whose field expiries
//! are out of range, or a stream with pending entries that no consumer owns, ends the server then
//! or later. Valkey 9.1 refuses a stream that says another number of entries than it has. So such
//! bodies are read to their end here first.

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    rdb::{self, Event, Limits, Part, ValueParser, ValueType},
};

use super::Target;

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
) -> Result<bool, rdb::Error> {
    let is_read = value_type.has_field_expiry() || value_type.is_stream();
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
    while let Some(event) = parser.next_event()? {
        stands &= match event {
            Event::Part(Part::HashField {
                expire_at_ms: Some(at),
                ..
            }) => at > now_ms && at == target.field_expiry_within(at),
            Event::Part(Part::StreamEntry { .. }) => {
                entries += 1;
                true
            }
            Event::Part(Part::StreamMeta(meta)) => meta.length == entries,
            Event::Part(Part::StreamGroupEnd(end)) => {
                end.pending_unowned == 0 && end.pending_contested == 0
            }
            _ => true,
        };
    }
    Ok(stands)
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
        stands_as_is(&target, value_type, &Bytes::from_static(body), now_ms).ok()
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
    fn a_value_without_elements_does_not_stand_where_it_would_be_taken() {
        let (major, minor) = OLDEST;
        let target = Target::of_version(rdb::ServerVersion::new(Flavor::Redis, major, minor));
        for (body, stands) in [(&b"\x01\x01x"[..], true), (b"\0", false)] {
            let body = Bytes::from_static(body);
            let found = stands_as_is(&target, ValueType::common(1), &body, 0);
            assert_eq!(found.unwrap(), stands);
        }
    }
}
