//! Equal keyspaces: nothing is found, whatever versions and settings the two sides have.

use super::copy;
use crate::support::{
    dataset::Dataset, random::Random, server::Server, verification::Verify, version::Version,
};

/// Settings by which other encodings are chosen than by default. Names that a version does not know
/// are left out.
const OTHER_ENCODINGS: [&str; 11] = [
    "list-max-ziplist-size 4",
    "list-compress-depth 1",
    "hash-max-ziplist-entries 3",
    "hash-max-ziplist-value 10000",
    "set-max-intset-entries 2",
    "set-max-listpack-entries 700",
    "zset-max-ziplist-entries 700",
    "zset-max-ziplist-value 10000",
    "hll-sparse-max-bytes 100",
    "stream-node-max-entries 7",
    "rdbcompression no",
];

fn dataset(source: Version, target: Version) -> Dataset {
    let mut dataset = Dataset::seeded(Random::seed_of_this_run())
        .for_target(source)
        .for_target(target);
    dataset.small_keys = 200;
    dataset.big_string_bytes = 2 << 20;
    dataset
}

/// A server that stores values in other ways than by default.
fn encoding_otherwise(version: Version) -> Server {
    // Sets got listpacks with 7.2.
    let has_packed_sets = version.is_redis_from(7, 2) || version.is_valkey_from(7, 2);
    let known = |line: &&str| has_packed_sets || !line.starts_with("set-max-listpack");
    let lines = OTHER_ENCODINGS.iter().copied().filter(known);
    lines
        .fold(Server::of(version), |setup, line| setup.config(line))
        .start()
}

/// Copies a data set to a server with other settings, and compares in one way.
fn is_equal(source: Version, target: Version, way: &[&str]) {
    eprintln!("--- {source} to {target} {way:?}");
    let dataset = dataset(source, target);
    let source = Server::of(source).start();
    let target = encoding_otherwise(target);
    dataset.load(&source);
    copy(&source, &target);
    let verified = Verify::of(&source, &target).with(way).run();
    verified.assert_equal();
    let keys = source.lasting_keys();
    assert!(keys > 500 && verified.count("keys_compared") >= keys);
}

/// Each version to the next one, so that each is a source and a target once.
fn in_a_ring(way: &[&str]) {
    let here = Version::available();
    let next = here.iter().cycle().skip(1);
    for (source, target) in here.iter().zip(next) {
        is_equal(*source, *target, way);
    }
}

#[test]
fn in_the_default_way() {
    in_a_ring(&[]);
}

#[test]
fn page_by_page() {
    in_a_ring(&["--large-key-bytes", "1"]);
}

#[test]
fn by_snapshots() {
    in_a_ring(&["--method", "snapshot"]);
}
