//! Compares two servers by what any client can read: databases, keys, types, values, expiries,
//! field expiries, stream groups, vector sets and functions.
//!
//! It asks both sides for everything and knows nothing of replication, so it can judge a native
//! replica as well as a migration. What only one of the two versions can tell (entries-read on
//! Redis 7.0, nothing on 6.0) is left out; what both can tell has to be equal.
//!
//! Nobody may write while it reads. Expiries still pass: a difference counts only when it is
//! still there after a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, thread,
    time::Duration,
};

use redis::Value;

use super::{
    client::{Client, Command, bytes, field, items, number, shown, text},
    server::Server,
    version::Version,
};

/// Keys that are read in one round trip.
const KEYS_PER_BATCH: usize = 500;

/// Differences that are shown when a test fails.
const SHOWN_MAX: usize = 40;

/// Keys of a name with this in it are HyperLogLogs that went through PFMERGE: their bytes may
/// differ on a replica, their count may not (measured on Redis 6.0 to 8.6).
pub(crate) const MERGED_HLL: &str = "pfmerge";

/// Keys of a name with this in it are HyperLogLogs of which PFCOUNT was asked on one side: the count
/// is cached in their bytes.
pub(crate) const COUNTED_HLL: &str = "hll-counted";

/// How two servers are compared.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    /// How far apart two expiries may be.
    pub(crate) expiry_tolerance_ms: i64,
    /// How far apart the times may be at which an entry was delivered that is pending.
    pub(crate) delivery_tolerance_ms: i64,
    /// Whether the entries-read counters of groups are compared.
    pub(crate) entries_read: bool,
    /// Databases that are left out.
    pub(crate) without_dbs: Vec<u32>,
    /// Keys with this prefix are left out: what the migration keeps on the target for itself.
    pub(crate) without_prefix: Option<Vec<u8>>,
}

impl Oracle {
    /// The strictest comparison that these two versions allow.
    ///
    /// From 7.0 on expiries travel as absolute times and can be read as such. Older servers
    /// replicate `EXPIRE k 10` as it is, so even their own replicas are late by the time that
    /// the command was under way, and PTTL is read against a clock that goes on.
    pub(crate) fn between(source: &Server, target: &Server) -> Oracle {
        Oracle::of(source.version(), target.version())
    }

    /// The same after a migration under load that has taken this long. A time that an old source
    /// replicated as it is counts from when the command arrives, as on its own replicas: late by
    /// what the command waited for the end of the snapshot, or for a link.
    pub(crate) fn after(source: &Server, target: &Server, taken: Duration) -> Oracle {
        let mut oracle = Oracle::between(source, target);
        if !source.version().has_common(7, 0) {
            let taken_ms = i64::try_from(taken.as_millis()).unwrap();
            oracle.expiry_tolerance_ms = oracle.expiry_tolerance_ms.max(taken_ms);
        }
        oracle
    }

    /// The same, by the versions alone.
    pub(crate) fn of(source: Version, target: Version) -> Oracle {
        let absolute = source.has_common(7, 0) && target.has_common(7, 0);
        Oracle {
            expiry_tolerance_ms: if absolute { 1 } else { 2000 },
            delivery_tolerance_ms: 0,
            // Redis 7.0 has the counter and does not tell its replicas (measured: its own differ).
            entries_read: source.is_redis_from(7, 4) || source.is_valkey_from(8, 0),
            without_dbs: Vec::new(),
            without_prefix: Some(b"keyferry:checkpoint:".to_vec()),
        }
    }

    /// Everything in which the two differ.
    pub(crate) fn differences(&self, source: &Server, target: &Server) -> Vec<Difference> {
        self.differences_between([source.client(), target.client()])
    }

    /// Everything in which the servers of these two connections differ.
    pub(crate) fn differences_between(&self, clients: [Client; 2]) -> Vec<Difference> {
        let mut sides = clients.map(Side::of);
        let mut found = self.compare_functions(&mut sides);
        let dbs: BTreeSet<u32> = sides.iter_mut().flat_map(Side::dbs).collect();
        for db in dbs {
            if self.without_dbs.contains(&db) {
                continue;
            }
            let mut keys: BTreeSet<Vec<u8>> = BTreeSet::new();
            for side in &mut sides {
                side.client.select(db);
                keys.extend(side.scan());
            }
            if let Some(prefix) = &self.without_prefix {
                keys.retain(|key| !key.starts_with(prefix));
            }
            let keys: Vec<Vec<u8>> = keys.into_iter().collect();
            found.extend(self.compare_keys(&mut sides, db, &keys));
        }
        found
    }

