//! What an operator does with `keyferry sync`, piece by piece.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::support::{
    client::{Client, bytes, items, number},
    dataset::Dataset,
    keyferry::Keyferry,
    migration::wait_until_confirmed,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    server::{Server, wait_for},
    version::Version,
    writer::Load,
};

const SOON: Duration = Duration::from_secs(60);

fn sync<'a>(source: &'a str, target: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["sync", "--source", source, "--target", target, "--json"];
    all.extend(args);
    all
}

#[test]
fn a_full_copy_is_equal_between_all_versions() {
    for source in Version::available() {
        let from = Server::of(source).start();
        for target in Version::available() {
            eprintln!("--- {source} to {target}");
            from.client().run(command!["FLUSHALL"]);
            if source.has_functions() {
                from.client().run(command!["FUNCTION", "FLUSH"]);
            }
            let mut dataset = Dataset::seeded(7).for_target(target);
            dataset.expiring = false;
            dataset.load(&from);
            let to = Server::of(target).start();
            let (source_url, target_url) = (from.url(), to.url());
            let args = sync(&source_url, &target_url, &["--mode", "full"]);
            let finished = Keyferry::run(&args, SOON);
            finished.assert_code(0);
            assert_eq!(finished.json()["result"], "complete");
            Oracle::between(&from, &to).assert_equal(&from, &to);
        }
    }
}

#[test]
fn until_caught_up_ends_by_itself() {
    let source = Server::start("redis-7.0");
    let target = Server::start("valkey-8.1");
    Dataset::seeded(1).load(&source);
    let (from, to) = (source.url(), target.url());
    let finished = Keyferry::run(&sync(&from, &to, &["--until-caught-up"]), SOON);
    finished.assert_code(0);
    let summary = finished.json();
    assert_eq!(summary["result"], "complete");
    assert_eq!(summary["lag_bytes"], 0);
    assert_eq!(summary["replid"].as_str().map(str::len), Some(40));
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn settings_come_from_a_file_the_environment_and_unix_sockets() {
    let source = Server::of(Version::named("redis-7.0"))
        .password("from-env")
        .start();
    let target = Server::of(Version::named("redis-8.0"))
        .password("from-file")
        .start();
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "from-file\n").unwrap();
    let config = folder.path().join("keyferry.toml");
    let mut file = std::fs::File::create(&config).unwrap();
    writeln!(file, "source = \"unix://{}\"", source.socket().display()).unwrap();
    writeln!(file, "target = \"{}\"", target.url_without_login()).unwrap();
    writeln!(file, "mode = \"full+incremental\"").unwrap();
    writeln!(file, "json = true").unwrap();
    source.client().run(command!["SET", "k", "v"]);
    let config = config.to_str().unwrap();
    let environment = [
        ("KEYFERRY_SOURCE_PASSWORD", "from-env"),
        ("KEYFERRY_TARGET_PASSWORD_FILE", password.to_str().unwrap()),
    ];
    let args = ["sync", "--config", config, "--mode", "full"];
    let finished = Keyferry::start(&args, &environment).wait(SOON);
    finished.assert_code(0);
    assert_eq!(finished.json()["mode"], "full");
    assert_eq!(bytes(&target.client().run(command!["GET", "k"])), b"v");
}

#[test]
fn one_server_is_not_moved_onto_itself() {
    let server = Server::start("redis-7.0");
    server.client().run(command!["SET", "k", "v"]);
    let (from, to) = (
        server.url(),
        format!("unix://{}", server.socket().display()),
    );
    let args = sync(&from, &to, &["--flush-target", "--yes"]);
    let finished = Keyferry::run(&args, SOON);
    finished.assert_code(2);
    assert!(
        finished.stderr.contains("same server"),
        "{}",
        finished.stderr
    );
    assert_eq!(number(&server.client().run(command!["DBSIZE"])), 1);
}

