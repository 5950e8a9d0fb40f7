//! What ends a verification.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{
    net::Endpoint,
    resp::{self, ReplyError, ReplyErrorKind},
    sync,
};

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The server that is the truth.
    Source,
    /// The server that is compared with it.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}

/// An error, and where it happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server failed.
    #[error("{side} {endpoint} {kind}")]
    Server {
        /// Which.
        side: Side,
        /// Its address.
        endpoint: Endpoint,
        /// What happened.
        #[source]
        kind: ErrorKind,
    },
    /// The file of the report cannot be written or read.
    #[error("the report {} cannot be {done}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// `written` or `read`.
        done: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of the report is that of another verification.
    #[error("the report {} is not of this verification", path.display())]
    OtherReport {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        why: String,
    },
    /// The file of the report cannot be what was asked for.
    #[error("the report {} cannot be used", path.display())]
    UnusableReport {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
        /// What to do about it.
        next: &'static str,
    },
    /// What is kept of snapshots cannot be written or read.
    #[error("the digests cannot be kept in {}", dir.display())]
    Spool {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The status of a sync that follows cannot be read.
    #[error("the status of the sync at {url} cannot be read")]
    SyncStatus {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// Both sides are one server.
    #[error("the source and the target are the same server")]
    SameServer,
    /// A signal ended it.
    #[error("interrupted by a signal")]
    Interrupted,
}

/// What a server did.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// It cannot be connected to.
    #[error("cannot be reached")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("broke the connection")]
    Broken(#[source] io::Error),
    /// It was silent for too long.
    #[error("was silent for {0:?}")]
    Silent(Duration),
    /// It sent what is no reply.
    #[error("sent what is no reply")]
    Protocol(#[source] resp::Error),
    /// It refused a command, whose purpose reads as in "refused to ...".
    #[error("refused to {purpose}: {reply}")]
    Refused {
        /// What for.
        purpose: &'static str,
        /// Its reply.
        reply: ReplyError,
    },
    /// It answered something that the command cannot have.
    #[error("answered {0} with something else than expected")]
    Answer(&'static str),
    /// It sends no snapshot.
    #[error("{}", .0.kind)]
    Replication(Box<sync::Error>),
    /// What came of it as a snapshot cannot be read.
    #[error("sent a snapshot that cannot be read: {0}")]
    Snapshot(Box<dyn std::error::Error + Send + Sync>),
}

impl ErrorKind {
    /// Whether the same may succeed over another connection.
    pub(super) fn passes(&self) -> bool {
        match self {
            ErrorKind::Connect(_) | ErrorKind::Broken(_) | ErrorKind::Silent(_) => true,
            ErrorKind::Refused { reply, .. } => passes(&reply.kind),
            ErrorKind::Protocol(_)
            | ErrorKind::Answer(_)
            | ErrorKind::Replication(_)
            | ErrorKind::Snapshot(_) => false,
        }
    }
}

/// Whether a refusal goes away by itself.
pub(super) fn passes(kind: &ReplyErrorKind) -> bool {
    matches!(
        kind,
        ReplyErrorKind::Loading
            | ReplyErrorKind::Busy
            | ReplyErrorKind::MasterDown
            | ReplyErrorKind::TryAgain
            | ReplyErrorKind::ClusterDown
            | ReplyErrorKind::MaxClients
    )
}

impl Error {
    /// Whether a reply was longer than what is taken.
    pub(super) fn is_too_long(&self) -> bool {
        use resp::ErrorKind::{BulkTooLong, TooLong};
        let Error::Server {
            kind: ErrorKind::Protocol(error),
            ..
        } = self
        else {
            return false;
        };
        matches!(error.kind, BulkTooLong { .. } | TooLong { .. })
    }

    /// Why it happened, as far as the text itself does not say.
    pub fn why(&self) -> String {
        let source: Option<&dyn std::error::Error> = match self {
            Error::Server {
                kind: ErrorKind::Replication(error),
                ..
            } => return error.why(),
            Error::Server { kind, .. } => std::error::Error::source(kind),
            Error::Report { source, .. } | Error::Spool { source, .. } => Some(source),
            Error::OtherReport { why, .. }
            | Error::UnusableReport { why, .. }
            | Error::SyncStatus { why, .. } => return why.clone(),
            Error::SameServer => return "both answered with the same run_id".to_owned(),
            Error::Interrupted => {
                return "what was found so far is in a report .jsonl or .sqlite; others appear when they are complete"
                    .to_owned();
            }
        };
        source.map_or_else(String::new, |source| source.to_string())
    }

    /// What to do next.
    pub fn next(&self) -> &'static str {
        match self {
            Error::Server { kind, .. } => match kind {
                ErrorKind::Connect(_) => "check the address, and that the server runs",
                ErrorKind::Refused { reply, .. } => match reply.kind {
                    ReplyErrorKind::NoAuth | ReplyErrorKind::WrongPass => {
                        "give the right user and password: docs/cli.md, Servers"
                    }
                    ReplyErrorKind::NoPerm => {
                        "give the user the permissions that docs/verify.md lists"
                    }
                    _ => "see the log of the server",
                },
                ErrorKind::Broken(_) | ErrorKind::Silent(_) => {
                    "run it again; with --report FILE.jsonl or .sqlite, --resume goes on where it was"
                }
                ErrorKind::Protocol(_) | ErrorKind::Answer(_) => {
                    "check that the address is that of a Redis or Valkey server"
                }
                ErrorKind::Replication(_) => {
                    "see its log, and that the user may be a replica there (+psync +replconf); --method scan needs no snapshot"
                }
                ErrorKind::Snapshot(_) => "compare with --method scan",
            },
            Error::Report { .. } => "check the path and the space on its disk",
            Error::Spool { .. } => "name a directory with room by --snapshot-dir",
            Error::UnusableReport { next, .. } => next,
            Error::OtherReport { .. } => "leave out --resume, or name the report of this one",
            Error::SyncStatus { .. } => {
                "give the address that `keyferry sync --status-listen` serves, such as http://127.0.0.1:9121"
            }
            Error::SameServer => "give the address of another server as --target",
            Error::Interrupted => {
                "run it again; with --report FILE.jsonl or .sqlite, --resume goes on where it was"
            }
        }
    }
}