    /// Fails the test when the two differ, and shows in what.
    pub(crate) fn assert_equal(&self, source: &Server, target: &Server) {
        let found = self.differences(source, target);
        let shown: Vec<String> = found
            .iter()
            .take(SHOWN_MAX)
            .map(|d| d.to_string())
            .collect();
        assert!(
            found.is_empty(),
            "{} differences between {} and {}:\n{}",
            found.len(),
            source.version(),
            target.version(),
            shown.join("\n")
        );
    }

    fn compare_keys(&self, sides: &mut [Side; 2], db: u32, keys: &[Vec<u8>]) -> Vec<Difference> {
        let mut found = self.compare_once(sides, db, keys);
        for _ in 0..3 {
            if found.is_empty() {
                break;
            }
            // A key or a field may have expired between our two looks.
            thread::sleep(Duration::from_millis(300));
            let again: BTreeSet<Vec<u8>> = found.iter().map(|d| d.key.clone()).collect();
            let again: Vec<Vec<u8>> = again.into_iter().collect();
            found = self.compare_once(sides, db, &again);
        }
        found
    }

    fn compare_once(&self, sides: &mut [Side; 2], db: u32, keys: &[Vec<u8>]) -> Vec<Difference> {
        let field_ttls = sides
            .iter_mut()
            .all(|side| side.client.knows("HPEXPIRETIME"));
        let [source, target] = sides;
        let mut found = Vec::new();
        for batch in keys.chunks(KEYS_PER_BATCH) {
            let (ours, theirs) = thread::scope(|scope| {
                let ours = scope.spawn(|| source.read(batch, field_ttls));
                let theirs = target.read(batch, field_ttls);
                (ours.join().unwrap(), theirs)
            });
            for ((key, ours), theirs) in batch.iter().zip(&ours).zip(&theirs) {
                found.extend(self.compare_key(db, key, ours, theirs));
            }
        }
        found
    }

    fn compare_key(&self, db: u32, key: &[u8], source: &Held, target: &Held) -> Vec<Difference> {
        let differ = |what: &str, source: String, target: String| Difference {
            db,
            key: key.to_vec(),
            what: what.to_owned(),
            source,
            target,
        };
        if source.value_type != target.value_type {
            let what = match (source.exists(), target.exists()) {
                (true, false) => "missing on the target",
                (false, true) => "only on the target",
                _ => "type",
            };
            return vec![differ(
                what,
                source.value_type.clone(),
                target.value_type.clone(),
            )];
        }
        let mut found = Vec::new();
        let (ours, theirs) = (source.expire_at_ms, target.expire_at_ms);
        let apart = (ours < 0) != (theirs < 0) || (ours - theirs).abs() > self.expiry_tolerance_ms;
        if apart {
            found.push(differ("expiry in ms", ours.to_string(), theirs.to_string()));
        }
        for (what, ours) in &source.parts {
            let Some(theirs) = target.parts.get(what) else {
                continue;
            };
            if !self.parts_equal(what, ours, theirs) {
                let (ours, theirs) = shown_apart(ours, theirs);
                found.push(differ(what, ours, theirs));
            }
        }
        found
    }

    fn parts_equal(&self, what: &str, source: &Value, target: &Value) -> bool {
        if what.ends_with("entries-read") && !self.entries_read {
            return true;
        }
        if what.ends_with(PENDING_LIST) {
            return self.pending_equal(source, target);
        }
        if what != FIELD_EXPIRIES {
            return source == target;
        }
        let (ours, theirs) = (items(source), items(target));
        let near = |(ours, theirs): (&Value, &Value)| match (ours, theirs) {
            (Value::Int(ours), Value::Int(theirs)) => {
                (*ours < 0) == (*theirs < 0) && (ours - theirs).abs() <= self.expiry_tolerance_ms
            }
            _ => ours == theirs,
        };
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(near)
    }

    /// Each entry is an array that ends with when it was delivered, and how often.
    fn pending_equal(&self, source: &Value, target: &Value) -> bool {
        let (ours, theirs) = (items(source), items(target));
        let same = |(ours, theirs): (&Value, &Value)| {
            let (ours, theirs) = (items(ours), items(theirs));
            let delivered_at = ours.len().saturating_sub(2);
            let mut pairs = ours.iter().zip(theirs).enumerate();
            ours.len() == theirs.len()
                && pairs.all(|(at, pair)| match pair {
                    (Value::Int(ours), Value::Int(theirs)) if at == delivered_at => {
                        (ours - theirs).abs() <= self.delivery_tolerance_ms
                    }
                    (ours, theirs) => ours == theirs,
                })
        };
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
    }