#[test]
fn large_values_of_every_type_are_equal() {
    let source = Server::start("redis-7.0");
    let mut client = source.client();
    let long = "v".repeat(200);
    let fill = |client: &mut Client, name: &str, element: &dyn Fn(usize) -> Vec<String>| {
        let commands: Vec<_> = (0..200)
            .map(|chunk| {
                let mut command = command![name, format!("large:{name}")];
                for n in chunk * 200..(chunk + 1) * 200 {
                    command.extend(element(n).into_iter().map(String::into_bytes));
                }
                command
            })
            .collect();
        client.pipeline(&commands);
    };
    fill(&mut client, "RPUSH", &|n| vec![format!("{n}:{long}")]);
    fill(&mut client, "SADD", &|n| vec![format!("{n}:{long}")]);
    fill(&mut client, "ZADD", &|n| {
        vec![format!("{}", n as f64 / 3.0), format!("{n}:{long}")]
    });
    fill(&mut client, "HSET", &|n| {
        vec![n.to_string(), format!("{n}:{long}")]
    });
    for n in 1..=20_000 {
        client.run(command![
            "XADD",
            "large:stream",
            format!("{n}-{n}"),
            "field",
            long
        ]);
    }
    client.run(command!["XGROUP", "CREATE", "large:stream", "group", "0"]);
    let read = command![
        "XREADGROUP",
        "GROUP",
        "group",
        "reader",
        "COUNT",
        5000,
        "STREAMS",
        "large:stream",
        ">"
    ];
    client.run(read);
    client.run(command![
        "XGROUP",
        "CREATECONSUMER",
        "large:stream",
        "group",
        "idle"
    ]);
    client.run(command!["SETRANGE", "large:string", (100 << 20) - 1, "x"]);
    client.run(command![
        "SETRANGE",
        "large:string",
        50 << 20,
        "in the middle"
    ]);
    client.run(command!["PEXPIRE", "large:HSET", 9_000_000]);
    for target in ["redis-6.0", "redis-8.0", "valkey-8.1"] {
        let target = Server::start(target);
        let (from, to) = (source.url(), target.url());
        let finished = Keyferry::run(&sync(&from, &to, &["--mode", "full"]), SOON);
        finished.assert_code(0);
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

/// Messages that reach a subscriber of the target, up to `end`.
fn heard(target: &Server, publish: impl FnOnce()) -> Vec<(String, String)> {
    let client = redis::Client::open(target.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut subscriber = connection.as_pubsub();
    subscriber.psubscribe("*").unwrap();
    subscriber.set_read_timeout(Some(SOON)).unwrap();
    publish();
    let mut heard = Vec::new();
    loop {
        let message = subscriber.get_message().unwrap();
        let (channel, text) = (
            message.get_channel_name().to_owned(),
            message.get_payload().unwrap(),
        );
        if channel == "end" {
            return heard;
        }
        heard.push((channel, text));
    }
}

#[test]
fn messages_are_forwarded_but_those_of_sentinels_never() {
    for (policy, forwarded) in [("forward", true), ("drop", false)] {
        let source = Server::start("redis-7.0");
        let target = Server::start("redis-7.0");
        let (from, to) = (source.url(), target.url());
        let mut keyferry = Keyferry::start(&sync(&from, &to, &["--publish", policy]), &[]);
        keyferry.wait_for_stderr("following", SOON);
        let heard = heard(&target, || {
            let mut client = source.client();
            client.run(command![
                "PUBLISH",
                "__sentinel__:hello",
                "127.0.0.1,26379,id,0,m,127.0.0.1,6379,0"
            ]);
            client.run(command!["PUBLISH", "news", "1"]);
            client.run(command!["SET", "k", "v"]);
            wait_until_confirmed(&source, &mut keyferry);
            target.client().run(command!["PUBLISH", "end", ""]);
        });
        let news = vec![("news".to_owned(), "1".to_owned())];
        assert_eq!(heard, if forwarded { news } else { Vec::new() });
        keyferry.signal("INT");
        let finished = keyferry.wait(SOON);
        finished.assert_code(0);
        assert_eq!(finished.json()["skipped"]["sentinel_hello"], 1);
        assert_eq!(finished.json()["skipped"]["publish"], u64::from(!forwarded));
    }
}

#[test]
fn wait_on_the_source_waits_for_the_target() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let (from, to) = (source.url(), target.url());
    let mut keyferry = Keyferry::start(&sync(&from, &to, &[]), &[]);
    keyferry.wait_for_stderr("following", SOON);
    let mut client = source.client();
    client.run(command!["SET", "k", "1"]);
    assert_eq!(number(&client.run(command!["WAIT", "1", "10000"])), 1);
    assert_eq!(bytes(&target.client().run(command!["GET", "k"])), b"1");
    target.freeze();
    client.run(command!["SET", "k", "2"]);
    assert_eq!(number(&client.run(command!["WAIT", "1", "300"])), 0);
    target.thaw();
    assert_eq!(number(&client.run(command!["WAIT", "1", "10000"])), 1);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn a_transaction_of_the_source_is_one_on_the_target() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let (from, to) = (source.url(), target.url());
    let mut keyferry = Keyferry::start(&sync(&from, &to, &[]), &[]);
    keyferry.wait_for_stderr("following", SOON);
    let values = |client: &mut Client| -> [Vec<u8>; 2] {
        let found = client.run(command!["MGET", "a", "b"]);
        let found = items(&found).iter().map(|value| match value {
            redis::Value::BulkString(value) => value.clone(),
            _ => Vec::new(),
        });
        found.collect::<Vec<_>>().try_into().unwrap()
    };
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut client = target.client();
            let mut seen = BTreeSet::new();
            while !done.load(Relaxed) {
                let [a, b] = values(&mut client);
                assert_eq!(a, b);
                seen.insert(a);
            }
            seen.len()
        });
        let mut client = source.client();
        for n in 1..=2000 {
            client.pipeline(&[
                command!["MULTI"],
                command!["SET", "a", n],
                command!["SET", "b", n],
                command!["EXEC"],
            ]);
        }
        wait_until_confirmed(&source, &mut keyferry);
        done.store(true, Relaxed);
        watcher.join().unwrap()
    });
    assert!(seen > 10, "only {seen} states were seen");
    assert_eq!(
        values(&mut target.client()),
        [b"2000".to_vec(), b"2000".to_vec()]
    );
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn databases_are_emptied_swapped_and_selected_in_the_stream() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("databases 32")
        .start();
    let target = Server::of(Version::named("valkey-8.1"))
        .config("databases 32")
        .start();
    let (from, to) = (source.url(), target.url());
    for db in 0..32 {
        let mut client = source.client();
        client.select(db);
        client.run(command!["SET", format!("before:{db}"), u64::from(db)]);
    }
    let mut keyferry = Keyferry::start(&sync(&from, &to, &[]), &[]);
    keyferry.wait_for_stderr("following", SOON);
    let mut client = source.client();
    client.run(command!["SWAPDB", "0", "31"]);
    client.select(5);
    client.run(command!["FLUSHDB"]);
    client.run(command!["MOVE", "before:5", "6"]);
    for db in [31, 0, 17, 5, 31] {
        client.select(db);
        client.run(command!["INCR", "counter"]);
    }
    wait_until_confirmed(&source, &mut keyferry);
    let mut oracle = Oracle::between(&source, &target);
    oracle.without_dbs.clear();
    oracle.assert_equal(&source, &target);
    client.run(command!["FLUSHALL"]);
    client.run(command!["SET", "after", "1"]);
    wait_until_confirmed(&source, &mut keyferry);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    oracle.assert_equal(&source, &target);
    let dbs = target.client().info("keyspace", "db31");
    assert!(dbs.is_some_and(|keys| keys.starts_with("keys=1,")));
}

