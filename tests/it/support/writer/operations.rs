//! The operations that the writer draws from: one short list per type of value.

use super::{CONSUMERS, Client, Command, Load, MERGED_HLL, Random, Version};

/// Keys of each type and database: few, so that writers meet.
const KEYS: u64 = 12;

/// Makes the next commands of one writer thread.
pub(super) struct Operations {
    load: Load,
    random: Random,
    version: Version,
    known: Vec<&'static str>,
}

/// Commands that not every version has.
const NEWER: [&str; 33] = [
    "GETEX",
    "GETDEL",
    "COPY",
    "LMOVE",
    "LMPOP",
    "ZMPOP",
    "ZDIFFSTORE",
    "ZRANGESTORE",
    "GEOSEARCHSTORE",
    "XAUTOCLAIM",
    "SMISMEMBER",
    "HEXPIRE",
    "HPEXPIRE",
    "HPERSIST",
    "HEXPIREAT",
    "HPEXPIREAT",
    "HGETEX",
    "HSETEX",
    "HGETDEL",
    "MSETEX",
    "DELEX",
    "DELIFEQ",
    "XDELEX",
    "XACKDEL",
    "VADD",
    "VREM",
    "VSETATTR",
    "FUNCTION",
    "FCALL",
    "SPUBLISH",
    "EXPIRETIME",
    "SINTERCARD",
    "XCFGSET",
];

impl Operations {
    pub(super) fn new(
        load: Load,
        random: Random,
        version: Version,
        client: &mut Client,
    ) -> Operations {
        let gated = |name: &str| match name {
            "HGETEX" | "HSETEX" => load.field_ttls,
            "FUNCTION" | "FCALL" => load.functions,
            "VADD" | "VREM" | "VSETATTR" => load.vector_sets,
            name if name.starts_with("HEXP") || name.starts_with("HPE") => load.field_ttls,
            _ => true,
        };
        let known = NEWER.into_iter().filter(|name| gated(name));
        let known = known.filter(|name| client.knows(name)).collect();
        Operations {
            load,
            random,
            version,
            known,
        }
    }

    /// Makes every stream, its group and its consumers before anybody reads from them.
    pub(super) fn prepare(client: &mut Client) {
        for db in 0..4 {
            client.select(db);
            for number in 0..KEYS {
                client.pipeline(&new_stream(&format!("stream:{number}")));
            }
        }
    }

    /// The database of the next batch.
    pub(super) fn select(&mut self) -> Command {
        command!["SELECT", self.random.below(4)]
    }

    /// The commands of one operation.
    pub(super) fn next(&mut self) -> Vec<Command> {
        let commands = match self.random.below(22) {
            0..=3 => self.string(),
            4 | 5 => self.counter(),
            6..=8 => self.list(),
            9 | 10 => self.set(),
            11..=13 => self.zset(),
            14 | 15 => self.hash(),
            16 | 17 => self.stream(),
            18 => self.expiry(),
            19 => self.whole_key(),
            20 => self.several(),
            _ => self.rare(),
        };
        let newer = |command: &Command| NEWER.iter().any(|name| name.as_bytes() == command[0]);
        let known = |command: &Command| self.known.iter().any(|name| name.as_bytes() == command[0]);
        if commands
            .iter()
            .all(|command| !newer(command) || known(command))
        {
            commands
        } else {
            Vec::new()
        }
    }

    pub(super) fn dumps(&mut self) -> bool {
        self.load.restore && self.random.chance(8)
    }

    pub(super) fn dumped_key(&mut self) -> String {
        let kind = *self.random.pick(&["string", "list", "set", "zset", "hash"]);
        self.key(kind)
    }

    pub(super) fn restore(&mut self, payload: Vec<u8>) -> Command {
        let key = self.key("restored");
        match self.random.below(3) {
            0 => command!["RESTORE", key, 0, payload, "REPLACE"],
            1 => command!["RESTORE", key, 90_000, payload, "REPLACE"],
            _ => {
                let at_ms = 4_000_000_000_000u64 + self.random.below(1000);
                command!["RESTORE", key, at_ms, payload, "REPLACE", "ABSTTL"]
            }
        }
    }

