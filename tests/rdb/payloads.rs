//! Payloads: those that servers made are read, and ours are the same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyferry::rdb::{Altitude, Event, Limits, ValueType, payload};
use serde_json::Value;

use crate::convert;
use crate::fixture::{self, unhex};
use crate::fuzz::{self, read};
use crate::keyspace::encoded;

/// The raw bodies of db 0 of a server's `all.rdb`.
fn bodies(server: &str) -> BTreeMap<String, (ValueType, Bytes)> {
    let name = format!("generated/{server}/all");
    let fixtures = fixture::all();
    let fixture = fixtures
        .iter()
        .find(|fixture| fixture.name == name)
        .expect("all.rdb");
    let raw = Altitude::Raw {
        bytes_max: usize::MAX,
    };
    let reading = read([&fixture.bytes[..]], raw, Limits::default());
    assert_eq!(reading.end, Ok(()), "{name}");
    let (mut db, mut key, mut bodies) = (0, None, BTreeMap::new());
    for event in reading.events {
        match event {
            Event::SelectDb(selected) => db = selected.0,
            Event::Key(found) => key = Some((encoded(&found.key), found.value_type)),
            Event::Body(body) if db == 0 => {
                let (key, value_type) = key.take().expect("a key before its body");
                bodies.insert(key, (value_type, body));
            }
            _ => {}
        }
    }
    bodies
}

#[test]
fn a_raw_body_with_our_footer_is_the_servers_payload() {
    for (server, payloads) in fixture::dump_payloads() {
        let version = payloads["payload_version"].as_u64().unwrap() as u16;
        let bodies = bodies(&server);
        let (mut same, mut other_type) = (0, 0);
        for key in payloads["keys"].as_array().unwrap() {
            let name = key["key"].as_str().unwrap();
            let expected = unhex(key["payload"].as_str().unwrap());
            let (value_type, body) = &bodies[name];
            if expected[0] != value_type.byte {
                other_type += 1;
                continue;
            }
            let footer = payload::footer(value_type.byte, body, version);
            let ours = [&[value_type.byte], &body[..], &footer].concat();
            assert_eq!(ours, expected, "{server}: {name}");
            same += 1;
        }
        assert!(
            same > 30 && same > 10 * other_type,
            "{server}: {same} same, {other_type} not"
        );
    }
}

#[test]
fn servers_payloads_are_checked_and_read() {
    for (server, payloads) in fixture::dump_payloads() {
        for key in payloads["keys"].as_array().unwrap() {
            let bytes = Bytes::from(unhex(key["payload"].as_str().unwrap()));
            let checked = payload::check(&bytes).unwrap();
            assert_eq!(
                u64::from(checked.version),
                payloads["payload_version"],
                "{server}"
            );
            if checked.value_type.byte != 7 {
                let parts = fuzz::parts(checked.value_type, checked.body);
                assert!(!parts.unwrap().is_empty(), "{server}: {}", key["key"]);
            }
            let mut flipped = bytes.to_vec();
            flipped[1] ^= 1;
            assert!(
                payload::check(&flipped.into()).is_err(),
                "{server}: {}",
                key["key"]
            );
        }
    }
}

#[test]
fn function_payloads_hold_the_libraries() {
    let mut libraries = 0;
    for (server, payloads) in fixture::dump_payloads() {
        let Value::String(dump) = &payloads["function_dump"] else {
            continue;
        };
        let version = payloads["payload_version"].as_u64().unwrap() as u16;
        let sources = payload::functions(&Bytes::from(unhex(dump))).unwrap();
        let ours = payload::of_functions(sources.iter().map(|source| &source[..]), version);
        assert_eq!(
            payload::functions(&ours.into()).unwrap(),
            sources,
            "{server}"
        );
        assert!(
            sources
                .iter()
                .all(|source| source.starts_with(b"#!lua name=")),
            "{server}"
        );
        libraries += sources.len();
    }
    assert!(libraries > 0);
}

#[test]
fn values_read_back_from_every_form_they_can_be_written_in() {
    let (mut streams, mut vector_sets, mut others) = (0, 0, 0);
    for (_, payloads) in fixture::dump_payloads() {
        for key in payloads["keys"].as_array().unwrap() {
            let bytes = Bytes::from(unhex(key["payload"].as_str().unwrap()));
            let checked = payload::check(&bytes).unwrap();
            if checked.value_type.is_module() {
                assert!(convert::module_converts(&checked.body), "{}", key["key"]);
                vector_sets += 1;
                continue;
            }
            let parts = fuzz::parts(checked.value_type, checked.body.clone()).unwrap();
            convert::converts(checked.value_type, &checked.body, &parts);
            if checked.value_type.is_stream() {
                streams += 1;
            } else {
                fuzz::plain_reads_back(&parts);
                others += 1;
            }
        }
    }
    assert!(
        streams > 20 && vector_sets > 3 && others > 200,
        "{streams} streams, {vector_sets} vector sets, {others} others"
    );
}
