//! The harness without keyferry: a harness that cannot fail proves nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::support::{
    client::{Client, text},
    dataset::Dataset,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    random::Random,
    server::{Server, wait_for},
    version::Version,
    writer::Load,
};

/// Of so many commands every kind of write is one.
const WRITTEN_COMMANDS: u64 = 10_000;
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// What every run of the writer has to have done, where the version knows it.
const WRITTEN: &[&str] = &[
    "APPEND",
    "BITFIELD",
    "BITOP",
    "COPY",
    "DECR",
    "DECRBY",
    "DEL",
    "EVAL",
    "EXEC",
    "EXPIRE",
    "EXPIREAT",
    "FLUSHDB",
    "FCALL",
    "FUNCTION",
    "GEOADD",
    "GEORADIUS",
    "GEOSEARCHSTORE",
    "GETDEL",
    "GETEX",
    "GETSET",
    "HDEL",
    "HEXPIRE",
    "HGETDEL",
    "HGETEX",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HMSET",
    "HPERSIST",
    "HPEXPIRE",
    "HPEXPIREAT",
    "HSET",
    "HSETEX",
    "HSETNX",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LINSERT",
    "LMOVE",
    "LMPOP",
    "LPOP",
    "LPUSH",
    "LREM",
    "LSET",
    "LTRIM",
    "MOVE",
    "MSET",
    "MSETEX",
    "MSETNX",
    "PERSIST",
    "PEXPIRE",
    "PFADD",
    "PFCOUNT",
    "PFMERGE",
    "PSETEX",
    "PUBLISH",
    "RENAME",
    "RENAMENX",
    "RESTORE",
    "RPOPLPUSH",
    "RPUSH",
    "SADD",
    "SDIFFSTORE",
    "SET",
    "SETBIT",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "SMOVE",
    "SORT",
    "SPOP",
    "SREM",
    "SUNIONSTORE",
    "SWAPDB",
    "UNLINK",
    "VADD",
    "XADD",
    "XAUTOCLAIM",
    "XREADGROUP",
    "XTRIM",
    "ZADD",
    "ZINCRBY",
    "ZRANGESTORE",
    "ZREM",
    "ZUNIONSTORE",
];

#[test]
fn native_replication_is_equal_by_the_oracle() {
    let seed = Random::seed_of_this_run();
    for version in Version::available() {
        let primary = Server::of(version).start();
        let replica = Server::of(version).start();
        Dataset::seeded(seed).load(&primary);
        let writer = Load::seeded(seed).start(&primary);
        replica.replicate(&primary);
        let mut client = primary.client();
        let mut executed = || -> u64 {
            let count = client.info("stats", "total_commands_processed");
            count.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
        };
        let before = executed();
        wait_for("every kind of write", WRITTEN_WITHIN, || {
            executed() >= before + WRITTEN_COMMANDS
        });
        let written = writer.stop();
        replica.wait_for_offset_of(&primary);
        eprintln!("{version}, refused: {:#?}", written.refused);
        let mut client = primary.client();
        for &name in WRITTEN {
            let done = written.done.contains_key(name) || !client.knows(name);
            assert!(done, "the writer never did {name} on {version}");
        }
        Oracle::between(&primary, &replica).assert_equal(&primary, &replica);
    }
}

