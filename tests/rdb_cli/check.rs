//! `rdb check`.

use serde_json::{Value, json};

use crate::{
    fixture,
    run::{Directory, TINY, fixture_path, rdb, rdb_with_stdin, small},
};

/// Checks these bytes; gives the exit code and the report, if there is one.
fn check(bytes: &[u8], args: &[&str]) -> (i32, Value) {
    let shown = rdb_with_stdin(&[&["check", "-", "--json"], args].concat(), bytes);
    let report = match shown.stdout.is_empty() {
        true => Value::Null,
        false => shown.json(),
    };
    (shown.code.unwrap(), report)
}

#[test]
fn fixtures_are_found_to_be_what_they_are() {
    for fixture in fixture::rdbs() {
        let name = &fixture.name;
        let (code, report) = check(&fixture.bytes, &[]);
        let kind = report["damage"]["kind"].as_str();
        match fixture.expect() {
            // An unknown version like any other: what follows it cannot be judged.
            _ if name == "hostile/version-0" => assert_eq!(code, 3, "{name}"),
            "ok" | "module" | "duplicate-keys" => {
                assert_eq!((code, kind), (0, None), "{name}: {report}");
                let outline = &fixture.json["outline"]["trailing_bytes"];
                assert!(
                    outline.is_null() || *outline == report["bytes_behind"],
                    "{name}"
                );
                let keys = fixture.json["keys"].as_array();
                // Servers leave out what has no elements, and have a repeated key once.
                let is_whole =
                    report["remarks"] == json!([]) && fixture.expect() != "duplicate-keys";
                if let (Some(keys), true) = (keys, is_whole) {
                    assert_eq!(report["keys"], json!(keys.len()), "{name}");
                }
            }
            "corrupt" | "truncated" => {
                assert_eq!(code, 1, "{name}: {report}");
                let kinds = ["corrupt", "truncated", "limit", "unsupported"];
                assert!(kinds.contains(&kind.unwrap()), "{name}: {report}");
                assert!(report["bytes"].as_u64().unwrap() <= fixture.bytes.len() as u64);
                assert_eq!(report["checksum"], Value::Null, "{name}");
            }
            "bad-checksum" => {
                assert_eq!((code, kind), (1, Some("checksum")), "{name}");
            }
            "unknown-version" | "not-rdb" => assert_eq!((code, report), (3, Value::Null), "{name}"),
            "unsupported" => assert!(code == 1 || code == 3, "{name}: {code}"),
            _ => assert!(code == 0 || code == 1, "{name}: {code}"),
        }
    }
}

#[test]
fn what_a_server_would_not_take_is_a_remark() {
    for (name, kind, count) in [
        ("hostile/stream-length-lies", "stream_length", 1),
        ("hostile/stream-pel-no-owner", "pending_unowned", 1),
        ("hostile/zset-dup", "duplicate_element", 1),
        ("hostile/resizedb-huge", "db_size", 1),
        ("collected/keydb/corrupt_empty_keys", "empty_key", 8),
        ("collected/upstash-rdb/expiretime-sec", "expiry", 1),
    ] {
        let file = fixture_path(&format!("{name}.rdb"));
        let shown = rdb(&["check", &file, "--json"]);
        shown.assert_code(0, name);
        let report = shown.json();
        assert_eq!(report["result"], "remarks", "{name}");
        assert_eq!(
            report["remarks"].as_array().unwrap().len(),
            1,
            "{name}: {report}"
        );
        let remark = &report["remarks"][0];
        assert_eq!(
            (&remark["kind"], &remark["count"]),
            (&json!(kind), &json!(count)),
            "{name}"
        );
        assert_eq!(remark["first"].is_null(), kind == "db_size", "{name}");
        rdb(&["check", &file, "--strict"]).assert_code(1, name);
        let text = rdb(&["check", &file]);
        text.assert_code(0, name);
        assert!(text.stdout.contains(kind), "{name}: {}", text.stdout);
    }
}

/// Records of version 4, which has no checksum.
fn records(records: &[u8]) -> Vec<u8> {
    [b"REDIS0004", records, b"\xff"].concat()
}

