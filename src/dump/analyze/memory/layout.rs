//! How servers of one generation lay out keys and values in memory.

use crate::rdb::{Flavor, ServerVersion};

use super::tables::Table;

/// A generation of servers that lay out memory alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Generation {
    /// Redis up to 6.2, apart from the streams of 6.2.
    Redis6,
    /// Redis 6.2: nodes of streams are reserved in full.
    Redis62,
    /// Redis 7.0: smaller dicts.
    Redis7,
    /// Redis 7.2 to 8.0, Valkey 7.2: sets without entries, small lists without a quicklist.
    Redis72,
    /// Valkey 8.0: keys stand in their entries.
    Valkey80,
    /// Valkey 8.1: keys stand in their objects; buckets of a cache line.
    Valkey81,
    /// Valkey from 9.0 on: short strings need no pointer, members stand in their skiplist nodes.
    Valkey9,
    /// Redis from 8.2 on: keys stand in their objects, members in their skiplist nodes.
    Redis82,
}

/// Where the name of a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// In an allocation of its own.
    Own,
    /// In the entry of the db's dict, whose size it decides: `valkey 8.0 dict.c dictEntryEmbedded`.
    Entry,
    /// In the object of the value: `valkey 8.1 object.c createObjectWithKeyAndExpire`.
    Object {
        /// A string is kept in the object as well while all of it is no larger.
        embedded_bytes_max: u64,
        /// The object of a string that is kept in it does without the pointer to it.
        saves_pointer: bool,
    },
}

/// The sizes that differ between generations, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) key: KeyPlace,
    /// The dict of a db.
    pub(super) db_table: Table,
    /// The dict of the keys that expire.
    pub(super) expires_table: Table,
    pub(super) set_table: Table,
    pub(super) zset_table: Table,
    pub(super) hash_table: Table,
    /// The header of a dict or hashtable.
    pub(super) table_header: u64,
    /// A field of a hash and its value share one allocation while they are small.
    pub(super) hash_entry_embedded: bool,
    /// The member of a sorted set stands in its skiplist node.
    pub(super) zset_member_embedded: bool,
    /// A list of one packed node needs no quicklist.
    pub(super) list_packed: bool,
    /// The bytes that the newest node of a stream takes at least.
    pub(super) stream_node_min: u64,
    pub(super) stream_header: u64,
    /// `streamNACK`, and whatever else points at a pending entry.
    pub(super) pending_extra: u64,
}

impl Generation {
    /// The generation that a server belongs to.
    pub(super) fn of(server: ServerVersion) -> Generation {
        match (server.flavor, server.major, server.minor) {
            (Flavor::Valkey, ..=7, _) => Generation::Redis72,
            (Flavor::Valkey, 8, 0) => Generation::Valkey80,
            (Flavor::Valkey, 8, _) => Generation::Valkey81,
            (Flavor::Valkey, ..) => Generation::Valkey9,
            (Flavor::Redis, 6, 2..) => Generation::Redis62,
            (Flavor::Redis, ..=6, _) => Generation::Redis6,
            (Flavor::Redis, 7, ..=1) => Generation::Redis7,
            (Flavor::Redis, 7, _) | (Flavor::Redis, 8, ..=1) => Generation::Redis72,
            (Flavor::Redis, ..) => Generation::Redis82,
        }
    }

    pub(super) fn layout(self) -> Layout {
        let redis6 = Layout {
            key: KeyPlace::Own,
            db_table: Table::Entries,
            expires_table: Table::Entries,
            set_table: Table::Entries,
            zset_table: Table::Entries,
            hash_table: Table::Entries,
            table_header: 96,
            hash_entry_embedded: false,
            zset_member_embedded: false,
            list_packed: false,
            stream_node_min: 0,
            stream_header: 40,
            pending_extra: 0,
        };
        let redis62 = Layout {
            stream_node_min: 4096,
            ..redis6
        };
        let redis7 = Layout {
            table_header: 56,
            stream_header: 80,
            ..redis62
        };
        let redis72 = Layout {
            set_table: Table::NoValue,
            list_packed: true,
            ..redis7
        };
        let valkey81 = Layout {
            key: KeyPlace::Object {
                embedded_bytes_max: 64,
                saves_pointer: false,
            },
            db_table: Table::Buckets,
            expires_table: Table::Buckets,
            set_table: Table::Buckets,
            zset_table: Table::Buckets,
            hash_table: Table::Buckets,
            table_header: 80,
            hash_entry_embedded: true,
            ..redis72
        };
        match self {
            Generation::Redis6 => redis6,
            Generation::Redis62 => redis62,
            Generation::Redis7 => redis7,
            Generation::Redis72 => redis72,
            Generation::Valkey80 => Layout {
                key: KeyPlace::Entry,
                ..redis72
            },
            Generation::Valkey81 => valkey81,
            Generation::Valkey9 => Layout {
                key: KeyPlace::Object {
                    embedded_bytes_max: 128,
                    saves_pointer: true,
                },
                zset_member_embedded: true,
                ..valkey81
            },
            Generation::Redis82 => Layout {
                key: KeyPlace::Object {
                    embedded_bytes_max: 64,
                    saves_pointer: false,
                },
                db_table: Table::NoValue,
                expires_table: Table::NoValue,
                zset_table: Table::NoValue,
                hash_table: Table::NoValue,
                hash_entry_embedded: true,
                zset_member_embedded: true,
                // A reference to its groups by entry (a tree, a list and its node), a larger NACK.
                pending_extra: 168,
                ..redis72
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_belong_to_generations() {
        for (server, expected) in [
            ("redis-2.8", Generation::Redis6),
            ("redis-6.0", Generation::Redis6),
            ("redis-6.2", Generation::Redis62),
            ("redis-7.0", Generation::Redis7),
            ("redis-7.2", Generation::Redis72),
            ("redis-7.4", Generation::Redis72),
            ("redis-8.0", Generation::Redis72),
            ("redis-8.2", Generation::Redis82),
            ("redis-9.0", Generation::Redis82),
            ("valkey-7.2", Generation::Redis72),
            ("valkey-8.0", Generation::Valkey80),
            ("valkey-8.1", Generation::Valkey81),
            ("valkey-9.1", Generation::Valkey9),
        ] {
            assert_eq!(
                Generation::of(server.parse().unwrap()),
                expected,
                "{server}"
            );
        }
    }
}
