//! Keys that expire, are renewed or persisted while the target is behind.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::support::{
    client::{Client, items, number, text},
    keyferry::Keyferry,
    migration::wait_until_confirmed,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    server::{Server, Setup, wait_for},
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);
const SESSIONS: usize = 2000;
/// How long a session lives unless it is renewed.
const TTL_MS: u64 = 3000;

fn each(client: &mut Client, command: impl Fn(usize) -> Vec<Vec<u8>>) {
    let commands: Vec<_> = (0..SESSIONS).map(command).collect();
    client.pipeline(&commands);
}

fn exists(client: &mut Client, kind: &str) -> usize {
    let commands: Vec<_> = (0..SESSIONS)
        .map(|n| command!["EXISTS", format!("{kind}:{n}")])
        .collect();
    let found = client.pipeline(&commands);
    found.iter().map(|found| number(found) as usize).sum()
}

/// Session keys with a short TTL that the source renews, keys that get PERSIST, and keys that
/// really die, with a target that stands still for longer than any of them lives.
fn a_late_target_keeps_what_lives(source: &str, target: &str) {
    eprintln!("--- {source} to {target}");
    let source = Server::start(source);
    let target = Server::start(target);
    let mut client = source.client();
    each(&mut client, |n| {
        command!["SET", format!("session:{n}"), "s", "PX", 3000]
    });
    each(&mut client, |n| {
        command!["SET", format!("persisted:{n}"), "p", "PX", 2500]
    });
    each(&mut client, |n| {
        command!["SET", format!("dead:{n}"), "d", "PX", 2500]
    });

    let done = AtomicBool::new(false);
    let finished = thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = source.client();
            while !done.load(Relaxed) {
                each(&mut client, |n| {
                    command!["PEXPIRE", format!("session:{n}"), 3000]
                });
                thread::sleep(Duration::from_millis(800));
            }
        });
        // However it ends, the renewing ends with it.
        let _done = OnDrop(&done);
        let (from, to) = (source.url(), target.url());
        let args = ["sync", "--source", &from, "--target", &to, "--json"];
        let mut keyferry = Keyferry::start(&args, &[]);
        wait_for("the fork", SOON, || {
            source.log().contains("Streamed RDB transfer")
                || source.log().contains("Background RDB transfer")
                || source.log().contains("Background saving started")
        });
        target.freeze();
        each(&mut client, |n| {
            command!["PERSIST", format!("persisted:{n}")]
        });
        thread::sleep(Duration::from_secs(5));
        target.thaw();
        keyferry.wait_for_stderr("following", SOON);
        wait_until_confirmed(&source, &mut keyferry);
        let mut theirs = target.client();
        assert_eq!(exists(&mut theirs, "session"), SESSIONS);
        assert_eq!(exists(&mut theirs, "persisted"), SESSIONS);
        assert_eq!(exists(&mut theirs, "dead"), 0);
        done.store(true, Relaxed);
        // One long renewal, so that both sides can be compared at leisure.
        thread::sleep(Duration::from_secs(1));
        each(&mut client, |n| {
            command!["PEXPIRE", format!("session:{n}"), 600_000]
        });
        wait_until_confirmed(&source, &mut keyferry);
        keyferry.signal("TERM");
        keyferry.wait(SOON)
    });
    finished.assert_code(0);
    assert_eq!(finished.json()["expiries_held"], 0);
    assert_eq!(exists(&mut client, "session"), SESSIONS);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn a_late_target_keeps_renewed_and_persisted_keys() {
    a_late_target_keeps_what_lives("redis-6.0", "redis-6.0");
    a_late_target_keeps_what_lives("redis-8.0", "redis-8.0");
    a_late_target_keeps_what_lives("valkey-8.1", "redis-7.0");
}

/// How slowly a snapshot comes, and how long keys live meanwhile.
#[derive(Clone, Copy)]
struct Pace {
    snapshot_s: usize,
    ttl_ms: i64,
    renewed_every: Duration,
}

const SHORT: Pace = Pace {
    snapshot_s: 25,
    ttl_ms: 8000,
    renewed_every: Duration::from_secs(3),
};

const LONG: Pace = Pace {
    snapshot_s: 60,
    ttl_ms: 20_000,
    renewed_every: Duration::from_secs(10),
};

