//! A segment: a file of records, or any bytes that read like one. Numbers are little-endian.
//!
//! ```text
//!  0          8         10     11       12       20       28         36           100      108
//! ┌──────────┬─────────┬──────┬────────┬────────┬────────┬──────────┬────────────┬────────┬─────────
//! │ KEYFERRY │ version │ kind │ length │ start  │ number │ previous │ origin,    │ CRC-64 │ records
//! │          │ 1       │      │ of the │ posi-  │        │          │ filled up  │ /XZ of │ ...
//! │          │         │      │ origin │ tion   │        │          │ with zeros │ it all │
//! └──────────┴─────────┴──────┴────────┴────────┴────────┴──────────┴────────────┴────────┴─────────
//! ```
//!
//! `previous` is the checksum of the header of the segment that this one continues, so that a
//! sequence is known as one however often its origin changed; 0 where a sequence begins.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

use super::record::{
    CHECKSUM_BYTES, Damage, RECORD_HEADER_BYTES, Record, RecordHeader, checksum, take,
};

/// The length of the header of a segment, in bytes.
pub const SEGMENT_HEADER_BYTES: usize = 108;

const MAGIC: &[u8; 8] = b"KEYFERRY";
const VERSION: u16 = 1;
const ORIGIN_BYTES_MAX: usize = 64;

/// Whose bytes a sequence holds: a text of at most 64 bytes that means something to the caller,
/// such as a replid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// Names an origin; `None` when the text has more than 64 bytes.
    pub fn new(text: &str) -> Option<Origin> {
        (text.len() <= ORIGIN_BYTES_MAX).then(|| Origin(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a segment is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sequence of bytes.
    Spool,
    /// A list of entries.
    Journal,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Spool => b's',
            Kind::Journal => b'j',
        }
    }
}

/// What stands in front of the records of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What it is a part of.
    pub kind: Kind,
    /// The position of its first byte in the sequence.
    pub start: u64,
    /// Its number; those that were begun later have larger ones.
    pub number: u64,
    /// The checksum of the header of the segment it continues, or 0.
    pub previous: u64,
    /// Whose bytes it holds.
    pub origin: Origin,
}

impl SegmentHeader {
    /// The bytes in front of the records.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[self.kind.byte(), self.origin.0.len() as u8]);
        for field in [self.start, self.number, self.previous] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(self.origin.0.as_bytes());
        bytes.resize(SEGMENT_HEADER_BYTES - CHECKSUM_BYTES, 0);
        bytes.extend_from_slice(&checksum(&[&bytes]).to_le_bytes());
        bytes
    }

    /// The checksum at the end of the header, by which the next segment names this one.
    pub fn checksum(&self) -> u64 {
        let header = self.encode();
        let checksum = header.last_chunk().copied();
        u64::from_le_bytes(checksum.unwrap_or_default())
    }

    /// Reads a header.
    ///
    /// # Errors
    /// `Torn`, `NoSegment`, `Checksum`, or `Length`.
    pub fn decode(header: &[u8; SEGMENT_HEADER_BYTES]) -> Result<SegmentHeader, Damage> {
        let mut rest = &header[..];
        let magic: [u8; 8] = take(&mut rest)?;
        let version = u16::from_le_bytes(take(&mut rest)?);
        let [kind, origin_bytes] = take(&mut rest)?;
        if magic != *MAGIC || version != VERSION {
            return Err(Damage::NoSegment);
        }
        let (start, number, previous) = (take(&mut rest)?, take(&mut rest)?, take(&mut rest)?);
        let origin: [u8; ORIGIN_BYTES_MAX] = take(&mut rest)?;
        let stored = u64::from_le_bytes(take(&mut rest)?);
        let (checked, _) = header.split_at(SEGMENT_HEADER_BYTES - CHECKSUM_BYTES);
        if checksum(&[checked]) != stored {
            return Err(Damage::Checksum);
        }
        let origin = origin.get(..usize::from(origin_bytes));
        let origin = origin.and_then(|origin| str::from_utf8(origin).ok());
        Ok(SegmentHeader {
            kind: [Kind::Spool, Kind::Journal]
                .into_iter()
                .find(|known| known.byte() == kind)
                .ok_or(Damage::NoSegment)?,
            start: u64::from_le_bytes(start),
            number: u64::from_le_bytes(number),
            previous: u64::from_le_bytes(previous),
            origin: Origin(origin.ok_or(Damage::Length)?.to_owned()),
        })
    }
}

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The bytes cannot be had.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The bytes are damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// Reads the records of a segment, in order.
///
/// Holds one record at a time, which is at most [`super::RECORD_BYTES_MAX`] and its spans.
#[derive(Debug)]
pub struct SegmentReader<R> {
    input: R,
    header: SegmentHeader,
    position: u64,
    bytes: u64,
    block: Vec<u8>,
}

