//! A list of entries that outlives the process.
//!
//! The entries stand in records of segments, each with its length in front (4 bytes,
//! little-endian), across the bounds of records but not of segments: what is appended at once is in
//! one segment.

use std::{collections::VecDeque, fs::File, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    Budget, Damage, Directory, Error, ErrorKind, Origin, RECORD_BYTES_MAX, RecordEncoder,
    SEGMENT_HEADER_BYTES, SegmentHeader, SegmentReader,
    directory::Tenant,
    segment::{Kind, SegmentError},
    segment_file::SegmentFile,
};

const LENGTH_BYTES: usize = 4;

/// A list of entries in a directory of its own, for what must be known after a crash.
///
/// Its methods work with files at once; they are not for the threads of the runtime.
#[derive(Debug)]
pub struct Journal {
    tenant: Tenant,
    budget: Arc<Budget>,
    origin: Origin,
    next_number: u64,
    open: Option<SegmentFile>,
    /// The position behind the last byte of the open segment.
    position: u64,
    encoder: RecordEncoder,
    counted_bytes: u64,
}

impl Journal {
    /// Opens the journal of a directory; entries of earlier runs are kept, and counted with their
    /// size.
    ///
    /// # Errors
    /// `InUse`, `Read`.
    pub fn open(
        directory: &Directory,
        budget: Arc<Budget>,
        origin: Origin,
    ) -> Result<Journal, Error> {
        let tenant = directory.take()?;
        let numbers = directory.numbers(Kind::Journal)?;
        let mut counted_bytes = 0;
        for number in &numbers {
            let path = directory.segment(Kind::Journal, *number);
            let found = std::fs::metadata(&path);
            counted_bytes += found
                .map_err(|error| Error::new(path, ErrorKind::Read(error)))?
                .len();
        }
        budget.disk.add(counted_bytes);
        Ok(Journal {
            tenant,
            budget,
            origin,
            next_number: numbers.last().map_or(1, |last| last.saturating_add(1)),
            open: None,
            position: 0,
            // Its entries are written sparingly by those who have many.
            encoder: RecordEncoder::plain(),
            counted_bytes,
        })
    }

