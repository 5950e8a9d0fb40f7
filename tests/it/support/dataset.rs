//! One seeded data set of every type and encoding that a server version has.

use super::{
    client::{Client, Command},
    random::Random,
    server::Server,
    version::Version,
};

/// Where the data lies.
pub(crate) const DBS: [u32; 3] = [0, 1, 9];

/// A collection's sizes: alone, packed, just beyond the packed limits, a table of some size.
const SIZES: [usize; 5] = [1, 11, 129, 600, 4000];

/// What the data set is made for.
#[derive(Debug, Clone)]
pub(crate) struct Dataset {
    pub(crate) seed: u64,
    /// Plain keys beside the special ones, per database.
    pub(crate) small_keys: usize,
    /// The size of the largest string, of which each database has one.
    pub(crate) big_string_bytes: usize,
    /// What an older target has no word for is made only where the version has it, and this says so.
    pub(crate) field_ttls: bool,
    pub(crate) functions: bool,
    pub(crate) vector_sets: bool,
    /// Keys whose expiry passes within a few seconds.
    pub(crate) expiring: bool,
}

impl Dataset {
    pub(crate) fn seeded(seed: u64) -> Dataset {
        Dataset {
            seed,
            small_keys: 2000,
            big_string_bytes: 20 << 20,
            field_ttls: true,
            functions: true,
            vector_sets: true,
            expiring: true,
        }
    }

    /// What the target can hold, too.
    pub(crate) fn for_target(mut self, target: Version) -> Dataset {
        self.field_ttls = target.has_field_ttls();
        self.functions = target.has_functions();
        self.vector_sets = target.has_vector_sets();
        self
    }

    /// Writes it to a server.
    pub(crate) fn load(&self, server: &Server) {
        self.load_by(&mut server.client(), server.version());
    }

    /// Writes it to the server of this connection.
    pub(crate) fn load_by(&self, client: &mut Client, version: Version) {
        let mut writer = Loading {
            random: Random::seeded(self.seed),
            version,
            commands: Vec::new(),
        };
        for db in DBS {
            writer.commands.push(command!["SELECT", u64::from(db)]);
            writer.strings(self.small_keys, self.big_string_bytes);
            writer.lists();
            writer.sets();
            writer.zsets();
            writer.hashes();
            writer.streams();
            writer.expiries(self.expiring);
            if self.field_ttls {
                writer.field_ttls(client);
            }
            if self.vector_sets {
                writer.vector_sets(client);
            }
            client.pipeline(&std::mem::take(&mut writer.commands));
        }
        if self.functions && version.has_functions() {
            load_functions(client);
        }
    }
}

fn load_functions(client: &mut Client) {
    for (name, body) in [
        (
            "tides",
            "redis.register_function('high', function(keys, args) return #args end)",
        ),
        (
            "ropes",
            "redis.register_function{function_name='knot', callback=function(keys, args) return redis.call('GET', keys[1]) end, flags={'no-writes'}}",
        ),
    ] {
        let code = format!("#!lua name={name}\n{body}");
        client.run(command!["FUNCTION", "LOAD", "REPLACE", code]);
    }
}

struct Loading {
    random: Random,
    version: Version,
    commands: Vec<Command>,
}

impl Loading {
    fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    fn strings(&mut self, small_keys: usize, big_string_bytes: usize) {
        for n in 0..small_keys {
            let len = self.random.below(64) as usize;
            let value = self.random.bytes(len);
            self.push(command!["SET", format!("small:{n}"), value]);
        }
        // Around the length encodings of the RDB (6 bits, 14 bits, 32 bits) and LZF's limits.
        for len in [
            0,
            1,
            4,
            5,
            20,
            21,
            63,
            64,
            100,
            16_383,
            16_384,
            70_000,
            1 << 20,
        ] {
            let (bytes, text) = (self.random.bytes(len), self.random.text(len));
            self.push(command!["SET", format!("string:bytes:{len}"), bytes]);
            self.push(command!["SET", format!("string:text:{len}"), text]);
            self.push(command![
                "SET",
                format!("string:zeros:{len}"),
                vec![0u8; len]
            ]);
        }
        for number in [
            "0",
            "-1",
            "127",
            "-128",
            "128",
            "32767",
            "-32769",
            "2147483647",
            "-2147483648",
            "2147483648",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "007",
            "+1",
            "-0",
            "1e5",
            " 1",
        ] {
            self.push(command!["SET", format!("string:number:{number}"), number]);
        }
        let big = self.random.bytes(big_string_bytes);
        self.push(command!["SET", "string:big", big]);
        self.push(command!["SET", "", "the empty key"]);
        self.push(command![
            "SET",
            b"\x00\xff\r\n\"binary\"",
            b"\r\n$-1\r\n\x00"
        ]);
        let long_key = self.random.text(5000);
        self.push(command!["SET", long_key, "a long key"]);
        for bit in [0, 7, 100_000] {
            self.push(command!["SETBIT", "bitmap", bit, 1]);
        }
        for n in 0..3000 {
            let dense = n % 3 == 0 || n < 20;
            let key = if dense { "hll:dense" } else { "hll:sparse" };
            if dense || n < 300 {
                let element = self.random.next();
                self.push(command!["PFADD", key, element]);
            }
        }
        self.push(command![
            "PFMERGE",
            "hll:pfmerge",
            "hll:dense",
            "hll:sparse"
        ]);
        self.push(command!["PFCOUNT", "hll:dense"]);
    }

