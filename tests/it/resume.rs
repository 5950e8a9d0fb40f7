//! What a migration survives: kills, lost links, restarts and takeovers, under load. At the end both
//! sides are equal, and the source has made no more snapshots than it had to.

use std::{collections::BTreeMap, thread, time::Duration};

use crate::support::{
    client::{number, text},
    keyferry::{Finished, Keyferry},
    migration::wait_until_confirmed,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    random::Random,
    scene::{SOON, Scene, snapshots_of, sync},
    server::{Server, wait_for},
    version::Version,
    writer::Load,
};

/// Fewer than the data set has.
const KEYS: u64 = 4000;

#[test]
fn kills_at_any_moment_lose_nothing_and_apply_nothing_twice() {
    let scene = Scene::between("redis-8.0", "redis-8.0");
    kill_again_and_again(&scene, 8);
}

#[test]
fn kills_between_other_servers() {
    let scene = Scene::between("valkey-8.1", "redis-7.0");
    kill_again_and_again(&scene, 5);
}

#[test]
#[ignore = "takes long: make soak"]
fn a_hundred_kills() {
    let scene = Scene::between("redis-8.0", "valkey-8.1");
    kill_again_and_again(&scene, 100);
}

/// What the writers must have done by the end: whatever is done twice or not at all shows.
const WRITTEN: &[&str] = &[
    "INCR", "APPEND", "LPUSH", "RPOP", "XADD", "HINCRBY", "ZINCRBY", "SETRANGE", "EXEC", "PEXPIRE",
];

/// Where a run was when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Snapshot,
    CatchingUp,
    Following,
}

impl Moment {
    /// By what it has said.
    fn of(keyferry: &Keyferry) -> Moment {
        let stderr = keyferry.stderr();
        let said = |words: &[&str]| words.iter().any(|words| stderr.contains(words));
        match () {
            () if said(&["INFO following:"]) => Moment::Following,
            () if said(&["the snapshot is on the target", "it goes on from there"]) => {
                Moment::CatchingUp
            }
            () => Moment::Snapshot,
        }
    }
}

/// Kills keyferry at random moments: the first ones within the snapshot, then by turns while it
/// catches up and while it follows.
fn kill_again_and_again(scene: &Scene, kills: u64) {
    let mut random = Random::seeded(scene.seed);
    let writer = scene.write();
    let mut killed = BTreeMap::<Moment, u64>::new();
    for kill in 0..kills {
        let mut keyferry = scene.sync(&[]);
        let is_copied = killed.keys().any(|moment| *moment != Moment::Snapshot);
        let aim = match kill {
            kill if kill < kills / 4 && !is_copied => Moment::Snapshot,
            kill if kill % 2 == 0 => Moment::CatchingUp,
            _ => Moment::Following,
        };
        let keys = random.below(KEYS);
        let pause_ms = random.below(if aim == Moment::Following { 2500 } else { 100 });
        wait_for("the moment", SOON, || {
            assert!(keyferry.running(), "{}", keyferry.stderr());
            match aim {
                Moment::Snapshot => {
                    keyferry.stderr().contains("INFO snapshot:") && scene.target.keys() > keys
                }
                aim => Moment::of(&keyferry) >= aim,
            }
        });
        if aim != Moment::Snapshot {
            thread::sleep(Duration::from_millis(pause_ms));
        }
        assert!(keyferry.running(), "{}", keyferry.stderr());
        keyferry.kill();
        let moment = Moment::of(&keyferry);
        eprintln!("--- kill {kill}, {moment:?}:\n{}", keyferry.stderr());
        *killed.entry(moment).or_default() += 1;
    }
    let mut keyferry = scene.sync(&[]);
    keyferry.wait_for_stderr("following", SOON);
    let written = writer.stop();
    scene.finish_written(keyferry);
    eprintln!("killed {killed:?}");
    assert_eq!(killed.len(), 3, "{killed:?}");
    for name in WRITTEN {
        assert!(written.done.contains_key(*name), "never written: {name}");
    }
    // A run that is killed just when its snapshot is complete may have no checkpoint of the stream.
    let more = scene.snapshots() - killed[&Moment::Snapshot];
    assert!((1..=2).contains(&more), "{more}");
}

