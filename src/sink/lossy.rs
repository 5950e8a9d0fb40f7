//! What a target cannot hold, by kind and key.

use std::fmt;

use bytes::Bytes;

use crate::{keyspace::Escaped, rdb};

/// A kind of thing that cannot be said on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The own expiry of a hash field (before Redis 7.4, Valkey 9.0).
    FieldExpiry,
    /// A function library (before 7.0).
    Function,
    /// A vector set (elsewhere than on Redis 8.0 or later).
    VectorSet,
    /// The result of a geo search by box, or of one that takes any hit (before 6.2).
    GeoSearch,
    /// A pending entry of a consumer whose stream entry was deleted, where commands write it.
    PendingOfDeletedEntry,
    /// What modules keep beside an ordinary key (8.6).
    ModuleMetadata,
    /// That a pending stream entry has no owner (before Redis 8.8): a consumer gets it.
    NackedEntry,
    /// The ids by which a stream recognises repeated XADDs (before Redis 8.6, or of entries that
    /// were deleted), once a stream.
    StreamIdempotency,
    /// The own expiry of a member of a set or sorted set, or that KeyDB gave to a field.
    MemberExpiry,
    /// An array (elsewhere than on Redis 8.8 or later).
    Array,
    /// A JSON document of Dragonfly (without the module for it).
    Json,
    /// A job of KeyDB's `KEYDB.CRON`.
    CronJob,
    /// A filter, sketch or top list of Dragonfly.
    DragonflyValue,
    /// A value of a module, or of a type that this program does not know.
    UnknownValue,
}

impl Loss {
    /// Its name in machine-readable reports.
    pub fn name(self) -> &'static str {
        match self {
            Loss::FieldExpiry => "field_expiry",
            Loss::Function => "function",
            Loss::VectorSet => "vectorset",
            Loss::GeoSearch => "geo_search",
            Loss::PendingOfDeletedEntry => "pending_of_deleted_entry",
            Loss::ModuleMetadata => "module_metadata",
            Loss::NackedEntry => "nacked_entry",
            Loss::StreamIdempotency => "stream_idempotency",
            Loss::MemberExpiry => "member_expiry",
            Loss::Array => "array",
            Loss::Json => "json",
            Loss::CronJob => "cron_job",
            Loss::DragonflyValue => "dragonfly_value",
            Loss::UnknownValue => "unknown_value",
        }
    }

    /// What a stream has lost that was written as an older type; `None` for bookkeeping, which is
    /// approximate everywhere.
    pub(crate) fn of_stream(loss: rdb::Loss) -> Option<Loss> {
        match loss {
            rdb::Loss::NackedEntry => Some(Loss::NackedEntry),
            rdb::Loss::StreamIdempotency => Some(Loss::StreamIdempotency),
            _ => None,
        }
    }

    /// What is lost with a value of this module type.
    pub(super) fn of_module(type_name: &str) -> Loss {
        match type_name {
            "vectorset" => Loss::VectorSet,
            _ => Loss::UnknownValue,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::FieldExpiry => "the expiry of a hash field",
            Loss::Function => "a function library",
            Loss::VectorSet => "a vector set",
            Loss::GeoSearch => "a geo search by box or for any hit",
            Loss::PendingOfDeletedEntry => "a pending stream entry that was deleted",
            Loss::ModuleMetadata => "the metadata of a module",
            Loss::NackedEntry => "a pending stream entry without an owner",
            Loss::StreamIdempotency => "an id by which a stream recognises repeated entries",
            Loss::MemberExpiry => "the expiry of a member",
            Loss::Array => "an array",
            Loss::Json => "a JSON document",
            Loss::CronJob => "a cron job",
            Loss::DragonflyValue => "a filter or sketch of Dragonfly",
            Loss::UnknownValue => "a value of a type it does not know",
        })
    }
}

/// One thing that could not be said on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lossy {
    /// What is left out.
    pub loss: Loss,
    /// The key it belongs to; empty where it belongs to none.
    pub key: Bytes,
}

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.loss, Escaped(&self.key))
    }
}
