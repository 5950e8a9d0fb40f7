//! What is a difference, and what is none.

pub(in crate::verify) mod model;
pub(in crate::verify) mod mutations;
pub(in crate::verify) mod real;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;
use crate::{keyspace::StreamId, verify::SHOWN_BYTES_MAX};
use model::{Field, Group, Pending, Stream, Text, Value, encode, encode_stream, sealed};

/// The time of both clocks.
const NOW_MS: UnixMs = 1_800_000_000_000;

/// Times may be a second apart.
pub(in crate::verify) fn rules() -> Rules {
    Rules {
        ttl_tolerance_ms: 1000,
        source_now_ms: NOW_MS,
        target_now_ms: NOW_MS,
        releases_held: false,
    }
}

/// A difference as one line: its kind, its place, both values.
fn line(found: &Found) -> String {
    let shown = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => bytes.escape_ascii().to_string(),
        None => "-".to_owned(),
    };
    let Found { kind, first } = found;
    let (source, target) = (shown(&first.source), shown(&first.target));
    format!("{}, {}: {source} | {target}", kind.name(), first.place)
}

fn lines(source: &Bytes, target: &Bytes, rules: &Rules) -> Vec<String> {
    let found = payloads(source, target, rules).unwrap();
    found.iter().map(line).collect()
}

fn texts<C: FromIterator<Text>>(words: &str) -> C {
    words
        .split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

fn zset(score: f64) -> Value {
    Value::Zset(BTreeMap::from([(b"m".to_vec(), score)]))
}

/// Fields with their values and expiries.
fn hash(fields: &[(&str, &str, Option<i64>)]) -> Value {
    let fields = fields.iter().map(|(field, value, expire_at_ms)| {
        let value = value.as_bytes().to_vec();
        let expire_at_ms = *expire_at_ms;
        (
            field.as_bytes().to_vec(),
            Field {
                value,
                expire_at_ms,
            },
        )
    });
    Value::Hash(fields.collect())
}

fn id(ms: u64) -> StreamId {
    StreamId { ms, seq: 0 }
}

#[test]
fn a_difference_says_where_it_is() {
    let list = |words| Value::List(texts(words));
    let set = |words| Value::Set(texts(words));
    let string = |text: &str| Value::String(text.as_bytes().to_vec());
    for (name, source, target, expected) in [
        (
            "string",
            string("abcd"),
            string("abxd"),
            "value, offset 2: cd | xd",
        ),
        (
            "longer string",
            string("ab"),
            string("abc"),
            "value, offset 2: - | c",
        ),
        (
            "type",
            string("a"),
            list("a"),
            "type, payload: string | list",
        ),
        (
            "element",
            list("a 5 c"),
            list("a 6 c"),
            "value, index 1: 5 | 6",
        ),
        ("order", list("a b"), list("b a"), "value, index 0: a | b"),
        ("tail", list("a b c"), list("a b"), "value, index 2: c | -"),
        (
            "member",
            set("a b c"),
            set("a c"),
            "value, member \"b\": b | -",
        ),
        (
            "the least member",
            set("z a"),
            set("z y x"),
            "value, member \"a\": a | -",
        ),
        (
            "one ulp",
            zset(1.1),
            zset(1.1_f64.next_up()),
            "value, score of \"m\": 1.1 | 1.1000000000000003",
        ),
        (
            "value",
            hash(&[("f", "1", None)]),
            hash(&[("f", "2", None)]),
            "value, field \"f\": 1 | 2",
        ),
        (
            "expiry of a field",
            hash(&[("f", "1", Some(NOW_MS + 2000))]),
            hash(&[("f", "1", None)]),
            "field_expiry, expiry of field \"f\": 1800000002000 | -",
        ),
    ] {
        let [source, target] = [source, target].map(|value| encode(&value, &mut Rng::with_seed(1)));
        assert_eq!(lines(&source, &target, &rules()), [expected], "{name}");
    }
}

#[test]
fn zeros_of_both_signs_are_one_score() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let (source, target) = (encode(&zset(0.0), &mut rng), encode(&zset(-0.0), &mut rng));
        assert_eq!(payloads(&source, &target, &rules()), Ok(Vec::new()));
    }
}

