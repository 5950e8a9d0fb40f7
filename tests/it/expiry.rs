//! Keys that expire, are renewed or persisted while the target is behind.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::support::{
    client::{Client, number},
    keyferry::Keyferry,
    migration::wait_until_confirmed,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    server::{Server, Setup, wait_for},
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);
const SESSIONS: usize = 2000;

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
