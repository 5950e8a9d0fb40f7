//! Translated commands on real servers: what a command does on a server that knows it, its
//! translation must do on one that does not.
//!
//! Each row runs the same setup on two servers, then the command on the one and its translation
//! on the other, in one transaction, and compares what clients read. Servers come from
//! `.servers/` (see `scripts/servers`); a pair of which one is missing is skipped by name.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "names what is skipped; a failure here is a failed test"
)]

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command as Process, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use keyferry::{
    keyspace::Db,
    rdb::{self, Event, Limits, ValueParser},
    resp::Command,
    sink::{
        Flavor, Hold, OnLossy, Publish, Target,
        rebuild::{ChunkLimits, Rebuild},
        translate::{Context, Translator},
    },
};
use redis::{Connection, Value};

/// Far enough in the future for every server's clock.
const RECEIVED_AT_MS: i64 = 4_000_000_000_000;

#[test]
fn translations_do_what_the_commands_do() {
    let mut servers = Servers::default();
    for (reference, targets, setup, command, reads) in ROWS {
        for target in targets.split(' ') {
            let what = format!("{reference} to {target}: {command}");
            let Some([mut left, mut right]) = servers.pair(reference, target) else {
                eprintln!("skipped {what}: no such server");
                continue;
            };
            for line in setup.iter().copied() {
                let ran = ask(&mut left, &words(line));
                assert!(ran.is_ok(), "{what}: {line}: {ran:?}");
                assert_eq!(
                    shown(&ran),
                    shown(&ask(&mut right, &words(line))),
                    "{what}: {line}"
                );
            }
            let command = Command::of(command.split(' ').map(str::as_bytes));
            ask(&mut left, command.args()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let commands = translated(target, command);
            run(&mut right, &commands, &what);
            for read in reads.iter().copied() {
                let expected = shown(&ask(&mut left, &words(read)));
                assert_eq!(
                    shown(&ask(&mut right, &words(read))),
                    expected,
                    "{what}: {read}"
                );
            }
        }
    }
}

type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

const LIST: &[&str] = &["RPUSH a 1 2 3 4", "RPUSH b x"];
const LISTS_READ: &[&str] = &["LRANGE a 0 -1", "LRANGE b 0 -1", "EXISTS a b"];
const ZSET: &[&str] = &["ZADD s 1 a 2.5 b 3 c inf d -inf e", "ZADD d 9 old"];
const ZSET_READ: &[&str] = &["ZRANGE d 0 -1 WITHSCORES", "TYPE d"];
const STREAM: &[&str] = &[
    "XADD x 1-1 f v",
    "XADD x 2-1 f v",
    "XADD x 3-1 f v",
    "XADD x 3-10 f v",
    "XADD x 4-1 f v",
    "XGROUP CREATE x g 0",
    "XGROUP CREATE x late 2-1",
    "XREADGROUP GROUP g c COUNT 4 STREAMS x >",
    "XACK x g 1-1 3-1",
    "XREADGROUP GROUP late c COUNT 1 STREAMS x >",
    "XACK x late 3-1",
];
const STREAM_READ: &[&str] = &["XRANGE x - +", "XPENDING x g", "XPENDING x late", "XLEN x"];
const BITS: &[&str] = &[
    "SETRANGE a 0 \x0f\x55\x7a",
    "SETRANGE b 0 \x33\x11",
    "SETRANGE c 0 \x71\x0e\x01\x44",
    "SET d old",
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("redis-6.2", "redis-6.0", LIST, "LPOP a 3", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "RPOP a 3", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LPOP a 9", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LMOVE a b LEFT LEFT", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LMOVE a b LEFT RIGHT", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LMOVE a b RIGHT LEFT", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LMOVE a b RIGHT RIGHT", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LMOVE a a LEFT RIGHT", LISTS_READ),
    ("redis-6.2", "redis-6.0", LIST, "LMOVE b a LEFT RIGHT", LISTS_READ),
    ("redis-6.2", "redis-6.0", ZSET, "ZADD s GT CH 0 a 4 b 3 c 7 new", &["ZRANGE s 0 -1 WITHSCORES"]),
    ("redis-6.2", "redis-6.0", ZSET, "ZADD s XX LT 0 a 4 b 3 c 7 new -inf d", &["ZRANGE s 0 -1 WITHSCORES"]),
    ("redis-6.2", "redis-6.0", ZSET, "ZADD s GT INCR 2 a", &["ZRANGE s 0 -1 WITHSCORES"]),
    ("redis-6.2", "redis-6.0", ZSET, "ZRANGESTORE d s 1 2", ZSET_READ),
    ("redis-6.2", "redis-6.0", ZSET, "ZRANGESTORE d s 0 1 REV", ZSET_READ),
    ("redis-6.2", "redis-6.0", ZSET, "ZRANGESTORE s s 0 1 REV", &["ZRANGE s 0 -1 WITHSCORES"]),
    ("redis-6.2", "redis-6.0", ZSET, "ZRANGESTORE d s (1 +inf BYSCORE LIMIT 0 2", ZSET_READ),
    ("redis-6.2", "redis-6.0", ZSET, "ZRANGESTORE d s +inf (1 BYSCORE REV LIMIT 1 1", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["ZADD s 0 a 0 b 0 c 0 d"], "ZRANGESTORE d s [b (d BYLEX", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["ZADD s 0 a 0 b 0 c 0 d"], "ZRANGESTORE d s (d [b BYLEX REV LIMIT 0 1", ZSET_READ),
    ("redis-6.2", "redis-6.0", ZSET, "ZRANGESTORE d s 10 20", ZSET_READ),
    ("redis-6.2", "redis-6.0", ZSET, "ZDIFFSTORE d 2 s none", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["ZADD s 1 a 2 b 3 c", "SADD t a", "ZADD u 5 b"], "ZDIFFSTORE d 3 s t u", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["SADD t a b", "ZADD u 5 b", "ZADD d 1 x"], "ZDIFFSTORE d 2 t u", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["ZADD s 1 a", "ZADD d 1 x"], "ZDIFFSTORE d 2 s s", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["GEOADD g 13 38 p 15 37 c 2 48 f"], "GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km ASC COUNT 2", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["GEOADD g 13 38 p 15 37 c 2 48 f"], "GEOSEARCHSTORE d g FROMMEMBER p BYRADIUS 300 km STOREDIST", ZSET_READ),
    ("redis-6.2", "redis-6.0", &["RPUSH a 1 2", "PEXPIREAT a 9000000000000", "SET b x"], "COPY a b REPLACE", &["LRANGE b 0 -1", "TTL b"]),
    ("redis-6.2", "redis-6.0", &["RPUSH a 1 2"], "COPY a b", &["LRANGE b 0 -1", "TTL b"]),
    ("redis-6.2", "redis-6.0", &["SET a 1"], "COPY a b DB 2", &["GET b", "SELECT 2", "GET b", "DEL b", "SELECT 0"]),
    ("redis-6.2", "redis-6.0", STREAM, "XTRIM x MINID 3-1", STREAM_READ),
    ("redis-6.2", "redis-6.0", STREAM, "XTRIM x MINID = 3", STREAM_READ),
    ("redis-6.2", "redis-6.0", STREAM, "XADD x NOMKSTREAM MINID = 3-10 5-1 f v", STREAM_READ),
    ("redis-6.2", "redis-6.0", STREAM, "XGROUP CREATECONSUMER x g new", &["XINFO GROUPS x"]),
    ("redis-7.0", "redis-6.2", STREAM, "XGROUP CREATE x new 2-1 ENTRIESREAD 2", STREAM_READ),
    ("redis-7.0", "redis-6.0", STREAM, "XSETID x 9-1 ENTRIESADDED 9 MAXDELETEDID 1-0", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-7.0 valkey-9.1", &["SET k old"], "SET k v IFEQ old", &["GET k"]),
    ("redis-8.6", "redis-6.0 redis-7.0 valkey-8.1", &[], "MSETEX 2 a 1 b 2 PXAT 9000000000000", &["MGET a b", "TTL a", "TTL b"]),
    ("redis-8.6", "redis-6.0 redis-7.0 valkey-8.1", &["SET a 0 PX 900000000"], "MSETEX 2 a 1 b 2 KEEPTTL", &["MGET a b", "TTL a", "TTL b"]),
    ("redis-8.6", "redis-6.0 redis-7.0 redis-8.0 valkey-9.1", BITS, "BITOP DIFF d a b c", &["GET d", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-7.0 redis-8.0 valkey-9.1", BITS, "BITOP DIFF1 d a b c", &["GET d", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-7.0 redis-8.0 valkey-9.1", BITS, "BITOP ANDOR d a b c", &["GET d", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-7.0 redis-8.0 valkey-9.1", BITS, "BITOP ONE d a b c", &["GET d", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-7.0", BITS, "BITOP ONE a a b c", &["GET a", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-7.0", BITS, "BITOP DIFF b a b none", &["GET b", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-7.0", &[], "BITOP DIFF d none other", &["EXISTS d", "DBSIZE"]),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XDELEX x KEEPREF IDS 2 2-1 9-9", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XDELEX x DELREF IDS 2 2-1 3-10", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XDELEX x ACKED IDS 5 1-1 2-1 3-1 3-10 4-1", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XACKDEL x g IDS 3 1-1 2-1 3-10", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XACKDEL x g DELREF IDS 2 1-1 2-1", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XACKDEL x g ACKED IDS 2 2-1 3-10", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XTRIM x MAXLEN = 2 DELREF", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XTRIM x MAXLEN = 1 KEEPREF", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XTRIM x MINID = 4-1 ACKED", STREAM_READ),
    ("redis-8.6", "redis-6.0 redis-8.0 valkey-9.1", STREAM, "XADD x DELREF MAXLEN = 3 5-1 f v", STREAM_READ),
    ("redis-8.6", "redis-6.0 valkey-9.1", &["HSET h a 1 b 2 c 3"], "HGETDEL h FIELDS 2 a b", &["HMGET h a b c"]),
    ("redis-8.6", "redis-8.0 valkey-9.1", &["HSET h a 1 b 2"], "HSETEX h PXAT 9000000000000 FIELDS 2 b 3 c 4", &["HMGET h a b c", "HPEXPIRETIME h FIELDS 3 a b c"]),
    ("redis-8.6", "redis-8.0 valkey-9.1", &["HSETEX h PXAT 9000000000000 FIELDS 1 a 1"], "HSETEX h FXX KEEPTTL FIELDS 1 a 2", &["HMGET h a b c", "HPEXPIRETIME h FIELDS 1 a"]),
    ("redis-8.6", "redis-8.0 valkey-9.1", &["HSETEX h PXAT 9000000000000 FIELDS 1 a 1"], "HSETEX h FIELDS 1 a 2", &["HMGET h a b c", "HPEXPIRETIME h FIELDS 1 a"]),
    ("redis-8.6", "redis-6.0 valkey-8.1", &["HSET h a 1"], "HSETEX h KEEPTTL FIELDS 2 a 2 b 3", &["HMGET h a b c"]),
    ("valkey-9.1", "redis-6.0 redis-8.0 redis-8.6", &["SET k v"], "DELIFEQ k v", &["EXISTS k"]),
    ("redis-7.0", "redis-6.0", &["SET a 1"], "SET a 2 PXAT 9000000000000", &["GET a", "TTL a"]),
];

/// XADD with IDMP is refused to clients when the id is given; its translation must leave a stream
/// that still recognizes the repetition.
#[test]
fn duplicates_are_still_recognized_after_translation() {
    let mut servers = Servers::default();
    let Some([_, mut target]) = servers.pair("redis-8.6", "redis-8.6") else {
        eprintln!("skipped: no redis-8.6");
        return;
    };
    let command = Command::of("XADD x IDMP p i 5-1 f v".split(' ').map(str::as_bytes));
    run(&mut target, &translated("redis-8.6", command), "XADD IDMP");
    let again = ask(&mut target, &words("XADD x IDMP p i * f v"));
    assert_eq!(shown(&again), "\"5-1\"");
    assert_eq!(shown(&ask(&mut target, &words("XLEN x"))), "1");
}

/// The expiry of a held key is one that every server accepts, in whatever way it arrives, and far
/// enough away to be told from a true one.
#[test]
fn held_expiries_of_keys_are_accepted() {
    let mut servers = Servers::default();
    for name in NAMES {
        let Some([_, mut target]) = servers.pair(name, name) else {
            eprintln!("skipped: no {name}");
            continue;
        };
        ask(&mut target, &words("SET k v")).unwrap();
        let Ok(Value::BulkString(payload)) = ask(&mut target, &words("DUMP k")) else {
            panic!("{name}: no payload");
        };
        let mut restore = restore(&Bytes::from(payload)).into_args();
        restore[2] = Bytes::from_static(b"5");
        restore.push(Bytes::from_static(b"REPLACE"));
        let mut commands = vec![Command::new(restore)];
        commands.extend(
            [
                "SET k v PX 5",
                "PSETEX k 5 v",
                "PEXPIRE k 5",
                "MSETEX 1 k v PXAT 5",
            ]
            .map(|line| Command::new(words(line))),
        );
        for command in commands {
            let what = format!("{name}: {command:?}");
            ask(&mut target, &words("PERSIST k")).unwrap();
            run(&mut target, &held(name, command), &what);
            let ttl = ask(&mut target, &words("PTTL k"));
            assert!(
                matches!(ttl, Ok(Value::Int(ms)) if ms > 1 << 46),
                "{what}: {ttl:?}"
            );
        }
    }
}

/// The expiry of a held field is one that servers accept, in whatever way it arrives.
#[test]
fn held_expiries_of_fields_are_accepted() {
    const TRUE_MS: i64 = 9_000_000_000_000;
    let written = shown(&Ok(Value::Int(Hold::Held.apply_field(TRUE_MS))));
    let mut servers = Servers::default();
    for source in ["redis-8.0", "redis-8.6", "valkey-9.1"] {
        for target in ["redis-8.0", "redis-8.6", "valkey-9.1"] {
            let Some([mut left, mut right]) = servers.pair(source, target) else {
                eprintln!("skipped {source} to {target}: no such server");
                continue;
            };
            let what = format!("{source} to {target}");
            ask(&mut left, &words("HSET k a 1 b 2")).unwrap();
            let expire = format!("HPEXPIREAT k {TRUE_MS} FIELDS 1 a");
            ask(&mut left, &words(&expire)).unwrap();
            let Ok(Value::BulkString(payload)) = ask(&mut left, &words("DUMP k")) else {
                panic!("{what}: no payload");
            };
            let hset = "HSET k a 1 b 2".to_owned();
            let hsetex = format!("HSETEX k PXAT {TRUE_MS} FIELDS 1 a 1");
            for commands in [
                vec![restore(&Bytes::from(payload))],
                vec![Command::new(words(&hset)), Command::new(words(&expire))],
                vec![Command::new(words(&hset)), Command::new(words(&hsetex))],
            ] {
                ask(&mut right, &words("DEL k")).unwrap();
                for command in commands {
                    run(&mut right, &held(target, command), &what);
                }
                let found = ask(&mut right, &words("HPEXPIRETIME k FIELDS 2 a b"));
                let Ok(Value::Array(found)) = found else {
                    panic!("{what}: {found:?}");
                };
                let found = found.into_iter().map(|time| shown(&Ok(time)));
                let expected = [written.clone(), "-1".to_owned()];
                assert_eq!(found.collect::<Vec<_>>(), expected, "{what}");
            }
        }
    }
}

/// Fields, streams and all other values, from every server to every server, by RESTORE as it
/// stands in the stream and by commands.
#[test]
fn values_arrive_by_payload_and_by_commands() {
    let mut servers = Servers::default();
    for source in NAMES {
        for target in NAMES {
            for (setup, reads) in VALUES {
                let Some([mut left, mut right]) = servers.pair(source, target) else {
                    eprintln!("skipped {source} to {target}: no such server");
                    continue;
                };
                let what = format!("{source} to {target}: {setup:?}");
                let known = setup
                    .iter()
                    .all(|line| ask(&mut left, &words(line)).is_ok());
                if !known || !lossless(setup, target) {
                    continue;
                }
                let Ok(Value::BulkString(payload)) = ask(&mut left, &words("DUMP k")) else {
                    panic!("{what}: no payload");
                };
                let payload = Bytes::from(payload);
                // Reading a group changes it, so the source is read once.
                let expected = read_all(&mut left, reads);
                for by_commands in [false, true] {
                    let commands = match by_commands {
                        true => rebuilt(target, &payload),
                        false => translated(target, restore(&payload)),
                    };
                    ask(&mut right, &words("DEL k")).unwrap();
                    run(&mut right, &commands, &what);
                    let found = read_all(&mut right, reads);
                    assert_eq!(found, expected, "{what} (by commands: {by_commands})");
                }
            }
        }
    }
}

/// What clients read, and the last id of a stream.
fn read_all(connection: &mut Connection, reads: &[&str]) -> Vec<String> {
    let replies = reads.iter().map(|read| {
        let reply = shown(&ask(connection, &words(read)));
        format!("{read}: {reply}")
    });
    let mut replies: Vec<String> = replies.collect();
    replies.extend(last_id(connection));
    replies
}

const NAMES: [&str; 7] = [
    "redis-6.0",
    "redis-6.2",
    "redis-7.0",
    "redis-8.0",
    "redis-8.6",
    "valkey-8.1",
    "valkey-9.1",
];

const STREAM_VALUE_READ: &[&str] = &[
    "XRANGE k - +",
    "XLEN k",
    "XPENDING k g",
    "XPENDING k h",
    "XACK k g 2-1",
    "XREADGROUP GROUP g c COUNT 9 STREAMS k >",
];

#[rustfmt::skip]
const VALUES: &[(&[&str], &[&str])] = &[
    (&["SET k value"], &["GET k"]),
    (&["SET k -12345"], &["GET k"]),
    (&["RPUSH k a b 3 -4 70000 9223372036854775807 e"], &["LRANGE k 0 -1"]),
    (&["SADD k 1 2 3"], &["SISMEMBER k 1", "SISMEMBER k 2", "SISMEMBER k 3", "SCARD k"]),
    (&["SADD k a b 3"], &["SISMEMBER k a", "SISMEMBER k b", "SISMEMBER k 3", "SCARD k"]),
    (&["ZADD k 0.1 a -2.5e-300 b inf c -inf d 1234567890123456789 e 3 f"],
     // Servers print scores differently; as bounds they are compared as doubles.
     &["ZRANGE k 0 -1", "ZRANGEBYSCORE k 0.1 0.1", "ZRANGEBYSCORE k -2.5e-300 -2.5e-300", "ZRANGEBYSCORE k inf inf",
       "ZRANGEBYSCORE k -inf -inf", "ZRANGEBYSCORE k 1234567890123456789 1234567890123456789", "ZRANGEBYSCORE k 3 3"]),
    (&["HSET k a 1 b two 3 -3"], &["HGET k a", "HGET k b", "HGET k 3", "HLEN k"]),
    (&["HSET k a 1 b 2 c 3 d 4", "HPEXPIREAT k 9000000000000 FIELDS 2 a c", "HPEXPIREAT k 9000000000001 FIELDS 1 b"],
     &["HLEN k", "HGET k c", "HPEXPIRETIME k FIELDS 4 a b c d"]),
    (&["XADD k 1-1 f v g w", "XADD k 2-1 f 1", "XADD k 2-2 f x", "XGROUP CREATE k g 0", "XGROUP CREATE k h $",
       "XREADGROUP GROUP g c COUNT 2 STREAMS k >", "XREADGROUP GROUP g other COUNT 1 STREAMS k >", "XACK k g 1-1", "XDEL k 1-1"],
     STREAM_VALUE_READ),
    (&["XADD k 1-1 f v", "XADD k 2-1 f v", "XDEL k 1-1 2-1"], &["XLEN k", "TYPE k"]),
    (&["XGROUP CREATE k g 0 MKSTREAM", "XGROUP CREATE k h 0"], STREAM_VALUE_READ),
];

fn lossless(setup: &[&str], target: &str) -> bool {
    let expires = setup.iter().any(|line| line.starts_with("HPEXPIREAT"));
    !expires || target_of(target).has_field_expiry()
}

/// What a stream generates next depends on the last id, which no plain command shows alike on
/// every server.
fn last_id(connection: &mut Connection) -> Option<String> {
    let Ok(Value::Array(pairs)) = ask(connection, &words("XINFO STREAM k")) else {
        return None;
    };
    let at = pairs
        .iter()
        .position(|value| *value == Value::BulkString(b"last-generated-id".to_vec()))?;
    pairs.get(at + 1).map(|id| format!("{id:?}"))
}

#[test]
fn libraries_arrive_by_function_restore() {
    let mut servers = Servers::default();
    let code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    for source in ["redis-7.0", "redis-8.6", "valkey-9.1"] {
        for target in [
            "redis-7.0",
            "redis-8.0",
            "redis-8.6",
            "valkey-8.1",
            "valkey-9.1",
        ] {
            let Some([mut left, mut right]) = servers.pair(source, target) else {
                eprintln!("skipped {source} to {target}: no such server");
                continue;
            };
            let what = format!("{source} to {target}");
            for connection in [&mut left, &mut right] {
                ask(connection, &words("FUNCTION FLUSH")).unwrap();
            }
            ask(&mut left, &["FUNCTION", "LOAD", code].map(Bytes::from)).unwrap();
            let Ok(Value::BulkString(payload)) = ask(&mut left, &words("FUNCTION DUMP")) else {
                panic!("{what}: no payload");
            };
            let command = Command::new(vec![
                Bytes::from("FUNCTION"),
                Bytes::from("RESTORE"),
                Bytes::from(payload),
                Bytes::from("REPLACE"),
            ]);
            run(&mut right, &translated(target, command), &what);
            assert_eq!(shown(&ask(&mut right, &words("FCALL f 0"))), "7", "{what}");
        }
    }
}

fn restore(payload: &Bytes) -> Command {
    let word = |word: &'static str| Bytes::from_static(word.as_bytes());
    Command::new(vec![word("RESTORE"), word("k"), word("0"), payload.clone()])
}

fn translated(target: &str, command: Command) -> Vec<Command> {
    translated_with(Hold::Released, target, command)
}

fn held(target: &str, command: Command) -> Vec<Command> {
    translated_with(Hold::Held, target, command)
}

fn translated_with(hold: Hold, target: &str, command: Command) -> Vec<Command> {
    let mut out = Vec::new();
    let target = target_of(target);
    let context = Context {
        db: Db(0),
        received_at_ms: RECEIVED_AT_MS,
    };
    Translator::new(target, hold, Publish::Forward, OnLossy::Fail)
        .translate(command, &context, &mut out)
        .expect("nothing is lost");
    out
}

fn rebuilt(target: &str, payload: &Bytes) -> Vec<Command> {
    let limits = ChunkLimits {
        bytes_max: 2,
        elements_max: 2,
    };
    let payload = rdb::payload::check(payload).expect("a payload of a server");
    let key = Bytes::from_static(b"k");
    let mut rebuild = Rebuild::new(key, &target_of(target), Hold::Released, limits);
    // Small enough for the longer strings to come in chunks.
    let limits = Limits {
        chunk_bytes_max: 3,
        ..Limits::default()
    };
    let mut parser = ValueParser::new(payload.value_type, payload.body, limits);
    let mut out = Vec::new();
    while let Some(event) = parser.next_event().expect("a value of a server") {
        if let Event::Part(part) = event {
            rebuild.part(part, &mut out).expect("nothing is lost");
        }
    }
    rebuild.finish(&mut out);
    out
}

fn target_of(name: &str) -> Target {
    let (flavor, version) = name.split_once('-').expect("a server's name");
    let (major, minor) = version.split_once('.').expect("a server's version");
    Target {
        flavor: match flavor {
            "valkey" => Flavor::Valkey,
            _ => Flavor::Redis,
        },
        version: (major.parse().unwrap(), minor.parse().unwrap(), 0),
        modules: Vec::new(),
        bulk_bytes_max: 512 << 20,
        databases: 16,
    }
}

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

fn ask(connection: &mut Connection, args: &[Bytes]) -> redis::RedisResult<Value> {
    let mut command = redis::Cmd::new();
    for arg in args {
        command.arg(&arg[..]);
    }
    command.query(connection)
}

/// One transaction; no command of it may be refused.
fn run(connection: &mut Connection, commands: &[Command], what: &str) {
    ask(connection, &words("MULTI")).unwrap();
    for command in commands {
        let queued = ask(connection, command.args());
        assert!(queued.is_ok(), "{what}: {command:?}: {queued:?}");
    }
    let replies = ask(connection, &words("EXEC"));
    let Ok(Value::Array(replies)) = replies else {
        panic!("{what}: {replies:?}");
    };
    for (reply, command) in replies.iter().zip(commands) {
        let refused = matches!(reply, Value::ServerError(_));
        assert!(!refused, "{what}: {command:?}: {reply:?}");
    }
}

/// A reply for comparison; a TTL only roughly, as time passes between two servers.
fn shown(reply: &redis::RedisResult<Value>) -> String {
    match reply {
        Ok(Value::Int(number)) if *number > 1_000_000 => format!("about {}", number / 1000),
        Ok(Value::Int(number)) => number.to_string(),
        Ok(Value::BulkString(bytes)) => format!("\"{}\"", bytes.escape_ascii()),
        other => format!("{other:?}"),
    }
}

/// The servers of one test, started when first asked for.
#[derive(Default)]
struct Servers {
    running: BTreeMap<(&'static str, usize), Server>,
}

impl Servers {
    /// Connections to two empty servers; `None` when one of them is not installed.
    fn pair(&mut self, left: &str, right: &str) -> Option<[Connection; 2]> {
        Some([self.connect(left, 0)?, self.connect(right, 1)?])
    }

    fn connect(&mut self, name: &str, nth: usize) -> Option<Connection> {
        let name = NAMES.into_iter().find(|known| *known == name)?;
        let server = match self.running.entry((name, nth)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Server::start(name)?),
        };
        let mut connection = server.connect();
        ask(&mut connection, &words("FLUSHALL")).unwrap();
        Some(connection)
    }
}

struct Server {
    process: Child,
    client: redis::Client,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(name: &str) -> Option<Server> {
        let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(".servers")
            .join(name);
        let program = home.join("redis-server");
        if !program.exists() {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let directory = tempfile::tempdir().unwrap();
        let process = Process::new(program)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
        let server = Server {
            process,
            client,
            _directory: directory,
        };
        let begun = Instant::now();
        while server.client.get_connection().is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{name} does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn connect(&self) -> Connection {
        self.client.get_connection().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
