use super::*;
use crate::{
    keyspace::StreamId,
    rdb::{StreamConsumer, StreamGroup, StreamIdempotency, StreamMeta, StreamPending},
    sink::Flavor,
};

const SMALL: ChunkLimits = ChunkLimits {
    bytes_max: 10,
    elements_max: 3,
};

fn redis(major: u16, minor: u16) -> Target {
    Target {
        flavor: Flavor::Redis,
        version: (major, minor, 0),
        modules: Vec::new(),
        bulk_bytes_max: 512 << 20,
        databases: 16,
    }
}

/// What the parts become, one line a command, and what was lost.
fn rebuilt(target: &Target, hold: Hold, parts: Vec<Part>) -> (Vec<String>, Vec<Loss>) {
    let mut rebuild = Rebuild::new(Bytes::from_static(b"k"), target, hold, SMALL);
    let mut out = Vec::new();
    let mut losses = Vec::new();
    for part in parts {
        losses.extend(rebuild.part(part, &mut out).err().map(|lossy| lossy.loss));
    }
    rebuild.finish(&mut out);
    let line = |command: &Command| command.args().join(&b' ').escape_ascii().to_string();
    (out.iter().map(line).collect(), losses)
}

fn element(text: &'static str) -> Element {
    Element::Bytes(Bytes::from_static(text.as_bytes()))
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

fn entry(ms: u64) -> Part {
    Part::StreamEntry {
        id: id(ms, 0),
        fields: vec![
            (element("f"), Element::Int(1)),
            (element("f"), element("v")),
        ],
    }
}

fn meta(last_ms: u64, counters: bool) -> Part {
    Part::StreamMeta(StreamMeta {
        length: 2,
        last_id: id(last_ms, 0),
        max_deleted_id: counters.then_some(id(2, 0)),
        entries_added: counters.then_some(9),
    })
}

fn group(entries_read: Option<u64>) -> Part {
    Part::StreamGroup(StreamGroup {
        name: Bytes::from_static(b"g"),
        last_id: id(3, 0),
        entries_read,
    })
}

fn consumer(name: &'static str) -> Part {
    Part::StreamConsumer(StreamConsumer {
        name: Bytes::from_static(name.as_bytes()),
        seen_at_ms: 5,
        active_at_ms: None,
    })
}

fn pending(ms: u64, delivered_at_ms: i64) -> Part {
    Part::StreamPending(StreamPending {
        id: id(ms, 0),
        delivered_at_ms,
        delivery_count: 2,
    })
}

fn field(name: &'static str, expire_at_ms: Option<i64>) -> Part {
    Part::HashField {
        field: element(name),
        value: element("v"),
        expire_at_ms,
    }
}

#[test]
fn collections_are_written_in_bounded_commands() {
    let members = || ["a", "b", "c", "d"].map(element);
    for (name, parts, lines) in [
        (
            "by elements",
            members().map(Part::ListElement).to_vec(),
            &["RPUSH k a b c", "RPUSH k d"][..],
        ),
        (
            "by bytes",
            ["aaaaaa", "bbbb", "c", "dddddddddddddddd", "e"]
                .map(|text| Part::SetMember(element(text)))
                .to_vec(),
            &[
                "SADD k aaaaaa bbbb",
                "SADD k c",
                "SADD k dddddddddddddddd",
                "SADD k e",
            ],
        ),
        (
            "an integer",
            vec![Part::String(Element::Int(-12))],
            &["SET k -12"],
        ),
        (
            "an empty string",
            vec![Part::StringStart { len: 0 }],
            &["SET k "],
        ),
        (
            "a long string",
            vec![
                Part::StringStart { len: 14 },
                Part::StringChunk(Bytes::from_static(b"0123456789ab")),
                Part::StringChunk(Bytes::from_static(b"cd")),
            ],
            &[
                "SETRANGE k 13 \\x00",
                "SETRANGE k 0 0123456789",
                "SETRANGE k 10 ab",
                "SETRANGE k 12 cd",
            ],
        ),
        (
            "fields that expire",
            vec![
                field("a", Some(7)),
                field("b", None),
                field("c", Some(7)),
                field("d", Some(8)),
            ],
            &[
                "HSET k a v b v c v",
                "HPEXPIREAT k 7 FIELDS 2 a c",
                "HSET k d v",
                "HPEXPIREAT k 8 FIELDS 1 d",
            ],
        ),
    ] {
        let (found, losses) = rebuilt(&redis(8, 0), Hold::Released, parts);
        assert_eq!(found, lines, "{name}");
        assert_eq!(losses, [], "{name}");
    }
}

#[test]
fn scores_read_back_to_the_same_double() {
    for (score, text) in [
        (1.0, "1"),
        (-3.0, "-3"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e300, "1e300"),
        (5e-324, "5e-324"),
        (9007199254740993.0, "9007199254740992.0"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (-0.0, "-0.0"),
    ] {
        assert_eq!(score_text(score), text);
        let back: f64 = text.parse().unwrap();
        assert_eq!(back.to_bits(), score.to_bits(), "{text}");
    }
}

#[test]
fn expiries_of_fields_are_held_or_lost() {
    let (found, losses) = rebuilt(&redis(7, 4), Hold::Held, vec![field("a", Some(7))]);
    assert_eq!(
        found,
        ["HSET k a v", "HPEXPIREAT k 35184372088839 FIELDS 1 a"]
    );
    assert_eq!(losses, []);

    let parts = vec![field("a", Some(7)), field("b", None)];
    let (found, losses) = rebuilt(&redis(7, 2), Hold::Held, parts);
    assert_eq!(found, ["HSET k a v b v"]);
    assert_eq!(losses, [Loss::FieldExpiry]);
}

#[test]
fn streams_keep_groups_consumers_and_pending_entries() {
    let parts = vec![
        entry(1),
        entry(3),
        meta(5, true),
        group(Some(4)),
        consumer("c1"),
        pending(1, 100),
        pending(3, 100),
        consumer("c2"),
        pending(3, 200),
        pending(4, 200),
    ];
    let (found, losses) = rebuilt(&redis(7, 0), Hold::Held, parts.clone());
    let entries = ["XADD k 1-0 f 1 f v", "XADD k 3-0 f 1 f v"];
    let lines_of_7_0 = [
        "XSETID k 5-0 ENTRIESADDED 9 MAXDELETEDID 2-0",
        "XGROUP CREATE k g 3-0 ENTRIESREAD 4",
        "XGROUP CREATECONSUMER k g c1",
        "XCLAIM k g c1 0 1-0 3-0 TIME 100 RETRYCOUNT 2 FORCE JUSTID",
        "XGROUP CREATECONSUMER k g c2",
        "XCLAIM k g c2 0 3-0 TIME 200 RETRYCOUNT 2 FORCE JUSTID",
    ];
    assert_eq!(found, [&entries[..], &lines_of_7_0].concat());
    assert_eq!(losses, [Loss::PendingOfDeletedEntry]);

    let (found, losses) = rebuilt(&redis(6, 0), Hold::Held, parts);
    let lines_of_6_0 = [
        "XSETID k 5-0",
        "XGROUP CREATE k g 3-0",
        "XREADGROUP GROUP g c1 COUNT 1 STREAMS k 0",
        "XCLAIM k g c1 0 1-0 3-0 TIME 100 RETRYCOUNT 2 FORCE JUSTID",
        "XREADGROUP GROUP g c2 COUNT 1 STREAMS k 0",
        "XCLAIM k g c2 0 3-0 TIME 200 RETRYCOUNT 2 FORCE JUSTID",
    ];
    assert_eq!(found, [&entries[..], &lines_of_6_0].concat());
    assert_eq!(losses, [Loss::PendingOfDeletedEntry]);
}

/// As converting the payload does: the first consumer gets them, or one of our own.
#[test]
fn entries_that_were_given_back_get_an_owner() {
    let nacked = |ms| match pending(ms, 100) {
        Part::StreamPending(pending) => Part::StreamNacked(pending),
        part => part,
    };
    let group_of = |consumers: &[Part]| {
        let parts = [vec![entry(1), entry(3), group(None)], consumers.to_vec()].concat();
        let parts = [parts, vec![nacked(3)]].concat();
        let (found, losses) = rebuilt(&redis(7, 0), Hold::Held, parts);
        assert_eq!(losses, [Loss::NackedEntry]);
        found[3..].to_vec()
    };
    let claim = |owner| format!("XCLAIM k g {owner} 0 3-0 TIME 100 RETRYCOUNT 2 FORCE JUSTID");
    assert_eq!(
        group_of(&[consumer("c1"), pending(1, 50), consumer("c2")]),
        [
            "XGROUP CREATECONSUMER k g c1",
            "XCLAIM k g c1 0 1-0 TIME 50 RETRYCOUNT 2 FORCE JUSTID",
            "XGROUP CREATECONSUMER k g c2",
            &claim("c1"),
        ]
    );
    assert_eq!(
        group_of(&[]),
        ["XGROUP CREATECONSUMER k g keyferry", &claim("keyferry"),]
    );
}

#[test]
fn what_only_forks_have_is_lost_or_said_otherwise() {
    let member = Part::ExpiringSetMember {
        member: element("m"),
        expire_at_ms: 5,
    };
    let json = Part::Json(Bytes::from_static(b"{}"));
    let array = Part::ArrayStart {
        insert_cursor: None,
    };
    let job = Part::CronKey(Bytes::from_static(b"k"));
    for (part, lines, loss) in [
        (member, &["SADD k m"][..], Some(Loss::MemberExpiry)),
        (json, &["JSON.SET k . {}"], None),
        (array, &[], Some(Loss::Array)),
        (job, &[], Some(Loss::CronJob)),
    ] {
        let (found, losses) = rebuilt(&redis(8, 6), Hold::Released, vec![part]);
        assert_eq!(found, lines);
        assert_eq!(losses, Vec::from_iter(loss));
    }
}

#[test]
fn empty_streams_and_odd_counters_are_written() {
    let empty = vec![meta(0, true), group(None)];
    let (found, _) = rebuilt(&redis(7, 0), Hold::Held, empty);
    let lines = [
        "XGROUP CREATE k keyferry 0 MKSTREAM",
        "XGROUP DESTROY k keyferry",
        "XSETID k 0-0 ENTRIESADDED 9 MAXDELETEDID 0-0",
        "XGROUP CREATE k g 3-0",
    ];
    assert_eq!(found, lines);

    let (found, _) = rebuilt(&redis(7, 0), Hold::Held, vec![entry(8), meta(5, false)]);
    assert_eq!(found, ["XADD k 8-0 f 1 f v", "XSETID k 8-0"]);
}

#[test]
fn duplicate_detection_is_written_where_it_is_known() {
    let idempotent_id = |ms| Part::StreamIdempotentId {
        producer: Bytes::from_static(b"p"),
        idempotent_id: Bytes::from_static(b"i"),
        id: id(ms, 0),
    };
    let settings = Part::StreamIdempotency(StreamIdempotency {
        duration_s: 100,
        entries_max: 10,
        producers: 1,
    });
    let parts = vec![entry(8), settings, idempotent_id(8), idempotent_id(7)];
    let (found, _) = rebuilt(&redis(8, 6), Hold::Held, parts.clone());
    let lines = [
        "XADD k 8-0 f 1 f v",
        "XCFGSET k IDMP-DURATION 100 IDMP-MAXSIZE 10",
        "XIDMPRECORD k p i 8-0",
    ];
    assert_eq!(found, lines);
    let (found, losses) = rebuilt(&redis(8, 0), Hold::Held, parts);
    assert_eq!(found, ["XADD k 8-0 f 1 f v"]);
    assert_eq!(losses, [Loss::StreamIdempotency]);
}

#[test]
fn field_expiries_end_where_the_target_takes_no_later_ones() {
    let field = Part::HashField {
        field: Element::Bytes("f".into()),
        value: Element::Bytes("v".into()),
        expire_at_ms: Some(1 << 50),
    };
    let (found, _) = rebuilt(&redis(8, 6), Hold::Released, vec![field.clone()]);
    let lines = ["HSET k f v", "HPEXPIREAT k 70368744177663 FIELDS 1 f"];
    assert_eq!(found, lines);
    let (found, _) = rebuilt(&redis(8, 6), Hold::Held, vec![field]);
    assert_eq!(found, lines);
}
