//! Where differences are written: a file that names all of them.
//!
//! ```text
//!  .jsonl   one object a line: head, difference, undecided, suspect, settled, progress, repair, summary
//!  .csv     one difference, undecided key or repair a row
//!  .sqlite  tables, see docs/verify.md
//!  .html    one page with a grid of slots
//! ```
//!
//! JSON Lines and SQLite grow in place and also keep how far the verification has come, so that it
//! can be resumed. CSV and HTML appear when they are complete, or not at all.
//!
//! What has to be known to go on is the last bookmark, and the suspects that have no verdict. Suspects
//! stand before the bookmark that covers them, so whatever the file was cut at, no key is forgotten:
//! at worst a page is walked twice.

mod bookmark;
mod csv;
mod head;
mod html;
mod jsonl;
mod record;
mod sqlite;

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{Difference, Error, Summary, Undecided};
use crate::{
    dump::{OutputError, OutputErrorKind},
    keyspace::{Db, Slot},
};

pub use bookmark::{Bookmark, Pass, Resumed, Suspect, Tallies};
pub use head::Head;

use csv::Csv;
use html::Html;
use jsonl::Jsonl;
use sqlite::Sqlite;

/// The version of what is written; it grows when something that is there changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Nobody but its owner reads or writes the file.
const OWNER_ONLY: u32 = 0o600;

const ENDINGS: &str = "give a name that ends in .jsonl, .csv, .sqlite, .db or .html";

/// What was done about a key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Its db.
    pub db: Db,
    /// Its name.
    pub key: Bytes,
    /// What was done.
    pub action: RepairAction,
}

/// What can be done about a key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairAction {
    /// The source's value and expiry were written to the target.
    Copied,
    /// It was removed from the target.
    Removed,
    /// The target's key got the source's expiry.
    ExpirySet,
    /// Nothing, for this reason.
    Skipped(String),
    /// It was tried, and this is what went wrong.
    Failed(String),
}

impl RepairAction {
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            RepairAction::Copied => "copied",
            RepairAction::Removed => "removed",
            RepairAction::ExpirySet => "expiry_set",
            RepairAction::Skipped(_) => "skipped",
            RepairAction::Failed(_) => "failed",
        }
    }

    /// Why nothing was done, or what went wrong.
    pub fn detail(&self) -> Option<&str> {
        match self {
            RepairAction::Skipped(detail) | RepairAction::Failed(detail) => Some(detail),
            RepairAction::Copied | RepairAction::Removed | RepairAction::ExpirySet => None,
        }
    }
}

/// A form that a report has.
trait Format: Send {
    /// All differences of a key, or of a function library.
    fn differences(&mut self, of_key: &[Difference]) -> io::Result<()>;
    fn undecided(&mut self, undecided: &Undecided) -> io::Result<()>;
    fn repaired(&mut self, repaired: &Repaired) -> io::Result<()>;
    /// Completes it.
    fn finish(self: Box<Self>, summary: &Summary) -> io::Result<()>;

    // What follows is for going on later; not every form can.

    fn suspects(&mut self, _: &[Suspect]) -> io::Result<()> {
        Ok(())
    }
    fn settled(&mut self, _: Db, _: &Bytes) -> io::Result<()> {
        Ok(())
    }
    fn bookmark(&mut self, _: &Bookmark) -> io::Result<()> {
        Ok(())
    }
}

/// A report that is being written.
pub struct Report {
    path: PathBuf,
    format: Box<dyn Format>,
}

