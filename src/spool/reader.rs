//! The half of a spool that is emptied.

use std::{collections::VecDeque, fs::File, sync::Arc};

use tokio::task::JoinHandle;

use super::{
    Directory, Error, ErrorKind, Gauge, NotHeld, Piece, SegmentReader, Usage,
    ledger::{Ledger, Next},
    segment::{Kind, SegmentError},
    shared::Shared,
};

/// The half of a spool that is emptied.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// Read from disk, not taken yet: one record at most.
    unpacked: VecDeque<Piece>,
    /// A record that is being read. It goes on when the future that waits for it is dropped.
    reading: Option<JoinHandle<Result<Unpacked, Error>>>,
    open: Option<OpenSegment>,
}

/// The pieces of a record, and the segment they came from, to be read on.
type Unpacked = (OpenSegment, VecDeque<Piece>);

#[derive(Debug)]
struct OpenSegment {
    number: u64,
    reader: SegmentReader<File>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Reader {
        Reader {
            shared,
            unpacked: VecDeque::new(),
            reading: None,
            open: None,
        }
    }

    /// Takes the next bytes; `None` when the writer is gone and all were taken. They are kept until
    /// they are released.
    ///
    /// May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// `Read` or `Damaged` when they cannot be had from the disk. A later call tries again.
    pub async fn next(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.unpacked.pop_front() {
                self.shared.ledger().has_read(piece.end());
                return Ok(Some(piece));
            }
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                let read =
                    read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                let (open, unpacked) = read?;
                (self.open, self.unpacked) = (Some(open), unpacked);
                continue;
            }
            let (next, is_last) = {
                let mut ledger = self.shared.ledger();
                (ledger.next(), ledger.is_writer_gone)
            };
            match next {
                Next::Piece(piece) => return Ok(Some(piece)),
                Next::Segment(number, position) => self.begin_reading(number, position),
                Next::Nothing if is_last => return Ok(None),
                Next::Nothing => {
                    let _waiting = Waiting::new(&self.shared);
                    // A permit is left by whoever pushes before this waits.
                    self.shared.readable.notified().await;
                }
            }
        }
    }

    /// Lets go of everything before `position`, as far as it was read: it was applied.
    pub fn release(&mut self, position: u64) {
        self.shared.release(position);
    }

    /// Goes to `position`, which is read next; it is one that was not released.
    ///
    /// # Errors
    /// `NotHeld`; the reader stays where it was.
    pub fn rewind(&mut self, position: u64) -> Result<(), NotHeld> {
        self.shared.ledger().rewind(position)?;
        self.unpacked.clear();
        // What is read at the moment is read for nothing.
        self.reading = None;
        Ok(())
    }

    /// The position of the next byte.
    pub fn position(&self) -> u64 {
        self.shared.ledger().read()
    }

    /// The first position that can be read again.
    pub fn first(&self) -> u64 {
        self.shared.ledger().released()
    }

    /// As [`super::Writer::persist`], for when the writer is gone.
    ///
    /// # Errors
    /// As there.
    pub async fn persist(&mut self) -> Result<bool, Error> {
        self.shared.persist().await
    }

    /// What is held at the moment.
    pub fn usage(&self) -> Usage {
        self.shared.usage()
    }

    /// Watches the spool from elsewhere.
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::downgrade(&self.shared))
    }

    fn begin_reading(&mut self, number: u64, position: u64) {
        let directory = self.shared.directory.clone();
        let directory = directory.expect("a spool with segments has a directory");
        let open = self.open.take().filter(|open| {
            // Records behind the last one that was read may have been written meanwhile.
            open.number == number && open.reader.position() <= position
        });
        self.reading = Some(tokio::task::spawn_blocking(move || {
            read(&directory, number, position, open)
        }));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.leave(|ledger| ledger.is_reader_gone = true);
        self.shared.budget.room.notify_waiters();
    }
}

/// Notes in the books that the reader waits, while it does.
struct Waiting<'a>(&'a Shared);

impl Waiting<'_> {
    fn new(shared: &Shared) -> Waiting<'_> {
        Waiting::note(&mut shared.ledger(), true);
        Waiting(shared)
    }

    fn note(ledger: &mut Ledger, is_waiting: bool) {
        ledger.is_reader_waiting = is_waiting;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        Waiting::note(&mut self.0.ledger(), false);
    }
}

/// Reads the record at `position`, and gives what stands from there on.
fn read(
    directory: &Directory,
    number: u64,
    position: u64,
    open: Option<OpenSegment>,
) -> Result<Unpacked, Error> {
    let failed = |error| {
        let kind = match error {
            SegmentError::Read(error) => ErrorKind::Read(error),
            SegmentError::Damaged(what) => ErrorKind::Damaged {
                segment: number,
                position,
                what,
            },
        };
        Error::new(directory.segment(Kind::Spool, number), kind)
    };
    let mut open = match open {
        Some(open) => open,
        None => OpenSegment {
            number,
            reader: directory
                .open_segment(Kind::Spool, number)
                .map_err(failed)?,
        },
    };
    let record = open.reader.record_at(position).map_err(failed)?;
    let record = record.ok_or_else(|| failed(super::Damage::Torn.into()))?;
    let pieces = record
        .pieces()
        .filter(|piece| piece.end() > position)
        .map(|piece| piece.from(position))
        .collect();
    Ok((open, pieces))
}
