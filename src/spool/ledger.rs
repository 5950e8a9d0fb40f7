//! What a spool holds and where: pure book-keeping, without files, tasks or clocks.
//!
//! ```text
//!        released            read                    memory_start               end
//!  ─────────┼─────────────────┼───────────────────────────┼──────────────────────┼──►
//!  forgotten│ read, may be    │ unread                    │                      │
//!           │ read again      │                           │                      │
//!           ├──────── segments on disk ───────────────────┼──── memory ──────────┤
//! ```
//!
//! What is oldest goes to disk first, so memory is always the tail: the disk holds one stretch in
//! the order of its writing, and the reader comes from it into memory as soon as it catches up.
//! `read` may stand on either side of `memory_start`, and so may `released`, within one piece.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::keyspace::UnixMs;

use super::{DiskTrouble, NotHeld, Origin, Piece, SPANS_MAX};

/// What it takes to remember a piece, in bytes: its entry here, and what holds its bytes.
const PIECE_COST_BYTES: u64 = 128;

/// What a piece of so many bytes counts in memory.
pub(super) fn cost(bytes: usize) -> u64 {
    bytes as u64 + PIECE_COST_BYTES
}

/// A file of the spool, as far as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The checksum of its header.
    pub(super) checksum: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The length of the file.
    pub(super) bytes: u64,
}

/// What to write next: pieces one behind the other, or none to begin a segment for an origin.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) position: u64,
    pub(super) pieces: Vec<(Bytes, UnixMs)>,
    pub(super) origin: Origin,
    /// The segment that these bytes continue.
    pub(super) last: Option<Segment>,
}

impl Batch {
    pub(super) fn end(&self) -> u64 {
        let bytes: u64 = self
            .pieces
            .iter()
            .map(|(bytes, _)| bytes.len() as u64)
            .sum();
        self.position + bytes
    }
}

/// Where the next unread bytes are.
#[derive(Debug)]
pub(super) enum Next {
    /// Here they are; they count as read.
    Piece(Piece),
    /// In this segment, at this position.
    Segment(u64, u64),
    /// Nowhere yet.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Ledger {
    released: u64,
    read: u64,
    memory_start: u64,
    end: u64,
    memory: VecDeque<Piece>,
    memory_bytes: u64,
    segments: VecDeque<Segment>,
    /// Segments to be deleted.
    doomed: Vec<Segment>,
    /// A batch is being written into the last segment, or into a new one behind it.
    is_writing: bool,
    /// The origin at `memory_start`, and where others begin behind it.
    origin: Origin,
    origins: VecDeque<(u64, Origin)>,
    /// Everything before this is to be written, full or not.
    pub(super) persist_to: u64,
    /// What a push that waits would take; 0 when none waits.
    pub(super) wanted_bytes: u64,
    /// Why the last attempt to write failed, and how many have.
    pub(super) trouble: Option<DiskTrouble>,
    pub(super) failures: u64,
    /// Something has changed that makes writing worth another attempt at once.
    pub(super) is_retry_due: bool,
    pub(super) is_reader_waiting: bool,
    pub(super) is_writer_gone: bool,
    pub(super) is_reader_gone: bool,
}

impl Ledger {
    /// An empty spool, whose first byte will have this position.
    pub(super) fn new(start: u64, origin: Origin) -> Ledger {
        Ledger {
            released: start,
            read: start,
            memory_start: start,
            end: start,
            memory: VecDeque::new(),
            memory_bytes: 0,
            segments: VecDeque::new(),
            doomed: Vec::new(),
            is_writing: false,
            origin,
            origins: VecDeque::new(),
            persist_to: start,
            wanted_bytes: 0,
            trouble: None,
            failures: 0,
            is_retry_due: false,
            is_reader_waiting: false,
            is_writer_gone: false,
            is_reader_gone: false,
        }
    }

    /// A spool that holds these segments, one behind the other, from `first` on.
    pub(super) fn with_segments(first: u64, origin: Origin, segments: Vec<Segment>) -> Ledger {
        let end = segments.last().map_or(first, |segment| segment.end);
        let mut ledger = Ledger::new(end, origin);
        (ledger.released, ledger.read) = (first, first);
        ledger.segments = segments.into();
        ledger
    }

