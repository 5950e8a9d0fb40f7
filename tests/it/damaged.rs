//! Values that no server writes and that many take: what a server reads of them, it must still read
//! after a restore, and survive once the value grows.

use std::{io::Write, time::Duration};

use keyferry::rdb::payload;

use crate::support::{
    client::{Client, Command, items, number, text},
    keyferry::{Finished, Keyferry},
    migration::wait_until_confirmed,
    server::Server,
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);

/// Another value or score of the same name is lost; of a set nothing is.
enum Second {
    Lost,
    Nothing,
}

/// A value that is damaged: its type byte and body, what a server reads of it, and what makes it
/// grow out of its packed encoding.
struct Damaged {
    name: &'static str,
    value_type: u8,
    body: Vec<u8>,
    second: Second,
    read: Command,
    expected: &'static [&'static str],
    grow: Command,
}

const FIELDS: &[&str] = &["f", "v1", "g", "x"];
const SCORES: &[&str] = &["m", "1", "n", "2"];

fn damaged() -> Vec<Damaged> {
    let pairs: [&[u8]; 6] = [b"f", b"v1", b"g", b"x", b"f", b"v2"];
    let scores: [&[u8]; 6] = [b"m", b"1", b"n", b"2", b"m", b"3"];
    let hash = |name, value_type, body| Damaged {
        name,
        value_type,
        body,
        second: Second::Lost,
        read: command!["HGETALL", name],
        expected: FIELDS,
        grow: grown("HSET", name, |n| vec![format!("q{n}"), n.to_string()]),
    };
    let zset = |name, value_type, body| Damaged {
        name,
        value_type,
        body,
        second: Second::Lost,
        read: command!["ZRANGE", name, 0, -1, "WITHSCORES"],
        expected: SCORES,
        grow: grown("ZADD", name, |n| vec![n.to_string(), format!("q{n}")]),
    };
    let set = |name, value_type, body, expected| Damaged {
        name,
        value_type,
        body,
        second: Second::Nothing,
        read: command!["SORT", name, "ALPHA"],
        expected,
        grow: grown("SADD", name, |n| vec![format!("q{n}")]),
    };
    vec![
        hash("hash:listpack", 16, blob(&listpack(&pairs))),
        hash("hash:ziplist", 13, blob(&ziplist(&pairs))),
        hash("hash:plain", 4, plain(3, &pairs)),
        zset("zset:listpack", 17, blob(&listpack(&scores))),
        zset("zset:ziplist", 12, blob(&ziplist(&scores))),
        zset("zset:plain", 3, plain(3, &scores)),
        set(
            "set:listpack",
            20,
            blob(&listpack(&[b"a", b"b", b"a"])),
            &["a", "b"],
        ),
        set("set:plain", 2, plain(3, &[b"a", b"b", b"a"]), &["a", "b"]),
        set(
            "set:ints",
            11,
            blob(&intset(&[1, 2, 2, 3])),
            &["1", "2", "3"],
        ),
        set(
            "set:unordered",
            11,
            blob(&intset(&[3, 1, 2])),
            &["1", "2", "3"],
        ),
    ]
}

/// A command with six hundred elements.
fn grown(command: &str, key: &str, element: impl Fn(usize) -> Vec<String>) -> Command {
    let mut grown = command![command, key];
    for n in 10..610 {
        grown.extend(element(n).into_iter().map(String::into_bytes));
    }
    grown
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 64);
    [&[length.unwrap()], bytes].concat()
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    string(bytes)
}

fn plain(count: u8, strings: &[&[u8]]) -> Vec<u8> {
    let strings = strings.iter().flat_map(|bytes| string(bytes));
    std::iter::once(count).chain(strings).collect()
}

fn listpack(entries: &[&[u8]]) -> Vec<u8> {
    let mut packed = Vec::new();
    for entry in entries {
        packed.push(0x80 | entry.len() as u8);
        packed.extend_from_slice(entry);
        packed.push(1 + entry.len() as u8);
    }
    let total = (7 + packed.len() as u32).to_le_bytes();
    let count = (entries.len() as u16).to_le_bytes();
    [&total[..], &count, &packed, &[0xff]].concat()
}

fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut packed, mut last, mut before) = (Vec::new(), 0, 0);
    for entry in entries {
        last = packed.len();
        packed.extend_from_slice(&[before, entry.len() as u8]);
        packed.extend_from_slice(entry);
        before = 2 + entry.len() as u8;
    }
    let total = (11 + packed.len() as u32).to_le_bytes();
    let tail = (10 + last as u32).to_le_bytes();
    let count = (entries.len() as u16).to_le_bytes();
    [&total[..], &tail, &count, &packed, &[0xff]].concat()
}

