//! Values, and the many ways in which servers store the same one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};
use fastrand::Rng;

use crate::{
    keyspace::StreamId,
    rdb::{KeyType, payload},
};

pub(in crate::verify) type Text = Vec<u8>;

/// A value as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::verify) enum Value {
    String(Text),
    List(Vec<Text>),
    Set(BTreeSet<Text>),
    Zset(BTreeMap<Text, f64>),
    Hash(BTreeMap<Text, Field>),
    Stream(Stream),
    VectorSet(VectorSet),
    Array(Option<u64>, BTreeMap<u64, Text>),
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::verify) struct Field {
    pub(in crate::verify) value: Text,
    pub(in crate::verify) expire_at_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::verify) struct Stream {
    pub(in crate::verify) entries: BTreeMap<StreamId, Vec<(Text, Text)>>,
    pub(in crate::verify) last_id: StreamId,
    pub(in crate::verify) max_deleted_id: StreamId,
    pub(in crate::verify) entries_added: u64,
    pub(in crate::verify) groups: BTreeMap<Text, Group>,
    pub(in crate::verify) idempotency: (u64, u64),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::verify) struct Group {
    pub(in crate::verify) last_id: StreamId,
    pub(in crate::verify) entries_read: Option<u64>,
    pub(in crate::verify) consumers: BTreeSet<Text>,
    pub(in crate::verify) pending: BTreeMap<StreamId, Pending>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::verify) struct Pending {
    /// `None`: given back.
    pub(in crate::verify) owner: Option<Text>,
    pub(in crate::verify) delivered_at_ms: i64,
    pub(in crate::verify) delivery_count: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::verify) struct VectorSet {
    pub(in crate::verify) links_max: u64,
    pub(in crate::verify) input_dimensions: Option<u64>,
    /// Each with its attributes and two integers of 8 bits, and the range of those.
    pub(in crate::verify) elements: BTreeMap<Text, (Text, [i8; 2], f32)>,
}

/// A payload, stored in a way that the generator chooses.
pub(in crate::verify) fn encode(value: &Value, rng: &mut Rng) -> Bytes {
    let (value_type, body) = match value {
        Value::String(text) => (0, element(text, rng)),
        Value::List(elements) => list(elements, rng),
        Value::Set(members) => set(members, rng),
        Value::Zset(members) => zset(members, rng),
        Value::Hash(fields) => return hash(fields, rng),
        Value::Stream(stream) => {
            let needs = if stream.has_given_back() { 27 } else { 15 };
            let types: Vec<u8> = [15, 19, 21, 26, 27]
                .into_iter()
                .filter(|byte| *byte >= needs)
                .collect();
            return encode_stream(stream, types[rng.usize(..types.len())], rng);
        }
        Value::VectorSet(set) => (7, vector_set(set, rng)),
        Value::Array(insert_cursor, elements) => (28, array(*insert_cursor, elements, rng)),
    };
    let versions: &[u16] = match value_type {
        28 => &[14, 15],
        // The same type is Dragonfly's in older ones.
        20 => &[11, 12, 80],
        _ => &[6, 9, 10, 11, 12, 13, 80],
    };
    sealed(value_type, &body, versions[rng.usize(..versions.len())])
}

/// A stream in this type.
pub(super) fn encode_stream(stream: &Stream, byte: u8, rng: &mut Rng) -> Bytes {
    let body = stream_body(stream, byte, rng);
    // From version 12 on, how many entries a group has read counts.
    sealed(byte, &body, if byte >= 26 { 14 } else { 12 })
}

pub(super) fn sealed(value_type: u8, body: &[u8], version: u16) -> Bytes {
    let footer = payload::footer(value_type, body, version);
    [&[value_type], body, &footer].concat().into()
}

impl Value {
    pub(super) fn key_type(&self) -> KeyType {
        match self {
            Value::String(_) => KeyType::String,
            Value::List(_) => KeyType::List,
            Value::Set(_) => KeyType::Set,
            Value::Zset(_) => KeyType::Zset,
            Value::Hash(_) => KeyType::Hash,
            Value::Stream(_) => KeyType::Stream,
            Value::VectorSet(_) => KeyType::VectorSet,
            Value::Array(..) => KeyType::Array,
        }
    }
}

impl Stream {
    fn has_given_back(&self) -> bool {
        let mut pending = self
            .groups
            .values()
            .flat_map(|group| group.pending.values());
        pending.any(|pending| pending.owner.is_none())
    }
}

