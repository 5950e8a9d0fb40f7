//! The type byte of a value, and whose it is.

/// Whose type bytes those of an RDB are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Redis's, and what all others took over from it.
    Redis,
    /// Valkey's: the `VALKEY` magic, or a payload version from 80 on.
    Valkey,
    /// Dragonfly's: the AUX field `df-ver` and a version up to 9.
    Dragonfly,
}

/// The type byte of a value, told apart by the family that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// The type byte, as in rdb.h (`RDB_TYPE_...`).
    pub byte: u8,
    /// Whose type it is: 22 of Valkey is none of Redis.
    pub family: Family,
}

impl ValueType {
    /// A type of Redis, which most of Valkey's and Dragonfly's are.
    pub const fn common(byte: u8) -> ValueType {
        ValueType::of(byte, Family::Redis)
    }

    /// A type of a family.
    pub const fn of(byte: u8, family: Family) -> ValueType {
        ValueType { byte, family }
    }

    /// Whether it is a stream of any version.
    pub fn is_stream(self) -> bool {
        matches!(self.byte, 15 | 19 | 21 | 26 | 27)
    }

    /// Whether it has no content that can be said, only a body: the value of a module, or a filter
    /// or sketch of Dragonfly. (Some of the former have: vector sets.)
    pub fn is_opaque(self) -> bool {
        self.is_module() || (self.family == Family::Dragonfly && matches!(self.byte, 33..=37))
    }

    /// Whether it is a document in JSON, which only Dragonfly keeps without a module.
    pub fn is_json(self) -> bool {
        self.family == Family::Dragonfly && matches!(self.byte, 20 | 30)
    }

    /// Whether it is a hash whose field names stand in a template outside the value, so that its
    /// body says nothing by itself (Redis 8.10+).
    pub fn needs_template(self) -> bool {
        self.family == Family::Redis && matches!(self.byte, 30 | 32)
    }

    /// Whether it is the value of a module.
    pub fn is_module(self) -> bool {
        self.byte == 7
    }

    /// Whether it is a hash whose fields can have their own expiry.
    pub fn has_field_expiry(self) -> bool {
        matches!(self.byte, 22..=25) || (self.byte == 31 && self.family == Family::Dragonfly)
    }
}
