//! Differences that a test makes between two servers, each of a kind and in a place that it knows.
//!
//! Every difference has a key of its own. The keys are made on the source before the target gets
//! what the source has; then the target's are changed. What has to be found is said here, beside the
//! change, and never asked of keyferry; of the servers only what ordinary clients can read is asked.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use redis::Value;

use super::{
    client::{Client, Command, number, shown, text},
    server::Server,
    verification::Reported,
    version::Version,
};

mod collections;
mod functions;
mod keys;
mod streams;

/// The bytes of a value that a report shows.
const SHOWN_BYTES_MAX: usize = 256;

/// A difference that was made.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) db: u32,
    pub(crate) key: Vec<u8>,
    expected: Expected,
    types: [Option<String>; 2],
    lens: [Option<u64>; 2],
    expire_at_ms: [Option<i64>; 2],
}

/// What has to be found.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    kind: &'static str,
    place: Told<Option<String>>,
    /// What both sides have there.
    values: Told<[Option<Vec<u8>>; 2]>,
}

/// What a report has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told<T> {
    This(T),
    /// The test does not know it.
    Something,
}

impl<T: PartialEq> Told<T> {
    fn may_be(&self, told: &T) -> bool {
        match self {
            Told::This(this) => this == told,
            Told::Something => true,
        }
    }
}

/// A difference of this kind, at this place with these values.
fn found<V: Into<Vec<u8>>>(
    kind: &'static str,
    place: impl Into<String>,
    source: Option<V>,
    target: Option<V>,
) -> Expected {
    let cut = |value: V| {
        let mut value = value.into();
        value.truncate(SHOWN_BYTES_MAX);
        value
    };
    Expected {
        kind,
        place: Told::This(Some(place.into())),
        values: Told::This([source.map(cut), target.map(cut)]),
    }
}

/// A difference of this kind, wherever it is told to be.
fn found_somewhere(kind: &'static str) -> Expected {
    Expected {
        kind,
        place: Told::Something,
        values: Told::Something,
    }
}

/// A difference of this kind at this place.
fn found_at(kind: &'static str, place: &str) -> Expected {
    Expected {
        kind,
        place: Told::This(Some(place.to_owned())),
        values: Told::Something,
    }
}

/// A difference of this kind in the key as a whole.
fn found_whole(kind: &'static str) -> Expected {
    Expected {
        kind,
        place: Told::This(None),
        values: Told::This([None, None]),
    }
}

/// One key: how both sides come to have it, what is changed on the target, what has to be found then.
#[derive(Debug)]
struct Mutation {
    db: u32,
    key: Vec<u8>,
    make: Vec<Command>,
    change: Vec<Command>,
    expected: Vec<Expected>,
}

/// All differences that there can be between two versions.
#[derive(Debug)]
pub(crate) struct Mutations {
    source: Version,
    target: Version,
    /// A time some days ahead.
    later_ms: i64,
    list: Vec<Mutation>,
}

impl Mutations {
    /// Those of every kind that both versions can hold.
    pub(crate) fn between(source: Version, target: Version) -> Mutations {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut all = Mutations {
            source,
            target,
            later_ms: i64::try_from(now.as_millis()).unwrap() + 400_000_000,
            list: Vec::new(),
        };
        all.add_keys();
        all.add_collections();
        all.add_streams();
        if all.both(Version::has_functions) {
            all.add_functions();
        }
        all
    }

    /// Without those whose key has this in its name.
    pub(crate) fn without(mut self, name: &str) -> Mutations {
        let has = |key: &[u8]| String::from_utf8_lossy(key).contains(name);
        self.list.retain(|one| !has(&one.key));
        self
    }

    /// Whether both versions have something.
    fn both(&self, has: impl Fn(&Version) -> bool) -> bool {
        has(&self.source) && has(&self.target)
    }

    /// Adds one to the keys of a db.
    fn add(
        &mut self,
        (db, name): (u32, &str),
        of: impl FnOnce(&str) -> (Vec<Command>, Vec<Command>),
        expected: Vec<Expected>,
    ) {
        let key = format!("planted:{name}");
        let (make, change) = of(&key);
        self.list.push(Mutation {
            db,
            key: key.into_bytes(),
            make,
            change,
            expected,
        });
    }

    /// Makes the keys.
    pub(crate) fn make(&self, source: &Server) {
        let mut client = source.client();
        for one in &self.list {
            client.select(one.db);
            client.pipeline(&one.make);
        }
    }

    /// Changes them on the target, and says what has to be found.
    pub(crate) fn plant(&self, source: &Server, target: &Server) -> Vec<Planted> {
        let mut clients = [source.client(), target.client()];
        let mut planted = Vec::new();
        for one in &self.list {
            clients[1].select(one.db);
            clients[1].pipeline(&one.change);
            for expected in &one.expected {
                planted.push(one.planted(&mut clients, expected));
            }
        }
        assert!(planted.len() > 50, "only {} are planted", planted.len());
        planted
    }
}

