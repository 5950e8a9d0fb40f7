//! Every server to every other, live: data set, writer, snapshot, stream, stop, oracle.

use crate::support::{
    migration::{Trial, run_pair},
    version::Version,
};

/// Migrates from one version to each that is here.
fn to_each(source: &str) {
    let source = Version::named(source);
    let here = Version::available();
    if !here.contains(&source) {
        return;
    }
    for target in here {
        let (finished, _) = run_pair(source, target, &Trial::new());
        let summary = finished.json();
        assert_eq!(summary["result"], "stopped");
        assert_eq!(summary["expiries_held"], 0);
        assert!(summary["commands"].as_u64() > Some(0), "{summary}");
    }
}

#[test]
fn from_redis_6_0() {
    to_each("redis-6.0");
}

#[test]
fn from_redis_6_2() {
    to_each("redis-6.2");
}

#[test]
fn from_redis_7_0() {
    to_each("redis-7.0");
}

#[test]
fn from_redis_8_0() {
    to_each("redis-8.0");
}

#[test]
fn from_redis_8_6() {
    to_each("redis-8.6");
}

#[test]
fn from_valkey_8_1() {
    to_each("valkey-8.1");
}

#[test]
fn from_valkey_9_1() {
    to_each("valkey-9.1");
}
