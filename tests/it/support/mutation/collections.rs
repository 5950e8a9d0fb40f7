//! Lists, sets, sorted sets, hashes, vector sets: one element that differs, deep in a value of few
//! elements, of many, and of so many that it is compared page by page.

use super::{Mutations, found, found_at};
use crate::support::{client::Command, version::Version};

/// How many elements: packed, a table, more memory than `--large-key-bytes`.
const SIZES: [(&str, usize); 3] = [("few", 6), ("many", 700), ("large", 12_000)];

/// Elements that one command adds.
const ELEMENTS_PER_COMMAND: usize = 1000;

/// An element that makes twelve thousand of them more than a mebibyte.
fn element(n: usize) -> String {
    format!("element:{n:06}:{}", "-".repeat(84))
}

/// Commands of so many elements, each in the arguments that `arguments` says.
fn build(
    command: &str,
    key: &str,
    size: usize,
    arguments: impl Fn(usize) -> Command,
) -> Vec<Command> {
    let numbers: Vec<usize> = (0..size).collect();
    let parts = numbers.chunks(ELEMENTS_PER_COMMAND).map(|part| {
        let elements = part.iter().flat_map(|n| arguments(*n));
        command![command, key].into_iter().chain(elements).collect()
    });
    parts.collect()
}

pub(super) fn list(key: &str, size: usize) -> Vec<Command> {
    build("RPUSH", key, size, |n| command![element(n)])
}

pub(super) fn set(key: &str, size: usize) -> Vec<Command> {
    build("SADD", key, size, |n| command![element(n)])
}

fn zset(key: &str, size: usize) -> Vec<Command> {
    build("ZADD", key, size, |n| command![score(n), element(n)])
}

/// No score is a whole number, and all are different.
fn score(n: usize) -> f64 {
    n as f64 + 0.1
}

fn hash(key: &str, size: usize) -> Vec<Command> {
    build("HSET", key, size, |n| {
        command![format!("field:{n}"), element(n)]
    })
}

impl Mutations {
    pub(super) fn add_collections(&mut self) {
        for (name, size) in SIZES {
            self.add_lists(name, size);
            self.add_sets(name, size);
            self.add_zsets(name, size);
            self.add_hashes(name, size);
            if self.both(Version::has_field_ttls) {
                self.add_field_expiries(name, size);
            }
        }
        self.add_encodings();
        if self.both(Version::has_vector_sets) {
            self.add_vector_sets();
        }
    }

    fn add_lists(&mut self, name: &str, size: usize) {
        let (last, deep) = (size - 1, size * 2 / 3);
        let at = |index: usize| format!("index {index}");
        self.add(
            (0, &format!("list:cut:{name}")),
            |key| (list(key, size), vec![command!["LTRIM", key, 0, -2]]),
            vec![found("value", at(last), Some(element(last)), None)],
        );
        self.add(
            (1, &format!("list:longer:{name}")),
            |key| (list(key, size), vec![command!["RPUSH", key, "more"]]),
            vec![found("value", at(size), None, Some("more"))],
        );
        self.add(
            (9, &format!("list:order:{name}")),
            |key| {
                let swap = [(deep, deep + 1), (deep + 1, deep)];
                let swap = swap.map(|(here, there)| command!["LSET", key, here, element(there)]);
                (list(key, size), swap.to_vec())
            },
            vec![found(
                "value",
                at(deep),
                Some(element(deep)),
                Some(element(deep + 1)),
            )],
        );
        self.add(
            (0, &format!("list:head:{name}")),
            |key| (list(key, size), vec![command!["LPOP", key]]),
            vec![found("value", at(0), Some(element(0)), Some(element(1)))],
        );
    }

    fn add_sets(&mut self, name: &str, size: usize) {
        let deep = element(size * 2 / 3);
        let at = |member: &str| format!("member \"{member}\"");
        self.add(
            (1, &format!("set:missing:{name}")),
            |key| (set(key, size), vec![command!["SREM", key, deep]]),
            vec![found("value", at(&deep), Some(&*deep), None)],
        );
        self.add(
            (9, &format!("set:more:{name}")),
            |key| (set(key, size), vec![command!["SADD", key, "more"]]),
            vec![found("value", at("more"), None, Some("more"))],
        );
        // As many members on both sides: of two that differ the smaller one is named.
        self.add(
            (0, &format!("set:other:{name}")),
            |key| {
                let change = vec![command!["SREM", key, deep], command!["SADD", key, "zz"]];
                (set(key, size), change)
            },
            vec![found("value", at(&deep), Some(&*deep), None)],
        );
        let numbers = |key: &str| build("SADD", key, size, |n| command![n * 3]);
        self.add(
            (1, &format!("set:number:{name}")),
            |key| (numbers(key), vec![command!["SREM", key, 3]]),
            vec![found("value", at("3"), Some("3"), None)],
        );
    }

    fn add_zsets(&mut self, name: &str, size: usize) {
        let n = size * 2 / 3;
        let (member, score) = (element(n), score(n));
        let at = |member: &str| format!("score of \"{member}\"");
        let shown = |score: f64| format!("{score:?}");
        let next = score.next_up();
        self.add(
            (9, &format!("zset:ulp:{name}")),
            |key| (zset(key, size), vec![command!["ZADD", key, next, member]]),
            vec![found(
                "value",
                at(&member),
                Some(shown(score)),
                Some(shown(next)),
            )],
        );
        self.add(
            (0, &format!("zset:missing:{name}")),
            |key| (zset(key, size), vec![command!["ZREM", key, member]]),
            vec![found("value", at(&member), Some(shown(score)), None)],
        );
        self.add(
            (1, &format!("zset:more:{name}")),
            |key| (zset(key, size), vec![command!["ZADD", key, "-2.5", "more"]]),
            vec![found("value", at("more"), None, Some("-2.5"))],
        );
    }

