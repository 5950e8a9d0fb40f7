//! Values converted for every server.

use std::collections::HashSet;

use bytes::Bytes;
use keyferry::rdb::{
    Altitude, Converted, Event, Family, Loss, Parser, Part, ServerVersion, StreamConsumer,
    ValueType, convert,
};

use super::rdb::{as_text, header, joined, parts, pieces, small_limits};

/// One of each kind, as far as values are concerned.
const SERVERS: [&str; 11] = [
    "redis-2.8",
    "redis-3.2",
    "redis-4.0",
    "redis-6.2",
    "redis-7.0",
    "redis-7.2",
    "redis-8.0",
    "redis-8.6",
    "redis-8.10",
    "valkey-8.1",
    "valkey-9.1",
];

/// A value that can be read is written as what each server loads, and keeps what that has a place
/// for; what it has none for is counted.
///
/// # Panics
///
/// If it is not.
pub fn converts(value_type: ValueType, body: &Bytes, expected: &[Part]) {
    for server in SERVERS {
        let server: ServerVersion = server.parse().expect("a server");
        let Ok(to) = server.type_for(value_type) else {
            continue;
        };
        let converted = convert(body.clone(), value_type, to, &small_limits());
        let converted = converted.unwrap_or_else(|error| panic!("{server}, type {to:?}: {error}"));
        if to == value_type && !to.is_stream() && !to.has_field_expiry() {
            assert_eq!(&converted.body, body, "{server}");
        }
        same_in_pieces(value_type, body, to, &converted);
        let read = parts(to, converted.body.into()).expect("what was converted is valid");
        let mut losses = Vec::new();
        let kept = kept(expected, value_type, to, &mut losses);
        let read: Vec<_> = read.iter().map(as_text).collect();
        assert_eq!(read, kept, "{server}, type {to:?}");
        if !to.is_stream() {
            assert_eq!(converted.losses, losses, "{server}, type {to:?}");
        }
    }
}

/// The value of a module is copied; a vector set gets the first form, and keeps it. Returns whether
/// the value can be read.
///
/// # Panics
///
/// If it does not.
pub fn module_converts(body: &Bytes) -> bool {
    let module = ValueType::common(7);
    let convert = |body: &Bytes| convert(body.clone(), module, module, &small_limits());
    let Ok(once) = convert(body) else {
        return false;
    };
    same_in_pieces(module, body, module, &once);
    let body: Bytes = once.body.clone().into();
    assert_eq!(convert(&body).expect("it was converted"), once);
    true
}

/// A value in a file that arrives in pieces is converted to the same bytes.
fn same_in_pieces(from: ValueType, body: &Bytes, to: ValueType, expected: &Converted) {
    if matches!((from.byte, from.family), (29 | 31, Family::Redis)) {
        // There are none in files.
        return;
    }
    let header = header(from);
    let file = [header, &[from.byte], b"\x01k", body, b"\xff", &[0; 8]].concat();
    let mut parser = Parser::new(small_limits());
    let mut events = Vec::new();
    for piece in pieces(&file, &[7, 1, 100]) {
        parser.feed(piece);
        while let Some(event) = parser.next_event().expect("it was read before") {
            if let Event::Key(_) = event {
                parser.choose(Altitude::Converted {
                    to,
                    compress: false,
                });
            }
            events.push(event);
        }
    }
    parser.finish().expect("a whole file");
    let mut losses = Vec::new();
    for event in joined(events) {
        match event {
            Event::BodyPiece(body) => assert_eq!(body, expected.body),
            Event::Lost { loss, count } => losses.push((loss, count)),
            _ => {}
        }
    }
    assert_eq!(losses, expected.losses);
}

