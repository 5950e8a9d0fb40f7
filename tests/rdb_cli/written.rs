//! `rdb convert` and `rdb commands`: what is kept, what is lost, and what is said about it.

use std::fs;

use serde_json::{Value, json};

use keyferry::{
    keyspace::Db,
    rdb::{
        Element, FieldExpiry, Key, Part, PlainEncoder, ServerVersion, ValueType, Writer, payload,
    },
};

use crate::run::{Directory, Shown, fixture_path, rdb};

const FAR_MS: i64 = 4_102_444_800_000;

fn text(text: &str) -> Element {
    Element::Bytes(text.to_owned().into())
}

fn field(name: &str, expire_at_ms: Option<i64>) -> Part {
    Part::HashField {
        field: text(name),
        value: text("v"),
        expire_at_ms,
    }
}

/// A file of a server with these values, each in a plain encoding.
fn file(server: &str, values: &[(String, Vec<Part>)]) -> Vec<u8> {
    let server: ServerVersion = server.parse().unwrap();
    let mut writer = Writer::new(server.header());
    writer.select_db(Db(0));
    for (key, parts) in values {
        let mut encoder = PlainEncoder::new(FieldExpiry::Redis);
        parts.iter().for_each(|part| encoder.push(part).unwrap());
        let (value_type, body) = encoder.finish().unwrap();
        let key = Key {
            key: key.clone().into(),
            value_type,
            expire_at_ms: None,
            idle_s: None,
            freq: None,
            has_metadata: false,
        };
        writer.key(&key, value_type);
        writer.body(&body);
    }
    writer.finish();
    writer.take()
}

fn convert(input: &str, to: &str, output: &str, args: &[&str]) -> Shown {
    let all = [
        "convert",
        input,
        "--to",
        to,
        "-o",
        output,
        "--overwrite",
        "--json",
    ];
    rdb(&[&all[..], args].concat())
}

/// The keys of a file as JSON.
fn keys(file: &str) -> Vec<Value> {
    let lines = rdb(&["json", file]).lines();
    let mut keys: Vec<_> = lines
        .into_iter()
        .filter(|line| line["kind"] == "key")
        .collect();
    keys.iter_mut().for_each(|key| {
        let key = key.as_object_mut().unwrap();
        for name in ["rdb_type", "encoding"] {
            key.remove(name);
        }
    });
    keys
}

/// Lines of the log.
fn warnings(shown: &Shown) -> Vec<&str> {
    let lines = shown.stderr.lines();
    lines.filter(|line| line.contains("WARN")).collect()
}

#[test]
fn a_key_that_loses_much_is_named_once_and_many_keys_are_not_all_named() {
    let directory = Directory::new();
    let hash = |n: u32| {
        let fields = (0..3).map(|of| field(&format!("f{of}"), Some(FAR_MS)));
        (format!("h{n:04}"), fields.collect())
    };
    let values: Vec<_> = (0..150).map(hash).collect();
    let input = directory.write("in", &file("redis-7.4", &values));
    let out = directory.path("out");
    let converted = convert(&input, "redis-7.2", &out, &["--on-lossy", "drop"]);
    let args = ["--target-version", "redis-7.2", "--on-lossy", "drop"];
    let told = rdb(&[
        &["commands", &input, "-o", &out, "--overwrite", "--json"],
        &args[..],
    ]
    .concat());
    for (shown, says) in [(&converted, "cannot hold"), (&told, "cannot be told")] {
        shown.assert_code(0, says);
        assert_eq!(
            shown.json()["losses"],
            json!({"field_expiry": 450}),
            "{says}"
        );
        let lines = warnings(shown);
        assert_eq!(lines.len(), 101, "{says}");
        for (n, line) in lines[..100].iter().enumerate() {
            let named = line.contains(&format!("\"h{n:04}\"")) && line.contains("count=3");
            assert!(named && line.contains(says), "{line}");
        }
        assert!(lines[100].contains("and 50 more keys"), "{}", lines[100]);
    }
}

#[test]
fn expiries_that_keydb_says_behind_a_hash_become_those_of_its_fields() {
    let directory = Directory::new();
    let input = fixture_path("synthetic/keydb-member-expiry.rdb");
    let out = directory.path("out");
    let expiring = json!([["f", "v", 4_102_444_800_001_i64]]);
    let plain = json!([["f", "v"]]);
    for (server, losses, expected) in [
        ("redis-8.0", json!({"member_expiry": 1}), &expiring),
        ("valkey-9.1", json!({"member_expiry": 1}), &expiring),
        ("redis-7.2", json!({"member_expiry": 2}), &plain),
    ] {
        let refused = convert(&input, server, &out, &[]);
        refused.assert_code(4, server);
        let shown = convert(&input, server, &out, &["--on-lossy", "drop"]);
        shown.assert_code(0, server);
        assert_eq!(shown.json()["losses"], losses, "{server}");
        let found = keys(&out);
        let hash = found.iter().find(|key| key["type"] == "hash").unwrap();
        assert_eq!(hash["value"], *expected, "{server}");
        assert_eq!(found.len(), 3, "{server}");

        let args = [
            "--target-version",
            server,
            "--on-lossy",
            "drop",
            "--format",
            "cli",
        ];
        let told = rdb(&[&["commands", &input][..], &args].concat());
        told.assert_code(0, server);
        let expire = "HPEXPIREAT h 4102444800001 FIELDS 1 f";
        let is_told = told.stdout.lines().any(|line| line == expire);
        assert_eq!(is_told, *expected == expiring, "{server}: {}", told.stdout);
    }
}