#[test]
fn a_stopped_migration_goes_on_with_the_same_command() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    for _ in 0..3 {
        let mut keyferry = scene.sync(&[]);
        keyferry.wait_for_stderr("following", SOON);
        keyferry.signal("TERM");
        keyferry.wait(SOON).assert_code(0);
    }
    let listed = Keyferry::run(
        &[
            "checkpoint",
            "list",
            "--target",
            &scene.target.url(),
            "--json",
        ],
        SOON,
    );
    listed.assert_code(0);
    let listed = listed.json();
    assert_eq!(listed[0]["phase"], "stream", "{listed}");
    assert_eq!(listed[0]["source"], scene.source.address());
    let keyferry = scene.sync(&["--until-caught-up"]);
    writer.stop();
    keyferry.wait(SOON).assert_code(0);
    scene.assert_equal();
    assert_eq!(scene.snapshots(), 1);
    // What was finished leaves nothing behind.
    let keys = scene.target.client().run(command!["KEYS", "*keyferry*"]);
    assert_eq!(keys, redis::Value::Array(Vec::new()));
}

#[test]
fn a_checkpoint_that_is_dropped_begins_anew() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let mut keyferry = scene.sync(&["--checkpoint-name", "anew"]);
    keyferry.wait_for_stderr("following", SOON);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    let target = scene.target.url();
    let drop = |name| Keyferry::run(&["checkpoint", "drop", name, "--target", &target], SOON);
    drop("other").assert_code(2);
    drop("anew").assert_code(0);
    let list = Keyferry::run(&["checkpoint", "list", "--target", &target], SOON);
    assert_eq!(list.stdout, "no migration has left a checkpoint there\n");
    let again = scene.sync(&["--checkpoint-name", "anew"]).wait(SOON);
    again.assert_code(2);
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
}

/// The name of a migration to this target: no other test has it, so none has its files.
fn migration_to(target: &Server) -> String {
    format!("to-{}", target.port())
}

/// What `keyferry checkpoint drop` says about that migration.
fn drop_checkpoint(target: &Server, more: &[&str]) -> Finished {
    let (url, name) = (target.url(), migration_to(target));
    let mut args = vec!["checkpoint", "drop", &name, "--target", &url];
    args.extend(more);
    Keyferry::run(&args, SOON)
}

#[test]
fn a_checkpoint_is_not_dropped_under_a_run_unless_that_is_forced() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    let name = migration_to(&scene.target);
    let mut keyferry = scene.sync(&["--checkpoint-name", &name]);
    keyferry.wait_for_stderr("following", SOON);
    let refused = drop_checkpoint(&scene.target, &[]);
    refused.assert_code(2);
    for said in ["is running", "from 127.0.0.1:", "--force"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    let offset = || {
        let offset = command!["HGET", format!("keyferry:checkpoint:{name}"), "offset"];
        text(&scene.target.client().run(offset))
    };
    let before = offset();
    wait_for("the run to go on", SOON, || offset() != before);

    drop_checkpoint(&scene.target, &["--force"]).assert_code(0);
    assert_ended_by_the_drop(&scene.target, keyferry);
    writer.stop();
}

