//! `--repair` makes both sides equal, writes to nothing that does not differ, and asks first.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use redis::Value;

use super::mutations::Scene;
use crate::support::{
    client::{Client, Command, bytes, items, number, text},
    dataset::DBS,
    oracle::Oracle,
    server::Server,
    verification::Verify,
};

impl Scene {
    fn repair(&self, args: &[&str]) -> Verify {
        Verify::of(&self.source, &self.target)
            .with(&["--repair", "--repair-delete", "--rounds", "1"])
            .with(args)
    }

    fn assert_repaired(&self, args: &[&str]) {
        let same = self.looks_of_same();
        let repaired = self.repair(args).with(&["--yes"]).run();
        repaired.finished.assert_code(0);
        assert_eq!(repaired.summary["result"], "equal", "{}", repaired.summary);
        assert_eq!(repaired.summary["repair"]["remaining"], 0);
        assert_eq!(
            repaired.summary["differences"]["total"],
            self.planted.len(),
            "what was found stays in the summary: {}",
            repaired.summary
        );
        assert_eq!(
            self.looks_of_same(),
            same,
            "what did not differ was touched"
        );
        self.oracle().assert_equal(&self.source, &self.target);
    }

    /// As tolerant as `verify`, and of the times that are computed from how long entries have been
    /// pending.
    fn oracle(&self) -> Oracle {
        let strict = Oracle::between(&self.source, &self.target);
        Oracle {
            expiry_tolerance_ms: strict.expiry_tolerance_ms.max(1000),
            delivery_tolerance_ms: 100,
            ..strict
        }
    }

    /// How the target holds the keys that are the same for `verify` and not for its clients: each
    /// is stored otherwise than on the source, or expires some time later.
    fn looks_of_same(&self) -> Vec<(u32, String, Value, Value)> {
        let mut client = self.target.client();
        let tells_expiry = client.knows("PEXPIRETIME");
        let mut looks = Vec::new();
        for db in DBS {
            client.select(db);
            let mut keys = items(&client.run(command!["KEYS", "planted:same:*"])).to_vec();
            keys.sort_by_key(bytes);
            for key in keys.iter().map(bytes) {
                let encoding = client.run(command!["OBJECT", "ENCODING", key]);
                let expiry = match tells_expiry {
                    true => client.run(command!["PEXPIRETIME", key]),
                    false => Value::Nil,
                };
                looks.push((db, key.escape_ascii().to_string(), encoding, expiry));
            }
        }
        assert!(looks.len() > 5, "{looks:?}");
        looks
    }

    /// Counts what the target is asked from here on.
    fn count(&self) {
        self.target.client().run(command!["CONFIG", "RESETSTAT"]);
    }

    /// How often these commands were called.
    fn calls(&self, commands: &[&str]) -> u64 {
        let mut client = self.target.client();
        let stats = text(&client.run(command!["INFO", "commandstats"]));
        let called = stats.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = rest.split(',').next()?.strip_prefix("calls=")?;
            commands
                .contains(&name)
                .then(|| calls.parse::<u64>().unwrap())
        });
        called.sum()
    }

    fn keys(&self) -> usize {
        let named = self.planted.iter().map(|one| (one.db, one.key.clone()));
        named.collect::<BTreeSet<_>>().len()
    }
}

/// What a repair writes to keys with that it repairs.
const REPLACES: [&str; 8] = [
    "mset",
    "restore",
    "del",
    "unlink",
    "rename",
    "renamenx",
    "pexpireat",
    "persist",
];

/// What it builds large values with, under staging names, and single strings that expire.
const BUILDS: [&str; 10] = [
    "set",
    "hset",
    "hpexpireat",
    "sadd",
    "rpush",
    "zadd",
    "xadd",
    "xsetid",
    "xgroup|create",
    "setrange",
];

#[test]
fn a_repair_makes_both_sides_equal_and_writes_to_what_differs_only() {
    let scene = Scene::small_between("redis-8.0", "redis-8.0");
    scene.count();
    scene.assert_repaired(&[]);
    let (writes, keys) = (scene.calls(&REPLACES), scene.keys() as u64);
    // A small value takes a single command; a large one is built, named and given its expiry.
    let all = scene.source.keys();
    assert!(writes >= 1, "nothing was written");
    assert!(
        writes < keys * 2 && writes < all / 4,
        "{writes} writes for {keys} keys of {all}"
    );
}

#[test]
fn large_values_are_copied_page_by_page() {
    let scene = Scene::small_between("redis-8.0", "valkey-8.1");
    scene.assert_repaired(&["--large-key-bytes", "1", "--restore-bytes-max", "1kb"]);
}

#[test]
fn a_repair_reaches_an_older_server() {
    Scene::small_between("redis-7.0", "redis-6.0").assert_repaired(&[]);
}

#[test]
fn what_only_the_target_has_stays_unless_it_may_go() {
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    source.client().run(command!["SET", "both", 1]);
    for key in ["both", "extra"] {
        target.client().run(command!["SET", key, 1]);
    }
    let left = Verify::of(&source, &target)
        .with(&["--repair", "--yes"])
        .run();
    left.finished.assert_code(1);
    assert_eq!(left.summary["repair"]["left"], 1, "{}", left.summary);
    assert_eq!(target.keys(), 2);
    let gone = Verify::of(&source, &target)
        .with(&["--repair", "--repair-delete", "--yes"])
        .run();
    gone.finished.assert_code(0);
    assert_eq!(target.keys(), 1);
}

