//! What the target is, and what it therefore understands.

use std::fmt;

use bytes::Bytes;

use crate::keyspace::{Loss, UnixMs};
pub use crate::rdb::Flavor;
use crate::rdb::{self, Family, FieldExpiry, Limits, ServerVersion, ValueType};

/// The names of value types that well-known modules bring, and of those modules.
const MODULE_OF_TYPE: [(&str, &str); 9] = [
    ("ReJSON-RL", "rejson"),
    ("MBbloom--", "bf"),
    ("MBbloomCF", "bf"),
    ("CMSk-TYPE", "bf"),
    ("TopK-TYPE", "bf"),
    ("TDIS-TYPE", "bf"),
    ("TSDB-TYPE", "timeseries"),
    ("ft_index0", "search"),
    ("graphdata", "graph"),
];

/// The oldest release of Redis that is written to: the first that discards a whole transaction
/// whichever way one command is refused.
pub const OLDEST: (u16, u16) = (6, 0);

/// The longest value of a module, in bytes, that is held to be written by one RESTORE.
pub const MODULE_BYTES_MAX: usize = 512 << 20;

/// What a server takes in one argument unless told otherwise (`proto-max-bulk-len`).
pub(super) const BULK_BYTES_MAX_DEFAULT: u64 = 512 * 1024 * 1024;

/// What the target was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its family.
    pub flavor: Flavor,
    /// Major, minor and patch of its release.
    pub version: (u16, u16, u16),
    /// Names of the modules it has loaded, lower case; vector sets are not among them.
    pub modules: Vec<String>,
    /// The longest single argument it takes, in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: u64,
    /// How many databases it has.
    pub databases: u32,
}

/// `Redis 7.0.15`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.server_version(), self.version.2)
    }
}

impl Target {
    /// A server of this release as it is unless told otherwise, without modules.
    pub fn of_version(server: ServerVersion) -> Target {
        Target {
            flavor: server.flavor,
            version: (server.major, server.minor, 0),
            modules: Vec::new(),
            bulk_bytes_max: BULK_BYTES_MAX_DEFAULT,
            databases: u32::MAX,
        }
    }

    /// The longest body that one RESTORE may carry, when `wanted` is asked for.
    pub fn payload_bytes_max(&self, wanted: usize) -> usize {
        // Type, version and checksum stand around the body.
        const FRAME_BYTES: u64 = 11;
        let bytes_max = self.bulk_bytes_max.saturating_sub(FRAME_BYTES);
        wanted.min(usize::try_from(bytes_max).unwrap_or(usize::MAX))
    }

    /// The line of releases it belongs to, which knows what it loads.
    pub fn server_version(&self) -> ServerVersion {
        ServerVersion::new(self.flavor, self.version.0, self.version.1)
    }

    /// Whether it is a Redis of at least this release.
    pub fn is_redis_from(&self, major: u16, minor: u16) -> bool {
        self.server_version().is_redis_from(major, minor)
    }

    /// Whether it is a Valkey of at least this release.
    pub fn is_valkey_from(&self, major: u16, minor: u16) -> bool {
        self.server_version().is_valkey_from(major, minor)
    }

    /// Whether it is of at least this release of the common line (up to 7.2).
    ///
    /// Valkey forked from Redis 7.2, so every Valkey has all of it.
    pub fn has_common(&self, major: u16, minor: u16) -> bool {
        self.server_version().has_common(major, minor)
    }

    /// Whether it can be told to expire nothing by its own clock (`import-mode`).
    pub fn has_import_mode(&self) -> bool {
        self.is_valkey_from(8, 1)
    }

    /// Whether hashes can have fields with their own expiry (HPEXPIREAT).
    pub fn has_field_expiry(&self) -> bool {
        self.server_version().has_field_expiry()
    }

