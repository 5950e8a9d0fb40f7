//! `rdb dump` of real servers, and their snapshots as `rdb json` tells of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use crate::support::{
    client::{Client, bytes, items, text},
    dataset::{DBS, Dataset},
    keyferry::Keyferry,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    server::{Server, wait_for},
    version::Version,
    writer::Load,
};

const SOON: Duration = Duration::from_secs(120);

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn dump(server: &Server, file: &Path) -> Json {
    let (url, file) = (server.url(), file.to_str().unwrap());
    let args = ["rdb", "dump", "--source", &url, "-o", file, "--json"];
    let finished = Keyferry::run(&args, SOON);
    finished.assert_code(0);
    finished.json()
}

/// A data set that stays as it is: nothing in it expires soon.
fn lasting(version: Version) -> Dataset {
    Dataset {
        expiring: false,
        small_keys: 500,
        ..Dataset::seeded(11).for_target(version)
    }
}

/// Fields that expire while two servers are compared.
fn remove_passing(client: &mut Client) {
    for db in DBS {
        client.select(db);
        client.run(command!["DEL", "hash:ttl:soon"]);
    }
}

/// A dump taken while a writer writes is whole, and one taken after it holds what the source does.
fn dumps_load(version: Version) {
    eprintln!("--- {version}");
    let source = Server::of(version).start();
    lasting(version).load(&source);
    remove_passing(&mut source.client());
    let folder = tempfile::tempdir().unwrap();

    let writer = Load::seeded(11).for_target(version).start(&source);
    let busy = folder.path().join("busy.rdb");
    let summary = dump(&source, &busy);
    assert!(writer.stop().total() > 0);
    assert_eq!(summary["checksum"], "verified", "{summary}");
    assert_eq!(summary["bytes"], fs::metadata(&busy).unwrap().len());
    let loaded = Server::of(version).snapshot(&busy).start();
    // Whatever passed meanwhile is gone from the server and in the file.
    assert!(loaded.keys() > 0 && loaded.keys() <= summary["keys"].as_u64().unwrap());
    let replid = source
        .client()
        .info("replication", "master_replid")
        .unwrap();
    assert_eq!(summary["replid"], replid.trim());

    // The writer's keys expire in their own time; only the lasting ones can be compared.
    source.client().run(command!["FLUSHALL"]);
    lasting(version).load(&source);
    remove_passing(&mut source.client());
    let still = folder.path().join("still.rdb");
    let summary = dump(&source, &still);
    assert_eq!(summary["keys"].as_u64(), Some(source.keys()));
    let loaded = Server::of(version).snapshot(&still).start();
    Oracle::between(&source, &loaded).assert_equal(&source, &loaded);
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn a_dump_of_every_version_is_loaded_by_it() {
    Version::available().into_iter().for_each(dumps_load);
}

#[test]
fn a_source_without_checksums_is_reported() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("rdbchecksum no")
        .start();
    source.client().run(command!["SET", "a", "1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.rdb");
    let (url, path) = (source.url(), file.to_str().unwrap());
    let args = ["rdb", "dump", "--source", &url, "-o", path];
    let finished = Keyferry::run(&args, SOON);
    finished.assert_code(0);
    assert!(finished.stdout.contains("checksum   disabled"));
    assert!(
        finished.stderr.contains("rdbchecksum no"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_snapshot_from_disk_is_taken_too() {
    for version in ["redis-6.0", "redis-7.0", "valkey-9.1"].map(Version::named) {
        if !Version::available().contains(&version) {
            continue;
        }
        let source = Server::of(version).config("repl-diskless-sync no").start();
        lasting(version).load(&source);
        remove_passing(&mut source.client());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dump.rdb");
        dump(&source, &file);
        let loaded = Server::of(version).snapshot(&file).start();
        Oracle::between(&source, &loaded).assert_equal(&source, &loaded);
    }
}

/// A source that has 100 MiB, behind a proxy that stands still in the middle of the snapshot.
fn stuck(folder: &Path) -> (Server, Proxy, Keyferry) {
    let source = Server::of(Version::named("redis-7.0"))
        .config("rdbcompression no")
        .start();
    let mut client = source.client();
    for n in 0..100 {
        client.run(command!["SET", format!("large:{n}"), vec![b'x'; 1 << 20]]);
    }
    let proxy = Proxy::before(&source);
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let (url, file) = (proxy.url(), folder.join("dump.rdb"));
    let args = [
        "rdb",
        "dump",
        "--source",
        &url,
        "-o",
        file.to_str().unwrap(),
        "--overwrite",
    ];
    let keyferry = Keyferry::start(&args, &[]);
    wait_for("a part of the snapshot", SOON, || {
        let sizes = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let temporary = sizes.filter(|entry| entry.file_name() != "dump.rdb");
        let bytes = temporary.map(|entry| entry.metadata().map_or(0, |file| file.len()));
        bytes.sum::<u64>() > 1 << 20
    });
    proxy.freeze();
    (source, proxy, keyferry)
}

#[test]
fn a_source_that_dies_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut source, proxy, keyferry) = stuck(folder.path());
    source.kill();
    proxy.cut_now();
    let finished = keyferry.wait(SOON);
    finished.assert_code(3);
    assert!(finished.stderr.contains("next: "), "{}", finished.stderr);
    assert!(
        names(folder.path()).is_empty(),
        "{:?}",
        names(folder.path())
    );
}

#[test]
fn a_signal_leaves_no_file_and_the_old_one_as_it_was() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dump.rdb"), "old").unwrap();
        let (_source, _proxy, keyferry) = stuck(folder.path());
        keyferry.signal(signal);
        let finished = keyferry.wait(SOON);
        finished.assert_code(5);
        assert!(finished.stderr.contains(signal), "{}", finished.stderr);
        assert_eq!(names(folder.path()), ["dump.rdb"]);
        assert_eq!(fs::read(folder.path().join("dump.rdb")).unwrap(), b"old");
    }
}

