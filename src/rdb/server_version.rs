//! Which server loads what: the one table of releases, RDB versions and value types.
//!
//! Measured on Redis 2.8 to 8.6 and Valkey 7.2 to 9.1, for files and for RESTORE. What Redis 8.8
//! and 8.10 load is what they are reported to write.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::keyspace::Loss;

use super::event::Header;
use super::key_type::KeyType;
use super::opcode::VALKEY_VERSION_MIN;
use super::plain::FieldExpiry;
use super::value_type::{Family, ValueType};

/// Which family of servers one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavor {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

/// A line of releases of a server, such as Redis 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerVersion {
    /// Its family.
    pub flavor: Flavor,
    /// The first number of the release.
    pub major: u16,
    /// The second number of the release.
    pub minor: u16,
}

/// What does not name a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a server such as `redis-7.0` (2.8 to 8.10) or `valkey-8.1` (7.2 to 9.2)")]
pub struct NoSuchServer;

/// The RDB version that each line of Redis writes, the newest first.
const REDIS_VERSIONS: [((u16, u16), u16); 10] = [
    ((8, 10), 15),
    ((8, 8), 14),
    ((8, 6), 13),
    ((7, 4), 12),
    ((7, 2), 11),
    ((7, 0), 10),
    ((5, 0), 9),
    ((4, 0), 8),
    ((3, 2), 7),
    ((2, 8), 6),
];
/// The oldest and the newest lines that are known: what later ones load cannot be said.
const KNOWN: [(Flavor, RangeInclusive<(u16, u16)>); 2] = [
    (Flavor::Redis, (2, 8)..=(8, 10)),
    (Flavor::Valkey, (7, 2)..=(9, 2)),
];

/// The first lines of Redis and of Valkey that load a type.
struct First {
    redis: Option<(u16, u16)>,
    valkey: Option<(u16, u16)>,
}

/// What each value type came with. Valkey forked from Redis 7.2, so all of it has what that had.
fn first(value_type: ValueType) -> First {
    let common = |major, minor| First {
        redis: Some((major, minor)),
        valkey: Some((7, 2)),
    };
    let redis = |major, minor| First {
        redis: Some((major, minor)),
        valkey: None,
    };
    let nowhere = First {
        redis: None,
        valkey: None,
    };
    match value_type.byte {
        0..=4 | 9..=13 => common(2, 8),
        5 => common(4, 0),
        14 => common(3, 2),
        15 => common(5, 0),
        16..=19 => common(7, 0),
        // What Dragonfly shares with Redis lies below.
        20.. if value_type.family == Family::Dragonfly => nowhere,
        20 | 21 => common(7, 2),
        22 if value_type.family == Family::Valkey => First {
            redis: None,
            valkey: Some((9, 0)),
        },
        22..=25 => redis(7, 4),
        26 => redis(8, 6),
        27 | 28 => redis(8, 8),
        // As payloads have them; in files they refer to templates.
        29 | 31 => redis(8, 10),
        // 6 and 8 are in no release, 7 is a question of modules.
        _ => nowhere,
    }
}

impl ServerVersion {
    /// The release `major.minor` of a family.
    pub const fn new(flavor: Flavor, major: u16, minor: u16) -> ServerVersion {
        ServerVersion {
            flavor,
            major,
            minor,
        }
    }

    /// Whether it is a Redis of at least this release.
    pub fn is_redis_from(self, major: u16, minor: u16) -> bool {
        self.flavor == Flavor::Redis && (self.major, self.minor) >= (major, minor)
    }

    /// Whether it is a Valkey of at least this release.
    pub fn is_valkey_from(self, major: u16, minor: u16) -> bool {
        self.flavor == Flavor::Valkey && (self.major, self.minor) >= (major, minor)
    }

    /// Whether it is of at least this release of the common line (up to 7.2).
    ///
    /// Valkey forked from Redis 7.2, so every Valkey has all of it.
    pub fn has_common(self, major: u16, minor: u16) -> bool {
        self.flavor == Flavor::Valkey || self.is_redis_from(major, minor)
    }

