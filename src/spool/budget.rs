//! What spools may hold, all together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

use super::{RECORD_BYTES_MAX, record::SPANS_MAX};

/// How much memory spools take together when nothing else is said, in bytes.
pub const MEMORY_BYTES_MAX: u64 = 128 << 20;

/// The size at which a segment is full, in bytes, unless the quota is small.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// What a spool may hold in memory although others have taken all of it, in bytes.
const FLOOR_BYTES: u64 = 1 << 20;

/// What several spools and journals may hold in memory and on disk, and what they hold.
///
/// Memory is bounded to `memory_bytes_max`, and for each spool one more piece or 1 MiB, so that
/// none of them stands still because of another. The quota of the disk is never passed.
#[derive(Debug)]
pub struct Budget {
    pub(super) memory: Account,
    pub(super) disk: Account,
    /// Told whenever memory becomes free.
    pub(super) room: Notify,
}

impl Budget {
    /// Bounds the bytes in memory, and those of the files.
    pub fn new(memory_bytes_max: u64, disk_bytes_max: u64) -> Budget {
        Budget {
            memory: Account::new(memory_bytes_max),
            disk: Account::new(disk_bytes_max),
            room: Notify::new(),
        }
    }

    /// Bytes in memory now. A piece counts with what it takes to remember it.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.used.load(Relaxed)
    }

    /// The most bytes that were ever in memory.
    pub fn memory_bytes_peak(&self) -> u64 {
        self.memory.peak.load(Relaxed)
    }

    /// Bytes of all files now.
    pub fn disk_bytes(&self) -> u64 {
        self.disk.used.load(Relaxed)
    }

    /// The most bytes that the files ever had.
    pub fn disk_bytes_peak(&self) -> u64 {
        self.disk.peak.load(Relaxed)
    }

    /// The bound of the bytes in memory.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory.bytes_max
    }

    /// The quota of the files.
    pub fn disk_bytes_max(&self) -> u64 {
        self.disk.bytes_max
    }

    /// Takes memory for a piece, unless it is full; one spool holds `own_bytes` of it.
    pub(super) fn admit(&self, own_bytes: u64, cost_bytes: u64) -> bool {
        if own_bytes == 0 || own_bytes.saturating_add(cost_bytes) <= self.floor_bytes() {
            self.memory.add(cost_bytes);
            return true;
        }
        self.memory.try_add(cost_bytes)
    }

    /// Whether a spool that holds `own_bytes` should begin to write, before memory is full.
    pub(super) fn is_pressed(&self, own_bytes: u64) -> bool {
        let headroom_bytes = self.memory.bytes_max / 8;
        own_bytes > self.floor_bytes()
            && self.memory_bytes() > self.memory.bytes_max - headroom_bytes
    }

    /// Gives memory back, and says so to who waits for it.
    pub(super) fn free_memory(&self, bytes: u64) {
        if bytes > 0 {
            self.memory.sub(bytes);
            self.room.notify_waiters();
        }
    }

    /// The size at which a segment is full: several of them fit the quota.
    pub(super) fn segment_bytes_max(&self) -> u64 {
        (self.disk.bytes_max / 8).min(SEGMENT_BYTES_MAX)
    }

    /// The most data in a record, so that even a small quota holds some.
    pub(super) fn record_bytes_max(&self) -> usize {
        let share = (self.disk.bytes_max / 8).max(SPANS_MAX as u64);
        usize::try_from(share).map_or(RECORD_BYTES_MAX, |share| share.min(RECORD_BYTES_MAX))
    }

    fn floor_bytes(&self) -> u64 {
        (self.memory.bytes_max / 8).min(FLOOR_BYTES)
    }
}

impl Default for Budget {
    /// [`MEMORY_BYTES_MAX`] of memory, and files without a bound.
    fn default() -> Budget {
        Budget::new(MEMORY_BYTES_MAX, u64::MAX)
    }
}

/// A count of bytes with a bound and its highest value.
#[derive(Debug)]
pub(super) struct Account {
    used: AtomicU64,
    peak: AtomicU64,
    pub(super) bytes_max: u64,
}

impl Account {
    fn new(bytes_max: u64) -> Account {
        Account {
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            bytes_max,
        }
    }

    /// Counts these bytes, whatever the bound.
    pub(super) fn add(&self, bytes: u64) {
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(used, Relaxed);
    }

    /// Counts these bytes if they fit.
    pub(super) fn try_add(&self, bytes: u64) -> bool {
        let added = self.used.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes)
                .filter(|used| *used <= self.bytes_max)
        });
        if let Ok(before) = added {
            self.peak.fetch_max(before + bytes, Relaxed);
        }
        added.is_ok()
    }

    pub(super) fn sub(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_but_never_closed_to_a_spool() {
        let budget = Budget::new(800, 0);
        assert!(budget.admit(0, 700));
        assert!(budget.admit(700, 100));
        assert!(!budget.admit(800, 1), "full");
        assert!(budget.admit(0, 5000), "another one has nothing yet");
        assert!(budget.admit(60, 40), "its floor is an eighth");
        assert!(!budget.admit(60, 41));
        budget.free_memory(5800);
        assert_eq!(
            (budget.memory_bytes(), budget.memory_bytes_peak()),
            (40, 5840)
        );
    }

    #[test]
    fn the_quota_is_never_passed() {
        let budget = Budget::new(0, 10);
        assert!(budget.disk.try_add(10));
        assert!(!budget.disk.try_add(1));
        assert!(!budget.disk.try_add(u64::MAX), "nor by overflow");
        budget.disk.sub(4);
        assert!(budget.disk.try_add(4));
        assert_eq!((budget.disk_bytes(), budget.disk_bytes_peak()), (10, 10));
    }
}
