//! A verification is hardly felt: keys look no more recently used for it, and it keeps to its rates.

use crate::support::{
    client::{bytes, items, number},
    scene::SOON,
    server::Server,
    verification::{Verified, Verify},
    version::Version,
};

const KEYS: usize = 300;

/// Keys of several types, for whose last use the server was told this.
fn fill(server: &Server, used: &str, value: u64) {
    let mut client = server.client();
    for n in 0..KEYS {
        let key = format!("key:{n}");
        client.run(match n % 6 {
            0 => command!["SET", key, n],
            1 => command!["RPUSH", key, "a", n],
            2 => command!["SADD", key, "a", n],
            3 => command!["ZADD", key, 1, "a", 2, n],
            4 => command!["HSET", key, "a", n],
            _ => command!["XADD", key, "1-1", "a", n],
        });
        let payload = bytes(&client.run(command!["DUMP", key]));
        client.run(command!["RESTORE", key, 0, payload, "REPLACE", used, value]);
    }
}

/// What OBJECT says of the last use of all keys.
fn used(server: &Server, word: &str) -> Vec<i64> {
    let ask: Vec<_> = (0..KEYS)
        .map(|n| command!["OBJECT", word, format!("key:{n}")])
        .collect();
    server.client().pipeline(&ask).iter().map(number).collect()
}

/// A difference, so that keys are read again as well.
fn spoil(server: &Server, used: &str, value: u64) {
    let mut client = server.client();
    for key in ["key:6", "key:7"] {
        client.run(command!["DEL", key]);
        client.run(command!["RPUSH", key, "other"]);
        let payload = bytes(&client.run(command!["DUMP", key]));
        client.run(command!["RESTORE", key, 0, payload, "REPLACE", used, value]);
    }
}

#[test]
fn keys_look_no_more_recently_used() {
    for name in ["redis-8.0", "valkey-8.1"] {
        let [source, target] = [name, name].map(Server::start);
        for server in [&source, &target] {
            fill(server, "IDLETIME", 50_000);
        }
        spoil(&target, "IDLETIME", 50_000);
        for way in [&[][..], &["--large-key-bytes", "1"]] {
            Verify::of(&source, &target)
                .with(way)
                .run()
                .finished
                .assert_code(1);
        }
        for server in [&source, &target] {
            let idle = used(server, "IDLETIME");
            assert!(idle.iter().all(|s| *s >= 49_999), "{name}: {idle:?}");
        }
    }
}

#[test]
fn keys_look_no_more_frequently_used() {
    let [source, target] = ["redis-8.0", "redis-8.0"].map(|name| {
        let setup = Server::of(Version::named(name));
        // No counter goes down or up by itself.
        setup
            .config("maxmemory-policy allkeys-lfu")
            .config("lfu-decay-time 0")
            .config("lfu-log-factor 0")
            .start()
    });
    for server in [&source, &target] {
        fill(server, "FREQ", 77);
    }
    spoil(&target, "FREQ", 77);
    for way in [&[][..], &["--large-key-bytes", "1"]] {
        Verify::of(&source, &target)
            .with(way)
            .run()
            .finished
            .assert_code(1);
    }
    for server in [&source, &target] {
        assert_eq!(used(server, "FREQ"), [77; KEYS]);
    }
}

/// What the clock of a server says, in ms.
fn clock_ms(server: &Server) -> i64 {
    let time = server.client().run(command!["TIME"]);
    let [seconds, micros] = [0, 1].map(|part| number(&items(&time)[part]));
    seconds * 1000 + micros / 1000
}

