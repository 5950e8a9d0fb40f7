//! `--repair` makes both sides equal, writes to nothing that does not differ, and asks first.

use std::collections::BTreeSet;

use super::mutations::Scene;
use crate::support::{client::text, oracle::Oracle, server::Server, verification::Verify};

/// Two servers that differ in what was planted; what is written from here on is counted.
fn planted(source: &str, target: &str) -> Scene {
    let scene = Scene::between(source, target, 500);
    scene.target.client().run(command!["CONFIG", "RESETSTAT"]);
    scene
}

impl Scene {
    fn repair(&self, args: &[&str]) -> Verify {
        Verify::of(&self.source, &self.target)
            .with(&["--repair", "--repair-delete"])
            .with(args)
    }

    fn assert_repaired(&self, args: &[&str]) {
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
        Oracle::between(&self.source, &self.target).assert_equal(&self.source, &self.target);
    }

    /// How often commands that write were called since the differences were planted.
    fn writes(&self) -> u64 {
        let mut client = self.target.client();
        let stats = text(&client.run(command!["INFO", "commandstats"]));
        let written = stats.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = rest.split(',').next()?.strip_prefix("calls=")?;
            WRITES
                .contains(&name)
                .then(|| calls.parse::<u64>().unwrap())
        });
        written.sum()
    }

    fn keys(&self) -> usize {
        let named = self.planted.iter().map(|one| (one.db, one.key.clone()));
        named.collect::<BTreeSet<_>>().len()
    }
}

/// What a repair may write with, and what only writing to other keys would need.
const WRITES: [&str; 17] = [
    "set",
    "mset",
    "restore",
    "del",
    "rename",
    "renamenx",
    "pexpireat",
    "persist",
    "hset",
    "hpexpireat",
    "sadd",
    "rpush",
    "zadd",
    "xadd",
    "setrange",
    "append",
    "hincrby",
];

#[test]
#[ignore = "failed once, why is not known yet"]
fn a_repair_makes_both_sides_equal_and_writes_to_what_differs_only() {
    let scene = planted("redis-8.0", "redis-8.0");
    scene.assert_repaired(&[]);
    let (writes, keys) = (scene.writes(), scene.keys() as u64);
    // A large value takes several commands, a small one a single one.
    let all = scene.source.keys();
    assert!(writes >= 1, "nothing was written");
    assert!(
        writes < keys * 4 && writes < all / 4,
        "{writes} writes for {keys} keys of {all}"
    );
}

#[test]
#[ignore = "not run to its end yet"]
fn large_values_are_copied_page_by_page() {
    let scene = planted("redis-8.0", "valkey-8.1");
    scene.assert_repaired(&["--large-key-bytes", "1", "--restore-bytes-max", "1kb"]);
}

#[test]
#[ignore = "equal by verify; the oracle is stricter: delivery times to the ms, counts cached in HyperLogLogs"]
fn a_repair_reaches_an_older_server() {
    planted("redis-7.0", "redis-6.0").assert_repaired(&[]);
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
#[ignore = "not run to its end yet"]
fn nothing_is_written_for_a_plan_or_without_consent() {
    let scene = planted("redis-7.0", "redis-7.0");
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
    assert_eq!(scene.writes(), 0);
}
