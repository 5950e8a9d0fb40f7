//! What can go wrong with the source, and what to do then.
//!
//! The pure files return an [`ErrorKind`]; whoever knows which source it was makes an [`Error`] of
//! it. Policy is two matches without a `_` arm: [`ErrorKind::recovery`] and [`ErrorKind::next`].

use std::{fmt, io, time::Duration};

use super::{Gap, ReplOffset, Replid};
use crate::{net::Endpoint, resp};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection could be opened.
    Unreachable,
    /// No connection was there before the deadline.
    ConnectTimedOut,
    /// The connection broke.
    Broken,
    /// The source closed the connection during the handshake.
    ClosedInHandshake,
    /// The source closed the connection before the whole snapshot had come.
    ClosedInSnapshot,
    /// The source closed the connection in the stream.
    ClosedInStream,
    /// Nothing came for this long.
    Silent(Duration),
    /// The source wants a password and none was given.
    NoAuth,
    /// The source does not take user and password.
    WrongPassword {
        /// Its reply.
        reply: String,
    },
    /// A user was given, and the source has no users (Redis before 6.0).
    NoUsers,
    /// The user may not run a command.
    NoPermission {
        /// The command in lower case, as ACL rules spell it.
        command: &'static str,
        /// The reply.
        reply: String,
    },
    /// The source loads its dataset.
    Loading,
    /// The source is a replica and has lost its own primary.
    NoMasterLink {
        /// Its reply.
        reply: String,
    },
    /// A script or function blocks the source.
    Busy,
    /// The source could not begin a snapshot.
    SnapshotRefused {
        /// Its reply.
        reply: String,
    },
    /// The source does not send its snapshot over a connection of its own, and that is demanded.
    NoSnapshotChannel,
    /// The source could not bring the stream behind the snapshot that comes over another connection.
    StreamNotJoined,
    /// The source has as many clients as it allows.
    MaxClients,
    /// The source is in protected mode.
    ProtectedMode,
    /// The source knows neither PSYNC nor SYNC.
    NoReplication {
        /// Its reply.
        reply: String,
    },
    /// The source refused something for another reason.
    Refused {
        /// What was sent.
        command: &'static str,
        /// The reply.
        reply: String,
    },
    /// The source answered something that the protocol does not have there.
    Unexpected {
        /// What was sent, or waited for.
        awaited: &'static str,
        /// The answer, escaped and cut.
        found: String,
    },
    /// The snapshot is not as long as was announced.
    LengthDiffers {
        /// The length that was announced, in bytes.
        announced: u64,
        /// The length by the snapshot itself, in bytes.
        found: u64,
    },
    /// The snapshot is not followed by the mark that was announced.
    MarkDiffers,
    /// The stream is not RESP.
    BadStream(resp::Error),
    /// The stream selects something that is not a database.
    BadSelect,
    /// MULTI and EXEC do not alternate in the stream.
    BadTransaction,
    /// The source cannot continue from where we were, and a full resync is not allowed.
    CannotContinue {
        /// The history the source has; `None` when it knows SYNC only.
        replid: Option<Replid>,
        /// What lies between, as far as the source tells.
        gap: Option<Box<Gap>>,
    },
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It cannot; somebody has to do something.
    Never,
    /// Connect again after a pause: the cause goes away by itself.
    Wait,
    /// Connect again, when there was a working connection before; a first one that fails like this
    /// was most likely given the wrong address.
    Reconnect,
}

impl ErrorKind {
    /// Whether the source cannot continue a stream.
    pub fn is_gap(&self) -> bool {
        matches!(self, ErrorKind::CannotContinue { .. })
    }

