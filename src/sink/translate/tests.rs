//! One row per rule: what a command of the source becomes on a target. The rows are the rules.
//!
//! `R6.0` is Redis 6.0, `V9.1` Valkey 9.1. Commands are separated by ` ; `, nothing is `-`.
//! Scripts are shown by the name of their file. The command was received at 1 000 000 ms in db 3.

use super::*;
use crate::sink::Flavor;

fn target(name: &str) -> Target {
    let (flavor, version) = name.split_at(1);
    let (major, minor) = version.split_once('.').unwrap();
    Target {
        flavor: match flavor {
            "R" => Flavor::Redis,
            _ => Flavor::Valkey,
        },
        version: (major.parse().unwrap(), minor.parse().unwrap(), 0),
        modules: Vec::new(),
        bulk_bytes_max: 512 << 20,
        databases: 16,
    }
}

/// What would have been lost, and of which key.
fn lost(error: &Untranslatable) -> (Loss, &[u8]) {
    match error {
        Untranslatable::Lossy { loss, key, .. } => (*loss, key),
        Untranslatable::Unreadable { .. } => panic!("{error}"),
    }
}

fn command(text: &str) -> Command {
    Command::of(text.split(' ').map(|word| match word {
        "''" => &b""[..],
        _ => word.as_bytes(),
    }))
}

/// Scripts by the last words of their text.
fn script_name(text: &str) -> Option<&'static str> {
    [
        ("COPY", include_str!("lua/copy.lua")),
        ("HSET_KEEPTTL", include_str!("lua/hset_keepttl.lua")),
        ("LMOVE", include_str!("lua/lmove.lua")),
        ("STREAM_DELETE", include_str!("lua/stream_delete.lua")),
        ("STREAM_TRIM", include_str!("lua/stream_trim.lua")),
        ("ZADD_COMPARING", include_str!("lua/zadd_comparing.lua")),
        ("ZDIFFSTORE", include_str!("lua/zdiffstore.lua")),
        ("ZRANGESTORE", include_str!("lua/zrangestore.lua")),
    ]
    .into_iter()
    .find(|(_, script)| text.ends_with(script))
    .map(|(name, _)| name)
}

