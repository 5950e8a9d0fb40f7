//! Keys and the commands they become, as a table.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::{
    keyspace::UnixMs,
    rdb::{Element, Family, Key, Part, ValueType},
};

const FAR_MS: UnixMs = 4_102_444_800_000;
const VECTOR_SET: &[u8] = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x00";

fn rebuilding(server: &str, replace: bool, restore: bool) -> Rebuilding {
    let server: ServerVersion = server.parse().unwrap();
    Rebuilding::new(Target::of_version(server), Ways { replace, restore })
}

fn key(byte: u8, expire_at_ms: Option<UnixMs>) -> Key {
    Key {
        key: "k".into(),
        value_type: ValueType::common(byte),
        expire_at_ms,
        idle_s: None,
        freq: None,
        has_metadata: false,
    }
}

fn text(text: &'static str) -> Element {
    Element::Bytes(text.into())
}

fn string() -> Vec<Part> {
    vec![Part::String(text("v w"))]
}

fn list() -> Vec<Part> {
    vec![Part::ListElement(text("a")), Part::ListElement(text("b"))]
}

fn hash() -> Vec<Part> {
    vec![Part::HashField {
        field: text("f"),
        value: Element::Int(7),
        expire_at_ms: Some(FAR_MS),
    }]
}

/// Says one key; returns the lines, what became of it and what was lost.
fn say(rebuilding: &mut Rebuilding, db: u32, key: Key, events: Vec<Event>) -> (String, Said) {
    rebuilding.begin(Db(db), key);
    let mut commands = Vec::new();
    let mut said = None;
    for event in events {
        assert_eq!(said, None, "nothing follows the end");
        said = rebuilding.take(event, &mut commands).unwrap();
    }
    let mut out = BytesMut::new();
    for command in &commands {
        CommandFormat::Cli.put(command, &mut out);
    }
    let lines = String::from_utf8(out.to_vec()).unwrap();
    (lines, said.expect("the value has ended"))
}

fn parts(parts: Vec<Part>) -> Vec<Event> {
    let parts = parts.into_iter().map(Event::Part);
    parts.chain([Event::ValueEnd]).collect()
}

#[test]
fn each_value_becomes_the_commands_of_its_type() {
    for (name, server, replace, key, value, lines) in [
        (
            "a string",
            "redis-6.0",
            false,
            key(0, None),
            string(),
            "SET k \"v w\"\n",
        ),
        (
            "a string is replaced as it is",
            "redis-6.0",
            true,
            key(0, None),
            string(),
            "SET k \"v w\"\n",
        ),
        (
            "a string that expires",
            "redis-6.2",
            false,
            key(0, Some(FAR_MS)),
            string(),
            "SET k \"v w\" PXAT 4102444800000\n",
        ),
        (
            "before SET could say so",
            "redis-6.0",
            false,
            key(0, Some(FAR_MS)),
            string(),
            "SET k \"v w\"\nPEXPIREAT k 4102444800000\n",
        ),
        (
            "an expiry that SET would refuse",
            "valkey-8.1",
            false,
            key(0, Some(-5)),
            string(),
            "SET k \"v w\" PXAT 1\n",
        ),
        (
            "a list",
            "redis-7.0",
            false,
            key(18, Some(FAR_MS)),
            list(),
            "RPUSH k a b\nPEXPIREAT k 4102444800000\n",
        ),
        (
            "a list that is replaced",
            "redis-7.0",
            true,
            key(18, None),
            list(),
            "UNLINK k\nRPUSH k a b\n",
        ),
        (
            "a hash with a field that expires",
            "valkey-9.1",
            false,
            key(24, None),
            hash(),
            "HSET k f 7\nHPEXPIREAT k 4102444800000 FIELDS 1 f\n",
        ),
    ] {
        let mut rebuilding = rebuilding(server, replace, false);
        let (shown, said) = say(&mut rebuilding, 3, key, parts(value));
        assert_eq!(shown, format!("SELECT 3\n{lines}"), "{name}");
        assert_eq!((said, rebuilding.lost()), (Said::Written, vec![]), "{name}");
    }
}

#[test]
fn a_db_is_selected_once() {
    let mut rebuilding = rebuilding("redis-7.0", false, false);
    for (db, lines) in [
        (0, "SELECT 0\nRPUSH k a b\n"),
        (0, "RPUSH k a b\n"),
        (9, "SELECT 9\nRPUSH k a b\n"),
    ] {
        let (shown, _) = say(&mut rebuilding, db, key(18, None), parts(list()));
        assert_eq!(shown, lines);
    }
}

#[test]
fn payloads_are_restored_where_the_server_takes_them() {
    let body = |body: &'static [u8]| vec![Event::Body(Bytes::from_static(body))];
    let mut seven = rebuilding("redis-7.0", true, true);
    let altitude = seven.begin(Db(0), key(16, None));
    assert!(matches!(altitude, crate::rdb::Altitude::Raw { .. }));
    let expiring = key(16, Some(FAR_MS));
    let (shown, said) = say(&mut seven, 0, expiring, body(b"\x01"));
    assert_eq!(said, Said::Written);
    assert!(
        shown.starts_with("SELECT 0\nRESTORE k 4102444800000 \"\\x10\\x01\\x06\\x00"),
        "{shown}"
    );
    assert!(shown.ends_with("\" REPLACE ABSTTL\n"), "{shown}");
    // One that an older server does not take is said by commands.
    let mut six = rebuilding("redis-6.0", false, true);
    let altitude = six.begin(Db(0), key(16, None));
    assert_eq!(altitude, crate::rdb::Altitude::Elements);
}

#[test]
fn what_cannot_be_said_is_lost() {
    let vector_set = || vec![Event::Body(Bytes::from_static(VECTOR_SET))];
    let vectors = Key {
        value_type: ValueType::of(7, Family::VectorSets),
        ..key(7, None)
    };
    for (name, server, key, events, said, lost) in [
        (
            "a vector set",
            "redis-7.0",
            vectors.clone(),
            vec![Event::ValueEnd],
            Said::Lost,
            vec![(Loss::VectorSet, 1)],
        ),
        (
            "one where it can be",
            "redis-8.0",
            vectors.clone(),
            vector_set(),
            Said::Written,
            vec![],
        ),
        (
            "the expiry of a field",
            "redis-7.0",
            key(24, None),
            parts(hash()),
            Said::Written,
            vec![(Loss::FieldExpiry, 1)],
        ),
        (
            "what modules keep beside a key",
            "redis-8.6",
            Key {
                has_metadata: true,
                ..key(0, None)
            },
            parts(string()),
            Said::Written,
            vec![(Loss::ModuleMetadata, 1)],
        ),
        (
            "nothing",
            "redis-7.0",
            key(18, Some(FAR_MS)),
            vec![Event::ValueEnd],
            Said::Empty,
            vec![],
        ),
    ] {
        let mut rebuilding = rebuilding(server, false, false);
        let (shown, became) = say(&mut rebuilding, 0, key, events);
        assert_eq!((became, rebuilding.lost()), (said, lost), "{name}");
        assert_eq!(shown.is_empty(), said != Said::Written, "{name}: {shown}");
    }
}
