//! RDB files of every server, converted for every other one and loaded by it.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio, time::Duration};

use crate::support::{
    client::Client,
    dataset::Dataset,
    keyferry::Keyferry,
    oracle::{Difference, Oracle},
    server::Server,
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);

/// A server with a data set of every type that it has.
fn source_of(version: Version) -> Server {
    // Nodes in the middle of a list are compressed in memory, and saved so.
    let server = Server::of(version).config("list-compress-depth 1").start();
    let mut dataset = Dataset::seeded(3);
    dataset.small_keys = 200;
    dataset.expiring = false;
    dataset.load(&server);
    let mut client = server.client();
    for db in [9, 1, 0] {
        client.select(db);
        // Its fields expire while the files are compared.
        client.run(command!["DEL", "hash:ttl:soon"]);
        if db > 0 {
            client.run(command!["DEL", "string:big"]);
        }
    }
    lose_more(&mut client);
    server
}

/// Adds what older servers have no place for and the data set does not have.
fn lose_more(client: &mut Client) {
    // A consumer that has tried to read and got nothing.
    let group = ["GROUP", "late", "idle", "STREAMS", "stream:many", ">"];
    client.run([&command!["XREADGROUP"][..], &group.map(|word| word.into())].concat());
    if client.knows("XCFGSET") {
        for (producer, id) in [("p", "1"), ("p", "2"), ("q", "1")] {
            client.run(command![
                "XADD",
                "stream:idmp",
                "IDMP",
                producer,
                id,
                "*",
                "a",
                "1"
            ]);
        }
    }
}

/// What is lost between two versions.
fn expected_losses(source: Version, target: Version) -> BTreeSet<&'static str> {
    let older_than =
        |major, minor| source.has_common(major, minor) && !target.has_common(major, minor);
    let losses = [
        (
            "field_expiry",
            source.has_field_ttls() && !target.has_field_ttls(),
        ),
        ("function", older_than(7, 0)),
        (
            "stream_idempotency",
            source.is_redis_from(8, 6) && !target.is_redis_from(8, 6),
        ),
        (
            "vectorset",
            source.has_vector_sets() && !target.has_vector_sets(),
        ),
    ];
    let lost = losses.into_iter().filter(|(_, lost)| *lost);
    lost.map(|(name, _)| name).collect()
}

fn convert(file: &Path, target: Version, out: &Path) -> serde_json::Value {
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let args = ["rdb", "convert", file, "--to", target.name, "-o", out];
    let more = ["--overwrite", "--on-lossy", "drop", "--json"];
    let finished = Keyferry::run(&[&args[..], &more].concat(), SOON);
    finished.assert_code(0);
    finished.json()
}

/// Converts the file of one version for each that is here.
fn to_each(source: &str) {
    let source = Version::named(source);
    let here = Version::available();
    if !here.contains(&source) {
        return;
    }
    let from = source_of(source);
    let file = from.save();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("converted.rdb");
    for target in here {
        let summary = convert(&file, target, &out);
        let losses = summary["losses"].as_object().unwrap();
        let named: BTreeSet<&str> = losses.keys().map(String::as_str).collect();
        assert_eq!(
            named,
            expected_losses(source, target),
            "{source} to {target}"
        );
        let to = Server::of(target).snapshot(&out).start();
        let is_vector_set =
            |one: &Difference| one.what == "missing on the target" && one.source == "vectorset";
        let found = Oracle::between(&from, &to).differences(&from, &to);
        let (vector_sets, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_vector_set);
        let shown: Vec<String> = others.iter().take(20).map(ToString::to_string).collect();
        assert!(
            others.is_empty(),
            "{source} to {target}:\n{}",
            shown.join("\n")
        );
        let lost = losses.get("vectorset").and_then(|lost| lost.as_u64());
        assert_eq!(
            vector_sets.len() as u64,
            lost.unwrap_or(0),
            "{source} to {target}"
        );
        let function = losses.get("function").and_then(|lost| lost.as_u64());
        assert!(function.is_none_or(|lost| lost == 2), "{summary}");
    }
}

#[test]
fn of_redis_6_0() {
    to_each("redis-6.0");
}

#[test]
fn of_redis_6_2() {
    to_each("redis-6.2");
}

#[test]
fn of_redis_7_0() {
    to_each("redis-7.0");
}

#[test]
fn of_redis_8_0() {
    to_each("redis-8.0");
}

#[test]
fn of_redis_8_6() {
    to_each("redis-8.6");
}

#[test]
fn of_valkey_8_1() {
    to_each("valkey-8.1");
}

#[test]
fn of_valkey_9_1() {
    to_each("valkey-9.1");
}

#[test]
fn what_cannot_be_held_stops_the_conversion_and_leaves_no_file() {
    let from = Server::start("redis-8.0");
    let mut client = from.client();
    client.run(command!["SET", "a", "1"]);
    client.run(command!["HSET", "sessions", "f", "1"]);
    client.run(command![
        "HPEXPIRE", "sessions", 7_200_000, "FIELDS", 1, "f"
    ]);
    let file = from.save();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.rdb");
    let (file, path) = (file.to_str().unwrap(), out.to_str().unwrap());
    let args = ["rdb", "convert", file, "--to", "valkey-8.1", "-o", path];
    let finished = Keyferry::run(&args, SOON);
    finished.assert_code(4);
    for said in [
        "Valkey 8.1 cannot hold the expiry of a hash field (db 0, \"sessions\")",
        "--on-lossy drop",
    ] {
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let refused = Keyferry::run(
        &["rdb", "convert", file, "--to", "redis-1.0", "-o", path],
        SOON,
    );
    refused.assert_code(2);
    assert!(refused.stderr.contains("redis-7.0"), "{}", refused.stderr);
}

#[test]
fn standard_output_is_the_same_file() {
    let from = Server::start("redis-7.0");
    Dataset::seeded(5).load(&from);
    let file = from.save();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.rdb");
    convert(&file, Version::named("redis-6.0"), &out);
    let piped = std::process::Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .args(["rdb", "convert", "-", "--to", "redis-6.0", "-o", "-"])
        .args(["--on-lossy", "drop", "--progress", "never"])
        .stdin(Stdio::from(fs::File::open(&file).unwrap()))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&piped.stderr);
    assert!(piped.status.success(), "{stderr}");
    assert!(piped.stdout == fs::read(&out).unwrap());
    assert!(stderr.contains("Redis 6.0"), "{stderr}");
}
