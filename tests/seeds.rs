//! The seeds of the fuzz targets (`fuzz/corpus/<target>/*.seed`) go through the same functions as
//! in fuzzing, and through every size of pieces. What fuzzing adds to the corpus has other names;
//! an input that once failed is kept by giving it the name of a seed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic with the line is the report, and stderr says for which seed"
)]

// Public for the fuzz targets, which have them as a library.
#[allow(unreachable_pub)]
#[path = "../fuzz/src/convert.rs"]
mod convert;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/rdb.rs"]
mod rdb;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/wire.rs"]
mod wire;

use std::{collections::BTreeSet, fs, path::Path};

type Replay = fn(&[u8]);

const TARGETS: [(&str, Replay); 7] = [
    ("commands", wire::commands),
    ("handshake", wire::handshake),
    ("payload", rdb::payload),
    ("rdb", rdb::rdb),
    ("replies", wire::replies),
    ("stream", wire::stream),
    ("transfer", wire::transfer),
];

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
        if matches!(target, "rdb" | "payload") {
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
