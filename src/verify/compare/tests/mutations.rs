//! Whatever is changed in a value is found, however both are stored, and nothing else is.

use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
};

use super::{
    super::*,
    NOW_MS,
    model::{Field, Group, Pending, Stream, Text, Value, VectorSet, encode, encode_stream},
    rules,
};
use crate::keyspace::StreamId;

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        any::<i64>().prop_map(|int| int.to_string().into_bytes()),
        (-200_i64..200).prop_map(|int| int.to_string().into_bytes()),
        vec(any::<u8>(), 0..12),
        "[a-c]{0,2}".prop_map(String::into_bytes),
        vec(any::<u8>(), 120..140),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-10..10).prop_map(f64::from),
        any::<f64>().prop_filter("a number", |score| !score.is_nan()),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    let expiry = option::of(NOW_MS + 5000..NOW_MS + 1_000_000);
    (text(), expiry).prop_map(|(value, expire_at_ms)| Field {
        value,
        expire_at_ms,
    })
}

fn id() -> impl Strategy<Value = StreamId> {
    (0..20_u64, 0..5_u64).prop_map(|(ms, seq)| StreamId { ms: 1000 + ms, seq })
}

fn group() -> impl Strategy<Value = Group> {
    let pending = (option::of(0..4_usize), 0..1000_i64, 1..9_u64);
    (
        id(),
        option::of(0..100_u64),
        btree_set(text(), 0..4),
        btree_map(id(), pending, 0..6),
    )
        .prop_map(|(last_id, entries_read, consumers, pending)| {
            let owner = |n: Option<usize>| consumers.iter().nth(n?).cloned();
            let pending = pending
                .into_iter()
                .map(|(id, (n, seconds, delivery_count))| {
                    let delivered_at_ms = NOW_MS + seconds * 5000;
                    (
                        id,
                        Pending {
                            owner: owner(n),
                            delivered_at_ms,
                            delivery_count,
                        },
                    )
                });
            Group {
                last_id,
                entries_read,
                pending: pending.collect(),
                consumers,
            }
        })
}

fn stream() -> impl Strategy<Value = Stream> {
    (
        btree_map(id(), vec((text(), text()), 1..3), 0..8),
        (id(), id(), 0..1000_u64),
        btree_map(text(), group(), 0..3),
        (0..200_u64, 0..200_u64),
    )
        .prop_map(
            |(entries, (last_id, max_deleted_id, entries_added), groups, idempotency)| Stream {
                entries,
                last_id,
                max_deleted_id,
                entries_added,
                groups,
                idempotency,
            },
        )
}

fn vector_set() -> impl Strategy<Value = VectorSet> {
    let vector = ("[a-z]{0,3}", any::<[i8; 2]>(), 0_f32..10.0);
    let vector =
        vector.prop_map(|(attributes, vector, range)| (attributes.into_bytes(), vector, range));
    (
        1..100_u64,
        option::of(1..100_u64),
        btree_map(text(), vector, 1..6),
    )
        .prop_map(|(links_max, input_dimensions, elements)| VectorSet {
            links_max,
            input_dimensions,
            elements,
        })
}

pub(in crate::verify) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::String),
        vec(text(), 1..8).prop_map(Value::List),
        btree_set(text(), 1..8).prop_map(Value::Set),
        btree_set(
            (-9_i64..9).prop_map(|int| int.to_string().into_bytes()),
            1..8
        )
        .prop_map(Value::Set),
        btree_map(text(), score(), 1..8).prop_map(Value::Zset),
        btree_map(text(), field(), 1..8).prop_map(Value::Hash),
        stream().prop_map(Value::Stream),
        vector_set().prop_map(Value::VectorSet),
        (option::of(0..9_u64), btree_map(0..1000_u64, text(), 1..6))
            .prop_map(|(cursor, elements)| Value::Array(cursor, elements)),
    ]
}

