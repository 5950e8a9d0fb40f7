//! The half of a spool that is filled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::keyspace::UnixMs;

use super::{Closed, Error, Gauge, Origin, Usage, ledger::cost, shared::Shared};

/// How long a reader that has read everything waits for more, while nothing more can be taken
/// because of what it has not released, until that is given up.
const STARVED_AFTER: Duration = Duration::from_secs(2);

/// The half of a spool that is filled; the reader finds the end of the bytes when it is dropped.
#[derive(Debug)]
pub struct Writer(pub(super) Arc<Shared>);

impl Writer {
    /// Puts bytes behind all others. Waits only while memory is full and the disk takes nothing.
    /// They are not copied: a slice keeps all of the buffer that it is a part of.
    ///
    /// When all that was read is still unreleased, the bounds are reached by that alone, and the
    /// reader has waited for more for 2 seconds, then it can get more only if what it has read is
    /// given up: that is done, with a warning, and [`super::Reader::rewind`] goes less far back.
    ///
    /// May be dropped midway: nothing was appended then.
    ///
    /// # Errors
    /// `Closed` when the reader is gone.
    pub async fn push(&mut self, bytes: Bytes, received_at_ms: UnixMs) -> Result<(), Closed> {
        let _unwanted = Unwanted(&self.0);
        loop {
            let room = self.0.budget.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.try_push(&bytes, received_at_ms)? {
                return Ok(());
            }
            let released = self.0.ledger().released();
            if tokio::time::timeout(STARVED_AFTER, room).await.is_err() {
                self.relieve(released);
            }
        }
    }

    /// Says that what is pushed from here on has another origin, at the same positions.
    pub fn set_origin(&mut self, origin: Origin) {
        self.0.ledger().set_origin(origin);
    }

    /// The position of the next byte that is pushed.
    pub fn position(&self) -> u64 {
        self.0.ledger().end()
    }

    /// Writes everything that is in memory to disk, so that a later run finds it; gives false when
    /// the spool has no directory. It is in the hands of the system then, which a process that ends
    /// does not change; it is not forced onto the medium.
    ///
    /// May be dropped midway: it is written all the same.
    ///
    /// # Errors
    /// `QuotaFull` or `Write`; what was written so far can be found.
    pub async fn persist(&mut self) -> Result<bool, Error> {
        self.0.persist().await
    }

    /// What is held at the moment.
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }

    /// Watches the spool from elsewhere.
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::downgrade(&self.0))
    }

    /// Appends the bytes if there is room for them.
    fn try_push(&self, bytes: &Bytes, received_at_ms: UnixMs) -> Result<bool, Closed> {
        let budget = &self.0.budget;
        let piece_bytes_max = budget.record_bytes_max();
        let cost_bytes = bytes
            .len()
            .checked_div(piece_bytes_max)
            .map_or(0, |full| full as u64 * cost(piece_bytes_max))
            + match bytes.len() % piece_bytes_max {
                0 => 0,
                rest => cost(rest),
            };
        let mut ledger = self.0.ledger();
        if ledger.is_reader_gone {
            return Err(Closed);
        }
        let is_admitted = budget.admit(ledger.memory_bytes(), cost_bytes);
        ledger.wanted_bytes = if is_admitted { 0 } else { cost_bytes };
        if is_admitted {
            ledger.push(bytes.clone(), received_at_ms, piece_bytes_max);
        }
        let is_pressed = budget.is_pressed(ledger.memory_bytes());
        drop(ledger);
        if is_admitted {
            self.0.readable.notify_one();
        }
        if is_pressed || !is_admitted {
            self.0.wake_disk();
        }
        Ok(is_admitted)
    }

    /// Gives up what was read, if the reader waits for more than fits beside it.
    fn relieve(&self, released_before: u64) {
        let ledger = self.0.ledger();
        let (read, released) = (ledger.read(), ledger.released());
        let is_starved = ledger.is_reader_waiting && read == ledger.end();
        drop(ledger);
        if is_starved && released == released_before && released < read {
            tracing::warn!(
                bytes = read - released,
                "the spool is full of bytes that were read and are not confirmed, and more are \
                 needed: what was read is given up and cannot be read again"
            );
            self.0.release(read);
        }
    }
}

/// Nothing is wanted any more when a push ends, in whichever way.
struct Unwanted<'a>(&'a Shared);

impl Drop for Unwanted<'_> {
    fn drop(&mut self) {
        self.0.ledger().wanted_bytes = 0;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.leave(|ledger| ledger.is_writer_gone = true);
        self.0.readable.notify_one();
    }
}
