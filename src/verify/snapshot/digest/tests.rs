use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::{
    keyspace::Db,
    rdb::{
        Altitude, Parser, ValueParser,
        payload::{self, FOOTER_BYTES},
    },
    verify::compare::{
        payloads,
        tests::{
            model::encode,
            mutations::{mutate, value},
            real::{folder, generation, keys, servers},
            rules,
        },
    },
};

const SEED: u64 = 7;

fn digester(side: Side) -> Digester {
    Digester::new(side, rules(), Depth::Full, SEED)
}

/// The digest of what DUMP answers.
fn digest(payload: &Bytes, side: Side) -> Digest {
    let payload = payload::check(payload).unwrap();
    let mut digester = digester(side);
    digester.header(Header {
        valkey: false,
        version: payload.version,
    });
    digester.begin(payload.value_type);
    let mut parser = ValueParser::new(payload.value_type, payload.body, Limits::default());
    parser.choose(Altitude::Content);
    while let Some(event) = parser.next_event().unwrap() {
        digester.feed(event);
    }
    digester.end()
}

fn is_same(source: &Bytes, target: &Bytes) -> bool {
    digest(source, Side::Source).is_same(&digest(target, Side::Target))
}

fn of_parts(parts: impl IntoIterator<Item = Part>, byte: u8) -> Digest {
    let mut digester = digester(Side::Source);
    digester.begin(ValueType::common(byte));
    parts
        .into_iter()
        .for_each(|part| digester.feed(Event::Part(part)));
    digester.end()
}

proptest! {
    #[test]
    fn a_value_stored_in_two_ways_has_one_digest(value in value(), seeds in any::<[u64; 2]>()) {
        let [source, target] = seeds.map(|seed| encode(&value, &mut Rng::with_seed(seed)));
        prop_assert!(is_same(&source, &target));
    }

    /// What comparing the values finds is the truth here.
    #[test]
    fn whatever_is_changed_makes_another_digest(value in value(), seeds in any::<[u64; 3]>()) {
        let mut other = value.clone();
        mutate(&mut other, &mut Rng::with_seed(seeds[2]));
        let source = encode(&value, &mut Rng::with_seed(seeds[0]));
        let target = encode(&other, &mut Rng::with_seed(seeds[1]));
        for (source, target) in [(&source, &target), (&target, &source)] {
            let found = payloads(source, target, &rules()).unwrap();
            if !found.is_empty() {
                prop_assert!(!is_same(source, target), "{found:?}");
            }
        }
    }
}

#[test]
fn the_same_data_of_every_server_has_one_digest() {
    let (mut same, mut other) = (0, 0);
    for (key, versions) in keys() {
        // They were delivered when the data was made.
        let has_groups = [&b"stream:groups"[..], b"st"].contains(&&key[..]);
        // One server of each way in which the value is stored: all but the footers.
        let mut ways = BTreeMap::new();
        for (server, payload) in &versions {
            ways.entry(payload.slice(..payload.len() - FOOTER_BYTES))
                .or_insert((server, payload));
        }
        for (ours, source) in ways.values() {
            for (theirs, target) in ways.values() {
                let found = payloads(source, target, &rules()).unwrap();
                let name = key.escape_ascii();
                match is_same(source, target) {
                    true => {
                        assert!(found.is_empty(), "{name}: {ours}, {theirs}: {found:?}");
                        same += 1;
                    }
                    false => {
                        let expected = !found.is_empty()
                            || has_groups && generation(ours) != generation(theirs);
                        assert!(expected, "{name}: {ours}, {theirs}");
                        other += 1;
                    }
                }
            }
        }
    }
    assert!(same > 2000 && other > 100, "{same} same, {other} others");
}

/// All digests of a file that comes in pieces of so many bytes.
fn digests(
    rdb: &[u8],
    piece_bytes: usize,
    chunk_bytes_max: usize,
) -> BTreeMap<(Db, Bytes), Digest> {
    let mut parser = Parser::new(Limits {
        chunk_bytes_max,
        ..Limits::default()
    });
    let mut digester = digester(Side::Source);
    let (mut db, mut key, mut digests) = (Db(0), Bytes::new(), BTreeMap::new());
    for piece in rdb.chunks(piece_bytes) {
        parser.feed(piece);
        while let Some(event) = parser.next_event().unwrap() {
            match event {
                Event::Header(header) => digester.header(header),
                Event::SelectDb(selected) => db = selected,
                Event::Key(found) => {
                    digester.begin(found.value_type);
                    key = found.key;
                    parser.choose(Altitude::Content);
                }
                Event::ValueEnd => {
                    let before = digests.insert((db, key.clone()), digester.end());
                    assert_eq!(before, None);
                }
                event => digester.feed(event),
            }
        }
    }
    assert_eq!(parser.finish(), Ok(()));
    digests
}

#[test]
fn where_the_input_is_cut_makes_no_difference() {
    for server in servers() {
        for file in ["all.rdb", "module.rdb"] {
            let Ok(rdb) = fs::read(folder(&server).join(file)) else {
                continue;
            };
            let whole = digests(&rdb, rdb.len(), 1 << 20);
            assert!(whole.len() > 3, "{server}");
            for piece_bytes in [1, 7, 4096] {
                assert_eq!(
                    whole,
                    digests(&rdb, piece_bytes, 1 << 20),
                    "{server} {file}"
                );
            }
            // A HyperLogLog of 12 KiB comes whole.
            assert_eq!(whole, digests(&rdb, 1000, 20_000), "{server} {file}");
        }
    }
}

