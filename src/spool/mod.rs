//! Where bytes wait that the source has sent and the target has not confirmed.
//!
//! ```text
//!          push                                                         next
//!  Writer ──────► ┌───────────────────────────────────────────────┐ ──────────► Reader
//!                 │ disk: segments of records   │ memory: pieces  │    ▲
//!                 │ oldest ...                  │      ... newest │    │ rewind
//!                 └───────────────────────────────────────────────┘ ◄──┴─────── release
//! ```
//!
//! A spool is a sequence of bytes with a position each: for the stream the replication offset, for
//! a snapshot a count from 0. One writer fills it, one reader takes from it and says what was
//! applied; until then it can go back and read again. Memory comes first. What is oldest goes to
//! disk when memory is full, so a reader that keeps up never touches the disk, and a source never
//! waits for the target while memory or the quota have room.
//!
//! What is on disk outlives the process: [`Directory::survivors`] finds it, and a spool goes on
//! where it ended. It is not forced onto the medium, so a machine that loses power may lose the
//! end of it; checksums show where, and the rest is asked of the source.
//!
//! A [`Journal`] is a list of entries in the same kind of files.
//!
//! The room knows positions and bytes, and not what they mean. Files are written by one thread for
//! each spool and read by the blocking threads of the runtime. The formats ([`SegmentReader`] and
//! what it reads) are pure: bytes of a damaged or foreign file give an error, never a panic, and
//! no memory is taken by a length that was not checked.

mod budget;
mod directory;
mod disk;
mod error;
mod journal;
mod ledger;
mod reader;
mod record;
mod segment;
mod segment_file;
mod shared;
mod survived;
mod usage;
mod writer;

use std::sync::Arc;

use bytes::{Buf, Bytes};

pub use budget::{Budget, MEMORY_BYTES_MAX};
pub use directory::Directory;
pub use error::{Closed, Error, ErrorKind, NotHeld, Refusal};
pub use journal::{Entries, Journal};
pub use reader::Reader;
pub use record::{Damage, RECORD_BYTES_MAX, Record, RecordEncoder, SPANS_MAX};
pub use segment::{Kind, Origin, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader, SegmentReader};
pub use shared::Gauge;
pub use survived::Survived;
pub use usage::{DiskTrouble, Usage, WaitingBecause};
pub use writer::Writer;

use crate::keyspace::UnixMs;

use ledger::Ledger;
use shared::Shared;

/// Bytes that stand together in the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The position of the first of them.
    pub position: u64,
    /// The bytes; at least one.
    pub bytes: Bytes,
    /// When they were received.
    pub received_at_ms: UnixMs,
}

impl Piece {
    /// The position behind the last byte.
    pub fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    /// What stands at `position` and behind it.
    fn from(mut self, position: u64) -> Piece {
        let before = position.saturating_sub(self.position);
        let before = usize::try_from(before).map_or(self.bytes.len(), |n| n.min(self.bytes.len()));
        self.bytes.advance(before);
        self.position += before as u64;
        self
    }
}

/// Opens an empty spool, whose first byte has the position `start`. With a directory it goes to
/// disk when memory is full; what an earlier run has left there is removed.
///
/// Does its work with files at once. The halves need a tokio runtime with a timer.
///
/// # Errors
/// `InUse`, `Read`, `Remove`, `Open`.
pub fn spool(
    directory: Option<Directory>,
    budget: Arc<Budget>,
    start: u64,
    origin: Origin,
) -> Result<(Writer, Reader), Error> {
    open(directory, budget, Ledger::new(start, origin), &[])
}

/// Opens a spool on what [`Directory::survivors`] has found: it is read from its first byte on, or
/// from elsewhere after a [`Reader::rewind`], and filled from its end on. Everything else that
/// spools have left in the directory is removed.
///
/// As [`spool`] otherwise.
///
/// # Errors
/// `InUse`, `Read`, `Remove`, `Open`.
pub fn resume(
    directory: Directory,
    budget: Arc<Budget>,
    survived: Survived,
) -> Result<(Writer, Reader), Error> {
    let segments = survived.segments;
    let ledger = Ledger::with_segments(survived.first, survived.origin, segments.clone());
    open(Some(directory), budget, ledger, &segments)
}

fn open(
    directory: Option<Directory>,
    budget: Arc<Budget>,
    ledger: Ledger,
    kept: &[ledger::Segment],
) -> Result<(Writer, Reader), Error> {
    let tenant = directory.as_ref().map(Directory::take).transpose()?;
    let mut next_number = 1;
    if let Some(directory) = &directory {
        let newest = directory.numbers(Kind::Spool)?.last().copied();
        next_number = newest.unwrap_or_default().saturating_add(1);
        directory.keep_only(kept)?;
    }
    let shared = Arc::new(Shared::new(ledger, budget, directory));
    if let Some(tenant) = tenant {
        let path = tenant.0.path().to_owned();
        disk::start(Arc::clone(&shared), tenant, next_number)
            .map_err(|error| Error::new(path, ErrorKind::Open(error)))?;
    }
    Ok((Writer(Arc::clone(&shared)), Reader::new(shared)))
}