#[test]
fn expiries_are_the_same_within_the_tolerance() {
    let (ms, held) = (NOW_MS, Hold::Held.apply(NOW_MS));
    for (name, source, target, releases_held, same) in [
        ("none", None, None, false, true),
        ("only source", Some(ms), None, false, false),
        ("only target", None, Some(ms), true, false),
        ("within", Some(ms), Some(ms - 1000), false, true),
        ("beyond", Some(ms), Some(ms + 1001), false, false),
        ("held", Some(ms), Some(held), true, true),
        (
            "held, another time",
            Some(ms - 1001),
            Some(held),
            true,
            false,
        ),
        ("nobody holds it", Some(ms), Some(held), false, false),
        ("held on both sides", Some(held), Some(held), true, true),
        (
            "as far apart as can be",
            Some(i64::MIN),
            Some(i64::MAX),
            true,
            false,
        ),
    ] {
        let rules = Rules {
            releases_held,
            ..rules()
        };
        assert_eq!(expiries(source, target, &rules), same, "{name}");
    }
}

#[test]
fn fields_that_have_expired_are_not_there() {
    let later = NOW_MS + 5000;
    let field = |at| hash(&[("f", "v", Some(at)), ("g", "w", None)]);
    let none = hash(&[("g", "w", None)]);
    let held = |at| Hold::Held.apply_field(at);
    for (name, source, target, releases_held, differs) in [
        (
            "gone on the source",
            field(NOW_MS - 1),
            none.clone(),
            false,
            false,
        ),
        (
            "gone on the target",
            none.clone(),
            field(NOW_MS - 1),
            false,
            false,
        ),
        ("not yet", field(NOW_MS), none.clone(), false, true),
        (
            "gone on both, at other times",
            field(1),
            field(NOW_MS - 1),
            false,
            false,
        ),
        (
            "held, and would be gone",
            none.clone(),
            field(held(NOW_MS - 1)),
            true,
            false,
        ),
        (
            "held, and would not",
            none.clone(),
            field(held(later)),
            true,
            true,
        ),
        ("held", field(later), field(held(later)), true, false),
        (
            "held by nobody",
            field(later),
            field(held(later)),
            false,
            true,
        ),
    ] {
        let rules = Rules {
            releases_held,
            ..rules()
        };
        let [source, target] = [source, target].map(|value| encode(&value, &mut Rng::with_seed(2)));
        let found = lines(&source, &target, &rules);
        assert_eq!(!found.is_empty(), differs, "{name}: {found:?}");
    }
    // By the clock of each side.
    let rules = Rules {
        target_now_ms: later + 1,
        ..rules()
    };
    let [source, target] =
        [&field(later), &none].map(|value| encode(value, &mut Rng::with_seed(2)));
    assert_eq!(lines(&source, &target, &rules).len(), 1);
    assert_eq!(lines(&target, &source, &rules).len(), 0);
    // Both have it still, and the clock of one has passed it.
    let near = encode(&field(later + 1000), &mut Rng::with_seed(2));
    for target in [&source, &near] {
        assert_eq!(lines(&source, target, &rules), [""; 0]);
        assert_eq!(lines(target, &source, &rules), [""; 0]);
    }
    let far = encode(&field(later + 1001), &mut Rng::with_seed(2));
    assert_eq!(lines(&far, &source, &rules).len(), 1);
}

/// The same bytes, under versions that make different types of them.
#[test]
fn the_same_bytes_may_mean_something_else() {
    // Redis: an expiry of 1, field "a", value "b". Valkey: field "\x01", value "a", no end.
    let body = b"\x01\x01\x01a\x01b";
    let (redis, valkey) = (sealed(22, body, 12), sealed(22, body, 80));
    assert!(payloads(&redis, &valkey, &rules()).is_err());
    let earlier = sealed(22, body, 11);
    assert_eq!(payloads(&redis, &earlier, &rules()), Ok(Vec::new()));
    let unknown = [12, 13].map(|version| sealed(99, body, version));
    assert!(payloads(&unknown[0], &unknown[1], &rules()).is_err());
    assert_eq!(payloads(&unknown[0], &unknown[0], &rules()), Ok(Vec::new()));
}

