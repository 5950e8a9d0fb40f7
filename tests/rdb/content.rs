//! Every fixture decodes to what the server that wrote it says is in it, or fails as it should.

use std::collections::{BTreeMap, BTreeSet};

use keyferry::rdb::{Altitude, ErrorKind, Event, Limits, Parser};
use serde_json::{Value, json};

use crate::fixture::{self, Fixture};
use crate::fuzz::{self, Reading, read};
use crate::keyspace::{Found, Keyspace, normal, score_text, sort_pending};

fn elements(fixture: &Fixture) -> Reading {
    read([&fixture.bytes[..]], Altitude::Elements, Limits::default())
}

#[test]
fn files_decode_to_what_servers_say() {
    let mut decoded = 0;
    for fixture in fixture::rdbs() {
        let expect = fixture.expect();
        let good = matches!(expect, "ok" | "module" | "duplicate-keys");
        if good {
            let reading = elements(&fixture);
            assert_eq!(reading.end, Ok(()), "{}", fixture.name);
            compare(&fixture, &reading);
            decoded += 1;
        }
    }
    assert!(decoded > 100, "{decoded} files");
}

#[test]
fn broken_files_fail_in_the_right_way() {
    for fixture in fixture::rdbs() {
        let name = &fixture.name;
        let reading = elements(&fixture);
        let kind = reading.end.as_ref().err().map(|error| &error.kind);
        use ErrorKind::*;
        let right = match fixture.expect() {
            // No server writes it, so nothing says what the bytes behind it are.
            _ if name == "hostile/version-0" => matches!(kind, Some(UnknownVersion(_))),
            "ok" | "module" | "duplicate-keys" => kind.is_none(),
            "corrupt" | "truncated" => matches!(
                kind,
                Some(
                    Truncated
                        | Corrupt(_)
                        | Limit { .. }
                        | UnsupportedType { .. }
                        | UnsupportedOpcode { .. }
                )
            ),
            "bad-checksum" => matches!(kind, Some(Checksum { .. })),
            "unknown-version" => matches!(kind, Some(UnknownVersion(_))),
            "not-rdb" => matches!(kind, Some(NotRdb(_))),
            "either" | "limit" => true,
            "unsupported" => matches!(
                kind,
                Some(UnsupportedType { .. } | UnsupportedOpcode { .. } | UnknownVersion(_))
            ),
            other => panic!("{name}: undefined expectation {other}"),
        };
        assert!(
            right,
            "{name}: {} gives {:?}",
            fixture.expect(),
            reading.end
        );
        if let Err(error) = &reading.end {
            assert!(
                error.offset <= fixture.bytes.len() as u64,
                "{name}: {error}"
            );
        }
    }
}

/// What newer servers write is read up to what is not known of it.
#[test]
fn newer_versions_are_read_where_asked_for() {
    let mut read = 0;
    for fixture in fixture::rdbs() {
        let name = &fixture.name;
        let reading = read_newer(&fixture.bytes);
        match fixture.expect() {
            "unknown-version" => {
                // The checksum of some covers the version that they had before.
                let kind = reading.end.as_ref().map_err(|error| &error.kind);
                assert!(
                    matches!(kind, Ok(()) | Err(ErrorKind::Checksum { .. })),
                    "{name}: {kind:?}"
                );
                let found = Keyspace::of(&reading.events);
                let keys = fixture.json["keys"].as_array().unwrap();
                compare_keys(name, keys, found.keys);
                read += 1;
            }
            "unsupported" => {
                let error = reading.end.unwrap_err();
                assert!(
                    matches!(
                        error.kind,
                        ErrorKind::UnsupportedType { .. } | ErrorKind::UnsupportedOpcode { .. }
                    ),
                    "{name}: {error}"
                );
            }
            _ => {}
        }
    }
    assert!(read > 0);
}

fn read_newer(bytes: &[u8]) -> Reading {
    let parser = Parser::new(Limits::default()).with_newer_versions();
    fuzz::read_with(parser, [bytes], Altitude::Elements)
}

#[test]
fn truncated_files_say_so() {
    for name in [
        "magic-only",
        "no-eof",
        "cut-after-type",
        "module-unterminated",
        "str-len-511m",
    ] {
        let fixtures = fixture::rdbs();
        let fixture = fixtures
            .iter()
            .find(|fixture| fixture.name == format!("hostile/{name}"));
        let error = elements(fixture.expect(name)).end.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Truncated, "{name}");
        assert_eq!(error.offset, fixture.unwrap().bytes.len() as u64, "{name}");
    }
}

fn compare(fixture: &Fixture, reading: &Reading) {
    let (name, json) = (&fixture.name, &fixture.json);
    let found = Keyspace::of(&reading.events);
    let outline = &json["outline"];
    let same = |what: &str, found: Value| {
        if let Some(expected) = outline.get(what) {
            assert_eq!(*expected, found, "{name}: {what}");
        }
    };
    same("aux", json!(found.aux));
    same("types", json!(found.types));
    same("modules", json!(found.modules));
    same("idle_freq", json!(found.idle_freq));
    if let (Some("REDIS0013"), Some(metadata)) =
        (json["header"].as_str(), outline["opcodes"]["243"].as_u64())
    {
        assert_eq!(metadata, found.with_metadata, "{name}: keys with metadata");
    }
    same("trailing_bytes", json!(reading.rest.len()));
    if let Some(expected) = outline["module_aux"].as_array() {
        let names: Vec<_> = expected.iter().map(|aux| aux[0].clone()).collect();
        assert_eq!(json!(names), json!(found.module_aux), "{name}: module_aux");
    }
    if let Some(crc) = outline["crc"].as_str() {
        let End { crc: found } = end_of(&reading.events);
        assert_eq!(crc, found, "{name}: checksum");
    }
    if let Some(expected) = json["functions"].as_array() {
        let mut codes: Vec<_> = expected
            .iter()
            .map(|function| function["code"].as_str().unwrap())
            .collect();
        codes.sort();
        assert_eq!(codes, found.functions, "{name}: functions");
    }
    if let Some(expected) = json["keys"].as_array() {
        compare_keys(name, expected, found.keys);
    }
}

