//! One difference of each kind, between equal keyspaces of every type: each is found once, as what it
//! is, and nothing else is.

use super::copy;
use crate::support::{
    dataset::Dataset,
    mutation::{Mutations, Planted},
    random::Random,
    server::Server,
    verification::Verify,
    version::Version,
};

/// Two servers that differ in what was planted.
pub(super) struct Scene {
    pub(super) source: Server,
    pub(super) target: Server,
    pub(super) planted: Vec<Planted>,
}

impl Scene {
    /// With everything that can be planted between these versions.
    pub(super) fn between(source: &str, target: &str, small_keys: usize) -> Scene {
        let versions = [source, target].map(Version::named);
        let mutations = Mutations::between(versions[0], versions[1]);
        Scene::of(versions, small_keys, mutations)
    }

    /// The same with less data, and without large values.
    pub(super) fn small_between(source: &str, target: &str) -> Scene {
        let versions = [source, target].map(Version::named);
        let mutations = Mutations::between(versions[0], versions[1]).without("large");
        Scene::of(versions, 300, mutations)
    }

    fn of([source, target]: [Version; 2], small_keys: usize, mutations: Mutations) -> Scene {
        let mut dataset = Dataset::seeded(Random::seed_of_this_run()).for_target(target);
        dataset.small_keys = small_keys;
        dataset.big_string_bytes = 3 << 20;
        let source = Server::of(source).start();
        let target = Server::of(target).start();
        dataset.load(&source);
        mutations.make(&source);
        copy(&source, &target);
        let planted = mutations.plant(&source, &target);
        Scene {
            source,
            target,
            planted,
        }
    }

    fn verify(&self, args: &[&str]) {
        let verified = Verify::of(&self.source, &self.target).with(args).run();
        verified.assert_planted(&self.planted);
        let keys = self.source.keys();
        assert!(
            verified.count("keys_compared") >= keys,
            "{keys} keys: {}",
            verified.summary
        );
    }
}

/// The ways that keys are compared: by their payloads, page by page, by their digests.
const WAYS: [&[&str]; 3] = [&[], &["--large-key-bytes", "1"], &["--method", "snapshot"]];

/// Finds them in every way that keys are compared.
fn each_is_found_once(source: &str, target: &str, small_keys: usize) {
    each_is_found_in(&WAYS, source, target, small_keys);
}

fn each_is_found_in(ways: &[&[&str]], source: &str, target: &str, small_keys: usize) {
    let here = Version::available();
    if [source, target]
        .iter()
        .any(|name| !here.contains(&Version::named(name)))
    {
        return;
    }
    let scene = Scene::between(source, target, small_keys);
    for way in ways {
        scene.verify(way);
    }
}

#[test]
fn between_servers_with_all_types() {
    each_is_found_once("redis-8.0", "redis-8.0", 6_000);
}

#[test]
fn to_a_newer_server() {
    each_is_found_once("redis-6.0", "redis-7.0", 500);
}

#[test]
fn to_another_family_with_other_field_expiries() {
    each_is_found_once("redis-8.6", "valkey-9.1", 500);
}

#[test]
fn to_an_older_server() {
    each_is_found_once("valkey-8.1", "redis-6.2", 500);
}

#[test]
#[ignore = "takes long: make soak"]
fn among_a_million_keys() {
    // Page by page is left out: it takes minutes, and shows no more than with fewer keys.
    let [by_payload, _, by_digest] = WAYS;
    each_is_found_in(&[by_payload, by_digest], "redis-8.0", "redis-8.0", 333_000);
}
