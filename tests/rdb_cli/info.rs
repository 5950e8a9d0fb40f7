//! `rdb info`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    fixture,
    run::{TINY, fixture_path, rdb, rdb_with_stdin},
};

fn sum(list: &Value, field: &str) -> u64 {
    let list = list.as_array().unwrap().iter();
    list.map(|row| row[field].as_u64().unwrap()).sum()
}

#[test]
fn fixtures_are_counted_as_they_are() {
    for fixture in fixture::rdbs() {
        if !matches!(fixture.expect(), "ok" | "module") {
            continue;
        }
        let name = &fixture.name;
        let shown = rdb_with_stdin(&["info", "-", "--json"], &fixture.bytes);
        shown.assert_code(0, name);
        let info = shown.json();
        let outline = &fixture.json["outline"];
        let mut types: BTreeMap<String, u64> = BTreeMap::new();
        for row in info["encodings"].as_array().unwrap() {
            let keys = row["keys"].as_u64().unwrap();
            *types.entry(row["rdb_type"].to_string()).or_default() += keys;
        }
        if let Some(expected) = outline.get("types") {
            assert_eq!(*expected, json!(types), "{name}");
        }
        let modules = info["modules"].as_array().unwrap().iter();
        let modules = modules.map(|row| (row["module"].as_str().unwrap(), row["keys"].clone()));
        // Vector sets are a type of their own, not one of a module that is not known.
        let types = info["types"].as_array().unwrap().iter();
        let vector_sets = types.filter(|row| row["type"] == "vectorset");
        let vector_sets = vector_sets.map(|row| ("vectorset", row["keys"].clone()));
        let modules: BTreeMap<_, _> = modules.chain(vector_sets).collect();
        if let Some(expected) = outline.get("modules") {
            assert_eq!(*expected, json!(modules), "{name}");
        }
        let checksum = match outline["crc"].as_str() {
            Some("ok") => "verified",
            Some("zero") => "disabled",
            Some(_) => "absent",
            None => info["checksum"].as_str().unwrap(),
        };
        assert_eq!(info["checksum"], checksum, "{name}");
        for list in ["dbs", "types", "encodings"] {
            assert_eq!(
                sum(&info[list], "keys"),
                info["keys"].as_u64().unwrap(),
                "{name} {list}"
            );
        }
        assert_eq!(
            sum(&info["dbs"], "bytes"),
            sum(&info["types"], "bytes"),
            "{name}"
        );
        let behind = info["bytes_behind"].as_u64().unwrap();
        let trailing = outline["trailing_bytes"].as_u64();
        assert_eq!(trailing.unwrap_or(behind), behind, "{name}");
        let bytes = fixture.bytes.len() as u64 - behind;
        assert_eq!(info["bytes"], bytes, "{name}");
        expiries(name, &fixture.json, &info);
        encodings(name, &fixture.json, &info);
    }
}

/// Compares with the keys that were read from a server.
fn expiries(name: &str, json: &Value, info: &Value) {
    let Some(keys) = json["keys"].as_array() else {
        return;
    };
    if json.get("duplicates").is_some() {
        return;
    }
    let times: Vec<i64> = keys
        .iter()
        .filter_map(|key| key["pexpireat"].as_i64())
        .collect();
    let expiry = &info["expiry"];
    assert_eq!(expiry["keys"], json!(times.len()), "{name}");
    assert_eq!(expiry["earliest_ms"], json!(times.iter().min()), "{name}");
    assert_eq!(expiry["latest_ms"], json!(times.iter().max()), "{name}");
    let fields = keys.iter().filter(|key| key["type"] == "hash");
    let fields = fields.flat_map(|key| key["value"].as_array().unwrap());
    let fields = fields.filter(|field| field.get(2).is_some_and(Value::is_i64));
    // KeyDB's stand behind their keys, and members of sets have them too.
    if info["member_expiries"] == 0 {
        assert_eq!(expiry["fields"], json!(fields.count()), "{name}");
    }
}

/// Compares strings with what OBJECT ENCODING said, where the same server wrote and was asked.
fn encodings(name: &str, json: &Value, info: &Value) {
    let is_own = name.starts_with("generated/") && json["keys_from"] == "server";
    // Redis 2.8 and 3.0 have other limits.
    let others = ["redis-2.8", "redis-3.0"];
    if !is_own || others.iter().any(|other| name.contains(other)) {
        return;
    }
    for encoding in ["int", "embstr", "raw"] {
        let keys = json["keys"].as_array().unwrap().iter();
        let of_string = keys.filter(|key| key["type"] == "string");
        let expected = of_string.filter(|key| key["encoding"] == encoding).count() as u64;
        let rows = info["encodings"].as_array().unwrap().iter();
        let mut rows = rows.filter(|row| row["type"] == "string" && row["encoding"] == encoding);
        let found = rows.next().map_or(0, |row| row["keys"].as_u64().unwrap());
        // What APPEND and SETRANGE made stays raw until it is loaded.
        match encoding {
            "raw" => assert!(found <= expected, "{name}: {found} of {expected}"),
            _ => assert!(
                found >= expected,
                "{name} {encoding}: {found} of {expected}"
            ),
        }
    }
}

