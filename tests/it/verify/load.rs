//! While a sync follows and clients write as fast as they can: what differs is found, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::SOON;
use crate::support::{
    client::Command,
    dataset::Dataset,
    http::Site,
    keyferry::Keyferry,
    mutation::Mutations,
    random::Random,
    server::{Server, wait_for},
    verification::{Verified, Verify},
    version::Version,
    writer::Load,
};

/// A source that a sync follows, and where its status is served.
struct Followed {
    source: Server,
    target: Server,
    sync: Keyferry,
    status: String,
}

impl Followed {
    fn new(source: Server, target: Server) -> Followed {
        let urls = [source.url(), target.url()];
        let mut sync = Keyferry::start(
            &[
                "sync",
                "--source",
                &urls[0],
                "--target",
                &urls[1],
                "--status-listen",
                "127.0.0.1:0",
                "--ready-hold",
                "200ms",
            ],
            &[],
        );
        let site = Site::of(&mut sync);
        wait_for("ready", SOON, || site.json("/status")["ready"] == true);
        Followed {
            source,
            target,
            status: site.url(),
            sync,
        }
    }

    fn verify(&mut self, args: &[&str]) -> Verified {
        let verified = Verify::of(&self.source, &self.target)
            .with(&["--sync-status", &self.status])
            .with(args)
            .run();
        assert!(self.sync.running(), "{}", self.sync.stderr());
        for reason in ["unreadable", "evicted"] {
            assert_eq!(verified.undecided(reason), 0, "{}", verified.summary);
        }
        verified
    }

    fn stop(self) {
        self.sync.signal("TERM");
        self.sync.wait(SOON).assert_code(0);
    }
}

/// Plants differences in keys that nobody writes, and looks for them while all others are written.
fn found_under_load(
    versions: [&str; 2],
    small_keys: usize,
    per_second: Option<u32>,
    ways: &[&[&str]],
) {
    let [source, target] = versions.map(Version::named);
    let seed = Random::seed_of_this_run();
    let mut dataset = Dataset::seeded(seed).for_target(target);
    (dataset.small_keys, dataset.big_string_bytes) = (small_keys, 2 << 20);
    let mutations = Mutations::between(source, target);
    let mut load = Load::seeded(seed).for_target(target);
    load.operations_per_second = per_second;
    let source = Server::of(source).config("repl-backlog-size 128mb").start();
    let target = Server::of(target).start();
    dataset.load(&source);
    mutations.make(&source);
    let mut followed = Followed::new(source, target);
    let planted = mutations.plant(&followed.source, &followed.target);
    let writer = load.start(&followed.source);
    for way in ways {
        followed.verify(way).assert_planted(&planted);
    }
    let written = writer.stop();
    assert!(written.total() > 1000, "{written:?}");
    followed.stop();
}

#[test]
fn what_is_planted_is_found_while_others_write() {
    let ways: [&[&str]; 2] = [&[], &["--large-key-bytes", "1"]];
    found_under_load(["redis-8.0", "redis-8.0"], 500, Some(3000), &ways);
}

#[test]
fn what_is_planted_is_found_by_snapshots_while_others_write() {
    found_under_load(
        ["redis-7.0", "valkey-8.1"],
        500,
        Some(3000),
        &[&["--method", "snapshot"]],
    );
}

#[test]
#[ignore = "takes long: make soak"]
fn what_is_planted_is_found_under_full_load() {
    let ways: [&[&str]; 2] = [&[], &["--method", "snapshot"]];
    found_under_load(["redis-8.0", "valkey-9.1"], 300_000, None, &ways);
}

/// A thread that runs commands on a server until it is told to stop.
struct Hammer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Hammer {
    fn start(server: &Server, commands: impl Fn(u64) -> Vec<Command> + Send + 'static) -> Hammer {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut client) = (stop.clone(), server.client());
        let thread = thread::spawn(move || {
            let mut turn = 0;
            while !stopped.load(Ordering::Relaxed) {
                client.pipeline(&commands(turn));
                turn += 1;
            }
            turn
        });
        Hammer { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Some keys that are deleted and made again as other types all the time.
fn of_other_types(turn: u64) -> Vec<Command> {
    let key = format!("hot:{}", turn % 40);
    let make = match turn / 40 % 6 {
        0 => command!["SET", key, turn],
        1 => command!["RPUSH", key, turn, "a", "b"],
        2 => command!["SADD", key, turn, "a", "b"],
        3 => command!["ZADD", key, 1, turn, 2, "b"],
        4 => command!["HSET", key, turn, "a", "b", "c"],
        _ => command!["XADD", key, "*", "a", turn],
    };
    vec![
        command!["MULTI"],
        command!["DEL", key],
        make,
        command!["EXEC"],
    ]
}

#[test]
fn keys_that_change_their_type_all_the_time_are_no_differences() {
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    let fill: Vec<_> = (0..3000)
        .map(|n| command!["HSET", format!("key:{n}"), "a", n])
        .collect();
    source.client().pipeline(&fill);
    source.client().pipeline(&of_other_types(0));
    let mut followed = Followed::new(source, target);
    followed
        .target
        .client()
        .run(command!["HSET", "key:7", "a", "other"]);
    let hammer = Hammer::start(&followed.source, of_other_types);
    for way in [&[][..], &["--large-key-bytes", "1"]] {
        let verified = followed.verify(way);
        let found: Vec<_> = verified.differences.iter().map(|d| &d.key[..]).collect();
        assert_eq!(found, [b"key:7"], "{}", verified.summary);
        verified.finished.assert_code(1);
        let undecided = verified.undecided.iter();
        assert!(
            undecided
                .clone()
                .all(|(_, key, _, _)| key.starts_with(b"hot:")),
            "{:?}",
            verified.undecided
        );
    }
    assert!(hammer.stop() > 100);
    followed.stop();
}

#[test]
fn keys_that_come_and_go_and_expire_are_no_differences() {
    let [source, target] = ["redis-7.0", "valkey-8.1"].map(Server::start);
    let fill: Vec<_> = (0..3000)
        .map(|n| command!["SET", format!("key:{n}"), n])
        .collect();
    source.client().pipeline(&fill);
    let mut followed = Followed::new(source, target);
    let hammer = Hammer::start(&followed.source, |turn| {
        let key = |n: u64| format!("passing:{}", n % 3000);
        let list = key(turn * 5 + 1);
        vec![
            command!["SET", key(turn * 7), turn, "PX", 1 + turn % 900],
            command!["DEL", list],
            command!["RPUSH", list, turn],
            command!["PEXPIRE", list, 1 + turn % 300],
            command!["DEL", key(turn * 11)],
        ]
    });
    for _ in 0..2 {
        let verified = followed.verify(&[]);
        assert_eq!(
            verified.summary["differences"]["total"], 0,
            "{:?}",
            verified.differences
        );
    }
    assert!(hammer.stop() > 100);
    followed.stop();
}