#[test]
fn a_db_that_the_target_has_not_stops_the_run() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("databases 32")
        .start();
    let target = Server::start("redis-7.0");
    let (from, to) = (source.url(), target.url());
    let mut keyferry = Keyferry::start(&sync(&from, &to, &[]), &[]);
    keyferry.wait_for_stderr("following", SOON);
    let mut client = source.client();
    client.pipeline(&[
        command!["SET", "k", "zero"],
        command!["MULTI"],
        command!["SELECT", "20"],
        command!["SET", "k", "twenty"],
        command!["EXEC"],
    ]);
    let finished = keyferry.wait(SOON);
    finished.assert_code(4);
    assert!(
        finished.stderr.contains("uses db 20"),
        "{}",
        finished.stderr
    );
    let kept = target.client().run(command!["GET", "k"]);
    assert_ne!(kept, redis::Value::BulkString(b"twenty".to_vec()));
}

#[test]
fn the_source_shows_a_harmless_replica_while_it_is_followed() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let (from, to) = (source.url(), target.url());
    let mut keyferry = Keyferry::start(&sync(&from, &to, &[]), &[]);
    keyferry.wait_for_stderr("following", SOON);
    let mut client = source.client();
    let shown = client.info("replication", "slave0").unwrap();
    let expected = "ip=127.0.0.1,port=0,state=online,";
    assert!(shown.starts_with(expected), "{shown}");
    assert_eq!(client.info("replication", "slave1"), None);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

