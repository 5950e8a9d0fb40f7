//! What a migration keeps on disk, in a directory of its own.
//!
//! ```text
//!  <spool-dir>/<name>/
//!    stream/    bytes of the stream that are received and not applied
//!    snapshot/  bytes of the snapshot that are received and not parsed
//!    written/   names of the keys that the snapshot has written
//!    skipped/   names of the keys that the target had and kept
//!    checkpoint with --checkpoint file
//! ```

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::SpoolConfig,
    spool::{self, Budget, Directory, Journal, Origin, Reader, Survived, Writer},
    sync::{Position, ReplOffset, Replid},
};

use super::{Error, Progress};

/// Both ends of a spool.
pub(super) type Spool = (Writer, Reader);

/// What a migration keeps on disk. The spools also work without a disk, in memory.
#[derive(Debug, Clone)]
pub(super) struct WorkDir {
    kept: Option<Kept>,
    budget: Arc<Budget>,
}

/// The directory and its parts, each of them open for one spool or list at a time.
#[derive(Debug, Clone)]
struct Kept {
    whole: Directory,
    stream: Directory,
    snapshot: Directory,
    written: Directory,
    skipped: Directory,
}

impl Kept {
    fn open(dir: &Path, name: &str) -> Result<Kept, spool::Error> {
        let whole = Directory::open(dir, name)?;
        let part = |name| Directory::open(whole.path(), name);
        Ok(Kept {
            stream: part("stream")?,
            snapshot: part("snapshot")?,
            written: part("written")?,
            skipped: part("skipped")?,
            whole,
        })
    }
}

impl WorkDir {
    /// Opens the directory of the migration called `name`. Where nobody said where it is to be, it
    /// may be missing.
    ///
    /// # Errors
    /// The spool's: it belongs to somebody else, is in use, or cannot be made.
    pub(super) fn open(config: &SpoolConfig, name: &str) -> Result<WorkDir, Error> {
        let plain = |c: char| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
            true => c,
            false => '_',
        };
        let name: String = name.chars().map(plain).collect();
        let kept = match (&config.dir, usual_dir()) {
            (Some(dir), _) => Some(Kept::open(dir, &name)?),
            (None, Some(dir)) => match Kept::open(&dir, &name) {
                Ok(kept) => Some(kept),
                Err(error) if error.is_in_use() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        "{error}: {}; nothing is kept on disk, give --spool-dir",
                        error.why()
                    );
                    None
                }
            },
            (None, None) => {
                tracing::warn!(
                    "there is no home directory; nothing is kept on disk, give --spool-dir"
                );
                None
            }
        };
        let memory_bytes_max = config.memory_bytes_max as u64;
        Ok(WorkDir {
            kept,
            budget: Arc::new(Budget::new(memory_bytes_max, config.disk_bytes_max)),
        })
    }

    /// Where it is; `None` when nothing is kept on disk.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.kept.as_ref().map(|kept| kept.whole.path().to_owned())
    }

    /// Opens an empty spool for a snapshot.
    pub(super) fn snapshot(&self) -> Result<Spool, Error> {
        let part = self.kept.as_ref().map(|kept| kept.snapshot.clone());
        let budget = Arc::clone(&self.budget);
        Ok(spool::spool(part, budget, 0, origin(None))?)
    }

    /// Opens an empty spool for the stream behind `offset`.
    pub(super) fn stream(
        &self,
        offset: ReplOffset,
        replid: Option<Replid>,
    ) -> Result<Spool, Error> {
        let part = self.kept.as_ref().map(|kept| kept.stream.clone());
        let budget = Arc::clone(&self.budget);
        Ok(spool::spool(part, budget, offset.get(), origin(replid))?)
    }

    /// Opens what an earlier run has spooled behind `at`, if it reaches from there on; returns the
    /// end of it as well.
    pub(super) fn survived(&self, at: Position) -> Result<Option<(Position, Spool)>, Error> {
        let Some(Kept { stream, .. }) = &self.kept else {
            return Ok(None);
        };
        let Some(survived) = stream.survivors(Some(&origin(Some(at.replid))))? else {
            return Ok(None);
        };
        let Survived { first, end, .. } = survived;
        let Ok(replid) = survived.origin.as_str().parse() else {
            return Ok(None);
        };
        if !(first..=end).contains(&at.offset.get()) {
            return Ok(None);
        }
        let (writer, mut reader) =
            spool::resume(stream.clone(), Arc::clone(&self.budget), survived)?;
        if reader.rewind(at.offset.get()).is_err() {
            return Ok(None);
        }
        let offset = ReplOffset::new(end);
        Ok(Some((Position { replid, offset }, (writer, reader))))
    }

    /// Opens the list of the keys that the snapshot has written; `None` when nothing is kept.
    pub(super) fn written(&self) -> Result<Option<Journal>, Error> {
        self.journal(|kept| &kept.written)
    }

    /// Opens the list of the keys that the target had and kept; `None` when nothing is kept.
    pub(super) fn skipped(&self) -> Result<Option<Journal>, Error> {
        self.journal(|kept| &kept.skipped)
    }

    fn journal(&self, part: fn(&Kept) -> &Directory) -> Result<Option<Journal>, Error> {
        let Some(kept) = &self.kept else {
            return Ok(None);
        };
        let budget = Arc::clone(&self.budget);
        Ok(Some(Journal::open(part(kept), budget, origin(None))?))
    }

    /// Removes everything that was kept: the migration is over, or begins anew.
    pub(super) fn clear(&self) -> Result<(), Error> {
        if let Some(kept) = &self.kept {
            for part in [&kept.stream, &kept.snapshot, &kept.written, &kept.skipped] {
                part.clear()?;
            }
        }
        Ok(())
    }

    /// Whether what is spooled takes more than half of what it may: of the disk, or of the memory
    /// where there is no disk for it.
    pub(super) fn is_half_full(&self) -> bool {
        let budget = &self.budget;
        match budget.disk_bytes_max() {
            disk_bytes_max @ 1.. if self.kept.is_some() => budget.disk_bytes() > disk_bytes_max / 2,
            _ => budget.memory_bytes() > budget.memory_bytes_max() / 2,
        }
    }

    /// Shows how much is spooled.
    pub(super) fn show(&self, progress: &Progress) {
        progress.spool_memory_bytes.set(self.budget.memory_bytes());
        progress.spool_disk_bytes.set(self.budget.disk_bytes());
    }
}

/// By what a stretch of the stream is known.
pub(super) fn origin(replid: Option<Replid>) -> Origin {
    let text = replid.map_or_else(String::new, |replid| replid.to_string());
    Origin::new(&text).expect("40 digits are short enough")
}

/// Where programs keep what they need again: for services what systemd gives them.
fn usual_dir() -> Option<PathBuf> {
    let dir = |name| {
        env::var_os(name)
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    };
    let home = || Some(dir("HOME")?.join(".local/state"));
    let state = dir("STATE_DIRECTORY")
        .or_else(|| dir("XDG_STATE_HOME"))
        .or_else(home)?;
    Some(state.join("keyferry"))
}