    /// The field expiry nearest to this one that it takes. Redis ends at 2^46 ms
    /// (`HFE_MAX_ABS_TIME_MSEC`, redis 7.4 t_hash.c), the year 4199.
    pub(super) fn field_expiry_within(&self, expire_at_ms: UnixMs) -> UnixMs {
        const REDIS_MAX_MS: UnixMs = (1 << 46) - 1;
        match self.flavor {
            Flavor::Redis => expire_at_ms.min(REDIS_MAX_MS),
            Flavor::Valkey => expire_at_ms,
        }
    }

    /// Whether its RESTORE refuses a value without elements, as servers do from 7.0 on.
    pub(super) fn refuses_empty_values(&self) -> bool {
        self.has_common(7, 0)
    }

    /// Whether it has function libraries.
    pub fn has_functions(&self) -> bool {
        self.server_version().has_functions()
    }

    /// How a hash with expiring fields is encoded for its RESTORE.
    pub fn field_expiry(&self) -> FieldExpiry {
        self.server_version().field_expiry()
    }

    /// The newest type of streams that its RESTORE takes.
    pub fn newest_stream(&self) -> u8 {
        // Targets before Redis 6.0 are refused.
        self.server_version().newest_stream().unwrap_or(15)
    }

    /// The type in which its RESTORE takes a stream of this type.
    pub(crate) fn stream_type_for(&self, from: ValueType) -> ValueType {
        match self.restores(from) {
            true => from,
            false => ValueType::common(self.newest_stream()),
        }
    }

    /// Whether it has the module that the values of this type belong to.
    ///
    /// A target without it must never be sent such a value: up to 6.0 the server exits.
    pub fn restores_module(&self, type_name: &str) -> bool {
        if type_name == "vectorset" {
            return self.server_version().has_vector_sets();
        }
        let module = MODULE_OF_TYPE
            .iter()
            .find_map(|(name, module)| (*name == type_name).then_some(*module));
        match module {
            Some(module) => self.modules.iter().any(|loaded| loaded == module),
            // Types we do not know may belong to any of the modules it has.
            None => !self.modules.is_empty() && self.has_common(6, 2),
        }
    }

    /// The body of a module's value as the target reads it: vector sets have had two forms. What
    /// cannot be read stays as it is, for the target to answer.
    pub(crate) fn module_body(&self, type_name: &str, body: &Bytes) -> Bytes {
        if type_name != "vectorset" || self.server_version().loads_newest_vector_sets() {
            return body.clone();
        }
        let module = ValueType::common(7);
        let converted = rdb::convert(body.clone(), module, module, &Limits::default());
        converted.map_or_else(|_| body.clone(), |converted| converted.body.into())
    }

    /// What is lost with a value of this type because the target has no such thing, and no
    /// commands make one; `None` for what RESTORE or commands can write.
    pub fn loses(&self, value_type: ValueType) -> Option<Loss> {
        if self.restores(value_type) {
            return None;
        }
        match (value_type.byte, value_type.family) {
            (28, Family::Redis) => Some(Loss::Array),
            (64, Family::Redis) => Some(Loss::CronJob),
            (33..=37, Family::Dragonfly) => Some(Loss::DragonflyValue),
            (_, Family::VectorSets) if !self.restores_module("vectorset") => Some(Loss::VectorSet),
            _ if value_type.is_json() && !self.restores_module("ReJSON-RL") => Some(Loss::Json),
            _ => None,
        }
    }

    /// The version to write into the footer of a RESTORE payload.
    ///
    /// The version only gates; the type byte decides how the body is read. Every server takes
    /// the oldest one. Valkey 9 reads its own type 22 only under its own version, and bytes that
    /// Dragonfly uses up to version 9 get the one that Redis wrote them with first.
    pub fn payload_version(&self, value_type: ValueType) -> u16 {
        match (value_type.byte, value_type.family) {
            (22, Family::Valkey) => 80,
            (20, _) => 11,
            (29 | 31, _) => 15,
            _ => 6,
        }
    }

    /// Whether its RESTORE takes a body of this type, with the footer rewritten.
    pub fn restores(&self, value_type: ValueType) -> bool {
        self.server_version().loads(value_type)
    }
}