struct End {
    crc: &'static str,
}

fn end_of(events: &[Event]) -> End {
    use keyferry::rdb::Checksum::{Absent, Disabled, Verified};
    let crc = match events.last() {
        Some(Event::End(Verified)) => "ok",
        Some(Event::End(Disabled)) => "zero",
        Some(Event::End(Absent)) => "absent",
        other => panic!("ends with {other:?}"),
    };
    End { crc }
}

fn compare_keys(name: &str, expected: &[Value], mut found: BTreeMap<(u64, String), Found>) {
    for key in expected {
        let id = (
            key["db"].as_u64().unwrap(),
            key["key"].as_str().unwrap().to_owned(),
        );
        let Some(found) = found.remove(&id) else {
            panic!("{name}: {id:?} was not found");
        };
        assert_eq!(
            key["pexpireat"],
            json!(found.expire_at_ms),
            "{name}: expiry of {id:?}"
        );
        let (value, expected) = (
            comparable(&found, &key["value"]),
            expected_value(key, &found),
        );
        if let Some(difference) = difference(&expected, &value) {
            panic!("{name}: {id:?} of type {}: {difference}", found.value_type);
        }
    }
    let surplus: Vec<_> = found.keys().collect();
    assert!(surplus.is_empty(), "{name}: {surplus:?} are not expected");
}

/// Where two values first differ, and how.
fn difference(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let mut pairs = expected.iter().zip(found).enumerate();
            pairs.find_map(|(n, (expected, found))| {
                difference(expected, found).map(|difference| format!("[{n}]{difference}"))
            })
        }
        (Value::Object(expected), Value::Object(found)) => {
            let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
            names.into_iter().find_map(|name| {
                let sides = [expected, found].map(|side| side.get(name).unwrap_or(&Value::Null));
                let [expected, found] = sides;
                difference(expected, found).map(|difference| format!(".{name}{difference}"))
            })
        }
        _ if expected == found => None,
        _ => Some(format!(": expected {expected}, found {found}")),
    }
}

/// The expected value in the form of a found one.
fn expected_value(key: &Value, found: &Found) -> Value {
    let mut value = key["value"].clone();
    match key["type"].as_str().unwrap() {
        "zset" => {
            for member in value.as_array_mut().unwrap() {
                let bits = u64::from_str_radix(member[2].as_str().unwrap(), 16).unwrap();
                *member = json!([member[0], score_text(f64::from_bits(bits))]);
            }
            normal(found.value_type, value)
        }
        "set" | "hash" | "list" => normal(found.value_type, value),
        "module" => value["module"].clone(),
        "vectorset" => json!("vectorset"),
        "stream" => {
            let stream = value.as_object_mut().unwrap();
            stream.remove("recorded_first_id");
            if found.value_type < 26 {
                // Values that a newer server, asked for the content, makes up.
                stream.remove("idmp");
            }
            if found.value_type < 19 {
                stream.insert("max_deleted_id".to_owned(), Value::Null);
                stream.insert("entries_added".to_owned(), Value::Null);
            }
            for group in stream["groups"].as_array_mut().unwrap() {
                expected_group(group, found.value_type);
            }
            value
        }
        _ => value,
    }
}

fn expected_group(group: &mut Value, value_type: u8) {
    sort_pending(group);
    if value_type < 19 {
        group["entries_read"] = Value::Null;
    }
    for consumer in group["consumers"].as_array_mut().unwrap() {
        if value_type < 21 {
            consumer["active_time"] = json!(-1);
        }
    }
}

/// The found value without what the expectation does not know.
fn comparable(found: &Found, expected: &Value) -> Value {
    let mut value = found.value.clone();
    let Some(groups) = value.get_mut("groups").and_then(Value::as_array_mut) else {
        return value;
    };
    for (group, expected) in groups
        .iter_mut()
        .zip(expected["groups"].as_array().unwrap())
    {
        let mut expected = expected.clone();
        sort_pending(&mut expected);
        let pending = group["pending"].as_array_mut().unwrap();
        for (entry, expected) in pending
            .iter_mut()
            .zip(expected["pending"].as_array().unwrap())
        {
            if expected[2].is_null() {
                entry[2] = Value::Null;
            }
        }
        let consumers = group["consumers"].as_array_mut().unwrap();
        let expected = expected["consumers"].as_array().unwrap();
        for (consumer, expected) in consumers.iter_mut().zip(expected) {
            if expected["pending"].is_u64() {
                consumer["pending"] = json!(consumer["pending"].as_array().unwrap().len());
            }
            if expected.get("seen_time").is_none_or(Value::is_null) {
                consumer["seen_time"] = expected["seen_time"].clone();
            }
        }
    }
    value
}
