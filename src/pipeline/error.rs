//! Why a migration failed, on whose side, and what to do next.

use crate::{dump, net::Endpoint, rdb, sink, sync};

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
        match emptied {
            true => Error::AfterFlush {
                error: Box::new(self),
            },
            false => self,
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
                _ => Side::Target,
            },
            Error::AfterFlush { error } => error.side(),
            Error::SkippedTooMany { .. }
            | Error::StoppedWithin { .. }
            | Error::Interrupted
            | Error::Aborted => Side::Local,
            Error::SameServer | Error::FlushDeclined => Side::Usage,
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
                "see the source's log for the reason (client-output-buffer-limit replica, a failed fork, a full disk), then run again with --on-conflict replace or --flush-target".into()
            }
            Error::Snapshot { .. } => {
                "run again with --on-conflict replace or --flush-target; if it fails at the same key, check the source's memory and that key".into()
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
            Error::SkippedTooMany { .. } => {
                "run again with --on-conflict replace, or without the stream: --mode full".into()
            }
            Error::Interrupted => {
                "run again with --on-conflict replace or --flush-target: what is there is written again".into()
            }
            Error::SameServer => "give the address of another server as --target".into(),
            Error::Aborted => {
                "run again with --on-conflict replace or --flush-target; one signal alone stops cleanly".into()
            }
            Error::FlushDeclined => {
                "run again without --flush-target, with --on-conflict if the target keeps its keys".into()
            }
        }
    }
}