fn shown(commands: &[Command]) -> String {
    if commands.is_empty() {
        return "-".to_owned();
    }
    let line = |command: &Command| {
        let words = command.args().iter().map(|arg| {
            let text = String::from_utf8_lossy(arg).into_owned();
            match script_name(&text) {
                Some(name) => format!("<{name}>"),
                None if text.is_empty() => "''".to_owned(),
                None => text,
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    commands.iter().map(line).collect::<Vec<_>>().join(" ; ")
}

fn translator(target_name: &str, hold: Hold, on_lossy: OnLossy) -> Translator {
    Translator::new(target(target_name), hold, Publish::Forward, on_lossy)
}

const CONTEXT: Context = Context {
    db: Db(3),
    received_at_ms: 1_000_000,
};

fn check(hold: Hold, rows: &[(&str, &str, &str)]) {
    for (targets, source, expected) in rows {
        for name in targets.split(' ') {
            let mut out = Vec::new();
            let translator = translator(name, hold, OnLossy::Fail);
            translator
                .translate(command(source), &CONTEXT, &mut out)
                .unwrap_or_else(|error| panic!("{name}: {source}: {error}"));
            assert_eq!(shown(&out), *expected, "{name}: {source}");
        }
    }
}

const ALL: &str = "R6.0 R6.2 R7.0 R7.4 R8.0 R8.2 R8.6 V8.1 V9.0 V9.1";
const BEFORE_6_2: &str = "R6.0";
const FROM_6_2: &str = "R6.2 R7.0 R7.4 R8.0 R8.2 R8.6 V8.1 V9.0 V9.1";
const FROM_7_0: &str = "R7.0 R7.4 R8.0 R8.2 R8.6 V8.1 V9.0 V9.1";

#[test]
fn commands_that_pass_as_they_are() {
    for text in [
        "SET k v",
        "set k v",
        "GETSET k v",
        "INCRBYFLOAT k 1.5",
        "HSET h a 1 b 2",
        "LPUSH l a",
        "LPOP l",
        "ZADD z 1 a",
        "ZADD z NX CH 1 a",
        "XADD x 1-1 f v",
        "XADD x MAXLEN = 10 1-1 f v",
        "XTRIM x MAXLEN = 10",
        "XGROUP CREATE x g 0 MKSTREAM",
        "XGROUP DESTROY x g",
        "XSETID x 5-0",
        "BITOP AND d a b",
        "PUBLISH c m",
        "SCRIPT LOAD return",
        "EVALSHA ffff 1 k",
        "FLUSHALL",
        "UNLINK a b",
        "SWAPDB 0 1",
        "MOVE k 2",
        "JSON.SET doc $ 1",
        // What is not understood in full is the target's to answer.
        "SET k v NEWOPTION",
        "SET k",
        "PEXPIRE k soon",
        "EXPIRE k",
        "XADD x",
        "BITOP FOLD d a b",
    ] {
        check(Hold::Released, &[(ALL, text, text)]);
        check(Hold::Held, &[(ALL, text, text)]);
    }
}

#[test]
fn expiries_become_absolute() {
    check(
        Hold::Released,
        &[
            (ALL, "EXPIRE k 10", "PEXPIREAT k 1010000"),
            (ALL, "pexpire k 10", "PEXPIREAT k 1000010"),
            (ALL, "EXPIREAT k 5", "PEXPIREAT k 5000"),
            (ALL, "PEXPIREAT k 7 GT", "PEXPIREAT k 7"),
            (ALL, "PEXPIREAT k 7 NX", "PEXPIREAT k 7"),
            (
                ALL,
                "EXPIRE k 9223372036854775807",
                "PEXPIREAT k 9223372036854775807",
            ),
            (ALL, "GETEX k PX 5", "PEXPIREAT k 1000005"),
            (ALL, "GETEX k PERSIST", "PERSIST k"),
            (FROM_6_2, "SET k v EX 10", "SET k v PXAT 1010000"),
            (BEFORE_6_2, "SET k v EX 10", "SET k v ; PEXPIREAT k 1010000"),
            (FROM_6_2, "SETEX k 10 v", "SET k v PXAT 1010000"),
            (BEFORE_6_2, "PSETEX k 10 v", "SET k v ; PEXPIREAT k 1000010"),
            (FROM_6_2, "SET k v PXAT -3", "SET k v PXAT 1"),
            (FROM_6_2, "SET k v exat 7 nx", "SET k v PXAT 7000"),
        ],
    );
}

#[test]
fn held_expiries_are_shifted() {
    check(
        Hold::Held,
        &[
            (ALL, "EXPIRE k 10", "PEXPIREAT k 140737489365328"),
            (ALL, "PEXPIREAT k 7 LT", "PEXPIREAT k 140737488355335"),
            (ALL, "PEXPIREAT k -7", "PEXPIREAT k 140737488355328"),
            (
                ALL,
                "PEXPIREAT k 253402300799000",
                "PEXPIREAT k 253402300799000",
            ),
            (FROM_6_2, "SET k v PX 1", "SET k v PXAT 140737489355329"),
            (
                BEFORE_6_2,
                "SET k v PX 1",
                "SET k v ; PEXPIREAT k 140737489355329",
            ),
            (
                "R8.6 V9.1",
                "MSETEX 1 k v PXAT 7",
                "MSETEX 1 k v PXAT 140737488355335",
            ),
            (
                "R8.0 V9.0",
                "HPEXPIREAT h 7 FIELDS 1 a",
                "HPEXPIREAT h 35184372088839 FIELDS 1 a",
            ),
            (
                "R8.0 V9.0",
                "HSETEX h PXAT 7 FIELDS 1 a 1",
                "HSET h a 1 ; HPEXPIREAT h 35184372088839 FIELDS 1 a",
            ),
        ],
    );
}

#[test]
fn strings() {
    check(
        Hold::Released,
        &[
            (ALL, "SET k v IFEQ old", "SET k v"),
            (ALL, "SET k v NX GET", "SET k v"),
            (FROM_6_2, "SET k v IFEQ old PXAT 7", "SET k v PXAT 7"),
            (ALL, "SET k v XX KEEPTTL", "SET k v KEEPTTL"),
            (ALL, "GETDEL k", "DEL k"),
            (ALL, "DELIFEQ k v", "DEL k"),
            (ALL, "DELEX k IFEQ v", "DEL k"),
            (ALL, "MSETEX 2 a 1 b 2", "MSET a 1 b 2"),
            (
                "R8.6 V9.1",
                "MSETEX 2 a 1 b 2 NX PX 5",
                "MSETEX 2 a 1 b 2 PXAT 1000005",
            ),
            ("R8.6 V9.1", "MSETEX 1 a 1 KEEPTTL", "MSETEX 1 a 1 KEEPTTL"),
            (
                "R7.0 V9.0",
                "MSETEX 2 a 1 b 2 PXAT 7",
                "SET a 1 PXAT 7 ; SET b 2 PXAT 7",
            ),
            (
                "R6.0",
                "MSETEX 2 a 1 b 2 PXAT 7",
                "SET a 1 ; PEXPIREAT a 7 ; SET b 2 ; PEXPIREAT b 7",
            ),
            ("R6.0", "MSETEX 1 a 1 KEEPTTL", "SET a 1 KEEPTTL"),
            (ALL, "MSETEX 9 a 1", "MSETEX 9 a 1"),
            ("R8.2 R8.6", "BITOP DIFF d x y z", "BITOP DIFF d x y z"),
            (
                "R6.0 V9.1",
                "BITOP DIFF d x y z",
                "BITOP OR {d}:keyferry:bitop:a y z ; \
                 BITOP AND {d}:keyferry:bitop:a {d}:keyferry:bitop:a x ; \
                 BITOP XOR d x {d}:keyferry:bitop:a ; \
                 DEL {d}:keyferry:bitop:a {d}:keyferry:bitop:b {d}:keyferry:bitop:c",
            ),
        ],
    );
}

#[test]
fn hashes() {
    let with_field_expiry = "R7.4 R8.0 R8.6 V9.0 V9.1";
    let without_field_expiry = "R6.0 R7.0 V8.1";
    check(
        Hold::Released,
        &[
            (ALL, "HGETDEL h FIELDS 2 a b", "HDEL h a b"),
            (
                with_field_expiry,
                "HPEXPIREAT h 7 FIELDS 1 a",
                "HPEXPIREAT h 7 FIELDS 1 a",
            ),
            (
                with_field_expiry,
                "HPEXPIREAT h 7 GT FIELDS 1 a",
                "HPEXPIREAT h 7 FIELDS 1 a",
            ),
            (
                with_field_expiry,
                "HPEXPIREAT h 7 GT FIELDS 2 a b",
                "HPEXPIREAT h 7 GT FIELDS 2 a b",
            ),
            (
                with_field_expiry,
                "HEXPIRE h 1 FIELDS 1 a",
                "HPEXPIREAT h 1001000 FIELDS 1 a",
            ),
            (
                with_field_expiry,
                "HGETEX h PX 1 FIELDS 1 a",
                "HPEXPIREAT h 1000001 FIELDS 1 a",
            ),
            (
                with_field_expiry,
                "HGETEX h PERSIST FIELDS 1 a",
                "HPERSIST h FIELDS 1 a",
            ),
            (
                with_field_expiry,
                "HPERSIST h FIELDS 1 a",
                "HPERSIST h FIELDS 1 a",
            ),
            (without_field_expiry, "HPERSIST h FIELDS 1 a", "-"),
            (ALL, "HSETEX h FNX FIELDS 2 a 1 b 2", "HSET h a 1 b 2"),
            (
                with_field_expiry,
                "HSETEX h FXX PXAT 7 FIELDS 2 a 1 b 2",
                "HSET h a 1 b 2 ; HPEXPIREAT h 7 FIELDS 2 a b",
            ),
            (
                "R8.0 R8.6 V9.0",
                "HSETEX h KEEPTTL FIELDS 1 a 1",
                "HSETEX h KEEPTTL FIELDS 1 a 1",
            ),
            (
                "R7.4",
                "HSETEX h KEEPTTL FIELDS 1 a 1",
                "EVAL <HSET_KEEPTTL> 1 h a 1",
            ),
            (
                without_field_expiry,
                "HSETEX h KEEPTTL FIELDS 1 a 1",
                "HSET h a 1",
            ),
        ],
    );
}

#[test]
fn lists_and_sorted_sets() {
    check(
        Hold::Released,
        &[
            (FROM_6_2, "LPOP l 3", "LPOP l 3"),
            (BEFORE_6_2, "LPOP l 3", "LTRIM l 3 -1"),
            (BEFORE_6_2, "RPOP l 3", "LTRIM l 0 -4"),
            (FROM_6_2, "LMOVE a b LEFT RIGHT", "LMOVE a b LEFT RIGHT"),
            (BEFORE_6_2, "LMOVE a b right left", "RPOPLPUSH a b"),
            (
                BEFORE_6_2,
                "LMOVE a b LEFT RIGHT",
                "EVAL <LMOVE> 2 a b LPOP RPUSH",
            ),
            (FROM_6_2, "ZADD z GT 1 a", "ZADD z GT 1 a"),
            (BEFORE_6_2, "ZADD z GT CH 1 a", "ZADD z 1 a"),
            (BEFORE_6_2, "ZADD z XX LT INCR 1 a", "ZADD z INCR 1 a"),
            (
                BEFORE_6_2,
                "ZADD z XX LT 1 a 2 b",
                "EVAL <ZADD_COMPARING> 1 z LT XX 1 a 2 b",
            ),
            (
                BEFORE_6_2,
                "ZADD z GT 1 a 2 b",
                "EVAL <ZADD_COMPARING> 1 z GT '' 1 a 2 b",
            ),
            (FROM_6_2, "ZRANGESTORE d s 0 -1", "ZRANGESTORE d s 0 -1"),
            (
                BEFORE_6_2,
                "ZRANGESTORE d s 0 -1 REV",
                "EVAL <ZRANGESTORE> 2 d s ZREVRANGE 0 -1 WITHSCORES",
            ),
            (
                BEFORE_6_2,
                "ZRANGESTORE d s (1 5 BYSCORE LIMIT 1 2",
                "EVAL <ZRANGESTORE> 2 d s ZRANGEBYSCORE (1 5 WITHSCORES LIMIT 1 2",
            ),
            (
                BEFORE_6_2,
                "ZRANGESTORE d s [b [a BYLEX REV",
                "EVAL <ZRANGESTORE> 2 d s ZREVRANGEBYLEX [b [a",
            ),
            (
                BEFORE_6_2,
                "ZDIFFSTORE d 2 a b",
                "EVAL <ZDIFFSTORE> 3 d a b",
            ),
            (FROM_6_2, "ZDIFFSTORE d 2 a b", "ZDIFFSTORE d 2 a b"),
            (
                BEFORE_6_2,
                "GEOSEARCHSTORE d g FROMLONLAT 1 2 BYRADIUS 3 km ASC COUNT 4",
                "DEL d ; GEORADIUS g 1 2 3 km COUNT 4 ASC STORE d",
            ),
            (
                BEFORE_6_2,
                "GEOSEARCHSTORE d g FROMMEMBER m BYRADIUS 3 km STOREDIST",
                "DEL d ; GEORADIUSBYMEMBER g m 3 km STOREDIST d",
            ),
            (
                "R6.0 R6.2",
                "GEORADIUS g 1 2 3 km STORE d",
                "DEL d ; GEORADIUS g 1 2 3 km STORE d",
            ),
            (
                "R6.0 R6.2",
                "georadiusbymember g m 3 km ASC STOREDIST g",
                "georadiusbymember g m 3 km ASC STOREDIST g",
            ),
            (
                FROM_7_0,
                "GEORADIUS g 1 2 3 km STORE d",
                "GEORADIUS g 1 2 3 km STORE d",
            ),
            (
                FROM_6_2,
                "GEOSEARCHSTORE d g FROMMEMBER m BYBOX 3 4 km",
                "GEOSEARCHSTORE d g FROMMEMBER m BYBOX 3 4 km",
            ),
        ],
    );
}

#[test]
fn streams() {
    let without_8_2 = "R7.0 R8.0 V8.1 V9.1";
    check(
        Hold::Released,
        &[
            (BEFORE_6_2, "XADD x NOMKSTREAM 1-1 f v", "XADD x 1-1 f v"),
            (
                FROM_6_2,
                "XADD x NOMKSTREAM 1-1 f v",
                "XADD x NOMKSTREAM 1-1 f v",
            ),
            (
                FROM_6_2,
                "XADD x MINID = 1-0 1-1 f v",
                "XADD x MINID = 1-0 1-1 f v",
            ),
            (
                BEFORE_6_2,
                "XADD x MINID = 1-0 1-1 f v",
                "XADD x 1-1 f v ; EVAL <STREAM_TRIM> 1 x KEEPREF MINID 1-0",
            ),
            (
                BEFORE_6_2,
                "XTRIM x MINID 1-0",
                "EVAL <STREAM_TRIM> 1 x KEEPREF MINID 1-0",
            ),
            (
                BEFORE_6_2,
                "XTRIM x MAXLEN ~ 5 LIMIT 9",
                "XTRIM x MAXLEN ~ 5",
            ),
            (
                without_8_2,
                "XADD x KEEPREF MAXLEN = 5 1-1 f v",
                "XADD x MAXLEN = 5 1-1 f v",
            ),
            (without_8_2, "XADD x DELREF 1-1 f v", "XADD x 1-1 f v"),
            (
                without_8_2,
                "XADD x DELREF MAXLEN = 5 1-1 f v",
                "XADD x 1-1 f v ; EVAL <STREAM_TRIM> 1 x DELREF MAXLEN 5",
            ),
            (
                without_8_2,
                "XTRIM x MAXLEN 5 ACKED",
                "EVAL <STREAM_TRIM> 1 x ACKED MAXLEN 5",
            ),
            (
                "R8.2 R8.6",
                "XTRIM x MAXLEN 5 ACKED",
                "XTRIM x MAXLEN 5 ACKED",
            ),
            (
                "R8.6",
                "XADD x IDMP p i 1-1 f v",
                "XADD x 1-1 f v ; XIDMPRECORD x p i 1-1",
            ),
            (
                "R8.2 R7.0 V9.1",
                "XADD x IDMP p i 1-1 f v",
                "XADD x 1-1 f v",
            ),
            (
                "R8.6",
                "XADD x NOMKSTREAM ACKED IDMP p i MAXLEN = 5 1-1 f v",
                "XADD x ACKED MAXLEN = 5 1-1 f v ; XIDMPRECORD x p i 1-1",
            ),
            (ALL, "XADD x IDMP p i * f v", "-"),
            (
                "R8.6",
                "XCFGSET x IDMP-DURATION 5",
                "XCFGSET x IDMP-DURATION 5",
            ),
            ("R8.2 V9.1", "XCFGSET x IDMP-DURATION 5", "-"),
            ("R8.2 V9.1", "XIDMPRECORD x p i 1-1", "-"),
            (
                "R8.2 R8.6",
                "XDELEX x DELREF IDS 1 1-1",
                "XDELEX x DELREF IDS 1 1-1",
            ),
            (without_8_2, "XDELEX x IDS 2 1-1 1-2", "XDEL x 1-1 1-2"),
            (without_8_2, "XDELEX x KEEPREF IDS 1 1-1", "XDEL x 1-1"),
            (
                without_8_2,
                "XDELEX x ACKED IDS 1 1-1",
                "EVAL <STREAM_DELETE> 1 x ACKED '' '' 1-1",
            ),
            (
                without_8_2,
                "XACKDEL x g DELREF IDS 2 1-1 1-2",
                "EVAL <STREAM_DELETE> 1 x DELREF ACK g 1-1 1-2",
            ),
            (
                BEFORE_6_2,
                "XGROUP CREATECONSUMER x g c",
                "XREADGROUP GROUP g c COUNT 1 STREAMS x 0",
            ),
            (
                FROM_6_2,
                "XGROUP CREATECONSUMER x g c",
                "XGROUP CREATECONSUMER x g c",
            ),
            (
                "R6.2",
                "XGROUP CREATE x g 0 ENTRIESREAD 5",
                "XGROUP CREATE x g 0",
            ),
            (
                "R6.0",
                "XGROUP CREATE x g 0 MKSTREAM ENTRIESREAD 5",
                "XGROUP CREATE x g 0 MKSTREAM",
            ),
            (
                "R6.2",
                "XGROUP SETID x g 1-1 ENTRIESREAD 5",
                "XGROUP SETID x g 1-1",
            ),
            (
                FROM_7_0,
                "XGROUP SETID x g 1 ENTRIESREAD 5",
                "XGROUP SETID x g 1 ENTRIESREAD 5",
            ),
            (
                "R6.2",
                "XSETID x 5-0 ENTRIESADDED 9 MAXDELETEDID 4-0",
                "XSETID x 5-0",
            ),
        ],
    );
}

#[test]
fn other_commands() {
    check(
        Hold::Released,
        &[
            (FROM_6_2, "COPY a b DB 5 REPLACE", "COPY a b DB 5 REPLACE"),
            (BEFORE_6_2, "COPY a b", "EVAL <COPY> 2 a b ''"),
            (BEFORE_6_2, "COPY a b DB 3 REPLACE", "EVAL <COPY> 2 a b ''"),
            (BEFORE_6_2, "COPY a b REPLACE DB 5", "EVAL <COPY> 2 a b 5"),
            (BEFORE_6_2, "FLUSHALL SYNC", "FLUSHALL"),
            (FROM_6_2, "FLUSHDB SYNC", "FLUSHDB SYNC"),
            (ALL, "FLUSHDB ASYNC", "FLUSHDB ASYNC"),
            (
                FROM_7_0,
                "FUNCTION LOAD REPLACE code",
                "FUNCTION LOAD REPLACE code",
            ),
            ("R6.0 R6.2", "FUNCTION DELETE lib", "-"),
            ("R6.0 R6.2", "FUNCTION FLUSH", "-"),
            (FROM_7_0, "SPUBLISH c m", "SPUBLISH c m"),
            ("R8.0 R8.6", "VADD v VALUES 1 1 e", "VADD v VALUES 1 1 e"),
            ("R7.4 V9.1", "VREM v e", "-"),
            (ALL, "SCRIPT FLUSH", "-"),
            (ALL, "PUBLISH __sentinel__:hello x", "-"),
        ],
    );
}

#[test]
fn what_cannot_be_said_follows_the_policy() {
    for (targets, source, left, loss, key) in [
        (
            "R6.0 R7.0 V8.1",
            "HPEXPIREAT h 7 FIELDS 1 a",
            "-",
            Loss::FieldExpiry,
            "h",
        ),
        (
            "R6.0 V8.1",
            "HSETEX h PXAT 7 FIELDS 1 a 1",
            "HSET h a 1",
            Loss::FieldExpiry,
            "h",
        ),
        (
            "R6.0 R6.2",
            "FUNCTION LOAD REPLACE #!lua_name=lib",
            "-",
            Loss::Function,
            "",
        ),
        (
            "R6.0 R6.2",
            "FUNCTION RESTORE payload",
            "-",
            Loss::Function,
            "",
        ),
        (
            "R7.4 V9.1",
            "VADD v VALUES 1 1 e",
            "-",
            Loss::VectorSet,
            "v",
        ),
        ("R7.4 V9.1", "VSETATTR v e {}", "-", Loss::VectorSet, "v"),
        (
            "R6.0",
            "GEOSEARCHSTORE d g FROMMEMBER m BYBOX 1 1 m",
            "-",
            Loss::GeoSearch,
            "d",
        ),
        (
            "R6.0",
            "GEOSEARCHSTORE d g FROMMEMBER m BYRADIUS 1 m COUNT 1 ANY",
            "-",
            Loss::GeoSearch,
            "d",
        ),
    ] {
        for name in targets.split(' ') {
            let mut out = vec![command("SET before 1")];
            let failing = translator(name, Hold::Released, OnLossy::Fail);
            let error = failing
                .translate(command(source), &CONTEXT, &mut out)
                .expect_err(source);
            assert_eq!(out.len(), 1, "{name}: {source}");
            assert_eq!(lost(&error), (loss, key.as_bytes()), "{source}");

            out.clear();
            let dropping = translator(name, Hold::Released, OnLossy::Drop);
            let verdict = dropping.translate(command(source), &CONTEXT, &mut out);
            let key = Bytes::from(key);
            assert_eq!(
                verdict,
                Ok(Verdict::Lossy(Lossy { loss, key })),
                "{name}: {source}"
            );
            assert_eq!(shown(&out), left, "{name}: {source}");
        }
    }
}

#[test]
fn an_untranslatable_command_is_named_with_key_and_target() {
    let mut out = Vec::new();
    let error = translator("R6.0", Hold::Held, OnLossy::Fail)
        .translate(
            command("hpexpireat user:1 7 FIELDS 1 a"),
            &CONTEXT,
            &mut out,
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Redis 6.0.0 cannot hold the expiry of a hash field, which HPEXPIREAT \"user:1\" needs"
    );
}

#[test]
fn messages_follow_the_publish_policy() {
    for (on, publish, source, verdict) in [
        ("R8.0", Publish::Forward, "PUBLISH c m", Verdict::Forwarded),
        (
            "R6.2",
            Publish::Forward,
            "SPUBLISH c m",
            Verdict::Dropped(DropReason::NobodyListens),
        ),
        (
            "R8.0",
            Publish::Drop,
            "publish c m",
            Verdict::Dropped(DropReason::PublishPolicy),
        ),
        (
            "R8.0",
            Publish::Drop,
            "SPUBLISH c m",
            Verdict::Dropped(DropReason::PublishPolicy),
        ),
        (
            "R8.0",
            Publish::Forward,
            "PUBLISH __sentinel__:hello m",
            Verdict::Dropped(DropReason::SentinelHello),
        ),
    ] {
        let mut out = Vec::new();
        let translator = Translator::new(target(on), Hold::Held, publish, OnLossy::Fail);
        let found = translator.translate(command(source), &CONTEXT, &mut out);
        assert_eq!(found, Ok(verdict.clone()), "{publish:?} {source}");
        assert_eq!(out.is_empty(), verdict != Verdict::Forwarded, "{source}");
    }
}

#[test]
fn held_expiries_are_seen_in_what_is_written() {
    for (source, hold, held) in [
        ("SET k v PX 10", Hold::Held, true),
        ("SET k v PX 10", Hold::Released, false),
        ("SET k v", Hold::Held, false),
        ("HPEXPIREAT h 7 FIELDS 1 f", Hold::Held, true),
        (
            "PEXPIREAT k 7",
            Hold::Following {
                soon_until_ms: 60_000,
            },
            true,
        ),
        (
            "PEXPIREAT k 70000",
            Hold::Following {
                soon_until_ms: 60_000,
            },
            false,
        ),
    ] {
        let mut out = Vec::new();
        translator("R8.0", hold, OnLossy::Fail)
            .translate(command(source), &CONTEXT, &mut out)
            .unwrap();
        assert_eq!(
            out.iter().any(carries_held_expiry),
            held,
            "{hold:?} {source}"
        );
    }
}

#[test]
fn the_hold_can_be_changed() {
    let mut translator = translator("R7.0", Hold::Held, OnLossy::Fail);
    translator.set_hold(Hold::Released);
    let mut out = Vec::new();
    translator
        .translate(command("PEXPIREAT k 7"), &CONTEXT, &mut out)
        .unwrap();
    assert_eq!(shown(&out), "PEXPIREAT k 7");
}

#[test]
fn a_lost_library_is_named() {
    let code = "#!lua name=lib\nredis.register_function('f', print)";
    let mut out = Vec::new();
    let error = translator("R6.2", Hold::Held, OnLossy::Fail)
        .translate(
            Command::of([&b"FUNCTION"[..], b"LOAD", code.as_bytes()]),
            &CONTEXT,
            &mut out,
        )
        .unwrap_err();
    assert_eq!(lost(&error), (Loss::Function, &b"lib"[..]));
}

/// A payload of a value type, a body and a version.
fn payload(byte: u8, body: &[u8], version: u16) -> Bytes {
    let footer = crate::rdb::payload::footer(byte, body, version);
    Bytes::from([&[byte], body, &footer].concat())
}

#[test]
fn restores_become_absolute_and_get_a_footer_of_the_target() {
    let sent = payload(0, b"\x01v", 13);
    let written = payload(0, b"\x01v", 6);
    for (name, hold, before, after, expected) in [
        ("R6.0", Hold::Released, "0", "", "RESTORE k 0 P ABSTTL"),
        (
            "R6.0",
            Hold::Released,
            "5",
            "REPLACE",
            "RESTORE k 1000005 P REPLACE ABSTTL",
        ),
        (
            "R6.0",
            Hold::Released,
            "5",
            "ABSTTL FREQ 9",
            "RESTORE k 5 P ABSTTL FREQ 9",
        ),
        (
            "V9.1",
            Hold::Held,
            "5",
            "absttl idletime 3",
            "RESTORE k 140737488355333 P ABSTTL idletime 3",
        ),
        ("V9.1", Hold::Held, "0", "ABSTTL", "RESTORE k 0 P ABSTTL"),
    ] {
        for command_name in ["RESTORE", "restore-asking"] {
            let head = [command_name, "k", before].map(|word| Bytes::from(word.to_owned()));
            let options = after.split(' ').filter(|word| !word.is_empty());
            let options = options.map(|word| Bytes::from(word.to_owned()));
            let args = head.into_iter().chain([sent.clone()]).chain(options);
            let mut out = Vec::new();
            translator(name, hold, OnLossy::Fail)
                .translate(Command::new(args.collect()), &CONTEXT, &mut out)
                .unwrap();
            let as_letter = |arg: Bytes| match arg == written {
                true => Bytes::from_static(b"P"),
                false => arg,
            };
            let out = out.into_iter().map(|command| {
                Command::new(command.into_args().into_iter().map(as_letter).collect())
            });
            assert_eq!(
                shown(&out.collect::<Vec<_>>()),
                expected,
                "{name} {before} {after}"
            );
        }
    }
}

#[test]
fn payloads_that_a_target_does_not_take_are_rebuilt_or_lost() {
    // Type 24: a hash of Redis 7.4 with one field, a = 1, that expires at 7 ms.
    let hash = payload(24, b"\x07\0\0\0\0\0\0\0\x01\x01\x01a\x011", 12);
    // Type 7: a module's value, by the id of its type.
    let vectors = payload(7, b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x00", 12);
    let unknown = payload(7, b"\x81\x00\x00\x00\x00\x00\x00\x04\x00\x00", 12);
    let in_vain = Bytes::from_static(b"no payload");
    let hold = Hold::Held;
    for (name, payload, expected, loss) in [
        (
            "R8.0",
            &hash,
            "DEL k ; HSET k a 1 ; HPEXPIREAT k 35184372088839 FIELDS 1 a",
            None,
        ),
        (
            "V9.1",
            &hash,
            "DEL k ; HSET k a 1 ; HPEXPIREAT k 35184372088839 FIELDS 1 a",
            None,
        ),
        ("R7.0", &hash, "DEL k ; HSET k a 1", Some(Loss::FieldExpiry)),
        ("V9.1", &vectors, "-", Some(Loss::VectorSet)),
        ("R6.0", &unknown, "-", Some(Loss::ModuleValue)),
        ("R8.0", &unknown, "-", Some(Loss::ModuleValue)),
        ("R8.0", &in_vain, "RESTORE k 0 no payload ABSTTL", None),
    ] {
        let mut out = Vec::new();
        let restore = Command::of([&b"RESTORE"[..], b"k", b"0", payload]);
        let verdict = translator(name, hold, OnLossy::Drop)
            .translate(restore, &CONTEXT, &mut out)
            .unwrap();
        assert_eq!(shown(&out), expected, "{name}");
        let found = match verdict {
            Verdict::Lossy(lossy) => Some(lossy.loss),
            Verdict::Forwarded | Verdict::Dropped(_) => None,
        };
        assert_eq!(found, loss, "{name}");
    }
}

/// A list cut off, which the target would have to be told by commands, and a hash and a stream, which
/// some targets end over.
#[test]
fn a_payload_that_is_damaged_is_no_loss_of_the_target() {
    for (name, damaged) in [
        ("R6.2", payload(18, b"\x02\x01\x01a", 10)),
        (
            "R8.0",
            payload(24, b"\x07\0\0\0\0\0\0\0\x02\x01\x01a\x011", 12),
        ),
        ("R8.0", payload(15, b"\x01", 9)),
    ] {
        for on_lossy in [OnLossy::Fail, OnLossy::Drop] {
            let mut out = vec![command("SET before 1")];
            let restore = Command::of([&b"RESTORE"[..], b"k", b"0", &damaged]);
            let verdict =
                translator(name, Hold::Released, on_lossy).translate(restore, &CONTEXT, &mut out);
            let Err(Untranslatable::Unreadable { key, source, .. }) = verdict else {
                panic!("{name}: {verdict:?}");
            };
            assert_eq!((&key[..], out.len()), (&b"k"[..], 1), "{name}");
            assert_eq!(source.kind, crate::rdb::ErrorKind::Truncated, "{name}");
            assert!(source.offset > 0, "{name}");
        }
    }
}

/// As commands, its pending entry would be lost on this target, since its entry is deleted.
#[test]
fn a_stream_that_would_harm_the_target_is_converted() {
    // Without entries; in one group one is pending, which nobody owns.
    let mut body = b"\0\0\0\0\0\0\0\0\0\x01\x01g\0\0\0\x01".to_vec();
    body.extend_from_slice(&[7; 16]);
    body.extend_from_slice(&[0; 10]);
    let sent = payload(21, &body, 11);
    let mut out = Vec::new();
    let restore = Command::of([&b"RESTORE"[..], b"k", b"0", &sent]);
    let verdict =
        translator("V9.1", Hold::Held, OnLossy::Fail).translate(restore, &CONTEXT, &mut out);
    assert_eq!(verdict, Ok(Verdict::Forwarded));
    let [restore] = &out[..] else {
        panic!("{out:?}");
    };
    let written = crate::rdb::payload::check(&restore.args()[3]).unwrap();
    assert_eq!(written.value_type.byte, 21);
    assert_eq!(
        written.body.len(),
        body.len() + b"\x08keyferry".len() + 17 + 16
    );
}

mod generated {
    use proptest::prelude::*;

    use super::*;

    /// Names with rules, and words and numbers that their syntaxes are made of.
    const NAMES: [&str; 22] = [
        "SET",
        "MSETEX",
        "XADD",
        "XTRIM",
        "XDELEX",
        "XACKDEL",
        "XGROUP",
        "XSETID",
        "ZADD",
        "ZRANGESTORE",
        "ZDIFFSTORE",
        "GEOSEARCHSTORE",
        "HSETEX",
        "HPEXPIREAT",
        "HGETEX",
        "RESTORE",
        "FUNCTION",
        "COPY",
        "LPOP",
        "BITOP",
        "GETEX",
        "PEXPIRE",
    ];
    const WORDS: [&str; 30] = [
        "k",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "",
        "*",
        "1-1",
        "PX",
        "EXAT",
        "KEEPTTL",
        "IFEQ",
        "NX",
        "FIELDS",
        "MAXLEN",
        "MINID",
        "=",
        "LIMIT",
        "IDMP",
        "IDMPAUTO",
        "ACKED",
        "IDS",
        "ENTRIESREAD",
        "CREATE",
        "BYSCORE",
        "REV",
        "DIFF",
        "ONE",
        "DB",
        "RESTORE",
    ];

    proptest! {
        /// Whatever the arguments, something is answered: commands, a reason, or a loss.
        #[test]
        fn any_arguments_get_an_answer(
            name in prop::sample::select(&NAMES[..]),
            words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..9),
            target in prop::sample::select(vec!["R6.0", "R6.2", "R7.0", "R8.6", "V9.1"]),
            held in any::<bool>(),
        ) {
            let args = [name].into_iter().chain(words).map(str::as_bytes);
            let hold = if held { Hold::Held } else { Hold::Released };
            let mut out = Vec::new();
            let verdict = translator(target, hold, OnLossy::Drop)
                .translate(Command::of(args), &CONTEXT, &mut out);
            let fits = match verdict {
                Ok(Verdict::Forwarded) => !out.is_empty(),
                Ok(Verdict::Dropped(_)) => out.is_empty(),
                Ok(Verdict::Lossy(_)) => true,
                Err(_) => false,
            };
            prop_assert!(fits, "{:?}", verdict);
        }
    }
}
