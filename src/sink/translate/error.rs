//! A command that cannot be said on the target.

use bytes::Bytes;

use crate::{
    keyspace::{Escaped, Loss},
    rdb,
};

/// Why a command of the source was not said on the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untranslatable {
    /// The target cannot do what the command did, and the policy is to stop then.
    #[error("{target} cannot hold {loss}, which {command} {} needs", Escaped(.key))]
    Lossy {
        /// The name of the command, upper case.
        command: String,
        /// Its first key, or the channel; empty when it has none.
        key: Bytes,
        /// What would be lost.
        loss: Loss,
        /// The target, e.g. `Redis 6.0.16`.
        target: String,
    },
    /// The source sent a value that cannot be read, which must not reach the target: some servers
    /// end over it.
    #[error("the value that {command} {} carries is damaged: {source}", Escaped(.key))]
    Unreadable {
        /// The name of the command, upper case.
        command: String,
        /// Its key.
        key: Bytes,
        /// What is wrong, at which offset of the value's body.
        source: Box<rdb::Error>,
    },
}
