//! What a full sync of small strings costs: instructions and system calls, which hardly depend on
//! the machine. Skipped by name where valgrind or strace is missing.

use std::process::{Command as Process, Stdio};

use tempfile::TempDir;

use crate::support::{client::Client, random::Random, server::Server};

/// Instructions for each key. Those of a build for tests are many times those of a release.
const INSTRUCTIONS_MAX: f64 = if cfg!(debug_assertions) {
    33_000.0
} else {
    2_400.0
};
/// System calls for each megabyte of the snapshot; the source sends it in pieces of 16 KiB.
const CALLS_MAX: f64 = 320.0;

/// Appends so many strings of 64 bytes.
fn fill(client: &mut Client, from: u64, until: u64) {
    let mut random = Random::seeded(from);
    let commands: Vec<_> = (from..until)
        .map(|n| command!["SET", format!("key:{n:012}"), random.bytes(64)])
        .collect();
    client.pipeline(&commands);
}

/// Whether a program is here; its name is said where it is not.
fn is_here(program: &str) -> bool {
    let found = Process::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    let is_here = found.is_ok_and(|status| status.success());
    if !is_here {
        eprintln!("skipped: {program} is not here");
    }
    is_here
}

/// Runs a full sync under another program; returns what that wrote into its file.
fn sync_under(program: &str, args: &[&str], source: &Server, target: &Server) -> String {
    target.client().run(command!["FLUSHALL"]);
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("counted");
    let path = file.to_str().unwrap();
    let args = args.iter().map(|arg| arg.replace("FILE", path));
    let status = Process::new(program)
        .args(args)
        .arg(env!("CARGO_BIN_EXE_keyferry"))
        .args(["sync", "--mode", "full", "--progress", "never"])
        .args(["--source", &source.url(), "--target", &target.url()])
        .arg("--spool-dir")
        .arg(scratch.path().join("spool"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{program}: {status}");
    assert_eq!(source.keys(), target.keys());
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_small_string_takes_a_bounded_number_of_instructions() {
    if !is_here("valgrind") {
        return;
    }
    let source = Server::start("redis-8.0");
    let target = Server::start("redis-8.0");
    let args = ["--tool=callgrind", "--callgrind-out-file=FILE"];
    let mut client = source.client();
    let mut instructions = |from, until| {
        fill(&mut client, from, until);
        let counted = sync_under("valgrind", &args, &source, &target);
        let total = counted.lines().find_map(|l| l.strip_prefix("totals: "));
        total.and_then(|n| n.parse::<f64>().ok()).unwrap()
    };
    // What a run costs by itself is in both.
    let (few, many) = (instructions(0, 2_000), instructions(2_000, 12_000));
    let each = (many - few) / 10_000.0;
    eprintln!("{each:.0} instructions a key");
    assert!(each <= INSTRUCTIONS_MAX, "{each:.0} instructions a key");
    assert!(each > 500.0, "{each:.0}: that is not all of it");
}

#[test]
fn a_megabyte_takes_a_bounded_number_of_system_calls() {
    if !is_here("strace") {
        return;
    }
    let source = Server::start("redis-8.0");
    let target = Server::start("redis-8.0");
    let args = ["-f", "-c", "-o", "FILE"];
    let mut client = source.client();
    let mut calls = |from, until| {
        fill(&mut client, from, until);
        let counted = sync_under("strace", &args, &source, &target);
        // % time, seconds, usecs/call, calls, (errors,) "total"
        let total = counted.lines().find(|l| l.ends_with(" total")).unwrap();
        let calls = total.split_whitespace().nth(3).unwrap();
        calls.parse::<f64>().unwrap()
    };
    let (few, many) = (calls(0, 1_000), calls(1_000, 101_000));
    // A key takes 84 bytes of the snapshot.
    let each = (many - few) / (100_000.0 * 84.0 / 1e6);
    eprintln!("{each:.0} system calls a megabyte");
    assert!(each <= CALLS_MAX, "{each:.0} system calls a megabyte");
}
