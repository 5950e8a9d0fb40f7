//! `rdb json`.

use std::{collections::BTreeMap, fs};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    fixture::{self, Fixture},
    run::{Directory, TINY, fixture_path, rdb, rdb_with_stdin},
    sha256,
};

/// The bytes of a byte string.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        value => {
            let bytes = STANDARD.decode(value["base64"].as_str().unwrap()).unwrap();
            assert!(std::str::from_utf8(&bytes).is_err(), "{value} is text");
            bytes
        }
    }
}

/// The form of the expectations: hex, or the digest of what is long.
fn encoded(bytes: &[u8]) -> Value {
    if bytes.len() > 512 {
        return json!(format!("sha256:{}:{}", sha256::hex(bytes), bytes.len()));
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!(hex)
}

fn hex(value: &Value) -> Value {
    encoded(&bytes(value))
}

/// Puts the parts of every key together, as the documentation says how.
fn keys(lines: &[Value]) -> Vec<Value> {
    let mut keys: Vec<Value> = Vec::new();
    let mut is_open = false;
    for line in lines {
        if line["kind"] == "member_expiry" {
            set_expiry(keys.last_mut().unwrap(), line);
        }
        if line["kind"] != "key" {
            continue;
        }
        if line["part"] == 0 {
            assert!(!is_open, "{line} begins within another key");
            keys.push(line.clone());
        } else {
            let key = keys.last_mut().unwrap();
            assert!(is_open, "{line} follows no part");
            for name in ["db", "key", "type"] {
                assert_eq!(key[name], line[name]);
            }
            let part = key["part"].as_u64().unwrap() + 1;
            assert_eq!(line["part"], part);
            key["part"] = json!(part);
            let value = key["value"].take();
            key["value"] = joined(value, line["value"].clone());
        }
        is_open = line["last"] == false;
    }
    assert!(!is_open, "the last key does not end");
    keys
}

/// Gives a field the expiry that follows its key.
fn set_expiry(key: &mut Value, line: &Value) {
    assert_eq!((&key["db"], &key["key"]), (&line["db"], &line["key"]));
    if key["type"] == "hash" {
        let fields = key["value"].as_array_mut().unwrap().iter_mut();
        let mut named = fields.filter(|field| field[0] == line["member"]);
        let field = named.next().unwrap().as_array_mut().unwrap();
        field.push(line["expire_at_ms"].clone());
    }
}

fn joined(value: Value, more: Value) -> Value {
    match (value, more) {
        (Value::Array(mut value), Value::Array(more)) => {
            for element in more {
                match value.last_mut() {
                    // A group or a consumer that goes on.
                    Some(last)
                        if element.get("name").is_some() && last["name"] == element["name"] =>
                    {
                        let before = last.take();
                        *last = joined(before, element);
                    }
                    _ => value.push(element),
                }
            }
            Value::Array(value)
        }
        (Value::Object(mut value), Value::Object(mut more)) if value.get("base64").is_none() => {
            for (name, more) in std::mem::take(&mut more) {
                let before = value.remove(&name);
                let both = match before {
                    None => more,
                    Some(before) if name == "name" => before,
                    Some(before) => joined(before, more),
                };
                value.insert(name, both);
            }
            Value::Object(value)
        }
        (value, more) => {
            let bytes = [bytes(&value), bytes(&more)].concat();
            match String::from_utf8(bytes) {
                Ok(text) => json!(text),
                Err(error) => json!({"base64": STANDARD.encode(error.into_bytes())}),
            }
        }
    }
}

/// A value in the form of the expectations.
fn value(key: &Value) -> Value {
    let array = |value: &Value| value.as_array().unwrap().clone();
    let mut elements: Vec<Value> = match key["type"].as_str().unwrap() {
        "string" | "json" => return hex(&key["value"]),
        "array" => {
            let elements = array(&key["value"]);
            let elements = elements.iter().map(|pair| json!([pair[0], hex(&pair[1])]));
            let elements: Vec<_> = elements.collect();
            return json!({"insert_cursor": key.get("insert_cursor"), "elements": elements});
        }
        "other" if key["value"]["script"].is_string() => return job(&key["value"]),
        "vectorset" => return json!("vectorset"),
        "module" => return key["module"].clone(),
        "stream" => return stream(&key["value"]),
        "list" => return array(&key["value"]).iter().map(hex).collect(),
        "set" => array(&key["value"])
            .iter()
            .map(|member| hex(member.get(0).unwrap_or(member)))
            .collect(),
        "zset" => array(&key["value"])
            .iter()
            .map(|pair| json!([hex(&pair[0]), score(&pair[1])]))
            .collect(),
        "hash" => array(&key["value"])
            .iter()
            .map(|field| json!([hex(&field[0]), hex(&field[1]), field.get(2)]))
            .collect(),
        other => panic!("type {other}"),
    };
    elements.sort_by_key(Value::to_string);
    elements.into()
}

fn job(job: &Value) -> Value {
    let list = |name: &str| -> Vec<Value> {
        let list = job[name].as_array().into_iter().flatten();
        list.map(hex).collect()
    };
    json!({
        "script": hex(&job["script"]), "start": job["start_at_ms"], "interval": job["interval_ms"],
        "keys": list("keys"), "args": list("arguments"),
    })
}

/// A score as the number it is; the sign of zero is no difference.
fn score(score: &Value) -> String {
    let score = match score {
        Value::String(text) => text.parse::<f64>().unwrap(),
        number => number.as_f64().unwrap(),
    };
    format!("{:?}", score + 0.0)
}

fn stream(value: &Value) -> Value {
    let entries = value["entries"].as_array().unwrap().iter().map(|entry| {
        let fields = entry[1].as_array().unwrap().iter();
        let fields: Vec<_> = fields
            .map(|pair| json!([hex(&pair[0]), hex(&pair[1])]))
            .collect();
        json!([entry[0], fields])
    });
    let groups = value["groups"].as_array().unwrap().iter().map(|group| {
        let consumers = group["consumers"].as_array().unwrap();
        let named = consumers.iter().map(|consumer| {
            let pending = consumer["pending"].as_array().unwrap();
            let ids: Vec<_> = pending.iter().map(|entry| entry[0].clone()).collect();
            json!([hex(&consumer["name"]), ids])
        });
        let mut named: Vec<_> = named.collect();
        named.sort_by_key(Value::to_string);
        json!([hex(&group["name"]), group["last_id"], named])
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(Value::to_string);
    let entries: Vec<_> = entries.collect();
    json!([entries, value["length"], value["last_id"], groups])
}

fn expected(key: &Value) -> Value {
    let value = &key["value"];
    let mut elements = match key["type"].as_str().unwrap() {
        "vectorset" => return json!("vectorset"),
        "module" => return value["module"].clone(),
        "set" | "hash" => value.as_array().unwrap().clone(),
        "zset" => {
            let members = value.as_array().unwrap().iter().map(|member| {
                let bits = u64::from_str_radix(member[2].as_str().unwrap(), 16).unwrap();
                json!([member[0], format!("{:?}", f64::from_bits(bits) + 0.0)])
            });
            members.collect()
        }
        "stream" => return expected_stream(value),
        _ => return value.clone(),
    };
    elements.sort_by_key(Value::to_string);
    elements.into()
}

fn expected_stream(value: &Value) -> Value {
    let groups = value["groups"].as_array().unwrap().iter().map(|group| {
        let consumers = group["consumers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|consumer| json!([consumer["name"], consumer["pending"]]));
        let mut consumers: Vec<_> = consumers.collect();
        consumers.sort_by_key(Value::to_string);
        json!([group["name"], group["last_id"], consumers])
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(Value::to_string);
    json!([value["entries"], value["length"], value["last_id"], groups])
}

/// Servers before 6.0 tell of a consumer how many entries are pending, not which.
fn with_counts(mut found: Value, expected: &Value) -> Value {
    let groups = found[3].as_array_mut().unwrap().iter_mut();
    for (group, expected) in groups.zip(expected[3].as_array().unwrap()) {
        let consumers = group[2].as_array_mut().unwrap().iter_mut();
        for (consumer, expected) in consumers.zip(expected[2].as_array().unwrap()) {
            if expected[1].is_u64() {
                consumer[1] = json!(consumer[1].as_array().unwrap().len());
            }
        }
    }
    found
}

fn compare(fixture: &Fixture, lines: &[Value]) {
    let name = &fixture.name;
    let Some(expected_keys) = fixture.json["keys"].as_array() else {
        return;
    };
    let found = keys(lines);
    // Servers leave out what has no elements.
    let found = found.iter().filter(|key| key["value"] != json!([]));
    let found: BTreeMap<_, _> = found
        .map(|key| {
            (
                (key["db"].as_u64().unwrap(), hex(&key["key"]).to_string()),
                key,
            )
        })
        .collect();
    assert_eq!(found.len(), expected_keys.len(), "{name}");
    for key in expected_keys {
        let id = (key["db"].as_u64().unwrap(), key["key"].to_string());
        let found = found
            .get(&id)
            .unwrap_or_else(|| panic!("{name}: no {id:?}"));
        let at = found.get("expire_at_ms").unwrap_or(&Value::Null);
        assert_eq!(key["pexpireat"], *at, "{name}: {id:?}");
        let expected = expected(key);
        let mut value = value(found);
        if found["type"] == "stream" {
            value = with_counts(value, &expected);
        }
        assert_eq!(value, expected, "{name}: {id:?}");
    }
    if let Some(functions) = fixture.json["functions"].as_array() {
        let lines = lines.iter().filter(|line| line["kind"] == "function");
        let found: Vec<_> = lines.map(|line| hex(&line["code"])).collect();
        assert_eq!(found.len(), functions.len(), "{name}");
        for function in functions {
            assert!(found.contains(&function["code"]), "{name}: {function}");
        }
    }
}

#[test]
fn every_fixture_is_written_as_it_is_whole_and_in_parts() {
    let mut written = 0;
    for fixture in fixture::rdbs() {
        if !matches!(fixture.expect(), "ok" | "module" | "duplicate-keys") {
            continue;
        }
        let shown = rdb_with_stdin(&["json", "-"], &fixture.bytes);
        let name = &fixture.name;
        shown.assert_code(0, name);
        let lines = shown.lines();
        let header = &lines[0];
        assert_eq!(
            (&header["kind"], &header["format"]),
            (&json!("header"), &json!(1))
        );
        let end = lines.last().unwrap();
        assert_eq!(end["kind"], "end", "{name}");
        assert_eq!(end["keys"], json!(keys(&lines).len()), "{name}");
        compare(&fixture, &lines);

        let parts = rdb_with_stdin(&["json", "-", "--chunk-bytes", "64"], &fixture.bytes);
        parts.assert_code(0, name);
        compare(&fixture, &parts.lines());
        written += 1;
    }
    assert!(written > 100, "only {written} fixtures");
}

#[test]
fn parts_are_about_as_long_as_was_asked_for() {
    let file = fixture_path("generated/redis-8.6/all.rdb");
    let lines = rdb(&["json", &file, "--chunk-bytes", "1kb"]).lines();
    let parts = lines
        .iter()
        .filter(|line| line["part"].as_u64() > Some(0))
        .count();
    assert!(parts > 50, "{parts} parts");
    for line in lines.iter().filter(|line| line["kind"] == "key") {
        let len = line["value"].to_string().len();
        let len_max = match line["type"].as_str().unwrap() {
            // One byte may be written as six.
            "string" | "module" => 6 * 1024 + 20,
            // The element that makes it too long belongs to it.
            "list" => 80_000,
            _ => 1024 + 5000,
        };
        let is_long = len > len_max;
        assert!(!is_long, "{len} bytes in a part of {}", line["key"]);
    }
}

#[test]
fn aux_fields_come_when_they_are_asked_for() {
    let file = fixture_path("generated/redis-8.6/module.rdb");
    let kinds = |args: &[&str]| -> Vec<String> {
        let lines = rdb(args).lines();
        let kinds = lines
            .iter()
            .map(|line| line["kind"].as_str().unwrap().to_owned());
        kinds.collect()
    };
    let plain = kinds(&["json", &file]);
    assert!(
        plain
            .iter()
            .all(|kind| ["header", "key", "end"].contains(&&**kind)),
        "{plain:?}"
    );
    let with_aux = kinds(&["json", &file, "--aux"]);
    for kind in ["aux", "db", "db_size", "module_aux"] {
        assert!(
            with_aux.iter().any(|found| found == kind),
            "{kind}: {with_aux:?}"
        );
    }
}

#[test]
fn lines_are_as_documented() {
    let shown = rdb_with_stdin(&["json", "-"], TINY);
    let expected = r#"{"kind":"header","format":1,"rdb":"REDIS","rdb_version":4}
{"kind":"key","db":0,"key":"a","type":"string","rdb_type":0,"encoding":"int","value":"1","part":0,"last":true}
{"kind":"key","db":0,"key":"b","type":"string","rdb_type":0,"expire_at_ms":4102444800000,"encoding":"embstr","value":{"base64":"//4="},"part":0,"last":true}
{"kind":"key","db":0,"key":"c1","type":"string","rdb_type":0,"encoding":"int","value":"333","part":0,"last":true}
{"kind":"key","db":1,"key":"l","type":"list","rdb_type":1,"encoding":"linkedlist","value":["x","yy"],"part":0,"last":true}
{"kind":"end","keys":4,"checksum":"absent"}
"#;
    assert_eq!(shown.stdout, expected);
}

/// The value of a module that lies across the end of a piece of input.
#[test]
fn parts_do_not_depend_on_how_the_input_is_cut() {
    let id = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x05";
    let items = b"\x05\x0aabcdefghij".repeat(100);
    let body = [&id[..], &items, b"\x00"].concat();
    for before in [262_100, 262_130, 262_144, 263_000] {
        let padding = [
            b"\x00\x01p\x80",
            &u32::to_be_bytes(before)[..],
            &vec![b'x'; before as usize],
        ];
        let file = [
            b"REDIS0004",
            &padding.concat()[..],
            b"\x07\x01m",
            &body,
            b"\xff",
        ]
        .concat();
        let shown = rdb_with_stdin(&["json", "-", "--key", "m"], &file);
        shown.assert_code(0, "json");
        let lines = shown.lines();
        assert_eq!(lines.len(), 3, "{before}");
        let module = &lines[1];
        assert_eq!(
            (&module["module"], &module["last"]),
            (&json!("vectorset"), &json!(true))
        );
        assert_eq!(bytes(&module["value"]), body, "{before}");
    }
}

#[test]
fn files_appear_whole_or_not_at_all() {
    let directory = Directory::new();
    let (input, output) = (directory.write("in", TINY), directory.path("out"));
    rdb(&["json", &input, "-o", &output]).assert_code(0, "written");
    let written = fs::read_to_string(&output).unwrap();
    assert_eq!(written, rdb(&["json", &input]).stdout);

    let again = rdb(&["json", &input, "-o", &output]);
    again.assert_code(2, "it exists");
    assert!(again.stderr.contains("--overwrite"), "{}", again.stderr);
    let cut = directory.write("cut", &TINY[..TINY.len() - 1]);
    rdb(&["json", &cut, "-o", &output, "--overwrite"]).assert_code(3, "cut");
    assert_eq!(fs::read_to_string(&output).unwrap(), written);
    let nowhere = directory.path("none/out");
    rdb(&["json", &input, "-o", &nowhere]).assert_code(5, "no directory");
    assert_eq!(directory.names().len(), 3, "{:?}", directory.names());
    rdb(&["json", &input, "--key", "l", "-o", &output, "--overwrite"]).assert_code(0, "replaced");
    assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), 3);
}