    fn key(&mut self, kind: &str) -> String {
        format!("{kind}:{}", self.random.below(KEYS))
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(6) {
            0 => self.random.next().to_string().into_bytes(),
            1 => Vec::new(),
            2 => self.random.text(400),
            3 => b"\r\n*1\r\n$4\r\nPING\r\n\x00\xff".to_vec(),
            _ => self.random.bytes(20),
        }
    }

    /// One of few elements, so that removals find something.
    fn element(&mut self) -> String {
        let n = self.random.below(60);
        if self.random.chance(2) {
            n.to_string()
        } else {
            format!("element:{n}")
        }
    }

    fn string(&mut self) -> Vec<Command> {
        let (key, other) = (self.key("string"), self.key("string"));
        let value = self.value();
        let ttl_ms = 1 + self.random.below(3000);
        let one = match self.random.below(22) {
            0 => command!["SET", key, value],
            1 => command!["SET", key, value, "PX", ttl_ms],
            2 => command!["SET", key, value, "EX", "2"],
            3 => command!["SET", key, value, "NX"],
            4 => command!["SET", key, value, "XX", "KEEPTTL"],
            5 => command!["SETEX", key, "1", value],
            6 => command!["PSETEX", key, ttl_ms, value],
            7 => command!["SETNX", key, value],
            8 => command!["GETSET", key, value],
            9 => command!["APPEND", key, value],
            10 => command!["SETRANGE", key, self.random.below(500), value],
            11 => command!["MSET", key, value, other, "two"],
            12 => command!["MSETNX", key, value, other, "two"],
            13 => command!["GETDEL", key],
            14 => command!["GETEX", key, "PX", ttl_ms],
            15 => command!["GETEX", key, "PERSIST"],
            16 if self.version.has_common(6, 2) => {
                command!["SET", key, value, "GET", "PXAT", 4_000_000_000_000u64]
            }
            17 if self.version.is_redis_from(8, 4) || self.version.is_valkey_from(8, 1) => {
                command!["SET", key, value, "IFEQ", ""]
            }
            18 => command!["MSETEX", "2", key, value, other, "two", "PX", ttl_ms],
            19 => command!["DELEX", key, "IFEQ", ""],
            20 => command!["DELIFEQ", key, ""],
            _ => command!["SET", other, value],
        };
        vec![one]
    }

    fn counter(&mut self) -> Vec<Command> {
        let (key, other) = (self.key("counter"), self.key("bits"));
        let n = self.random.below(1000) as i64 - 500;
        let hll = self.key("hll");
        let one = match self.random.below(16) {
            0 => command!["INCR", key],
            1 => command!["DECR", key],
            2 => command!["INCRBY", key, n],
            3 => command!["DECRBY", key, n],
            4 => command!["INCRBYFLOAT", self.key("float"), n as f64 / 8.0],
            5 => command![
                "SETBIT",
                other,
                self.random.below(5000),
                self.random.below(2)
            ],
            6 => command![
                "BITFIELD", other, "INCRBY", "u8", "#7", n, "OVERFLOW", "SAT", "SET", "i16", "300",
                n
            ],
            7 => command!["BITOP", "XOR", self.key("bits"), other, self.key("bits")],
            8 => command!["BITOP", "NOT", self.key("bits"), other],
            9..=11 => command!["PFADD", hll, self.random.next(), self.random.next()],
            12 => command!["PFCOUNT", hll],
            13 => command!["PFMERGE", self.key(MERGED_HLL), hll, self.key("hll")],
            _ => command!["INCR", key],
        };
        vec![one]
    }