/// A source with a list and a hash of which the hint is known, and an empty target, both evicting
/// by this policy.
fn evicting(policy: &str, hint: [&str; 2], names: [&str; 2]) -> (Server, Server) {
    let [source, target] = names.map(|name| {
        Server::of(Version::named(name))
            .config("maxmemory 1gb")
            .config(format!("maxmemory-policy {policy}"))
            // The hint stays as it was set.
            .config("lfu-decay-time 0")
            .start()
    });
    let mut client = source.client();
    client.run(command!["RPUSH", "fill:list", "a", "b", "c"]);
    client.run(command!["HSET", "fill:hash", "field", "value"]);
    for kind in ["list", "hash"] {
        let payload = bytes(&client.run(command!["DUMP", format!("fill:{kind}")]));
        let hinted = format!("hinted:{kind}");
        client.run(command!["RESTORE", hinted, "0", payload, hint[0], hint[1]]);
    }
    (source, target)
}

/// Copies, and gives what OBJECT says about each hinted key of the target.
fn hints_of_the_copy(source: &Server, target: &Server, about: &str) -> [i64; 2] {
    let (from, to) = (source.url(), target.url());
    Keyferry::run(&sync(&from, &to, &["--mode", "full"]), SOON).assert_code(0);
    ["list", "hash"].map(|kind| {
        let key = format!("hinted:{kind}");
        number(&target.client().run(command!["OBJECT", about, key]))
    })
}

/// A 6.0 does not know the encodings of a 7.0, so its values are rebuilt and then restored.
const HINT_PAIRS: [[&str; 2]; 3] = [
    ["redis-7.0", "valkey-8.1"],
    ["redis-7.0", "redis-6.0"],
    ["valkey-8.1", "redis-7.0"],
];

#[test]
fn how_often_keys_are_used_is_carried() {
    for names in HINT_PAIRS {
        let (source, target) = evicting("allkeys-lfu", ["FREQ", "200"], names);
        let freqs = hints_of_the_copy(&source, &target, "FREQ");
        assert_eq!(freqs, [200, 200], "{names:?}");
    }
}

#[test]
fn how_long_keys_were_not_used_is_carried() {
    for names in HINT_PAIRS {
        let (source, target) = evicting("allkeys-lru", ["IDLETIME", "5000"], names);
        let idle_s = hints_of_the_copy(&source, &target, "IDLETIME");
        let near = |idle_s: &i64| (5000..5000 + 2 * SOON.as_secs() as i64).contains(idle_s);
        assert!(idle_s.iter().all(near), "{names:?}: {idle_s:?}");
    }
}