#[test]
fn what_modules_keep_beside_a_key_is_left_out() {
    let plain = sealed(0, b"\x02hi", 12);
    let with_metadata = sealed(0xf3, b"\x01\x01\x02\x03\x04\x02\x07\x00\x00\x02hi", 13);
    assert_eq!(payloads(&plain, &with_metadata, &rules()), Ok(Vec::new()));
    assert_eq!(key_type(&with_metadata), Some(KeyType::String));
    assert_eq!(key_type(&Bytes::from_static(b"short")), None);
}

#[test]
fn hyperloglogs_are_what_they_have_counted() {
    let of = |cached: u8, registers: &[u8]| {
        let text = [b"HYLL\x01\0\0\0", &[cached; 8], registers].concat();
        encode(&Value::String(text), &mut Rng::with_seed(1))
    };
    let counted = of(0, b"\x80\x7f\xfe");
    assert_eq!(
        payloads(&counted, &of(9, b"\x80\x7f\xfe"), &rules()),
        Ok(Vec::new())
    );
    let more = of(0, b"\x84\x7f\xfe");
    assert_eq!(
        lines(&counted, &more, &rules()),
        ["value, offset 16: \\x80\\x7f\\xfe | \\x84\\x7f\\xfe"]
    );
}

/// Compressed and not.
#[test]
fn long_strings_are_compared_in_pieces() {
    let text = vec![b'x'; (2 << 20) + 7];
    let mut plain = vec![0x80];
    plain.extend((text.len() as u32).to_be_bytes());
    plain.extend(&text);
    let mut encoder =
        crate::rdb::PlainEncoder::new(crate::rdb::FieldExpiry::Drop).compressing(true);
    let element = crate::rdb::Element::Bytes(text.into());
    encoder.push(&crate::rdb::Part::String(element)).unwrap();
    let (_, compressed) = encoder.finish().unwrap();
    assert!(compressed.len() < plain.len() / 10);
    let (source, target) = (sealed(0, &compressed, 9), sealed(0, &plain, 9));
    assert_eq!(payloads(&source, &target, &rules()), Ok(Vec::new()));
    let mut in_the_first = plain.clone();
    in_the_first[5 + (1 << 20) - 2] = b'y';
    let found = payloads(&source, &sealed(0, &in_the_first, 9), &rules()).unwrap();
    let shown = found[0].first.target.as_ref().unwrap();
    let begins = |text: &[u8]| shown.len() == SHOWN_BYTES_MAX && shown.starts_with(text);
    assert!(begins(b"yxxx"), "{shown:?}");
    let at = plain.len() - 1;
    plain[at] = b'y';
    let changed = sealed(0, &plain, 9);
    assert_eq!(
        lines(&source, &changed, &rules()),
        ["value, offset 2097158: x | y"]
    );
}

/// A stream with two entries and two groups, in which an entry is pending.
fn stream() -> Stream {
    let entry = |ms: u64| (id(ms), vec![(b"f".to_vec(), ms.to_string().into_bytes())]);
    let pending = Pending {
        owner: Some(b"alice".to_vec()),
        delivered_at_ms: NOW_MS - 60_000,
        delivery_count: 2,
    };
    let group = Group {
        last_id: id(5),
        entries_read: Some(1),
        consumers: texts("alice bob"),
        pending: BTreeMap::from([(id(5), pending)]),
    };
    let idle = Group {
        last_id: id(6),
        consumers: BTreeSet::new(),
        ..Group::default()
    };
    Stream {
        entries: [entry(5), entry(6)].into(),
        last_id: id(6),
        max_deleted_id: id(1),
        entries_added: 3,
        groups: BTreeMap::from([(b"g".to_vec(), group), (b"idle".to_vec(), idle)]),
        idempotency: (100, 100),
    }
}

