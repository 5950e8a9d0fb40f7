//! A record: a stretch of the sequence as it stands in a segment. Numbers are little-endian.
//!
//! ```text
//!  0        4        8      10      12         20                    20 + b
//! ┌────────┬────────┬───────┬───────┬──────────┬─────────────────────┬────────┐
//! │ b: len │ d: len │ s:    │ enco- │ position │ block of b bytes:   │ CRC-64 │
//! │ of the │ of the │ spans │ ding  │ of the   │ plain or LZ4, of    │ /XZ of │
//! │ block  │ data   │       │ 0 / 1 │ data     │ s spans, d of data  │ it all │
//! └────────┴────────┴───────┴───────┴──────────┴─────────────────────┴────────┘
//!   span: 4 bytes of length, 8 bytes of received_at_ms
//! ```
//!
//! A span says when that many bytes of the data were received; neighbours of one time are one span.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, Bytes};

use crate::keyspace::UnixMs;

use super::Piece;

/// The most data that a record holds, in bytes.
pub const RECORD_BYTES_MAX: usize = 256 << 10;

/// The most spans that a record holds.
pub const SPANS_MAX: usize = 4096;

pub(super) const RECORD_HEADER_BYTES: usize = 20;
pub(super) const CHECKSUM_BYTES: usize = 8;
const SPAN_BYTES: usize = 12;

/// What is wrong with the bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The bytes end within a header or a record: they were not written to their end.
    #[error("it ends within a record")]
    Torn,
    /// The first bytes are not those of a segment of this version.
    #[error("it does not begin as a segment")]
    NoSegment,
    /// A length, a count or an encoding is not one that is ever written.
    #[error("a length is out of bounds")]
    Length,
    /// The bytes are not those that were written.
    #[error("the checksum is wrong")]
    Checksum,
    /// A record does not follow the one before it.
    #[error("a record is out of its place")]
    Position,
    /// The block does not unpack to the length that is stored.
    #[error("its compression is broken")]
    Compression,
    /// The spans are not as long as the data.
    #[error("the times do not fit the data")]
    Spans,
}

/// The checksum of segments and records.
pub(super) fn checksum(parts: &[&[u8]]) -> u64 {
    let mut digest = crc64fast::Digest::new();
    for part in parts {
        digest.write(part);
    }
    digest.sum64()
}

/// Takes the next `N` bytes off the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Damage> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Damage::Torn)?;
    *bytes = rest;
    Ok(*taken)
}

/// The fixed part in front of a record, its bounds checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Bytes of the block as it is stored.
    pub(super) block_bytes: usize,
    /// Bytes of the sequence.
    pub(super) data_bytes: usize,
    spans: usize,
    is_lz4: bool,
    /// Where the data stands in the sequence.
    pub(super) position: u64,
}

impl RecordHeader {
    /// Reads a header; nothing it says is larger than what is ever written.
    pub(super) fn decode(mut bytes: &[u8]) -> Result<RecordHeader, Damage> {
        let bytes = &mut bytes;
        let header = RecordHeader {
            block_bytes: u32::from_le_bytes(take(bytes)?) as usize,
            data_bytes: u32::from_le_bytes(take(bytes)?) as usize,
            spans: usize::from(u16::from_le_bytes(take(bytes)?)),
            is_lz4: match u16::from_le_bytes(take(bytes)?) {
                0 => false,
                1 => true,
                _ => return Err(Damage::Length),
            },
            position: u64::from_le_bytes(take(bytes)?),
        };
        let block_fits = match header.is_lz4 {
            true => (1..header.content_bytes()).contains(&header.block_bytes),
            false => header.block_bytes == header.content_bytes(),
        };
        let is_possible = (1..=RECORD_BYTES_MAX).contains(&header.data_bytes)
            && (1..=SPANS_MAX.min(header.data_bytes)).contains(&header.spans)
            && header
                .position
                .checked_add(header.data_bytes as u64)
                .is_some()
            && block_fits;
        is_possible.then_some(header).ok_or(Damage::Length)
    }

    fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let fields = (self.block_bytes as u32).to_le_bytes().into_iter();
        let fields = fields
            .chain((self.data_bytes as u32).to_le_bytes())
            .chain((self.spans as u16).to_le_bytes())
            .chain(u16::from(self.is_lz4).to_le_bytes())
            .chain(self.position.to_le_bytes());
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = from);
        bytes
    }

    /// Where the data ends in the sequence.
    pub(super) fn end(&self) -> u64 {
        self.position.saturating_add(self.data_bytes as u64)
    }

    fn content_bytes(&self) -> usize {
        self.spans * SPAN_BYTES + self.data_bytes
    }
}

/// A record that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    position: u64,
    spans: Vec<(usize, UnixMs)>,
    data: Bytes,
}

impl Record {
    /// Unpacks the block of a record whose checksum was right.
    ///
    /// # Errors
    /// `Compression` or `Spans`.
    pub(super) fn decode(header: &RecordHeader, block: &[u8]) -> Result<Record, Damage> {
        let mut content = Bytes::from(unpack(header, block)?);
        let data = content.split_off(header.spans * SPAN_BYTES);
        let mut spans = Vec::with_capacity(header.spans);
        let (mut table, mut sum) = (&content[..], 0_usize);
        for _ in 0..header.spans {
            let bytes = u32::from_le_bytes(take(&mut table)?) as usize;
            spans.push((bytes, UnixMs::from_le_bytes(take(&mut table)?)));
            sum = sum.saturating_add(bytes);
        }
        let fits = sum == data.len() && spans.iter().all(|(bytes, _)| *bytes > 0);
        let position = header.position;
        fits.then_some(Record {
            position,
            spans,
            data,
        })
        .ok_or(Damage::Spans)
    }

    /// What was pushed, in order; nothing is copied.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        let (mut position, mut data) = (self.position, self.data);
        self.spans.into_iter().map(move |(bytes, received_at_ms)| {
            let piece = Piece {
                position,
                bytes: data.split_to(bytes.min(data.remaining())),
                received_at_ms,
            };
            position = piece.end();
            piece
        })
    }
}

fn unpack(header: &RecordHeader, block: &[u8]) -> Result<Vec<u8>, Damage> {
    let bytes = header.content_bytes();
    if !header.is_lz4 {
        return (block.len() == bytes)
            .then(|| block.to_vec())
            .ok_or(Damage::Length);
    }
    // At most what the largest record takes: the header was checked.
    let mut content = vec![0; bytes];
    match lz4_flex::block::decompress_into(block, &mut content) {
        Ok(unpacked) if unpacked == bytes => Ok(content),
        _ => Err(Damage::Compression),
    }
}

/// Builds records; its buffers are kept from one to the next.
#[derive(Debug, Default)]
pub struct RecordEncoder {
    is_plain: bool,
    content: Vec<u8>,
    block: Vec<u8>,
    record: Vec<u8>,
}

impl RecordEncoder {
    /// With empty buffers.
    pub fn new() -> RecordEncoder {
        RecordEncoder::default()
    }

    /// For what would hardly become smaller: nothing is compressed.
    pub fn plain() -> RecordEncoder {
        RecordEncoder {
            is_plain: true,
            ..RecordEncoder::default()
        }
    }

    /// The bytes of a record of these pieces, which stand one behind the other from `position` on.
    ///
    /// # Panics
    /// If there are no bytes, more than [`RECORD_BYTES_MAX`] of them, or more than [`SPANS_MAX`]
    /// pieces.
    pub fn encode(&mut self, position: u64, pieces: &[(Bytes, UnixMs)]) -> &[u8] {
        let data_bytes = pieces.iter().map(|(bytes, _)| bytes.len()).sum();
        assert!(
            (1..=RECORD_BYTES_MAX).contains(&data_bytes),
            "bytes of a record"
        );
        assert!(pieces.len() <= SPANS_MAX, "spans of a record");
        let spans = self.fill(pieces);
        let packed = (!self.is_plain).then(|| self.pack());
        let packed = packed.filter(|packed| *packed < self.content.len());
        let is_lz4 = packed.is_some();
        let block = match packed {
            Some(packed) => self.block.get(..packed).unwrap_or_default(),
            None => &self.content,
        };
        let header = RecordHeader {
            block_bytes: block.len(),
            data_bytes,
            spans,
            is_lz4,
            position,
        };
        let header = header.encode();
        self.record.clear();
        self.record.extend_from_slice(&header);
        self.record.extend_from_slice(block);
        self.record
            .extend_from_slice(&checksum(&[&header, block]).to_le_bytes());
        &self.record
    }