/// Session keys that the source renews, keys that get PERSIST, and keys that really die, all of them
/// while a snapshot is on its way for longer than any of them lives.
fn a_slow_snapshot_keeps_what_lives(source: Setup, pace: Pace) {
    const BYTES_PER_SECOND: usize = 400_000;
    const VALUE_BYTES: usize = 2000;
    let source = source.config("rdbcompression no").start();
    let target = Server::start("redis-8.0");
    let mut client = source.client();
    let values = pace.snapshot_s * BYTES_PER_SECOND / VALUE_BYTES;
    let fill = "for i=1,ARGV[1] do redis.call('SET','key:'..i,string.rep('x',ARGV[2])) end";
    client.run(command!["EVAL", fill, "0", values, VALUE_BYTES]);
    for kind in ["session", "persisted", "dead"] {
        each(&mut client, |n| {
            command!["SET", format!("{kind}:{n}"), "v", "PX", pace.ttl_ms]
        });
    }
    let proxy = Proxy::before(&source);
    proxy.set_after(b"REDIS00", Fault::Throttle(BYTES_PER_SECOND as u32));

    let done = AtomicBool::new(false);
    let finished = thread::scope(|scope| {
        let renewing = scope.spawn(|| {
            let mut client = source.client();
            while !done.load(Relaxed) {
                each(&mut client, |n| {
                    command!["PEXPIRE", format!("session:{n}"), pace.ttl_ms]
                });
                thread::sleep(pace.renewed_every);
            }
        });
        // However it ends, the renewing ends with it.
        let _done = OnDrop(&done);
        let (from, to) = (proxy.url(), target.url());
        let args = ["sync", "--source", &from, "--target", &to, "--json"];
        let mut keyferry = Keyferry::start(&args, &[]);
        keyferry.wait_for_stderr("snapshot: ", SOON);
        each(&mut client, |n| {
            command!["PERSIST", format!("persisted:{n}")]
        });
        wait_for("the end of those that die", SOON, || {
            exists(&mut client, "dead") == 0
        });
        // By now all others would have died, too.
        thread::sleep(Duration::from_millis(pace.ttl_ms as u64));
        let stderr = keyferry.stderr();
        assert!(
            !stderr.contains("the snapshot is on the target"),
            "{stderr}"
        );
        keyferry.wait_for_stderr("following", 3 * SOON);
        wait_until_confirmed(&source, &mut keyferry);
        let mut theirs = target.client();
        for (kind, alive) in [("session", SESSIONS), ("persisted", SESSIONS), ("dead", 0)] {
            assert_eq!(exists(&mut client, kind), alive, "{kind} on the source");
            assert_eq!(exists(&mut theirs, kind), alive, "{kind} on the target");
        }
        done.store(true, Relaxed);
        renewing.join().unwrap();
        // One long renewal, so that both sides can be compared at leisure.
        each(&mut client, |n| {
            command!["PEXPIRE", format!("session:{n}"), 3_600_000]
        });
        wait_until_confirmed(&source, &mut keyferry);
        keyferry.signal("TERM");
        keyferry.wait(SOON)
    });
    finished.assert_code(0);
    assert_eq!(finished.json()["expiries_held"], 0);
    assert_eq!(finished.json()["diverged"], 0);
    assert_eq!(exists(&mut client, "session"), SESSIONS);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

/// Ends what a scope waits for, also when its test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Over one connection, and over two.
fn slow_snapshots(pace: Pace) {
    let valkey = Server::of(Version::named("valkey-8.1"));
    thread::scope(|scope| {
        for source in [
            Server::of(Version::named("redis-7.0")),
            Server::of(Version::named("redis-8.0")),
            valkey.config("dual-channel-replication-enabled yes"),
        ] {
            scope.spawn(move || a_slow_snapshot_keeps_what_lives(source, pace));
        }
    });
}

#[test]
fn a_snapshot_of_25_s_keeps_keys_that_live_8_s_and_are_renewed() {
    slow_snapshots(SHORT);
}

#[test]
#[ignore = "takes long: make soak"]
fn a_snapshot_of_a_minute_keeps_keys_that_live_20_s_and_are_renewed() {
    slow_snapshots(LONG);
}

/// Session keys whose TTL the source renews, over and over, while the target stands still for longer
/// than they live, after it had caught up; how many of them the target has then.
fn sessions_kept_by_a_frozen_target(source: &str, target: &str, more: &[&str]) -> usize {
    eprintln!("--- {source} to {target}, {more:?}");
    let (source, target) = (Server::start(source), Server::start(target));
    let mut client = source.client();
    each(&mut client, |n| {
        command!["SET", format!("session:{n}"), "s", "PX", TTL_MS]
    });
    let (from, to) = (source.url(), target.url());
    let args = ["sync", "--source", &from, "--target", &to, "--json"];
    let mut keyferry = Keyferry::start(&[&args, more].concat(), &[]);
    let done = AtomicBool::new(false);
    let kept = thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = source.client();
            while !done.load(Relaxed) {
                each(&mut client, |n| {
                    command!["PEXPIRE", format!("session:{n}"), TTL_MS]
                });
                thread::sleep(Duration::from_millis(500));
            }
        });
        keyferry.wait_for_stderr("following", SOON);
        wait_until_confirmed(&source, &mut keyferry);
        target.freeze();
        // By the target's clock they are dead then, whatever it was told last.
        thread::sleep(Duration::from_millis(2 * TTL_MS));
        target.thaw();
        wait_until_confirmed(&source, &mut keyferry);
        let kept = exists(&mut target.client(), "session");
        done.store(true, Relaxed);
        kept
    });
    assert_eq!(exists(&mut client, "session"), SESSIONS, "of the source");
    each(&mut client, |n| {
        command!["PEXPIRE", format!("session:{n}"), 3_600_000]
    });
    wait_until_confirmed(&source, &mut keyferry);
    keyferry.signal("TERM");
    let finished = keyferry.wait(SOON);
    finished.assert_code(0);
    assert_eq!(finished.json()["expiries_held"], 0);
    match kept {
        SESSIONS => {
            assert_eq!(finished.json()["diverged"], 0);
            Oracle::between(&source, &target).assert_equal(&source, &target);
        }
        _ => assert_ne!(finished.json()["diverged"], 0),
    }
    kept
}