    /// Whether hashes can have fields with their own expiry.
    pub fn has_field_expiry(self) -> bool {
        self.is_redis_from(7, 4) || self.is_valkey_from(9, 0)
    }

    /// Whether it has function libraries.
    pub fn has_functions(self) -> bool {
        self.has_common(7, 0)
    }

    /// Whether it has vector sets.
    pub fn has_vector_sets(self) -> bool {
        self.is_redis_from(8, 0)
    }

    /// Whether it loads vector sets as Redis 8.6 writes them. Redis 8.0 does not; the releases in
    /// between were not measured.
    pub fn loads_newest_vector_sets(self) -> bool {
        self.is_redis_from(8, 6)
    }

    /// How it encodes a hash with expiring fields.
    pub fn field_expiry(self) -> FieldExpiry {
        match self.flavor {
            _ if !self.has_field_expiry() => FieldExpiry::Drop,
            Flavor::Redis => FieldExpiry::Redis,
            Flavor::Valkey => FieldExpiry::Valkey,
        }
    }

    /// The newest type of streams that it loads, if it has streams.
    pub fn newest_stream(self) -> Option<u8> {
        [27, 26, 21, 19, 15]
            .into_iter()
            .find(|byte| self.loads(ValueType::common(*byte)))
    }

    /// Whether it loads a value of this type, from a file or by RESTORE with its own footer.
    ///
    /// Never true for the values of modules, which need the module.
    pub fn loads(self, value_type: ValueType) -> bool {
        let first = first(value_type);
        let first = match self.flavor {
            Flavor::Redis => first.redis,
            Flavor::Valkey => first.valkey,
        };
        first.is_some_and(|first| (self.major, self.minor) >= first)
    }

    /// How an RDB begins that it loads: with its own version.
    pub fn header(self) -> Header {
        if self.is_valkey_from(9, 0) {
            return Header {
                valkey: true,
                version: VALKEY_VERSION_MIN,
            };
        }
        // Up to 8.1, Valkey writes what Redis 7.2 does.
        let written = REDIS_VERSIONS
            .iter()
            .find(|((major, minor), _)| match self.flavor {
                Flavor::Redis => (self.major, self.minor) >= (*major, *minor),
                Flavor::Valkey => (*major, *minor) <= (7, 2),
            });
        Header {
            valkey: false,
            version: written.map_or(6, |(_, version)| *version),
        }
    }

    /// The type that a value of this type is given for it: its own where it loads that, or else
    /// one that [`Altitude::Converted`](super::Altitude::Converted) can write.
    ///
    /// # Errors
    ///
    /// What is lost with the whole value where there is no such type. For a module's value, whose
    /// module is not looked at here, that is always so.
    pub fn type_for(self, value_type: ValueType) -> Result<ValueType, Loss> {
        if self.loads(value_type) {
            return Ok(value_type);
        }
        let common = |byte| Ok(ValueType::common(byte));
        match KeyType::of(value_type) {
            KeyType::String => common(0),
            KeyType::List if self.loads(ValueType::common(14)) && value_type.byte == 18 => {
                common(14)
            }
            KeyType::List => common(1),
            KeyType::Set => common(2),
            KeyType::Zset if self.loads(ValueType::common(5)) => common(5),
            KeyType::Zset => common(3),
            KeyType::Hash if value_type.has_field_expiry() => Ok(self.hash_type()),
            KeyType::Hash => common(4),
            KeyType::Stream => self
                .newest_stream()
                .map(ValueType::common)
                .ok_or(Loss::Stream),
            KeyType::Module => Err(Loss::ModuleValue),
            KeyType::Array => Err(Loss::Array),
            KeyType::Json => Err(Loss::Json),
            KeyType::Other if value_type.family == Family::Dragonfly => Err(Loss::DragonflyValue),
            KeyType::Other => Err(Loss::CronJob),
        }
    }

