//! Payloads of real servers: the same data, stored by each in its own way.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use serde_json::Value;

use super::{super::*, rules};
use crate::rdb::{Altitude, Event, Limits, Parser, payload};

/// Servers, and what each DUMPs of one key.
pub(in crate::verify) type Versions = BTreeMap<String, Bytes>;

pub(in crate::verify) fn folder(server: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/rdb/generated").join(server)
}

pub(in crate::verify) fn servers() -> Vec<String> {
    let entries = fs::read_dir(folder("")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 16);
    names
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// What DUMP answered, by key.
fn dumped(server: &str) -> (u16, Vec<(Vec<u8>, Bytes)>) {
    let text = fs::read_to_string(folder(server).join("dump-payloads.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let payloads = json["keys"].as_array().unwrap().iter().map(|key| {
        let bytes = |name: &str| unhex(key[name].as_str().unwrap());
        (bytes("key"), bytes("payload").into())
    });
    let version = json["payload_version"].as_u64().unwrap();
    (version as u16, payloads.collect())
}

/// The values of db 0 in a file, as payloads of this version.
fn saved(server: &str, file: &str, version: u16) -> Vec<(Vec<u8>, Bytes)> {
    let Ok(rdb) = fs::read(folder(server).join(file)) else {
        return Vec::new();
    };
    let mut parser = Parser::new(Limits::default());
    parser.feed(&rdb);
    let (mut db, mut key, mut payloads) = (0, None, Vec::new());
    loop {
        match parser.next_event().unwrap() {
            Some(Event::SelectDb(selected)) => db = selected.0,
            Some(Event::Key(found)) => {
                let bytes_max = usize::MAX;
                parser.choose(Altitude::Raw { bytes_max });
                key = Some(found);
            }
            Some(Event::Body(body)) => {
                let key = key.take().unwrap();
                let byte = key.value_type.byte;
                let footer = payload::footer(byte, &body, version);
                if db == 0 {
                    payloads.push((
                        key.key.to_vec(),
                        [&[byte], &body[..], &footer].concat().into(),
                    ));
                }
            }
            Some(Event::End(_)) => return payloads,
            _ => {}
        }
    }
}

pub(in crate::verify) fn keys() -> BTreeMap<Vec<u8>, Versions> {
    let mut keys: BTreeMap<Vec<u8>, Versions> = BTreeMap::new();
    for server in servers() {
        let (version, payloads) = dumped(&server);
        let mut add = |from: &str, payloads: Vec<(Vec<u8>, Bytes)>| {
            for (key, payload) in payloads {
                let versions = keys.entry(key).or_default();
                versions.insert(format!("{server} {from}"), payload);
            }
        };
        add("DUMP", payloads);
        for file in ["all.rdb", "plain-nocrc.rdb", "lowlimits.rdb"] {
            add(file, saved(&server, file, version));
        }
    }
    keys
}

/// What the stream with groups was given beside, by server: a consumer with nothing pending from
/// 6.2 on, entries-read from 7.0 on; from 7.2 on a read that gets nothing leaves a consumer.
pub(in crate::verify) fn generation(server: &str) -> u8 {
    let old = ["redis-5.0", "redis-6.0", "redis-6.2", "redis-7.0"];
    match old.iter().position(|old| server.starts_with(old)) {
        Some(0 | 1) => 0,
        Some(at) => at as u8,
        None => 4,
    }
}

#[test]
fn the_same_data_of_every_server_is_the_same() {
    let (mut stored_alike, mut decoded) = (0, 0);
    for (key, versions) in keys() {
        let has_groups = [&b"stream:groups"[..], b"st"].contains(&&key[..]);
        // They were delivered when the data was made.
        let ttl_tolerance_ms = if has_groups { i64::MAX } else { 1000 };
        let rules = Rules {
            ttl_tolerance_ms,
            ..rules()
        };
        // One server of each way in which the value is stored.
        let mut ways: Vec<(&String, &Bytes)> = Vec::new();
        for (server, payload) in &versions {
            match ways.iter().find(|(_, way)| content_is_same(way, payload)) {
                None => ways.push((server, payload)),
                Some((_, way)) => {
                    assert_eq!(payloads(way, payload, &rules), Ok(Vec::new()));
                    stored_alike += 1;
                }
            }
        }
        for (ours, source) in &ways {
            for (theirs, target) in &ways {
                if has_groups && generation(ours) != generation(theirs) {
                    continue;
                }
                let found = payloads(source, target, &rules);
                let name = key.escape_ascii();
                assert_eq!(found, Ok(Vec::new()), "{name}: {ours}, {theirs}");
                decoded += 1;
            }
        }
    }
    assert!(
        stored_alike > 3000 && decoded > 2000,
        "{stored_alike} stored alike, {decoded} pairs stored in other ways"
    );
}

#[test]
fn what_a_newer_server_was_given_beside_is_found() {
    let streams = keys().remove(&b"stream:groups"[..]).unwrap();
    let rules = Rules {
        ttl_tolerance_ms: i64::MAX,
        ..rules()
    };
    let found = |source: &str, target: &str| {
        let [source, target] = [source, target].map(|server| &streams[server]);
        let found = payloads(source, target, &rules).unwrap();
        found
            .iter()
            .map(|found| format!("{} {}", found.kind.name(), found.first.place))
            .collect::<Vec<_>>()
    };
    let group = "group group \"g-entriesread\"";
    let consumer = "consumer consumer \"idle-consumer\" of group \"g-work\"";
    let by_reading = "consumer consumer \"e1\" of group \"g-end\"";
    for (source, target, expected) in [
        ("redis-6.0 DUMP", "redis-6.2 DUMP", vec![consumer]),
        // Nothing is pending for it.
        ("redis-6.2 DUMP", "redis-6.0 DUMP", vec![]),
        ("redis-6.2 DUMP", "redis-7.0 DUMP", vec![group]),
        ("redis-8.6 DUMP", "redis-6.0 DUMP", vec![group]),
        ("redis-6.0 DUMP", "redis-7.0 DUMP", vec![group, consumer]),
        ("redis-7.0 DUMP", "valkey-9.1 DUMP", vec![by_reading]),
        ("valkey-9.1 DUMP", "redis-7.0 DUMP", vec![]),
    ] {
        assert_eq!(found(source, target), expected, "{source}, {target}");
    }
}

/// What a module put together, and strings beside it.
#[test]
fn values_of_modules_are_compared_by_their_bytes() {
    let [ours, theirs] = ["redis-8.6", "valkey-9.1"].map(|server| saved(server, "module.rdb", 12));
    assert_eq!((ours.len(), theirs.len()), (5, 5));
    let is_module = |key: &[u8]| key.starts_with(b"mod:");
    for (key, source) in &ours {
        for (other, target) in &theirs {
            let found = payloads(source, target, &rules()).unwrap();
            let expected = match (is_module(key), is_module(other)) {
                (true, true) if key != other => vec![Kind::Value],
                (ours, theirs) if ours != theirs => vec![Kind::Type],
                _ => vec![],
            };
            let kinds: Vec<Kind> = found.iter().map(|found| found.kind).collect();
            assert_eq!(kinds, expected, "{found:?}");
        }
    }
}