    /// Compresses the content into the block; gives its length.
    fn pack(&mut self) -> usize {
        let packed_max = lz4_flex::block::get_maximum_output_size(self.content.len());
        self.block.resize(packed_max, 0);
        let packed = lz4_flex::block::compress_into(&self.content, &mut self.block);
        packed.expect("the buffer has the size that the library asks for")
    }

    /// Puts the spans and the data one behind the other; gives the number of spans.
    fn fill(&mut self, pieces: &[(Bytes, UnixMs)]) -> usize {
        self.content.clear();
        let mut spans = 0;
        let pieces = pieces.iter().filter(|(bytes, _)| !bytes.is_empty());
        for same_time in pieces
            .clone()
            .collect::<Vec<_>>()
            .chunk_by(|a, b| a.1 == b.1)
        {
            let bytes: usize = same_time.iter().map(|(bytes, _)| bytes.len()).sum();
            let received_at_ms = same_time.first().map_or(0, |(_, at)| *at);
            self.content
                .extend_from_slice(&(bytes as u32).to_le_bytes());
            self.content
                .extend_from_slice(&received_at_ms.to_le_bytes());
            spans += 1;
        }
        pieces.for_each(|(bytes, _)| self.content.extend_from_slice(bytes));
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize, byte: u8) -> Bytes {
        Bytes::from(vec![byte; len])
    }

    fn decode(record: &[u8]) -> Result<Record, Damage> {
        let (header, rest) = record.split_at(RECORD_HEADER_BYTES);
        let header = RecordHeader::decode(header)?;
        Record::decode(&header, rest.get(..header.block_bytes).ok_or(Damage::Torn)?)
    }

    fn pieces(record: Record) -> Vec<(u64, Bytes, UnixMs)> {
        let pieces = record.pieces();
        pieces
            .map(|piece| (piece.position, piece.bytes, piece.received_at_ms))
            .collect()
    }