#[test]
fn differences_of_streams_say_where_they_are() {
    fn group(stream: &mut Stream) -> &mut Group {
        stream.groups.get_mut(&b"g"[..]).unwrap()
    }
    fn pending(stream: &mut Stream) -> &mut Pending {
        group(stream).pending.get_mut(&id(5)).unwrap()
    }
    type Change = fn(&mut Stream);
    let rows: [(&str, Change, &[&str]); 15] = [
        (
            "value of an entry",
            |s| s.entries.get_mut(&id(6)).unwrap()[0].1 = b"x".to_vec(),
            &["value, entry 6-0: f 6 | f x"],
        ),
        (
            "entry",
            |s| drop(s.entries.remove(&id(5))),
            &["value, entry 5-0: f 5 | -"],
        ),
        (
            "last id",
            |s| s.last_id = id(7),
            &["stream_counters, last-id: 6-0 | 7-0"],
        ),
        (
            "entries added",
            |s| s.entries_added = 4,
            &["stream_counters, entries-added: 3 | 4"],
        ),
        (
            "greatest deleted",
            |s| s.max_deleted_id = id(0),
            &["stream_counters, max-deleted-id: 1-0 | 0-0"],
        ),
        (
            "idempotency",
            |s| s.idempotency.1 = 7,
            &["stream_counters, idmp-maxsize: 100 | 7"],
        ),
        (
            "group",
            |s| drop(s.groups.remove(&b"idle"[..])),
            &["group, group \"idle\": last-delivered-id 6-0 | -"],
        ),
        (
            "last id of a group",
            |s| group(s).last_id = id(6),
            &["group, last-delivered-id of group \"g\": 5-0 | 6-0"],
        ),
        (
            "entries read",
            |s| group(s).entries_read = Some(2),
            &["group, entries-read of group \"g\": 1 | 2"],
        ),
        (
            "entries read, unknown",
            |s| group(s).entries_read = None,
            &[],
        ),
        (
            "consumer with nothing",
            |s| group(s).consumers.retain(|name| name != b"bob"),
            &[],
        ),
        (
            "a consumer more",
            |s| group(s).consumers.extend(texts::<Vec<Text>>("carol")),
            &["consumer, consumer \"carol\" of group \"g\": - | 0 pending"],
        ),
        (
            "owner",
            |s| pending(s).owner = Some(b"bob".to_vec()),
            &["pending, pending entry 5-0 of group \"g\": alice | bob"],
        ),
        (
            "given back",
            |s| pending(s).owner = None,
            &["pending, pending entry 5-0 of group \"g\": alice | given back"],
        ),
        (
            "several",
            |s| {
                s.last_id = id(9);
                pending(s).delivery_count = 3;
                group(s).last_id = id(1);
                s.entries.clear();
            },
            &[
                "value, entry 5-0: f 5 | -",
                "stream_counters, last-id: 6-0 | 9-0",
                "group, last-delivered-id of group \"g\": 5-0 | 1-0",
                "pending, pending entry 5-0 of group \"g\": delivery-count 2 | delivery-count 3",
            ],
        ),
    ];
    let source = encode_stream(&stream(), 27, &mut Rng::with_seed(1));
    for (name, change, expected) in rows {
        let mut changed = stream();
        change(&mut changed);
        let target = encode_stream(&changed, 27, &mut Rng::with_seed(2));
        assert_eq!(lines(&source, &target, &rules()), expected, "{name}");
    }
}

#[test]
fn what_only_one_side_knows_is_left_out() {
    let mut other = stream();
    other.entries_added = 9;
    other.max_deleted_id = id(3);
    other.idempotency = (1, 1);
    other.groups.get_mut(&b"g"[..]).unwrap().entries_read = Some(7);
    let encoded = |byte| encode_stream(&other, byte, &mut Rng::with_seed(3));
    let old = encode_stream(&stream(), 15, &mut Rng::with_seed(4));
    assert_eq!(lines(&old, &encoded(27), &rules()), [""; 0]);
    assert_eq!(lines(&encoded(27), &old, &rules()), [""; 0]);
    let newer = encode_stream(&stream(), 21, &mut Rng::with_seed(4));
    let found = lines(&newer, &encoded(27), &rules());
    assert_eq!(
        found,
        [
            "stream_counters, entries-added: 3 | 9",
            "group, entries-read of group \"g\": 1 | 7"
        ]
    );
    // Redis 7.2 does not tell its replicas how many entries a group has read.
    let content = &newer[1..newer.len() - FOOTER_BYTES];
    let of_7_2 = sealed(21, content, 11);
    let found = lines(&of_7_2, &encoded(27), &rules());
    assert_eq!(found, ["stream_counters, entries-added: 3 | 9"]);
}

