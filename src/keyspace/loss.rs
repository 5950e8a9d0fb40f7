//! What a server cannot hold of the content of another one.

use std::fmt;

/// A kind of thing that a server has no place for, or that cannot be said to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The own expiry of a hash field (before Redis 7.4, Valkey 9.0).
    FieldExpiry,
    /// A function library (before 7.0).
    Function,
    /// A stream (before Redis 5.0).
    Stream,
    /// The ids by which a stream recognises repeated XADDs (before Redis 8.6, or by commands those of
    /// entries that were deleted), once a stream.
    StreamIdempotency,
    /// That a consumer gave a pending stream entry back (before Redis 8.8): one gets it.
    NackedEntry,
    /// That a consumer owns a pending stream entry which another one owns, too, by a bug of the
    /// source. The first one keeps it.
    ContestedEntry,
    /// A field or a member that stands in its value twice, with another value or score, as no server
    /// writes it. The first one stays.
    RepeatedElement,
    /// A pending entry of a consumer whose stream entry was deleted, which no command says.
    PendingOfDeletedEntry,
    /// The own expiry of a member of a set or sorted set (elsewhere than on KeyDB, Dragonfly), or
    /// that KeyDB gave to a field.
    MemberExpiry,
    /// A vector set (elsewhere than on Redis 8.0 or later).
    VectorSet,
    /// A value of a module.
    ModuleValue,
    /// A value of a module, or a vector set, that is longer than what the server takes at once.
    LongModuleValue,
    /// What modules keep beside an ordinary key (8.6).
    ModuleMetadata,
    /// An array (elsewhere than on Redis 8.8 or later).
    Array,
    /// A JSON document of Dragonfly (without the module for it).
    Json,
    /// A job of KeyDB's `KEYDB.CRON`.
    CronJob,
    /// A filter, sketch or list of top elements of Dragonfly.
    DragonflyValue,
    /// The result of a geo search by box, or of one that takes any hit (before 6.2).
    GeoSearch,
}

impl Loss {
    /// Its name in machine-readable reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::FieldExpiry => "field_expiry",
            Self::Function => "function",
            Self::Stream => "stream",
            Self::StreamIdempotency => "stream_idempotency",
            Self::NackedEntry => "nacked_entry",
            Self::ContestedEntry => "contested_entry",
            Self::RepeatedElement => "repeated_element",
            Self::PendingOfDeletedEntry => "pending_of_deleted_entry",
            Self::MemberExpiry => "member_expiry",
            Self::VectorSet => "vectorset",
            Self::ModuleValue => "module_value",
            Self::LongModuleValue => "long_module_value",
            Self::ModuleMetadata => "module_metadata",
            Self::Array => "array",
            Self::Json => "json",
            Self::CronJob => "cron_job",
            Self::DragonflyValue => "dragonfly_value",
            Self::GeoSearch => "geo_search",
        }
    }

    /// What is lost with a value of this module type.
    pub fn of_module(type_name: &str) -> Loss {
        match type_name {
            "vectorset" => Loss::VectorSet,
            _ => Loss::ModuleValue,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldExpiry => "the expiry of a hash field",
            Self::Function => "a function library",
            Self::Stream => "a stream",
            Self::StreamIdempotency => "an id by which a stream recognises repeated entries",
            Self::NackedEntry => "a pending stream entry that was given back",
            Self::ContestedEntry => "a second owner of a pending stream entry",
            Self::RepeatedElement => "a field or member that is there twice",
            Self::PendingOfDeletedEntry => "a pending stream entry that was deleted",
            Self::MemberExpiry => "the expiry of a member",
            Self::VectorSet => "a vector set",
            Self::ModuleValue => "a value of a module",
            Self::LongModuleValue => "a value of a module that is too long for one command",
            Self::ModuleMetadata => "the metadata of a module",
            Self::Array => "an array",
            Self::Json => "a JSON document",
            Self::CronJob => "a cron job",
            Self::DragonflyValue => "a filter or sketch of Dragonfly",
            Self::GeoSearch => "a geo search by box or for any hit",
        })
    }
}