    /// Appends entries of less than 4 GiB each. They are in the hands of the system then: they
    /// outlive the process. Entries of one call share the records, so many at once are cheaper.
    ///
    /// # Errors
    /// `QuotaFull`, `Write`: none of the entries was appended.
    pub fn append<T: AsRef<[u8]>>(&mut self, entries: &[T]) -> Result<(), Error> {
        let mut bytes = BytesMut::new();
        for entry in entries.iter().map(AsRef::as_ref) {
            let length = u32::try_from(entry.len()).map_err(|_| {
                let too_long = std::io::Error::from(std::io::ErrorKind::InvalidInput);
                Error::new(self.tenant.0.path(), ErrorKind::Write(too_long))
            })?;
            bytes.put_u32_le(length);
            bytes.put_slice(entry);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let segment_bytes_max = self.budget.segment_bytes_max();
        let open = self
            .open
            .take()
            .filter(|open| open.bytes < segment_bytes_max);
        let start = open.as_ref().map_or(0, |_| self.position);
        let (records, end) = self.records(bytes.freeze(), start);
        let header_bytes = open.as_ref().map_or(SEGMENT_HEADER_BYTES, |_| 0);
        let bytes = (header_bytes + records.len()) as u64;
        if !self.budget.disk.try_add(bytes) {
            self.open = open;
            let disk_bytes_max = self.budget.disk_bytes_max();
            let kind = ErrorKind::QuotaFull { disk_bytes_max };
            return Err(Error::new(self.tenant.0.path(), kind));
        }
        let written = open.map_or_else(|| self.begin(), Ok);
        // What fails is cut off again, and if it cannot be, it is a torn end: the next entries
        // begin another segment.
        let written = written.and_then(|open| open.append(&records));
        self.open = Some(written.map_err(|error| {
            self.budget.disk.sub(bytes);
            Error::new(self.tenant.0.path(), ErrorKind::Write(error))
        })?);
        self.position = end;
        self.counted_bytes += bytes;
        Ok(())
    }

    /// The entries of this run and those before, in order.
    ///
    /// # Errors
    /// `Read`.
    pub fn read(&self) -> Result<Entries, Error> {
        let directory = self.tenant.0.clone();
        Ok(Entries {
            numbers: directory.numbers(Kind::Journal)?.into(),
            directory,
            open: None,
            rest: BytesMut::new(),
        })
    }

    /// Removes the entries; the directory stays.
    ///
    /// # Errors
    /// `Read`, `Remove`.
    pub fn remove(self) -> Result<(), Error> {
        self.tenant.0.remove_all(Kind::Journal)
    }

    fn records(&mut self, mut bytes: Bytes, start: u64) -> (Vec<u8>, u64) {
        let (mut records, mut position) = (Vec::new(), start);
        while bytes.has_remaining() {
            let data = bytes.split_to(bytes.len().min(RECORD_BYTES_MAX));
            let end = position + data.len() as u64;
            records.extend_from_slice(self.encoder.encode(position, &[(data, 0)]));
            position = end;
        }
        (records, position)
    }

    fn begin(&mut self) -> std::io::Result<SegmentFile> {
        let header = SegmentHeader {
            kind: Kind::Journal,
            start: 0,
            number: self.next_number,
            previous: 0,
            origin: self.origin.clone(),
        };
        self.next_number += 1;
        SegmentFile::create(&self.tenant.0, header)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.budget.disk.sub(self.counted_bytes);
    }
}

/// The entries of a journal. Holds one record and one entry at a time.
#[derive(Debug)]
pub struct Entries {
    directory: Directory,
    numbers: VecDeque<u64>,
    open: Option<SegmentReader<File>>,
    rest: BytesMut,
}

impl Entries {
    /// Reads on; false at the end of a segment.
    fn fill(&mut self, number: u64) -> Result<bool, SegmentError> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.directory.open_segment(Kind::Journal, number)?),
        };
        let record = open.next_record()?;
        let more = record.into_iter().flat_map(super::Record::pieces);
        let before = self.rest.len();
        more.for_each(|piece| self.rest.extend_from_slice(&piece.bytes));
        Ok(self.rest.len() > before)
    }

    /// Takes the next entry if all of it is here.
    fn take(&mut self) -> Option<Bytes> {
        let length = u32::from_le_bytes(*self.rest.first_chunk::<LENGTH_BYTES>()?) as usize;
        if self.rest.len() - LENGTH_BYTES < length {
            return None;
        }
        self.rest.advance(LENGTH_BYTES);
        Some(self.rest.split_to(length).freeze())
    }

    /// Goes on to the next segment; what was begun in this one was never written to its end.
    fn leave(&mut self) {
        self.numbers.pop_front();
        self.open = None;
        self.rest.clear();
    }
}

impl Iterator for Entries {
    type Item = Result<Bytes, Error>;

    /// The next entry. An end that was not written whole is left out; other damage is an error, and
    /// the entries of the next segment follow it.
    fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            if let Some(entry) = self.take() {
                return Some(Ok(entry));
            }
            let number = *self.numbers.front()?;
            let kind = match self.fill(number) {
                Ok(true) => continue,
                Ok(false) | Err(SegmentError::Damaged(Damage::Torn)) => {
                    self.leave();
                    continue;
                }
                Err(SegmentError::Read(error)) => ErrorKind::Read(error),
                Err(SegmentError::Damaged(what)) => ErrorKind::Damaged {
                    segment: number,
                    position: self.open.as_ref().map_or(0, SegmentReader::position),
                    what,
                },
            };
            self.leave();
            let path = self.directory.segment(Kind::Journal, number);
            return Some(Err(Error::new(path, kind)));
        }
    }
}
