//! What is in flight to the target, over all lanes of a migration.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Batch;

/// Bytes and requests that were sent and are not confirmed yet.
#[derive(Debug, Default)]
pub struct Window {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Window {
    /// Bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Commands and transactions in flight.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Counts a batch as in flight for as long as the result lives.
    pub(super) fn share(self: &Arc<Window>, batch: &Batch) -> Share {
        let (bytes, requests) = (batch.len() as u64, batch.requests.len() as u64);
        self.bytes.fetch_add(bytes, Relaxed);
        self.requests.fetch_add(requests, Relaxed);
        Share {
            window: Arc::clone(self),
            bytes,
            requests,
        }
    }
}

/// The part of the window that one batch takes.
#[derive(Debug)]
pub(super) struct Share {
    window: Arc<Window>,
    bytes: u64,
    requests: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.window.bytes.fetch_sub(self.bytes, Relaxed);
        self.window.requests.fetch_sub(self.requests, Relaxed);
    }
}
