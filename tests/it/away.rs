//! A target that goes away just when it is to be written to: after it was found, and between its
//! last key and the stream.

use std::time::Duration;

use crate::support::{
    client::{number, text},
    keyferry::Keyferry,
    proxy::{Fault, Proxy},
    random::Random,
    scene::{SOON, Scene, sync},
    server::{Server, wait_for},
    version::Version,
};

/// Connections that are opened from here on are closed by the first byte that is answered.
const TAKES_NOBODY: Fault = Fault::CutAt(0);
/// So late is every answer to the first connection, which asks what the target is.
const LATE: Duration = Duration::from_millis(250);

/// The arguments that name the migration: with and without a proxy it is the same one, and no other
/// test has it.
fn named<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--checkpoint-name", name], more].concat()
}

fn name(scene: &Scene) -> String {
    format!("away-{}", scene.target.port())
}

/// A source whose snapshot takes a second or two to be made.
fn slow_source(name: &str) -> Scene {
    let source = Server::of(Version::named(name)).config("rdb-key-save-delay 300");
    Scene::with(source, "redis-7.0", |dataset| dataset)
}

/// Starts with a proxy before the target whose first connection is late; returns when the target
/// was found. Later connections are as they should be, or take `then`.
fn found(scene: &Scene, then: Fault, args: &[&str]) -> (Proxy, Keyferry) {
    let proxy = Proxy::before(&scene.target);
    proxy.set(Fault::Delay(LATE));
    let (url, name) = (scene.source.url(), name(scene));
    let mut keyferry = sync(&url, &proxy.url(), &named(&name, args));
    keyferry.wait_for_stderr("found the target", SOON);
    proxy.set(then);
    (proxy, keyferry)
}

#[test]
fn a_target_that_is_away_after_it_was_found_is_waited_for() {
    let scene = Scene::between("redis-8.0", "redis-7.0");
    let writer = scene.write();
    let (proxy, mut keyferry) = found(&scene, TAKES_NOBODY, &[]);
    keyferry.wait_for_stderr("waiting because target", SOON);
    proxy.set(Fault::None);
    let finished = scene.finish(writer, keyferry);
    assert!(finished.json()["reconnects"].as_u64() > Some(0));
    assert_eq!(scene.snapshots(), 1);
}

#[test]
fn a_target_that_stays_away_after_it_was_found_ends_the_run_with_4() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let (_proxy, keyferry) = found(&scene, TAKES_NOBODY, &["--retry-for", "2s"]);
    let finished = keyferry.wait(SOON);
    finished.assert_code(4);
    assert_eq!(finished.json()["error"]["side"], "target");
    // With the target in reach the same command begins again.
    let mut keyferry = scene.sync(&named(&name(&scene), &[]));
    keyferry.wait_for_stderr("following", SOON);
    scene.finish_written(keyferry);
}

/// Follows as far as to the end of the snapshot, behind which the target takes no new connection.
fn away_behind_the_snapshot(scene: &Scene, args: &[&str]) -> (Proxy, Keyferry) {
    let proxy = Proxy::before(&scene.target);
    let (url, name) = (scene.source.url(), name(scene));
    let mut keyferry = sync(&url, &proxy.url(), &named(&name, args));
    wait_for("some keys on the target", SOON, || {
        scene.target.keys() > 500
    });
    proxy.set(TAKES_NOBODY);
    keyferry.wait_for_stderr("the snapshot is on the target", SOON);
    keyferry.wait_for_stderr("waiting because target", SOON);
    (proxy, keyferry)
}

#[test]
fn a_target_that_is_away_behind_the_snapshot_is_waited_for() {
    let scene = slow_source("valkey-8.1");
    let writer = scene.write();
    let (proxy, keyferry) = away_behind_the_snapshot(&scene, &[]);
    proxy.set(Fault::None);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

#[test]
fn a_stop_does_not_wait_for_a_target_that_is_away_behind_the_snapshot() {
    let scene = slow_source("redis-8.0");
    let writer = scene.write();
    let (_proxy, keyferry) = away_behind_the_snapshot(&scene, &["--drain-timeout", "1s"]);
    keyferry.signal("TERM");
    let stopped = keyferry.wait(SOON);
    stopped.assert_code(0);
    for said in ["left to the next run", "is kept on disk for the next run"] {
        assert!(stopped.stderr.contains(said), "{}", stopped.stderr);
    }
    let mut keyferry = scene.sync(&named(&name(&scene), &[]));
    keyferry.wait_for_stderr("following", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

/// What a target had when it saved is less than it has confirmed: going on behind the snapshot would
/// lose the rest.
#[test]
fn a_target_that_is_restarted_behind_the_last_key_of_the_snapshot_gets_another() {
    const KEYS: usize = 5000;
    let source = Server::of(Version::named("redis-8.0"))
        .config("rdb-key-save-delay 700")
        .config("repl-diskless-sync-delay 0")
        .start();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|n| format!("key:{n}").into_bytes()).collect();
    // What cannot be compressed fills the socket early.
    let value = Random::seeded(1).bytes(1000);
    let sets: Vec<_> = keys.iter().map(|key| command!["SET", key, value]).collect();
    source.client().pipeline(&sets);
    let mut scene = Scene::of(source, Server::start("redis-7.0"), 0);
    let mut exist = command!["EXISTS"];
    exist.extend(keys);
    let (_proxy, mut keyferry) = found(&scene, Fault::None, &[]);
    let mut client = scene.target.client();
    wait_for("some keys on the target", SOON, || {
        scene.target.keys() > 500
    });
    scene.target.save();
    assert!(scene.target.keys() < KEYS as u64);
    wait_for("all keys on the target", SOON, || {
        number(&client.run(exist.clone())) == KEYS as i64
    });
    wait_for("the end of the lanes", SOON, || {
        !text(&client.run(command!["CLIENT", "LIST"])).contains("name=keyferry:")
    });
    scene.target.kill();
    scene.target.start_again();
    keyferry.wait_for_stderr("a new snapshot is taken", SOON);
    keyferry.wait_for_stderr("following", SOON);
    scene.finish_written(keyferry);
    assert_eq!(scene.snapshots(), 2);
}

#[test]
fn a_target_that_is_restarted_with_older_data_before_the_stream_goes_on_is_brought_up() {
    let mut scene = Scene::between("redis-7.0", "redis-7.0");
    let writer = scene.write();
    let mut keyferry = scene.sync(&named(&name(&scene), &[]));
    keyferry.wait_for_stderr("following", SOON);
    scene.target.save();
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    let (proxy, mut keyferry) = found(&scene, TAKES_NOBODY, &[]);
    keyferry.wait_for_stderr("waiting because target", SOON);
    scene.target.kill();
    scene.target.start_again();
    proxy.set(Fault::None);
    keyferry.wait_for_stderr("came back with older data", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}