    fn lists(&mut self) {
        for size in SIZES {
            for n in 0..size {
                let element = self.element(n);
                self.push(command!["RPUSH", format!("list:{size}"), element]);
            }
        }
        // Elements beyond the size of a quicklist node stand in nodes of their own.
        for len in [8_000, 10_000, 70_000, 300_000] {
            let (bytes, text) = (self.random.bytes(len), self.random.text(len));
            self.push(command![
                "RPUSH",
                "list:big-elements",
                bytes,
                "between",
                text
            ]);
        }
        self.push(command![
            "RPUSH",
            "list:ends",
            "",
            "",
            "-1",
            "9223372036854775807"
        ]);
    }

    fn sets(&mut self) {
        for size in SIZES {
            for (name, width) in [("16", 1 << 15), ("32", 1 << 31), ("64", i64::MAX as u64)] {
                let key = format!("set:int{name}:{size}");
                for n in 0..size {
                    let member = self.random.below(width) as i64;
                    let sign = if n % 2 == 0 { 1 } else { -1 };
                    self.push(command!["SADD", key, member * sign]);
                }
            }
            for n in 0..size {
                let member = self.element(n);
                self.push(command!["SADD", format!("set:mixed:{size}"), member]);
            }
        }
        self.push(command!["SADD", "set:empty-member", ""]);
    }

    fn zsets(&mut self) {
        for size in SIZES {
            for n in 0..size {
                let (score, member) = (self.random.score(), self.element(n));
                self.push(command!["ZADD", format!("zset:{size}"), score, member]);
            }
        }
        for (score, member) in [
            ("inf", "+inf"),
            ("-inf", "-inf"),
            ("-0", "-0"),
            ("0", "0"),
            ("0.1", "0.1"),
            ("1.7976931348623157e308", "max"),
            ("5e-324", "min"),
            ("9007199254740993", "2^53+1"),
            ("3.141592653589793", ""),
        ] {
            self.push(command!["ZADD", "zset:edges", score, member]);
        }
        for (lon, lat, place) in [
            ("13.361389", "38.115556", "Palermo"),
            ("-9.139337", "38.722252", "Lisboa"),
        ] {
            self.push(command!["GEOADD", "geo", lon, lat, place]);
        }
    }

    fn hashes(&mut self) {
        for size in SIZES {
            for n in 0..size {
                let value = self.element(n + 1);
                self.push(command![
                    "HSET",
                    format!("hash:{size}"),
                    format!("field:{n}"),
                    value
                ]);
            }
        }
        let long = self.random.text(9000);
        self.push(command![
            "HSET",
            "hash:long-value",
            "",
            "",
            b"\x00\xfe",
            long,
            "n",
            "-7"
        ]);
    }

    fn streams(&mut self) {
        self.push(command!["XADD", "stream:empty", "5-1", "a", "1"]);
        self.push(command!["XDEL", "stream:empty", "5-1"]);
        for (key, entries) in [("stream:few", 5), ("stream:many", 1500)] {
            for n in 1..=entries {
                let value = self.element(n);
                let mut add = command![
                    "XADD",
                    key,
                    format!("{}-{}", 1000 + n / 3, n),
                    "n",
                    n,
                    "v",
                    value
                ];
                // Entries with fields of their own are stored apart from those of the first.
                if n % 7 == 0 {
                    add.extend(command!["extra", b"\x00\r\n"]);
                }
                self.push(add);
            }
        }
        for n in [2, 5, 700, 1499] {
            let id = format!("{}-{n}", 1000 + n / 3);
            self.push(command!["XDEL", "stream:many", id]);
        }
        self.push(command!["XTRIM", "stream:many", "MAXLEN", "1400"]);
        self.push(command![
            "XADD",
            "stream:max-id",
            "18446744073709551615-18446744073709551615",
            "",
            ""
        ]);
        for (group, start) in [("early", "0"), ("late", "$"), ("", "1100-301")] {
            self.push(command!["XGROUP", "CREATE", "stream:many", group, start]);
        }
        for (consumer, count) in [("anna", "40"), ("b\x00ert", "25"), ("", "3")] {
            self.push(command![
                "XREADGROUP",
                "GROUP",
                "early",
                consumer,
                "COUNT",
                count,
                "STREAMS",
                "stream:many",
                ">"
            ]);
        }
        let acked: Vec<usize> = vec![110, 111, 130];
        for n in acked {
            let id = format!("{}-{n}", 1000 + n / 3);
            self.push(command!["XACK", "stream:many", "early", id]);
        }
        // A pending entry that was deleted since.
        self.push(command![
            "XDEL",
            "stream:many",
            format!("{}-{}", 1000 + 120 / 3, 120)
        ]);
        self.push(command![
            "XGROUP",
            "CREATE",
            "stream:made",
            "g",
            "$",
            "MKSTREAM"
        ]);
    }