/// The bytes of a byte string.
fn raw(value: &Json) -> Vec<u8> {
    match value {
        Json::String(text) => text.as_bytes().to_vec(),
        value => STANDARD.decode(value["base64"].as_str().unwrap()).unwrap(),
    }
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn array(value: &Json) -> &[Json] {
    value.as_array().unwrap()
}

fn list_of(reply: &redis::Value) -> Vec<Vec<u8>> {
    items(reply).iter().map(bytes).collect()
}

fn pairs_of(reply: &redis::Value) -> Pairs {
    let pairs = items(reply).chunks_exact(2);
    pairs
        .map(|pair| (bytes(&pair[0]), bytes(&pair[1])))
        .collect()
}

/// Compares a line of JSON with what a client reads.
fn compare(client: &mut Client, line: &Json) {
    let key = raw(&line["key"]);
    let value = &line["value"];
    match line["type"].as_str().unwrap() {
        "string" => assert_eq!(raw(value), bytes(&client.run(command!["GET", key]))),
        "list" => {
            let found: Vec<_> = array(value).iter().map(raw).collect();
            assert_eq!(found, list_of(&client.run(command!["LRANGE", key, 0, -1])));
        }
        "set" => {
            let found: BTreeSet<_> = array(value).iter().map(raw).collect();
            let members = list_of(&client.run(command!["SMEMBERS", key]));
            assert_eq!(found, members.into_iter().collect());
        }
        "zset" => {
            let theirs = pairs_of(&client.run(command!["ZRANGE", key, 0, -1, "WITHSCORES"]));
            assert_eq!(array(value).len(), theirs.len());
            for pair in array(value) {
                let score = match &pair[1] {
                    Json::String(text) => text.parse().unwrap(),
                    number => number.as_f64().unwrap(),
                };
                let text = String::from_utf8(theirs[&raw(&pair[0])].clone()).unwrap();
                let theirs: f64 = text.parse().unwrap();
                // The JSON reader of this test rounds in the last digit.
                let is_near = theirs == score || ((theirs - score) / theirs).abs() < 1e-15;
                assert!(is_near, "{theirs} and {score}");
            }
        }
        "hash" => {
            let found = array(value)
                .iter()
                .map(|field| (raw(&field[0]), raw(&field[1])));
            assert_eq!(
                found.collect::<Pairs>(),
                pairs_of(&client.run(command!["HGETALL", key]))
            );
            for field in array(value).iter().filter(|field| field.get(2).is_some()) {
                let at = client.run(command!["HPEXPIRETIME", key, "FIELDS", 1, raw(&field[0])]);
                assert_eq!(text(&items(&at)[0]), field[2].to_string());
            }
        }
        "stream" => compare_stream(client, &key, value),
        _ => compare_vectors(client, &key, line),
    }
    let at = client.run(command!["PTTL", key]);
    assert_eq!(text(&at) == "-1", line.get("expire_at_ms").is_none());
}

fn compare_vectors(client: &mut Client, key: &[u8], line: &Json) {
    assert_eq!(line["type"], "vectorset");
    let elements = array(&line["value"]);
    assert_eq!(
        elements.len().to_string(),
        text(&client.run(command!["VCARD", key]))
    );
    for element in elements {
        let name = raw(&element[0]);
        let theirs = list_of(&client.run(command!["VEMB", key, name]));
        assert_eq!(theirs.len(), array(&element[1]).len());
        // Of bits only the sign was kept.
        let tolerance = if line["quantization"] == "bin" {
            f64::MAX
        } else {
            1e-4
        };
        for (ours, theirs) in array(&element[1]).iter().zip(&theirs) {
            let theirs: f64 = std::str::from_utf8(theirs).unwrap().parse().unwrap();
            let ours = ours.as_f64().unwrap();
            assert!((ours - theirs).abs() <= tolerance, "{ours} and {theirs}");
        }
        let attributes = client.run(command!["VGETATTR", key, name]);
        let ours = element.get(2).map(raw).unwrap_or_default();
        assert_eq!(ours, bytes(&attributes));
    }
}

fn compare_stream(client: &mut Client, key: &[u8], value: &Json) {
    let entries = client.run(command!["XRANGE", key, "-", "+"]);
    assert_eq!(array(&value["entries"]).len(), items(&entries).len());
    for (found, entry) in array(&value["entries"]).iter().zip(items(&entries)) {
        assert_eq!(raw(&found[0]), bytes(&items(entry)[0]));
        let fields = array(&found[1])
            .iter()
            .flat_map(|pair| [raw(&pair[0]), raw(&pair[1])]);
        assert_eq!(fields.collect::<Vec<_>>(), list_of(&items(entry)[1]));
    }
    let groups = client.run(command!["XINFO", "GROUPS", key]);
    assert_eq!(array(&value["groups"]).len(), items(&groups).len());
    for group in array(&value["groups"]) {
        let name = raw(&group["name"]);
        let pending = client.run(command!["XPENDING", key, name, "-", "+", 100_000]);
        let theirs = items(&pending).iter().map(|entry| {
            let entry = items(entry);
            (bytes(&entry[0]), bytes(&entry[1]), bytes(&entry[3]))
        });
        let found = array(&group["consumers"]).iter().flat_map(|consumer| {
            let name = raw(&consumer["name"]);
            array(&consumer["pending"]).iter().map(move |entry| {
                (
                    raw(&entry[0]),
                    name.clone(),
                    entry[2].to_string().into_bytes(),
                )
            })
        });
        let found: BTreeSet<_> = found.collect();
        assert_eq!(found, theirs.collect());
        let consumers = client.run(command!["XINFO", "CONSUMERS", key, name]);
        assert_eq!(array(&group["consumers"]).len(), items(&consumers).len());
    }
}

fn json_is_what_clients_read(version: Version) {
    eprintln!("--- {version}");
    let source = Server::of(version).start();
    lasting(version).load(&source);
    let mut client = source.client();
    remove_passing(&mut client);
    let url = source.url();
    // So long that every value of the data set is one line.
    let args = ["rdb", "json", "--source", &url, "--chunk-bytes", "1gb"];
    let finished = Keyferry::run(&args, SOON);
    finished.assert_code(0);
    let lines = finished.stdout.lines();
    let lines: Vec<Json> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let keys = lines.iter().filter(|line| line["kind"] == "key");
    assert_eq!(keys.clone().count() as u64, source.keys());
    let mut types = BTreeSet::new();
    let mut db = None;
    for line in keys {
        if db != line["db"].as_u64() {
            db = line["db"].as_u64();
            client.select(db.unwrap() as u32);
        }
        types.insert(line["type"].as_str().unwrap());
        compare(&mut client, line);
    }
    assert!(types.len() >= 6, "{types:?}");
    let functions = lines
        .iter()
        .filter(|line| line["kind"] == "function")
        .count();
    assert_eq!(functions, if version.has_functions() { 2 } else { 0 });
}

#[test]
fn json_of_every_version_is_what_clients_read() {
    Version::available()
        .into_iter()
        .for_each(json_is_what_clients_read);
}