#[test]
fn different_values_have_different_digests() {
    let mut seen: BTreeMap<u128, Vec<(KeyType, Bytes)>> = BTreeMap::new();
    let mut values = 0;
    for (key, versions) in keys() {
        let payload = versions.values().next().unwrap();
        let key_type = KeyType::of(payload::value_type(payload).unwrap());
        let same = seen
            .entry(digest(payload, Side::Source).content)
            .or_default();
        for (other_type, other) in same.iter() {
            assert_eq!(key_type, *other_type, "{}", key.escape_ascii());
            assert_eq!(payloads(payload, other, &rules()), Ok(Vec::new()));
        }
        same.push((key_type, payload.clone()));
        values += 1;
    }
    assert!(values > 150 && seen.len() > 140, "{values}, {}", seen.len());
}

#[test]
fn elements_cannot_change_places_with_what_is_around_them() {
    let element = |text: &str| Element::Bytes(Bytes::copy_from_slice(text.as_bytes()));
    let list =
        |texts: &[&str]| of_parts(texts.iter().map(|text| Part::ListElement(element(text))), 1);
    let hash = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(field, value)| Part::HashField {
            field: element(field),
            value: element(value),
            expire_at_ms: None,
        });
        of_parts(fields, 4)
    };
    let set = |texts: &[&str]| of_parts(texts.iter().map(|text| Part::SetMember(element(text))), 2);
    for (name, one, other) in [
        ("order of a list", list(&["a", "b"]), list(&["b", "a"])),
        ("borders of a list", list(&["ab", "c"]), list(&["a", "bc"])),
        ("an empty element", list(&["a", ""]), list(&["a"])),
        ("field and value", hash(&[("a", "b")]), hash(&[("b", "a")])),
        (
            "values changed places",
            hash(&[("a", "1"), ("b", "2")]),
            hash(&[("a", "2"), ("b", "1")]),
        ),
        ("list and set", list(&["a"]), set(&["a"])),
        ("one or the other", set(&["a", "b"]), set(&["a", "c"])),
        ("twice", set(&["a", "a"]), set(&["b", "b"])),
    ] {
        assert!(!one.is_same(&other), "{name}");
    }
    assert!(set(&["a", "b", "c"]).is_same(&set(&["c", "a", "b"])));
    let int = of_parts([Part::SetMember(Element::Int(-12))], 2);
    assert!(set(&["-12"]).is_same(&int));
}

#[test]
fn a_string_is_one_however_it_is_cut() {
    let text = Bytes::from_iter((0..5_000_u32).map(|n| (n * 7 / 3) as u8));
    let whole = of_parts([Part::String(Element::Bytes(text.clone()))], 0);
    for chunk in [1, 240, 241, 1000, 4999] {
        let start = Part::StringStart {
            len: text.len() as u64,
        };
        let chunks = text
            .chunks(chunk)
            .map(|chunk| Part::StringChunk(text.slice_ref(chunk)));
        let cut = of_parts([start].into_iter().chain(chunks), 0);
        assert_eq!(whole, cut, "{chunk}");
    }
}

#[test]
fn depths_look_at_less_and_less() {
    let set = |members: &[i64], depth| {
        let mut digester = Digester::new(Side::Source, rules(), depth, SEED);
        digester.begin(ValueType::common(2));
        for member in members {
            digester.feed(Event::Part(Part::SetMember(Element::Int(*member))));
        }
        digester.end()
    };
    for (depth, other_member, one_more) in [
        (Depth::Full, false, false),
        (Depth::Metadata, true, false),
        (Depth::Existence, true, true),
    ] {
        let one = set(&[1, 2], depth);
        assert!(one.is_same(&set(&[2, 1], depth)));
        assert_eq!(one.is_same(&set(&[1, 3], depth)), other_member, "{depth:?}");
        assert_eq!(one.is_same(&set(&[1, 2, 3], depth)), one_more, "{depth:?}");
    }
}

#[test]
fn what_expired_or_is_held_is_as_clients_see_it() {
    let now = rules().source_now_ms;
    let field = |name: &'static str, expire_at_ms| Part::HashField {
        field: Element::Bytes(Bytes::from_static(name.as_bytes())),
        value: Element::Int(1),
        expire_at_ms,
    };
    let hash = |side, releases_held, fields: &[Part]| {
        let rules = Rules {
            releases_held,
            ..rules()
        };
        let mut digester = Digester::new(side, rules, Depth::Full, SEED);
        digester.begin(ValueType::common(4));
        fields
            .iter()
            .for_each(|part| digester.feed(Event::Part(part.clone())));
        digester.end()
    };
    let (gone, later) = (Some(now - 1), now + 60_000);
    let held = Hold::Held.apply_field(later);
    let alone = hash(Side::Source, false, &[field("a", Some(later))]);
    for (name, side, releases_held, fields, same) in [
        (
            "a field that is gone",
            Side::Target,
            false,
            vec![field("a", Some(later)), field("b", gone)],
            true,
        ),
        (
            "one that is not",
            Side::Target,
            false,
            vec![field("a", Some(later)), field("b", None)],
            false,
        ),
        (
            "another expiry",
            Side::Target,
            false,
            vec![field("a", Some(later + 1))],
            false,
        ),
        (
            "no expiry",
            Side::Target,
            false,
            vec![field("a", None)],
            false,
        ),
        (
            "held",
            Side::Target,
            true,
            vec![field("a", Some(held))],
            true,
        ),
        (
            "held, and no sync follows",
            Side::Target,
            false,
            vec![field("a", Some(held))],
            false,
        ),
        (
            "held on the source",
            Side::Source,
            true,
            vec![field("a", Some(held))],
            false,
        ),
    ] {
        assert_eq!(
            alone.is_same(&hash(side, releases_held, &fields)),
            same,
            "{name}"
        );
    }
}
