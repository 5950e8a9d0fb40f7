//! RDB files that servers saved, restored into servers of every version.

use std::{
    fs,
    io::Write,
    path::Path,
    process::ChildStdin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::support::{
    client::{Client, bytes, items, number, text},
    dataset::{DBS, Dataset},
    keyferry::{Finished, Keyferry},
    oracle::Oracle,
    random::Random,
    server::{Server, wait_for},
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);

/// Runs `keyferry rdb restore` of a file to its end.
fn restore(file: &Path, target: &Server, args: &[&str]) -> Finished {
    let (file, target) = (file.to_str().unwrap(), target.url());
    let mut all = vec!["rdb", "restore", file, "--target", &target, "--json"];
    all.extend(args);
    Keyferry::run(&all, SOON)
}

fn dataset() -> Dataset {
    Dataset {
        small_keys: 300,
        big_string_bytes: 3 << 20,
        ..Dataset::seeded(Random::seed_of_this_run())
    }
}

/// A server with the data set, whose keys do not expire soon.
fn filled(name: &str) -> Server {
    let server = Server::start(name);
    let lasting = Dataset {
        expiring: false,
        ..dataset()
    };
    lasting.load(&server);
    server
}

/// Whether nothing under the program's own names is on the server.
fn assert_no_staging(server: &Server) {
    let mut client = server.client();
    for db in DBS {
        client.select(db);
        let found = client.run(command!["KEYS", "__keyferry:*"]);
        assert!(items(&found).is_empty(), "db {db}: {found:?}");
    }
}

/// Restores what one version saved into others.
fn into(source: &str, targets: &[&str]) {
    let here = Version::available();
    let source = Version::named(source);
    for target in targets.iter().map(|name| Version::named(name)) {
        if !here.contains(&source) || !here.contains(&target) {
            continue;
        }
        eprintln!("--- {source} to {target}");
        let [source, target] = [source, target].map(|version| Server::of(version).start());
        dataset().for_target(target.version()).load(&source);
        let file = source.save();
        let finished = restore(&file, &target, &["--lanes", "3"]);
        finished.assert_code(0);
        Oracle::between(&source, &target).assert_equal(&source, &target);
        let summary = finished.json();
        assert_eq!(summary["result"], "complete");
        assert_eq!(summary["mode"], "restore");
        assert_eq!(summary["source"], file.to_str().unwrap());
        assert_eq!(
            summary["snapshot_bytes"],
            fs::metadata(&file).unwrap().len()
        );
        assert_eq!(summary["replid"], serde_json::Value::Null);
        assert_no_staging(&target);
    }
}

#[test]
fn files_of_redis_6_0() {
    into("redis-6.0", &["redis-6.0", "valkey-9.1"]);
}

#[test]
fn files_of_redis_6_2() {
    into("redis-6.2", &["redis-6.2", "redis-8.0"]);
}

#[test]
fn files_of_redis_7_0() {
    into("redis-7.0", &["redis-7.0", "redis-6.2"]);
}

#[test]
fn files_of_redis_8_0() {
    into("redis-8.0", &["redis-8.0", "valkey-8.1"]);
}

#[test]
fn files_of_redis_8_6() {
    into("redis-8.6", &["redis-8.6", "redis-6.0"]);
}

#[test]
fn files_of_valkey_8_1() {
    into("valkey-8.1", &["valkey-8.1", "redis-7.0"]);
}

#[test]
fn files_of_valkey_9_1() {
    into("valkey-9.1", &["valkey-9.1", "redis-8.6"]);
}

#[test]
fn keys_that_exist_are_refused_replaced_or_left_alone() {
    let source = Server::start("redis-7.0");
    let mut client = source.client();
    client.pipeline(&[
        command!["SET", "string", "new"],
        command!["RPUSH", "list", "a", "b"],
        command!["SET", "large", "x".repeat(5 << 20)],
        command!["SET", "free", "1"],
    ]);
    let file = source.save();
    let occupied = || {
        let target = Server::start("redis-8.0");
        let theirs = ["string", "list", "large"];
        let theirs = theirs.map(|key| command!["HSET", key, "whose", "theirs"]);
        target.client().pipeline(&theirs);
        target
    };
    let is_theirs = |client: &mut Client, key: &str| {
        let whose = client.try_run(&command!["HGET", key, "whose"]);
        whose.is_ok_and(|whose| bytes(&whose) == b"theirs")
    };

    let target = occupied();
    let refused = restore(&file, &target, &[]);
    refused.assert_code(2);
    assert!(refused.stderr.contains("is not empty: it has 3 keys"));
    assert_eq!(target.keys(), 3);

    let skipped = restore(&file, &target, &["--on-conflict", "skip"]);
    skipped.assert_code(0);
    let summary = skipped.json();
    assert_eq!(summary["skipped"]["conflict"], 3);
    assert_eq!(summary["keys"]["total"], 1);
    let mut client = target.client();
    for key in ["string", "list", "large"] {
        assert!(is_theirs(&mut client, key), "{key}");
    }

    let failed = restore(&file, &target, &["--on-conflict", "fail"]);
    failed.assert_code(4);
    assert_eq!(failed.json()["error"]["side"], "target");

    let replaced = restore(&file, &target, &["--on-conflict", "replace"]);
    replaced.assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);

    let target = occupied();
    target.client().run(command!["SET", "mine", "1"]);
    let unconfirmed = restore(&file, &target, &["--flush-target"]);
    unconfirmed.assert_code(2);
    assert_eq!(target.keys(), 4);
    let flushed = restore(&file, &target, &["--flush-target", "--yes"]);
    flushed.assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn nothing_is_flushed_for_a_file_that_is_no_rdb() {
    let target = Server::start("redis-7.0");
    target.client().run(command!["SET", "mine", "1"]);
    for file in ["Cargo.toml", "/nowhere/dump.rdb"] {
        let finished = restore(Path::new(file), &target, &["--flush-target", "--yes"]);
        finished.assert_code(3);
        assert_eq!(finished.json()["error"]["side"], "source");
        assert!(finished.stderr.contains(file), "{}", finished.stderr);
        assert_eq!(target.keys(), 1, "{file}");
    }
}

/// Deletes the keys that `selects` says no to.
fn keep(server: &Server, selects: impl Fn(u32, &str, &str) -> bool) {
    let mut client = server.client();
    for db in DBS {
        client.select(db);
        let keys = items(&client.run(command!["KEYS", "*"])).to_vec();
        let types: Vec<_> = keys
            .iter()
            .map(|key| command!["TYPE", bytes(key)])
            .collect();
        let types = client.pipeline(&types);
        let unwanted = keys
            .iter()
            .zip(&types)
            .filter(|(key, value_type)| !selects(db, &text(key), &text(value_type)));
        let delete: Vec<_> = unwanted
            .map(|(key, _)| command!["DEL", bytes(key)])
            .collect();
        client.pipeline(&delete);
    }
}

#[test]
fn only_the_keys_that_are_selected_arrive() {
    type Selects = fn(u32, &str, &str) -> bool;
    let source = filled("redis-7.0");
    let file = source.save();
    let all = source.keys();
    let rows: [(&[&str], bool, Selects); 3] = [
        // From many keys to few, so that one source serves all rows.
        (
            &["--not-key", "small:*", "--db", "0,9", "--functions"],
            true,
            |db, key, _| !key.starts_with("small:") && db != 1,
        ),
        (
            &["--type", "list,zset,stream", "--db", "0", "--db", "9"],
            false,
            |db, _, value_type| db != 1 && ["list", "zset", "stream"].contains(&value_type),
        ),
        (
            &[
                "--key-regex",
                "^(stream|list):m",
                "--key",
                "list:600",
                "--db",
                "9",
            ],
            false,
            |db, key, _| {
                let named = key.starts_with("stream:m") || key.starts_with("list:m");
                db == 9 && (named || key == "list:600")
            },
        ),
    ];
    for (args, functions, selects) in rows {
        let target = Server::start("redis-7.0");
        let finished = restore(&file, &target, args);
        finished.assert_code(0);
        keep(&source, selects);
        if !functions {
            source.client().run(command!["FUNCTION", "FLUSH"]);
        }
        assert!(source.keys() > 0, "{args:?} selects something");
        Oracle::between(&source, &target).assert_equal(&source, &target);
        let summary = finished.json();
        assert_eq!(
            summary["skipped"]["not_selected"],
            all - source.keys(),
            "{args:?}"
        );
        assert_eq!(summary["keys"]["total"], source.keys(), "{args:?}");
        assert_eq!(summary["keys_read"], all, "{args:?}");
    }
}

#[test]
fn a_file_that_is_cut_says_where_and_what_is_there() {
    let source = filled("redis-7.0");
    // Whatever expires while this is looked at would count as missing.
    let delete =
        "for _, key in ipairs(redis.call('KEYS','ttl:soon*')) do redis.call('DEL', key) end";
    let mut client = source.client();
    for db in 0..16 {
        client.select(db);
        client.run(command!["EVAL", delete, "0"]);
    }
    let file = source.save();
    let whole = fs::read(&file).unwrap();
    // The first cut may lie anywhere, also where the name of the next key is not there yet; the second
    // one lies in a value that is staged, in the last db.
    let big = whole.windows(10).rposition(|name| name == b"string:big");
    for (cut, place) in [
        (whole.len() / 3, "RDB at offset"),
        (big.unwrap() + (2 << 20), ", key \"string:big\""),
    ] {
        let cut_file = file.with_file_name("cut.rdb");
        fs::write(&cut_file, &whole[..cut]).unwrap();
        let target = Server::start("redis-8.0");
        let finished = restore(&cut_file, &target, &[]);
        finished.assert_code(3);
        let summary = finished.json();
        assert_eq!(summary["error"]["side"], "source");
        assert_eq!(
            summary["keys"]["total"],
            target.keys(),
            "what was confirmed is there"
        );
        assert!(target.keys() > 0);
        assert_no_staging(&target);
        let there = format!("{} keys that stand before that", target.keys());
        for said in [place, &there, "--on-conflict"] {
            assert!(
                finished.stderr.contains(said),
                "{said}\n{}",
                finished.stderr
            );
        }
        // How to go on: with the whole file, leaving alone what is there.
        let finished = restore(&file, &target, &["--on-conflict", "skip"]);
        finished.assert_code(0);
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

#[test]
fn a_signal_stops_between_two_keys_with_everything_confirmed() {
    let source = filled("redis-7.0");
    let whole = fs::read(source.save()).unwrap();
    let target = Server::start("redis-7.0");
    let url = target.url();
    let args = ["rdb", "restore", "-", "--target", &url, "--json"];
    let (keyferry, mut stdin) = Keyferry::start_fed(&args);
    stdin.write_all(&whole[..whole.len() / 2]).unwrap();
    stdin.flush().unwrap();
    wait_for("the first keys", SOON, || target.keys() > 0);
    keyferry.signal("TERM");
    let finished = keyferry.wait(SOON);
    finished.assert_code(5);
    let summary = finished.json();
    assert_eq!(summary["result"], "failed");
    assert_eq!(summary["error"]["side"], "local");
    assert_eq!(summary["keys"]["total"], target.keys());
    let there = format!(
        "stopped before the end of standard input: {} of its keys are on the target",
        target.keys()
    );
    assert!(finished.stderr.contains(&there), "{}", finished.stderr);
    assert_no_staging(&target);
    drop(stdin);
}

#[test]
fn a_target_that_is_full_is_waited_for_and_then_named() {
    let source = filled("redis-7.0");
    let file = source.save();
    let target = Server::of(Version::named("redis-8.0"))
        .config("maxmemory 12mb")
        .config("maxmemory-policy noeviction")
        .start();
    let finished = restore(&file, &target, &["--retry-for", "300ms"]);
    finished.assert_code(4);
    let summary = finished.json();
    assert_eq!(summary["error"]["side"], "target");
    assert!(finished.stderr.contains("OOM"), "{}", finished.stderr);
    let confirmed = summary["keys"]["total"].as_u64().unwrap();
    assert!(confirmed <= target.keys(), "{confirmed}");
    // With room again the run goes on where it was waiting.
    let file = file.to_str().unwrap();
    let url = target.url();
    let args = [
        "rdb",
        "restore",
        file,
        "--target",
        &url,
        "--on-conflict",
        "replace",
    ];
    let mut keyferry = Keyferry::start(&args, &[]);
    keyferry.wait_for_stderr("waiting because", SOON);
    let grow = command!["CONFIG", "SET", "maxmemory", "0"];
    target.client().run(grow);
    keyferry.wait(SOON).assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn what_has_expired_is_left_out_or_kept_without_its_expiry() {
    let source = Server::start("redis-8.0");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = since.as_millis() as u64 + 1_500;
    let mut client = source.client();
    client.pipeline(&[
        command!["SET", "string", "v", "PXAT", at],
        command!["RPUSH", "list", "a"],
        command!["PEXPIREAT", "list", at],
        command!["HSET", "hash", "gone", "1", "stays", "2"],
        command!["HPEXPIREAT", "hash", at, "FIELDS", 1, "gone"],
        command!["SET", "lasting", "v", "PX", 3_600_000],
    ]);
    let file = source.save();
    wait_for("the expiries", SOON, || {
        let now = items(&client.run(command!["TIME"])).to_vec();
        text(&now[0]).parse::<u64>().unwrap() * 1000 > at
    });
    for target in ["redis-8.0", "redis-7.0"] {
        let target = Server::start(target);
        let lossy = ["--on-lossy", "drop"];
        let finished = restore(&file, &target, &lossy);
        finished.assert_code(0);
        let summary = finished.json();
        assert_eq!(
            summary["skipped"]["lossy"], 0,
            "what has expired is no loss"
        );
        assert_eq!(summary["keys"]["total"], 2);
        let mut client = target.client();
        assert_eq!(target.keys(), 2);
        let fields = client.run(command!["HGETALL", "hash"]);
        assert_eq!(items(&fields).len(), 2, "{fields:?}");

        let flags = ["--keep-expired", "--on-conflict", "replace"];
        let finished = restore(&file, &target, &flags);
        finished.assert_code(0);
        assert_eq!(finished.json()["skipped"]["expired"], 0);
        assert_eq!(target.keys(), 4);
        for (key, lasting) in [("string", true), ("list", true), ("lasting", false)] {
            let ttl = client.run(command!["PTTL", key]);
            assert_eq!(ttl == redis::Value::Int(-1), lasting, "{key}: {ttl:?}");
        }
        let fields = client.run(command!["HGETALL", "hash"]);
        assert_eq!(items(&fields).len(), 4, "{fields:?}");
    }
}

#[test]
fn a_live_source_is_restored_from_unless_it_is_the_target() {
    let source = filled("valkey-8.1");
    let target = Server::start("redis-8.0");
    let (from, to) = (source.url(), target.url());
    let run = |from: &str, to: &str, args: &[&str]| {
        let mut all = vec!["rdb", "restore", "--source", from, "--target", to, "--json"];
        all.extend(args);
        Keyferry::run(&all, SOON)
    };
    let itself = format!("redis://localhost:{}", source.port());
    for (to, said) in [(&from, "the same server"), (&itself, "the same server")] {
        let keys = source.keys();
        let finished = run(&from, to, &["--flush-target", "--yes"]);
        finished.assert_code(2);
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
        assert_eq!(source.keys(), keys);
    }
    let finished = run(&from, &to, &["--not-key", "small:*", "--functions"]);
    finished.assert_code(0);
    assert_eq!(finished.json()["source"], source.address());
    keep(&source, |_, key, _| !key.starts_with("small:"));
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

/// A file that holds these bytes.
fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_body_that_would_end_the_target_never_reaches_it() {
    let target = Server::start("redis-8.6");
    for name in ["hash-ttl-negative", "hash-ttl-not-triples"] {
        let file = format!("tests/fixtures/rdb/hostile/{name}.rdb");
        let finished = restore(Path::new(&file), &target, &[]);
        finished.assert_code(3);
        assert!(finished.stderr.contains("key \""), "{}", finished.stderr);
        assert_eq!(target.keys(), 0, "{name}");
    }
}

#[test]
fn a_value_without_elements_is_left_out_by_every_target() {
    let hash = b"REDIS0011\x04\x01k\0\0\x01o\x01\x6f\xff\0\0\0\0\0\0\0\0";
    let list = b"REDIS0011\x12\x01k\x01\x02\x07\x07\0\0\0\0\0\xff\xff\0\0\0\0\0\0\0\0";
    for name in ["redis-6.0", "redis-8.6", "valkey-9.1"] {
        for (file, keys) in [(&hash[..], 1), (&list[..], 0)] {
            let target = Server::start(name);
            let finished = restore(file_of(file).path(), &target, &[]);
            finished.assert_code(0);
            assert_eq!(finished.json()["skipped"]["empty"], 1, "{name}");
            assert_eq!(target.keys(), keys, "{name}");
            assert_no_staging(&target);
        }
    }
}

#[test]
fn fields_that_expire_beyond_the_range_of_the_target_are_kept() {
    // Type 22 of Valkey: h, with a field a that expires in the year 37648.
    let file = b"VALKEY080\x16\x01h\x01\x01a\x011\0\0\0\0\0\0\x04\0\xff\0\0\0\0\0\0\0\0";
    for args in [&[][..], &["--restore-bytes-max", "1kb"]] {
        let target = Server::start("redis-8.6");
        restore(file_of(file).path(), &target, args).assert_code(0);
        let mut client = target.client();
        let expires = client.run(command!["HPEXPIRETIME", "h", "FIELDS", "1", "a"]);
        assert_eq!(number(&items(&expires)[0]), (1 << 46) - 1);
    }
}

#[test]
fn a_hash_whose_fields_have_all_expired_counts_once() {
    let redis = b"REDIS0012\x18\x01h\xe8\x03\0\0\0\0\0\0\x02\x01\x01a\x011\x02\x01b\x011\xff\0\0\0\0\0\0\0\0";
    let valkey = b"VALKEY080\x16\x01h\x01\x01a\x011\xe8\x03\0\0\0\0\0\0\xff\0\0\0\0\0\0\0\0";
    for file in [&redis[..], valkey] {
        for name in ["redis-8.6", "valkey-9.1"] {
            let target = Server::start(name);
            let finished = restore(file_of(file).path(), &target, &[]);
            finished.assert_code(0);
            let summary = finished.json();
            assert_eq!(summary["skipped"]["expired"], 1, "{summary}");
            assert_eq!(summary["keys"]["total"], 0, "{summary}");
            assert_eq!(target.keys(), 0);
        }
    }
}

/// A file of one hash of Redis 7.4 with `fields` fields of 500 bytes, which expire when it says.
fn large_hash(fields: usize, expire_at_ms: impl Fn(usize) -> Option<i64>) -> Vec<u8> {
    let mut file = b"REDIS0012\x18\x01h".to_vec();
    let least_ms = (0..fields).filter_map(&expire_at_ms).min().unwrap();
    file.extend_from_slice(&least_ms.to_le_bytes());
    file.push(0x80);
    file.extend_from_slice(&(fields as u32).to_be_bytes());
    for n in 0..fields {
        // Zero is none, so the distance from the least one counts from one.
        let distance = expire_at_ms(n).map_or(0, |at| at - least_ms + 1);
        file.push(0x81);
        file.extend_from_slice(&distance.to_be_bytes());
        file.push(6);
        file.extend_from_slice(format!("{n:06}").as_bytes());
        file.extend_from_slice(b"\x41\xf4");
        file.extend_from_slice(&[b'x'; 500]);
    }
    file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    file
}

/// The field that the target cannot hold is the last one, so parts of the value are there by then.
#[test]
fn a_restore_that_fails_leaves_no_part_of_a_value() {
    let file = large_hash(4000, |n| (n == 3999).then_some(4_102_444_800_000));
    let target = Server::start("redis-6.2");
    let (mut keyferry, mut stdin) = restore_fed(&target, &["--restore-bytes-max", "1kb"]);
    let (first, rest) = file.split_at(file.len() / 2);
    stdin.write_all(first).unwrap();
    wait_for("a part", SOON, || staged(&target) == 1);
    assert!(keyferry.running());
    stdin.write_all(rest).unwrap();
    drop(stdin);
    let finished = keyferry.wait(SOON);
    finished.assert_code(4);
    assert!(finished.stderr.contains("the expiry of a hash field"));
    assert_no_staging(&target);
    assert_eq!(target.keys(), 0);
}

/// What KeyDB says behind a hash becomes an expiry of its field, in every way of writing, and never
/// touches a key that the target keeps.
#[test]
fn expiries_of_keydbs_fields_are_kept_where_the_target_has_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb");
    let file = root.join("synthetic/keydb-member-expiry.rdb");
    let expiry = |target: &Server| {
        let at = command!["HPEXPIRETIME", "h", "FIELDS", 1, "f"];
        text(&items(&target.client().run(at))[0])
    };
    let here = Version::available();
    for (name, lossy) in [("redis-8.0", 1), ("valkey-9.1", 1), ("redis-7.0", 2)] {
        if !here.contains(&Version::named(name)) {
            continue;
        }
        for size in ["1mb", "1"] {
            let target = Server::start(name);
            let args = ["--on-lossy", "drop", "--restore-bytes-max", size];
            let finished = restore(&file, &target, &args);
            finished.assert_code(0);
            assert_eq!(finished.json()["skipped"]["lossy"], lossy, "{name} {size}");
            assert_eq!(target.keys(), 3, "{name} {size}");
            if lossy > 1 {
                continue;
            }
            assert_eq!(expiry(&target), "4102444800001", "{name} {size}");

            target
                .client()
                .run(command!["HPERSIST", "h", "FIELDS", 1, "f"]);
            let again = restore(
                &file,
                &target,
                &[&args[..], &["--on-conflict", "skip"]].concat(),
            );
            again.assert_code(0);
            assert_eq!(again.json()["skipped"]["conflict"], 3, "{name} {size}");
            assert_eq!(expiry(&target), "-1", "{name} {size}: it is left alone");
        }
    }
}

#[test]
fn a_library_that_exists_is_named_and_counted_apart() {
    let source = Server::start("redis-7.0");
    let code = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    source.client().run(command!["FUNCTION", "LOAD", code]);
    source.client().run(command!["SET", "k", "v"]);
    let file = source.save();
    let target = Server::start("redis-7.0");
    restore(&file, &target, &[]).assert_code(0);

    target.client().run(command!["DEL", "k"]);
    target.client().run(command!["SET", "other", "v"]);
    let finished = restore(&file, &target, &["--on-conflict", "fail"]);
    finished.assert_code(4);
    let said = "has function library \"mylib\" already";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);

    target.client().run(command!["DEL", "k"]);
    let finished = restore(&file, &target, &["--on-conflict", "skip"]);
    finished.assert_code(0);
    let skipped = &finished.json()["skipped"];
    assert_eq!(
        (&skipped["conflict"], &skipped["conflict_functions"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn what_stops_the_run_behind_a_flush_says_that_the_target_was_emptied() {
    let source = Server::start("redis-8.0");
    let mut client = source.client();
    client.run(command!["HSET", "h", "f", "v"]);
    client.run(command![
        "HPEXPIREAT",
        "h",
        4_102_444_800_000_i64,
        "FIELDS",
        1,
        "f"
    ]);
    let file = source.save();
    let target = Server::start("redis-7.0");
    for (args, is_said) in [
        (&["--flush-target", "--yes"][..], true),
        (&["--on-conflict", "replace"], false),
    ] {
        target.client().run(command!["SET", "before", "1"]);
        let finished = restore(&file, &target, args);
        finished.assert_code(4);
        let said = finished
            .stderr
            .contains("the target was emptied before that");
        assert_eq!(said, is_said, "{args:?}: {}", finished.stderr);
        assert_eq!(target.keys() == 0, is_said, "{args:?}");
        let why = finished.json()["error"]["why"].to_string();
        assert_eq!(why.contains("the target was emptied"), is_said, "{why}");
    }
}

/// The first fields are deleted under the value that is being built, the others as they come.
#[test]
fn a_value_that_expires_while_it_is_built_counts_once() {
    let target = Server::start("redis-8.6");
    let mut client = target.client();
    client.run(command!["SET", "h", "what the source replaced"]);
    let args = ["--restore-bytes-max", "1kb", "--on-conflict", "replace"];
    let (keyferry, mut stdin) = restore_fed(&target, &args);
    let soon_ms = unix_ms() + 3000;
    let file = large_hash(4000, |_| Some(soon_ms));
    let (first, rest) = file.split_at(file.len() / 2);
    stdin.write_all(first).unwrap();
    wait_for("a part", SOON, || staged(&target) == 1);
    wait_for("its end", SOON, || staged(&target) == 0);
    stdin.write_all(rest).unwrap();
    drop(stdin);
    let finished = keyferry.wait(SOON);
    finished.assert_code(0);
    let summary = finished.json();
    assert_eq!(summary["skipped"]["expired"], 1, "{summary}");
    assert_eq!(summary["keys"]["total"], 0, "{summary}");
    assert_eq!(target.keys(), 0);
}

fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

/// Runs `keyferry rdb restore` of what the test writes.
fn restore_fed(target: &Server, args: &[&str]) -> (Keyferry, ChildStdin) {
    let target = target.url();
    let mut all = vec!["rdb", "restore", "-", "--target", &target, "--json"];
    all.extend(args);
    Keyferry::start_fed(&all)
}

/// How many values are being built.
fn staged(server: &Server) -> usize {
    let found = server
        .client()
        .run(command!["KEYS", "__keyferry:staging:*"]);
    items(&found).len()
}

/// Valkey looks at packed values deeply and refuses a field that stands twice; what it then takes
/// as commands is more than one transaction.
#[test]
fn a_large_payload_that_is_refused_is_rebuilt() {
    let mut elements = Vec::new();
    for n in (0..1200).chain([0]) {
        elements.extend_from_slice(b"\x86");
        elements.extend_from_slice(format!("{n:06}\x07").as_bytes());
        elements.extend_from_slice(b"\xe1\xf4");
        elements.extend_from_slice(&[b'x'; 500]);
        elements.extend_from_slice(b"\x03\xf6");
    }
    let size = (elements.len() as u32 + 7).to_le_bytes();
    let listpack = [&size, &2402_u16.to_le_bytes()[..], &elements, b"\xff"].concat();
    let len = (listpack.len() as u32).to_be_bytes();
    let file = [
        b"REDIS0010\x10\x01h\x80",
        &len[..],
        &listpack,
        b"\xff",
        &[0; 8],
    ]
    .concat();
    let target = Server::start("valkey-9.1");
    let finished = restore(file_of(&file).path(), &target, &[]);
    finished.assert_code(0);
    assert_eq!(finished.json()["keys"]["total"], 1);
    let mut client = target.client();
    assert_eq!(number(&client.run(command!["HLEN", "h"])), 1200);
    let last = client.run(command!["HSTRLEN", "h", "001199"]);
    assert_eq!(number(&last), 500);
    assert_no_staging(&target);
}

/// Pending entries of a deleted one, which no command says from 7.0 on, and that nobody owns.
#[test]
fn an_odd_stream_loses_nothing() {
    let mut file = b"REDIS0011\x15\x01s\0\x03\x07\0\0\0\0\0\0\x01\x01g\x07\0\0\x01".to_vec();
    file.extend_from_slice(
        &[
            &[0; 7][..],
            b"\x05",
            &[0; 8],
            &[0; 8],
            b"\x02",
            b"\0\xff",
            &[0; 8],
        ]
        .concat(),
    );
    for name in ["redis-7.0", "redis-8.6", "valkey-9.1"] {
        let target = Server::start(name);
        restore(file_of(&file).path(), &target, &[]).assert_code(0);
        let mut client = target.client();
        let pending = client.run(command!["XPENDING", "s", "g", "-", "+", 10]);
        let [entry] = items(&pending) else {
            panic!("{name}: {pending:?}");
        };
        let entry = items(entry);
        assert_eq!(text(&entry[0]), "5-0", "{name}");
        assert_eq!(text(&entry[1]), "keyferry", "{name}");
        assert_eq!(number(&entry[3]), 2, "{name}");
        assert_eq!(number(&client.run(command!["XLEN", "s"])), 0, "{name}");
    }
}