/// Changes one thing, and says which kinds of differences that makes of it.
pub(in crate::verify) fn mutate(value: &mut Value, rng: &mut Rng) -> Vec<Kind> {
    match value {
        Value::String(bytes) => change(bytes, rng),
        Value::List(elements) => {
            let at = rng.usize(..elements.len());
            match rng.u8(..3) {
                0 => change(&mut elements[at], rng),
                1 => elements.insert(at, fresh(rng)),
                _ if elements.len() > 1 => drop(elements.remove(at)),
                _ => elements.push(Text::new()),
            }
        }
        Value::Set(members) => {
            let member = members
                .iter()
                .nth(rng.usize(..members.len()))
                .unwrap()
                .clone();
            if rng.bool() || members.len() == 1 {
                members.insert(fresh(rng));
            } else {
                members.remove(&member);
            }
        }
        Value::Zset(members) => match rng.u8(..3) {
            0 => drop(members.insert(fresh(rng), 1.0)),
            1 if members.len() > 1 => drop(members.pop_first()),
            _ => {
                let mut score = members.last_entry().unwrap();
                let next = score.get().next_up();
                *score.get_mut() = if next == *score.get() { 0.0 } else { next };
            }
        },
        Value::Hash(fields) => return mutate_hash(fields, rng),
        Value::Stream(stream) => return mutate_stream(stream, rng),
        Value::VectorSet(set) => match rng.u8(..7) {
            0 => set.links_max += 1,
            1 => set.input_dimensions = set.input_dimensions.xor(Some(7)),
            2 if set.elements.len() > 1 => drop(set.elements.pop_first()),
            3 => drop(set.elements.insert(fresh(rng), (Text::new(), [1, 2], 1.0))),
            n => {
                let mut element = set.elements.last_entry().unwrap();
                let (attributes, vector, range) = element.get_mut();
                match n {
                    4 => attributes.push(b'x'),
                    5 => vector[1] ^= 1,
                    _ => *range = range.next_up(),
                }
            }
        },
        Value::Array(cursor, elements) => match rng.u8(..4) {
            0 => *cursor = Some(cursor.map_or(0, |at| at + 1)),
            1 if elements.len() > 1 => drop(elements.pop_last()),
            2 => drop(elements.insert(2000, fresh(rng))),
            _ => change(elements.first_entry().unwrap().get_mut(), rng),
        },
    }
    vec![Kind::Value]
}

fn mutate_hash(fields: &mut BTreeMap<Text, Field>, rng: &mut Rng) -> Vec<Kind> {
    let kind = match rng.u8(..5) {
        0 => {
            let (value, expire_at_ms) = (Text::new(), Some(NOW_MS + 10_000));
            fields.insert(
                fresh(rng),
                Field {
                    value,
                    expire_at_ms,
                },
            );
            Kind::Value
        }
        1 if fields.len() > 1 => {
            fields.pop_first();
            Kind::Value
        }
        n => {
            let mut field = fields.last_entry().unwrap();
            let field = field.get_mut();
            if n == 2 {
                change(&mut field.value, rng);
                Kind::Value
            } else {
                field.expire_at_ms = match field.expire_at_ms {
                    Some(_) if n == 3 => None,
                    Some(at) => Some(at + 1001),
                    None => Some(NOW_MS + 10_000),
                };
                Kind::FieldExpiry
            }
        }
    };
    vec![kind]
}

fn mutate_stream(stream: &mut Stream, rng: &mut Rng) -> Vec<Kind> {
    let value = |stream: &mut Stream, rng: &mut Rng| {
        let id = StreamId {
            ms: rng.u64(2000..3000),
            seq: 0,
        };
        stream.entries.insert(id, vec![(Text::new(), fresh(rng))]);
        vec![Kind::Value]
    };
    let counters = vec![Kind::StreamCounters];
    match rng.u8(..10) {
        0 if !stream.entries.is_empty() => {
            stream.entries.pop_first();
            vec![Kind::Value]
        }
        1 if !stream.entries.is_empty() => {
            let mut entry = stream.entries.last_entry().unwrap();
            change(&mut entry.get_mut()[0].1, rng);
            vec![Kind::Value]
        }
        2 => {
            stream.last_id.seq += 1;
            counters
        }
        3 => {
            stream.max_deleted_id.ms += 1;
            counters
        }
        4 => {
            stream.entries_added += 1;
            counters
        }
        5 => {
            stream.idempotency.0 += 1;
            counters
        }
        6 => {
            stream.groups.insert(fresh(rng), Group::default());
            vec![Kind::Group]
        }
        7 if !stream.groups.is_empty() => {
            stream.groups.pop_first();
            vec![Kind::Group]
        }
        8.. if !stream.groups.is_empty() => {
            let mut group = stream.groups.last_entry().unwrap();
            mutate_group(group.get_mut(), rng)
        }
        _ => value(stream, rng),
    }
}

