//! Slots that Valkey was importing when it wrote the file (opcode 243 under `VALKEY`).
//!
//! ```text
//! 0xF3 | str name of the job, 40 bytes | len n | n * (len first slot, len last slot)
//! ```

use bytes::Bytes;

use super::cursor::{Cursor, Stop};
use super::event::Event;
use super::limits::Limits;

const JOB_NAME_BYTES: usize = 40;
/// How many slots a cluster has; no more ranges than that make sense.
const SLOTS: u64 = 16384;

/// An import that is being read.
#[derive(Debug)]
pub(crate) struct SlotImport {
    job: Bytes,
    left: u64,
    ranges: Vec<(u16, u16)>,
}

impl SlotImport {
    /// Reads the name and how many ranges there are.
    pub(crate) fn begin(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Self, Stop> {
        let job = cursor.text(limits)?;
        if job.len() != JOB_NAME_BYTES {
            return Err(cursor.corrupt("the name of a slot import is not 40 bytes long"));
        }
        let left = cursor.count()?;
        if left > SLOTS {
            return Err(cursor.corrupt("more ranges of slots than there are slots"));
        }
        let ranges = Vec::new();
        Ok(Self { job, left, ranges })
    }

    /// Reads the ranges.
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, Stop> {
        while self.left > 0 {
            self.ranges.push((slot(cursor)?, slot(cursor)?));
            self.left -= 1;
            cursor.commit();
        }
        Ok(Event::SlotImport {
            job: std::mem::take(&mut self.job),
            ranges: std::mem::take(&mut self.ranges),
        })
    }
}

fn slot(cursor: &mut Cursor<'_>) -> Result<u16, Stop> {
    let slot = cursor.length()?;
    let known = Some(slot).filter(|slot| *slot < SLOTS);
    known
        .and_then(|slot| u16::try_from(slot).ok())
        .ok_or_else(|| cursor.corrupt("impossible slot"))
}