fn intset(ints: &[i16]) -> Vec<u8> {
    let mut packed = [2_u32, ints.len() as u32].map(u32::to_le_bytes).concat();
    packed.extend(ints.iter().flat_map(|int| int.to_le_bytes()));
    packed
}

/// An RDB file of these values, without a checksum.
fn file_of(values: &[Damaged]) -> tempfile::NamedTempFile {
    let mut rdb = b"REDIS0011".to_vec();
    for value in values {
        rdb.push(value.value_type);
        rdb.extend(string(value.name.as_bytes()));
        rdb.extend_from_slice(&value.body);
    }
    rdb.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&rdb).unwrap();
    file
}

fn restore(values: &[Damaged], target: &Server, args: &[&str]) -> Finished {
    let file = file_of(values);
    let (path, url) = (file.path().to_str().unwrap(), target.url());
    let mut all = vec!["rdb", "restore", path, "--target", &url, "--json"];
    all.extend(args);
    Keyferry::run(&all, SOON)
}

/// The target has what a server reads of the value, and takes more of it.
fn assert_sound(value: &Damaged, target: &mut Client) {
    let name = value.name;
    let read = items(&target.run(value.read.clone()))
        .iter()
        .map(text)
        .collect::<Vec<_>>();
    assert_eq!(read, value.expected, "{name}");
    let added = number(&target.run(value.grow.clone()));
    assert_eq!(added, 600, "{name}");
    target.run(command!["DUMP", name]);
}

#[test]
fn what_repeats_in_a_file_ends_no_target() {
    let values = damaged();
    for version in Version::available() {
        eprintln!("--- {version}");
        let target = Server::of(version).start();
        let finished = restore(&values, &target, &["--on-lossy", "drop"]);
        finished.assert_code(0);
        let lost = values.iter().filter(|v| matches!(v.second, Second::Lost));
        assert_eq!(finished.json()["skipped"]["lossy"], lost.count());
        let mut client = target.client();
        for value in &values {
            assert_sound(value, &mut client);
        }
    }
}

#[test]
fn what_repeats_with_another_value_is_named_unless_it_may_be_dropped() {
    for value in damaged() {
        let target = Server::start("redis-7.0");
        let finished = restore(std::slice::from_ref(&value), &target, &[]);
        match value.second {
            Second::Nothing => {
                finished.assert_code(0);
                assert_sound(&value, &mut target.client());
            }
            Second::Lost => {
                finished.assert_code(4);
                for said in [value.name, "is there twice", "--on-lossy drop"] {
                    assert!(finished.stderr.contains(said), "{}", finished.stderr);
                }
                assert_eq!(target.keys(), 0);
            }
        }
    }
}

/// A client may have restored it on the source, where it is as it was made.
#[test]
fn what_repeats_in_a_restore_of_the_stream_ends_no_target() {
    let values = damaged();
    // As the source would write it: up to version 9 a type 20 is Dragonfly's.
    for (source, target, version) in [
        ("redis-7.0", "redis-7.0", 10),
        ("redis-8.0", "redis-6.0", 12),
    ] {
        let (source, target) = (Server::start(source), Server::start(target));
        let (from, to) = (source.url(), target.url());
        let args = ["--on-lossy", "drop", "--json"];
        let args = [&["sync", "--source", &from, "--target", &to], &args[..]].concat();
        let mut keyferry = Keyferry::start(&args, &[]);
        keyferry.wait_for_stderr("following", SOON);
        let mut client = source.client();
        let mut taken = Vec::new();
        for value in &values {
            let footer = payload::footer(value.value_type, &value.body, version);
            let payload = [&[value.value_type], &value.body[..], &footer].concat();
            let restored = client.try_run(&command!["RESTORE", value.name, 0, payload]);
            if matches!(restored, Ok(redis::Value::Okay)) {
                taken.push(value);
            }
        }
        let taken_by_source = taken.iter().any(|value| value.name == "hash:listpack");
        assert!(taken_by_source, "the source took none of them");
        wait_until_confirmed(&source, &mut keyferry);
        let mut client = target.client();
        for value in taken {
            assert_sound(value, &mut client);
        }
        keyferry.signal("TERM");
        keyferry.wait(SOON).assert_code(0);
    }
}