fn list(elements: &[Text], rng: &mut Rng) -> (u8, Vec<u8>) {
    if rng.bool() {
        return (1, strings(elements.iter(), rng));
    }
    // A quicklist: plain nodes of one element, packed nodes of some.
    let mut nodes: Vec<Vec<u8>> = Vec::new();
    let mut rest = elements;
    while !rest.is_empty() {
        let mut node = Vec::new();
        if rng.bool() {
            length(&mut node, 1);
            raw(&mut node, &rest[0]);
            rest = &rest[1..];
        } else {
            let (packed, after) = rest.split_at(rng.usize(1..=rest.len()));
            length(&mut node, 2);
            raw(&mut node, &listpack(packed.iter(), rng));
            rest = after;
        }
        nodes.push(node);
    }
    let mut body = Vec::new();
    length(&mut body, nodes.len() as u64);
    (18, [body, nodes.concat()].concat())
}

fn set(members: &BTreeSet<Text>, rng: &mut Rng) -> (u8, Vec<u8>) {
    let members = shuffled(members, rng);
    let ints: Option<Vec<i64>> = members.iter().map(|member| int(member)).collect();
    match (rng.u8(..3), ints) {
        (0, Some(mut ints)) => {
            ints.sort_unstable();
            let mut blob = Vec::new();
            blob.put_u32_le(8);
            blob.put_u32_le(ints.len() as u32);
            ints.iter().for_each(|int| blob.put_i64_le(*int));
            let mut body = Vec::new();
            raw(&mut body, &blob);
            (11, body)
        }
        (1, _) => packed(20, members.into_iter(), rng),
        _ => (2, strings(members.into_iter(), rng)),
    }
}

fn zset(members: &BTreeMap<Text, f64>, rng: &mut Rng) -> (u8, Vec<u8>) {
    let members = shuffled(members, rng);
    let text = |score: f64| format!("{score}").into_bytes();
    if rng.u8(..3) == 0 {
        let elements: Vec<Text> = members
            .into_iter()
            .flat_map(|(member, score)| [member.clone(), text(*score)])
            .collect();
        return packed(17, elements.iter(), rng);
    }
    let value_type = [3, 5][rng.usize(..2)];
    let mut body = Vec::new();
    length(&mut body, members.len() as u64);
    for (member, score) in members {
        body.extend(element(member, rng));
        match (value_type, *score) {
            (5, score) => body.put_f64_le(score),
            (_, f64::INFINITY) => body.push(254),
            (_, f64::NEG_INFINITY) => body.push(255),
            (_, score) => {
                let text = format!("{score:e}");
                body.push(text.len() as u8);
                body.extend(text.as_bytes());
            }
        }
    }
    (value_type, body)
}

fn hash(fields: &BTreeMap<Text, Field>, rng: &mut Rng) -> Bytes {
    let fields = shuffled(fields, rng);
    let expires = fields.iter().any(|(_, field)| field.expire_at_ms.is_some());
    let min = fields
        .iter()
        .filter_map(|(_, field)| field.expire_at_ms)
        .min();
    let mut body = Vec::new();
    if !expires && rng.bool() {
        let elements: Vec<&Text> = fields
            .into_iter()
            .flat_map(|(field, of)| [field, &of.value])
            .collect();
        let (byte, body) = packed(16, elements.into_iter(), rng);
        return sealed(byte, &body, 10);
    }
    let form = if expires { rng.usize(1..4) } else { 0 };
    if form == 3 {
        let triples: Vec<Text> = fields
            .into_iter()
            .flat_map(|(field, of)| {
                let at = of.expire_at_ms.unwrap_or(0).to_string().into_bytes();
                [field.clone(), of.value.clone(), at]
            })
            .collect();
        body.put_i64_le(min.unwrap_or(0));
        raw(&mut body, &listpack(triples.iter(), rng));
        return sealed(25, &body, 12);
    }
    if form == 1 {
        body.put_i64_le(min.unwrap_or(0));
    }
    length(&mut body, fields.len() as u64);
    for (field, of) in fields {
        if form == 1 {
            let ttl = of
                .expire_at_ms
                .map_or(0, |at| at.abs_diff(min.unwrap()) + 1);
            length(&mut body, ttl);
        }
        body.extend(element(field, rng));
        body.extend(element(&of.value, rng));
        if form == 2 {
            body.put_i64_le(of.expire_at_ms.unwrap_or(-1));
        }
    }
    let (byte, version) = [(4, 9), (24, 12), (22, 80)][form];
    sealed(byte, &body, version)
}