#[test]
fn the_writer_is_named() {
    for (file, server, version) in [
        ("generated/redis-8.6/empty", "Redis", "8.6.3"),
        ("generated/valkey-9.1/empty", "Valkey", "9.1.2"),
        ("generated/redis-3.2/empty", "Redis", "3.2.13"),
    ] {
        let file = fixture_path(&format!("{file}.rdb"));
        let info = rdb(&["info", &file, "--json"]).json();
        let writer = json!({"server": server, "version": version});
        assert_eq!(info["writer"], writer);
        assert!(
            info["created_at_ms"].as_i64() > Some(1_700_000_000_000),
            "{info}"
        );
    }
    let info = rdb_with_stdin(&["info", "-", "--json"], TINY).json();
    assert_eq!(
        (&info["writer"], &info["created_at_ms"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn the_largest_are_the_largest() {
    let top = |n: &str| {
        rdb_with_stdin(&["info", "-", "--json", "--top", n], TINY).json()["largest"].clone()
    };
    let all = top("10");
    let names: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["key"].clone())
        .collect();
    assert_eq!(names, ["l", "c1", "b", "a"]);
    let list = json!({"db": 1, "key": "l", "type": "list", "encoding": "linkedlist", "bytes": 6});
    assert_eq!(all[0], list);
    let two: Vec<_> = all.as_array().unwrap()[..2].to_vec();
    assert_eq!(top("2"), json!(two));
    assert_eq!(top("0"), json!([]));
}

#[test]
fn filters_count_what_they_select() {
    for (args, keys, not_selected) in [
        (&[][..], 4, 0),
        (&["--db", "0"], 3, 1),
        (&["--db", "0,1"], 4, 0),
        (&["--type", "list"], 1, 3),
        (&["--key", "c*"], 1, 3),
        (&["--key-regex", "^[ab]$"], 2, 2),
        (&["--not-key", "a"], 3, 1),
        (&["--ttl", "some"], 1, 3),
        (&["--ttl", "expired"], 0, 4),
        (&["--ttl-min", "1d"], 1, 3),
        (&["--size-max", "3"], 2, 2),
        (&["--size-min", "4", "--type", "string"], 1, 3),
    ] {
        let all = [&["info", "-", "--json"], args].concat();
        let info = rdb_with_stdin(&all, TINY).json();
        let found = (&info["keys"], &info["keys_not_selected"]);
        assert_eq!(found, (&json!(keys), &json!(not_selected)), "{args:?}");
    }
}

#[test]
fn the_text_shows_what_matters() {
    let file = fixture_path("generated/redis-8.6/all.rdb");
    let shown = rdb(&["info", &file, "--top", "1"]);
    shown.assert_code(0, "info");
    for line in [
        "RDB        REDIS version 13, written by Redis 8.6.3",
        "checksum   verified",
        "keys       181",
        "fields     252 expire, in 7 hashes",
        "type       encoding    rdb type  keys      bytes   share",
        "hash       listpackex        25     5      352 B   0.2 %",
        "20.66 KiB  list  quicklist  0   \"list:big\"",
        "lua     mylib  199 B",
    ] {
        assert!(
            shown.stdout.lines().any(|shown| shown == line),
            "{line}\n{}",
            shown.stdout
        );
    }
}

/// Strings and lists are called the same wherever they are shown.
#[test]
fn info_and_analyze_name_encodings_by_one_rule() {
    for fixture in fixture::rdbs() {
        let name = &fixture.name;
        if !name.starts_with("generated/") || fixture.expect() != "ok" {
            continue;
        }
        let counted = |verb: &str, list: &str| -> BTreeMap<(String, String), u64> {
            let args = [verb, "-", "--json", "--type", "string,list"];
            let shown = rdb_with_stdin(&args, &fixture.bytes).json();
            let mut counted = BTreeMap::new();
            for row in shown[list].as_array().unwrap() {
                let text = |field: &str| row[field].as_str().unwrap().to_owned();
                let key = (text("type"), text("encoding"));
                *counted.entry(key).or_default() += row["keys"].as_u64().unwrap();
            }
            // As servers before 3.2 wrote lists, which no server that is modelled keeps so.
            counted.retain(|(_, encoding), _| !matches!(&**encoding, "ziplist" | "linkedlist"));
            counted
        };
        let info = counted("info", "encodings");
        let mut analyzed = counted("analyze", "types");
        if !info.keys().any(|(of, _)| of == "list") {
            analyzed.retain(|(of, _), _| of != "list");
        }
        assert_eq!(info, analyzed, "{name}");
    }
}
