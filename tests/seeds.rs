//! The seeds of the fuzz targets (`fuzz/corpus/<target>/*.seed`) go through the same functions as
//! in fuzzing, and through every size of pieces. What fuzzing adds to the corpus has other names;
//! an input that once failed is kept by giving it the name of a seed.
//!
//! `cargo test --test seeds -- --ignored` makes more of them out of the fixtures, for fuzzing to
//! begin with: those without the extension, which are not kept.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic with the line is the report, and stderr says for which seed"
)]

// Public for the fuzz targets, which have them as a library.
#[allow(
    unreachable_pub,
    dead_code,
    reason = "payloads of servers are converted by the RDB tests"
)]
#[path = "../fuzz/src/convert.rs"]
mod convert;
#[allow(
    dead_code,
    reason = "it is the RDB tests', which make use of all of it"
)]
#[path = "rdb/fixture.rs"]
mod fixture;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lzf.rs"]
mod lzf;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/packed.rs"]
mod packed;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/rdb.rs"]
mod rdb;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/spool.rs"]
mod spool;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/value.rs"]
mod value;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/wire.rs"]
mod wire;

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use keyferry::rdb::{Altitude, Encoding, Event, Limits, ValueType};

type Replay = fn(&[u8]);

const TARGETS: [(&str, Replay); 14] = [
    ("commands", wire::commands),
    ("handshake", wire::handshake),
    ("intset", packed::intset),
    ("listpack", packed::listpack),
    ("lzf", lzf::lzf),
    ("payload", rdb::payload),
    ("rdb", rdb::rdb),
    ("replies", wire::replies),
    ("spool", spool::spool),
    ("stream", wire::stream),
    ("transfer", wire::transfer),
    ("value", value::value),
    ("ziplist", packed::ziplist),
    ("zipmap", packed::zipmap),
];

/// The targets that read what comes over a connection.
const WIRE: [&str; 5] = ["commands", "handshake", "replies", "stream", "transfer"];

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "seed")
        })
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
    seeds
}

#[test]
fn every_seed_replays() {
    for (target, replay) in TARGETS {
        for (name, seed) in seeds(target) {
            eprintln!("{name}");
            replay(&seed);
        }
    }
}

/// The first byte of an input of the wire's targets is the size of the pieces.
#[test]
fn seeds_of_the_wire_replay_in_pieces_of_every_size() {
    for (target, replay) in TARGETS {
        if !WIRE.contains(&target) {
            continue;
        }
        for (name, mut seed) in seeds(target) {
            eprintln!("{name}");
            for size in 1..=u8::MAX {
                seed[0] = size;
                replay(&seed);
            }
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let programs: BTreeSet<_> = fs::read_dir(fuzz().join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let replayed: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(programs, replayed);
}

/// What fuzzing begins with beside the seeds: files, payloads, bodies and blobs of the fixtures.
#[test]
#[ignore = "writes into the corpus"]
fn seeds_from_fixtures() {
    for fixture in fixture::all() {
        if fixture.is_payload() {
            let without_checksum = fixture.bytes.len().saturating_sub(8);
            write_seed("payload", &fixture.bytes[..without_checksum]);
            continue;
        }
        write_seed("rdb", &[&[7, 100, 0], &fixture.bytes[..]].concat());
        for (target, seed) in seeds_of(&fixture.bytes) {
            write_seed(target, &seed);
        }
    }
}

/// The values of a file that can be read, as inputs of the targets that read values.
fn seeds_of(file: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let raw = Altitude::Raw {
        bytes_max: SEED_BYTES_MAX,
    };
    let mut seeds = Vec::new();
    let mut value_type = ValueType::common(0);
    for altitude in [raw, Altitude::Encoded] {
        for event in rdb::read([file], altitude, Limits::default()).events {
            match event {
                Event::Key(key) => value_type = key.value_type,
                Event::Body(body) => {
                    seeds.push(("value", value::input(value_type, &body)));
                    if let (0, Some(compressed)) = (value_type.byte, lzf::compressed(&body)) {
                        seeds.push(("lzf", [&[0], compressed].concat()));
                    }
                }
                Event::Blob { encoding, bytes } => {
                    let target = match encoding {
                        Encoding::Intset => "intset",
                        Encoding::Listpack => "listpack",
                        Encoding::Ziplist => "ziplist",
                        Encoding::Zipmap => "zipmap",
                    };
                    seeds.push((target, packed::input(value_type, &bytes)));
                }
                _ => {}
            }
        }
    }
    seeds
}

/// What mutation makes little of if it is larger.
const SEED_BYTES_MAX: usize = 2000;

fn write_seed(target: &str, seed: &[u8]) {
    if seed.len() > SEED_BYTES_MAX {
        return;
    }
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    let name = format!("fixture-{:016x}", hasher.finish());
    fs::write(fuzz().join("corpus").join(target).join(name), seed).unwrap();
}