impl Mutation {
    fn planted(&self, [source, target]: &mut [Client; 2], expected: &Expected) -> Planted {
        let mut planted = Planted {
            db: self.db,
            key: self.key.clone(),
            expected: expected.clone(),
            types: [None, None],
            lens: [None, None],
            expire_at_ms: [None, None],
        };
        if expected.kind == "function" {
            planted.db = 0;
            return planted;
        }
        let target_db = match (expected.kind, &expected.values) {
            ("wrong_db", Told::This([_, Some(db)])) => String::from_utf8_lossy(db).parse().unwrap(),
            _ => self.db,
        };
        for (side, (client, db)) in [(source, self.db), (target, target_db)]
            .iter_mut()
            .enumerate()
        {
            client.select(*db);
            let value_type = text(&client.run(command!["TYPE", self.key]));
            if value_type != "none" {
                planted.lens[side] = length(client, &value_type, &self.key);
                planted.types[side] = Some(value_type);
            }
            if expected.kind == "expiry" {
                planted.expire_at_ms[side] = expiry(client, &self.key);
            }
        }
        planted
    }
}

fn length(client: &mut Client, value_type: &str, key: &[u8]) -> Option<u64> {
    let command = match value_type {
        "string" => "STRLEN",
        "list" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        "stream" => "XLEN",
        "vectorset" => "VCARD",
        other => panic!("a planted {other}"),
    };
    u64::try_from(number(&client.run(command![command, key]))).ok()
}

/// When the key expires, in ms since 1970.
fn expiry(client: &mut Client, key: &[u8]) -> Option<i64> {
    if client.knows("PEXPIRETIME") {
        let at = number(&client.run(command!["PEXPIRETIME", key]));
        return (at >= 0).then_some(at);
    }
    let script = "local t = redis.call('TIME') return {t[1] * 1000 + math.floor(t[2] / 1000), redis.call('PTTL', KEYS[1])}";
    match client.run(command!["EVAL", script, 1, key]) {
        Value::Array(parts) => match (number(&parts[0]), number(&parts[1])) {
            (_, ..0) => None,
            (now, ttl) => Some(now + ttl),
        },
        other => panic!("{other:?}"),
    }
}

impl Planted {
    /// Whether a report means this one.
    pub(crate) fn names(&self, found: &Reported) -> bool {
        u64::from(self.db) == found.db && self.key == found.key && self.expected.kind == found.kind
    }

    /// In what a report tells it wrongly.
    pub(crate) fn unlike(&self, found: &Reported) -> Option<String> {
        let near = |(ours, theirs): (&Option<i64>, &Option<i64>)| match (ours, theirs) {
            // Servers before 7.0 tell only how long it is until then.
            (Some(ours), Some(theirs)) => ours.abs_diff(*theirs) < 900,
            _ => ours == theirs,
        };
        let expiries = self.expire_at_ms.iter().zip(&found.expire_at_ms);
        if !self.expected.place.may_be(&found.place) {
            Some(format!("found at {:?}", found.place))
        } else if !self.expected.values.may_be(&found.values) {
            let show = |value: &Option<Vec<u8>>| value.as_deref().map_or("none".into(), shown);
            let [source, target] = found.values.each_ref().map(show);
            Some(format!("found with {source} and {target}"))
        } else if self.types != found.types || self.lens != found.lens {
            Some(format!("found as {:?} of {:?}", found.types, found.lens))
        } else if self.expected.kind == "expiry" && !expiries.map(near).fold(true, |a, b| a & b) {
            Some(format!("found to expire at {:?}", found.expire_at_ms))
        } else {
            None
        }
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.expected.kind == kind
    }

    /// Whether the two sides have different numbers of elements.
    pub(crate) fn has_other_len(&self) -> bool {
        self.lens[0] != self.lens[1]
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.expected.kind
    }

    /// Where it is, as reports say it.
    pub(crate) fn place(&self) -> Option<&str> {
        match &self.expected.place {
            Told::This(place) => place.as_deref(),
            Told::Something => None,
        }
    }

    /// What both sides have there.
    pub(crate) fn values(&self) -> [Option<&[u8]>; 2] {
        match &self.expected.values {
            Told::This(values) => values.each_ref().map(Option::as_deref),
            Told::Something => [None, None],
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (db, key, kind) = (self.db, shown(&self.key), self.expected.kind);
        let place = self.place().unwrap_or("the key");
        let [source, target] = self
            .values()
            .map(|value| value.map_or("none".into(), shown));
        write!(
            f,
            "db {db} {key}: {kind} at {place}: {source} and {target}, types {:?}, lens {:?}, expiries {:?}",
            self.types, self.lens, self.expire_at_ms
        )
    }
}