    /// Whether trying again can help.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn recovery(&self) -> Recovery {
        match self {
            ErrorKind::Loading
            | ErrorKind::NoMasterLink { .. }
            | ErrorKind::Busy
            | ErrorKind::SnapshotRefused { .. }
            | ErrorKind::StreamNotJoined
            | ErrorKind::MaxClients => Recovery::Wait,
            ErrorKind::Unreachable
            | ErrorKind::ConnectTimedOut
            | ErrorKind::Broken
            | ErrorKind::ClosedInHandshake
            | ErrorKind::ClosedInStream
            | ErrorKind::Silent(_) => Recovery::Reconnect,
            ErrorKind::ClosedInSnapshot
            | ErrorKind::NoAuth
            | ErrorKind::WrongPassword { .. }
            | ErrorKind::NoUsers
            | ErrorKind::NoPermission { .. }
            | ErrorKind::ProtectedMode
            | ErrorKind::NoSnapshotChannel
            | ErrorKind::NoReplication { .. }
            | ErrorKind::Refused { .. }
            | ErrorKind::Unexpected { .. }
            | ErrorKind::LengthDiffers { .. }
            | ErrorKind::MarkDiffers
            | ErrorKind::BadStream(_)
            | ErrorKind::BadSelect
            | ErrorKind::BadTransaction
            | ErrorKind::CannotContinue { .. } => Recovery::Never,
        }
    }

    /// Why it happened, as far as the source or the system said.
    pub fn why(&self) -> String {
        match self {
            ErrorKind::Unreachable | ErrorKind::Broken => "the operating system said so".into(),
            ErrorKind::ConnectTimedOut => {
                "no answer from that address; it may be behind a firewall".into()
            }
            ErrorKind::ClosedInHandshake => "the source gave no reason".into(),
            ErrorKind::ClosedInSnapshot => {
                "its snapshot process failed (disk full, no memory), its output buffer limit for \
                 replicas was reached, or it stopped"
                    .into()
            }
            ErrorKind::ClosedInStream => {
                "it stopped, was told to drop its replicas, or its output buffer limit for replicas \
                 was reached"
                    .into()
            }
            ErrorKind::Silent(_) => {
                "a primary sends a PING every repl-ping-replica-period; a replica that has lost its \
                 primary sends nothing"
                    .into()
            }
            ErrorKind::NoAuth => "it asks for a password, and none was given".into(),
            ErrorKind::NoUsers => "it takes a password only: users came with Redis 6.0".into(),
            ErrorKind::Loading => "it is loading its dataset".into(),
            ErrorKind::Busy => "it is busy running a script".into(),
            ErrorKind::NoSnapshotChannel => {
                "it is older than Redis 8.0 or Valkey 8.0, or has that switched off, and \
                 --snapshot-channel is on"
                    .into()
            }
            ErrorKind::StreamNotJoined => {
                "its backlog no longer reached back to the snapshot when the stream was asked for".into()
            }
            ErrorKind::MaxClients => "it has reached its maximum of clients".into(),
            ErrorKind::ProtectedMode => {
                "it is in protected mode and takes connections from its own host only".into()
            }
            ErrorKind::WrongPassword { reply }
            | ErrorKind::NoPermission { reply, .. }
            | ErrorKind::NoMasterLink { reply }
            | ErrorKind::SnapshotRefused { reply }
            | ErrorKind::NoReplication { reply }
            | ErrorKind::Refused { reply, .. } => format!("it said: {reply}"),
            ErrorKind::Unexpected { awaited, found } => {
                format!("to {awaited} it answered {found}")
            }
            ErrorKind::LengthDiffers { announced, found } => {
                format!("{announced} bytes were announced, the snapshot ends after {found}")
            }
            ErrorKind::MarkDiffers => {
                "the 40 bytes behind it are not those announced before it".into()
            }
            ErrorKind::BadStream(error) => error.to_string(),
            ErrorKind::BadSelect => "SELECT without a database number".into(),
            ErrorKind::BadTransaction => {
                "MULTI within MULTI, or EXEC without one; the stream was joined in mid-transaction or \
                 bytes are missing"
                    .into()
            }
            ErrorKind::CannotContinue { gap: Some(gap), .. } => gap.to_string(),
            ErrorKind::CannotContinue {
                replid: Some(id), ..
            } => {
                format!("its history is {id} by now, or its backlog does not reach back that far")
            }
            ErrorKind::CannotContinue { replid: None, .. } => {
                "it knows SYNC only, which cannot continue".into()
            }
        }
    }

    /// What the operator can do next.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn next(&self) -> String {
        let next = match self {
            ErrorKind::Unreachable => "check host and port, and that the server runs",
            ErrorKind::ConnectTimedOut => {
                "check the address and the network, or allow more time with --connect-timeout"
            }
            ErrorKind::Broken | ErrorKind::ClosedInHandshake | ErrorKind::ClosedInStream => {
                "look at the source's log, then run again"
            }
            ErrorKind::ClosedInSnapshot => {
                "look at the source's log: for a failed background save free disk or memory there; for \
                 output buffer limits raise client-output-buffer-limit replica"
            }
            ErrorKind::Silent(_) => {
                "check that the source is alive and, if it is a replica, its link to its primary; allow \
                 more time with --source-timeout"
            }
            ErrorKind::NoAuth => {
                "give the password by KEYFERRY_SOURCE_PASSWORD or --source-password-file"
            }
            ErrorKind::WrongPassword { .. } => {
                "check user and password, and that the user is enabled (ACL LIST on the source)"
            }
            ErrorKind::NoUsers => "leave the user out of the URL",
            ErrorKind::NoPermission { command, .. } => {
                return format!(
                    "on the source: ACL SETUSER <user> +{command} (a migration needs +psync +replconf)"
                );
            }
            ErrorKind::Loading => "wait until it has loaded (INFO persistence), then run again",
            ErrorKind::NoMasterLink { .. } => {
                "restore the source's link to its primary (INFO replication: master_link_status), or \
                 name the primary as the source"
            }
            ErrorKind::Busy => "wait, or end the script with SCRIPT KILL or FUNCTION KILL",
            ErrorKind::SnapshotRefused { .. } => {
                "look at the source's log; it needs memory to fork (vm.overcommit_memory) and room on \
                 its disk"
            }
            ErrorKind::NoSnapshotChannel => {
                "on the source, Valkey: CONFIG SET dual-channel-replication-enabled yes; Redis: CONFIG \
                 SET repl-rdb-channel yes; both: CONFIG SET repl-diskless-sync yes. Or leave \
                 --snapshot-channel at auto"
            }
            ErrorKind::StreamNotJoined => "raise repl-backlog-size on the source",
            ErrorKind::MaxClients => "raise maxclients on the source, or close idle connections",
            ErrorKind::ProtectedMode => {
                "set a password on the source or connect through an address it allows"
            }
            ErrorKind::NoReplication { .. } => {
                "the service has replication blocked or renamed; ask the provider, or use a server that \
                 allows PSYNC"
            }
            ErrorKind::Refused { .. } => "look at the source's log",
            ErrorKind::Unexpected { .. } => {
                "check that the address is a Redis or Valkey server, without a proxy before it"
            }
            ErrorKind::LengthDiffers { .. }
            | ErrorKind::MarkDiffers
            | ErrorKind::BadStream(_)
            | ErrorKind::BadSelect
            | ErrorKind::BadTransaction => {
                "the bytes were damaged on their way or the source has a defect; run again, and report \
                 it if it stays"
            }
            ErrorKind::CannotContinue { .. } => {
                "run again with --allow-full-resync to empty the target and copy everything again; \
                 raise repl-backlog-size on the source first, or it can happen again"
            }
        };
        next.into()
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Unreachable => f.write_str("cannot be reached"),
            ErrorKind::ConnectTimedOut => f.write_str("did not answer in time"),
            ErrorKind::Broken => f.write_str("broke the connection"),
            ErrorKind::ClosedInHandshake => {
                f.write_str("closed the connection during the handshake")
            }
            ErrorKind::ClosedInSnapshot => {
                f.write_str("closed the connection before the end of the snapshot")
            }
            ErrorKind::ClosedInStream => f.write_str("closed the connection"),
            ErrorKind::Silent(time) => write!(f, "was silent for {time:?}"),
            ErrorKind::NoAuth => f.write_str("wants a password"),
            ErrorKind::WrongPassword { .. } => f.write_str("refused user or password"),
            ErrorKind::NoUsers => f.write_str("has no users"),
            ErrorKind::NoPermission { command, .. } => {
                write!(f, "does not allow the user to run {command}")
            }
            ErrorKind::Loading => f.write_str("is loading its dataset"),
            ErrorKind::NoMasterLink { .. } => f.write_str("has lost its own primary"),
            ErrorKind::Busy => f.write_str("is busy"),
            ErrorKind::SnapshotRefused { .. } => f.write_str("cannot make a snapshot"),
            ErrorKind::NoSnapshotChannel => {
                f.write_str("does not send its snapshot over a connection of its own")
            }
            ErrorKind::StreamNotJoined => {
                f.write_str("could not bring the stream behind its snapshot")
            }
            ErrorKind::MaxClients => f.write_str("takes no more clients"),
            ErrorKind::ProtectedMode => f.write_str("refuses connections from other hosts"),
            ErrorKind::NoReplication { .. } => f.write_str("does not allow replication"),
            ErrorKind::Refused { command, .. } => write!(f, "refused {command}"),
            ErrorKind::Unexpected { .. } => f.write_str("does not speak the replication protocol"),
            ErrorKind::LengthDiffers { .. } => {
                f.write_str("sent a snapshot of another length than announced")
            }
            ErrorKind::MarkDiffers => f.write_str("sent a snapshot without its end mark"),
            ErrorKind::BadStream(_) => f.write_str("sent something that is not a command"),
            ErrorKind::BadSelect => f.write_str("selected something that is not a database"),
            ErrorKind::BadTransaction => f.write_str("sent a transaction that is not whole"),
            ErrorKind::CannotContinue { .. } => f.write_str("cannot continue the stream"),
        }
    }
}

