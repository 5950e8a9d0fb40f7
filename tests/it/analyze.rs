//! `keyferry rdb analyze` against what real servers say of their memory.
//!
//! Each server is filled with values of one type after the other. What its `used_memory` grows by
//! is what these keys take, and the estimate is compared to it; `MEMORY USAGE` of each key is the
//! second witness, where the server counts what it has allocated.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use serde_json::Value as Json;

use crate::support::{
    client::{Command, number},
    keyferry::Keyferry,
    random::Random,
    server::{Server, wait_for},
    version::{Family, Version},
};

/// How long anything here may take.
const WITHIN: Duration = Duration::from_secs(120);

/// How far the estimate for all keys of a type may be from what `used_memory` grew by.
const GROWTH_OFF_MAX: f64 = 0.10;
/// How far the sums of `MEMORY USAGE` and of the estimates may differ for a type.
const USAGE_OFF_MAX: f64 = 0.10;
/// How far they may differ for one key of at least this many bytes.
const KEY_OFF_MAX: f64 = 0.25;
const KEY_BYTES_MIN: f64 = 256.0;

#[test]
fn redis_6_0() {
    compare("redis-6.0");
}

#[test]
fn redis_6_2() {
    compare("redis-6.2");
}

#[test]
fn redis_7_0() {
    compare("redis-7.0");
}

#[test]
fn redis_8_0() {
    compare("redis-8.0");
}

#[test]
fn redis_8_6() {
    compare("redis-8.6");
}

#[test]
fn valkey_8_1() {
    compare("valkey-8.1");
}

#[test]
fn valkey_9_1() {
    compare("valkey-9.1");
}