#[test]
fn a_checkpoint_that_is_dropped_where_nobody_may_be_shut_out_is_not_written_again() {
    let seed = Random::seed_of_this_run();
    let source = Server::start("redis-7.0");
    let target = Server::of(Version::named("redis-7.0"))
        .user(
            "mover",
            "words",
            "~* &* +@all -client|list -client|kill -client|setname",
        )
        .start();
    let url = format!("redis://mover:words@{}", target.address());
    let writer = Load::seeded(seed)
        .for_target(target.version())
        .start(&source);
    let mut keyferry = sync(
        &source.url(),
        &url,
        &["--checkpoint-name", &migration_to(&target)],
    );
    keyferry.wait_for_stderr("following", SOON);
    // Nothing tells that somebody writes; the next transaction finds out.
    drop_checkpoint(&target, &[]).assert_code(0);
    assert_ended_by_the_drop(&target, keyferry);
    writer.stop();
}

#[test]
fn a_checkpoint_that_is_dropped_within_the_snapshot_ends_it() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let fill = "for i=1,60000 do redis.call('SET','key:'..i,string.rep('x',100),'EX',600) end";
    source.client().run(command!["EVAL", fill, "0"]);
    let proxy = Proxy::before(&source);
    proxy.set_after(b"REDIS00", Fault::Delay(Duration::from_millis(50)));
    let keyferry = sync(
        &proxy.url(),
        &target.url(),
        &["--checkpoint-name", &migration_to(&target)],
    );
    wait_for("a part of the snapshot", SOON, || target.keys() > 1000);
    drop_checkpoint(&target, &[]).assert_code(2);
    let dropped = drop_checkpoint(&target, &["--force"]);
    dropped.assert_code(0);
    assert!(
        dropped.stdout.contains("held expiries"),
        "{}",
        dropped.stdout
    );
    assert_ended_by_the_drop(&target, keyferry);
}

/// The run ends with 4, says why, and has not written the checkpoint once more. Nobody knows of its
/// held expiries any more, so none is left.
fn assert_ended_by_the_drop(target: &Server, keyferry: Keyferry) {
    let ended = keyferry.wait(SOON);
    ended.assert_code(4);
    assert!(ended.stderr.contains("was dropped"), "{}", ended.stderr);
    let left = command!["KEYS", "*keyferry:checkpoint*"];
    let mut client = target.client();
    assert_eq!(client.run(left), redis::Value::Array(Vec::new()));
    let held = "local held = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                if redis.call('PTTL', key) > 2^46 then held = held + 1 end end return held";
    assert_eq!(number(&client.run(command!["EVAL", held, "0"])), 0);
}

#[test]
fn lost_links_on_both_sides_are_opened_again() {
    for (source, target) in [("redis-8.0", "redis-6.0"), ("redis-6.2", "valkey-9.1")] {
        let scene = Scene::between(source, target);
        let [before_source, before_target] = [&scene.source, &scene.target].map(Proxy::before);
        let writer = scene.write();
        let mut keyferry = sync(&before_source.url(), &before_target.url(), &[]);
        keyferry.wait_for_stderr("following", SOON);
        let mut random = Random::seeded(scene.seed);
        for _ in 0..6 {
            thread::sleep(Duration::from_millis(300 + random.below(500)));
            match random.chance(2) {
                true => before_source.cut_now(),
                false => before_target.cut_now(),
            }
        }
        let finished = scene.finish(writer, keyferry);
        assert!(finished.json()["reconnects"].as_u64() > Some(0));
        assert_eq!(scene.snapshots(), 1, "{}", finished.stderr);
    }
}

#[test]
fn a_target_that_loses_connections_within_the_snapshot_gets_it_all_the_same() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let proxy = Proxy::before(&scene.target);
    let writer = scene.write();
    let mut keyferry = sync(&scene.source.url(), &proxy.url(), &[]);
    keyferry.wait_for_stderr("INFO snapshot: ", SOON);
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(60));
        proxy.cut_now();
    }
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

#[test]
fn a_target_that_is_frozen_is_waited_for_and_the_source_keeps_us() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    let mut keyferry = scene.sync(&["--target-timeout", "2s"]);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.freeze();
    keyferry.wait_for_stderr("has not answered", SOON);
    thread::sleep(Duration::from_secs(4));
    scene.target.thaw();
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