    fn list(&mut self) -> Vec<Command> {
        let (key, other) = (self.key("list"), self.key("list"));
        let (value, element) = (self.value(), self.element());
        let (ends, n) = (["LEFT", "RIGHT"], self.random.below(8));
        let (end, other_end) = (*self.random.pick(&ends), *self.random.pick(&ends));
        let one = match self.random.below(24) {
            0..=2 => command!["RPUSH", key, element, value],
            3 | 4 => command!["LPUSH", key, element],
            5 => command!["RPUSHX", key, element],
            6 => command!["LPUSHX", key, element],
            7 => command!["LPOP", key],
            8 => command!["RPOP", key],
            9 if self.version.has_common(6, 2) => command!["LPOP", key, n],
            10 => command!["LINSERT", key, "BEFORE", element, value],
            11 => command!["LSET", key, "0", value],
            12 => command!["LREM", key, n as i64 - 4, element],
            13 => command!["LTRIM", key, n, "300"],
            14 => command!["RPOPLPUSH", key, other],
            15 => command!["LMOVE", key, other, end, other_end],
            16 => command!["LMPOP", "2", key, other, end, "COUNT", n + 1],
            17..=19 => command!["RPUSH", "list:line", element],
            20 => command!["RPUSH", key, self.random.bytes(12_000)],
            21 => {
                return vec![
                    command!["RPUSH", "list:own", value],
                    command!["BLPOP", "list:own", "1"],
                ];
            }
            22 => command!["SORT", key, "ALPHA", "STORE", self.key("list")],
            _ => command!["LPUSH", key, value],
        };
        vec![one]
    }

    fn set(&mut self) -> Vec<Command> {
        let (key, other, third) = (self.key("set"), self.key("set"), self.key("set"));
        let (element, number) = (self.element(), self.random.below(1 << 40));
        let one = match self.random.below(12) {
            0..=2 => command!["SADD", key, element, number],
            3 => command!["SADD", self.key("intset"), number, self.random.below(100)],
            4 => command!["SREM", key, element],
            5 => command!["SPOP", key],
            6 => command!["SPOP", key, "3"],
            7 => command!["SMOVE", key, other, element],
            8 => command!["SUNIONSTORE", key, other, third],
            9 => command!["SINTERSTORE", key, other, third],
            10 => command!["SDIFFSTORE", key, other, third],
            _ => command!["SPOP", self.key("intset"), "1000"],
        };
        vec![one]
    }

    fn zset(&mut self) -> Vec<Command> {
        let (key, other, third) = (self.key("zset"), self.key("zset"), self.key("zset"));
        let (element, score) = (self.element(), self.random.score());
        let n = self.random.below(100);
        let one = match self.random.below(24) {
            0..=3 => command!["ZADD", key, score, element],
            4 => command!["ZADD", key, "NX", "CH", score, element],
            5 if self.version.has_common(6, 2) => command!["ZADD", key, "GT", n, element],
            6 => command!["ZADD", key, "INCR", n, format!("counted:{n}")],
            7 => command!["ZINCRBY", key, n as f64 / 7.0, format!("counted:{n}")],
            8 => command!["ZREM", key, element],
            9 => command!["ZPOPMIN", key],
            10 => command!["ZPOPMAX", key, "2"],
            11 => command!["ZREMRANGEBYRANK", key, "0", "1"],
            12 => command!["ZREMRANGEBYSCORE", key, n, n + 3],
            13 => command!["ZREMRANGEBYLEX", self.key("lexical"), "[b", "[c"],
            14 => command!["ZADD", self.key("lexical"), "0", element],
            15 => command!["ZUNIONSTORE", key, "2", other, third, "AGGREGATE", "MAX"],
            16 => command!["ZINTERSTORE", key, "2", other, third, "AGGREGATE", "MIN"],
            17 => command!["ZDIFFSTORE", key, "2", other, third],
            18 => command!["ZRANGESTORE", key, other, "0", "20"],
            19 => command!["ZMPOP", "1", key, "MIN", "COUNT", "2"],
            20 => command!["ZADD", "zset:line", n, element],
            21 => command![
                "GEOADD",
                self.key("geo"),
                n as f64 / 3.0,
                n as f64 / 5.0,
                element
            ],
            22 => command![
                "GEORADIUS",
                self.key("geo"),
                "10",
                "5",
                "900",
                "km",
                "STORE",
                self.key("found")
            ],
            _ => command![
                "GEOSEARCHSTORE",
                self.key("found"),
                self.key("geo"),
                "FROMLONLAT",
                "10",
                "5",
                "BYRADIUS",
                "900",
                "km"
            ],
        };
        vec![one]
    }