    fn add_hashes(&mut self, name: &str, size: usize) {
        let n = size * 2 / 3;
        let (field, value) = (format!("field:{n}"), element(n));
        let at = |field: &str| format!("field \"{field}\"");
        self.add(
            (0, &format!("hash:value:{name}")),
            |key| (hash(key, size), vec![command!["HSET", key, field, "other"]]),
            vec![found("value", at(&field), Some(&*value), Some("other"))],
        );
        self.add(
            (1, &format!("hash:missing:{name}")),
            |key| (hash(key, size), vec![command!["HDEL", key, field]]),
            vec![found("value", at(&field), Some(&*value), None)],
        );
        self.add(
            (9, &format!("hash:more:{name}")),
            |key| (hash(key, size), vec![command!["HSET", key, "more", ""]]),
            vec![found("value", at("more"), None, Some(""))],
        );
    }

    fn add_field_expiries(&mut self, name: &str, size: usize) {
        let later = self.later_ms;
        let field = format!("field:{}", size * 2 / 3);
        let at = format!("expiry of field \"{field}\"");
        let expire = |key: &str, at: i64| command!["HPEXPIREAT", key, at, "FIELDS", 1, field];
        let make = |key: &str| [hash(key, size), vec![expire(key, later)]].concat();
        let times = |source: Option<i64>, target: Option<i64>| {
            let [source, target] = [source, target].map(|at| at.map(|at| at.to_string()));
            vec![found("field_expiry", &*at, source, target)]
        };
        self.add(
            (0, &format!("field-expiry:other:{name}")),
            |key| (make(key), vec![expire(key, later + 2000)]),
            times(Some(later), Some(later + 2000)),
        );
        self.add(
            (1, &format!("field-expiry:missing:{name}")),
            |key| {
                (
                    make(key),
                    vec![command!["HPERSIST", key, "FIELDS", 1, field]],
                )
            },
            times(Some(later), None),
        );
        self.add(
            (9, &format!("field-expiry:only-on-target:{name}")),
            |key| (hash(key, size), vec![expire(key, later)]),
            times(None, Some(later)),
        );
        self.add(
            (9, &format!("same:field-expiry-within-tolerance:{name}")),
            |key| (make(key), vec![expire(key, later + 500)]),
            vec![],
        );
    }

    /// The same contents, stored in other ways and other orders.
    fn add_encodings(&mut self) {
        // Once too large a collection stays a table, however few elements are left.
        let shrunk = |command: &str, key: &str, long: Command| {
            let long = [command![command, key], long].concat();
            let remove = if command == "HSET" { "HDEL" } else { "SREM" };
            let remove = if command == "ZADD" { "ZREM" } else { remove };
            let member = if command == "ZADD" {
                &long[3]
            } else {
                &long[2]
            };
            let removed = command![remove, key, member];
            vec![long, removed]
        };
        let long = "long".repeat(200);
        self.add(
            (0, "same:set-table"),
            |key| {
                let make = vec![command!["SADD", key, 3, 1, 2]];
                (make, shrunk("SADD", key, command![long]))
            },
            vec![],
        );
        self.add(
            (0, "same:zset-table"),
            |key| {
                let make = vec![command!["ZADD", key, 0, "a", "1.5", "b"]];
                (make, shrunk("ZADD", key, command![1, long]))
            },
            vec![],
        );
        self.add(
            (0, "same:hash-table"),
            |key| {
                let make = vec![command!["HSET", key, "a", 1, "b", "x"]];
                (make, shrunk("HSET", key, command![long, 1]))
            },
            vec![],
        );
        self.add(
            (1, "same:order-of-members"),
            |key| {
                let make = vec![command!["SADD", key, "a", "b", "c"]];
                let again = vec![command!["DEL", key], command!["SADD", key, "c", "b", "a"]];
                (make, again)
            },
            vec![],
        );
        self.add(
            (1, "same:order-of-fields"),
            |key| {
                let make = vec![command!["HSET", key, "a", 1, "b", 2]];
                let again = vec![command!["DEL", key], command!["HSET", key, "b", 2, "a", 1]];
                (make, again)
            },
            vec![],
        );
    }

    fn add_vector_sets(&mut self) {
        let make = |key: &str| {
            let add = |n: usize| {
                let (x, y) = (n as f64 / 8.0, 1.0 - n as f64 / 8.0);
                command!["VADD", key, "VALUES", 2, x, y, format!("e{n}"), "NOQUANT"]
            };
            (0..8).map(add).collect::<Vec<Command>>()
        };
        self.add(
            (0, "vectors:attribute"),
            |key| {
                let attribute = |value: &str| vec![command!["VSETATTR", key, "e3", value]];
                (
                    [make(key), attribute("{\"a\":1}")].concat(),
                    attribute("{\"a\":2}"),
                )
            },
            vec![found(
                "value",
                "element \"e3\"",
                Some("{\"a\":1}"),
                Some("{\"a\":2}"),
            )],
        );
        self.add(
            (1, "vectors:missing"),
            |key| (make(key), vec![command!["VREM", key, "e5"]]),
            vec![found_at("value", "element \"e5\"")],
        );
    }
}