    fn compare_functions(&self, sides: &mut [Side; 2]) -> Vec<Difference> {
        if !sides.iter_mut().all(|side| side.client.knows("FUNCTION")) {
            return Vec::new();
        }
        let [source, target] = sides.each_mut().map(|side| side.functions());
        let names: BTreeSet<&String> = source.keys().chain(target.keys()).collect();
        let shown = |code: Option<&String>| code.cloned().unwrap_or_else(|| "none".to_owned());
        names
            .into_iter()
            .filter(|name| source.get(*name) != target.get(*name))
            .map(|name| Difference {
                db: 0,
                key: name.clone().into_bytes(),
                what: "function library".to_owned(),
                source: shown(source.get(name)),
                target: shown(target.get(name)),
            })
            .collect()
    }
}

/// One thing in which the two servers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) db: u32,
    pub(crate) key: Vec<u8>,
    /// Which part of the key: its type, its value, its expiry, the pending list of a group...
    pub(crate) what: String,
    pub(crate) source: String,
    pub(crate) target: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, what) = (shown(&self.key), &self.what);
        write!(
            f,
            "db {} {key}: {what}: source {}, target {}",
            self.db, self.source, self.target
        )
    }
}

const FIELD_EXPIRIES: &str = "field expiries in ms";

/// How the names of parts end that list pending entries.
const PENDING_LIST: &str = " pel";

/// What one side holds of a key.
#[derive(Debug)]
struct Held {
    /// As TYPE says; `none` when the key is not there.
    value_type: String,
    /// Milliseconds since 1970, or a negative number for none.
    expire_at_ms: i64,
    /// Everything else by name, in a form that is equal when the contents are.
    parts: BTreeMap<String, Value>,
}

impl Held {
    fn exists(&self) -> bool {
        self.value_type != "none"
    }
}

/// One of the two servers.
struct Side {
    client: Client,
    absolute_expiry: bool,
}

impl Side {
    fn of(mut client: Client) -> Side {
        let absolute_expiry = client.knows("PEXPIRETIME");
        Side {
            client,
            absolute_expiry,
        }
    }

    /// The databases that hold keys.
    fn dbs(&mut self) -> Vec<u32> {
        let info = text(&self.client.run(command!["INFO", "keyspace"]));
        let numbers = info.lines().filter_map(|line| {
            let (db, _) = line.strip_prefix("db")?.split_once(':')?;
            db.parse().ok()
        });
        numbers.collect()
    }