#[test]
fn a_target_that_comes_back_older_is_brought_up_again() {
    let mut scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    let mut keyferry = scene.sync(&[]);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.client().run(command!["SAVE"]);
    thread::sleep(Duration::from_secs(2));
    scene.target.kill();
    scene.target.start_again();
    keyferry.wait_for_stderr("came back with older data", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

#[test]
fn a_target_that_comes_back_empty_is_not_continued() {
    let mut scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    let mut keyferry = scene.sync(&[]);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.kill();
    scene.target.start_again();
    let finished = keyferry.wait(SOON);
    writer.stop();
    finished.assert_code(4);
    assert!(
        finished.stderr.contains("has lost its checkpoint"),
        "{}",
        finished.stderr
    );
    assert_eq!(scene.target.keys(), 0);
}

#[test]
fn a_source_that_is_restarted_continues_the_stream() {
    let mut scene = Scene::between("redis-7.0", "redis-7.0");
    let mut keyferry = scene.sync(&[]);
    keyferry.wait_for_stderr("following", SOON);
    scene.source.client().run(command!["SET", "before", "1"]);
    scene.source.shutdown_with_save();
    keyferry.wait_for_stderr("connecting again", SOON);
    scene.source.start_again();
    keyferry.wait_for_stderr("continues the stream", SOON);
    let writer = scene.write();
    thread::sleep(Duration::from_secs(1));
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 0, "of the process that was started anew");
}

#[test]
fn a_promoted_replica_continues_the_stream() {
    let mut scene = Scene::between("redis-8.0", "redis-8.0");
    let replica = Server::of(Version::named("redis-8.0"))
        .config("repl-backlog-size 128mb")
        .start();
    replica.replicate(&scene.source);
    let writer = scene.write();
    let mut keyferry = scene.sync(&["--checkpoint-name", "moved"]);
    keyferry.wait_for_stderr("following", SOON);
    writer.stop();
    wait_until_confirmed(&scene.source, &mut keyferry);
    replica.wait_for_offset_of(&scene.source);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    scene.source.kill();
    replica.client().run(command!["REPLICAOF", "NO", "ONE"]);

    let promoted = Scene::of(replica, scene.target, scene.seed + 1);
    let before = promoted.snapshots();
    let writer = promoted.write();
    let mut keyferry = promoted.sync(&["--checkpoint-name", "moved"]);
    keyferry.wait_for_stderr("following", SOON);
    promoted.finish(writer, keyferry);
    assert_eq!(promoted.snapshots(), before);
}

#[test]
fn a_gap_is_named_in_bytes_and_copied_again_only_when_that_is_allowed() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("repl-backlog-size 16kb")
        .start();
    let target = Server::start("redis-7.0");
    source.client().run(command!["SET", "kept", "1"]);
    source.client().run(command!["SET", "deleted", "1"]);
    let mut keyferry = sync(&source.url(), &target.url(), &[]);
    keyferry.wait_for_stderr("following", SOON);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    let mut client = source.client();
    client.run(command!["DEL", "deleted"]);
    let large = "x".repeat(1000);
    for number in 0..100 {
        client.run(command![
            "SET",
            "key:".to_owned() + &number.to_string(),
            large.as_str()
        ]);
    }
    let finished = sync(&source.url(), &target.url(), &[]).wait(SOON);
    finished.assert_code(3);
    assert!(
        finished.stderr.contains("bytes of the stream are missing"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("--allow-full-resync"),
        "{}",
        finished.stderr
    );
    assert_eq!(snapshots_of(&source), 1, "it was asked before");

    let args = ["--allow-full-resync", "--yes", "--until-caught-up"];
    sync(&source.url(), &target.url(), &args)
        .wait(SOON)
        .assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn what_an_interrupted_snapshot_wrote_is_removed_and_nothing_else() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let fill = "for i=1,60000 do redis.call('SET','key:'..i,string.rep('x',100)) end";
    source.client().run(command!["EVAL", fill, "0"]);
    let proxy = Proxy::before(&source);
    proxy.set_after(b"REDIS00", Fault::Delay(Duration::from_millis(100)));
    let args = ["--checkpoint-name", "interrupted"];
    let mut keyferry = sync(&proxy.url(), &target.url(), &args);
    wait_for("a part of the snapshot", SOON, || target.keys() > 1000);
    keyferry.kill();
    target.client().run(command!["SET", "theirs", "1"]);
    source.client().run(command!["FLUSHALL"]);
    source.client().run(command!["SET", "new", "1"]);

    // The key that somebody else wrote meanwhile is a conflict like any other.
    let refused = sync(&source.url(), &target.url(), &args).wait(SOON);
    refused.assert_code(2);
    assert_eq!(target.keys(), 1);
    let args = [
        args[0],
        args[1],
        "--on-conflict",
        "replace",
        "--mode",
        "full",
    ];
    sync(&source.url(), &target.url(), &args)
        .wait(SOON)
        .assert_code(0);
    let mut client = target.client();
    let mut keys = crate::support::client::items(&client.run(command!["KEYS", "*"]))
        .iter()
        .map(text)
        .collect::<Vec<_>>();
    keys.sort();
    assert_eq!(keys, ["new", "theirs"]);
}

#[test]
fn a_second_keyferry_takes_over_and_the_first_one_stops() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [here, elsewhere] = directories
        .each_ref()
        .map(|dir| dir.path().to_str().unwrap());
    let writer = scene.write();
    let mut first = scene.sync(&["--spool-dir", here]);
    first.wait_for_stderr("following", SOON);
    let locked = scene.sync(&["--spool-dir", here]).wait(SOON);
    locked.assert_code(5);
    assert!(locked.stderr.contains("is used by"), "{}", locked.stderr);
    assert!(first.running());

    let mut second = scene.sync(&["--spool-dir", elsewhere]);
    second.wait_for_stderr("following", SOON);
    let fenced = first.wait(SOON);
    fenced.assert_code(4);
    assert!(
        fenced.stderr.contains("was taken over"),
        "{}",
        fenced.stderr
    );
    scene.finish(writer, second);
    assert_eq!(scene.snapshots(), 1);
}

