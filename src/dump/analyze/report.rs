//! What an analysis found; `docs/rdb.md` describes its JSON.

use serde::Serialize;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Flavor, Header, ServerVersion},
};

use super::{
    Allocator, DbBranch, MemoryModel, Name, Sums, TopKey, TreeOptions, TtlBucket, top::number,
};

/// The format of the JSON: fields may be added to it, nothing else changes without a new number.
pub(super) const FORMAT: u32 = 1;

/// What takes the memory of a server with these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// 1.
    pub format: u32,
    /// The file, `standard input`, or the source.
    pub input: String,
    /// How long the RDB is, without what it was wrapped in.
    pub rdb_bytes: u64,
    /// Keys that the filter did not select, which no other number includes.
    pub keys_not_selected: u64,
    /// What the RDB says about where it comes from.
    pub saved_by: SavedBy,
    /// Whose memory is estimated.
    pub model: Model,
    /// The time that TTLs count from: when the RDB was written, if it says so.
    pub now_ms: UnixMs,
    /// All keys.
    pub totals: Sums,
    /// What the tables of all dbs take, in memory, beside the keys.
    pub table_bytes: u64,
    /// By db, in order.
    pub dbs: Vec<DbSums>,
    /// By type and encoding, in order.
    pub types: Vec<TypeSums>,
    /// By the time that is left.
    pub ttl: Vec<TtlBucket>,
    /// How keys were cut into prefixes.
    pub prefixes: Prefixes,
    /// By prefix.
    pub tree: Vec<DbBranch>,
    /// The keys that take the most memory, largest first.
    pub top: Vec<TopKey>,
}

/// What an RDB says about where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SavedBy {
    /// The version of the format.
    pub rdb_version: u16,
    /// The server and its version, such as `redis-7.2.6` or `valkey-8.1.1`.
    pub server: Option<String>,
    /// When it was written.
    pub saved_at_ms: Option<UnixMs>,
    /// The `used_memory` of the server at that time.
    pub used_memory_bytes: Option<u64>,
}

/// Whose memory is estimated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    /// The server, such as `Redis 7.2`.
    pub server: String,
    /// Its allocator.
    pub allocator: &'static str,
}

/// The keys of one db.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DbSums {
    /// The db.
    #[serde(serialize_with = "number")]
    pub db: Db,
    /// Its keys.
    #[serde(flatten)]
    pub sums: Sums,
    /// What its tables take, in memory, beside the keys.
    pub table_bytes: u64,
}

/// The keys of one type and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TypeSums {
    /// The type, as `TYPE` names it.
    #[serde(rename = "type")]
    pub key_type: &'static str,
    /// The encoding, as `OBJECT ENCODING` names it.
    pub encoding: &'static str,
    /// The keys.
    #[serde(flatten)]
    pub sums: Sums,
}

/// How keys were cut into prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prefixes {
    /// The bytes behind which keys were cut.
    pub separators: Name,
    /// Whether segments that look like ids count as `*`.
    pub collapsed: bool,
    /// How many segments of a key were told apart.
    pub depth_max: usize,
    /// How many prefixes could be kept.
    pub kept_max: usize,
    /// How many prefixes were counted under a shorter one for that. One that came again counts again.
    pub folded: u64,
}

impl SavedBy {
    pub(super) fn header(&mut self, header: Header) {
        self.rdb_version = header.version;
    }

    pub(in crate::dump) fn aux(&mut self, name: &[u8], value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match name {
            b"valkey-ver" => self.server = Some(format!("valkey-{text}")),
            // Valkey also writes the version of Redis that it is compatible with.
            b"redis-ver" if self.server.is_none() => self.server = Some(format!("redis-{text}")),
            b"ctime" => {
                let seconds: Option<i64> = text.parse().ok().filter(|seconds| *seconds > 0);
                self.saved_at_ms = seconds.and_then(|seconds| seconds.checked_mul(1000));
            }
            b"used-mem" => self.used_memory_bytes = text.parse().ok(),
            _ => {}
        }
    }

    /// The model of the server that was asked for, or of the one that wrote the RDB.
    pub(in crate::dump) fn model(
        &self,
        asked: Option<ServerVersion>,
        allocator: Allocator,
    ) -> MemoryModel {
        // Servers before 3.2 do not say which they are.
        const UNNAMED: ServerVersion = ServerVersion::new(Flavor::Redis, 3, 0);
        let server = asked.or_else(|| release(self.server.as_deref()?));
        MemoryModel::new(server.unwrap_or(UNNAMED), allocator)
    }
}

/// The release of a server, without the patch: `redis-7.2` of `redis-7.2.6`.
fn release(server: &str) -> Option<ServerVersion> {
    let mut numbers = server.split('.');
    format!("{}.{}", numbers.next()?, numbers.next()?)
        .parse()
        .ok()
}

impl Model {
    pub(super) fn of(model: &MemoryModel) -> Model {
        Model {
            server: model.server().to_string(),
            allocator: model.allocator().name(),
        }
    }
}

impl Prefixes {
    pub(super) fn of(options: &TreeOptions, folded: u64) -> Prefixes {
        Prefixes {
            separators: Name::of(&options.segmenting.separators),
            collapsed: options.segmenting.collapse,
            depth_max: options.depth_max,
            kept_max: options.nodes_max,
            folded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aux_fields_say_who_wrote_it() {
        for (fields, server, saved_at_ms) in [
            (
                &[("redis-ver", "7.2.6"), ("ctime", "5")][..],
                Some("redis-7.2.6"),
                Some(5000),
            ),
            (
                &[("valkey-ver", "8.1.1"), ("redis-ver", "7.2.4")],
                Some("valkey-8.1.1"),
                None,
            ),
            (
                &[("redis-ver", "7.2.4"), ("valkey-ver", "9.0.0")],
                Some("valkey-9.0.0"),
                None,
            ),
            (
                &[
                    ("ctime", "x"),
                    ("ctime", "-1"),
                    ("ctime", "9223372036854775807"),
                ],
                None,
                None,
            ),
        ] {
            let mut saved_by = SavedBy::default();
            for (name, value) in fields {
                saved_by.aux(name.as_bytes(), value.as_bytes());
            }
            assert_eq!(saved_by.server.as_deref(), server);
            assert_eq!(saved_by.saved_at_ms, saved_at_ms);
        }
    }

    #[test]
    fn releases_are_read_without_the_patch() {
        for (server, shown) in [
            ("redis-7.2.6", Some("Redis 7.2")),
            ("valkey-8.1.1-rc1", Some("Valkey 8.1")),
            ("redis-255.255.255", Some("Redis 255.255")),
            ("redis-7", None),
            ("redis-x.y", None),
            ("", None),
        ] {
            let release = release(server).map(|server| server.to_string());
            assert_eq!(release.as_deref(), shown, "{server}");
        }
    }
}