impl Report {
    /// Looks whether there can be a report of this name, before anything is done for it.
    ///
    /// # Errors
    /// `UnusableReport`, as of [`Report::create`].
    pub fn may_be_at(path: &Path, overwrite: bool, resume: bool) -> Result<(), Error> {
        ending(path)?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(unusable(path, &OutputErrorKind::Special)),
            Ok(_) if !overwrite && !resume => Err(unusable(path, &OutputErrorKind::Exists)),
            _ => Ok(()),
        }
    }

    /// Begins a report, of the form that the ending of its name says: `.jsonl`, `.csv`, `.sqlite`
    /// (or `.db`), `.html`.
    ///
    /// # Errors
    /// `UnusableReport` for another ending, for something that is not a regular file, and, unless
    /// `overwrite` allows to replace it, for a file that exists; `Report`.
    pub fn create(path: &Path, head: &Head, overwrite: bool) -> Result<Report, Error> {
        let format: Box<dyn Format> = match ending(path)? {
            Ending::Csv => Box::new(Csv::create(path, overwrite).map_err(|e| of_output(path, e))?),
            Ending::Html => {
                let html = Html::create(path, head, overwrite);
                Box::new(html.map_err(|error| of_output(path, error))?)
            }
            Ending::Jsonl => {
                let jsonl = Jsonl::create(created(path, overwrite)?, head);
                Box::new(jsonl.map_err(|error| failed(path, "written", error))?)
            }
            Ending::Sqlite => {
                created(path, overwrite)?;
                let sqlite = Sqlite::create(path, head);
                Box::new(sqlite.map_err(|error| failed(path, "written", error))?)
            }
        };
        Ok(Report {
            path: path.to_owned(),
            format,
        })
    }

    /// Opens the report of an interrupted verification, to go on with it.
    ///
    /// # Errors
    /// `UnusableReport` for a form that does not keep what is needed for it, `OtherReport` for the
    /// report of another verification, `Report`.
    pub fn resume(path: &Path, head: &Head) -> Result<(Report, Resumed), Error> {
        let opened = match ending(path)? {
            Ending::Csv | Ending::Html => {
                return Err(Error::UnusableReport {
                    path: path.to_owned(),
                    why: "CSV and HTML do not keep how far a verification has come".to_owned(),
                    next: "only .jsonl and .sqlite can be resumed; leave out --resume to begin anew",
                });
            }
            Ending::Jsonl => Jsonl::resume(path, head).map(|(jsonl, resumed)| {
                let format: Box<dyn Format> = Box::new(jsonl);
                (format, resumed)
            }),
            Ending::Sqlite => Sqlite::resume(path, head).map(|(sqlite, resumed)| {
                let format: Box<dyn Format> = Box::new(sqlite);
                (format, resumed)
            }),
        };
        match opened {
            Ok((format, resumed)) => {
                let path = path.to_owned();
                Ok((Report { path, format }, resumed))
            }
            Err(Refusal::Other(why)) => Err(Error::OtherReport {
                path: path.to_owned(),
                why,
            }),
            Err(Refusal::Failed(error)) => Err(failed(path, "read", error)),
        }
    }

    /// Names the differences of one key or function library, all of them at once.
    ///
    /// # Errors
    /// `Report`, as of all that follow.
    pub fn differences(&mut self, of_key: &[Difference]) -> Result<(), Error> {
        let done = self.format.differences(of_key);
        self.written(done)
    }

    /// Names a key that nothing can be said about.
    pub fn undecided(&mut self, undecided: &Undecided) -> Result<(), Error> {
        let done = self.format.undecided(undecided);
        self.written(done)
    }

    /// Keeps keys that will be read again. Before the bookmark that covers them.
    pub fn suspects(&mut self, suspects: &[Suspect]) -> Result<(), Error> {
        let done = self.format.suspects(suspects);
        self.written(done)
    }

    /// Keeps that a suspect has turned out to be equal.
    pub fn settled(&mut self, db: Db, key: &Bytes) -> Result<(), Error> {
        let done = self.format.settled(db, key);
        self.written(done)
    }

    /// Keeps how far it has come. All that was written before outlives the process then.
    pub fn bookmark(&mut self, bookmark: &Bookmark) -> Result<(), Error> {
        let done = self.format.bookmark(bookmark);
        self.written(done)
    }

    /// Names what was done about a key.
    pub fn repaired(&mut self, repaired: &Repaired) -> Result<(), Error> {
        let done = self.format.repaired(repaired);
        self.written(done)
    }

    /// Completes it: it is on the disk under its name when this returns.
    pub fn finish(self, summary: &Summary) -> Result<(), Error> {
        let finished = self.format.finish(summary);
        finished.map_err(|error| failed(&self.path, "written", error))
    }

    fn written(&self, done: io::Result<()>) -> Result<(), Error> {
        done.map_err(|error| failed(&self.path, "written", error))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why a report cannot be gone on with.
#[derive(Debug)]
enum Refusal {
    /// It is that of another verification, or none at all.
    Other(String),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Failed(error)
    }
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Jsonl,
    Csv,
    Sqlite,
    Html,
}

fn ending(path: &Path) -> Result<Ending, Error> {
    let ending = path.extension().unwrap_or_default().to_str();
    match ending {
        Some("jsonl") => Ok(Ending::Jsonl),
        Some("csv") => Ok(Ending::Csv),
        Some("sqlite" | "db") => Ok(Ending::Sqlite),
        Some("html") => Ok(Ending::Html),
        _ => Err(Error::UnusableReport {
            path: path.to_owned(),
            why: "its ending does not say what to write".to_owned(),
            next: ENDINGS,
        }),
    }
}

/// A file that grows in place, empty.
fn created(path: &Path, overwrite: bool) -> Result<File, Error> {
    let failed = |error| failed(path, "written", error);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(unusable(path, &OutputErrorKind::Special)),
        Ok(_) if !overwrite => return Err(unusable(path, &OutputErrorKind::Exists)),
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(OWNER_ONLY);
    match options.open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(unusable(path, &OutputErrorKind::Exists))
        }
        Err(error) => Err(failed(error)),
    }
}

fn unusable(path: &Path, kind: &OutputErrorKind) -> Error {
    let (why, next) = match kind {
        OutputErrorKind::Exists if !matches!(ending(path), Ok(Ending::Jsonl | Ending::Sqlite)) => (
            "it exists",
            "give another name, or --overwrite to replace it",
        ),
        OutputErrorKind::Exists => (
            "it exists",
            "give another name, --overwrite to replace it, or --resume to go on with it",
        ),
        _ => ("it is not a regular file", "give the name of a file"),
    };
    Error::UnusableReport {
        path: path.to_owned(),
        why: why.to_owned(),
        next,
    }
}

fn of_output(path: &Path, error: OutputError) -> Error {
    match error.kind {
        OutputErrorKind::Create(error) | OutputErrorKind::Write(error) => {
            failed(path, "written", error)
        }
        kind => unusable(path, &kind),
    }
}

fn failed(path: &Path, done: &'static str, source: io::Error) -> Error {
    Error::Report {
        path: path.to_owned(),
        done,
        source,
    }
}

/// As `io::Write` has it, for the middle of writing.
fn io_error(error: OutputError) -> io::Error {
    match error.kind {
        OutputErrorKind::Create(error) | OutputErrorKind::Write(error) => error,
        OutputErrorKind::Exists => io::ErrorKind::AlreadyExists.into(),
        OutputErrorKind::Special => io::ErrorKind::InvalidFilename.into(),
    }
}

/// The slot of a key; function libraries have none.
fn slot_of(difference: &Difference) -> Option<Slot> {
    (difference.kind != super::Kind::Function).then(|| Slot::of(&difference.key))
}

#[cfg(test)]
mod tests;