impl<R: Read> SegmentReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Those of the input; what is wrong with the header.
    pub fn new(mut input: R) -> Result<SegmentReader<R>, SegmentError> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        if fill(&mut input, &mut header)? < SEGMENT_HEADER_BYTES {
            return Err(Damage::Torn.into());
        }
        let header = SegmentHeader::decode(&header)?;
        Ok(SegmentReader {
            input,
            position: header.start,
            bytes: SEGMENT_HEADER_BYTES as u64,
            header,
            block: Vec::new(),
        })
    }

    /// What stands in front of the records.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The position in the sequence behind the last record that was read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The length of the segment up to there, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next record; `None` at the end of the input.
    ///
    /// # Errors
    /// Those of the input; what is wrong with the record. There is nothing to read behind either.
    pub fn next_record(&mut self) -> Result<Option<Record>, SegmentError> {
        match self.next_checked()? {
            Some(header) => Ok(Some(Record::decode(&header, &self.block)?)),
            None => Ok(None),
        }
    }

    /// Passes over the next record when its checksum is right; gives the position behind it, `None`
    /// at the end of the input.
    ///
    /// # Errors
    /// As [`SegmentReader::next_record`], except `Compression` and `Spans`.
    pub fn skip_record(&mut self) -> Result<Option<u64>, SegmentError> {
        Ok(self.next_checked()?.map(|header| header.end()))
    }

    /// Reads the first record that ends behind `position`.
    pub(super) fn record_at(&mut self, position: u64) -> Result<Option<Record>, SegmentError> {
        loop {
            match self.next_checked()? {
                Some(header) if header.end() > position => {
                    return Ok(Some(Record::decode(&header, &self.block)?));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn next_checked(&mut self) -> Result<Option<RecordHeader>, SegmentError> {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        match fill(&mut self.input, &mut bytes)? {
            0 => return Ok(None),
            RECORD_HEADER_BYTES => {}
            _ => return Err(Damage::Torn.into()),
        }
        let header = RecordHeader::decode(&bytes)?;
        let stored_bytes = header.block_bytes + CHECKSUM_BYTES;
        // The header was checked: this is at most what the largest record takes.
        self.block.resize(stored_bytes, 0);
        if fill(&mut self.input, &mut self.block)? < stored_bytes {
            return Err(Damage::Torn.into());
        }
        let stored = self.block.last_chunk().copied().unwrap_or_default();
        self.block.truncate(header.block_bytes);
        if checksum(&[&bytes, &self.block]) != u64::from_le_bytes(stored) {
            return Err(Damage::Checksum.into());
        }
        if header.position != self.position {
            return Err(Damage::Position.into());
        }
        self.position = header.end();
        self.bytes += (RECORD_HEADER_BYTES + stored_bytes) as u64;
        Ok(Some(header))
    }
}

/// Fills the buffer as far as the input goes; gives the number of bytes.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::RecordEncoder, *};

    fn header(start: u64) -> SegmentHeader {
        SegmentHeader {
            kind: Kind::Spool,
            start,
            number: 3,
            previous: 77,
            origin: Origin::new("f1201b72a276aa8b04f1f574320a89b9e3b67da5").unwrap(),
        }
    }

    /// A segment of these pieces from 100 on, each in a record of its own.
    fn segment(pieces: &[&'static [u8]]) -> Vec<u8> {
        let mut segment = header(100).encode();
        let (mut encoder, mut position) = (RecordEncoder::new(), 100);
        for piece in pieces {
            let record = encoder.encode(position, &[(Bytes::from_static(piece), 1)]);
            segment.extend_from_slice(record);
            position += piece.len() as u64;
        }
        segment
    }

    /// The bytes up to the first error, and that.
    fn read(segment: &[u8]) -> (Vec<u8>, Option<Damage>) {
        let mut found = Vec::new();
        let end = (|| {
            let mut reader = SegmentReader::new(segment)?;
            while let Some(record) = reader.next_record()? {
                record
                    .pieces()
                    .for_each(|piece| found.extend_from_slice(&piece.bytes));
            }
            Ok::<_, SegmentError>(())
        })();
        let damage = end.err().map(|error| match error {
            SegmentError::Damaged(damage) => damage,
            SegmentError::Read(error) => panic!("{error}"),
        });
        (found, damage)
    }

    #[test]
    fn headers_read_back() {
        for (name, header) in [
            ("a replid", header(9)),
            (
                "no origin",
                SegmentHeader {
                    origin: Origin::new("").unwrap(),
                    ..header(0)
                },
            ),
            (
                "the longest origin",
                SegmentHeader {
                    origin: Origin::new(&"x".repeat(64)).unwrap(),
                    ..header(u64::MAX)
                },
            ),
            (
                "a journal",
                SegmentHeader {
                    kind: Kind::Journal,
                    previous: 0,
                    ..header(1)
                },
            ),
        ] {
            let bytes = header.encode();
            assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES, "{name}");
            let reader = SegmentReader::new(&bytes[..]).unwrap();
            assert_eq!(*reader.header(), header, "{name}");
            assert_eq!(reader.position(), header.start, "{name}");
        }
        assert_eq!(Origin::new(&"x".repeat(65)), None);
    }

    #[test]
    fn records_read_back_and_can_be_passed_over() {
        let bytes = segment(&[b"one", b"two-and", b"three"]);
        assert_eq!(read(&bytes), (b"onetwo-andthree".to_vec(), None));
        let mut reader = SegmentReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.skip_record().unwrap(), Some(103));
        let record = reader.record_at(110).unwrap().unwrap();
        let piece = record.pieces().next().unwrap();
        assert_eq!((piece.position, &piece.bytes[..]), (110, &b"three"[..]));
        assert_eq!(reader.skip_record().unwrap(), None);
        assert_eq!(
            (reader.position(), reader.bytes()),
            (115, bytes.len() as u64)
        );
    }

    #[test]
    fn a_torn_end_is_seen_at_every_cut() {
        let whole = segment(&[b"one", b"two"]);
        let first = segment(&[b"one"]).len();
        for cut in 0..whole.len() {
            let (found, damage) = read(&whole[..cut]);
            let at_a_bound = cut == SEGMENT_HEADER_BYTES || cut == first;
            assert_eq!(damage, (!at_a_bound).then_some(Damage::Torn), "{cut}");
            assert_eq!(found, if cut < first { &b""[..] } else { b"one" }, "{cut}");
        }
    }

    #[test]
    fn damage_in_any_bit_is_seen_and_what_stands_before_it_is_not_lost() {
        let sound = segment(&[b"one", &[b'x'; 200], b"three"]);
        let first = segment(&[b"one"]).len();
        let second = segment(&[b"one", &[b'x'; 200]]).len();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (found, damage) = read(&bytes);
            assert!(damage.is_some(), "bit {bit}");
            let before = match bit / 8 {
                at if at < first => 0,
                at if at < second => 3,
                _ => 203,
            };
            assert_eq!(found.len(), before, "bit {bit}: {damage:?}");
        }
    }

    #[test]
    fn a_record_of_another_place_is_refused() {
        let mut bytes = segment(&[b"one"]);
        let stray = RecordEncoder::new()
            .encode(104, &[(Bytes::from_static(b"stray"), 1)])
            .to_vec();
        bytes.extend_from_slice(&stray);
        assert_eq!(read(&bytes), (b"one".to_vec(), Some(Damage::Position)));
    }

    #[test]
    fn other_files_are_no_segments() {
        let mut later = header(0).encode();
        later[8] = 2;
        for (name, bytes, damage) in [
            ("empty", vec![], Damage::Torn),
            (
                "an RDB",
                [&b"REDIS0011"[..], &[0; 200]].concat(),
                Damage::NoSegment,
            ),
            ("zeros", vec![0; 200], Damage::NoSegment),
            ("a later version", later, Damage::NoSegment),
        ] {
            assert_eq!(read(&bytes).1, Some(damage), "{name}");
        }
    }
}
