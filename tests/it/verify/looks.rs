//! Looks that are quicker than a full one: at less of each key, or at fewer keys. What they look at
//! they judge rightly, and they say what they left out.

use super::copy;
use crate::support::{
    client::number,
    dataset::Dataset,
    mutation::{Mutations, Planted},
    random::Random,
    server::{Server, wait_for},
    verification::{Verified, Verify},
    version::Version,
};

/// Two servers that differ in what was planted.
fn scene() -> (Server, Server, Vec<Planted>) {
    let version = Version::named("redis-8.0");
    let mut dataset = Dataset::seeded(Random::seed_of_this_run());
    (dataset.small_keys, dataset.big_string_bytes) = (300, 1 << 20);
    dataset.expiring = false;
    let mutations = Mutations::between(version, version);
    let [source, target] = [version, version].map(|version| Server::of(version).start());
    dataset.load(&source);
    mutations.make(&source);
    copy(&source, &target);
    let planted = mutations.plant(&source, &target);
    (source, target, planted)
}

/// Those that a look finds: of each key and kind one.
fn only(planted: &[Planted], seen: impl Fn(&Planted) -> bool) -> Vec<(u64, Vec<u8>, String)> {
    let seen = planted.iter().filter(|one| seen(one));
    let mut names: Vec<_> = seen
        .map(|one| (u64::from(one.db), one.key.clone(), one.kind().to_owned()))
        .collect();
    names.sort();
    names
}

fn named(verified: &Verified) -> Vec<(u64, Vec<u8>, String)> {
    let found = verified.differences.iter();
    let mut names: Vec<_> = found
        .map(|one| (one.db, one.key.clone(), one.kind.clone()))
        .collect();
    names.sort();
    names
}

#[test]
fn depths_see_what_they_say() {
    let (source, target, planted) = scene();
    let look = |depth| {
        let verified = Verify::of(&source, &target).with(&["--depth", depth]).run();
        verified.finished.assert_code(1);
        assert_eq!(verified.summary["depth"], depth);
        named(&verified)
    };
    // Another number of elements is seen without reading any.
    let whole = ["missing", "only_on_target", "wrong_db", "function"];
    let metadata = |one: &Planted| {
        let counted = one.is("value") && one.has_other_len();
        whole.contains(&one.kind()) || one.is("type") || one.is("expiry") || counted
    };
    assert_eq!(look("metadata"), only(&planted, metadata));
    assert_eq!(
        look("existence"),
        only(&planted, |one| whole.contains(&one.kind()))
    );
}

#[test]
fn a_sample_is_the_same_in_every_run_and_a_part_of_all() {
    let (source, target, planted) = scene();
    let look = |sample| {
        let verified = Verify::of(&source, &target)
            .with(&["--sample", sample])
            .run();
        let looked = verified.count("keys_compared") + verified.count("keys_looked_up");
        let left_out = verified.summary["not_looked_at"]["not_sampled"]
            .as_u64()
            .unwrap();
        let keys = source.keys() + target.keys();
        assert!(
            looked + left_out >= keys,
            "{keys} keys: {}",
            verified.summary
        );
        (named(&verified), looked)
    };
    let (all, looked_all) = look("1/1");
    assert_eq!(all, only(&planted, |_| true));
    let (third, looked_third) = look("1/3");
    assert_eq!((third.clone(), looked_third), look("1/3"));
    assert!(
        third.len() > all.len() / 10 && third.len() < all.len() * 6 / 10,
        "{third:?}"
    );
    assert!(looked_third > looked_all / 10 && looked_third < looked_all * 6 / 10);
    assert!(third.iter().all(|found| all.contains(found)));
}