#[test]
fn a_frozen_target_keeps_what_is_renewed_within_the_time_that_is_held() {
    let kept = |more| sessions_kept_by_a_frozen_target("redis-7.0", "redis-8.0", more);
    assert_eq!(kept(&[]), SESSIONS);
    assert_eq!(kept(&["--hold-expiries", "all"]), SESSIONS);
    // What is not held the target deletes by its own clock: the test would see it.
    assert_eq!(kept(&["--hold-expiries", "0"]), 0);
}

#[test]
fn a_frozen_target_in_import_mode_keeps_whatever_is_renewed() {
    for target in ["valkey-8.1", "valkey-9.1"] {
        let kept = |more| sessions_kept_by_a_frozen_target("redis-7.0", target, more);
        assert_eq!(kept(&["--hold-expiries", "0"]), SESSIONS);
        let off = ["--hold-expiries", "0", "--import-mode", "off"];
        assert_eq!(kept(&off), 0);
    }
}

/// What `CONFIG GET import-mode` says.
fn import_mode(target: &Server) -> String {
    let answer = target
        .client()
        .run(command!["CONFIG", "GET", "import-mode"]);
    text(&items(&answer)[1])
}

#[test]
fn import_mode_is_put_back_by_whoever_ends_the_migration() {
    let source = Server::start("redis-7.0");
    let mut target = Server::start("valkey-8.1");
    let (from, to) = (source.url(), target.url());
    let sync = |more: &[&str]| {
        let args = ["sync", "--source", &from, "--target", &to, "--json"];
        let name = ["--checkpoint-name", "import-mode"];
        let mut keyferry = Keyferry::start(&[&args[..], &name, more].concat(), &[]);
        keyferry.wait_for_stderr("following", SOON);
        keyferry
    };
    let checkpoint = |more: &[&str]| {
        let finished = Keyferry::run(&[&["checkpoint"], more, &["--target", &to]].concat(), SOON);
        finished.assert_code(0);
        finished
    };
    // A run that is killed leaves it on, and says so; the next one ends it.
    let mut keyferry = sync(&[]);
    assert_eq!(import_mode(&target), "yes");
    keyferry.kill();
    assert_eq!(import_mode(&target), "yes");
    let listed = checkpoint(&["list", "--json"]).json();
    assert_eq!(listed[0]["import_mode"], true, "{listed}");
    let keyferry = sync(&[]);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    assert_eq!(import_mode(&target), "no");
    let listed = checkpoint(&["list", "--json"]).json();
    assert_eq!(listed[0]["import_mode"], false, "{listed}");

    // So does dropping its checkpoint.
    let mut keyferry = sync(&[]);
    keyferry.kill();
    checkpoint(&["drop", "import-mode"]);
    assert_eq!(import_mode(&target), "no");

    // A target that was restarted has forgotten it.
    target.client().run(command!["FLUSHALL"]);
    let mut keyferry = sync(&[]);
    target.shutdown_with_save();
    keyferry.wait_for_stderr("waiting because", SOON);
    target.start_again();
    wait_for("import mode", SOON, || import_mode(&target) == "yes");
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    assert_eq!(import_mode(&target), "no");

    // What somebody else has turned on stays on.
    target
        .client()
        .run(command!["CONFIG", "SET", "import-mode", "yes"]);
    let keyferry = sync(&[]);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    assert_eq!(import_mode(&target), "yes");
}