    fn hash(&mut self) -> Vec<Command> {
        let key = self.key("hash");
        let (name, value) = (self.element(), self.value());
        let n = self.random.below(100) as i64 - 50;
        let ttl_ms = 1 + self.random.below(4000);
        let expiring = self.key("field-ttl");
        let one = match self.random.below(24) {
            0..=2 => command!["HSET", key, name, value],
            3 => command!["HMSET", key, name, value, "x", "y"],
            4 => command!["HSETNX", key, name, value],
            5 => command!["HINCRBY", key, format!("int:{n}"), n],
            6 => command!["HINCRBYFLOAT", key, format!("float:{n}"), n as f64 / 8.0],
            7 => command!["HDEL", key, name],
            8 => command!["HGETDEL", key, "FIELDS", "1", name],
            9..=11 => command!["HSET", expiring, name, value, "stays", "1"],
            12 | 13 => command!["HPEXPIRE", expiring, ttl_ms, "FIELDS", "1", name],
            14 => command!["HEXPIRE", expiring, "100", "FIELDS", "2", name, "x"],
            15 => command!["HPEXPIRE", expiring, ttl_ms * 50, "NX", "FIELDS", "1", name],
            16 => command!["HPERSIST", expiring, "FIELDS", "1", name],
            17 => command!["HPEXPIREAT", expiring, 1000, "FIELDS", "1", name],
            18 => command!["HEXPIREAT", expiring, 4_000_000_000u64, "FIELDS", "1", name],
            19 => command!["HGETEX", expiring, "PX", ttl_ms, "FIELDS", "1", name],
            20 => command!["HGETEX", expiring, "PERSIST", "FIELDS", "1", name],
            21 => command!["HSETEX", expiring, "PX", ttl_ms, "FIELDS", "1", name, value],
            22 => command![
                "HSETEX", expiring, "FNX", "KEEPTTL", "FIELDS", "1", name, value
            ],
            _ => command!["HINCRBYFLOAT", expiring, "float", "0.5"],
        };
        vec![one]
    }

    fn stream(&mut self) -> Vec<Command> {
        let key = self.key("stream");
        let consumer = *self.random.pick(&CONSUMERS);
        let value = self.value();
        let add = command!["XADD", key, "*", "n", self.random.next(), "value", value];
        // The entry just added is there to be read, so the read is replicated.
        let read = |mut more: Command| {
            let mut read = command!["XREADGROUP", "GROUP", "g", consumer, "COUNT", "2"];
            read.append(&mut more);
            read.extend(command!["STREAMS", key, ">"]);
            vec![command!["MULTI"], add.clone(), read, command!["EXEC"]]
        };
        let newest = format!(
            "redis.call('XADD', KEYS[1], '*', 'f', 'v') local e = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1) return redis.call({}, e[1][1])",
            match self.random.below(3) {
                0 => "'XDEL', KEYS[1]",
                1 => "'XACK', KEYS[1], 'g'",
                _ => "'XCLAIM', KEYS[1], 'g', 'anna', 0",
            }
        );
        match self.random.below(22) {
            0..=5 => vec![add],
            6..=8 => read(Vec::new()),
            9 => read(command!["NOACK"]),
            10 => vec![command!["XADD", key, "MAXLEN", "~", "100", "*", "f", value]],
            11 => vec![command!["XADD", key, "MAXLEN", "=", "200", "*", "f", value]],
            12 => vec![command!["XTRIM", key, "MAXLEN", "150"]],
            13 if self.version.has_common(6, 2) => {
                vec![command!["XTRIM", key, "MINID", "~", "1000"]]
            }
            14 => vec![command!["EVAL", newest, "1", key]],
            15 => vec![command!["EVAL", acknowledge(), "1", key]],
            16 => vec![command!["EVAL", claim(), "1", key, consumer]],
            17 => vec![command![
                "XAUTOCLAIM",
                key,
                "g",
                consumer,
                "0",
                "0",
                "COUNT",
                "3"
            ]],
            18 => vec![
                command!["XSETID", key, "9999999999999-0"];
                usize::from(self.random.chance(40))
            ],
            19 => vec![
                command!["XGROUP", "SETID", key, "g", "$"],
                command!["XGROUP", "CREATE", key, self.key("group"), "$"],
            ],
            20 => vec![command!["XGROUP", "DESTROY", key, self.key("group")]],
            _ => [
                read(Vec::new()),
                vec![
                    command!["MULTI"],
                    add.clone(),
                    command![
                        "XREADGROUP",
                        "GROUP",
                        "g",
                        "leaves",
                        "COUNT",
                        "1",
                        "STREAMS",
                        key,
                        ">"
                    ],
                    command!["EXEC"],
                ],
                vec![command!["XGROUP", "DELCONSUMER", key, "g", "leaves"]],
                if self.random.chance(4) {
                    new_stream(&key)
                } else {
                    Vec::new()
                },
            ]
            .concat(),
        }
    }

