//! What can go wrong on the target's side.

use std::{error::Error as _, fmt, io, time::Duration};

use bytes::Bytes;

use crate::{
    keyspace::{Db, Escaped, Loss},
    net::Endpoint,
    rdb,
    resp::{self, ReplyError},
};

use super::{
    admin, batch::Named, checkpoint::CheckpointError, lossy::Lossy, translate::Untranslatable,
};

/// A failure on the target's side.
#[derive(Debug)]
pub struct Error {
    /// The target.
    pub endpoint: Endpoint,
    /// What happened.
    pub kind: Box<ErrorKind>,
}

/// What happened on the target's side.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// No connection could be opened.
    #[error("cannot be reached")]
    Connect(#[source] io::Error),
    /// An administrative command failed: what it was for, and why.
    #[error("refused to {purpose}")]
    Admin {
        /// What the command was for, as in "refused to ...".
        purpose: &'static str,
        /// What the client library said.
        #[source]
        source: redis::RedisError,
    },
    /// A reply to an administrative command is not what that command answers.
    #[error("gave an answer to {0} that cannot be understood")]
    Answer(&'static str),
    /// The target is older than what keyferry writes to.
    #[error("is version {0}, which is older than 6.0")]
    TooOld(String),
    /// The target is a replica and takes no writes.
    #[error("is a replica")]
    Replica,
    /// The target has keys and nobody said what to do with them.
    #[error("is not empty: it has {keys} keys")]
    NotEmpty {
        /// How many keys it has in all databases.
        keys: u64,
    },
    /// The source has a db that the target has not.
    #[error("has only {databases} databases, and the source uses db {db}")]
    NoSuchDb {
        /// The db that is missing.
        db: Db,
        /// How many there are.
        databases: u32,
    },
    /// The connection was lost with commands in flight.
    #[error("closed the connection while {unconfirmed} bytes were not confirmed")]
    Lost {
        /// Bytes sent and not answered.
        unconfirmed: usize,
        /// What the operating system said; `None` for an orderly close.
        #[source]
        source: Option<io::Error>,
    },
    /// User and password were refused, or are missing.
    #[error("wants another user or password")]
    Login(#[source] redis::RedisError),
    /// The same on a connection for writing.
    #[error("refused the login: {0}")]
    LaneLogin(ReplyError),
    /// A command was refused for good.
    #[error("refused {command} in db {db}: {reply}")]
    Refused {
        /// The command.
        command: Named,
        /// The db it was sent for.
        db: Db,
        /// What the target said.
        reply: ReplyError,
    },
    /// A transient refusal lasted too long.
    #[error("kept refusing {command} in db {db} for {waited:?}: {reply}")]
    RefusedTooLong {
        /// The command.
        command: Named,
        /// The db it was sent for.
        db: Db,
        /// What the target said last.
        reply: ReplyError,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A key exists and the policy is to fail then.
    #[error("has {command} already, in db {db}")]
    KeyExists {
        /// The command that found it.
        command: Named,
        /// The db of the key.
        db: Db,
    },
    /// The same for a function library.
    #[error("has function library {} already", Escaped(.name))]
    LibraryExists {
        /// Its name.
        name: Bytes,
    },
    /// Something cannot be said on the target and the policy is to fail then.
    #[error("cannot hold {} of key {} in db {db}", .lossy.loss, Escaped(&.lossy.key))]
    Lossy {
        /// What would be lost, and of which key.
        lossy: Lossy,
        /// The db of the key.
        db: Db,
    },
    /// The same for a command of the stream.
    #[error("cannot take a command of db {db} at offset {offset}: {error}")]
    Untranslatable {
        /// The command and what would be lost.
        error: Untranslatable,
        /// The db it is for.
        db: Db,
        /// Where it ends in the stream.
        offset: u64,
    },
    /// The target does not take writes any more: it was demoted.
    #[error("refused {command}: {reply}")]
    Demoted {
        /// The command.
        command: Named,
        /// What the target said.
        reply: ReplyError,
    },
    /// Nothing was heard of the target with commands in flight.
    #[error("has not answered for {0:?}")]
    Silent(Duration),
    /// Another process writes for the migration.
    #[error("was taken over by another keyferry that runs the migration {name}")]
    TakenOver {
        /// The name of the migration.
        name: String,
    },
    /// The checkpoint cannot be read.
    #[error("has a checkpoint that cannot be used: {0}")]
    Checkpoint(CheckpointError),
    /// The checkpoint is not there any more.
    #[error("has lost its checkpoint")]
    CheckpointGone,
    /// The checkpoint was removed while the target was up.
    #[error("has no checkpoint of the migration {name} any more: it was dropped during the run")]
    CheckpointDropped {
        /// The name of the migration.
        name: String,
    },
    /// The target came back with older data.
    #[error(
        "came back with older data: its checkpoint is at offset {offset}, it had confirmed {confirmed}"
    )]
    WentBack {
        /// What its checkpoint says.
        offset: u64,
        /// What was confirmed before.
        confirmed: u64,
    },
    /// The target was restarted while a snapshot was written to it.
    #[error("was restarted while the snapshot was written to it")]
    Restarted,
    /// After a lost connection a key exists, and nobody knows who wrote it.
    #[error("has {command} in db {db}, and its answer was lost: written by this run or by another")]
    Undecided {
        /// The command whose answer was lost.
        command: Named,
        /// Its db.
        db: Db,
    },
    /// A reply is not RESP, or not one that the command can have.
    #[error("sent a reply that cannot be understood")]
    Reply(#[source] Option<resp::Error>),
    /// A value of the source cannot be read while it is rebuilt for the target.
    #[error("cannot be sent key {}: its value cannot be read", Escaped(.key))]
    Value {
        /// The key.
        key: Bytes,
        /// What is wrong with the value.
        #[source]
        source: rdb::Error,
    },
    /// A key was skipped by the conflict policy, and a command of the stream needs it together
    /// with others that were not.
    #[error("cannot take {command} in db {db}: some of its keys were skipped")]
    MixedSkip {
        /// The command.
        command: Named,
        /// Its db.
        db: Db,
    },
}

impl ErrorKind {
    /// Whether only the connection is at its end: another may be opened.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(
            self,
            ErrorKind::Lost { .. } | ErrorKind::Silent(_) | ErrorKind::Demoted { .. }
        )
    }

    /// Whether it may go away by itself, for somebody who tries to connect again.
    pub(super) fn passes(&self) -> bool {
        match self {
            ErrorKind::Connect(_) | ErrorKind::Replica => true,
            ErrorKind::Admin { source, .. } => admin::passes(source),
            ErrorKind::LaneLogin(reply) => reply.kind.passes(),
            kind => kind.ends_connection(),
        }
    }

    /// Whether another run, begun later, may succeed although nobody has done anything.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn may_pass(&self) -> bool {
        match self {
            ErrorKind::Connect(_)
            | ErrorKind::Replica
            | ErrorKind::Lost { .. }
            | ErrorKind::Silent(_)
            | ErrorKind::Demoted { .. }
            | ErrorKind::RefusedTooLong { .. }
            | ErrorKind::Restarted
            | ErrorKind::WentBack { .. } => true,
            ErrorKind::Admin { source, .. } => admin::passes(source),
            ErrorKind::LaneLogin(reply) => reply.kind.passes(),
            ErrorKind::Answer(_)
            | ErrorKind::TooOld(_)
            | ErrorKind::NotEmpty { .. }
            | ErrorKind::NoSuchDb { .. }
            | ErrorKind::Login(_)
            | ErrorKind::Refused { .. }
            | ErrorKind::KeyExists { .. }
            | ErrorKind::LibraryExists { .. }
            | ErrorKind::Lossy { .. }
            | ErrorKind::Untranslatable { .. }
            // Two that write for one migration would take it from each other for ever.
            | ErrorKind::TakenOver { .. }
            | ErrorKind::Checkpoint(_)
            | ErrorKind::CheckpointGone
            | ErrorKind::CheckpointDropped { .. }
            | ErrorKind::Undecided { .. }
            | ErrorKind::Reply(_)
            | ErrorKind::Value { .. }
            | ErrorKind::MixedSkip { .. } => false,
        }
    }

    /// Adds where it happened.
    pub fn at(self, endpoint: &Endpoint) -> Error {
        Error {
            endpoint: endpoint.clone(),
            kind: Box::new(self),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target {} {}", self.endpoint, self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl Error {
    /// Whether the target came back with older data.
    pub fn went_back(&self) -> bool {
        matches!(*self.kind, ErrorKind::WentBack { .. })
    }

    /// Whether the checkpoint says that another process writes for the migration.
    pub(super) fn is_taken_over(&self) -> bool {
        matches!(*self.kind, ErrorKind::TakenOver { .. })
    }

    /// Whether somebody removed the checkpoint while the target was up.
    pub fn is_checkpoint_dropped(&self) -> bool {
        matches!(*self.kind, ErrorKind::CheckpointDropped { .. })
    }

    /// Whether it may go away by itself.
    pub fn passes(&self) -> bool {
        self.kind.passes()
    }

    /// The message and the reason on one line.
    pub fn with_why(&self) -> String {
        match self.why() {
            why if why.is_empty() => self.to_string(),
            why => format!("{self}: {why}"),
        }
    }

    /// Why it happened, for the operator; empty when the message says it all.
    pub fn why(&self) -> String {
        let mut why = Vec::new();
        let mut source = self.kind.source();
        while let Some(error) = source {
            why.push(error.to_string());
            source = error.source();
        }
        why.join(": ")
    }

    /// What to do next.
    pub fn next(&self) -> String {
        let hint = match &*self.kind {
            ErrorKind::Connect(_) => {
                "check that the target listens there and that no firewall is in between"
            }
            ErrorKind::Admin { .. } => {
                "check the target's user: it needs +info +config|get +select +flushall +time and the write commands"
            }
            ErrorKind::Answer(_) => {
                "check that the target is a Redis or Valkey server, not a proxy"
            }
            ErrorKind::TooOld(_) => "use a target of version 6.0 or newer",
            ErrorKind::Replica => "give the primary's address as --target",
            ErrorKind::NotEmpty { .. } => {
                "say what to do with its keys: --on-conflict replace|skip|fail, or --flush-target"
            }
            ErrorKind::NoSuchDb { .. } => "raise `databases` in the target's configuration",
            ErrorKind::Lost { .. } => {
                "see the target's log for the reason; run the same command again once it is up, it goes on where it was"
            }
            ErrorKind::Demoted { reply, .. } => reply.kind.hint(),
            ErrorKind::Silent(_) => {
                "see whether the target is stopped or the network between is down; run the same command again, it goes on where it was"
            }
            ErrorKind::TakenOver { .. } => {
                "let the other one go on, or stop it and run the same command again; give --checkpoint-name if these are two migrations"
            }
            ErrorKind::Checkpoint(_) => {
                "see it with keyferry checkpoint list; after keyferry checkpoint drop the migration begins anew"
            }
            ErrorKind::CheckpointGone => {
                "the target came back empty or somebody removed the checkpoint: run again to begin anew, with --on-conflict or --flush-target if keys are left"
            }
            ErrorKind::CheckpointDropped { .. } => {
                "somebody dropped it, or emptied the target: run again to begin anew, with --on-conflict or --flush-target if keys are left"
            }
            ErrorKind::WentBack { .. } => {
                "run the same command again: it goes on from there if the source's backlog reaches so far"
            }
            ErrorKind::Restarted => {
                "run the same command again: a sync removes what is there of the snapshot and takes a new one; a restore needs --on-conflict replace for that"
            }
            ErrorKind::Undecided { .. } => {
                "look at the key; then run again with --on-conflict replace or skip, or with --flush-target"
            }
            ErrorKind::Login(_) => {
                "give the password by KEYFERRY_TARGET_PASSWORD or --target-password-file, and the user in the URL"
            }
            ErrorKind::LaneLogin(reply) => reply.kind.hint(),
            ErrorKind::Refused { reply, .. } => reply.kind.hint(),
            ErrorKind::RefusedTooLong { reply, .. } => reply.kind.hint(),
            ErrorKind::KeyExists { .. } | ErrorKind::LibraryExists { .. } => {
                "run again with --on-conflict replace or skip, or with --flush-target"
            }
            ErrorKind::Lossy { lossy, .. } if lossy.loss == Loss::PendingOfDeletedEntry => {
                "raise --restore-bytes-max, since only RESTORE of the whole stream says that, or run again with --on-lossy drop to leave that out"
            }
            ErrorKind::Untranslatable {
                error: Untranslatable::Unreadable { .. },
                ..
            } => "check the source: DUMP and MEMORY USAGE of that key",
            ErrorKind::Lossy { .. } | ErrorKind::Untranslatable { .. } => {
                "run again with --on-lossy drop to leave that out, or use a target that has it"
            }
            ErrorKind::Reply(_) => {
                "check that nothing between keyferry and the target changes the bytes"
            }
            ErrorKind::Value { .. } => "check the source: DUMP and MEMORY USAGE of that key",
            ErrorKind::MixedSkip { .. } => {
                "run again with --on-conflict replace, or without the stream: --mode full"
            }
        };
        hint.to_string()
    }
}