#[test]
fn nothing_is_written_for_a_plan_or_without_consent() {
    let scene = Scene::small_between("redis-7.0", "redis-7.0");
    scene.count();
    let plan = scene.repair(&["--dry-run"]).start().wait(super::SOON);
    plan.assert_code(1);
    for planted in &scene.planted {
        let key = planted.key.escape_ascii().to_string();
        assert!(plan.stdout.contains(&key), "{key}:\n{}", plan.stdout);
    }
    let refused = scene.repair(&[]).start().wait(super::SOON);
    refused.assert_code(2);
    assert!(
        refused.stderr.contains("--repair needs --yes") && refused.stderr.contains("next:"),
        "{}",
        refused.stderr
    );
    assert_eq!(scene.calls(&REPLACES) + scene.calls(&BUILDS), 0);
}

#[test]
fn what_the_source_does_not_let_be_read_is_left() {
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    let mut client = source.client();
    client.run(command!["SET", "key", 1]);
    client.run(command![
        "ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "-dump"
    ]);
    let url = format!("redis://limited:secret@{}", source.address());
    let verify = Verify::between(&url, &target.url());
    let repaired = verify.with(&["--repair", "--yes"]).run();
    repaired.finished.assert_code(1);
    assert_eq!(repaired.summary["repair"]["skipped"], 1);
    assert_eq!(repaired.summary["repair"]["remaining"], 1);
    assert_eq!(target.keys(), 0);
}

/// Elements that come in several pages.
const ELEMENTS: usize = 3000;
const STRING_BYTES: usize = 3 << 20;

/// The db of what keys are turned into.
const TEMPLATES: u32 = 1;
const TYPES: [&str; 6] = ["list", "set", "hash", "zset", "stream", "string"];

/// Makes a value of each type.
fn make_templates(client: &mut Client) {
    client.select(TEMPLATES);
    for n in 0..ELEMENTS {
        client.pipeline(&[
            command!["RPUSH", "list", format!("element:{n}")],
            command!["SADD", "set", format!("member:{n}")],
            command!["HSET", "hash", format!("field:{n}"), format!("value:{n}")],
            command!["ZADD", "zset", n, format!("member:{n}")],
            command!["XADD", "stream", format!("{}-1", n + 1), "field", "value"],
        ]);
    }
    client.run(command!["SET", "string", "x".repeat(STRING_BYTES)]);
}

/// Turns a key into the value of a type, at one go.
fn turn(value_type: &str, key: &str) -> Command {
    command!["COPY", value_type, key, "DB", "0", "REPLACE"]
}

/// Whether a key has all of one of the values that it is turned into.
fn is_whole(client: &mut Client, key: &str) -> bool {
    let (length, whole) = match &text(&client.run(command!["TYPE", key]))[..] {
        "list" => ("LLEN", ELEMENTS),
        "set" => ("SCARD", ELEMENTS),
        "hash" => ("HLEN", ELEMENTS),
        "zset" => ("ZCARD", ELEMENTS),
        "stream" => ("XLEN", ELEMENTS),
        "string" => ("STRLEN", STRING_BYTES),
        _ => return false,
    };
    number(&client.run(command![length, key])) == whole as i64
}

/// Ends a writer, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A key that goes away while its pages are read neither ends a repair nor leaves a part of itself on
/// the target.
#[test]
fn keys_that_get_other_types_meanwhile_are_repaired_or_left() {
    let [source, target] = ["redis-8.0", "redis-8.0"].map(Server::start);
    let keys: Vec<String> = (0..6).map(|n| format!("turning:{n}")).collect();
    let (mut ours, mut theirs) = (source.client(), target.client());
    make_templates(&mut ours);
    ours.select(TEMPLATES);
    for key in &keys {
        ours.run(turn("list", key));
        theirs.run(command!["SET", key, "untouched"]);
    }
    ours.select(0);
    for n in 0..100usize {
        ours.run(command!["RPUSH", format!("still:{n}"), "a", "b", n]);
        theirs.run(command!["RPUSH", format!("still:{n}"), "a"]);
    }
    let repair = || {
        Verify::of(&source, &target)
            .with(&["--repair", "--yes", "--repair-delete"])
            .with(&["--large-key-bytes", "1", "--rounds", "1", "--db", "0"])
    };
    let is_done = AtomicBool::new(false);
    let repaired = thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = source.client();
            client.select(TEMPLATES);
            for value_type in TYPES.into_iter().cycle() {
                for key in &keys {
                    client.run(turn(value_type, key));
                }
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let _stop = Stop(&is_done);
        repair().run()
    });
    let code = repaired.finished.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{code:?}: {}\n{}",
        repaired.summary,
        repaired.finished.stderr
    );
    for n in 0..100 {
        let list = theirs.run(command!["LRANGE", format!("still:{n}"), 0, -1]);
        let list: Vec<String> = items(&list).iter().map(text).collect();
        assert_eq!(list, ["a".to_owned(), "b".to_owned(), n.to_string()]);
    }
    for key in &keys {
        let is_untouched = text(&theirs.run(command!["TYPE", key])) == "string"
            && text(&theirs.run(command!["GETRANGE", key, 0, 100])) == "untouched";
        assert!(
            is_untouched || is_whole(&mut theirs, key),
            "{key} is a mixture: {}",
            repaired.summary
        );
    }
    assert_eq!(target.keys(), 106, "what was begun and left is still there");

    let again = repair().run();
    again.finished.assert_code(0);
    let oracle = Oracle {
        without_dbs: vec![TEMPLATES],
        ..Oracle::between(&source, &target)
    };
    oracle.assert_equal(&source, &target);
}