#[test]
fn members_that_expire_are_shown_and_looked_at() {
    let input = fixture_path("synthetic/keydb-member-expiry.rdb");
    assert_eq!(
        rdb(&["info", &input, "--json"]).json()["member_expiries"],
        2
    );
    let checked = rdb(&["check", &input, "--json"]).json();
    assert_eq!(
        (&checked["member_expiries"], &checked["remarks"]),
        (&json!(2), &json!([]))
    );
    assert!(rdb(&["check", &input]).stdout.contains("2 members expire"));
    let lines = rdb(&["json", &input]).lines();
    let expiries = lines.iter().filter(|line| line["kind"] == "member_expiry");
    assert_eq!(expiries.count(), 2);

    // With a time that no server writes.
    let directory = Directory::new();
    let mut bytes = fs::read(&input).unwrap();
    let at = bytes
        .windows(13)
        .position(|bytes| bytes == b"4102444800001")
        .unwrap();
    bytes[at..at + 13].copy_from_slice(b"-000000000001");
    let length = bytes.len();
    bytes[length - 8..].fill(0);
    let odd = rdb(&["check", &directory.write("odd", &bytes), "--json"]).json();
    let remark = &odd["remarks"][0];
    assert_eq!(
        (&remark["kind"], &remark["first"]["key"]),
        (&json!("expiry"), &json!("h"))
    );
}

#[test]
fn vector_sets_get_the_form_that_the_server_reads() {
    let directory = Directory::new();
    let input = fixture_path("generated/redis-8.6/all.rdb");
    let bodies = |server: &str| -> Vec<bytes::Bytes> {
        let path = directory.path(server);
        let args = [
            "--target-version",
            server,
            "--type",
            "vectorset",
            "--overwrite",
        ];
        rdb(&[&["commands", &input, "-o", &path], &args[..]].concat()).assert_code(0, server);
        let mut decoder = keyferry::resp::CommandDecoder::new(Default::default());
        decoder.feed(fs::read(&path).unwrap().into());
        let mut bodies = Vec::new();
        while let Some(decoded) = decoder.next().unwrap() {
            let args = decoded.command.into_args();
            if args[0] == "RESTORE" {
                bodies.push(payload::check(&args[3]).unwrap().body);
            }
        }
        bodies
    };
    let (own, older) = (bodies("redis-8.6"), bodies("redis-8.0"));
    assert!(!own.is_empty());
    let module = ValueType::common(7);
    let expected = own.iter().map(|body| {
        let limits = keyferry::rdb::Limits::default();
        let body = keyferry::rdb::convert(body.clone(), module, module, &limits);
        bytes::Bytes::from(body.unwrap().body)
    });
    assert!(own != older && older == expected.collect::<Vec<_>>());
}

#[test]
fn vector_sets_have_one_name_and_can_be_selected() {
    let directory = Directory::new();
    let (input, out) = (
        fixture_path("generated/redis-8.6/all.rdb"),
        directory.path("out"),
    );
    let of_type = ["--type", "vectorset"];
    let info = rdb(&[&["info", &input, "--json"], &of_type[..]].concat()).json();
    let count = info["keys"].as_u64().unwrap();
    assert!(count > 0);
    assert_eq!(info["types"][0]["type"], "vectorset");
    assert_eq!(info["encodings"][0]["type"], "vectorset");
    assert_eq!(info["modules"], json!([]));
    for key in rdb(&[&["json", &input], &of_type[..]].concat()).lines() {
        let is_key = key["kind"] == "key";
        assert!(!is_key || key["type"] == "vectorset", "{key}");
    }
    let report = rdb(&[&["analyze", &input, "--json"], &of_type[..]].concat()).json();
    assert_eq!(report["types"][0]["type"], "vectorset");
    let converted = convert(&input, "redis-8.0", &out, &of_type).json();
    assert_eq!(
        converted["keys"],
        json!({"vectorset": count, "total": count})
    );
    let lost = [&of_type[..], &["--on-lossy", "drop"]].concat();
    let converted = convert(&input, "redis-7.2", &out, &lost).json();
    assert_eq!(converted["losses"], json!({"vectorset": count}));
    let none = rdb(&["info", &input, "--json", "--type", "module"]).json();
    assert_eq!(none["keys"], 0);
}

#[test]
fn what_is_written_anew_is_compressed_as_servers_do_it() {
    let directory = Directory::new();
    let out = directory.path("out");
    for (name, to) in [
        ("generated/redis-7.2/all.rdb", "redis-6.2"),
        ("generated/redis-8.6/all.rdb", "redis-2.8"),
        ("generated/valkey-9.1/all.rdb", "redis-6.0"),
        ("generated/redis-7.0/all.rdb", "valkey-9.1"),
    ] {
        let input = fixture_path(name);
        let length = |path: &str| fs::metadata(path).unwrap().len();
        let sized = |args: &[&str]| {
            let args = [&["--on-lossy", "drop"], args].concat();
            convert(&input, to, &out, &args).assert_code(0, name);
            (length(&out), keys(&out))
        };
        let (raw, same) = sized(&["--no-compress"]);
        let (compressed, found) = sized(&[]);
        assert!(
            compressed < raw,
            "{name} for {to}: {compressed} of {raw} bytes"
        );
        assert!(found == same, "{name} for {to}");
        rdb(&["check", &out]).assert_code(0, name);
    }
}
