//! What goes wrong on the way ends no verification and spoils no verdict: cut connections, servers that
//! are started again, keys that a server refuses to tell, evicted keys, huge values.

use std::{thread, time::Duration};

use super::{SOON, copy};
use crate::support::{
    client::{Client, Command, number, text},
    dataset::Dataset,
    keyferry::Keyferry,
    mutation::Mutations,
    proxy::Proxy,
    random::Random,
    server::{Server, wait_for},
    verification::{Verified, Verify},
    version::Version,
};

/// Small hashes on both sides.
fn fill(servers: [&Server; 2], keys: usize) {
    let fill: Vec<Command> = (0..keys)
        .map(|n| command!["HSET", format!("key:{n}"), "a", n])
        .collect();
    for server in servers {
        server.client().pipeline(&fill);
    }
}

/// Another value for one of so many keys of the target.
fn spoil(target: &Server, keys: usize, one_of: usize) -> Vec<Vec<u8>> {
    let spoilt: Vec<String> = (0..keys)
        .step_by(one_of)
        .map(|n| format!("key:{n}"))
        .collect();
    let change: Vec<Command> = spoilt
        .iter()
        .map(|key| command!["HSET", key, "a", "other"])
        .collect();
    target.client().pipeline(&change);
    sorted(spoilt.into_iter().map(String::into_bytes).collect())
}

fn sorted(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys
}

/// The keys with a difference of this kind, sorted; there must be no other differences.
fn keys_of(verified: &Verified, kind: &str) -> Vec<Vec<u8>> {
    let other = verified.differences.iter().find(|one| one.kind != kind);
    assert!(other.is_none(), "{other:?}");
    sorted(
        verified
            .differences
            .iter()
            .map(|one| one.key.clone())
            .collect(),
    )
}

/// How often a command was called.
fn calls(client: &mut Client, command: &str) -> u64 {
    let line = client.info("commandstats", &format!("cmdstat_{command}"));
    let calls = line.as_deref().and_then(|line| {
        let (_, rest) = line.split_once("calls=")?;
        rest.split(',').next()?.parse().ok()
    });
    calls.unwrap_or(0)
}

/// Waits until a server was asked for so many values since.
fn wait_for_dumps(server: &Server, count: u64) {
    let mut client = server.client();
    wait_for("some values", SOON, || calls(&mut client, "dump") >= count);
}