    /// Keys that expire, are renewed, are persisted.
    fn expiry(&mut self) -> Vec<Command> {
        let session = format!("session:{}", self.random.below(200));
        let ttl_ms = 50 + self.random.below(3000);
        let kind = *self
            .random
            .pick(&["list", "set", "zset", "hash", "counter", "string"]);
        let any = self.key(kind);
        match self.random.below(11) {
            0..=2 => vec![command!["SET", session, "1", "PX", ttl_ms]],
            3 | 4 => vec![command!["PEXPIRE", session, ttl_ms]],
            5 => vec![command!["PERSIST", session]],
            6 => vec![
                command!["EXPIRE", any, "1"],
                command!["PEXPIRE", any, 90_000],
            ],
            7 => vec![command!["PEXPIREAT", any, 4_000_000_000_000u64]],
            8 if self.version.has_common(7, 0) => vec![
                command!["PEXPIRE", any, 100_000, "GT"],
                command!["PEXPIRE", any, 200_000, "NX"],
            ],
            8 | 9 => vec![command!["EXPIREAT", any, 4_000_000_000u64]],
            _ => vec![command!["EXPIRE", session, "-1"]],
        }
    }

    /// Keys that are renamed, copied, moved and deleted.
    fn whole_key(&mut self) -> Vec<Command> {
        let kind = *self.random.pick(&["string", "list", "set", "zset", "hash"]);
        let (key, other) = (self.key(kind), self.key(kind));
        let one = match self.random.below(10) {
            0 => command!["RENAME", key, other],
            1 => command!["RENAMENX", key, other],
            2 => command!["COPY", key, other, "REPLACE"],
            3 => command!["COPY", key, other, "DB", "8", "REPLACE"],
            4 => command!["MOVE", key, "8"],
            5 => command!["DEL", key, other],
            6 => command!["UNLINK", key],
            _ => command!["DEL", self.key("restored")],
        };
        vec![one]
    }

    /// Transactions and scripts.
    fn several(&mut self) -> Vec<Command> {
        let (a, b) = (self.key("counter"), self.key("list"));
        let back = self.random.below(4);
        match self.random.below(5) {
            0 => vec![
                command!["MULTI"],
                command!["INCR", a],
                command!["RPUSH", b, "in", "one"],
                command!["SELECT", "3"],
                command!["INCR", a],
                command!["SELECT", back],
                command!["EXEC"],
            ],
            1 => vec![command!["MULTI"], command!["INCR", a], command!["DISCARD"]],
            2 => vec![command!["MULTI"], command!["INCR", a], command!["EXEC"]],
            3 => vec![command![
                "EVAL",
                "for i = 1, 3 do redis.call('incr', KEYS[1]) end redis.call('rpush', KEYS[2], ARGV[1]) return redis.call('ltrim', KEYS[2], -500, -1)",
                "2",
                a,
                b,
                self.value()
            ]],
            _ => vec![command![
                "EVAL",
                "return redis.call('hincrby', KEYS[1], 'script', 1)",
                "1",
                self.key("hash")
            ]],
        }
    }

