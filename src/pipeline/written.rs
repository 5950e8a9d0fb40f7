//! The names of the keys that a snapshot writes, kept so that an interrupted one can be undone.
//!
//! A name is on disk before its key is sent. What a snapshot wrote that was interrupted is removed
//! before the next one is taken: the source may have deleted some of it meanwhile, and nobody would
//! ever tell the target.

use crate::{keyspace::Db, sink::Admin, spool::Journal};

use super::{
    Error,
    names::{NamePages, Names},
};

/// Names are removed from the target so many at a time.
const UNDO_KEYS: usize = 1000;

/// Keeps the names of what is written.
#[derive(Debug)]
pub(super) struct Written {
    journal: Option<Journal>,
    /// Names that are not on disk yet.
    noted: NamePages,
}

impl Written {
    pub(super) fn new(journal: Journal) -> Written {
        Written {
            journal: Some(journal),
            noted: NamePages::default(),
        }
    }

    /// Takes a name that is going to be written.
    pub(super) fn note(&mut self, db: Db, key: &[u8]) {
        self.noted.push(db, key);
    }

    /// Puts the names that were noted on disk. May be dropped midway: the run is over then.
    ///
    /// # Errors
    /// The spool's.
    pub(super) async fn keep(&mut self) -> Result<(), Error> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let noted = self.noted.take();
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
    let mut pages = journal.read()?;
    let mut count = 0;
    loop {
        let (back, page) = blocking(move || {
            let page = pages.next();
            (pages, page)
        })
        .await;
        pages = back;
        let Some(page) = page else { break };
        let page = page?;
        let mut names = Names::of(&page);
        loop {
            let some: Vec<_> = names.by_ref().take(UNDO_KEYS).collect();
            if some.is_empty() {
                break;
            }
            count += some.len() as u64;
            admin
                .remove_keys(some.iter().map(|(db, key)| (*db, &key[..])))
                .await?;
        }
    }
    journal.remove()?;
    Ok(count)
}

/// Does work with files where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