    pub(super) fn read(&self) -> u64 {
        self.read
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn released(&self) -> u64 {
        self.released
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        let all = self.segments.iter().chain(&self.doomed);
        all.map(|segment| segment.bytes).sum()
    }

    /// Whether everything before this position is on disk, or needed no more.
    pub(super) fn is_persisted(&self, position: u64) -> bool {
        self.memory_start >= position && !self.needs_origin()
    }

    /// Puts bytes behind all others, as pieces of at most `piece_bytes_max`.
    pub(super) fn push(
        &mut self,
        mut bytes: Bytes,
        received_at_ms: UnixMs,
        piece_bytes_max: usize,
    ) {
        while bytes.has_remaining() {
            let piece = Piece {
                position: self.end,
                bytes: bytes.split_to(bytes.len().min(piece_bytes_max)),
                received_at_ms,
            };
            self.end = piece.end();
            self.memory_bytes += cost(piece.bytes.len());
            self.memory.push_back(piece);
        }
    }

    /// What is pushed from now on is of another origin.
    pub(super) fn set_origin(&mut self, origin: Origin) {
        let newest = self
            .origins
            .back()
            .map_or(&self.origin, |(_, newest)| newest);
        if *newest != origin {
            self.origins.retain(|(position, _)| *position != self.end);
            self.origins.push_back((self.end, origin));
        }
    }

    /// Where the next unread bytes are.
    pub(super) fn next(&mut self) -> Next {
        if self.read == self.end {
            return Next::Nothing;
        }
        if self.read < self.memory_start {
            let at = self
                .segments
                .partition_point(|segment| segment.end <= self.read);
            let segment = self.segments.get(at);
            let segment = segment.expect("everything before memory is in a segment");
            return Next::Segment(segment.number, self.read);
        }
        let at = self
            .memory
            .partition_point(|piece| piece.end() <= self.read);
        let piece = self.memory.get(at).expect("memory holds all up to the end");
        let piece = piece.clone().from(self.read);
        self.read = piece.end();
        Next::Piece(piece)
    }

    /// Says that everything before `position` was read from disk.
    pub(super) fn has_read(&mut self, position: u64) {
        self.read = self.read.max(position);
    }

    /// Goes to a position that is held.
    pub(super) fn rewind(&mut self, asked: u64) -> Result<(), NotHeld> {
        let (first, end) = (self.released, self.end);
        if !(first..=end).contains(&asked) {
            return Err(NotHeld { first, end, asked });
        }
        self.read = asked;
        Ok(())
    }

    /// Lets go of everything before `position`, as far as it was read; gives the bytes of memory
    /// that are free then.
    pub(super) fn release(&mut self, position: u64) -> u64 {
        self.released = self.released.max(position.min(self.read));
        self.drop_released()
    }

    fn drop_released(&mut self) -> u64 {
        while let Some(segment) = self.segments.front()
            && segment.end <= self.released
            // The last one may be growing; it goes when that is done.
            && !(self.is_writing && self.segments.len() == 1)
        {
            self.doomed.extend(self.segments.pop_front());
        }
        let released = self.released;
        self.drop_memory(|piece| piece.end() <= released)
    }

    /// Takes pieces off the front of memory; gives the bytes that are free then.
    fn drop_memory(&mut self, is_dropped: impl Fn(&Piece) -> bool) -> u64 {
        let before = self.memory_bytes;
        while let Some(piece) = self.memory.front().filter(|piece| is_dropped(piece)) {
            self.memory_start = self.memory_start.max(piece.end());
            self.memory_bytes -= cost(piece.bytes.len());
            self.memory.pop_front();
        }
        before - self.memory_bytes
    }

    /// Whether both halves are gone.
    pub(super) fn is_over(&self) -> bool {
        self.is_writer_gone && self.is_reader_gone
    }

    /// Whether there are segments to be deleted.
    pub(super) fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Segments to be deleted.
    pub(super) fn take_doomed(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.doomed)
    }

    /// Whether everything up to the end is to be on disk, full or not.
    pub(super) fn is_persisting(&self) -> bool {
        self.persist_to == self.end && self.end > self.released
    }

    /// Whether something must be written for [`Ledger::persist_to`].
    pub(super) fn wants_persisting(&self) -> bool {
        self.memory_start < self.persist_to || (self.persist_to == self.end && self.needs_origin())
    }

    /// Whether an origin has no segment that names it, although all bytes have one.
    fn needs_origin(&self) -> bool {
        let behind_all = self
            .origins
            .front()
            .is_some_and(|(at, _)| *at <= self.memory_start);
        self.memory.is_empty() && behind_all && !self.segments.is_empty()
    }