#[test]
fn rates_are_kept() {
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    let fill: Vec<_> = (0..4000)
        .map(|n| command!["SET", format!("key:{n}"), vec![b'x'; 200]])
        .collect();
    for server in [&source, &target] {
        server.client().pipeline(&fill);
    }
    let took = |args: &[&str]| {
        let begun = clock_ms(&source);
        Verify::of(&source, &target).with(args).run().assert_equal();
        clock_ms(&source) - begun
    };
    // Both sides have 4000 keys to be read. The last pages of each are not waited for.
    let at_least = (2 * 4000 - 4 * 600) * 1000 / 4000;
    let slow = took(&["--max-keys-per-second", "4000"]);
    assert!(slow >= at_least, "{slow} ms of {at_least}");
    // At least the values come from both sides.
    let at_least = (2 * 4000 - 4 * 600) * 200 * 1000 / 1_000_000;
    let slow = took(&["--max-bytes-per-second", "1m"]);
    assert!(slow >= at_least, "{slow} ms of {at_least}");
}

/// Two servers with so many equal strings, none of which expires.
fn lasting(names: [&str; 2], keys: usize) -> [Server; 2] {
    let servers = names.map(Server::start);
    let fill: Vec<_> = (0..keys)
        .map(|n| command!["SET", format!("key:{n}"), n])
        .collect();
    for server in &servers {
        server.client().pipeline(&fill);
    }
    servers
}

/// Whether a server was ever sent this command.
fn was_asked(server: &Server, command: &str) -> bool {
    let stat = format!("cmdstat_{command}");
    server.client().info("commandstats", &stat).is_some()
}

/// Whether any key of a server was asked when it expires.
fn asked_for_expiries(server: &Server) -> bool {
    was_asked(server, "pexpiretime") || was_asked(server, "pttl")
}

/// The names and kinds of what was found.
fn found(verified: &Verified) -> Vec<(&[u8], &str)> {
    let differences = verified.differences.iter();
    differences
        .map(|one| (one.key.as_slice(), one.kind.as_str()))
        .collect()
}

#[test]
fn the_source_is_not_asked_for_keys_that_were_found_equal() {
    let [source, target] = lasting(["redis-7.0", "valkey-9.1"], 3000);
    Verify::of(&source, &target).run().assert_equal();
    assert!(!was_asked(&source, "exists"));
    target.client().run(command!["SET", "only", "here"]);
    let verified = Verify::of(&source, &target).run();
    assert_eq!(found(&verified), [(&b"only"[..], "only_on_target")]);
    assert_eq!(verified.count("keys_looked_up"), 3001);
    assert!(was_asked(&source, "exists"));
}

#[test]
fn keys_are_not_asked_for_expiries_where_none_has_one() {
    for names in [["redis-6.0", "valkey-8.1"], ["redis-8.0", "redis-7.0"]] {
        let [source, target] = lasting(names, 2000);
        Verify::of(&source, &target).run().assert_equal();
        assert_eq!([&source, &target].map(asked_for_expiries), [false; 2]);
        target
            .client()
            .run(command!["PEXPIREAT", "key:7", 4_000_000_000_000_u64]);
        let verified = Verify::of(&source, &target).run();
        assert_eq!(found(&verified), [(&b"key:7"[..], "expiry")]);
        assert_eq!(
            verified.differences[0].expire_at_ms,
            [None, Some(4_000_000_000_000)]
        );
        assert_eq!([&source, &target].map(asked_for_expiries), [false, true]);
    }
}

#[test]
fn expiries_that_come_up_meanwhile_are_found() {
    const KEYS: usize = 4000;
    let [source, target] = lasting(["redis-7.0", "redis-7.0"], KEYS);
    let verify = Verify::of(&source, &target).with(&["--max-keys-per-second", "2000"]);
    let mut keyferry = verify.start();
    keyferry.wait_for_stderr(&format!("the target {}", target.address()), SOON);
    let expire =
        (0..KEYS).map(|n| command!["PEXPIREAT", format!("key:{n}"), 4_000_000_000_000_u64]);
    target.client().pipeline(&expire.collect::<Vec<_>>());
    let verified = verify.finish(keyferry);
    verified.finished.assert_code(1);
    assert!(verified.differences.iter().all(|one| one.kind == "expiry"));
    // Only the pages that were read before are not among them.
    assert!(
        verified.differences.len() > KEYS / 4,
        "{}",
        verified.differences.len()
    );
}