fn stream_body(stream: &Stream, byte: u8, rng: &mut Rng) -> Vec<u8> {
    let entries: Vec<_> = stream.entries.iter().collect();
    let (mut nodes, mut rest) = (Vec::new(), &entries[..]);
    while !rest.is_empty() {
        let (some, after) = rest.split_at(rng.usize(1..=rest.len()));
        nodes.push(node(some, rng));
        rest = after;
    }
    let mut body = Vec::new();
    length(&mut body, nodes.len() as u64);
    body.extend(nodes.concat());
    length(&mut body, stream.entries.len() as u64);
    lengths_of(&mut body, stream.last_id);
    if byte >= 19 {
        let first = stream.entries.keys().next().copied().unwrap_or_default();
        lengths_of(&mut body, first);
        lengths_of(&mut body, stream.max_deleted_id);
        length(&mut body, stream.entries_added);
    }
    length(&mut body, stream.groups.len() as u64);
    for (name, group) in shuffled(&stream.groups, rng) {
        body.extend(element(name, rng));
        group_body(&mut body, group, byte, rng);
    }
    if byte >= 26 {
        let (duration_s, entries_max) = stream.idempotency;
        for number in [duration_s, entries_max, 0, rng.u64(..100), rng.u64(..100)] {
            length(&mut body, number);
        }
    }
    body
}

fn group_body(body: &mut Vec<u8>, group: &Group, byte: u8, rng: &mut Rng) {
    lengths_of(body, group.last_id);
    if byte >= 19 {
        length(body, group.entries_read.unwrap_or(u64::MAX));
    }
    length(body, group.pending.len() as u64);
    for (id, pending) in &group.pending {
        body.extend(id_bytes(*id));
        body.put_i64_le(pending.delivered_at_ms);
        length(body, pending.delivery_count);
    }
    let owned_by = |body: &mut Vec<u8>, owner: Option<&Text>| {
        let owned = group.pending.iter();
        let owned = owned.filter(|(_, pending)| pending.owner.as_ref() == owner);
        let owned: Vec<_> = owned.map(|(id, _)| id_bytes(*id)).collect();
        length(body, owned.len() as u64);
        body.extend(owned.concat());
    };
    length(body, group.consumers.len() as u64);
    for consumer in shuffled(&group.consumers, rng) {
        body.extend(element(consumer, rng));
        body.put_i64_le(rng.i64(0..1 << 40));
        if byte >= 21 {
            body.put_i64_le(rng.i64(-1..1 << 40));
        }
        owned_by(body, Some(consumer));
    }
    if byte >= 27 {
        owned_by(body, None);
    }
}

/// A node of entries, with fields of their own or those of the node, and deleted ones among them.
fn node(entries: &[(&StreamId, &Vec<(Text, Text)>)], rng: &mut Rng) -> Vec<u8> {
    let (base, shared) = entries[0];
    let number = |number: i64| number.to_string().into_bytes();
    let shared: Vec<Text> = match rng.bool() {
        true => shared.iter().map(|(field, _)| field.clone()).collect(),
        false => vec![b"f".to_vec()],
    };
    let (mut elements, mut deleted) = (Vec::new(), 0);
    for (id, fields) in entries {
        let delta = [
            number(id.ms.wrapping_sub(base.ms).cast_signed()),
            number(id.seq.wrapping_sub(base.seq).cast_signed()),
        ];
        for flag in [1, 0] {
            if flag == 1 {
                if rng.bool() {
                    continue;
                }
                deleted += 1;
            }
            let names = fields.iter().map(|(field, _)| field);
            if names.eq(&shared) && rng.bool() {
                elements.push(number(2 | flag));
                elements.extend(delta.clone());
                elements.extend(fields.iter().map(|(_, value)| value.clone()));
                elements.push(number(3 + fields.len() as i64));
            } else {
                elements.push(number(flag));
                elements.extend(delta.clone());
                elements.push(number(fields.len() as i64));
                elements.extend(fields.iter().flat_map(|(f, v)| [f.clone(), v.clone()]));
                elements.push(number(4 + 2 * fields.len() as i64));
            }
        }
    }
    let head = [entries.len() as i64, deleted, shared.len() as i64].map(number);
    let all: Vec<Text> = head
        .into_iter()
        .chain(shared)
        .chain([number(0)])
        .chain(elements)
        .collect();
    let mut node = Vec::new();
    raw(&mut node, &id_bytes(*base));
    raw(&mut node, &listpack(all.iter(), rng));
    node
}