    /// The oldest bytes of memory, at most so many, to be written; none of them when only an origin
    /// has to be named. One of [`Ledger::commit`] and [`Ledger::fail`] follows.
    pub(super) fn begin_write(&mut self, bytes_max: usize) -> Batch {
        let position = self.memory_start;
        let known = self.origins.partition_point(|(at, _)| *at <= position);
        let newest = known.checked_sub(1).and_then(|at| self.origins.get(at));
        let origin = newest.map_or(&self.origin, |(_, origin)| origin).clone();
        let limit = self.origins.get(known).map_or(self.end, |(at, _)| *at);
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        for piece in self.memory.iter().take(SPANS_MAX) {
            bytes += piece.bytes.len();
            if bytes > bytes_max || piece.end() > limit {
                break;
            }
            pieces.push((piece.bytes.clone(), piece.received_at_ms));
        }
        self.is_writing = true;
        self.is_retry_due = false;
        Batch {
            position,
            pieces,
            origin,
            last: self.segments.back().cloned(),
        }
    }

    /// The batch stands at the end of this segment; gives the bytes of memory that are free then.
    pub(super) fn commit(&mut self, batch: &Batch, segment: Segment) -> u64 {
        self.is_writing = false;
        self.trouble = None;
        match self.segments.back_mut() {
            Some(last) if last.number == segment.number => *last = segment,
            _ => self.segments.push_back(segment),
        }
        let named = |(at, origin): &(u64, Origin)| *at <= batch.position && *origin == batch.origin;
        if let Some(at) = self.origins.iter().rposition(named) {
            self.origins.drain(..=at);
            self.origin = batch.origin.clone();
        }
        let end = batch.end();
        let freed_bytes = self.drop_memory(|piece| piece.position < end);
        self.memory_start = self.memory_start.max(end);
        freed_bytes + self.drop_released()
    }

    /// The batch could not be written.
    pub(super) fn fail(&mut self, trouble: DiskTrouble) {
        self.is_writing = false;
        self.trouble = Some(trouble);
        self.failures += 1;
        self.drop_released();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::new(text).unwrap()
    }

    fn ledger() -> Ledger {
        Ledger::new(100, origin("a"))
    }

    fn push(ledger: &mut Ledger, len: usize) {
        ledger.push(Bytes::from(vec![0; len]), 1, 10);
    }

    fn segment(number: u64, start: u64, end: u64) -> Segment {
        Segment {
            number,
            checksum: number,
            start,
            end,
            bytes: end - start,
        }
    }

    /// Writes the next batch into the segment of this number.
    fn write(ledger: &mut Ledger, number: u64) -> (u64, u64, u64) {
        let batch = ledger.begin_write(20);
        let start = match &batch.last {
            Some(last) if last.number == number => last.start,
            _ => batch.position,
        };
        let freed = ledger.commit(&batch, segment(number, start, batch.end()));
        (batch.position, batch.end(), freed)
    }