#[test]
fn import_mode_is_done_without_where_it_may_not_be_set() {
    let source = Server::start("redis-7.0");
    let target = Server::of(Version::named("valkey-8.1"))
        .user("mover", "words", "~* &* +@all -config|set")
        .start();
    let to = format!("redis://mover:words@{}", target.address());
    let args = ["sync", "--source", &source.url(), "--target", &to];
    let mut keyferry = Keyferry::start(&args, &[]);
    keyferry.wait_for_stderr("following", SOON);
    assert_eq!(import_mode(&target), "no");
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

/// Fields with a TTL that passes while the target stands still, and one that is renewed.
#[test]
fn a_late_target_keeps_renewed_fields() {
    for (source, target) in [("redis-8.0", "redis-8.0"), ("valkey-9.1", "redis-8.0")] {
        if !Version::available().contains(&Version::named(source)) {
            continue;
        }
        let source = Server::start(source);
        let target = Server::start(target);
        let mut client = source.client();
        client.run(command![
            "HSET", "h", "renewed", "1", "dead", "2", "plain", "3"
        ]);
        client.run(command![
            "HPEXPIRE", "h", 2500, "FIELDS", 2, "renewed", "dead"
        ]);
        let (from, to) = (source.url(), target.url());
        let args = ["sync", "--source", &from, "--target", &to, "--json"];
        target.freeze();
        let mut keyferry = Keyferry::start(&args, &[]);
        thread::sleep(Duration::from_millis(1500));
        client.run(command!["HPEXPIRE", "h", 600_000, "FIELDS", 1, "renewed"]);
        thread::sleep(Duration::from_millis(2500));
        target.thaw();
        keyferry.wait_for_stderr("following", SOON);
        wait_until_confirmed(&source, &mut keyferry);
        keyferry.signal("TERM");
        keyferry.wait(SOON).assert_code(0);
        let kept = target.client().run(command!["HEXISTS", "h", "renewed"]);
        assert_eq!(number(&kept), 1);
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

#[test]
fn a_full_copy_leaves_expired_keys_out_and_counts_them() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("enable-debug-command yes")
        .start();
    let target = Server::start("redis-7.0");
    let mut client = source.client();
    client.run(command!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    client.run(command!["SET", "gone", "1", "PX", 1]);
    client.run(command!["SET", "kept", "1", "PX", 600_000]);
    thread::sleep(Duration::from_millis(20));
    let (from, to) = (source.url(), target.url());
    let args = [
        "sync", "--source", &from, "--target", &to, "--mode", "full", "--json",
    ];
    let finished = Keyferry::run(&args, SOON);
    finished.assert_code(0);
    assert_eq!(finished.json()["skipped"]["expired"], 1);
    assert_eq!(finished.json()["keys"]["total"], 1);
    let at = |client: &mut Client| number(&client.run(command!["PEXPIRETIME", "kept"]));
    assert_eq!(at(&mut client), at(&mut target.client()));
}
