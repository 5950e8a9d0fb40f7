//! The segments of a spool, as a crash, a bad disk or somebody else may have left them.
//!
//! The first byte of an input is the size of the pieces in which it is read, the second says what
//! it is: a segment as it is, a segment whose checksums are put right first (so that what they
//! protect is reached), or data to write.

use std::io::{self, Read};

use bytes::Bytes;
use keyferry::spool::{
    Damage, Kind, Origin, Piece, RecordEncoder, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader,
    SegmentReader,
};

const CHECKSUM_BYTES: usize = 8;
const RECORD_HEADER_BYTES: usize = 20;

/// A segment: read in pieces and whole, and written again.
pub fn spool(data: &[u8]) {
    let Some((&[size, kind], input)) = data.split_first_chunk() else {
        return;
    };
    match kind % 3 {
        0 => read_and_write(input, size),
        1 => read_and_write(&sealed(input), size),
        _ => change_a_bit(input, size),
    }
}

/// What a segment holds: a list for each record, and what ended it.
#[derive(Debug, PartialEq)]
struct Found {
    header: Option<SegmentHeader>,
    records: Vec<Vec<Piece>>,
    damage: Option<Damage>,
}

fn read_and_write(segment: &[u8], size: u8) {
    let whole = read(segment);
    assert_eq!(
        whole,
        read(Slowly(segment, usize::from(size.max(1)))),
        "pieces of {size}"
    );
    check_skipping(segment, &whole);
    let Some(header) = &whole.header else { return };
    let written = read(&write(header, &whole.records)[..]);
    let same = Found {
        damage: None,
        ..whole
    };
    assert_eq!(flat(&written), flat(&same));
    assert_eq!((written.header, written.damage), (same.header, None));
}

fn read(segment: impl Read) -> Found {
    let mut found = Found {
        header: None,
        records: Vec::new(),
        damage: None,
    };
    found.damage = damage(read_into(segment, &mut found));
    found
}

fn read_into(segment: impl Read, found: &mut Found) -> Result<(), SegmentError> {
    let mut reader = SegmentReader::new(segment)?;
    found.header = Some(reader.header().clone());
    let mut position = reader.position();
    while let Some(record) = reader.next_record()? {
        let pieces: Vec<_> = record.pieces().collect();
        for piece in &pieces {
            assert_eq!(piece.position, position);
            assert!(!piece.bytes.is_empty());
            position = piece.end();
        }
        assert_eq!(reader.position(), position);
        found.records.push(pieces);
    }
    Ok(())
}

/// Passing over records finds those that can be read, in the same places.
fn check_skipping(segment: &[u8], found: &Found) {
    let Ok(mut reader) = SegmentReader::new(segment) else {
        assert_eq!(found.header, None);
        return;
    };
    for record in &found.records {
        let end = record.last().expect("a record holds something").end();
        assert_eq!(reader.skip_record().expect("it was read"), Some(end));
        assert!(reader.bytes() <= segment.len() as u64);
    }
    match found.damage {
        None => assert_eq!(reader.skip_record().expect("an end"), None),
        Some(Damage::Compression | Damage::Spans) => {}
        other => assert_eq!(damage(reader.skip_record()), other),
    }
}

fn damage<T>(read: Result<T, SegmentError>) -> Option<Damage> {
    match read {
        Ok(_) => None,
        Err(SegmentError::Damaged(damage)) => Some(damage),
        Err(SegmentError::Read(error)) => panic!("memory cannot fail: {error}"),
    }
}

fn write(header: &SegmentHeader, records: &[Vec<Piece>]) -> Vec<u8> {
    let mut segment = header.encode();
    let mut encoder = RecordEncoder::new();
    for record in records {
        let pieces: Vec<_> = record
            .iter()
            .map(|piece| (piece.bytes.clone(), piece.received_at_ms))
            .collect();
        segment.extend_from_slice(encoder.encode(record[0].position, &pieces));
    }
    segment
}

/// Every byte with its position and time: neighbours of one time may come back as one piece.
fn flat(found: &Found) -> Vec<(u8, i64)> {
    let pieces = found.records.iter().flatten();
    pieces
        .flat_map(|piece| piece.bytes.iter().map(|byte| (*byte, piece.received_at_ms)))
        .collect()
}

/// A segment whose checksums are right, however wrong the rest is.
fn sealed(segment: &[u8]) -> Vec<u8> {
    let mut sealed = segment.to_vec();
    let seal = |part: &mut [u8]| {
        if let Some(at) = part.len().checked_sub(CHECKSUM_BYTES) {
            let mut digest = crc64fast::Digest::new();
            digest.write(&part[..at]);
            part[at..].copy_from_slice(&digest.sum64().to_le_bytes());
        }
    };
    let Some(header) = sealed.get_mut(..SEGMENT_HEADER_BYTES) else {
        return sealed;
    };
    seal(header);
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(length) = sealed.get(at..).and_then(|rest| rest.first_chunk()) {
        let bytes = u32::from_le_bytes(*length) as usize;
        let end = at + RECORD_HEADER_BYTES + bytes + CHECKSUM_BYTES;
        let Some(record) = sealed.get_mut(at..end) else {
            break;
        };
        seal(record);
        at = end;
    }
    sealed
}

/// Writes the input as records, and changes one bit: what is read is what stands before it.
fn change_a_bit(input: &[u8], size: u8) {
    let Some((&[low, high, bit], data)) = input.split_first_chunk() else {
        return;
    };
    let header = SegmentHeader {
        kind: Kind::Spool,
        start: 7,
        number: 1,
        previous: 0,
        origin: Origin::new("fuzz").expect("it is short"),
    };
    let mut position = header.start;
    let piece = |(n, bytes): (usize, &[u8])| {
        let piece = Piece {
            position,
            bytes: Bytes::copy_from_slice(bytes),
            received_at_ms: n as i64 / 2,
        };
        position = piece.end();
        piece
    };
    let pieces = data.chunks(usize::from(size.max(1)));
    let pieces: Vec<_> = pieces.enumerate().map(piece).collect();
    let records: Vec<_> = pieces.chunks(3).map(<[Piece]>::to_vec).collect();
    let mut segment = write(&header, &records);
    let sound = read(&segment[..]);
    assert_eq!((sound.damage, sound.records.len()), (None, records.len()));
    let at = usize::from(u16::from_le_bytes([low, high])) % segment.len();
    segment[at] ^= 1 << (bit % 8);
    let changed = read(&segment[..]);
    assert!(changed.damage.is_some(), "byte {at} of {}", segment.len());
    let before = changed.records.len();
    assert_eq!(changed.records[..], sound.records[..before]);
}

/// Gives so many bytes at a time.
struct Slowly<'a>(&'a [u8], usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.1);
        self.0.read(&mut buffer[..len])
    }
}