    fn read_all(ledger: &mut Ledger) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match ledger.next() {
                Next::Piece(piece) => found.push(format!("{}..{}", piece.position, piece.end())),
                Next::Segment(number, at) => {
                    found.push(format!("#{number} {at}"));
                    ledger.has_read((at + 5).min(ledger.memory_start));
                }
                Next::Nothing => return found,
            }
        }
    }

    #[test]
    fn large_pushes_are_pieces_and_count_with_their_cost() {
        let mut ledger = ledger();
        push(&mut ledger, 25);
        assert_eq!(ledger.memory_bytes(), 2 * cost(10) + cost(5));
        assert_eq!(read_all(&mut ledger), ["100..110", "110..120", "120..125"]);
        assert_eq!(ledger.release(119), cost(10), "a piece goes as a whole");
        assert_eq!(
            ledger.rewind(118),
            Err(NotHeld {
                first: 119,
                end: 125,
                asked: 118
            })
        );
        assert_eq!(
            ledger.rewind(126),
            Err(NotHeld {
                first: 119,
                end: 125,
                asked: 126
            })
        );
        ledger.rewind(119).unwrap();
        assert_eq!(read_all(&mut ledger), ["119..120", "120..125"]);
        ledger.release(1000);
        assert_eq!((ledger.released(), ledger.memory_bytes()), (125, 0));
    }

    #[test]
    fn only_what_was_read_is_released() {
        let mut ledger = ledger();
        push(&mut ledger, 20);
        ledger.next();
        assert_eq!(ledger.release(115), cost(10));
        assert_eq!((ledger.released(), ledger.read()), (110, 110));
    }

    #[test]
    fn the_oldest_goes_to_disk_and_is_read_from_there() {
        let mut ledger = ledger();
        for _ in 0..5 {
            push(&mut ledger, 10);
        }
        assert_eq!(write(&mut ledger, 1), (100, 120, 2 * cost(10)));
        assert_eq!(write(&mut ledger, 2), (120, 140, 2 * cost(10)));
        assert_eq!(
            read_all(&mut ledger),
            [
                "#1 100", "#1 105", "#1 110", "#1 115", "#2 120", "#2 125", "#2 130", "#2 135",
                "140..150"
            ]
        );
        ledger.release(139);
        assert_eq!(ledger.take_doomed(), [segment(1, 100, 120)]);
        assert_eq!(ledger.disk_bytes(), 20);
        ledger.release(140);
        assert_eq!(ledger.take_doomed(), [segment(2, 120, 140)]);
        push(&mut ledger, 3);
        assert_eq!(read_all(&mut ledger), ["150..153"], "memory alone again");
    }

    #[test]
    fn a_segment_that_is_released_while_it_grows_goes_afterwards() {
        let mut ledger = ledger();
        push(&mut ledger, 30);
        write(&mut ledger, 1);
        push(&mut ledger, 10);
        let batch = ledger.begin_write(10);
        assert_eq!((batch.position, batch.end()), (120, 130));
        read_all(&mut ledger);
        assert_eq!(
            ledger.release(135),
            cost(10),
            "what is being written is not needed any more"
        );
        assert!(ledger.take_doomed().is_empty());
        assert_eq!(ledger.commit(&batch, segment(1, 100, 130)), 0);
        assert_eq!(ledger.take_doomed(), [segment(1, 100, 130)]);
        assert_eq!(write(&mut ledger, 2).0, 130);
    }

    #[test]
    fn what_failed_is_written_again() {
        let mut ledger = ledger();
        push(&mut ledger, 10);
        let batch = ledger.begin_write(20);
        ledger.fail(DiskTrouble::QuotaFull);
        assert_eq!(
            (ledger.trouble, ledger.failures),
            (Some(DiskTrouble::QuotaFull), 1)
        );
        assert_eq!(
            write(&mut ledger, 1),
            (batch.position, batch.end(), cost(10))
        );
        assert_eq!(ledger.trouble, None);
    }

    #[test]
    fn bytes_of_two_origins_are_never_in_one_batch() {
        let mut ledger = ledger();
        let mut found = Vec::new();
        ledger.set_origin(origin("a"));
        push(&mut ledger, 3);
        ledger.set_origin(origin("never seen"));
        ledger.set_origin(origin("b"));
        push(&mut ledger, 4);
        push(&mut ledger, 5);
        ledger.set_origin(origin("c"));
        ledger.persist_to = ledger.end();
        while ledger.wants_persisting() {
            assert!(!ledger.is_persisted(112));
            let batch = ledger.begin_write(20);
            let number = found.len() as u64;
            found.push((batch.origin.to_string(), batch.position, batch.end()));
            ledger.commit(&batch, segment(number, batch.position, batch.end()));
        }
        assert!(ledger.is_persisted(112));
        assert_eq!(
            found,
            [
                ("a".into(), 100, 103),
                ("b".into(), 103, 112),
                ("c".into(), 112, 112)
            ]
        );
        ledger.rewind(103).unwrap();
        push(&mut ledger, 1);
        assert_eq!(read_all(&mut ledger), ["#1 103", "#1 108", "112..113"]);
    }

    #[test]
    fn an_origin_that_changes_during_a_write_is_not_lost() {
        let mut ledger = ledger();
        push(&mut ledger, 3);
        write(&mut ledger, 1);
        ledger.set_origin(origin("b"));
        ledger.persist_to = ledger.end();
        let batch = ledger.begin_write(20);
        ledger.set_origin(origin("c"));
        ledger.commit(&batch, segment(2, 103, 103));
        assert!(ledger.wants_persisting());
        assert_eq!(ledger.begin_write(20).origin, origin("c"));
    }
}
