//! Keys that exist on the target: replaced, left alone, or the end of the run, for every type,
//! every size, and in the stream.

use std::time::Duration;

use crate::support::{
    client::{Client, Command, bytes},
    keyferry::{Finished, Keyferry},
    migration::wait_until_confirmed,
    oracle::Oracle,
    server::Server,
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);

/// One key of each type and way of writing: small and large enough to be staged.
fn source_values() -> Vec<(&'static str, Vec<Command>)> {
    let long = "x".repeat(3_000);
    let large = |name: &'static str, make: fn(usize, &str) -> Vec<String>, key: &'static str| {
        let commands = (0..1000)
            .map(|n| {
                let mut command = command![name, key];
                command.extend(make(n, &long).into_iter().map(String::into_bytes));
                command
            })
            .collect();
        (key, commands)
    };
    vec![
        ("string", vec![command!["SET", "string", "new"]]),
        (
            "string:expiring",
            vec![command!["SET", "string:expiring", "new", "PX", 5_000_000]],
        ),
        (
            "string:large",
            vec![command!["SET", "string:large", "y".repeat(5 << 20)]],
        ),
        ("list", vec![command!["RPUSH", "list", "a", "b"]]),
        large("RPUSH", |n, long| vec![format!("{n}{long}")], "list:large"),
        ("set", vec![command!["SADD", "set", "a", "b"]]),
        large("SADD", |n, long| vec![format!("{n}{long}")], "set:large"),
        ("zset", vec![command!["ZADD", "zset", "1.5", "a"]]),
        large(
            "ZADD",
            |n, long| vec![n.to_string(), format!("{n}{long}")],
            "zset:large",
        ),
        ("hash", vec![command!["HSET", "hash", "f", "v"]]),
        large(
            "HSET",
            |n, long| vec![n.to_string(), format!("{n}{long}")],
            "hash:large",
        ),
        ("stream", vec![command!["XADD", "stream", "5-1", "f", "v"]]),
        large(
            "XADD",
            |n, long| vec![format!("{}-1", n + 1), "f".to_owned(), long.to_owned()],
            "stream:large",
        ),
    ]
}

fn source() -> Server {
    let source = Server::start("redis-7.0");
    let mut client = source.client();
    for (key, commands) in source_values() {
        client.pipeline(&commands);
        if key.ends_with(":large") {
            client.run(command!["PEXPIRE", key, 5_000_000]);
        }
    }
    client.run(command![
        "XGROUP",
        "CREATE",
        "stream:large",
        "group",
        "500-1"
    ]);
    source
}

/// Gives every key of the source another value on the target: a string where the source has
/// none, a list where it has one.
fn occupy(client: &mut Client) {
    for (key, _) in source_values() {
        client.run(match key.starts_with("string") {
            true => command!["RPUSH", key, "theirs"],
            false => command!["SET", key, "theirs"],
        });
    }
}

fn is_theirs(client: &mut Client, key: &str) -> bool {
    let value = match key.starts_with("string") {
        true => client.try_run(&command!["LINDEX", key, "0"]),
        false => client.try_run(&command!["GET", key]),
    };
    value.is_ok_and(|value| bytes(&value) == b"theirs")
}

fn sync(source: &Server, target: &Server, policy: &str, mode: &str) -> Finished {
    let (source, target) = (source.url(), target.url());
    let args = [
        "sync",
        "--source",
        &source,
        "--target",
        &target,
        "--mode",
        mode,
        "--on-conflict",
        policy,
        "--json",
    ];
    Keyferry::run(&args, SOON)
}