    #[test]
    fn what_is_plain_is_not_compressed() {
        let put = [(bytes(1000, 7), 5)];
        let plain = RecordEncoder::plain().encode(9, &put).to_vec();
        let packed = RecordEncoder::new().encode(9, &put).to_vec();
        assert!(packed.len() < 100 && plain.len() > 1000);
        assert_eq!(decode(&plain), decode(&packed));
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let noise: Bytes = (0..1000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for (name, put, got) in [
            (
                "one byte",
                vec![(bytes(1, 7), 5)],
                vec![(9, bytes(1, 7), 5)],
            ),
            (
                "neighbours of one time are one piece",
                vec![(bytes(2, 1), 5), (bytes(3, 1), 5), (bytes(1, 1), -6)],
                vec![(9, bytes(5, 1), 5), (14, bytes(1, 1), -6)],
            ),
            (
                "empty ones are none",
                vec![(bytes(0, 1), 1), (bytes(3, 1), 2), (bytes(0, 1), 3)],
                vec![(9, bytes(3, 1), 2)],
            ),
            (
                "noise",
                vec![(noise.clone(), 1)],
                vec![(9, noise.clone(), 1)],
            ),
            (
                "the largest",
                vec![(bytes(RECORD_BYTES_MAX, 0), i64::MIN)],
                vec![(9, bytes(RECORD_BYTES_MAX, 0), i64::MIN)],
            ),
        ] {
            let mut encoder = RecordEncoder::new();
            let record = encoder.encode(9, &put);
            assert_eq!(pieces(decode(record).unwrap()), got, "{name}");
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored_plain() {
        let mut encoder = RecordEncoder::new();
        let noise: Bytes = (0..9_u8).map(|n| n.wrapping_mul(167)).collect();
        let plain = encoder.encode(0, &[(noise, 0x1122_3344_5566_7788)]).len();
        assert_eq!(plain, RECORD_HEADER_BYTES + SPAN_BYTES + 9 + CHECKSUM_BYTES);
        let packed = encoder.encode(0, &[(bytes(RECORD_BYTES_MAX, 0), 1)]).len();
        assert!(packed < RECORD_BYTES_MAX / 100, "{packed}");
    }

    #[test]
    fn impossible_headers_are_refused_before_anything_is_allocated() {
        let sound = RecordHeader {
            block_bytes: 12 + 10,
            data_bytes: 10,
            spans: 1,
            is_lz4: false,
            position: 0,
        };
        let packed = RecordHeader {
            block_bytes: 12,
            is_lz4: true,
            ..sound
        };
        for header in [sound, packed] {
            assert_eq!(RecordHeader::decode(&header.encode()), Ok(header));
        }
        for (name, header) in [
            (
                "no data",
                RecordHeader {
                    data_bytes: 0,
                    block_bytes: 12,
                    ..sound
                },
            ),
            (
                "more than a record holds",
                RecordHeader {
                    data_bytes: RECORD_BYTES_MAX + 1,
                    ..packed
                },
            ),
            (
                "a huge length",
                RecordHeader {
                    data_bytes: u32::MAX as usize,
                    ..packed
                },
            ),
            (
                "no spans",
                RecordHeader {
                    spans: 0,
                    block_bytes: 10,
                    ..sound
                },
            ),
            (
                "more spans than bytes",
                RecordHeader {
                    spans: 11,
                    ..packed
                },
            ),
            (
                "a plain block of another length",
                RecordHeader {
                    block_bytes: 23,
                    ..sound
                },
            ),
            (
                "a packed block that did not shrink",
                RecordHeader {
                    block_bytes: 22,
                    ..packed
                },
            ),
            (
                "no block",
                RecordHeader {
                    block_bytes: 0,
                    ..packed
                },
            ),
            (
                "behind the last position",
                RecordHeader {
                    position: u64::MAX - 9,
                    ..sound
                },
            ),
        ] {
            assert_eq!(
                RecordHeader::decode(&header.encode()),
                Err(Damage::Length),
                "{name}"
            );
        }
        let mut other_encoding = sound.encode();
        other_encoding[10] = 2;
        assert_eq!(RecordHeader::decode(&other_encoding), Err(Damage::Length));
        assert_eq!(
            RecordHeader::decode(&sound.encode()[..19]),
            Err(Damage::Torn)
        );
    }

    #[test]
    fn blocks_that_unpack_to_something_else_are_refused() {
        let header = RecordHeader {
            block_bytes: 0,
            data_bytes: 100,
            spans: 2,
            is_lz4: true,
            position: 0,
        };
        let block = |first: u32, second: u32, data: usize| {
            let mut content = Vec::new();
            for bytes in [first, second] {
                content.extend_from_slice(&bytes.to_le_bytes());
                content.extend_from_slice(&[0; 8]);
            }
            content.resize(content.len() + data, 0);
            lz4_flex::block::compress(&content)
        };
        assert!(Record::decode(&header, &block(60, 40, 100)).is_ok());
        for (name, block, damage) in [
            ("a bomb", block(60, 40, 1 << 24), Damage::Compression),
            ("too little", block(60, 40, 99), Damage::Compression),
            ("no LZ4", vec![0xff; 50], Damage::Compression),
            ("spans too long", block(60, 41, 100), Damage::Spans),
            ("spans too short", block(60, 39, 100), Damage::Spans),
            ("an empty span", block(100, 0, 100), Damage::Spans),
            (
                "spans that overflow",
                block(u32::MAX, 101, 100),
                Damage::Spans,
            ),
        ] {
            assert_eq!(Record::decode(&header, &block), Err(damage), "{name}");
        }
    }

    #[test]
    fn the_checksum_is_crc_64_xz() {
        assert_eq!(checksum(&[b"1234", b"56789"]), 0x995d_c9bb_df19_39fa);
    }
}
