//! What an earlier run has left in the directory of a spool.

use std::{
    fs::{self, OpenOptions},
    io,
};

use super::{
    Damage, Directory, Error, ErrorKind, Origin, SegmentHeader,
    ledger::Segment,
    segment::{Kind, SegmentError},
};

/// A stretch of a sequence that an earlier run has left, every byte of it checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survived {
    /// Its newest origin.
    pub origin: Origin,
    /// The position of its first byte.
    pub first: u64,
    /// The position behind its last byte.
    pub end: u64,
    pub(super) segments: Vec<Segment>,
}

impl Directory {
    /// Looks for what a spool has left: the newest sequence, from its oldest byte up to where it
    /// was torn or damaged. With an origin, only if that is one of those the sequence has had.
    ///
    /// Reads all of it.
    ///
    /// # Errors
    /// `InUse` while a spool is open on it; `Read`.
    pub fn survivors(&self, origin: Option<&Origin>) -> Result<Option<Survived>, Error> {
        let _tenant = self.take()?;
        let mut survived: Option<Survived> = None;
        let mut has_origin = false;
        for header in self.newest_sequence()? {
            if survived.as_ref().is_some_and(|it| it.end < header.start) {
                break;
            }
            let Some(segment) = self.sound_part(&header)? else {
                break;
            };
            has_origin |= origin.is_none_or(|origin| *origin == header.origin);
            let it = survived.get_or_insert(Survived {
                origin: header.origin.clone(),
                first: segment.start,
                end: segment.start,
                segments: Vec::new(),
            });
            if let Some(last) = it.segments.last_mut() {
                // Written again behind an error that was reported for bytes that had arrived.
                last.end = header.start;
            }
            (it.origin, it.end) = (header.origin, segment.end);
            it.segments.push(segment);
        }
        Ok(survived.filter(|_| has_origin))
    }

    /// The headers of the segments behind the last beginning, as far as each continues the others.
    fn newest_sequence(&self) -> Result<Vec<SegmentHeader>, Error> {
        let mut sequence: Vec<SegmentHeader> = Vec::new();
        let mut is_broken = false;
        for number in self.numbers(Kind::Spool)? {
            let header = match self.open_segment(Kind::Spool, number) {
                Ok(reader) => reader.header().clone(),
                Err(SegmentError::Damaged(what)) => {
                    self.say_damaged(number, None, what);
                    is_broken = true;
                    continue;
                }
                Err(SegmentError::Read(error)) => return Err(self.unreadable(number, error)),
            };
            if header.kind != Kind::Spool || header.number != number {
                is_broken = true;
            } else if header.previous == 0 {
                sequence = vec![header];
                is_broken = false;
            } else if sequence.is_empty() && !is_broken {
                sequence.push(header);
            } else if let Some(continued) = sequence.iter().position(|earlier| {
                earlier.checksum() == header.previous && earlier.start <= header.start
            }) {
                // Those between were given up without a record.
                sequence.truncate(continued + 1);
                sequence.push(header);
            } else {
                is_broken = true;
            }
        }
        Ok(sequence)
    }

    /// The records of a segment up to the first that is damaged.
    fn sound_part(&self, header: &SegmentHeader) -> Result<Option<Segment>, Error> {
        let failed = |error| self.unreadable(header.number, error);
        let mut reader = match self.open_segment(Kind::Spool, header.number) {
            Ok(reader) => reader,
            Err(SegmentError::Damaged(_)) => return Ok(None),
            Err(SegmentError::Read(error)) => return Err(failed(error)),
        };
        loop {
            match reader.skip_record() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(SegmentError::Damaged(what)) => {
                    self.say_damaged(header.number, Some(reader.position()), what);
                    break;
                }
                Err(SegmentError::Read(error)) => return Err(failed(error)),
            }
        }
        Ok(Some(Segment {
            number: header.number,
            checksum: header.checksum(),
            start: header.start,
            end: reader.position(),
            bytes: reader.bytes(),
        }))
    }

    /// Removes every segment of a spool that is none of these, and cuts off what is torn or damaged.
    pub(super) fn keep_only(&self, kept: &[Segment]) -> Result<(), Error> {
        for number in self.numbers(Kind::Spool)? {
            let path = self.segment(Kind::Spool, number);
            match kept.iter().find(|segment| segment.number == number) {
                None => fs::remove_file(&path)
                    .map_err(|error| Error::new(path, ErrorKind::Remove(error)))?,
                Some(segment) => OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .and_then(|file| file.set_len(segment.bytes))
                    .map_err(|error| Error::new(path, ErrorKind::Write(error)))?,
            }
        }
        Ok(())
    }

    fn say_damaged(&self, number: u64, position: Option<u64>, what: Damage) {
        // A process that is killed leaves that.
        if what != Damage::Torn {
            tracing::warn!(
                path = %self.segment(Kind::Spool, number).display(),
                position,
                "the spool is damaged, and what follows there is not used: {what}"
            );
        }
    }

    fn unreadable(&self, number: u64, error: io::Error) -> Error {
        Error::new(self.segment(Kind::Spool, number), ErrorKind::Read(error))
    }
}
