//! What there is to do: data sets, each made from a seed, and what is measured with them.

use crate::{
    arguments::Arguments,
    following, full,
    load::Load,
    support::{random::Random, server::Server, version::Version},
    table::Round,
};

/// A work, by its name.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// How many keys, elements or writes it has in full size.
    items: u64,
    /// Runs all rounds of it.
    pub(crate) run: fn(&Work, &Arguments) -> Vec<Round>,
    fill: fn(&mut Filling<'_>),
    /// The server of both sides, where it has to be this one.
    server: Option<&'static str>,
}

impl Work {
    /// Source and target.
    pub(crate) fn versions(&self, arguments: &Arguments) -> (Version, Version) {
        match self.server {
            Some(name) => (Version::named(name), Version::named(name)),
            None => (arguments.source, arguments.target),
        }
    }

    /// How many keys, elements or writes it has.
    pub(crate) fn items(&self, arguments: &Arguments) -> u64 {
        arguments.scaled(self.items)
    }

    /// Puts the data set into a server, without the keys of others if it is one of several.
    pub(crate) fn fill(&self, server: &Server, arguments: &Arguments, part: u64) {
        let mut filling = Filling {
            load: Load::open(server),
            random: Random::seeded(arguments.seed + part),
            arguments,
        };
        (self.fill)(&mut filling);
        filling.load.finish();
    }
}

/// All works, in the order in which they are run.
pub(crate) const WORKS: &[Work] = &[
    full(
        "strings",
        2_000_000,
        "strings of 64 random letters",
        strings,
    ),
    full("hashes", 800_000, "hashes of 5 small fields", hashes),
    full(
        "collections",
        2_000_000,
        "elements in zsets and hashes of 10 000",
        collections,
    ),
    full("large-values", 600, "strings of 1 MB", large_values),
    full(
        "mixed",
        1_000_000,
        "keys of all types, half of them with a TTL",
        mixed,
    ),
    full(
        "compressible",
        1_000_000,
        "strings of 256 bytes that LZF shortens",
        compressible,
    ),
    Work {
        server: Some("redis-8.6"),
        ..full(
            "no-compress",
            2_000_000,
            "as strings, from a source that sends them uncompressed when asked",
            strings,
        )
    },
    Work {
        run: full::four_pairs,
        ..full(
            "four-pairs",
            2_000_000,
            "as strings, four sources to four targets",
            strings,
        )
    },
    Work {
        run: full::memory,
        ..full("huge-zset", 2_000_000, "elements of one zset", huge_zset)
    },
    Work {
        run: full::memory,
        ..full("huge-hash", 2_000_000, "fields of one hash", huge_hash)
    },
    Work {
        run: following::catch_up,
        ..full(
            "catch-up",
            2_000_000,
            "small writes, made while the follower stood still",
            nothing,
        )
    },
    Work {
        run: following::lag,
        ..full(
            "lag",
            1_000,
            "probes of the lag, at 20 000 writes/s",
            nothing,
        )
    },
];

const fn full(
    name: &'static str,
    items: u64,
    what: &'static str,
    fill: fn(&mut Filling<'_>),
) -> Work {
    Work {
        name,
        what,
        items,
        run: full::full_syncs,
        fill,
        server: None,
    }
}

/// A data set on its way into a server.
struct Filling<'a> {
    load: Load,
    random: Random,
    arguments: &'a Arguments,
}

impl Filling<'_> {
    fn letters(&mut self, len: usize) -> Vec<u8> {
        letters(&mut self.random, len)
    }

    /// How many of so many.
    fn scaled(&self, count: u64) -> u64 {
        self.arguments.scaled(count)
    }
}

/// Letters that LZF finds nothing in.
pub(crate) fn letters(random: &mut Random, len: usize) -> Vec<u8> {
    let mut letters = random.bytes(len);
    for letter in &mut letters {
        *letter = b'a' + *letter % 26;
    }
    letters
}