#[test]
fn connections_that_are_cut_again_and_again_change_nothing() {
    let version = Version::named("redis-7.0");
    let mut dataset = Dataset::seeded(Random::seed_of_this_run());
    (dataset.small_keys, dataset.big_string_bytes) = (2000, 2 << 20);
    let mutations = Mutations::between(version, Version::named("valkey-8.1"));
    let source = Server::of(version).start();
    let target = Server::start("valkey-8.1");
    dataset.for_target(target.version()).load(&source);
    mutations.make(&source);
    copy(&source, &target);
    let planted = mutations.plant(&source, &target);
    let proxies = [&source, &target].map(Proxy::before);
    let verify = Verify::between(&proxies[0].url(), &proxies[1].url());
    let mut keyferry = verify.start();
    let (mut cuts, mut passed) = (0, [0, 0]);
    while keyferry.running() && cuts < 30 {
        for (proxy, passed) in proxies.iter().zip(&mut passed) {
            // Something gets through between two cuts, else nobody could go on.
            if proxy.passed_bytes() > *passed + 400_000 {
                proxy.cut_now();
                *passed = proxy.passed_bytes();
                cuts += 1;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    let verified = verify.finish(keyferry);
    assert!(cuts > 5, "only {cuts} cuts");
    verified.assert_planted(&planted);
}

#[test]
fn a_source_that_is_started_again_is_read_to_its_end() {
    started_again(0);
}

#[test]
fn a_target_that_is_started_again_is_read_to_its_end() {
    started_again(1);
}

/// The source (0) or the target (1) is started again in the middle, and pages through its keys in
/// another order then.
fn started_again(which: usize) {
    const KEYS: usize = 6000;
    // Keys are loaded slowly, so that it answers LOADING for a while.
    let slowly = |name| {
        Server::of(Version::named(name))
            .config("key-load-delay 50")
            .start()
    };
    let mut servers = ["redis-7.0", "redis-7.0"].map(slowly);
    let [source, target] = &servers;
    fill([source, target], KEYS);
    let spoilt = spoil(target, KEYS, 20);
    let only: Vec<Command> = (0..100)
        .map(|n| command!["SET", format!("only:{n}"), n])
        .collect();
    target.client().pipeline(&only);
    let verify = Verify::of(source, target).with(&["--max-keys-per-second", "3000"]);
    let keyferry = verify.start();
    wait_for_dumps(source, KEYS as u64 / 2);
    servers[which].shutdown_with_save();
    servers[which].start_again();
    let verified = verify.finish(keyferry);
    verified.finished.assert_code(1);
    let found = |kind: &str| {
        let of = verified.differences.iter().filter(|one| one.kind == kind);
        sorted(of.map(|one| one.key.clone()).collect())
    };
    assert_eq!(found("value"), spoilt);
    assert_eq!(found("only_on_target").len(), 100);
    assert_eq!(verified.summary["differences"]["total"], spoilt.len() + 100);
}

#[test]
fn a_target_that_is_started_again_while_its_keys_are_looked_up() {
    const KEYS: usize = 6000;
    let [source, mut target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    fill([&source, &target], KEYS);
    let only: Vec<Vec<u8>> = (0..300).map(|n| format!("only:{n}").into_bytes()).collect();
    let add: Vec<Command> = only.iter().map(|key| command!["SET", key, "a"]).collect();
    target.client().pipeline(&add);
    let verify = Verify::of(&source, &target).with(&["--max-keys-per-second", "3000"]);
    let keyferry = verify.start();
    let mut client = source.client();
    wait_for("keys that are looked up", SOON, || {
        calls(&mut client, "exists") >= 4
    });
    target.shutdown_with_save();
    target.start_again();
    let verified = verify.finish(keyferry);
    assert_eq!(keys_of(&verified, "only_on_target"), sorted(only));
}

/// Two nodes of a cluster, each with a part of the slots.
fn cluster(name: &str) -> [Server; 2] {
    let nodes = [(); 2].map(|()| {
        Server::of(Version::named(name))
            .config("cluster-enabled yes")
            .config("cluster-require-full-coverage no")
            .start()
    });
    for (node, slots) in nodes.iter().zip([0..6000, 6000..12_000]) {
        let mut add = command!["CLUSTER", "ADDSLOTS"];
        for slot in slots {
            add.extend(command![slot]);
        }
        node.client().run(add);
    }
    let port = u64::from(nodes[1].port());
    nodes[0]
        .client()
        .run(command!["CLUSTER", "MEET", "127.0.0.1", port]);
    for node in &nodes {
        let mut client = node.client();
        wait_for("the cluster", SOON, || {
            let info = text(&client.run(command!["CLUSTER", "INFO"]));
            let has = |line: &str| info.lines().any(|l| l.trim() == line);
            has("cluster_state:ok") && has("cluster_slots_assigned:12000")
        });
    }
    nodes
}

#[test]
fn keys_of_slots_that_a_node_does_not_have_are_not_called_equal() {
    let [node, _other] = cluster("redis-7.0");
    let plain = Server::start("redis-7.0");
    let mut client = plain.client();
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for n in 0..400 {
        let key = format!("key:{n}");
        let set = command!["SET", key, n];
        client.run(set.clone());
        let slot = number(&node.client().run(command!["CLUSTER", "KEYSLOT", key]));
        match slot {
            0..6000 => {
                node.client().run(set);
                here.push(key);
            }
            6000..12_000 => elsewhere.push(key),
            // Nobody has it: CLUSTERDOWN, which is waited out.
            _ => {
                client.run(command!["DEL", key]);
            }
        }
    }
    client.run(command!["SET", here[0], "other"]);
    let sides = [(&plain, &node), (&node, &plain)];
    for (source, target) in sides {
        let verified = Verify::of(source, target)
            .with(&["--retry-for", "2s"])
            .run();
        verified.finished.assert_code(1);
        // From the cluster's side the other keys are only on the target, as far as it can tell.
        let found: Vec<_> = verified
            .differences
            .iter()
            .filter(|one| one.kind == "value")
            .collect();
        assert_eq!(found.len(), 1, "{}", verified.summary);
        assert_eq!(found[0].key, here[0].as_bytes());
        let unreadable = verified
            .undecided
            .iter()
            .filter(|(_, _, reason, detail)| reason == "unreadable" && detail.contains("MOVED"));
        let mut named: Vec<_> = unreadable.map(|(_, key, _, _)| key.clone()).collect();
        named.sort();
        let elsewhere = elsewhere
            .iter()
            .map(|key| key.clone().into_bytes())
            .collect();
        assert_eq!(named, sorted(elsewhere), "{}", verified.summary);
        assert_eq!(verified.differences.len(), 1, "{:?}", verified.differences);
    }
}

#[test]
fn slots_that_nobody_has_end_it_without_a_verdict_or_are_named() {
    let [node, _other] = cluster("redis-7.0");
    let plain = Server::start("redis-7.0");
    let fill: Vec<Command> = (0..400)
        .map(|n| command!["SET", format!("key:{n}"), n])
        .collect();
    plain.client().pipeline(&fill);
    let verify = Verify::of(&plain, &node).with(&["--retry-for", "1s"]);
    let finished = verify.start().wait(SOON);
    assert!(
        [Some(1), Some(4)].contains(&finished.code()),
        "{}",
        finished.stderr
    );
    assert!(finished.stderr.contains("CLUSTERDOWN") || finished.stdout.contains("unreadable"));
}

#[test]
fn keys_that_a_user_may_not_read_are_named_and_not_called_equal() {
    let version = Version::named("redis-7.0");
    let source = Server::of(version)
        .user("reader", "secret", "~allowed:* +@all")
        .start();
    let target = Server::start("valkey-8.1");
    for server in [&source, &target] {
        let mut client = Client::open(&server.url_without_login()).unwrap();
        for n in 0..300 {
            client.run(command!["SET", format!("allowed:{n}"), n]);
            client.run(command!["RPUSH", format!("secret:{n}"), n]);
            client.run(command!["SET", format!("hidden:{n}"), n]);
        }
    }
    target.client().run(command!["SET", "allowed:7", "other"]);
    let url = format!("redis://reader:secret@{}", source.address());
    for way in [&[][..], &["--large-key-bytes", "1"]] {
        let verified = Verify::between(&url, &target.url()).with(way).run();
        verified.finished.assert_code(1);
        assert_eq!(keys_of(&verified, "value"), [b"allowed:7"]);
        assert_eq!(
            verified.undecided("unreadable"),
            600,
            "{}",
            verified.summary
        );
        let named = verified
            .undecided
            .iter()
            .filter(|(_, key, reason, detail)| {
                !key.starts_with(b"allowed:") && reason == "unreadable" && detail.contains("NOPERM")
            });
        assert_eq!(named.count(), 600);
    }
    target.client().run(command!["SET", "allowed:7", "7"]);
    let verified = Verify::between(&url, &target.url()).run();
    verified.finished.assert_code(1);
    assert_eq!(
        verified.summary["result"], "incomplete",
        "{}",
        verified.summary
    );
}

/// Evicts keys of a server until only a part of them is left.
fn evict(server: &Server, left: u64) {
    let mut client = server.client();
    let used: u64 = client
        .info("memory", "used_memory")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    client.run(command![
        "CONFIG",
        "SET",
        "maxmemory-policy",
        "allkeys-random"
    ]);
    let mut limit = used;
    while server.keys() > left {
        limit -= used / 200;
        client.run(command!["CONFIG", "SET", "maxmemory", limit]);
        // Whatever may need memory makes room for it first.
        let _ = client.try_run(&command!["SET", "only:here", "a"]);
    }
    client.run(command!["CONFIG", "SET", "maxmemory", 0]);
    client.run(command!["DEL", "only:here"]);
}

#[test]
fn evicted_keys_are_not_called_lost() {
    const KEYS: usize = 4000;
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    let fill: Vec<Command> = (0..KEYS)
        .map(|n| command!["SET", format!("key:{n}"), vec![b'x'; 1000]])
        .collect();
    for server in [&source, &target] {
        server.client().pipeline(&fill);
    }
    evict(&target, 3500);
    let evicted = KEYS as u64 - target.keys();
    target.client().run(command!["SET", "only:here", "a"]);
    let verified = Verify::of(&source, &target).run();
    verified.finished.assert_code(1);
    assert_eq!(keys_of(&verified, "only_on_target"), [b"only:here"]);
    assert_eq!(
        verified.undecided("evicted"),
        evicted,
        "{}",
        verified.summary
    );
}

#[test]
fn keys_that_are_evicted_meanwhile_are_not_called_lost() {
    const KEYS: usize = 6000;
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    fill([&source, &target], KEYS);
    let verify = Verify::of(&source, &target).with(&["--max-keys-per-second", "3000"]);
    let keyferry = verify.start();
    wait_for_dumps(&source, 1500);
    evict(&target, 5000);
    let verified = verify.finish(keyferry);
    assert_eq!(
        verified.summary["differences"]["total"], 0,
        "{}",
        verified.summary
    );
    assert!(verified.undecided("evicted") > 100, "{}", verified.summary);
    assert_eq!(verified.summary["result"], "incomplete");
    verified.finished.assert_code(1);
}

#[test]
fn a_target_with_fewer_dbs_lacks_the_keys_of_the_others() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("databases 40")
        .start();
    let target = Server::start("redis-6.2");
    for db in [0, 15, 16, 39] {
        let mut client = source.client();
        client.select(db);
        client.run(command!["SET", "key", "a"]);
        client.run(command!["RPUSH", "list", "a"]);
    }
    for db in [0, 15] {
        let mut client = target.client();
        client.select(db);
        client.run(command!["SET", "key", "a"]);
        client.run(command!["RPUSH", "list", "a"]);
    }
    for way in [
        &[][..],
        &["--large-key-bytes", "1"],
        &["--depth", "metadata"],
    ] {
        let verified = Verify::of(&source, &target).with(way).run();
        verified.finished.assert_code(1);
        let mut found: Vec<_> = verified
            .differences
            .iter()
            .map(|d| (d.db, &d.key[..]))
            .collect();
        found.sort();
        let key = b"key".as_slice();
        let list = b"list".as_slice();
        assert_eq!(found, [(16, key), (16, list), (39, key), (39, list)]);
        assert_eq!(keys_of(&verified, "missing").len(), 4);
    }
}

/// Waits for the end of a run, and tells the most memory it had, in bytes.
fn peak_memory(keyferry: &mut Keyferry) -> u64 {
    let mut peak = 0;
    while keyferry.running() {
        peak = keyferry.peak_memory_bytes().unwrap_or(0).max(peak);
        thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// Values of so many elements of a hundred bytes, equal but for the last one of each.
fn compared_within_memory(elements: usize, bytes_max: u64) {
    let [source, target] = ["redis-7.0", "valkey-8.1"].map(Server::start);
    let script = "
        local filler = string.rep('-', 90)
        for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
          local name = string.format('%09d', n)
          if ARGV[1] == 'RPUSH' or ARGV[1] == 'SADD' then redis.call(ARGV[1], KEYS[1], name .. filler)
          elseif ARGV[1] == 'ZADD' then redis.call('ZADD', KEYS[1], n, name .. filler)
          elseif ARGV[1] == 'HSET' then redis.call('HSET', KEYS[1], name, filler)
          else redis.call('XADD', KEYS[1], n .. '-1', 'a', filler) end
        end";
    let kinds = ["RPUSH", "SADD", "ZADD", "HSET", "XADD"];
    for server in [&source, &target] {
        let mut client = server.client();
        for kind in kinds {
            for from in (1..=elements).step_by(50_000) {
                let to = (from + 49_999).min(elements);
                client.run(command![
                    "EVAL",
                    script,
                    1,
                    format!("huge:{kind}"),
                    kind,
                    from,
                    to
                ]);
            }
        }
        client.run(command!["SETRANGE", "huge:SET", elements * 100, "z"]);
    }
    let mut client = target.client();
    let last = format!("{elements:09}{}", "-".repeat(90));
    client.run(command!["LSET", "huge:RPUSH", -1, "other"]);
    client.run(command!["SREM", "huge:SADD", last]);
    client.run(command!["ZINCRBY", "huge:ZADD", 1, last]);
    client.run(command![
        "HSET",
        "huge:HSET",
        format!("{elements:09}"),
        "other"
    ]);
    client.run(command!["XADD", "huge:XADD", "*", "a", "b"]);
    client.run(command!["SETRANGE", "huge:SET", elements * 100, "y"]);
    let verify = Verify::of(&source, &target);
    let mut keyferry = verify.start();
    let peak = peak_memory(&mut keyferry);
    let verified = verify.finish(keyferry);
    let found = verified
        .differences
        .iter()
        .filter(|one| one.kind == "value")
        .count();
    assert_eq!(found, 6, "{:?}", verified.differences);
    // Another entry is another last id and one more that was added, which is one difference.
    assert_eq!(verified.differences.len(), 7, "{:?}", verified.differences);
    eprintln!(
        "peak memory with values of {elements} elements: {} MiB",
        peak >> 20
    );
    assert!(peak > 0 && peak < bytes_max, "{} MiB", peak >> 20);
}

#[test]
fn values_of_many_elements_are_compared_in_little_memory() {
    compared_within_memory(200_000, 64 << 20);
}

#[test]
#[ignore = "takes long: make soak"]
fn values_of_a_million_elements_are_compared_in_little_memory() {
    compared_within_memory(1_000_000, 64 << 20);
}