#[test]
fn a_target_that_dies_amid_large_values_ends_the_run_with_4() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("rdbcompression no")
        .start();
    let fill = "local value = string.rep('v', 1000)
        for n = 1, 50000 do redis.call('RPUSH', KEYS[1], n .. value) end";
    for n in 0..4 {
        let key = format!("large:{n}");
        source.client().run(command!["EVAL", fill, "1", key]);
    }
    for _ in 0..5 {
        let mut target = Server::start("redis-7.0");
        let (from, to) = (source.url(), target.url());
        // 200 MB on the wire and this little under way: the snapshot is not over when it dies.
        let args = [
            "--max-inflight-bytes",
            "64kb",
            "--spool-memory",
            "64kb",
            "--retry-for",
            "1s",
        ];
        let mut keyferry = Keyferry::start(&sync(&from, &to, &args), &[]);
        keyferry.wait_for_stderr("snapshot: ", SOON);
        wait_for("the first pieces of a value", SOON, || {
            number(&target.client().run(command!["DBSIZE"])) > 0
        });
        target.kill();
        let finished = keyferry.wait(SOON);
        finished.assert_code(4);
        let summary = finished.json();
        assert_eq!(summary["error"]["side"], "target", "{summary}");
        assert!(summary["offset_snapshot"].is_u64(), "{summary}");
        assert!(summary["keys"]["total"].as_u64() < Some(4), "{summary}");
        let bytes_read = summary["snapshot_bytes"].as_u64();
        assert!(bytes_read < Some(150_000_000), "{summary}");
    }
}

#[test]
fn a_source_whose_psync_is_renamed_away_is_copied_by_sync() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("rename-command PSYNC \"\"")
        .start();
    let target = Server::start("redis-7.0");
    Dataset::seeded(2).load(&source);
    let (from, to) = (source.url(), target.url());
    let finished = Keyferry::run(&sync(&from, &to, &["--until-caught-up"]), SOON);
    finished.assert_code(0);
    assert_eq!(finished.json()["result"], "complete");
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn a_snapshot_without_compression_and_checksum_is_equal() {
    for diskless in ["yes", "no"] {
        let source = Server::of(Version::named("redis-7.0"))
            .config("rdbcompression no")
            .config("rdbchecksum no")
            .config(format!("repl-diskless-sync {diskless}"))
            .start();
        let target = Server::start("valkey-8.1");
        let mut dataset = Dataset::seeded(3).for_target(target.version());
        dataset.expiring = false;
        dataset.load(&source);
        let (from, to) = (source.url(), target.url());
        Keyferry::run(&sync(&from, &to, &["--mode", "full"]), SOON).assert_code(0);
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

#[test]
fn a_busy_source_and_a_distant_target_catch_up_all_the_same() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    Dataset::seeded(1).load(&source);
    let distant = Proxy::before(&target);
    distant.set(Fault::Delay(Duration::from_millis(10)));
    let writer = Load::seeded(1).start(&source);
    let (from, to) = (source.url(), distant.url());
    let finished = Keyferry::run(&sync(&from, &to, &["--until-caught-up"]), SOON);
    writer.stop();
    finished.assert_code(0);
    let summary = finished.json();
    assert_eq!(summary["result"], "complete");
    assert_eq!(summary["expiries_held"], 0);
    // No expiry lies beyond the year 4000.
    let mut client = target.client();
    let held = "local held = 0 for _, k in ipairs(redis.call('KEYS', '*')) do \
                if redis.call('PEXPIRETIME', k) > 64060588800000 then held = held + 1 end end return held";
    for db in 0..9 {
        client.select(db);
        assert_eq!(
            number(&client.run(command!["EVAL", held, "0"])),
            0,
            "db {db}"
        );
    }
}