fn nothing(_: &mut Filling<'_>) {}

fn strings(it: &mut Filling<'_>) {
    for n in 0..it.scaled(2_000_000) {
        let value = it.letters(64);
        it.load
            .command(&[b"SET", format!("key:{n:012}").as_bytes(), &value]);
    }
}

fn hashes(it: &mut Filling<'_>) {
    for n in 0..it.scaled(800_000) {
        it.load.begin(12);
        it.load.arg(b"HSET");
        it.load.arg(format!("hash:{n:011}").as_bytes());
        for field in 0..5 {
            let value = it.letters(16);
            it.load.arg(format!("field{field}").as_bytes());
            it.load.arg(&value);
        }
    }
}

fn collections(it: &mut Filling<'_>) {
    for n in 0..it.scaled(100) {
        zset(it, &format!("zset:{n}"), 10_000);
        hash(it, &format!("hash:{n}"), 10_000);
    }
}

fn huge_zset(it: &mut Filling<'_>) {
    let elements = it.scaled(2_000_000);
    zset(it, "zset", elements);
}

fn huge_hash(it: &mut Filling<'_>) {
    let elements = it.scaled(2_000_000);
    hash(it, "hash", elements);
}

/// Elements go into a collection so many at a time.
const ELEMENTS_AT_ONCE: u64 = 100;

fn zset(it: &mut Filling<'_>, key: &str, elements: u64) {
    for from in (0..elements).step_by(ELEMENTS_AT_ONCE as usize) {
        let until = elements.min(from + ELEMENTS_AT_ONCE);
        it.load.begin(2 + 2 * (until - from) as usize);
        it.load.arg(b"ZADD");
        it.load.arg(key.as_bytes());
        for n in from..until {
            let score = it.random.below(1_000_000);
            it.load.arg(format!("{}", score as f64 / 8.0).as_bytes());
            it.load.arg(format!("member:{n:010}").as_bytes());
        }
    }
}

fn hash(it: &mut Filling<'_>, key: &str, fields: u64) {
    for from in (0..fields).step_by(ELEMENTS_AT_ONCE as usize) {
        let until = fields.min(from + ELEMENTS_AT_ONCE);
        it.load.begin(2 + 2 * (until - from) as usize);
        it.load.arg(b"HSET");
        it.load.arg(key.as_bytes());
        for n in from..until {
            let value = it.letters(32);
            it.load.arg(format!("field:{n:010}").as_bytes());
            it.load.arg(&value);
        }
    }
}

fn large_values(it: &mut Filling<'_>) {
    for n in 0..it.scaled(600) {
        let value = it.letters(1_000_000);
        it.load
            .command(&[b"SET", format!("large:{n}").as_bytes(), &value]);
    }
}

fn mixed(it: &mut Filling<'_>) {
    for n in 0..it.scaled(1_000_000) {
        let key = format!("mixed:{n:010}");
        let key = key.as_bytes();
        let (one, two) = (it.letters(24), it.letters(40));
        match n % 8 {
            0 => it
                .load
                .command(&[b"HSET", key, b"name", &one, b"text", &two]),
            1 => it.load.command(&[b"RPUSH", key, &one, &two, b"17"]),
            2 => it.load.command(&[b"SADD", key, &one, &two]),
            3 => it.load.command(&[b"ZADD", key, b"1.5", &one, b"2", &two]),
            4 => it.load.command(&[b"SET", key, n.to_string().as_bytes()]),
            _ => it.load.command(&[b"SET", key, &two]),
        }
        if it.random.chance(2) {
            // Far enough that nothing expires meanwhile.
            let ttl_s = 86_400 + it.random.below(86_400);
            it.load
                .command(&[b"EXPIRE", key, ttl_s.to_string().as_bytes()]);
        }
    }
}

fn compressible(it: &mut Filling<'_>) {
    for n in 0..it.scaled(1_000_000) {
        let text = it.random.text(256);
        it.load
            .command(&[b"SET", format!("text:{n:011}").as_bytes(), &text]);
    }
}