    /// As [`type_for`](Self::type_for), but another type than its own for what is only sound once it
    /// was read and written anew: Redis dies of some impossible expiries in packed hashes, and
    /// Valkey from 9.0 on refuses what other servers load, such as a field that stands twice. What
    /// such a Valkey wrote itself it loads.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn checked_type_for(self, value_type: ValueType) -> Result<ValueType, Loss> {
        let to = self.type_for(value_type)?;
        let is_packed = matches!(to.byte, 9 | 11..=13 | 16 | 17 | 20) && !to.has_field_expiry();
        // Its family is that of the magic, which Valkey has from 9.0 on.
        let is_foreign = value_type.family != Family::Valkey && self.is_valkey_from(9, 0);
        Ok(match KeyType::of(to) {
            KeyType::Hash if to.has_field_expiry() => self.hash_type(),
            KeyType::Hash if is_packed && is_foreign => ValueType::common(4),
            KeyType::Set if is_packed && is_foreign => ValueType::common(2),
            KeyType::Zset if is_packed && is_foreign => ValueType::common(5),
            _ => to,
        })
    }

    /// The type of a hash with expiring fields, written one by one.
    fn hash_type(self) -> ValueType {
        match self.field_expiry() {
            FieldExpiry::Redis => ValueType::common(24),
            FieldExpiry::Valkey => ValueType::of(22, Family::Valkey),
            FieldExpiry::Drop => ValueType::common(4),
        }
    }
}

/// `Redis 7.0`.
impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flavor = match self.flavor {
            Flavor::Redis => "Redis",
            Flavor::Valkey => "Valkey",
        };
        write!(f, "{flavor} {}.{}", self.major, self.minor)
    }
}

impl ServerVersion {
    /// Reads a release of which is known what it loads, such as `redis-7.0`.
    ///
    /// # Errors
    /// Any other text, also one that names a later release.
    pub fn known(text: &str) -> Result<ServerVersion, NoSuchServer> {
        let server: ServerVersion = text.parse()?;
        let release = (server.major, server.minor);
        let is_known = |(of, lines): &(Flavor, RangeInclusive<(u16, u16)>)| {
            *of == server.flavor && lines.contains(&release)
        };
        KNOWN
            .iter()
            .any(is_known)
            .then_some(server)
            .ok_or(NoSuchServer)
    }
}

/// `redis-7.0`, `valkey-8.1`, also releases later than those that are known.
impl FromStr for ServerVersion {
    type Err = NoSuchServer;

