//! What can go wrong with the files of a spool, and what to do about it.

use std::{io, path::PathBuf};

use super::Damage;

/// Why a spool cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[error("spool {} {kind}", path.display())]
pub struct Error {
    /// The directory or the file.
    pub path: PathBuf,
    /// What went wrong.
    pub kind: ErrorKind,
}

/// What can go wrong with the files of a spool.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The directory or a file in it cannot be opened or made.
    #[error("cannot be opened")]
    Open(#[source] io::Error),
    /// The directory is not one that was made for a spool, or others may read it.
    #[error("is not used: {0}")]
    Refused(Refusal),
    /// Another process uses the directory.
    #[error("is used by {}", process(*pid))]
    Locked {
        /// Its process id, if it is known.
        pid: Option<u32>,
    },
    /// A spool or journal is open on the directory in this process.
    #[error("is in use")]
    InUse,
    /// A file cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// A file cannot be written.
    #[error("cannot be written")]
    Write(#[source] io::Error),
    /// A file cannot be removed.
    #[error("cannot be removed")]
    Remove(#[source] io::Error),
    /// The bytes of a file are not those that were written.
    #[error("is damaged at position {position} (segment {segment}): {what}")]
    Damaged {
        /// The number of the segment.
        segment: u64,
        /// The position in the sequence that cannot be read.
        position: u64,
        /// What is wrong with the bytes.
        what: Damage,
    },
    /// The quota leaves no room.
    #[error("is full: its quota is {disk_bytes_max} bytes")]
    QuotaFull {
        /// The quota.
        disk_bytes_max: u64,
    },
    /// What is asked for is not held.
    #[error(transparent)]
    NotHeld(#[from] NotHeld),
}

impl ErrorKind {
    /// Whether it may go away although nobody has done anything about it: another process ends, a
    /// disk gets room.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn may_pass(&self) -> bool {
        match self {
            ErrorKind::Locked { .. }
            | ErrorKind::InUse
            | ErrorKind::Write(_)
            // A later run asks the source for it.
            | ErrorKind::Damaged { .. }
            | ErrorKind::QuotaFull { .. } => true,
            ErrorKind::Open(_)
            | ErrorKind::Refused(_)
            | ErrorKind::Read(_)
            | ErrorKind::Remove(_)
            | ErrorKind::NotHeld(_) => false,
        }
    }
}

/// Why a directory is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its name is not a plain file name.
    #[error("its name is not a plain file name")]
    Name,
    /// It is a file or a link.
    #[error("it is not a directory")]
    NoDirectory,
    /// It has no marker file, or one of another version: it holds something else.
    #[error("it exists, and holds no marker of keyferry of this version")]
    NoMarker,
    /// It belongs to another user.
    #[error("it belongs to another user")]
    Owner,
    /// Others than its owner may read or write it.
    #[error("others than its owner have access to it")]
    Mode,
}

/// A position that cannot be read: nothing before `first` is kept, nothing behind `end` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("position {asked} is not held, only {first} to {end}")]
pub struct NotHeld {
    /// The first position that is held.
    pub first: u64,
    /// The position behind the last byte.
    pub end: u64,
    /// The position that was asked for.
    pub asked: u64,
}

/// The other half is gone: nobody will take what is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the spool is gone")]
pub struct Closed;

impl Error {
    pub(super) fn new(path: impl Into<PathBuf>, kind: impl Into<ErrorKind>) -> Error {
        Error {
            path: path.into(),
            kind: kind.into(),
        }
    }

    /// Whether somebody else uses it.
    pub fn is_in_use(&self) -> bool {
        matches!(self.kind, ErrorKind::Locked { .. } | ErrorKind::InUse)
    }

    /// Why it failed; empty where the first line says it all.
    pub fn why(&self) -> String {
        match &self.kind {
            ErrorKind::Open(error)
            | ErrorKind::Read(error)
            | ErrorKind::Write(error)
            | ErrorKind::Remove(error) => error.to_string(),
            ErrorKind::Refused(_) => {
                "what it holds must stay private, and nothing of others is touched".into()
            }
            ErrorKind::Locked { .. } | ErrorKind::InUse => {
                "two must not write into one directory".into()
            }
            ErrorKind::Damaged { .. } => "the disk lost or changed what was written to it".into(),
            ErrorKind::QuotaFull { .. } => {
                "what the source sent and the target has not confirmed is kept there".into()
            }
            ErrorKind::NotHeld(_) => String::new(),
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match &self.kind {
            ErrorKind::Open(_) | ErrorKind::Write(_) => {
                "check the path, its permissions and the free space".into()
            }
            ErrorKind::Read(_) | ErrorKind::Damaged { .. } => {
                "check the disk, and run the same command again: what was lost is asked of the source".into()
            }
            ErrorKind::Refused(Refusal::Owner | Refusal::Mode) => {
                "run as the same user as before with `chmod 700` on it, or give another directory"
                    .into()
            }
            ErrorKind::Refused(_) => {
                "give another directory, or remove this one if nobody needs it".into()
            }
            ErrorKind::Locked { .. } => {
                "wait for the other run to end, or give another directory".into()
            }
            ErrorKind::InUse => "give each migration a directory of its own".into(),
            ErrorKind::Remove(_) => "remove it by hand".into(),
            ErrorKind::QuotaFull { .. } => "raise the quota, or help the target to keep up".into(),
            ErrorKind::NotHeld(_) => "what is missing is asked of the source again".into(),
        }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or("another process".into(), |pid| format!("process {pid}"))
}
