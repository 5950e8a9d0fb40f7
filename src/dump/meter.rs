//! How far the reading of an RDB has come, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that a reader moves and a display reads.
#[derive(Debug, Default)]
pub struct Meter {
    bytes_total: AtomicU64,
    bytes: AtomicU64,
    keys: AtomicU64,
}

impl Meter {
    /// The size of the input in bytes, as it is stored; 0 when unknown.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }

    /// Bytes of the input that were read, as it is stored.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keys that were read.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    pub(super) fn set_bytes_total(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_key(&self) {
        self.keys.fetch_add(1, Ordering::Relaxed);
    }
}