/// What went wrong with which source, and where in its stream.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The source.
    pub endpoint: Endpoint,
    /// Where in the source's history, where that is known.
    pub offset: Option<ReplOffset>,
    /// What the operating system said.
    #[source]
    source: Option<io::Error>,
}

impl Error {
    /// An error of the source at `endpoint`.
    pub fn new(endpoint: &Endpoint, kind: ErrorKind) -> Error {
        Error {
            kind,
            endpoint: endpoint.clone(),
            offset: None,
            source: None,
        }
    }

    /// An error that the operating system reported.
    pub(super) fn system(endpoint: &Endpoint, kind: ErrorKind, source: io::Error) -> Error {
        Error {
            source: Some(source),
            ..Error::new(endpoint, kind)
        }
    }

    /// Says where in the source's history it happened.
    pub fn at(mut self, offset: ReplOffset) -> Error {
        self.offset = Some(offset);
        self
    }

    /// Why it happened; one line.
    pub fn why(&self) -> String {
        match &self.source {
            Some(source) => source.to_string(),
            None => self.kind.why(),
        }
    }

    /// What to do next; one line.
    pub fn next(&self) -> String {
        self.kind.next()
    }
}

/// What failed, on one line: `source 10.0.0.5:6379 wants a password`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {} {}", self.endpoint, self.kind)?;
        match self.offset {
            Some(offset) => write!(f, " (offset {offset})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::Tcp {
            host: "10.0.0.5".into(),
            port: 6379,
        }
    }

    #[test]
    fn says_what_why_and_what_next() {
        let kind = ErrorKind::NoPermission {
            command: "psync",
            reply: "NOPERM User rep has no permissions to run the 'psync' command".into(),
        };
        let error = Error::new(&endpoint(), kind).at(ReplOffset::new(7));
        assert_eq!(
            error.to_string(),
            "source 10.0.0.5:6379 does not allow the user to run psync (offset 7)"
        );
        assert_eq!(
            error.why(),
            "it said: NOPERM User rep has no permissions to run the 'psync' command"
        );
        assert!(error.next().contains("ACL SETUSER <user> +psync"));
    }

    #[test]
    fn keeps_what_the_system_said_as_its_source() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused");
        let error = Error::system(&endpoint(), ErrorKind::Unreachable, refused);
        assert_eq!(error.to_string(), "source 10.0.0.5:6379 cannot be reached");
        assert_eq!(error.why(), "Connection refused");
        assert!(error.source().is_some());
    }
}
