//! Strings, expiries, types, and keys that are missing or too many.

use super::{Expected, Mutation, Mutations, found, found_at, found_somewhere, found_whole};
use crate::support::{client::Command, oracle::COUNTED_HLL, random::Random};

impl Mutations {
    pub(super) fn add_keys(&mut self) {
        self.add_strings();
        self.add_hyperloglogs();
        self.add_expiries();
        self.add_types();
        self.add_missing();
    }

    fn add_strings(&mut self) {
        for (name, len) in [("few", 12), ("many", 9_000), ("large", 3 << 20)] {
            let text = Random::seeded(len as u64).text(len);
            let at = len * 2 / 3;
            let mut other = text.clone();
            other[at] = b'#';
            let (rest, others) = (text[at..].to_vec(), other[at..].to_vec());
            self.add(
                (0, &format!("string:byte:{name}")),
                |key| {
                    let change = command!["SETRANGE", key, at, "#"];
                    (vec![command!["SET", key, text]], vec![change])
                },
                vec![found(
                    "value",
                    format!("offset {at}"),
                    Some(rest),
                    Some(others),
                )],
            );
            let cut = text[..len - 1].to_vec();
            self.add(
                (1, &format!("string:cut:{name}")),
                |key| {
                    let change = command!["SET", key, cut];
                    (vec![command!["SET", key, text]], vec![change])
                },
                vec![found(
                    "value",
                    format!("offset {}", len - 1),
                    Some(&text[len - 1..]),
                    None,
                )],
            );
        }
        self.add(
            (9, "string:number"),
            |key| {
                (
                    vec![command!["SET", key, "1000"]],
                    vec![command!["INCR", key]],
                )
            },
            vec![found("value", "offset 3", Some("0"), Some("1"))],
        );
        self.add(
            (9, "string:emptied"),
            |key| {
                (
                    vec![command!["SET", key, "abc"]],
                    vec![command!["SET", key, ""]],
                )
            },
            vec![found("value", "offset 0", Some("abc"), None)],
        );
        self.add(
            (9, "string:grown"),
            |key| {
                (
                    vec![command!["SET", key, "abc"]],
                    vec![command!["APPEND", key, "\0"]],
                )
            },
            vec![found("value", "offset 3", None, Some("\0"))],
        );
        // Stored as text on the target: SETRANGE never makes a number.
        self.add(
            (9, "same:string-encoding"),
            |key| {
                (
                    vec![command!["SET", key, "12345"]],
                    vec![command!["SETRANGE", key, 0, "1"]],
                )
            },
            vec![],
        );
    }

    fn add_hyperloglogs(&mut self) {
        let count = |key: &str, elements: u64| -> Vec<Command> {
            let add = |n: u64| command!["PFADD", key, n];
            (0..elements).map(add).collect()
        };
        self.add(
            (0, "hll:sparse"),
            |key| (count(key, 300), vec![command!["PFADD", key, "one-more"]]),
            vec![found_somewhere("value")],
        );
        self.add(
            (0, "hll:dense"),
            |key| (count(key, 5000), vec![flip_bit(key, 8 * 4016 + 3)]),
            vec![found_at("value", "offset 4016")],
        );
        // PFCOUNT writes what it has counted into the value.
        self.add(
            (0, &format!("same:{COUNTED_HLL}")),
            |key| (count(key, 500), vec![command!["PFCOUNT", key]]),
            vec![],
        );
    }

    fn add_expiries(&mut self) {
        let later = self.later_ms;
        let expire = move |key: &str, at: i64| command!["PEXPIREAT", key, at];
        for (db, value) in [(0, "string"), (1, "list"), (9, "large-list")] {
            let make = move |key: &str| match value {
                "string" => vec![command!["SET", key, "a"]],
                "list" => vec![command!["RPUSH", key, "a", "b"]],
                _ => super::collections::list(key, 12_000),
            };
            self.add(
                (db, &format!("expiry:other:{value}")),
                |key| {
                    let made = [make(key), vec![expire(key, later)]].concat();
                    (made, vec![expire(key, later + 2000)])
                },
                vec![found_whole("expiry")],
            );
            self.add(
                (db, &format!("expiry:missing:{value}")),
                |key| {
                    let made = [make(key), vec![expire(key, later)]].concat();
                    (made, vec![command!["PERSIST", key]])
                },
                vec![found_whole("expiry")],
            );
            self.add(
                (db, &format!("expiry:only-on-target:{value}")),
                |key| (make(key), vec![expire(key, later)]),
                vec![found_whole("expiry")],
            );
            self.add(
                (db, &format!("same:expiry-within-tolerance:{value}")),
                |key| {
                    let made = [make(key), vec![expire(key, later)]].concat();
                    (made, vec![expire(key, later + 500)])
                },
                vec![],
            );
        }
        self.add(
            (1, "expiry:and-value"),
            |key| {
                let make = vec![command!["SET", key, "abc"], expire(key, later)];
                (make, vec![command!["SET", key, "abd"]])
            },
            vec![
                found("value", "offset 2", Some("c"), Some("d")),
                found_whole("expiry"),
            ],
        );
    }

