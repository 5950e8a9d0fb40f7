//! The parts of a value as JSON.

use crate::{
    dump::byte_string::{push_bytes, push_text},
    keyspace::{StreamId, UnixMs},
    rdb::{
        Element, Part, Quantization, StreamConsumer, StreamGroup, StreamIdempotency, StreamMeta,
        StreamPending, Vector, VectorSet,
    },
};

use super::nest::{Bracket, Nest, ScopeKind};

/// Appends a byte string; what is stored as an integer is its text.
pub(super) fn push_element(json: &mut Vec<u8>, element: &Element) {
    match element {
        Element::Bytes(bytes) => push_bytes(json, bytes),
        Element::Int(int) => {
            json.push(b'"');
            push_int(json, *int);
            json.push(b'"');
        }
    }
}

/// Appends a whole number.
pub(super) fn push_int(json: &mut Vec<u8>, int: impl itoa::Integer) {
    json.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
}

/// Appends a score: a number, or the texts `inf` and `-inf`, which JSON has no numbers for.
pub(super) fn push_score(json: &mut Vec<u8>, score: f64) {
    /// Whole numbers up to here are written without a fraction.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if score.is_infinite() {
        let text: &[u8] = if score > 0.0 { b"\"inf\"" } else { b"\"-inf\"" };
        json.extend_from_slice(text);
    } else if score.fract() == 0.0
        && score.abs() <= EXACT
        && !(score == 0.0 && score.is_sign_negative())
    {
        push_int(json, score as i64);
    } else {
        json.extend_from_slice(ryu::Buffer::new().format_finite(score).as_bytes());
    }
}

/// Appends the id of a stream entry.
pub(super) fn push_id(json: &mut Vec<u8>, id: StreamId) {
    json.push(b'"');
    push_int(json, id.ms);
    json.push(b'-');
    push_int(json, id.seq);
    json.push(b'"');
}

/// Appends `"name":`.
fn push_name(json: &mut Vec<u8>, name: &str) {
    push_text(json, name);
    json.push(b':');
}

/// Appends a member of the innermost object.
fn push_member(nest: &mut Nest, json: &mut Vec<u8>, name: &str, value: Option<impl itoa::Integer>) {
    nest.comma(json);
    push_name(json, name);
    match value {
        Some(value) => push_int(json, value),
        None => json.extend_from_slice(b"null"),
    }
}

fn push_id_member(nest: &mut Nest, json: &mut Vec<u8>, name: &str, id: StreamId) {
    nest.comma(json);
    push_name(json, name);
    push_id(json, id);
}

