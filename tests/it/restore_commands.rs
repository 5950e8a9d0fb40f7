//! The commands of `keyferry rdb commands`, executed by the `redis-cli` of every version.

use std::{path::Path, time::Duration};

use crate::support::{
    client::{items, number},
    dataset::{DBS, Dataset},
    keyferry::{Finished, Keyferry},
    oracle::Oracle,
    random::Random,
    server::Server,
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);

/// Writes the commands of a file for a version into another file.
fn commands(file: &Path, version: Version, to: &Path, args: &[&str]) -> Finished {
    let mut all = vec!["rdb", "commands", file.to_str().unwrap()];
    all.extend(["-o", to.to_str().unwrap(), "--overwrite", "--json"]);
    all.extend(["--target-version", version.name]);
    all.extend(args);
    Keyferry::run(&all, SOON)
}

/// A server with what both versions can hold and no key that expires soon.
fn filled(version: Version, target: Version) -> Server {
    let server = Server::of(version).start();
    let dataset = Dataset {
        small_keys: 300,
        big_string_bytes: 3 << 20,
        expiring: false,
        ..Dataset::seeded(Random::seed_of_this_run())
    };
    dataset.for_target(target).load(&server);
    server
}

/// Acknowledges the pending entries of the data set that were deleted, which no command can make.
fn acknowledge_deleted(server: &Server) {
    let mut client = server.client();
    for db in DBS {
        client.select(db);
        client.run(command!["XACK", "stream:many", "early", "1040-120"]);
    }
}

fn assert_no_errors(said: &str) {
    let is_error = |line: &str| {
        let code = line.trim_start_matches("(error) ").split(' ').next();
        let code = code.unwrap_or_default();
        let upper = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
        line.starts_with("(error)") || line.starts_with("Invalid") || (upper && code != "OK")
    };
    let errors: Vec<_> = said.lines().filter(|line| is_error(line)).take(5).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

/// Executes what one version saved on another, in both formats.
fn executed(source: &str, target: &str) {
    let here = Version::available();
    let (from, to) = (Version::named(source), Version::named(target));
    if !here.contains(&from) || !here.contains(&to) {
        return;
    }
    eprintln!("--- {from} to {to}");
    let source = filled(from, to);
    acknowledge_deleted(&source);
    let file = source.save();
    let script = file.with_file_name("commands");

    let target = Server::of(to).start();
    let finished = commands(&file, to, &script, &[]);
    finished.assert_code(0);
    let written = finished.json()["commands"].as_u64().unwrap();
    let said = target.redis_cli(&["--pipe"], &script);
    assert!(
        said.contains(&format!("errors: 0, replies: {written}")),
        "{said}"
    );
    Oracle::between(&source, &target).assert_equal(&source, &target);

    // Once more, as lines and over what is there.
    let finished = commands(&file, to, &script, &["--format", "cli", "--replace"]);
    finished.assert_code(0);
    assert_no_errors(&target.redis_cli(&[], &script));
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn by_redis_6_0() {
    executed("redis-8.6", "redis-6.0");
}

#[test]
fn by_redis_6_2() {
    executed("redis-6.0", "redis-6.2");
}

#[test]
fn by_redis_7_0() {
    executed("valkey-8.1", "redis-7.0");
}

#[test]
fn by_redis_8_0() {
    executed("redis-7.0", "redis-8.0");
}

#[test]
fn by_redis_8_6() {
    executed("valkey-9.1", "redis-8.6");
}

#[test]
fn by_valkey_8_1() {
    executed("redis-6.2", "valkey-8.1");
}

#[test]
fn by_valkey_9_1() {
    executed("redis-8.0", "valkey-9.1");
}

#[test]
fn payloads_say_what_commands_cannot() {
    let version = Version::named("redis-7.0");
    let source = filled(version, version);
    let file = source.save();
    let script = file.with_file_name("commands");
    let failed = commands(&file, version, &script, &[]);
    failed.assert_code(4);
    for said in [
        "a pending stream entry that was deleted",
        "stream:many",
        "--restore",
    ] {
        assert!(failed.stderr.contains(said), "{said}\n{}", failed.stderr);
    }
    assert!(!script.exists(), "nothing half is left behind");
    let dropped = commands(&file, version, &script, &["--on-lossy", "drop"]);
    dropped.assert_code(0);
    let losses = &dropped.json()["losses"];
    assert_eq!(losses["pending_of_deleted_entry"], DBS.len(), "{losses}");

    for format in ["resp", "cli"] {
        let target = Server::of(version).start();
        let args = ["--restore", "--format", format];
        commands(&file, version, &script, &args).assert_code(0);
        match format {
            "resp" => {
                let said = target.redis_cli(&["--pipe"], &script);
                assert!(said.contains("errors: 0"), "{said}");
            }
            _ => assert_no_errors(&target.redis_cli(&[], &script)),
        }
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

/// No command makes an entry pending that was deleted; a payload does, in a form that the server
/// takes.
#[test]
fn pending_entries_of_deleted_entries_are_lost_by_name_or_kept_by_payload() {
    let here = Version::available();
    for (source, targets) in [
        ("redis-7.0", &["redis-6.0", "redis-6.2", "redis-7.0"][..]),
        ("redis-8.6", &["redis-6.0", "redis-7.0", "valkey-9.1"]),
    ] {
        let source = Version::named(source);
        if !here.contains(&source) {
            continue;
        }
        let from = Server::of(source).start();
        let mut client = from.client();
        client.pipeline(&[
            command!["XADD", "s", "1-1", "f", "v"],
            command!["XADD", "s", "2-1", "f", "v"],
            command!["XADD", "s", "3-1", "f", "v"],
            command!["XGROUP", "CREATE", "s", "g", 0],
            command!["XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"],
            command!["XDEL", "s", "1-1", "2-1"],
        ]);
        let file = from.save();
        let script = file.with_file_name("commands");
        let targets = targets.iter().map(|name| Version::named(name));
        for to in targets.filter(|to| here.contains(to)) {
            eprintln!("--- {source} to {to}");
            let refused = commands(&file, to, &script, &[]);
            refused.assert_code(4);
            for said in ["a pending stream entry that was deleted", "--restore"] {
                assert!(refused.stderr.contains(said), "{}", refused.stderr);
            }
            let lossy = commands(&file, to, &script, &["--on-lossy", "drop"]);
            assert_eq!(lossy.json()["losses"]["pending_of_deleted_entry"], 2);

            let finished = commands(&file, to, &script, &["--restore"]);
            finished.assert_code(0);
            assert_eq!(finished.json()["losses"], serde_json::json!({}));
            let target = Server::of(to).start();
            let said = target.redis_cli(&["--pipe"], &script);
            assert!(said.contains("errors: 0"), "{said}");
            let pending = target.client().run(command!["XPENDING", "s", "g"]);
            assert_eq!(number(&items(&pending)[0]), 3, "{source} to {to}");
        }
    }
}
