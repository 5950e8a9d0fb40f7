//! The logical types of values, which the type bytes of an RDB are encodings of.

use super::value_type::{Family, ValueType};

/// The logical type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A type of a module.
    Module,
    /// An array of Redis 8.8.
    Array,
    /// A JSON document of Dragonfly.
    Json,
    /// A filter or sketch of Dragonfly, a job of KeyDB.
    Other,
}

impl KeyType {
    /// All of them, in the order they are shown.
    pub const ALL: [KeyType; 10] = [
        KeyType::String,
        KeyType::List,
        KeyType::Set,
        KeyType::Zset,
        KeyType::Hash,
        KeyType::Stream,
        KeyType::Module,
        KeyType::Array,
        KeyType::Json,
        KeyType::Other,
    ];

    /// The type of values that an RDB has under this type byte.
    pub fn of(value_type: ValueType) -> KeyType {
        match value_type.byte {
            _ if value_type.is_json() => KeyType::Json,
            _ if value_type.family == Family::Dragonfly && value_type.byte == 32 => KeyType::Set,
            28 => KeyType::Array,
            33..=37 | 64 => KeyType::Other,
            0 => KeyType::String,
            1 | 10 | 14 | 18 => KeyType::List,
            2 | 11 | 20 => KeyType::Set,
            3 | 5 | 12 | 17 => KeyType::Zset,
            _ if value_type.is_stream() => KeyType::Stream,
            _ if value_type.is_module() => KeyType::Module,
            // What remains are the many encodings of hashes.
            _ => KeyType::Hash,
        }
    }

    /// Its name, as `TYPE` spells it (and `module`, `json`, `other`).
    pub fn name(self) -> &'static str {
        match self {
            KeyType::String => "string",
            KeyType::List => "list",
            KeyType::Set => "set",
            KeyType::Zset => "zset",
            KeyType::Hash => "hash",
            KeyType::Stream => "stream",
            KeyType::Module => "module",
            KeyType::Array => "array",
            KeyType::Json => "json",
            KeyType::Other => "other",
        }
    }
}