    /// Whole databases, functions, vector sets, messages.
    fn rare(&mut self) -> Vec<Command> {
        let back = self.select();
        let key = self.key("vectors");
        let lib = self.random.below(6);
        let (element, n) = (self.element(), self.random.below(50));
        match self.random.below(20) {
            0 => vec![
                command!["SELECT", "5"],
                command!["INCR", "swapped"],
                command!["SWAPDB", "5", "6"],
                back,
            ],
            1 => vec![
                command!["SELECT", "6"],
                command!["RPUSH", "swapped-list", n],
                command!["SWAPDB", "6", "5"],
                back,
            ],
            2 => vec![
                command!["SELECT", "7"],
                command!["SET", format!("flushed:{n}"), n],
                back,
            ],
            3 if self.random.chance(6) => vec![command!["SELECT", "7"], command!["FLUSHDB"], back],
            3 => vec![
                command!["SELECT", "7"],
                command!["FLUSHDB", "ASYNC"],
                command!["SET", "after", n],
                back,
            ],
            4 if self.load.publish => vec![command!["PUBLISH", "channel", n]],
            5 if self.load.publish => vec![command!["SPUBLISH", "channel", n]],
            6 => vec![command![
                "FUNCTION",
                "LOAD",
                "REPLACE",
                format!(
                    "#!lua name=live{lib}\nredis.register_function('live{lib}', function(keys, args) return redis.call('INCR', keys[1]) end)"
                )
            ]],
            7 => vec![command!["FUNCTION", "DELETE", format!("live{lib}")]],
            8 => vec![command![
                "FCALL",
                format!("live{lib}"),
                "1",
                self.key("counter")
            ]],
            // Redis 8.0 changes the vector of an element that is there and does not replicate it.
            9 | 10 => vec![
                command!["MULTI"],
                command!["VREM", key, element],
                command![
                    "VADD",
                    key,
                    "VALUES",
                    "3",
                    n as f64 / 10.0,
                    "0.5",
                    "-1.25",
                    element
                ],
                command!["EXEC"],
            ],
            11 => vec![command!["VREM", key, element]],
            12 => vec![command!["VSETATTR", key, element, format!("{{\"a\":{n}}}")]],
            // The newest forms of streams exist on Redis 8.6 alone.
            13 | 14 if self.version.is_redis_from(8, 6) && self.load.idmp => {
                let id = format!("id:{n}");
                vec![command![
                    "XADD",
                    self.key("stream"),
                    "IDMP",
                    "producer",
                    id,
                    "*",
                    "f",
                    n
                ]]
            }
            15 if self.version.is_redis_from(8, 6) && self.load.idmp_auto => {
                vec![command![
                    "XADD",
                    self.key("stream"),
                    "IDMPAUTO",
                    "auto",
                    "*",
                    "f",
                    n
                ]]
            }
            16 => vec![command![
                "XACKDEL",
                self.key("stream"),
                "g",
                "ACKED",
                "IDS",
                "1",
                "1-1"
            ]],
            17 => vec![command![
                "XCFGSET",
                self.key("stream"),
                "IDMP-MAXSIZE",
                n + 100
            ]],
            18 => vec![command!["XTRIM", self.key("stream"), "MAXLEN", "~", "100"]],
            _ => vec![command![
                "XDELEX",
                self.key("stream"),
                "KEEPREF",
                "IDS",
                "1",
                "1-1"
            ]],
        }
    }
}

/// A stream whose group and consumers appear in one transaction with it.
fn new_stream(key: &str) -> Vec<Command> {
    let mut commands = vec![
        command!["MULTI"],
        command!["DEL", key],
        command!["XGROUP", "CREATE", key, "g", "0", "MKSTREAM"],
    ];
    for consumer in CONSUMERS {
        commands.push(command!["XADD", key, "*", "for", consumer]);
        commands.push(command![
            "XREADGROUP",
            "GROUP",
            "g",
            consumer,
            "COUNT",
            "1",
            "STREAMS",
            key,
            ">"
        ]);
    }
    commands.push(command!["EXEC"]);
    commands
}

/// Acknowledges the oldest pending entries of the group.
fn acknowledge() -> &'static str {
    "for _, p in ipairs(redis.call('XPENDING', KEYS[1], 'g', '-', '+', 3)) do redis.call('XACK', KEYS[1], 'g', p[1]) end"
}

/// Claims the oldest pending entry for a consumer.
fn claim() -> &'static str {
    "for _, p in ipairs(redis.call('XPENDING', KEYS[1], 'g', '-', '+', 1)) do redis.call('XCLAIM', KEYS[1], 'g', ARGV[1], 0, p[1]) end"
}