/// Appends a part of a value that is an array or an object. Strings are not written here.
pub(super) fn push_part(nest: &mut Nest, json: &mut Vec<u8>, part: &Part) {
    match part {
        Part::ListElement(element) | Part::SetMember(element) => {
            nest.comma(json);
            push_element(json, element);
        }
        Part::ZsetMember { member, score } => {
            nest.comma(json);
            json.push(b'[');
            push_element(json, member);
            json.push(b',');
            push_score(json, *score);
            json.push(b']');
        }
        Part::HashField {
            field,
            value,
            expire_at_ms,
        } => {
            nest.comma(json);
            push_field(json, field, value, *expire_at_ms);
        }
        Part::StreamEntry { id, fields } => {
            nest.comma(json);
            push_entry(json, *id, fields);
        }
        Part::StreamMeta(meta) => push_meta(nest, json, meta),
        Part::StreamGroup(group) => push_group(nest, json, group),
        Part::StreamConsumer(consumer) => push_consumer(nest, json, consumer),
        Part::StreamPending(pending) => {
            nest.comma(json);
            push_pending(json, pending);
        }
        // The end of the group counts them.
        Part::StreamUnowned(_) => {}
        Part::StreamGroupEnd(end) => {
            nest.back_to(json, ScopeKind::Group);
            push_member(nest, json, "pending_unowned", Some(end.pending_unowned));
            push_member(nest, json, "pending_contested", Some(end.pending_contested));
        }
        Part::StreamIdempotency(idempotency) => push_idempotency(nest, json, idempotency),
        Part::StreamIdempotentId {
            producer,
            idempotent_id,
            id,
        } => {
            nest.comma(json);
            json.push(b'[');
            push_bytes(json, producer);
            json.push(b',');
            push_bytes(json, idempotent_id);
            json.push(b',');
            push_id(json, *id);
            json.push(b']');
        }
        Part::StreamIdempotencyEnd {
            ids_added,
            duplicates,
        } => {
            nest.back_to(json, ScopeKind::Idempotency);
            push_member(nest, json, "ids_added", Some(*ids_added));
            push_member(nest, json, "duplicates", Some(*duplicates));
        }
        Part::ExpiringSetMember {
            member,
            expire_at_ms,
        } => {
            nest.comma(json);
            json.push(b'[');
            push_element(json, member);
            json.push(b',');
            push_int(json, *expire_at_ms);
            json.push(b']');
        }
        Part::StreamNacked(pending) => {
            if !nest.is_in(ScopeKind::Nacked) {
                nest.back_to(json, ScopeKind::Group);
                nest.open(json, ScopeKind::Nacked, Bracket::Array, "nacked");
            }
            nest.comma(json);
            push_pending(json, pending);
        }
        Part::ArrayElement { index, value } => {
            nest.comma(json);
            json.push(b'[');
            push_int(json, *index);
            json.push(b',');
            push_element(json, value);
            json.push(b']');
        }
        Part::CronJob {
            script,
            start_at_ms,
            interval_ms,
        } => {
            nest.comma(json);
            push_name(json, "script");
            push_bytes(json, script);
            push_member(nest, json, "start_at_ms", Some(*start_at_ms));
            push_member(nest, json, "interval_ms", Some(*interval_ms));
        }
        Part::CronKey(key) => push_listed(nest, json, ScopeKind::CronKeys, "keys", key),
        Part::CronArgument(argument) => {
            push_listed(nest, json, ScopeKind::CronArguments, "arguments", argument);
        }
        // Written where lines begin.
        Part::VectorSet(_) | Part::Vector(_) => {}
        Part::Json(_) | Part::ArrayStart { .. } => {}
        Part::String(_) | Part::StringStart { .. } | Part::StringChunk(_) => {}
    }
}

/// Appends the settings of a vector set as members of its first line.
pub(super) fn push_vector_set(json: &mut Vec<u8>, set: &VectorSet) {
    let quantization = match set.quantization {
        Quantization::None => "f32",
        Quantization::Int8 => "int8",
        Quantization::Binary => "bin",
    };
    let (dimensions, links_max) = (set.dimensions, set.links_max);
    let settings = format!(
        ",\"module\":\"vectorset\",\"dimensions\":{dimensions},\"quantization\":\"{quantization}\",\"links_max\":{links_max}"
    );
    json.extend_from_slice(settings.as_bytes());
    if let Some(dimensions) = set.input_dimensions {
        json.extend_from_slice(b",\"input_dimensions\":");
        push_int(json, dimensions);
    }
}

/// Appends an element of a vector set.
pub(super) fn push_vector(nest: &mut Nest, json: &mut Vec<u8>, vector: &Vector, dimensions: usize) {
    nest.comma(json);
    json.push(b'[');
    push_bytes(json, &vector.element);
    json.extend_from_slice(b",[");
    for (n, component) in vector.components(dimensions).enumerate() {
        if n > 0 {
            json.push(b',');
        }
        match component.is_finite() {
            true => json.extend_from_slice(ryu::Buffer::new().format_finite(component).as_bytes()),
            // The product of a component and the length of its vector can be too large.
            false => json.extend_from_slice(b"null"),
        }
    }
    json.push(b']');
    if let Some(attributes) = &vector.attributes {
        json.push(b',');
        push_bytes(json, attributes);
    }
    json.push(b']');
}