    fn expiries(&mut self, expiring: bool) {
        for (name, ttl_ms) in [
            ("hour", 3_600_000u64),
            ("year", 31_536_000_000),
            ("centuries", 1 << 43),
        ] {
            self.push(command!["SET", format!("ttl:{name}"), name, "PX", ttl_ms]);
            for (kind, add) in [
                ("list", command!["RPUSH", "ttl:list", "a"]),
                ("hash", command!["HSET", "ttl:hash", "a", "1"]),
                ("zset", command!["ZADD", "ttl:zset", "1", "a"]),
                ("stream", command!["XADD", "ttl:stream", "*", "a", "1"]),
            ] {
                self.push(add);
                self.push(command!["PEXPIRE", format!("ttl:{kind}"), ttl_ms + 77]);
            }
        }
        if expiring {
            for n in 0..300u64 {
                let ttl_ms = 1 + self.random.below(6000);
                self.push(command!["SET", format!("ttl:soon:{n}"), n, "PX", ttl_ms]);
                self.push(command!["RPUSH", format!("ttl:soon-list:{n}"), n]);
                self.push(command!["PEXPIRE", format!("ttl:soon-list:{n}"), ttl_ms]);
            }
        }
    }

    fn field_ttls(&mut self, client: &mut Client) {
        if !client.knows("HPEXPIRE") {
            return;
        }
        for size in SIZES {
            let key = format!("hash:ttl:{size}");
            for n in 0..size {
                let name = format!("field:{n}");
                self.push(command!["HSET", key, name, n]);
                let ttl_ms = 600_000 + self.random.below(1 << 40);
                if n % 3 != 1 {
                    self.push(command!["HPEXPIRE", key, ttl_ms, "FIELDS", 1, name]);
                }
            }
        }
        for n in 0..50 {
            self.push(command![
                "HSET",
                "hash:ttl:soon",
                format!("f{n}"),
                n,
                "stays",
                "1"
            ]);
            let ttl_ms = 1 + self.random.below(5000);
            self.push(command![
                "HPEXPIRE",
                "hash:ttl:soon",
                ttl_ms,
                "FIELDS",
                1,
                format!("f{n}")
            ]);
        }
        self.push(command!["HSET", "hash:ttl:both", "f", "1", "g", "2"]);
        self.push(command![
            "HPEXPIRE",
            "hash:ttl:both",
            7_200_000,
            "FIELDS",
            1,
            "f"
        ]);
        self.push(command!["PEXPIRE", "hash:ttl:both", 3_600_000]);
    }

    fn vector_sets(&mut self, client: &mut Client) {
        if !client.knows("VADD") {
            return;
        }
        for quantization in ["NOQUANT", "Q8", "BIN"] {
            let key = format!("vectors:{quantization}");
            for n in 0..60 {
                let mut add = command!["VADD", key, "VALUES", 4];
                for _ in 0..4 {
                    add.extend(command![self.random.below(2000) as f64 / 1000.0 - 1.0]);
                }
                add.extend(command![format!("element:{n}"), quantization]);
                if n % 4 == 0 {
                    add.extend(command!["SETATTR", format!("{{\"n\":{n}}}")]);
                }
                self.push(add);
            }
        }
    }

    /// An element of every storage kind: small and large numbers, text, bytes; unique by `n`.
    fn element(&mut self, n: usize) -> Vec<u8> {
        let number = n as i64;
        match n % 9 {
            0 => number.to_string().into_bytes(),
            1 => (-number * 300).to_string().into_bytes(),
            2 => (number << 20).to_string().into_bytes(),
            3 => (number << 40).to_string().into_bytes(),
            4 => (i64::MAX - number).to_string().into_bytes(),
            5 => [self.random.text(70), number.to_string().into_bytes()].concat(),
            6 if n.is_multiple_of(5) => {
                [self.random.bytes(300), number.to_string().into_bytes()].concat()
            }
            _ => [self.random.bytes(6), number.to_string().into_bytes()].concat(),
        }
    }
}