/// Fills a server with each kind of values and compares.
fn compare(name: &str) {
    let version = Version::named(name);
    if !Version::available().contains(&version) {
        return;
    }
    let server = Server::of(version).start();
    let allocator = allocator(&server);
    let mut wrong = Vec::new();
    for (kind, fill) in FILLS {
        if kind == "hash-ttl" && !version.has_field_ttls() {
            continue;
        }
        let found = Found::of(&server, allocator, kind, fill);
        wrong.extend(found.judge(version));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What one kind of values takes: by estimate, and as the server says.
struct Found {
    kind: &'static str,
    /// What `used_memory` grew by.
    growth: f64,
    /// The estimate for keys and tables.
    estimate: f64,
    /// `MEMORY USAGE` and estimate of each key.
    keys: BTreeMap<String, (f64, f64)>,
}

impl Found {
    fn of(server: &Server, allocator: &str, kind: &'static str, fill: Fill) -> Found {
        server.client().run(command!["FLUSHALL"]);
        let before = settled(server);
        let mut random = Random::seeded(Random::seed_of_this_run());
        server.client().pipeline(&fill(&mut random));
        let growth = settled(server) - before;
        let report = report(server, allocator);
        let mut client = server.client();
        let top = report["top"].as_array().unwrap();
        let keys = top.iter().map(|key| {
            let name = key["key"].as_str().unwrap().to_owned();
            let usage = client.run(command!["MEMORY", "USAGE", name, "SAMPLES", "0"]);
            let estimate = key["memory_bytes"].as_f64().unwrap();
            (name, (number(&usage) as f64, estimate))
        });
        let keys: BTreeMap<_, _> = keys.collect();
        assert_eq!(
            keys.len() as i64,
            number(&server.client().run(command!["DBSIZE"]))
        );
        let sum = |field: &Json| field.as_f64().unwrap();
        Found {
            kind,
            growth,
            estimate: sum(&report["totals"]["memory_bytes"]) + sum(&report["table_bytes"]),
            keys,
        }
    }

    /// What is further off than it may be.
    fn judge(&self, version: Version) -> Vec<String> {
        let kind = self.kind;
        let mut wrong = Vec::new();
        let usage: f64 = self.keys.values().map(|(usage, _)| usage).sum();
        let estimates: f64 = self.keys.values().map(|(_, estimate)| estimate).sum();
        let (grown, used) = (off(self.estimate, self.growth), off(estimates, usage));
        eprintln!(
            "{version} {kind}: {} keys, grew by {}, estimate {} ({:+.1}%); usage {usage}, estimate \
             {estimates} ({:+.1}%)",
            self.keys.len(),
            self.growth,
            self.estimate,
            grown * 100.0,
            used * 100.0
        );
        if grown.abs() > GROWTH_OFF_MAX {
            wrong.push(format!(
                "{version} {kind}: {:+.1}% of the growth",
                grown * 100.0
            ));
        }
        if let Some(why) = usage_differs(version, kind) {
            eprintln!("  MEMORY USAGE is not compared: {why}");
            return wrong;
        }
        if used.abs() > USAGE_OFF_MAX {
            wrong.push(format!(
                "{version} {kind}: {:+.1}% of MEMORY USAGE",
                used * 100.0
            ));
        }
        for (key, (usage, estimate)) in &self.keys {
            if *usage >= KEY_BYTES_MIN && off(*estimate, *usage).abs() > KEY_OFF_MAX {
                wrong.push(format!("{version} {kind} {key}: {estimate}, not {usage}"));
            }
        }
        wrong
    }
}

/// Why `MEMORY USAGE` of this kind is another number than what a server takes, if it is.
fn usage_differs(version: Version, kind: &str) -> Option<&'static str> {
    let is_redis = version.family == Family::Redis;
    match kind {
        "string-ttl" if is_redis && !version.is_redis_from(8, 2) => {
            Some("it leaves out the entry among the keys that expire")
        }
        "string" | "string-ttl" if version.name == "valkey-8.1" => {
            Some("it leaves out the object that holds the key, unless it holds the value too")
        }
        "set" if version.is_redis_from(7, 2) => {
            Some("it counts an entry for each member, also for those that stand in their bucket")
        }
        "hash" if version.is_redis_from(8, 2) => {
            Some("it counts an entry for each field, also for those that stand in their bucket")
        }
        "hash-ttl" if version.is_redis_from(7, 4) && !version.is_redis_from(8, 2) => {
            Some("it leaves out the expiry of fields")
        }
        "stream" if is_redis => Some("it takes a formula for radix trees"),
        _ => None,
    }
}

fn off(estimate: f64, truth: f64) -> f64 {
    estimate / truth - 1.0
}

/// `used_memory`, once tables are not being resized and nothing else moves.
fn settled(server: &Server) -> f64 {
    let mut client = server.client();
    let mut last = Vec::new();
    wait_for("used_memory to settle", WITHIN, || {
        let used = client.info("memory", "used_memory");
        last.push(used.unwrap().trim().parse::<f64>().unwrap());
        last.len() >= 10
            && last[last.len() - 10..]
                .iter()
                .all(|used| used == &last[last.len() - 1])
    });
    last[last.len() - 1]
}

/// The allocator of a server, as `--allocator` takes it.
fn allocator(server: &Server) -> &'static str {
    let named = server.client().info("memory", "mem_allocator").unwrap();
    // That of a distribution is a library of its own, with other size classes.
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    match (named.starts_with("jemalloc"), maps.contains("libjemalloc")) {
        (true, true) => "system-jemalloc",
        (true, false) => "jemalloc",
        (false, _) => "libc",
    }
}

/// The report over the server's own RDB, with all its keys.
fn report(server: &Server, allocator: &str) -> Json {
    let mut client = server.client();
    client.run(command!["SAVE"]);
    let dump = PathBuf::from(client.config("dir")).join("dump.rdb");
    let dump = dump.to_str().unwrap();
    let args = [
        "rdb",
        "analyze",
        dump,
        "--json",
        "--top",
        "100000",
        "--allocator",
        allocator,
    ];
    Keyferry::run(&args, WITHIN).assert_code(0).json()
}

type Fill = fn(&mut Random) -> Vec<Command>;

/// The kinds of values, each of some megabytes.
const FILLS: [(&str, Fill); 8] = [
    ("string", strings),
    ("string-ttl", strings_with_ttl),
    ("list", lists),
    ("set", sets),
    ("zset", zsets),
    ("hash", hashes),
    ("hash-ttl", hashes_with_ttls),
    ("stream", streams),
];

/// How many elements collections have.
const SIZES: [usize; 12] = [1, 2, 5, 12, 40, 100, 128, 129, 200, 513, 700, 3000];

