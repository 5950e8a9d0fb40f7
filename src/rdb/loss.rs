//! What a server cannot hold of the content of an RDB.

use std::fmt;

/// A kind of thing that a server's RDB has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The own expiry of a hash field (before Redis 7.4, Valkey 9.0).
    FieldExpiry,
    /// A stream (before Redis 5.0).
    Stream,
    /// The ids by which a stream recognises repeated XADDs (before Redis 8.6), once a stream.
    StreamIdempotency,
    /// That a pending entry of a stream is owned by no consumer (before Redis 8.8): one gets it.
    NackedEntry,
    /// The own expiry of a member of a set or sorted set (elsewhere than on KeyDB, Dragonfly), or
    /// that KeyDB gave to a field.
    MemberExpiry,
    /// An array (elsewhere than on Redis 8.8 or later).
    Array,
    /// A JSON document of Dragonfly.
    Json,
    /// A job of KeyDB's `KEYDB.CRON`.
    CronJob,
    /// A filter, sketch or list of top elements of Dragonfly.
    DragonflyValue,
    /// A vector set (elsewhere than on Redis 8.0 or later).
    VectorSet,
    /// A value of a module.
    ModuleValue,
    /// What modules keep beside an ordinary key.
    ModuleMetadata,
    /// A function library (before 7.0).
    Function,
}

impl Loss {
    /// Its name in machine-readable reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::FieldExpiry => "field_expiry",
            Self::Stream => "stream",
            Self::StreamIdempotency => "stream_idempotency",
            Self::NackedEntry => "nacked_entry",
            Self::MemberExpiry => "member_expiry",
            Self::Array => "array",
            Self::Json => "json",
            Self::CronJob => "cron_job",
            Self::DragonflyValue => "dragonfly_value",
            Self::VectorSet => "vectorset",
            Self::ModuleValue => "module_value",
            Self::ModuleMetadata => "module_metadata",
            Self::Function => "function",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldExpiry => "the expiry of a hash field",
            Self::Stream => "a stream",
            Self::StreamIdempotency => "an id by which a stream recognises repeated entries",
            Self::NackedEntry => "a pending stream entry without an owner",
            Self::MemberExpiry => "the expiry of a member",
            Self::Array => "an array",
            Self::Json => "a JSON document",
            Self::CronJob => "a cron job",
            Self::DragonflyValue => "a filter or sketch of Dragonfly",
            Self::VectorSet => "a vector set",
            Self::ModuleValue => "a value of a module",
            Self::ModuleMetadata => "the metadata of a module",
            Self::Function => "a function library",
        })
    }
}

/// How often something was lost, by kind.
#[derive(Debug, Default)]
pub(crate) struct Losses(std::collections::BTreeMap<Loss, u64>);

impl Losses {
    pub(crate) fn add(&mut self, loss: Loss, count: u64) {
        if count > 0 {
            *self.0.entry(loss).or_default() += count;
        }
    }

    /// Counts what is lost of a value as a whole.
    pub(crate) fn add_once(&mut self, loss: Loss) {
        self.0.insert(loss, 1);
    }

    /// Takes one kind out.
    pub(crate) fn take(&mut self) -> Option<(Loss, u64)> {
        self.0.pop_first()
    }
}