fn vector_set(set: &VectorSet, rng: &mut Rng) -> Vec<u8> {
    let mut body = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00".to_vec();
    let number = |body: &mut Vec<u8>, number: u64| {
        length(body, 2);
        length(body, number);
    };
    let string = |body: &mut Vec<u8>, string: &[u8]| {
        length(body, 5);
        raw(body, string);
    };
    number(&mut body, 2);
    number(&mut body, set.elements.len() as u64);
    number(&mut body, set.links_max << 8 | 1);
    number(&mut body, 2 | u64::from(set.input_dimensions.is_some()));
    if let Some(dimensions) = set.input_dimensions {
        number(&mut body, dimensions);
        string(&mut body, b"projection");
    }
    for (name, (attributes, vector, range)) in shuffled(&set.elements, rng) {
        string(&mut body, name);
        string(&mut body, attributes);
        string(&mut body, &vector.map(i8::cast_unsigned));
        // Links of the graph: anything.
        let links = rng.u64(..4);
        number(&mut body, links + 1);
        (0..links).for_each(|_| number(&mut body, rng.u64(..1000)));
        let last = u64::from(range.to_bits()) << 32 | u64::from(3_f32.to_bits());
        number(&mut body, last);
    }
    length(&mut body, 0);
    body
}

fn array(insert_cursor: Option<u64>, elements: &BTreeMap<u64, Text>, rng: &mut Rng) -> Vec<u8> {
    let mut body = Vec::new();
    length(&mut body, elements.len() as u64);
    length(&mut body, u64::from(insert_cursor.is_some()));
    if let Some(cursor) = insert_cursor {
        length(&mut body, cursor);
    }
    for (index, value) in elements {
        length(&mut body, *index);
        match int(value).filter(|_| rng.bool()) {
            Some(int) => {
                length(&mut body, 1);
                body.put_i64_le(int);
            }
            None => {
                length(&mut body, [0, 3][rng.usize(..2)]);
                body.extend(element(value, rng));
            }
        }
    }
    body
}

fn packed<'t>(byte: u8, elements: impl Iterator<Item = &'t Text>, rng: &mut Rng) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    raw(&mut body, &listpack(elements, rng));
    (byte, body)
}

fn listpack<'t>(elements: impl Iterator<Item = &'t Text>, rng: &mut Rng) -> Vec<u8> {
    let (mut blob, mut count) = (Vec::new(), 0);
    for text in elements {
        let start = blob.len();
        match int(text) {
            Some(int @ 0..128) if rng.bool() => blob.push(int as u8),
            Some(int) => {
                blob.push(0xf4);
                blob.put_i64_le(int);
            }
            None => {
                blob.push(0xf0);
                blob.put_u32_le(text.len() as u32);
                blob.extend(text);
            }
        }
        let size = blob.len() - start;
        assert!(size < 16_000, "no longer elements are needed");
        match size {
            ..128 => blob.push(size as u8),
            _ => blob.extend([(size >> 7) as u8, size as u8 & 127 | 128]),
        }
        count += 1;
    }
    let mut listpack = Vec::new();
    listpack.put_u32_le(blob.len() as u32 + 7);
    listpack.put_u16_le(count);
    [listpack, blob, vec![255]].concat()
}

fn strings<'t>(elements: impl ExactSizeIterator<Item = &'t Text>, rng: &mut Rng) -> Vec<u8> {
    let mut body = Vec::new();
    length(&mut body, elements.len() as u64);
    elements.for_each(|text| body.extend(element(text, rng)));
    body
}

/// A string, or an integer where it can be one.
fn element(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    match int(text).and_then(|int| i32::try_from(int).ok()) {
        Some(int) if rng.bool() => {
            bytes.push(0xc2);
            bytes.put_i32_le(int);
        }
        _ => raw(&mut bytes, text),
    }
    bytes
}

fn raw(body: &mut Vec<u8>, text: &[u8]) {
    length(body, text.len() as u64);
    body.extend(text);
}

fn length(body: &mut Vec<u8>, length: u64) {
    match length {
        0..64 => body.push(length as u8),
        _ => {
            body.push(0x81);
            body.put_u64(length);
        }
    }
}

fn lengths_of(body: &mut Vec<u8>, id: StreamId) {
    length(body, id.ms);
    length(body, id.seq);
}

fn id_bytes(id: StreamId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

/// The integer whose shortest text this is.
fn int(text: &[u8]) -> Option<i64> {
    let int: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (int.to_string().as_bytes() == text).then_some(int)
}

fn shuffled<T>(all: impl IntoIterator<Item = T>, rng: &mut Rng) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    rng.shuffle(&mut all);
    all
}