fn strings(random: &mut Random) -> Vec<Command> {
    let mut commands = Vec::new();
    for n in 0..12_000u64 {
        let (len, name) = (
            random.below(260) as usize,
            "n".repeat(random.below(60) as usize),
        );
        let value = match n % 4 {
            0 => (1_000_000 + random.below(1 << 40)).to_string().into_bytes(),
            _ => random.bytes(len),
        };
        commands.push(command!["SET", format!("string:{n}:{name}"), value]);
    }
    for len in [1_000, 5_000, 20_000, 70_000, 300_000] {
        commands.push(command!["SET", format!("long:{len}"), random.text(len)]);
    }
    commands
}

fn strings_with_ttl(random: &mut Random) -> Vec<Command> {
    let mut commands = strings(random);
    for command in &mut commands {
        command.extend(command!["EX", 1_000_000 + random.below(1_000_000)]);
    }
    commands
}

fn lists(random: &mut Random) -> Vec<Command> {
    let mut commands = collections(random, "list", "RPUSH", 0);
    for len in [3_000, 9_000, 40_000] {
        let elements: Vec<_> = (0..20).map(|_| random.bytes(len)).collect();
        commands.push(with(command!["RPUSH", format!("list:big:{len}")], elements));
    }
    commands
}

fn sets(random: &mut Random) -> Vec<Command> {
    let mut commands = collections(random, "set", "SADD", 0);
    for size in SIZES {
        let members = (0..size).map(|_| random.below(1 << 40).to_string().into_bytes());
        let members = members.collect::<Vec<_>>();
        commands.push(with(command!["SADD", format!("set:int:{size}")], members));
    }
    commands
}

fn zsets(random: &mut Random) -> Vec<Command> {
    collections(random, "zset", "ZADD", 1)
}

fn hashes(random: &mut Random) -> Vec<Command> {
    collections(random, "hash", "HSET", 2)
}

/// Collections of every size, of short and of long elements. A member of a sorted set has a score
/// in front, a field of a hash a value behind it.
fn collections(random: &mut Random, kind: &str, verb: &str, pairs: u8) -> Vec<Command> {
    let mut commands = Vec::new();
    for size in SIZES {
        for len in [6, 14, 30, 60, 90, 300] {
            // As many small ones as make up for their size.
            for copy in 0..(600 / (size * len)).clamp(1, 20) {
                let mut elements = Vec::new();
                for n in 0..size {
                    let element = format!("{n:x>len$}").into_bytes();
                    match pairs {
                        0 => elements.push(element),
                        1 => elements.extend([random.below(9999).to_string().into(), element]),
                        _ => elements.extend([element, random.bytes(len * 2 / 3)]),
                    }
                }
                let key = format!("{kind}:{size}:{len}:{copy}");
                commands.push(with(command![verb, key], elements));
            }
        }
    }
    commands
}

fn hashes_with_ttls(random: &mut Random) -> Vec<Command> {
    let mut commands = Vec::new();
    for (at, size) in [20usize, 100, 600, 3000]
        .into_iter()
        .cycle()
        .take(24)
        .enumerate()
    {
        let key = format!("hash:{at}");
        for n in 0..size {
            let field = format!("field:{n}");
            commands.push(command!["HSET", key, field, random.bytes(20)]);
            let ttl_s = 100_000 + random.below(10_000_000);
            commands.push(command!["HEXPIRE", key, ttl_s, "FIELDS", 1, field]);
        }
    }
    commands
}

fn streams(random: &mut Random) -> Vec<Command> {
    let mut commands = Vec::new();
    for (at, size) in SIZES.into_iter().cycle().take(96).enumerate() {
        let key = format!("stream:{at}:{size}");
        for n in 0..size {
            let id = format!("{}-0", 1_700_000_000_000u64 + 977 * n as u64);
            let value = random.bytes(5 + 20 * (at % 3));
            commands.push(command!["XADD", key, id, "sensor", n, "reading", value]);
        }
        if at % 4 == 0 {
            commands.push(command!["XGROUP", "CREATE", key, "group", "0"]);
            for consumer in ["first", "second"] {
                commands.push(command![
                    "XREADGROUP",
                    "GROUP",
                    "group",
                    consumer,
                    "COUNT",
                    size / 4 + 1,
                    "STREAMS",
                    key,
                    ">"
                ]);
            }
        }
    }
    commands
}

fn with(mut command: Command, arguments: Vec<Vec<u8>>) -> Command {
    command.extend(arguments);
    command
}