/// Appends an element of a list that is a member of the value and begins with its first element.
fn push_listed(nest: &mut Nest, json: &mut Vec<u8>, kind: ScopeKind, name: &str, text: &[u8]) {
    if !nest.is_in(kind) {
        nest.back_to(json, ScopeKind::Value);
        nest.open(json, kind, Bracket::Array, name);
    }
    nest.comma(json);
    push_bytes(json, text);
}

fn push_field(json: &mut Vec<u8>, field: &Element, value: &Element, expiry: Option<UnixMs>) {
    json.push(b'[');
    push_element(json, field);
    json.push(b',');
    push_element(json, value);
    if let Some(at) = expiry {
        json.push(b',');
        push_int(json, at);
    }
    json.push(b']');
}

fn push_entry(json: &mut Vec<u8>, id: StreamId, fields: &[(Element, Element)]) {
    json.push(b'[');
    push_id(json, id);
    json.extend_from_slice(b",[");
    for (n, (field, value)) in fields.iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        push_field(json, field, value, None);
    }
    json.extend_from_slice(b"]]");
}

fn push_meta(nest: &mut Nest, json: &mut Vec<u8>, meta: &StreamMeta) {
    nest.back_to(json, ScopeKind::Value);
    push_member(nest, json, "length", Some(meta.length));
    push_id_member(nest, json, "last_id", meta.last_id);
    if let Some(id) = meta.max_deleted_id {
        push_id_member(nest, json, "max_deleted_id", id);
    }
    if let Some(added) = meta.entries_added {
        push_member(nest, json, "entries_added", Some(added));
    }
    nest.open(json, ScopeKind::Groups, Bracket::Array, "groups");
}

fn push_group(nest: &mut Nest, json: &mut Vec<u8>, group: &StreamGroup) {
    nest.back_to(json, ScopeKind::Groups);
    nest.open_named(json, ScopeKind::Group, &named(&group.name));
    push_id_member(nest, json, "last_id", group.last_id);
    push_member(nest, json, "entries_read", group.entries_read);
    nest.open(json, ScopeKind::Consumers, Bracket::Array, "consumers");
}

fn push_consumer(nest: &mut Nest, json: &mut Vec<u8>, consumer: &StreamConsumer) {
    nest.back_to(json, ScopeKind::Consumers);
    nest.open_named(json, ScopeKind::Consumer, &named(&consumer.name));
    push_member(nest, json, "seen_at_ms", Some(consumer.seen_at_ms));
    push_member(nest, json, "active_at_ms", consumer.active_at_ms);
    nest.open(json, ScopeKind::Pending, Bracket::Array, "pending");
}

fn push_pending(json: &mut Vec<u8>, pending: &StreamPending) {
    json.push(b'[');
    push_id(json, pending.id);
    json.push(b',');
    push_int(json, pending.delivered_at_ms);
    json.push(b',');
    push_int(json, pending.delivery_count);
    json.push(b']');
}

fn push_idempotency(nest: &mut Nest, json: &mut Vec<u8>, idempotency: &StreamIdempotency) {
    nest.back_to(json, ScopeKind::Value);
    let (kind, open) = (ScopeKind::Idempotency, Bracket::Object);
    nest.open(json, kind, open, "idempotency");
    push_member(nest, json, "duration_s", Some(idempotency.duration_s));
    push_member(nest, json, "entries_max", Some(idempotency.entries_max));
    nest.open(json, ScopeKind::Ids, Bracket::Array, "ids");
}

/// `"name":"..."`.
fn named(name: &[u8]) -> Vec<u8> {
    let mut json = b"\"name\":".to_vec();
    push_bytes(&mut json, name);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_numbers_that_read_back() {
        for (score, json) in [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e17, "1e17"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::INFINITY, "\"inf\""),
            (f64::NEG_INFINITY, "\"-inf\""),
        ] {
            let mut pushed = Vec::new();
            push_score(&mut pushed, score);
            assert_eq!(String::from_utf8(pushed).unwrap(), json);
            if score.is_finite() {
                let back: f64 = json.parse().unwrap();
                assert_eq!(back.to_bits(), score.to_bits(), "{json}");
            }
        }
    }
}