fn mutate_group(group: &mut Group, rng: &mut Rng) -> Vec<Kind> {
    let pending = vec![Kind::Pending];
    match (rng.u8(..8), group.pending.last_entry(), group.entries_read) {
        (0, _, _) => group.last_id.ms += 1,
        (1, _, Some(read)) => group.entries_read = Some(read + 1),
        (2, Some(entry), _) => {
            entry.remove();
            return pending;
        }
        (3, Some(mut entry), _) => {
            entry.get_mut().delivery_count += 1;
            return pending;
        }
        (4, Some(mut entry), _) => {
            entry.get_mut().delivered_at_ms -= 1001;
            return pending;
        }
        (5, Some(mut entry), _) if group.consumers.len() > 1 => {
            let owner = entry.get().owner.clone();
            let mut others = group.consumers.iter();
            entry.get_mut().owner = others.find(|name| Some(*name) != owner.as_ref()).cloned();
            return pending;
        }
        (_, _, _) => {
            // With something pending: of one without, replicas need not know.
            let (name, id) = (fresh(rng), StreamId { ms: 1, seq: 1 });
            group.consumers.insert(name.clone());
            group.pending.insert(
                id,
                Pending {
                    owner: Some(name),
                    delivered_at_ms: NOW_MS,
                    delivery_count: 1,
                },
            );
            return vec![Kind::Consumer, Kind::Pending];
        }
    }
    vec![Kind::Group]
}

fn change(bytes: &mut Text, rng: &mut Rng) {
    let before = bytes.clone();
    while *bytes == before {
        match (rng.u8(..3), bytes.len()) {
            (0, len @ 1..) => bytes[rng.usize(..len)] ^= 1 << rng.u8(..8),
            (1, 1..) => drop(bytes.pop()),
            _ => bytes.push(rng.u8(..)),
        }
    }
}

/// What no generated value has.
fn fresh(rng: &mut Rng) -> Text {
    format!("fresh {}", rng.u64(..)).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_value_stored_in_two_ways_is_the_same(value in value(), seeds in any::<[u64; 2]>()) {
        let [source, target] = seeds.map(|seed| encode(&value, &mut Rng::with_seed(seed)));
        prop_assert_eq!(key_type(&source), Some(value.key_type()));
        prop_assert_eq!(payloads(&source, &target, &rules()), Ok(Vec::new()));
    }

    #[test]
    fn one_change_is_found_and_nothing_else(value in value(), seeds in any::<[u64; 3]>()) {
        let [mut first, mut second, mut third] = seeds.map(Rng::with_seed);
        let mut changed = value.clone();
        let kinds = mutate(&mut changed, &mut first);
        prop_assert_ne!(&value, &changed);
        let encoded = |value: &Value, rng: &mut Rng| match value {
            // The type that knows everything.
            Value::Stream(stream) => encode_stream(stream, 27, rng),
            value => encode(value, rng),
        };
        let (ours, theirs) = (encoded(&value, &mut second), encoded(&changed, &mut third));
        for (source, target) in [(&ours, &theirs), (&theirs, &ours)] {
            let found = payloads(source, target, &rules()).unwrap();
            let found_kinds: Vec<Kind> = found.iter().map(|found| found.kind).collect();
            prop_assert_eq!(&found_kinds, &kinds, "{:?} {:?}", changed, found);
        }
    }

    #[test]
    fn damaged_payloads_are_errors(value in value(), seeds in any::<[u64; 2]>()) {
        let [mut first, mut second] = seeds.map(Rng::with_seed);
        let good = encode(&value, &mut first);
        let mut bad = good.to_vec();
        let at = second.usize(..bad.len() - FOOTER_BYTES);
        bad[at] ^= 1 << second.u8(..8);
        prop_assert!(payloads(&good, &bad.into(), &rules()).is_err());
    }
}