    fn add_types(&mut self) {
        let type_of = || -> Vec<Expected> { vec![found_at("type", "payload")] };
        let again = |key: &str, make: Command| vec![command!["DEL", key], make];
        self.add(
            (0, "type:string-list"),
            |key| {
                let change = again(key, command!["RPUSH", key, "abc"]);
                (vec![command!["SET", key, "abc"]], change)
            },
            type_of(),
        );
        self.add(
            (1, "type:set-hash"),
            |key| {
                let change = again(key, command!["HSET", key, "a", "b"]);
                (vec![command!["SADD", key, "a", "b"]], change)
            },
            type_of(),
        );
        self.add(
            (9, "type:large-set-zset"),
            |key| {
                let change = again(key, command!["ZADD", key, 1, "a"]);
                (super::collections::set(key, 12_000), change)
            },
            type_of(),
        );
        self.add(
            (9, "type:stream-string"),
            |key| {
                let change = again(key, command!["SET", key, ""]);
                (vec![command!["XADD", key, "1-1", "a", "b"]], change)
            },
            type_of(),
        );
    }

    fn add_missing(&mut self) {
        let text = |key: &str| vec![command!["SET", key, "a"]];
        let delete = |key: &str| vec![command!["DEL", key]];
        self.add(
            (0, "missing:string"),
            |key| (text(key), delete(key)),
            vec![found_whole("missing")],
        );
        self.add(
            (1, "missing:large-list"),
            |key| (super::collections::list(key, 12_000), delete(key)),
            vec![found_whole("missing")],
        );
        self.add(
            (9, "missing:stream"),
            |key| (vec![command!["XADD", key, "1-1", "a", "b"]], delete(key)),
            vec![found_whole("missing")],
        );
        self.add(
            (0, "only-on-target:string"),
            |key| (vec![], text(key)),
            vec![found_whole("only_on_target")],
        );
        // The source has nothing at all in this db.
        self.add(
            (11, "only-on-target:hash"),
            |key| (vec![], vec![command!["HSET", key, "f", "v"]]),
            vec![found_whole("only_on_target")],
        );
        for value in ["string", "list"] {
            self.add(
                (0, &format!("wrong-db:{value}")),
                |key| {
                    let make = match value {
                        "string" => text(key),
                        _ => vec![command!["RPUSH", key, "a", "b"]],
                    };
                    (make, vec![command!["MOVE", key, 12]])
                },
                vec![found("wrong_db", "db", Some("0"), Some("12"))],
            );
        }
        // The same key with the same value is in another db, where it belongs.
        self.add(
            (1, "missing:twin"),
            |key| {
                let select = |db: u32| command!["SELECT", u64::from(db)];
                let twin = vec![select(9), text(key).remove(0), select(1)];
                ([text(key), twin].concat(), delete(key))
            },
            vec![found_whole("missing")],
        );
        let binary = "\u{0}\r\n\u{1}\"'é<b>&,;\\";
        self.add(
            (1, binary),
            |key| (text(key), vec![command!["SET", key, "b"]]),
            vec![found("value", "offset 0", Some("a"), Some("b"))],
        );
        let key = b"planted:\xff\x00\xfe".to_vec();
        self.list.push(Mutation {
            db: 9,
            make: vec![command!["SET", key, b"\xff\xfe"]],
            change: vec![command!["SET", key, b"\xff\xfd"]],
            expected: vec![found("value", "offset 1", Some(b"\xfe"), Some(b"\xfd"))],
            key,
        });
        let long = "long".repeat(600);
        self.add(
            (1, &long),
            |key| (text(key), vec![command!["SET", key, "b"]]),
            vec![found("value", "offset 0", Some("a"), Some("b"))],
        );
    }
}

/// Turns one bit of a string, whatever it was.
fn flip_bit(key: &str, bit: u64) -> Command {
    let script =
        "return redis.call('SETBIT', KEYS[1], ARGV[1], 1 - redis.call('GETBIT', KEYS[1], ARGV[1]))";
    command!["EVAL", script, 1, key, bit]
}
