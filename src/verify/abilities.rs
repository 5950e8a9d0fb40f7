//! What a server has of the commands that reading for a comparison uses.

use crate::rdb::ServerVersion;

/// The commands that not every server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// PEXPIRETIME (7.0).
    pub(super) expire_time: bool,
    /// Hash fields have expiries of their own (Redis 7.4, Valkey 9.0).
    pub(super) field_expiry: bool,
    /// SMISMEMBER and ZMSCORE (6.2).
    pub(super) multi_lookup: bool,
    /// XPENDING with IDLE (6.2).
    pub(super) pending_idle: bool,
    /// XINFO tells entries-added, max-deleted-entry-id and entries-read (7.0).
    pub(super) stream_details: bool,
    /// Function libraries (7.0).
    pub(super) functions: bool,
    /// MEMORY USAGE (4.0).
    pub(super) memory_usage: bool,
}

impl Abilities {
    /// Those of a release.
    pub(super) fn of(server: ServerVersion) -> Abilities {
        Abilities {
            expire_time: server.has_common(7, 0),
            field_expiry: server.has_field_expiry(),
            multi_lookup: server.has_common(6, 2),
            pending_idle: server.has_common(6, 2),
            stream_details: server.has_common(7, 0),
            functions: server.has_functions(),
            memory_usage: server.has_common(4, 0),
        }
    }
}
