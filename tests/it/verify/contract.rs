//! What scripts rely on: exit codes, one line of JSON, and errors that say what to do next.

use super::SOON;
use crate::support::{
    keyferry::{Finished, Keyferry},
    server::{Server, free_port},
    verification::Verify,
};

fn verify(source: &str, target: &str, args: &[&str]) -> Finished {
    let all = ["verify", "--source", source, "--target", target];
    Keyferry::run(&[&all[..], args].concat(), SOON)
}

fn assert_refused(finished: &Finished, code: i32, said: &[&str]) {
    finished.assert_code(code);
    assert_eq!(finished.stdout, "");
    for text in [&["error: ", "next: "], said].concat() {
        assert!(
            finished.stderr.contains(text),
            "{text}\n{}",
            finished.stderr
        );
    }
}

fn nobody() -> String {
    format!("redis://127.0.0.1:{}", free_port())
}

#[test]
fn a_side_that_is_not_there_is_named_by_its_exit_code() {
    let server = Server::start("redis-7.0");
    let here = server.url();
    let quick = ["--retry-for", "0"];
    assert_refused(
        &verify(&nobody(), &here, &quick),
        3,
        &["source 127.0.0.1:", "cannot be reached"],
    );
    assert_refused(
        &verify(&here, &nobody(), &quick),
        4,
        &["target 127.0.0.1:", "cannot be reached"],
    );
}

#[test]
fn a_password_that_is_wrong_is_a_failure_of_its_side() {
    let [source, target] = ["redis-7.0", "valkey-8.1"].map(|name| {
        let version = crate::support::version::Version::named(name);
        Server::of(version).password("right").start()
    });
    let (open, wrong) = (source.url(), target.url().replace("right", "wrong"));
    assert_refused(&verify(&open, &wrong, &[]), 4, &["target", "WRONGPASS"]);
    let none = source.url_without_login();
    assert_refused(&verify(&none, &target.url(), &[]), 3, &["source", "NOAUTH"]);
}

#[test]
fn the_same_server_twice_is_a_mistake() {
    let server = Server::start("redis-7.0");
    let (url, other_name) = (server.url(), format!("redis://localhost:{}", server.port()));
    for target in [&url, &other_name] {
        assert_refused(&verify(&url, target, &[]), 2, &["same server"]);
    }
}

#[test]
fn what_is_no_flag_or_no_value_is_a_usage_error() {
    let (source, target) = (nobody(), nobody());
    for (args, said) in [
        (vec!["--sample", "10"], "1/100"),
        (vec!["--sample", "1/0"], "1/100"),
        (vec!["--ttl-tolerance", "soon"], "--ttl-tolerance"),
        (vec!["--round-delay", "often"], "--round-delay"),
        (vec!["--large-key-bytes", "0"], "--large-key-bytes"),
        (
            vec!["--max-bytes-per-second", "many"],
            "--max-bytes-per-second",
        ),
        (vec!["--sync-status", "127.0.0.1:1"], "--sync-status"),
        (vec!["--report", "differences.txt"], ".jsonl"),
        (vec!["--key-regex", "("], "--key-regex"),
        (vec!["--max-keys-per-second", "0"], "--max-keys-per-second"),
    ] {
        let finished = verify(&source, &target, &args);
        assert_refused(&finished, 2, &[said]);
    }
    for args in [
        vec!["--depth", "deep"],
        vec!["--method", "guess"],
        vec!["--rounds", "0"],
        vec!["--resume"],
        vec!["--overwrite"],
        vec!["--repair-delete"],
        vec!["--flush-target"],
    ] {
        let finished = verify(&source, &target, &args);
        finished.assert_code(2);
        assert_eq!(finished.stdout, "");
        assert!(finished.stderr.contains("--help"), "{}", finished.stderr);
    }
}

#[test]
fn json_is_one_line_and_the_table_is_not() {
    let [source, target] = ["redis-7.0", "redis-6.2"].map(Server::start);
    source.client().run(command!["SET", "user:1", "a"]);
    target.client().run(command!["SET", "user:1", "b"]);
    let verify = Verify::of(&source, &target);
    let verified = verify.run();
    verified.finished.assert_code(1);
    assert_eq!(verified.finished.stdout.trim_end().lines().count(), 1);
    let summary = &verified.summary;
    for (name, expected) in [
        ("result", serde_json::json!("different")),
        ("source", source.address().into()),
        ("target", target.address().into()),
        ("method", "scan".into()),
        ("depth", "full".into()),
        ("sample", 1.into()),
        ("resumed", false.into()),
        ("keys_compared", 1.into()),
        ("keys_looked_up", 1.into()),
        ("rounds", 3.into()),
    ] {
        assert_eq!(summary[name], expected, "{name}: {summary}");
    }
    let counts = serde_json::json!({
        "total": 1,
        "keys": 1,
        "by_kind": {"value": 1},
        "by_db": {"0": 1},
        "by_type": {"string": 1},
        "by_prefix": {"user:": 1},
    });
    assert_eq!(summary["differences"], counts);
    let table = self::verify(&source.url(), &target.url(), &["--round-delay", "10ms"]);
    table.assert_code(1);
    for said in [
        "1 differences in 1 keys",
        "value",
        "db 0",
        "string",
        "user:",
    ] {
        assert!(table.stdout.contains(said), "{said}\n{}", table.stdout);
    }
}

#[test]
fn a_signal_ends_it_and_says_how_to_go_on() {
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    let fill: Vec<_> = (0..5000)
        .map(|n| command!["SET", format!("key:{n}"), n])
        .collect();
    source.client().pipeline(&fill);
    let verify = Verify::of(&source, &target).with(&["--max-keys-per-second", "100"]);
    let keyferry = verify.start();
    let mut client = source.client();
    crate::support::server::wait_for("a page of keys", SOON, || {
        client.info("commandstats", "cmdstat_scan").is_some()
    });
    keyferry.signal("INT");
    let finished = keyferry.wait(SOON);
    finished.assert_code(5);
    for said in ["interrupted", "next: ", "--resume"] {
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
}