/// An empty stream of type 15 that says it has this many entries, with a group in which an entry is
/// pending that nobody or this consumer owns.
fn damaged(length: u8, owner: Option<u8>) -> Bytes {
    let mut body = vec![0, length, 0, 0, 1];
    body.extend(b"\x01g\0\0\x01");
    body.extend([[0; 15].as_slice(), &[5], &[0; 8], &[1]].concat());
    body.push(1);
    body.extend(b"\x01c");
    body.extend([0; 8]);
    match owner {
        None => body.push(0),
        Some(_) => body.extend([[1].as_slice(), &[0; 15], &[5]].concat()),
    }
    sealed(15, &body, 9)
}

#[test]
fn a_target_that_puts_a_bug_of_the_source_right_is_no_worse() {
    let right = damaged(0, Some(1));
    for (name, source, target, expected) in [
        (
            "length put right",
            damaged(2, Some(1)),
            right.clone(),
            &[][..],
        ),
        ("wrong alike", damaged(2, Some(1)), damaged(2, Some(1)), &[]),
        (
            "wrong on the target",
            right.clone(),
            damaged(2, Some(1)),
            &["stream_counters, length: 0 | 2"],
        ),
        ("owner found", damaged(0, None), right.clone(), &[]),
        (
            "owner lost",
            right.clone(),
            damaged(0, None),
            &["pending, pending entry 0-5 of group \"g\": c | nobody"],
        ),
    ] {
        assert_eq!(lines(&source, &target, &rules()), expected, "{name}");
    }
}

/// Types that only Dragonfly has, and values of modules.
#[test]
fn what_forks_and_modules_keep_is_compared() {
    let json = |text: &str| sealed(30, &[&[text.len() as u8], text.as_bytes()].concat(), 9);
    // Seconds since the first of February 2023.
    let expiring = |at: &str| {
        let body = [b"\x01\x01m", &[at.len() as u8][..], at.as_bytes()].concat();
        sealed(32, &body, 9)
    };
    let later = |s: i64| (NOW_MS / 1000 + s - 1_675_209_600).to_string();
    let module = |item: &[u8]| {
        let id = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x01";
        sealed(7, &[&id[..], item, b"\0"].concat(), 9)
    };
    let compressed = b"\x05\xc3\x06\x0d\x01aa\xe0\x02\x00";
    for (name, source, target, expected) in [
        (
            "json",
            json(r#"{"a":1,"b":2}"#),
            json(r#"{"b":2,"a":1}"#),
            "",
        ),
        (
            "other json",
            json("[1]"),
            json("[2]"),
            "value, offset 1: 1] | 2]",
        ),
        ("member", expiring(&later(9)), expiring(&later(9)), ""),
        (
            "expiry of a member",
            expiring(&later(9)),
            expiring(&later(12)),
            "field_expiry, expiry of field \"m\": 1800000009000 | 1800000012000",
        ),
        (
            "expired member",
            expiring("-1"),
            expiring("5"),
            "value, member \"m\": m | -",
        ),
        ("items", module(b"\x01\x07"), module(b"\x02\x07"), ""),
        (
            "compressed",
            module(compressed),
            module(b"\x05\x0daaaaaaaaaaaaa"),
            "",
        ),
        (
            "other items",
            module(b"\x02\x07"),
            module(b"\x02\x08"),
            "value, payload: \\x07\\x00 | \\x08\\x00",
        ),
        (
            "more items",
            module(b""),
            module(b"\x02\x08"),
            "value, payload: \\x00 | \\x02\\x08\\x00",
        ),
    ] {
        let found = lines(&source, &target, &rules());
        assert_eq!(found.join(", "), expected, "{name}");
    }
}
