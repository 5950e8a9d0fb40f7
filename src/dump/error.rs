//! What can go wrong while an RDB is read, and what to do about it.

use std::io;

use crate::{rdb, sync};

/// Why an RDB could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("{input} {kind}")]
pub struct Error {
    /// The file, `standard input`, or the source.
    pub input: String,
    /// What went wrong.
    pub kind: ErrorKind,
}

/// What can go wrong while an RDB is read.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The file cannot be opened.
    #[error("cannot be opened")]
    Open(#[source] io::Error),
    /// The input cannot be read, or is not what its compression says.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The compression around the RDB is of a kind that is not known.
    #[error("is wrapped in a way that cannot be opened: {0}")]
    Wrapped(&'static str),
    /// The bytes are not those of a whole RDB.
    #[error("cannot be used: {0}")]
    Rdb(Box<rdb::Error>),
    /// The live source, or the link to it.
    #[error("failed: {0}")]
    Source(Box<sync::Error>),
}

impl Error {
    /// Why it failed; empty where the first line says it all.
    pub fn why(&self) -> String {
        match &self.kind {
            ErrorKind::Open(error) | ErrorKind::Read(error) => error.to_string(),
            ErrorKind::Wrapped(_) => String::new(),
            ErrorKind::Rdb(error) => match error.kind {
                rdb::ErrorKind::UnknownVersion(_) => {
                    "no server is known that writes this version, so what stands in it is unknown"
                        .into()
                }
                rdb::ErrorKind::NotRdb(_) => String::new(),
                _ => "its bytes are not those of a whole RDB".into(),
            },
            ErrorKind::Source(error) => error.why(),
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match &self.kind {
            ErrorKind::Open(_) => "check the path and its permissions; `-` reads standard input".into(),
            ErrorKind::Read(_) => "check the disk, or whether the file was copied whole".into(),
            ErrorKind::Wrapped(_) => "unpack it first and give the RDB inside".into(),
            ErrorKind::Rdb(error) => match error.kind {
                rdb::ErrorKind::NotRdb(_) => "give an RDB file, such as the dump.rdb of a server".into(),
                rdb::ErrorKind::UnknownVersion(_) => "use a newer keyferry, if its server is newer; `keyferry rdb check --newer-versions` reads it as far as it is known; else the file is damaged".into(),
                rdb::ErrorKind::Truncated => "copy the file again, or take a new one: `keyferry rdb dump`".into(),
                _ => "`keyferry rdb check` shows where it is damaged; take a new one with `keyferry rdb dump`".into(),
            },
            ErrorKind::Source(error) => error.next(),
        }
    }
}
