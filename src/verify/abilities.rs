//! What a server has of the commands that reading values takes.

use crate::rdb::ServerVersion;

/// The commands of a server that not every one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// PEXPIRETIME (7.0).
    pub(super) expire_time: bool,
    /// HPEXPIRETIME (Redis 7.4, Valkey 9.0).
    pub(super) field_expiry: bool,
    /// SMISMEMBER, ZMSCORE (6.2).
    pub(super) multi_lookup: bool,
    /// What XINFO tells of a stream: entries added, the greatest deleted id (7.0).
    pub(super) stream_details: bool,
    /// It tells its replicas how many entries a group has read (Redis 7.4, Valkey 9.0; Valkey 8.0
    /// does, too, but its payloads have the version of servers that do not).
    pub(super) entries_read: bool,
    /// VRANGE (Redis 8.4).
    pub(super) vector_range: bool,
    /// FUNCTION (7.0).
    pub(super) functions: bool,
    /// MEMORY USAGE (4.0).
    pub(super) memory_usage: bool,
}

impl Abilities {
    /// Those of a server of this version.
    pub(super) fn of(version: ServerVersion) -> Abilities {
        Abilities {
            expire_time: version.has_common(7, 0),
            field_expiry: version.has_field_expiry(),
            multi_lookup: version.has_common(6, 2),
            stream_details: version.has_common(7, 0),
            entries_read: version.is_redis_from(7, 4) || version.is_valkey_from(9, 0),
            vector_range: version.is_redis_from(8, 4),
            functions: version.has_functions(),
            memory_usage: version.has_common(4, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_what_came_with_it() {
        type Ability = fn(Abilities) -> bool;
        let abilities: [(&str, Ability, &str, &str); 8] = [
            (
                "expire_time",
                |can| can.expire_time,
                "redis-6.2",
                "redis-7.0",
            ),
            (
                "field_expiry",
                |can| can.field_expiry,
                "redis-7.2",
                "redis-7.4",
            ),
            (
                "field_expiry",
                |can| can.field_expiry,
                "valkey-8.1",
                "valkey-9.0",
            ),
            (
                "multi_lookup",
                |can| can.multi_lookup,
                "redis-6.0",
                "redis-6.2",
            ),
            (
                "stream_details",
                |can| can.stream_details,
                "redis-6.2",
                "valkey-7.2",
            ),
            (
                "entries_read",
                |can| can.entries_read,
                "redis-7.2",
                "redis-7.4",
            ),
            (
                "vector_range",
                |can| can.vector_range,
                "redis-8.2",
                "redis-8.4",
            ),
            (
                "memory_usage",
                |can| can.memory_usage,
                "redis-3.2",
                "redis-4.0",
            ),
        ];
        for (name, ability, without, with) in abilities {
            let of = |version: &str| Abilities::of(version.parse().unwrap());
            assert!(!ability(of(without)), "{name} of {without}");
            assert!(ability(of(with)), "{name} of {with}");
        }
        assert!(!Abilities::of("valkey-9.1".parse().unwrap()).vector_range);
    }
}
