//! `--method snapshot`: two snapshots are compared, and keys are read only where those differ.

use super::{SOON, copy};
use crate::support::{
    client::Client,
    dataset::{DBS, Dataset},
    proxy::{Fault, Proxy},
    server::{Server, wait_for},
    verification::Verify,
    version::Version,
};

/// Two servers that hold the same.
fn equal(source: &str, target: &str) -> (Server, Server) {
    let (from, to) = (Version::named(source), Version::named(target));
    let mut dataset = Dataset::seeded(11).for_target(from).for_target(to);
    dataset.small_keys = 500;
    dataset.big_string_bytes = 3 << 20;
    dataset.expiring = false;
    let (source, target) = (Server::of(from).start(), Server::of(to).start());
    dataset.load(&source);
    copy(&source, &target);
    for server in [&source, &target] {
        server.client().run(command!["CONFIG", "RESETSTAT"]);
    }
    (source, target)
}

fn verify(source: &str, target: &str) -> Verify {
    Verify::between(source, target).with(&["--method", "snapshot"])
}

/// How often a command was called.
fn calls(client: &mut Client, command: &str) -> u64 {
    let stat = client.info("commandstats", &format!("cmdstat_{command}"));
    stat.map_or(0, |stat| {
        let calls = stat.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.unwrap().parse().unwrap()
    })
}

#[test]
fn of_equal_servers_no_key_is_read() {
    for (source, target) in [("redis-6.0", "redis-8.6"), ("valkey-9.1", "redis-7.0")] {
        let (source, target) = equal(source, target);
        let verified = verify(&source.url(), &target.url()).run();
        verified.assert_equal();
        assert_eq!(verified.count("settled"), 0, "read without a reason");
        assert_eq!(verified.count("keys_compared"), source.keys());
        assert_eq!(verified.count("keys_looked_up"), target.keys());
        for server in [&source, &target] {
            let client = &mut server.client();
            for command in ["scan", "dump", "mget", "type", "pttl", "pexpiretime"] {
                assert_eq!(calls(client, command), 0, "{command}");
            }
            assert_eq!(calls(client, "psync"), 1);
        }
    }
}

#[test]
fn only_what_differs_is_read() {
    let (source, target) = equal("redis-7.0", "valkey-8.1");
    let client = &mut target.client();
    client.select(DBS[1]);
    for n in 0..7 {
        client.run(command!["SET", format!("small:{n}"), "another"]);
    }
    client.run(command!["SET", "only-here", "1"]);
    client.run(command!["CONFIG", "RESETSTAT"]);
    let verify = verify(&source.url(), &target.url()).with(&["--rounds", "1"]);
    let verified = verify.run();
    verified.finished.assert_code(1);
    let counts = &verified.summary["differences"]["by_kind"];
    let expected = serde_json::json!({"only_on_target": 1, "value": 7});
    assert_eq!(*counts, expected);
    assert_eq!(calls(client, "scan"), 0);
    let read = calls(client, "mget") + calls(client, "dump") + calls(client, "get");
    assert!(0 < read && read < 50, "{read} commands for 8 keys");
}

#[test]
fn a_snapshot_that_breaks_off_is_taken_again_and_not_for_ever() {
    let (source, target) = equal("redis-7.0", "redis-8.0");
    let proxy = Proxy::before(&target);
    proxy.set_after(b"REDIS00", Fault::CutAt(100_000));
    let finished = verify(&source.url(), &proxy.url()).run().finished;
    finished.assert_code(4);
    let again = finished.stderr.matches("is taken again").count();
    assert_eq!(again, 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("error: target 127.0.0.1:"));

    // The first is cut, the others are whole.
    let verify = verify(&source.url(), &proxy.url());
    let keyferry = verify.start();
    wait_for("the first to be cut", SOON, || {
        keyferry.stderr().contains("is taken again")
    });
    proxy.set(Fault::None);
    let verified = verify.finish(keyferry);
    verified.assert_equal();
    assert_eq!(verified.count("keys_looked_up"), target.keys());
}

#[test]
fn a_directory_that_is_none_is_said_before_any_snapshot_is_taken() {
    let (source, target) = equal("redis-7.0", "redis-8.0");
    let verify = verify(&source.url(), &target.url());
    let verified = verify.with(&["--snapshot-dir", "/nowhere"]).run();
    verified.finished.assert_code(5);
    assert!(verified.finished.stderr.contains("kept in /nowhere"));
    assert!(verified.finished.stderr.contains("--snapshot-dir"));
    assert_eq!(calls(&mut source.client(), "psync"), 0);
}

#[test]
fn what_an_earlier_run_has_named_is_not_named_again() {
    let (source, target) = equal("redis-7.0", "redis-8.0");
    let client = &mut target.client();
    for n in 0..20 {
        client.run(command!["SET", format!("small:{n}"), "another"]);
    }
    let verify = verify(&source.url(), &target.url());
    verify.run().finished.assert_code(1);
    // As if it had been killed in the middle of its last words.
    let report = std::fs::read_to_string(verify.report()).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    let is_difference = |line: &&&str| line.contains("\"record\":\"difference\"");
    assert_eq!(lines.iter().filter(is_difference).count(), 20);
    let cut = lines[..lines.len() - 8].join("\n");
    std::fs::write(verify.report(), &cut[..cut.len() - 5]).unwrap();

    let verified = verify.with(&["--resume"]).run();
    verified.finished.assert_code(1);
    assert_eq!(verified.summary["differences"]["keys"], 20);
    let mut named: Vec<_> = verified.differences.iter().map(|of| &of.key).collect();
    named.sort();
    named.dedup();
    assert_eq!((verified.differences.len(), named.len()), (20, 20));
}
