//! A target that stands still while the source is written to: the source is read all the same, and
//! keeps the link that it has.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    client::{Client, text},
    keyferry::Keyferry,
    random::Random,
    scene::{SOON, Scene, snapshots_of, sync},
    server::{Server, wait_for},
    version::Version,
};

/// Bytes of a value that is written.
const VALUE_BYTES: usize = 100_000;

/// The replica that a source has.
#[derive(Debug, PartialEq, Eq)]
struct Replica {
    id: String,
    /// Bytes of the stream that wait at the source.
    waiting_bytes: u64,
}

/// Reads it.
///
/// # Panics
/// When there is none, or there are several.
fn replica(client: &mut Client) -> Replica {
    let listed = text(&client.run(command!["CLIENT", "LIST", "TYPE", "replica"]));
    let lines: Vec<&str> = listed.lines().collect();
    let [line] = lines[..] else {
        panic!("not one replica:\n{listed}");
    };
    let field = |name: &str| {
        let field = line.split(' ').find_map(|field| field.strip_prefix(name));
        field.unwrap().to_owned()
    };
    Replica {
        id: field("id="),
        waiting_bytes: field("omem=").parse().unwrap(),
    }
}

/// Writes values over and over, one after the other, and waits after each step until the source has
/// got rid of them; returns how many bytes.
fn write_while(client: &mut Client, mut goes_on: impl FnMut(usize) -> bool) -> usize {
    const STEP: usize = 10;
    // What cannot be compressed takes the room on disk that it has.
    let value = Random::seeded(1).bytes(VALUE_BYTES);
    let mut written = 0;
    while goes_on(written * VALUE_BYTES) {
        let sets = (written..written + STEP)
            .map(|n| command!["SET", format!("written:{}", n % 50), value.as_slice()]);
        client.pipeline(&sets.collect::<Vec<_>>());
        written += STEP;
        wait_for("the reading of what was written", SOON, || {
            replica(client).waiting_bytes <= (STEP * VALUE_BYTES) as u64
        });
    }
    written * VALUE_BYTES
}

/// Bytes of all files below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Follows, freezes the target, writes as long as `goes_on` says, thaws it, and compares.
fn the_source_keeps_the_link(
    source: Server,
    spool_memory: &str,
    goes_on: impl FnMut(usize) -> bool,
) {
    let scene = Scene::of(source, Server::start("redis-8.0"), 0);
    let directory = tempfile::tempdir().unwrap();
    let args = [
        "--spool-memory",
        spool_memory,
        "--spool-dir",
        directory.path().to_str().unwrap(),
    ];
    let mut keyferry: Keyferry = sync(&scene.source.url(), &scene.target.url(), &args);
    keyferry.wait_for_stderr("following", SOON);
    let mut client = scene.source.client();
    let before = replica(&mut client);
    scene.target.freeze();
    let written = write_while(&mut client, goes_on);
    // The target has taken nothing, and memory little of it.
    let spooled = bytes_below(directory.path());
    assert!(spooled > written as u64 / 2, "{spooled} of {written} bytes");
    assert_eq!(replica(&mut client).id, before.id);
    scene.target.thaw();
    scene.finish_written(keyferry);
    assert_eq!(snapshots_of(&scene.source), 1);
    let log = scene.source.log();
    assert!(!log.contains("output buffer limits"), "{log}");
}

#[test]
fn a_frozen_target_costs_the_source_no_memory() {
    for source in ["redis-7.0", "redis-8.0", "valkey-8.1"] {
        eprintln!("--- {source}");
        // The limit is never below the backlog.
        let source = Server::of(Version::named(source))
            .config("client-output-buffer-limit replica 4mb 0 0")
            .config("repl-backlog-size 1mb")
            .start();
        // Ten times what the source would keep, and memory for less.
        let goes_on = |written_bytes| written_bytes < 40_000_000;
        the_source_keeps_the_link(source, "8mb", goes_on);
    }
}

/// With the limit that servers have by default (256 MB, or 64 MB for a minute).
#[test]
#[ignore = "takes long: make soak"]
fn two_minutes_of_a_frozen_target_under_heavy_writes() {
    let source = Server::start("redis-8.0");
    // In two minutes less than the spool may take on disk by default.
    const BYTES_PER_S: f64 = 50e6;
    let begun = Instant::now();
    let goes_on = |written_bytes| {
        let due = Duration::from_secs_f64(written_bytes as f64 / BYTES_PER_S);
        thread::sleep(due.saturating_sub(begun.elapsed()));
        begun.elapsed() < Duration::from_secs(120)
    };
    the_source_keeps_the_link(source, "128mb", goes_on);
}