#[test]
fn what_is_odd_in_a_value_is_found() {
    let far = b"\xfc\x00\x00\xc1\x6f\xf2\x86\x23\x01";
    for (name, bytes, args, kinds) in [
        (
            "plain",
            records(b"\x02\x01s\x02\x01a\x01b"),
            &[][..],
            &[][..],
        ),
        (
            "member twice",
            records(b"\x02\x01s\x03\x01a\x01b\x01a"),
            &[],
            &["duplicate_element"],
        ),
        (
            "an integer twice",
            records(b"\x02\x01s\x02\xc0\x05\x015"),
            &[],
            &["duplicate_element"],
        ),
        (
            "field twice",
            records(b"\x04\x01h\x02\x01a\x01b\x01a\x01c"),
            &[],
            &["duplicate_element"],
        ),
        (
            "no repetition",
            records(b"\x01\x01l\x02\x01a\x01a"),
            &[],
            &[],
        ),
        (
            "an intset out of order",
            records(b"\x0b\x01s\x0c\x02\0\0\0\x02\0\0\0\x02\0\x01\0"),
            &[],
            &["unordered"],
        ),
        ("empty", records(b"\x02\x01s\x00"), &[], &["empty_key"]),
        ("empty string", records(b"\x00\x01s\x00"), &[], &[]),
        (
            "expires far",
            records(&[far, &b"\x00\x01s\x00"[..]].concat()),
            &[],
            &["expiry"],
        ),
        (
            "key twice",
            records(b"\x00\x01s\x00\x00\x01s\x01a"),
            &["--duplicate-keys"],
            &["duplicate_key"],
        ),
        (
            "not looked for",
            records(b"\x00\x01s\x00\x00\x01s\x01a"),
            &[],
            &[],
        ),
        (
            "in two dbs",
            records(b"\x00\x01s\x00\xfe\x01\x00\x01s\x00"),
            &["--duplicate-keys"],
            &[],
        ),
        (
            "hints",
            records(b"\xfb\x02\x00\x00\x01s\x00"),
            &[],
            &["db_size"],
        ),
        (
            "right hints",
            records(b"\xfb\x01\x00\x00\x01s\x00"),
            &[],
            &[],
        ),
        (
            "hints and filters",
            records(b"\xfb\x02\x00\x00\x01s\x00"),
            &["--key", "s"],
            &[],
        ),
        (
            "bytes behind",
            [records(b"\x00\x01s\x00"), b"more".to_vec()].concat(),
            &[],
            &["bytes_behind"],
        ),
        (
            "commands behind",
            [
                records(b"\xfa\x0caof-preamble\xc0\x01\x00\x01s\x00"),
                b"*1\r\n".to_vec(),
            ]
            .concat(),
            &[],
            &[],
        ),
    ] {
        let (code, report) = check(&bytes, args);
        let remarks = report["remarks"].as_array().unwrap();
        let found: Vec<_> = remarks
            .iter()
            .map(|remark| remark["kind"].as_str().unwrap())
            .collect();
        assert_eq!((code, &*found), (0, kinds), "{name}: {report}");
    }
}

#[test]
fn a_file_cut_anywhere_is_damaged_where_it_ends() {
    let file = small();
    let whole = check(&file, &[]).1;
    assert_eq!(whole["result"], "ok");
    let keys = whole["keys"].as_u64().unwrap();
    let mut keys_before = 0;
    for cut in (0..file.len()).step_by(3) {
        let (code, report) = check(&file[..cut], &[]);
        let damage = &report["damage"];
        assert_eq!((code, &damage["kind"]), (1, &json!("truncated")), "{cut}");
        assert_eq!(damage["offset"], json!(cut));
        let found = report["keys"].as_u64().unwrap();
        assert!(keys_before <= found && found <= keys, "{cut}: {found}");
        assert_eq!(report["last_key"].is_null(), found == 0, "{cut}");
        keys_before = found;
    }
    assert_eq!(keys_before, keys);
}

#[test]
fn a_byte_changed_anywhere_is_noticed() {
    let file = small();
    for at in (0..file.len()).step_by(3) {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        let (code, report) = check(&changed, &[]);
        // The magic and the version say that it is no RDB, or one that is not known.
        let expected: &[i32] = if at < 9 { &[1, 3] } else { &[1] };
        assert!(expected.contains(&code), "byte {at}: {code} {report}");
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let file = records(b"\xfe\x02\x00\x01a\x011\x10\x01h\x02zz");
    let (code, report) = check(&file, &[]);
    assert_eq!(code, 1);
    assert_eq!(report["last_key"], json!({"db": 2, "key": "a"}));
    let damage = json!({
        "what": "corrupt: a listpack is shorter than its header", "offset": 22, "db": 2,
        "key": "h", "byte": 16, "kind": "corrupt",
    });
    assert_eq!(report["damage"], damage);
    let text = rdb_with_stdin(&["check", "-"], &file);
    text.assert_code(1, "damaged");
    for line in [
        "standard input: DAMAGED at offset 22",
        "  damage     corrupt: a listpack is shorter than its header",
        "  where      offset 22, db 2, key \"h\", type or opcode 16",
        "  keys       1 could be read, in 19 bytes",
        "  last key   db 2, key \"a\"",
    ] {
        assert!(
            text.stdout.lines().any(|shown| shown == line),
            "{line}\n{}",
            text.stdout
        );
    }
    assert_eq!(text.stderr, "");
}

#[test]
fn several_files_are_checked_and_the_worst_decides() {
    let directory = Directory::new();
    let good = directory.write("good", TINY);
    let cut = directory.write("cut", &TINY[..20]);
    let other = directory.write("other", b"*1\r\n$4\r\nPING\r\n");
    let missing = directory.path("missing");
    for (name, files, code, reports) in [
        ("good", &[&good, &good][..], 0, 2),
        ("damaged", &[&cut, &good], 1, 2),
        ("no RDB", &[&other, &cut, &good], 3, 2),
        ("missing", &[&good, &missing], 3, 1),
        ("only missing", &[&missing], 3, 0),
    ] {
        let args: Vec<&str> = ["check", "--json"]
            .into_iter()
            .chain(files.iter().map(|file| &***file))
            .collect();
        let shown = rdb(&args);
        shown.assert_code(code, name);
        assert_eq!(shown.lines().len(), reports, "{name}");
        assert_eq!(
            shown.stderr.contains("next:"),
            code == 3,
            "{name}: {}",
            shown.stderr
        );
    }
}