/// One planted difference: its name, what to do on the target, and what the oracle has to call it.
type Plant = (&'static str, &'static [&'static str], &'static str);

const PLANTS: [Plant; 17] = [
    (
        "a key is missing",
        &["DEL", "small:1"],
        "missing on the target",
    ),
    (
        "a key too many",
        &["SET", "more", "1"],
        "only on the target",
    ),
    ("another value", &["APPEND", "string:big", "x"], "value"),
    (
        "another bit of a HyperLogLog",
        &["SETBIT", "hll:dense", "5000", "1"],
        "value",
    ),
    (
        "another count of a merged HyperLogLog",
        &["PFADD", "hll:pfmerge", "new1", "new2", "new3", "new4"],
        "count",
    ),
    (
        "another order of a list",
        &["RPOPLPUSH", "list:4000", "list:4000"],
        "value",
    ),
    (
        "another member",
        &["SREM", "set:empty-member", ""],
        "missing on the target",
    ),
    (
        "a score apart by one bit",
        &["ZADD", "zset:edges", "0.10000000000000002", "0.1"],
        "value",
    ),
    (
        "another field",
        &["HSET", "hash:600", "field:3", "other"],
        "value",
    ),
    ("no expiry", &["PERSIST", "ttl:hour"], "expiry in ms"),
    (
        "another expiry",
        &["PEXPIRE", "ttl:year", "31536100000"],
        "expiry in ms",
    ),
    (
        "an entry is missing",
        &["XDEL", "stream:many", "1067-203"],
        "entries",
    ),
    (
        "another last id",
        &["XSETID", "stream:few", "9000-0"],
        "last-generated-id",
    ),
    (
        "a group is missing",
        &["XGROUP", "DESTROY", "stream:many", "late"],
        "groups",
    ),
    (
        "another place of a group",
        &["XGROUP", "SETID", "stream:many", "late", "0"],
        "group \"late\" last-delivered-id",
    ),
    (
        "a pending entry is missing",
        &["XACK", "stream:many", "early", "1050-150"],
        "group \"early\" pel",
    ),
    (
        "a consumer is missing",
        &["XGROUP", "DELCONSUMER", "stream:many", "early", "anna"],
        "group \"early\" consumers",
    ),
];

#[test]
fn the_oracle_sees_what_differs() {
    for (name, command, what) in PLANTS {
        let command: Vec<Vec<u8>> = command.iter().map(|a| a.as_bytes().to_vec()).collect();
        PLANTED.with(|pair| pair.plant(name, 0, &command, what));
    }
    PLANTED.with(|pair| {
        let set = command!["SET", "small:1", "x"];
        pair.plant("in another database", 9, &set, "value");
        let ty = command![
            "EVAL",
            "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'a')",
            "1",
            "small:1"
        ];
        pair.plant("another type", 1, &ty, "type");
        // ZADD sees no difference between the zeros, so the member goes first. Only a table keeps
        // the sign: listpacks store a whole number as an integer.
        let function = command!["FUNCTION", "DELETE", "ropes"];
        pair.plant("a function", 0, &function, "function library");
        let claim = command![
            "XCLAIM",
            "stream:many",
            "early",
            "anna",
            "0",
            "1050-150",
            "TIME",
            "77",
            "RETRYCOUNT",
            "9"
        ];
        pair.plant("another delivery", 0, &claim, "group \"early\" pel");
    });
}

#[test]
fn the_oracle_sees_fields_that_expire_elsewhere() {
    let Some(version) = Version::available()
        .into_iter()
        .find(Version::has_field_ttls)
    else {
        return;
    };
    let pair = Planted::new(version);
    let persist = command!["HPERSIST", "hash:ttl:11", "FIELDS", "1", "field:0"];
    pair.plant(
        "a field without expiry",
        0,
        &persist,
        "field expiries in ms",
    );
    let later = command!["HPEXPIRE", "hash:ttl:11", "99999", "FIELDS", "1", "field:0"];
    pair.plant("another field expiry", 0, &later, "field expiries in ms");
    if version.has_vector_sets() {
        let vector = command![
            "VADD",
            "vectors:Q8",
            "VALUES",
            "4",
            "1",
            "2",
            "3",
            "4",
            "element:4"
        ];
        pair.plant("another vector", 0, &vector, "vectors and attributes");
        let attribute = command!["VSETATTR", "vectors:Q8", "element:4", "{}"];
        pair.plant("another attribute", 0, &attribute, "vectors and attributes");
    }
}

thread_local! {
    static PLANTED: Planted = Planted::new(Version::named("redis-7.0"));
}

/// Two equal servers on which differences are planted.
struct Planted {
    source: Server,
    target: Server,
    oracle: Oracle,
}

impl Planted {
    fn new(version: Version) -> Planted {
        let source = Server::of(version).start();
        let target = Server::of(version).start();
        let mut dataset = Dataset::seeded(7);
        dataset.expiring = false;
        dataset.load(&source);
        let oracle = Oracle::between(&source, &target);
        Planted {
            source,
            target,
            oracle,
        }
    }

    /// Makes both equal, plants the difference, and expects the oracle to name it and no more.
    fn plant(&self, name: &str, db: u32, command: &[Vec<u8>], what: &str) {
        self.target.replicate(&self.source);
        let mut client = self.target.client();
        client.run(command!["REPLICAOF", "NO", "ONE"]);
        client.select(db);
        client.run(command.to_vec());
        let found = self.oracle.differences(&self.source, &self.target);
        let named = found.iter().any(|found| found.what == what);
        assert!(named, "{name}: expected {what:?}, found {found:#?}");
        let keys: Vec<_> = found.iter().map(|found| (found.db, &found.key)).collect();
        assert!(
            keys.windows(2).all(|two| two[0] == two[1]),
            "{name}: {keys:?}"
        );
    }
}

#[test]
fn servers_ask_for_their_password_and_come_back_after_a_kill() {
    let mut server = Server::of(Version::named("redis-7.0"))
        .password("secret")
        .user("reader", "words", "~* +@read")
        .config("appendonly yes")
        .config("appendfsync always")
        .start();
    server.client().run(command!["SET", "a", "1"]);
    let open = Client::open(&server.url_without_login());
    let refused = open.unwrap().try_run(&command!["GET", "a"]).unwrap();
    assert!(
        crate::support::server::is_error(&refused, "NOAUTH"),
        "{refused:?}"
    );
    let reader = format!("redis://reader:words@{}", server.address());
    let mut reader = Client::open(&reader).unwrap();
    assert_eq!(text(&reader.run(command!["GET", "a"])), "1");
    server.kill();
    server.start_again();
    assert_eq!(text(&server.client().run(command!["GET", "a"])), "1");
}

#[test]
fn the_proxy_cuts_flips_and_freezes() {
    let server = Server::start("redis-7.0");
    let proxy = Proxy::before(&server);
    server
        .client()
        .run(command!["SET", "a", "REDIS0011 and so on"]);
    let whole = b"$19\r\nREDIS0011 and so on\r\n";

    assert_eq!(asked(&proxy, whole.len()), whole);
    proxy.set(Fault::CutAt(7));
    assert_eq!(asked(&proxy, whole.len()), b"$19\r\nRE");
    proxy.set_after(b"REDIS00", Fault::CutAt(9));
    assert_eq!(asked(&proxy, whole.len()), b"$19\r\nREDIS0011");
    proxy.set_after(b"REDIS00", Fault::FlipBitAt(10));
    assert_eq!(
        asked(&proxy, whole.len()),
        b"$19\r\nREDIS0011 qnd so on\r\n"
    );

    proxy.set(Fault::None);
    proxy.freeze();
    let mut stream = ask(&proxy);
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err(), "a frozen proxy answered");
    proxy.thaw();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    proxy.cut_now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < whole.len());
}

fn ask(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.write_all(b"GET a\r\n").unwrap();
    stream
}

/// What arrives of the answer: this many bytes, or fewer when the connection is closed.
fn asked(proxy: &Proxy, len: usize) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = ask(proxy).take(len as u64).read_to_end(&mut answer);
    answer
}