/// What is left of a value in another type.
fn kept(
    parts: &[Part],
    from: ValueType,
    to: ValueType,
    losses: &mut Vec<(Loss, u64)>,
) -> Vec<Part> {
    let owned = if to.is_stream() && to.byte < 27 {
        with_owners(parts)
    } else {
        parts.to_vec()
    };
    let mut parts = owned;
    if to != from && is_packed(from) {
        once(&mut parts);
    }
    let parts = &parts[..];
    let is_entry = |part: &&Part| matches!(part, Part::StreamEntry { .. });
    let entries = parts.iter().filter(is_entry).count() as u64;
    let (mut expiries, mut member_expiries) = (0, 0);
    let kept = parts.iter().filter_map(|part| match as_text(part) {
        Part::HashField {
            field,
            value,
            mut expire_at_ms,
        } => {
            if let (4, Some(_)) = (to.byte, expire_at_ms) {
                expiries += 1;
                expire_at_ms = None;
            }
            if to == ValueType::common(24) {
                // There is no time before and none after.
                expire_at_ms = expire_at_ms.map(|at| at.clamp(1, (1 << 46) - 1));
            }
            Some(Part::HashField {
                field,
                value,
                expire_at_ms,
            })
        }
        Part::ExpiringSetMember { member, .. } => {
            member_expiries += 1;
            Some(as_text(&Part::SetMember(member)))
        }
        part => kept_of_stream(part, to.byte, entries),
    });
    let kept = kept.collect();
    if member_expiries > 0 {
        losses.push((Loss::MemberExpiry, member_expiries));
    }
    if expiries > 0 {
        losses.push((Loss::FieldExpiry, expiries));
    }
    kept
}

/// Whether all elements stand in one blob, in which a server may have left one twice.
fn is_packed(value_type: ValueType) -> bool {
    matches!(
        (value_type.byte, value_type.family),
        (9 | 11..=13 | 16 | 17 | 20, _) | (23 | 25, Family::Redis)
    )
}

/// Leaves the first of those members or fields that stand more than once.
fn once(parts: &mut Vec<Part>) {
    let mut seen = HashSet::new();
    parts.retain(|part| match part {
        Part::SetMember(name)
        | Part::ZsetMember { member: name, .. }
        | Part::HashField { field: name, .. } => seen.insert(name.to_bytes()),
        _ => true,
    });
}

/// The same parts with every entry that nobody owns owned by the first consumer of its group.
fn with_owners(parts: &[Part]) -> Vec<Part> {
    let mut owned: Vec<Part> = Vec::new();
    // Where the pending entries of the first consumer of the group end.
    let mut first: Option<usize> = None;
    let mut consumers = 0;
    for part in parts {
        match part {
            Part::StreamGroup(_) => (first, consumers) = (None, 0),
            Part::StreamConsumer(_) => {
                consumers += 1;
                if consumers == 1 {
                    first = Some(owned.len() + 1);
                }
            }
            Part::StreamPending(_) if consumers == 1 => first = first.map(|at| at + 1),
            Part::StreamNacked(pending) | Part::StreamUnowned(pending) => {
                let at = first.unwrap_or_else(|| {
                    owned.push(Part::StreamConsumer(StreamConsumer {
                        name: "keyferry".into(),
                        seen_at_ms: 0,
                        active_at_ms: None,
                    }));
                    owned.len()
                });
                owned.insert(at, Part::StreamPending(*pending));
                first = Some(at + 1);
                continue;
            }
            _ => {}
        }
        owned.push(part.clone());
    }
    owned
}

fn kept_of_stream(mut part: Part, to: u8, entries: u64) -> Option<Part> {
    match &mut part {
        Part::StreamMeta(meta) => {
            meta.length = entries;
            if to < 19 {
                meta.max_deleted_id = None;
                meta.entries_added = None;
            }
        }
        Part::StreamUnowned(pending) => part = Part::StreamNacked(*pending),
        Part::StreamGroupEnd(end) => *end = Default::default(),
        Part::StreamGroup(group) if to < 19 => group.entries_read = None,
        Part::StreamConsumer(consumer) if to < 21 => consumer.active_at_ms = None,
        Part::StreamIdempotency(_)
        | Part::StreamIdempotentId { .. }
        | Part::StreamIdempotencyEnd { .. }
            if to < 26 =>
        {
            return None;
        }
        _ => {}
    }
    Some(part)
}
