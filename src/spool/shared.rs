//! What the two halves and the disk thread of a spool share.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    Budget, Directory, DiskTrouble, Error, ErrorKind, Usage, WaitingBecause,
    ledger::{Batch, Ledger, Segment},
};

#[derive(Debug)]
pub(super) struct Shared {
    ledger: Mutex<Ledger>,
    pub(super) budget: Arc<Budget>,
    /// Where memory goes when it is full.
    pub(super) directory: Option<Directory>,
    /// Told when there may be something for the disk thread.
    disk_work: Condvar,
    /// Told when there is something to read, or nothing will come any more.
    pub(super) readable: Notify,
    /// Told after every attempt to write.
    pub(super) written: Notify,
}

impl Shared {
    pub(super) fn new(ledger: Ledger, budget: Arc<Budget>, directory: Option<Directory>) -> Shared {
        budget.disk.add(ledger.disk_bytes());
        Shared {
            ledger: Mutex::new(ledger),
            budget,
            directory,
            disk_work: Condvar::new(),
            readable: Notify::new(),
            written: Notify::new(),
        }
    }

    /// The books. Never held while waiting or writing.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that there may be something for the disk thread.
    pub(super) fn wake_disk(&self) {
        if self.directory.is_some() {
            self.disk_work.notify_one();
        }
    }

    /// Waits until there may be something for the disk thread.
    pub(super) fn wait_for_disk_work<'a>(
        &self,
        ledger: MutexGuard<'a, Ledger>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, Ledger> {
        match at_most {
            None => self
                .disk_work
                .wait(ledger)
                .unwrap_or_else(PoisonError::into_inner),
            Some(at_most) => {
                let waited = self.disk_work.wait_timeout(ledger, at_most);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Lets go of everything before `position`, as far as it was read.
    pub(super) fn release(&self, position: u64) {
        let mut ledger = self.ledger();
        // Under the lock: whoever has nothing in memory may take more than there is.
        self.budget.free_memory(ledger.release(position));
        let has_doomed = ledger.has_doomed();
        drop(ledger);
        if has_doomed {
            self.wake_disk();
        }
    }

    /// Notes that a batch stands at the end of this segment.
    pub(super) fn commit(&self, batch: &Batch, segment: Segment) {
        let mut ledger = self.ledger();
        self.budget.free_memory(ledger.commit(batch, segment));
    }

    /// Notes that one half is gone. The disk thread ends when both are.
    pub(super) fn leave(&self, gone: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger();
        gone(&mut ledger);
        if let Some(directory) = self.directory.as_ref().filter(|_| ledger.is_over()) {
            // Under the lock, so that the thread ends behind this.
            directory.leave();
        }
        drop(ledger);
        self.wake_disk();
    }

    pub(super) fn usage(&self) -> Usage {
        let ledger = self.ledger();
        let waiting_because = (ledger.wanted_bytes > 0).then(|| match &self.directory {
            None => WaitingBecause::MemoryFull,
            Some(_) => ledger
                .trouble
                .map_or(WaitingBecause::DiskBusy, WaitingBecause::Disk),
        });
        Usage {
            memory_bytes: ledger.memory_bytes(),
            disk_bytes: ledger.disk_bytes(),
            unread_bytes: ledger.end() - ledger.read(),
            held_bytes: ledger.end() - ledger.released(),
            is_persisting: ledger.is_persisting(),
            waiting_because,
            disk_trouble: ledger.trouble,
        }
    }

    /// Brings everything that is in memory to disk; says whether there is a disk for it.
    pub(super) async fn persist(&self) -> Result<bool, Error> {
        let Some(directory) = &self.directory else {
            return Ok(false);
        };
        let (target, failures) = {
            let mut ledger = self.ledger();
            ledger.persist_to = ledger.end();
            ledger.is_retry_due = true;
            (ledger.end(), ledger.failures)
        };
        self.wake_disk();
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            written.as_mut().enable();
            {
                let mut ledger = self.ledger();
                if ledger.is_persisted(target) {
                    return Ok(true);
                }
                if let Some(trouble) = ledger.trouble.filter(|_| ledger.failures != failures) {
                    ledger.persist_to = 0;
                    return Err(Error::new(directory.path(), self.failure(trouble)));
                }
            }
            written.await;
        }
    }

    fn failure(&self, trouble: DiskTrouble) -> ErrorKind {
        match trouble {
            DiskTrouble::QuotaFull => ErrorKind::QuotaFull {
                disk_bytes_max: self.budget.disk_bytes_max(),
            },
            DiskTrouble::WriteFailed(kind) => ErrorKind::Write(kind.into()),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let ledger = self
            .ledger
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        self.budget.free_memory(ledger.memory_bytes());
        self.budget.disk.sub(ledger.disk_bytes());
    }
}

/// Watches a spool without keeping either half of it alive.
#[derive(Debug, Clone)]
pub struct Gauge(pub(super) std::sync::Weak<Shared>);

impl Gauge {
    /// What the spool holds; `None` when it is gone.
    pub fn usage(&self) -> Option<Usage> {
        self.0.upgrade().map(|shared| shared.usage())
    }
}
