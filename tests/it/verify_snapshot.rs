//! `keyferry verify --method snapshot`: two snapshots are compared, and keys are read only where those
//! differ.

use std::time::Duration;

use crate::support::{
    client::Client,
    dataset::{DBS, Dataset},
    keyferry::{Finished, Keyferry},
    oracle::Oracle,
    proxy::{Fault, Proxy},
    server::Server,
    version::Version,
};

const SOON: Duration = Duration::from_secs(120);

fn dataset(source: Version, target: Version) -> Dataset {
    let mut dataset = Dataset::seeded(11).for_target(target);
    dataset.functions &= source.has_functions();
    dataset.small_keys = 500;
    dataset.big_string_bytes = 3 << 20;
    dataset.expiring = false;
    dataset
}

fn copy(source: &Server, target: &Server) {
    let (from, to) = (source.url(), target.url());
    let args = ["sync", "--source", &from, "--target", &to, "--mode", "full"];
    Keyferry::run(&args, SOON).assert_code(0);
}

fn verify(source: &str, target: &str, args: &[&str]) -> Finished {
    let mut all = vec!["verify", "--source", source, "--target", target];
    all.extend(["--method", "snapshot", "--json", "--round-delay", "100ms"]);
    all.extend(args);
    Keyferry::run(&all, SOON)
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
fn equal_snapshots_of_all_versions_need_no_key_to_be_read() {
    let versions = Version::available();
    let next = versions.iter().cycle().skip(1);
    for (source, target) in versions.iter().zip(next) {
        eprintln!("--- {source} to {target}");
        let (from, to) = (Server::of(*source).start(), Server::of(*target).start());
        dataset(*source, *target).load(&from);
        copy(&from, &to);
        Oracle::between(&from, &to).assert_equal(&from, &to);
        for server in [&from, &to] {
            server.client().run(command!["CONFIG", "RESETSTAT"]);
        }
        let finished = verify(&from.url(), &to.url(), &[]);
        let summary = finished.assert_code(0).json();
        assert_eq!(summary["result"], "equal");
        assert_eq!(summary["settled"], 0, "read without a reason");
        assert_eq!(summary["keys_compared"], from.keys());
        assert_eq!(summary["keys_looked_up"], to.keys());
        for server in [&from, &to] {
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
    let (from, to) = (Server::start("redis-7.0"), Server::start("valkey-8.1"));
    dataset(from.version(), to.version()).load(&from);
    copy(&from, &to);
    let db = DBS[1];
    let target = &mut to.client();
    target.select(db);
    for n in 0..7 {
        target.run(command!["SET", format!("small:{n}"), "another"]);
    }
    target.run(command!["SET", "only-here", "1"]);
    target.run(command!["CONFIG", "RESETSTAT"]);
    let summary = verify(&from.url(), &to.url(), &["--rounds", "1"]);
    let summary = summary.assert_code(1).json();
    assert_eq!(summary["differences"]["total"], 8);
    assert_eq!(summary["differences"]["by_kind"]["value"], 7);
    assert_eq!(summary["differences"]["by_kind"]["only_on_target"], 1);
    assert_eq!(calls(target, "scan"), 0);
    let read = calls(target, "mget") + calls(target, "dump") + calls(target, "get");
    assert!(0 < read && read < 50, "{read} commands for 8 keys");
}

#[test]
fn a_snapshot_that_breaks_off_is_taken_again_and_not_for_ever() {
    let (from, to) = (Server::start("redis-7.0"), Server::start("redis-8.0"));
    dataset(from.version(), to.version()).load(&from);
    copy(&from, &to);
    let proxy = Proxy::before(&to);
    proxy.set_after(b"REDIS00", Fault::CutAt(100_000));
    let finished = verify(&from.url(), &proxy.url(), &[]);
    finished.assert_code(4);
    let again = finished.stderr.matches("is taken again").count();
    assert_eq!(again, 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("error: target 127.0.0.1:"));

    // The first is cut, the others are whole.
    let mut args = vec!["verify", "--method", "snapshot", "--json"];
    let (source, target) = (from.url(), proxy.url());
    args.extend(["--source", &source, "--target", &target]);
    let keyferry = Keyferry::start(&args, &[]);
    crate::support::server::wait_for("the first to be cut", SOON, || {
        keyferry.stderr().contains("is taken again")
    });
    proxy.set(Fault::None);
    let finished = keyferry.wait(SOON);
    let summary = finished.assert_code(0).json();
    assert_eq!(summary["keys_looked_up"], to.keys());
}

#[test]
fn a_directory_that_is_none_is_said_before_any_snapshot_is_taken() {
    let (from, to) = (Server::start("redis-7.0"), Server::start("redis-8.0"));
    let finished = verify(&from.url(), &to.url(), &["--snapshot-dir", "/nowhere"]);
    finished.assert_code(5);
    assert!(finished.stderr.contains("kept in /nowhere"));
    assert!(finished.stderr.contains("--snapshot-dir"));
    assert_eq!(calls(&mut from.client(), "psync"), 0);
}
