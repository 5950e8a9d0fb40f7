//! The names of the keys that a snapshot writes, kept so that an interrupted one can be undone.
//!
//! A name is on disk before its key is sent. What a snapshot wrote that was interrupted is removed
//! before the next one is taken: the source may have deleted some of it meanwhile, and nobody would
//! ever tell the target.

use bytes::Bytes;

use crate::{keyspace::Db, sink::Admin, spool::Journal};

use super::Error;

/// Names are removed from the target so many at a time.
const UNDO_KEYS: usize = 1000;

/// Keeps the names of what is written.
#[derive(Debug)]
pub(super) struct Written {
    journal: Option<Journal>,
    /// Names that are not on disk yet.
    noted: Vec<Vec<u8>>,
}

impl Written {
    pub(super) fn new(journal: Journal) -> Written {
        Written {
            journal: Some(journal),
            noted: Vec::new(),
        }
    }

    /// Takes a name that is going to be written.
    pub(super) fn note(&mut self, db: Db, key: &[u8]) {
        self.noted.push(name::entry(db, key));
    }

    /// Puts the names that were noted on disk. May be dropped midway: the run is over then.
    ///
    /// # Errors
    /// The spool's.
    pub(super) async fn keep(&mut self) -> Result<(), Error> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let noted = std::mem::take(&mut self.noted);
        let Some(mut journal) = self.journal.take() else {
            return Ok(());
        };
        let (journal, kept) = blocking(move || {
            let kept = journal.append(&noted);
            (journal, kept)
        })
        .await;
        self.journal = Some(journal);
        Ok(kept?)
    }
}

/// Removes from the target what `journal` names, then forgets the names. Returns how many there
/// were.
///
/// # Errors
/// The target's; the spool's.
pub(super) async fn undo(journal: Journal, admin: &mut Admin) -> Result<u64, Error> {
    let mut entries = journal.read()?;
    let mut names = 0;
    loop {
        let (back, page) = blocking(move || {
            let page: Result<Vec<_>, _> = entries.by_ref().take(UNDO_KEYS).collect();
            (entries, page)
        })
        .await;
        entries = back;
        let page: Vec<Bytes> = page?;
        if page.is_empty() {
            break;
        }
        names += page.len() as u64;
        admin
            .remove_keys(page.iter().filter_map(|entry| name::of(entry)))
            .await?;
    }
    journal.remove()?;
    Ok(names)
}

/// How the name of a key stands in a list: its db (4 bytes, little-endian), then the name.
pub(super) mod name {
    use crate::keyspace::Db;

    pub(in super::super) fn entry(db: Db, key: &[u8]) -> Vec<u8> {
        [&db.0.to_le_bytes(), key].concat()
    }

    pub(in super::super) fn of(entry: &[u8]) -> Option<(Db, &[u8])> {
        let (db, key) = entry.split_first_chunk()?;
        Some((Db(u32::from_le_bytes(*db)), key))
    }
}

/// Does work with files where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