    fn from_str(text: &str) -> Result<Self, NoSuchServer> {
        let (name, release) = text.split_once('-').ok_or(NoSuchServer)?;
        let flavor = match name.to_ascii_lowercase().as_str() {
            "redis" => Flavor::Redis,
            "valkey" => Flavor::Valkey,
            _ => return Err(NoSuchServer),
        };
        let (major, minor) = release.split_once('.').ok_or(NoSuchServer)?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| NoSuchServer);
        let (major, minor) = (number(major)?, number(minor)?);
        let old_enough = |(of, lines): &(Flavor, RangeInclusive<(u16, u16)>)| {
            *of == flavor && (major, minor) >= *lines.start()
        };
        if !KNOWN.iter().any(old_enough) {
            return Err(NoSuchServer);
        }
        Ok(Self::new(flavor, major, minor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerVersion {
        text.parse().unwrap()
    }

    #[test]
    fn servers_are_named_like_their_releases() {
        for (text, shown) in [
            ("redis-2.8", Some("Redis 2.8")),
            ("redis-8.10", Some("Redis 8.10")),
            ("Valkey-7.2", Some("Valkey 7.2")),
            ("redis-2.6", None),
            ("valkey-7.0", None),
            ("redis-99.0", None),
            ("valkey-10.0", None),
            ("redis-7", None),
            ("redis", None),
            ("redis-7.0.15", None),
            ("keydb-6.3", None),
        ] {
            let parsed = ServerVersion::known(text).ok();
            assert_eq!(
                parsed.map(|server| server.to_string()).as_deref(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn files_begin_with_the_version_of_the_server() {
        for (text, valkey, version) in [
            ("redis-2.8", false, 6),
            ("redis-3.0", false, 6),
            ("redis-3.2", false, 7),
            ("redis-4.0", false, 8),
            ("redis-5.0", false, 9),
            ("redis-6.2", false, 9),
            ("redis-7.0", false, 10),
            ("redis-7.2", false, 11),
            ("redis-8.4", false, 12),
            ("redis-8.6", false, 13),
            ("valkey-7.2", false, 11),
            ("valkey-8.1", false, 11),
            ("valkey-9.0", true, 80),
            ("valkey-9.1", true, 80),
        ] {
            assert_eq!(server(text).header(), Header { valkey, version }, "{text}");
        }
    }

    #[test]
    fn packed_values_of_others_are_written_anew_for_valkey_9() {
        for (text, family, byte, expected) in [
            ("valkey-9.0", Family::Redis, 16, 4),
            ("valkey-9.1", Family::Redis, 17, 5),
            ("valkey-9.1", Family::Redis, 20, 2),
            ("valkey-9.1", Family::Redis, 11, 2),
            ("valkey-9.0", Family::Valkey, 16, 16),
            ("valkey-9.1", Family::Valkey, 17, 17),
            ("valkey-9.2", Family::Valkey, 20, 20),
            ("valkey-9.1", Family::Valkey, 11, 11),
            ("valkey-8.1", Family::Redis, 16, 16),
            ("redis-8.0", Family::Valkey, 16, 16),
        ] {
            let to = server(text).checked_type_for(ValueType::of(byte, family));
            assert_eq!(
                to.unwrap().byte,
                expected,
                "{byte} of {family:?} for {text}"
            );
        }
    }

    #[test]
    fn values_get_the_newest_type_that_is_loaded() {
        let common = |byte| Ok(ValueType::common(byte));
        let valkey = ValueType::of(22, Family::Valkey);
        let dragonfly = |byte| ValueType::of(byte, Family::Dragonfly);
        for (text, from, expected) in [
            ("redis-2.8", ValueType::common(18), common(1)),
            ("redis-2.8", ValueType::common(14), common(1)),
            ("redis-2.8", ValueType::common(17), common(3)),
            ("redis-2.8", ValueType::common(12), common(12)),
            ("redis-4.0", ValueType::common(15), Err(Loss::Stream)),
            ("redis-6.2", ValueType::common(18), common(14)),
            ("redis-6.2", ValueType::common(16), common(4)),
            ("redis-6.2", ValueType::common(17), common(5)),
            ("redis-6.2", ValueType::common(20), common(2)),
            ("redis-6.2", ValueType::common(26), common(15)),
            ("redis-6.2", ValueType::common(25), common(4)),
            ("redis-6.2", valkey, common(4)),
            ("redis-7.0", ValueType::common(21), common(19)),
            ("redis-7.2", ValueType::common(26), common(21)),
            ("redis-7.4", ValueType::common(24), common(24)),
            ("redis-8.0", valkey, common(24)),
            ("redis-8.6", ValueType::common(26), common(26)),
            ("valkey-8.1", valkey, common(4)),
            ("valkey-9.1", valkey, Ok(valkey)),
            ("valkey-9.1", ValueType::common(24), Ok(valkey)),
            ("valkey-9.1", ValueType::common(26), common(21)),
            ("redis-8.6", ValueType::common(7), Err(Loss::ModuleValue)),
            ("redis-8.6", ValueType::common(27), common(26)),
            ("redis-8.8", ValueType::common(27), common(27)),
            ("redis-8.6", ValueType::common(28), Err(Loss::Array)),
            ("redis-8.8", ValueType::common(28), common(28)),
            ("redis-8.10", ValueType::common(30), common(4)),
            ("redis-8.10", ValueType::common(31), common(31)),
            ("redis-8.8", ValueType::common(31), common(4)),
            ("redis-8.10", ValueType::common(64), Err(Loss::CronJob)),
            ("redis-8.6", dragonfly(20), Err(Loss::Json)),
            ("redis-8.10", dragonfly(31), common(24)),
            ("valkey-8.1", dragonfly(31), common(4)),
            ("valkey-9.1", dragonfly(32), common(2)),
            ("redis-8.6", dragonfly(33), Err(Loss::DragonflyValue)),
        ] {
            assert_eq!(server(text).type_for(from), expected, "{from:?} for {text}");
        }
    }
}
