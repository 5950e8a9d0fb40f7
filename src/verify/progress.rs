//! How far a verification has come, for whoever shows it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use crate::telemetry::Counter;

/// What a verification does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Both servers are connected and looked at.
    Connecting,
    /// Both servers send their snapshots.
    Snapshots,
    /// The keys of the source are compared.
    Comparing,
    /// The keys of the target are looked up on the source.
    LookingUp,
    /// What differed is read again.
    Rechecking,
    /// What differs is put right.
    Repairing,
}

impl Phase {
    const ALL: [Phase; 6] = [
        Phase::Connecting,
        Phase::Snapshots,
        Phase::Comparing,
        Phase::LookingUp,
        Phase::Rechecking,
        Phase::Repairing,
    ];

    /// Its name in progress lines.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Snapshots => "taking snapshots",
            Phase::Comparing => "comparing",
            Phase::LookingUp => "looking for keys that only the target has",
            Phase::Rechecking => "reading again what differed",
            Phase::Repairing => "repairing",
        }
    }
}

/// Counts what is done. Shared by all tasks of a verification.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    /// Keys that this phase will come across, as far as that is known.
    pub keys_total: Counter,
    /// Keys that this phase has come across.
    pub keys_done: Counter,
    /// Keys of the source that were looked for on the target.
    pub keys_compared: Counter,
    /// Keys of the target that were looked for on the source.
    pub keys_looked_up: Counter,
    /// Bytes received from both sides.
    pub bytes_read: Counter,
    /// Values that were compared page by page.
    pub large_keys: Counter,
    /// Keys of keyferry itself, and keys that are not selected.
    pub filtered: Counter,
    /// Keys that the sample leaves out.
    pub not_sampled: Counter,
    /// Expiries that a running sync holds.
    pub expiries_held: Counter,
    /// Keys that differ, as far as that is known.
    pub suspects: Counter,
    /// Differences that were found for good.
    pub differences: Counter,
    waiting: Mutex<Option<String>>,
}

impl Progress {
    /// Begins a phase that will come across `keys_total` keys.
    pub fn enter(&self, phase: Phase, keys_total: u64) {
        self.keys_total.set(keys_total);
        self.keys_done.set(0);
        self.phase.store(phase as u8, Relaxed);
    }

    /// The phase it is in.
    pub fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Connecting)
    }

    /// Says why nothing moves, or that it does.
    pub fn wait_because(&self, reason: Option<String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if *waiting != reason {
            if let Some(reason) = &reason {
                tracing::warn!("waiting because the {reason}");
            }
            *waiting = reason;
        }
    }

    /// Why nothing moves.
    pub fn waiting(&self) -> Option<String> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.clone()
    }
}