#[test]
fn a_checkpoint_file_goes_on_too() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let directory = tempfile::tempdir().unwrap();
    let args = [
        "--checkpoint",
        "file",
        "--spool-dir",
        directory.path().to_str().unwrap(),
    ];
    let writer = scene.write();
    let mut keyferry = scene.sync(&args);
    keyferry.wait_for_stderr("following", SOON);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    assert_eq!(
        scene
            .target
            .client()
            .run(command!["EXISTS", "keyferry:checkpoint:x"]),
        redis::Value::Int(0)
    );
    let mut keyferry = scene.sync(&args);
    keyferry.wait_for_stderr("following", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
    let keys = scene.target.client().run(command!["KEYS", "*keyferry*"]);
    assert_eq!(keys, redis::Value::Array(Vec::new()));
}

#[test]
fn a_drain_that_takes_too_long_is_finished_by_the_next_run() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    let mut keyferry = scene.sync(&["--drain-timeout", "1s"]);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.freeze();
    thread::sleep(Duration::from_secs(2));
    keyferry.signal("TERM");
    let stopped = keyferry.wait(SOON);
    stopped.assert_code(0);
    assert!(
        stopped.stderr.contains("left to the next run"),
        "{}",
        stopped.stderr
    );
    let kept = "is kept on disk for the next run";
    assert!(stopped.stderr.contains(kept), "{}", stopped.stderr);
    assert!(!stopped.stderr.contains("the source sends faster"));
    scene.target.thaw();
    let mut keyferry = scene.sync(&[]);
    keyferry.wait_for_stderr("following", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}