#[test]
fn filters_leave_out_what_they_do_not_select() {
    let (source, target, planted) = scene();
    let look = |args: &[&str]| named(&Verify::of(&source, &target).with(args).run());
    let text = |one: &Planted| String::from_utf8_lossy(&one.key).into_owned();
    // A part of the keys says nothing about libraries.
    let is_key = |one: &Planted| !one.is("function");
    assert_eq!(
        look(&["--db", "1,11"]),
        only(&planted, |one| is_key(one) && [1, 11].contains(&one.db))
    );
    assert_eq!(
        look(&["--key", "planted:list:*", "--key", "planted:str*"]),
        only(&planted, |one| {
            is_key(one)
                && ["planted:list:", "planted:str"]
                    .iter()
                    .any(|p| text(one).starts_with(p))
        })
    );
    assert_eq!(
        look(&["--not-key", "planted:*:large", "--key-regex", "^planted:"]),
        only(&planted, |one| is_key(one)
            && !text(one).ends_with(":large"))
    );
    let nothing = Verify::of(&source, &target)
        .with(&["--key", "nobody:*"])
        .run();
    nothing.assert_equal();
    assert_eq!(nothing.count("keys_compared"), 0);
    let left_out = nothing.summary["not_looked_at"]["filtered"]
        .as_u64()
        .unwrap();
    assert!(
        left_out >= source.keys() + target.keys(),
        "{}",
        nothing.summary
    );
}

#[test]
fn the_tolerance_of_expiries_is_as_asked_for() {
    let [source, target] = ["redis-7.0", "valkey-8.1"].map(Server::start);
    let times = [0i64, 400, 1500, 5000];
    for (server, is_target) in [(&source, false), (&target, true)] {
        let mut client = server.client();
        for apart in times {
            let at = 4_000_000_000_000 + if is_target { apart } else { 0 };
            client.run(command!["SET", format!("key:{apart}"), "v"]);
            client.run(command!["PEXPIREAT", format!("key:{apart}"), at]);
        }
    }
    for (tolerance, expected) in [
        ("0ms", 3),
        ("399ms", 3),
        ("400ms", 2),
        ("1s", 2),
        ("2s", 1),
        ("5s", 0),
    ] {
        let verified = Verify::of(&source, &target)
            .with(&["--ttl-tolerance", tolerance])
            .run();
        let kinds = &verified.summary["differences"]["by_kind"];
        assert_eq!(
            kinds["expiry"].as_u64().unwrap_or(0),
            expected,
            "{tolerance}"
        );
        assert_eq!(verified.differences.len() as u64, expected, "{tolerance}");
        verified.finished.assert_code(i32::from(expected > 0));
    }
}

/// HLEN counts fields that have expired until the server comes across them, which each does in its
/// own time.
#[test]
fn expired_fields_are_none_at_any_depth() {
    let [source, target] = ["redis-8.0", "redis-8.0"].map(|name| {
        Server::of(Version::named(name))
            .config("enable-debug-command yes")
            .start()
    });
    let mut lens = Vec::new();
    for (server, comes_across) in [(&source, "1"), (&target, "0")] {
        let mut client = server.client();
        client.run(command!["DEBUG", "SET-ACTIVE-EXPIRE", comes_across]);
        client.run(command!["HSET", "hash", "stays", "1", "expires", "2"]);
        client.run(command!["HPEXPIRE", "hash", 1, "FIELDS", 1, "expires"]);
    }
    wait_for("the source to remove its field", super::SOON, || {
        let len = |server: &Server| number(&server.client().run(command!["HLEN", "hash"]));
        lens = vec![len(&source), len(&target)];
        lens[0] == 1
    });
    assert_eq!(lens, [1, 2]);
    for depth in ["metadata", "full"] {
        let verify = Verify::of(&source, &target).with(&["--depth", depth]);
        verify.run().assert_equal();
    }
    // Another field is a difference all the same.
    target.client().run(command!["HSET", "hash", "more", "3"]);
    let verified = Verify::of(&source, &target)
        .with(&["--depth", "metadata"])
        .run();
    verified.finished.assert_code(1);
    assert_eq!(verified.differences.len(), 1);
}