    fn scan(&mut self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let page = self.client.run(command!["SCAN", cursor, "COUNT", "2000"]);
            keys.extend(items(&items(&page)[1]).iter().map(bytes));
            cursor = text(&items(&page)[0]);
            if cursor == "0" {
                return keys;
            }
        }
    }

    fn read(&mut self, keys: &[Vec<u8>], field_ttls: bool) -> Vec<Held> {
        let types: Vec<Command> = keys.iter().map(|key| command!["TYPE", key]).collect();
        let types = self.client.pipeline(&types);
        let expiries = self.expiries(keys);
        let mut held: Vec<Held> = types
            .iter()
            .zip(expiries)
            .map(|(value_type, expire_at_ms)| Held {
                value_type: text(value_type),
                expire_at_ms,
                parts: BTreeMap::new(),
            })
            .collect();
        self.read_values(keys, &mut held);
        if field_ttls {
            self.read_field_expiries(keys, &mut held);
        }
        self.read_vectors(keys, &mut held);
        held
    }

    fn expiries(&mut self, keys: &[Vec<u8>]) -> Vec<i64> {
        if self.absolute_expiry {
            let ask: Vec<Command> = keys.iter().map(|k| command!["PEXPIRETIME", k]).collect();
            return self.client.pipeline(&ask).iter().map(number).collect();
        }
        let mut expiries = Vec::with_capacity(keys.len());
        // Short batches: the clock goes on between TIME and the last PTTL.
        for batch in keys.chunks(50) {
            let mut ask = vec![command!["TIME"]];
            ask.extend(batch.iter().map(|key| command!["PTTL", key]));
            let replies = self.client.pipeline(&ask);
            let time = items(&replies[0]);
            let now_ms = number(&time[0]) * 1000 + number(&time[1]) / 1000;
            let absolute = |ttl: i64| if ttl < 0 { ttl } else { now_ms + ttl };
            expiries.extend(replies[1..].iter().map(|ttl| absolute(number(ttl))));
        }
        expiries
    }

    fn read_values(&mut self, keys: &[Vec<u8>], held: &mut [Held]) {
        let (mut ask, mut asked) = (Vec::new(), Vec::new());
        for (key, held) in keys.iter().zip(held) {
            let commands = reading(&held.value_type, key);
            asked.push((held, commands.len()));
            ask.extend(commands);
        }
        let replies = self.client.try_pipeline(&ask).unwrap();
        let mut replies = replies.into_iter();
        for (held, count) in asked {
            let replies: Vec<Value> = replies.by_ref().take(count).collect();
            held.parts = parts(&held.value_type, &replies);
        }
    }

    fn read_field_expiries(&mut self, keys: &[Vec<u8>], held: &mut [Held]) {
        for (key, held) in keys.iter().zip(held) {
            let Some(Value::Array(fields)) = held.parts.get("value") else {
                continue;
            };
            if held.value_type != "hash" || fields.is_empty() {
                continue;
            }
            let names: Vec<Vec<u8>> = fields.iter().map(|pair| bytes(&items(pair)[0])).collect();
            let mut ask = Vec::new();
            for names in names.chunks(1000) {
                let mut command = command!["HPEXPIRETIME", key, "FIELDS", names.len()];
                command.extend(names.iter().cloned());
                ask.push(command);
            }
            let replies = self.client.try_pipeline(&ask).unwrap();
            let expiries = replies.iter().flat_map(|r| items(r).to_vec()).collect();
            held.parts
                .insert(FIELD_EXPIRIES.to_owned(), Value::Array(expiries));
        }
    }

    fn read_vectors(&mut self, keys: &[Vec<u8>], held: &mut [Held]) {
        for (key, held) in keys.iter().zip(held) {
            if held.value_type != "vectorset" {
                continue;
            }
            let members = held.parts.get("members").map(items).unwrap_or_default();
            let mut ask = Vec::new();
            for member in members.iter().map(bytes) {
                ask.push(command!["VEMB", key, member]);
                ask.push(command!["VGETATTR", key, member]);
            }
            let replies = self.client.try_pipeline(&ask).unwrap();
            held.parts
                .insert("vectors and attributes".to_owned(), Value::Array(replies));
        }
    }

    /// Code and functions of each library by its name.
    fn functions(&mut self) -> BTreeMap<String, String> {
        let list = self.client.run(command!["FUNCTION", "LIST", "WITHCODE"]);
        let mut libraries = BTreeMap::new();
        for library in items(&list) {
            let named = |name: &str| field(library, name).map(text).unwrap_or_default();
            let functions = field(library, "functions").map(items).unwrap_or_default();
            let functions: BTreeSet<String> = functions
                .iter()
                .map(|function| {
                    let flags = field(function, "flags").map(items).unwrap_or_default();
                    let flags: BTreeSet<String> = flags.iter().map(text).collect();
                    format!(
                        "{}{flags:?}",
                        field(function, "name").map(text).unwrap_or_default()
                    )
                })
                .collect();
            let said = format!(
                "{} {functions:?} {}",
                named("engine"),
                named("library_code")
            );
            libraries.insert(named("library_name"), said);
        }
        libraries
    }
}

/// The commands that read a value in full.
fn reading(value_type: &str, key: &[u8]) -> Vec<Command> {
    match value_type {
        "string" => vec![command!["GET", key]],
        "list" => vec![command!["LRANGE", key, "0", "-1"]],
        "set" => vec![command!["SMEMBERS", key]],
        "zset" => vec![command!["ZRANGE", key, "0", "-1", "WITHSCORES"]],
        "hash" => vec![command!["HGETALL", key]],
        "stream" => vec![
            command!["XRANGE", key, "-", "+"],
            command!["XINFO", "STREAM", key, "FULL", "COUNT", "0"],
        ],
        "vectorset" => vec![
            command!["VINFO", key],
            // A positive count answers each member once.
            command!["VRANDMEMBER", key, "100000000"],
        ],
        _ => Vec::new(),
    }
    .into_iter()
    .chain(only_counted(value_type, key).then(|| command!["PFCOUNT", key]))
    .collect()
}

/// Whether a key is a HyperLogLog whose count has to be equal, and not its bytes.
fn only_counted(value_type: &str, key: &[u8]) -> bool {
    let has = |name: &str| key.windows(name.len()).any(|of| of == name.as_bytes());
    value_type == "string" && [MERGED_HLL, COUNTED_HLL].into_iter().any(has)
}

