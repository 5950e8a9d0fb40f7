//! Why a migration failed, on whose side, and what to do next.

use std::{io, path::PathBuf};

use crate::{dump, net::Endpoint, rdb, sink, spool, sync};

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The source failed, or the connection to it.
    Source,
    /// The target failed, or the connection to it.
    Target,
    /// A resource of this machine failed, or the run was cut short here.
    Local,
    /// What was asked for cannot be done.
    Usage,
}

/// Why a migration failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source, or the link to it.
    #[error(transparent)]
    Source(#[from] sync::Error),
    /// The snapshot is damaged or incomplete.
    #[error("source {endpoint} sent a snapshot that cannot be used: {error}")]
    Snapshot {
        /// The source.
        endpoint: Endpoint,
        /// What is wrong, at which offset, in which key.
        error: Box<rdb::Error>,
        /// What ended the link, if it ended within the snapshot.
        link: Option<Box<sync::Error>>,
    },
    /// An RDB that is restored could not be read to its end.
    #[error("{error}")]
    Input {
        /// What is wrong, at which offset, in which key.
        error: Box<dump::Error>,
        /// How many of its keys the target has confirmed.
        keys: u64,
    },
    /// A restore was stopped before the end of the input.
    #[error("stopped before the end of {input}: {keys} of its keys are on the target")]
    StoppedWithin {
        /// How messages name the input.
        input: String,
        /// How many of its keys the target has confirmed.
        keys: u64,
    },
    /// The target, or the connection to it.
    #[error(transparent)]
    Target(#[from] sink::Error),
    /// Another error, after the target was emptied as it was asked for.
    #[error("{error}")]
    AfterFlush {
        /// What went wrong then.
        error: Box<Error>,
    },
    /// What is received and not applied cannot be kept.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// The checkpoint file cannot be read or written.
    #[error("the checkpoint {} cannot be used", path.display())]
    CheckpointFile {
        /// Where it is.
        path: PathBuf,
        /// What the system said, or what is wrong in it.
        error: io::Error,
    },
    /// A checkpoint file was asked for, and there is no directory for it.
    #[error("there is no directory for the checkpoint file")]
    NoDirectory,
    /// An earlier run of the migration follows the stream, and only a snapshot is asked for.
    #[error("an earlier run of this migration has copied the snapshot and follows the stream")]
    InStream,
    /// What an earlier run has applied cannot be continued: its source had no replid.
    #[error("the stream of an earlier run cannot be continued")]
    NotContinuable,
    /// What an earlier run has written cannot be told from what the target had.
    #[error("an earlier run of this migration was interrupted, and what it wrote is not known")]
    NotUndoable,
    /// The names of skipped keys have changed since.
    #[error("the target came back with older data, and databases were emptied or swapped since")]
    SkippedMoved,
    /// The conflict policy skipped more keys than can be remembered.
    #[error("more than {keys} keys were skipped, too many to remember for the stream")]
    SkippedTooMany {
        /// How many were remembered.
        keys: usize,
    },
    /// The run was stopped before the target had everything.
    #[error("stopped before the snapshot was complete: the target holds only a part of it")]
    Interrupted,
    /// The source and the target are one server.
    #[error("the source and the target are the same server")]
    SameServer,
    /// A second signal ended the run at once.
    #[error("aborted by a second signal")]
    Aborted,
    /// The question whether the target may be emptied was answered with no.
    #[error("the target was not flushed")]
    FlushDeclined,
}

impl Error {
    /// The same error, saying that the target was emptied before if it was.
    pub(super) fn after_flush(self, emptied: bool) -> Error {
        match self {
            // It says so itself.
            Error::Interrupted => self,
            error if emptied => Error::AfterFlush {
                error: Box::new(error),
            },
            error => error,
        }
    }

    /// Whether a snapshot was broken off by something that passes.
    pub(super) fn breaks_off_snapshot(&self) -> bool {
        match self {
            Error::AfterFlush { error } => error.breaks_off_snapshot(),
            Error::Snapshot { link, .. } => link.is_some(),
            Error::Source(error) => error.kind == sync::ErrorKind::ClosedInSnapshot,
            Error::Target(error) => matches!(*error.kind, sink::ErrorKind::Restarted),
            _ => false,
        }
    }

    /// Whose failure it is.
    pub fn side(&self) -> Side {
        match self {
            Error::Source(_) | Error::Snapshot { .. } | Error::Input { .. } => Side::Source,
            Error::Target(error) => match *error.kind {
                // It is not the target that failed: nobody said what to do with its keys.
                sink::ErrorKind::NotEmpty { .. } => Side::Usage,
                sink::ErrorKind::Value { .. } => Side::Source,
                sink::ErrorKind::Untranslatable {
                    error: sink::translate::Untranslatable::Unreadable { .. },
                    ..
                } => Side::Source,
                _ => Side::Target,
            },
            Error::AfterFlush { error } => error.side(),
            Error::SkippedMoved => Side::Target,
            Error::Spool(_)
            | Error::CheckpointFile { .. }
            | Error::SkippedTooMany { .. }
            | Error::StoppedWithin { .. }
            | Error::Interrupted
            | Error::Aborted => Side::Local,
            Error::NoDirectory
            | Error::InStream
            | Error::NotContinuable
            | Error::NotUndoable
            | Error::SameServer
            | Error::FlushDeclined => Side::Usage,
        }
    }

    /// Whether the same run, begun again later, may succeed although nobody has done anything.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn may_pass(&self) -> bool {
        let passes = |error: &sync::Error| error.kind.recovery() != sync::Recovery::Never;
        match self {
            Error::Source(error) => passes(error),
            Error::Snapshot { link, .. } => link.as_deref().is_some_and(passes),
            Error::Target(error) => error.kind.may_pass(),
            Error::Spool(error) => error.kind.may_pass(),
            Error::AfterFlush { error } => error.may_pass(),
            Error::CheckpointFile { .. }
            | Error::NoDirectory
            | Error::InStream
            | Error::NotContinuable
            | Error::NotUndoable
            | Error::SkippedMoved
            | Error::Input { .. }
            | Error::StoppedWithin { .. }
            | Error::SkippedTooMany { .. }
            | Error::Interrupted
            | Error::SameServer
            | Error::Aborted
            | Error::FlushDeclined => false,
        }
    }

    /// Why it failed; may be empty.
    pub fn why(&self) -> String {
        match self {
            Error::Source(error) => error.why(),
            Error::Snapshot {
                link: Some(link), ..
            } => format!("the link ended: {link}"),
            Error::Snapshot { .. } => "the bytes that arrived are not a whole RDB".into(),
            Error::Input { error, keys: 0 } => error.why(),
            Error::Input { error, keys } => {
                let there = format!("{keys} keys that stand before that are on the target");
                match error.why() {
                    why if why.is_empty() => there,
                    why => format!("{why}; {there}"),
                }
            }
            Error::AfterFlush { error } => {
                let emptied = "the target was emptied before that and holds a part only";
                match error.why() {
                    why if why.is_empty() => emptied.into(),
                    why => format!("{why}; {emptied}"),
                }
            }
            Error::StoppedWithin { .. } => {
                "a stop was requested; everything that was sent is confirmed".into()
            }
            Error::Target(error) => error.why(),
            Error::Spool(error) => error.why(),
            Error::CheckpointFile { error, .. } => error.to_string(),
            Error::NoDirectory => "no --spool-dir is given, and there is no home directory".into(),
            Error::InStream => "its checkpoint is on the target or in its directory".into(),
            Error::NotContinuable => "the source knew SYNC only, which has no offsets".into(),
            Error::NotUndoable => {
                "the target had keys of its own, or the names of the written keys are on another machine".into()
            }
            Error::SkippedMoved => {
                "nothing is kept on disk, so it is not known where the keys were that --on-conflict skip left alone".into()
            }
            Error::SkippedTooMany { .. } => {
                "the stream must leave alone what the snapshot left alone, so its names are kept in memory".into()
            }
            Error::Interrupted => "a stop was requested".into(),
            Error::SameServer => "both answered with the same run_id".into(),
            Error::Aborted => {
                "what was read and not confirmed by the target may be there or not".into()
            }
            Error::FlushDeclined => "the question was answered with no".into(),
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            Error::Source(error) => error.next(),
            Error::Snapshot { link: Some(_), .. } => {
                "see the source's log for the reason (client-output-buffer-limit replica, a failed fork, a full disk), then run the same command again".into()
            }
            Error::Snapshot { .. } => {
                "run the same command again; if it fails at the same key, check the source's memory and that key".into()
            }
            Error::Input { error, keys: 0 } => error.next(),
            Error::Input { error, .. } => format!(
                "{}\nthen run again with --on-conflict replace, which writes again what is there, \
                 or skip, which leaves it",
                error.next()
            ),
            Error::AfterFlush { error } => error.next(),
            Error::StoppedWithin { .. } => {
                "run again with --on-conflict skip, which leaves what is there, or replace, which writes it again".into()
            }
            Error::Target(error) => error.next(),
            Error::Spool(error) => error.next(),
            Error::CheckpointFile { .. } => {
                "see who may write there; without the file the migration begins anew".into()
            }
            Error::NoDirectory => "give --spool-dir, or --checkpoint target".into(),
            Error::InStream => {
                "run with --mode full+incremental to go on, or keyferry checkpoint drop and begin anew".into()
            }
            Error::NotContinuable | Error::NotUndoable | Error::SkippedMoved => {
                "begin anew: keyferry checkpoint drop, then run with --flush-target, or with --on-conflict after looking at the target's keys".into()
            }
            Error::SkippedTooMany { .. } => {
                "run again with --on-conflict replace, or without the stream: --mode full".into()
            }
            Error::Interrupted => {
                "run the same command again: what is there is removed and a new snapshot is taken".into()
            }
            Error::SameServer => "give the address of another server as --target".into(),
            Error::Aborted => {
                "run the same command again: it goes on where it was; one signal alone stops cleanly".into()
            }
            Error::FlushDeclined => {
                "run again without --flush-target, with --on-conflict if the target keeps its keys".into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ReplyError;

    #[test]
    fn only_what_goes_away_by_itself_may_pass() {
        let endpoint: Endpoint = "redis://a".parse::<crate::net::Node>().unwrap().endpoint;
        let source = |kind| Error::Source(sync::Error::new(&endpoint, kind));
        let target = |kind: sink::ErrorKind| Error::Target(kind.at(&endpoint));
        let refused = std::io::Error::other("Connection refused");
        let login = ReplyError::parse(b"WRONGPASS no");
        for (error, passes) in [
            (source(sync::ErrorKind::Unreachable), true),
            (source(sync::ErrorKind::Loading), true),
            (source(sync::ErrorKind::ClosedInStream), true),
            (source(sync::ErrorKind::NoAuth), false),
            (
                source(sync::ErrorKind::CannotContinue {
                    replid: None,
                    gap: None,
                }),
                false,
            ),
            (target(sink::ErrorKind::Connect(refused)), true),
            (
                target(sink::ErrorKind::Lost {
                    unconfirmed: 1,
                    source: None,
                }),
                true,
            ),
            (target(sink::ErrorKind::NotEmpty { keys: 1 }), false),
            (target(sink::ErrorKind::LaneLogin(login)), false),
            (Error::Interrupted, false),
            (Error::SameServer, false),
        ] {
            assert_eq!(error.may_pass(), passes, "{error}");
        }
    }
}