#[test]
fn replace_replaces_every_type_and_size() {
    let source = source();
    for target in ["redis-6.0", "redis-8.0"] {
        let target = Server::start(target);
        occupy(&mut target.client());
        let finished = sync(&source, &target, "replace", "full");
        finished.assert_code(0);
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

#[test]
fn skip_leaves_every_type_and_size_alone_and_counts_it() {
    let source = source();
    for target in ["redis-6.0", "redis-8.0"] {
        let target = Server::start(target);
        let mut client = target.client();
        occupy(&mut client);
        source.client().run(command!["SET", "free", "1"]);
        let finished = sync(&source, &target, "skip", "full");
        finished.assert_code(0);
        let keys = source_values();
        assert_eq!(finished.json()["skipped"]["conflict"], keys.len());
        assert_eq!(finished.json()["keys"]["total"], 1);
        for (key, _) in &keys {
            assert!(is_theirs(&mut client, key), "{key}");
        }
        let size = client.run(command!["DBSIZE"]);
        assert_eq!(size, redis::Value::Int(keys.len() as i64 + 1));
    }
}

#[test]
fn fail_stops_at_the_key_and_names_it() {
    let source = source();
    for (key, _) in source_values() {
        let target = Server::start("redis-7.0");
        let mut client = target.client();
        client.run(match key.starts_with("string") {
            true => command!["RPUSH", key, "theirs"],
            false => command!["SET", key, "theirs"],
        });
        let finished = sync(&source, &target, "fail", "full");
        finished.assert_code(4);
        let named = format!("\"{key}\"");
        assert!(
            finished.stderr.contains(&named),
            "{key}: {}",
            finished.stderr
        );
        assert!(is_theirs(&mut client, key), "{key}");
    }
}

#[test]
fn skipped_keys_are_left_alone_by_the_stream() {
    let source = source();
    let target = Server::start("redis-7.0");
    occupy(&mut target.client());
    let (from, to) = (source.url(), target.url());
    let args = [
        "sync",
        "--source",
        &from,
        "--target",
        &to,
        "--on-conflict",
        "skip",
        "--json",
    ];
    let mut keyferry = Keyferry::start(&args, &[]);
    keyferry.wait_for_stderr("following", SOON);
    let mut client = source.client();
    client.run(command!["RPUSH", "list", "c"]);
    client.run(command!["DEL", "hash", "set"]);
    client.run(command!["SET", "free", "1"]);
    wait_until_confirmed(&source, &mut keyferry);
    let mut client = target.client();
    for (key, _) in source_values() {
        assert!(is_theirs(&mut client, key), "{key}");
    }
    assert_eq!(bytes(&client.run(command!["GET", "free"])), b"1");
    // A command that needs a skipped and a copied key together cannot be said.
    source
        .client()
        .run(command!["MSET", "string", "1", "free", "2"]);
    let finished = keyferry.wait(SOON);
    finished.assert_code(4);
    assert!(finished.stderr.contains("MSET"), "{}", finished.stderr);
    assert_eq!(
        finished.json()["skipped"]["conflict"],
        source_values().len() + 2
    );
}

/// Databases that are swapped take what was skipped with them: also for a target that comes back
/// older, and for a later run.
#[test]
fn what_was_skipped_is_left_alone_wherever_it_is_swapped_to() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("repl-backlog-size 16mb")
        .start();
    let mut target = Server::start("redis-7.0");
    source.client().run(command!["SET", "theirs", "source"]);
    target.client().run(command!["SET", "theirs", "target"]);
    let (from, to) = (source.url(), target.url());
    let args = [
        "sync",
        "--source",
        &from,
        "--target",
        &to,
        "--on-conflict",
        "skip",
    ];
    let follow = || {
        let mut keyferry = Keyferry::start(&args, &[]);
        keyferry.wait_for_stderr("following", SOON);
        keyferry
    };
    // Each write is about the key where it is, and about another that is not theirs.
    let mut client = source.client();
    let mut write = |db: u32, value: &str| {
        client.select(db);
        client.pipeline(&[
            command!["APPEND", "theirs", value],
            command!["SET", "ours", value],
        ]);
    };
    let assert_kept = |target: &Server, db: u32, ours: &str| {
        let mut client = target.client();
        client.select(db);
        assert_eq!(bytes(&client.run(command!["GET", "theirs"])), b"target");
        assert_eq!(bytes(&client.run(command!["GET", "ours"])), ours.as_bytes());
    };

    let mut keyferry = follow();
    write(0, "before");
    wait_until_confirmed(&source, &mut keyferry);
    assert_kept(&target, 0, "before");
    target.client().run(command!["SAVE"]);
    source.client().run(command!["SWAPDB", "0", "1"]);
    write(1, "swapped");
    wait_until_confirmed(&source, &mut keyferry);
    assert_kept(&target, 1, "swapped");

    target.kill();
    target.start_again();
    keyferry.wait_for_stderr("came back with older data", SOON);
    write(1, "once more");
    wait_until_confirmed(&source, &mut keyferry);
    assert_kept(&target, 1, "once more");
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);

    let mut keyferry = follow();
    write(1, "a later run");
    wait_until_confirmed(&source, &mut keyferry);
    assert_kept(&target, 1, "a later run");
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}