/// The replies in a form that is equal on both sides when the contents are.
fn parts(value_type: &str, replies: &[Value]) -> BTreeMap<String, Value> {
    let one = |what: &str, value: Value| BTreeMap::from([(what.to_owned(), value)]);
    if let Some(Value::ServerError(error)) = replies.first() {
        return one("value", Value::SimpleString(format!("{error:?}")));
    }
    match (value_type, replies) {
        ("string", [_, count]) => one("count", count.clone()),
        ("string" | "list", [value]) => one("value", value.clone()),
        ("set", [members]) => one("value", sorted(items(members).to_vec())),
        ("zset", [members]) => one("value", scored(members)),
        ("hash", [fields]) => {
            let pairs = items(fields).chunks_exact(2);
            let pairs = pairs.map(|pair| Value::Array(pair.to_vec()));
            one("value", sorted(pairs.collect()))
        }
        ("stream", [entries, info]) => {
            let mut parts = stream_parts(info);
            parts.insert("entries".to_owned(), entries.clone());
            parts
        }
        ("vectorset", [info, members]) => {
            let mut parts = one("members", sorted(items(members).to_vec()));
            for name in ["quant-type", "vector-dim", "projection-input-dim", "size"] {
                if let Some(value) = field(info, name) {
                    parts.insert(name.to_owned(), value.clone());
                }
            }
            parts
        }
        _ => BTreeMap::new(),
    }
}

/// Scores by their doubles, because versions print the same double differently.
fn scored(members: &Value) -> Value {
    let pairs = items(members).chunks_exact(2).map(|pair| {
        // -0 and 0 are one score: servers drop the sign when they pack a sorted set.
        let score: f64 = text(&pair[1]).parse().unwrap_or(f64::NAN) + 0.0;
        Value::Array(vec![
            pair[0].clone(),
            Value::SimpleString(format!("{score:?}")),
        ])
    });
    Value::Array(pairs.collect())
}

/// What XINFO STREAM FULL says of the contents; not how they are stored, and no reading times. Nor
/// how often repetitions were recognised: that statistic of a server adds nothing to a stream.
fn stream_parts(info: &Value) -> BTreeMap<String, Value> {
    let mut parts = BTreeMap::new();
    for pair in items(info).chunks_exact(2) {
        let name = text(&pair[0]);
        let other = ["groups", "entries", "iids-duplicates"].contains(&name.as_str());
        if !other && !name.starts_with("radix-tree") {
            parts.insert(name, pair[1].clone());
        }
    }
    let groups = field(info, "groups").map(items).unwrap_or_default();
    parts.insert("groups".to_owned(), names_of(groups));
    for group in groups {
        let group_name = shown(&field(group, "name").map(bytes).unwrap_or_default());
        for pair in items(group).chunks_exact(2) {
            let name = text(&pair[0]);
            // The lag follows from the rest, and 7.0 answers nil for it where 8.0 counts.
            if name != "consumers" && name != "name" && name != "lag" {
                let name = name.replace("pending", "pel");
                parts.insert(format!("group {group_name} {name}"), pair[1].clone());
            }
        }
        let consumers = field(group, "consumers").map(items).unwrap_or_default();
        parts.insert(format!("group {group_name} consumers"), names_of(consumers));
        for consumer in consumers {
            let consumer_name = shown(&field(consumer, "name").map(bytes).unwrap_or_default());
            let pel = field(consumer, "pel").or_else(|| field(consumer, "pending"));
            parts.insert(
                format!("group {group_name} consumer {consumer_name}{PENDING_LIST}"),
                pel.cloned().unwrap_or_default(),
            );
        }
    }
    parts
}

fn names_of(list: &[Value]) -> Value {
    let names = list.iter().filter_map(|entry| field(entry, "name"));
    sorted(names.cloned().collect())
}

fn sorted(mut values: Vec<Value>) -> Value {
    values.sort_by_cached_key(|value| match value {
        Value::Array(pair) => bytes(&pair[0]),
        value => bytes(value),
    });
    Value::Array(values)
}

/// Both values for people: where lists differ, their lengths and the first elements apart.
fn shown_apart(source: &Value, target: &Value) -> (String, String) {
    let (Value::Array(ours), Value::Array(theirs)) = (source, target) else {
        return (shown_value(source), shown_value(target));
    };
    let apart = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let at = |list: &[Value]| {
        let element = list.get(apart).map_or("none".to_owned(), shown_value);
        format!("{} elements, [{apart}] = {element}", list.len())
    };
    (at(ours), at(theirs))
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().take(8).map(shown_value).collect();
            format!("[{}]", shown.join(", "))
        }
        Value::Int(number) => number.to_string(),
        Value::SimpleString(text) => text.clone(),
        Value::Nil => "nil".to_owned(),
        value => shown(&bytes(value)),
    }
}
