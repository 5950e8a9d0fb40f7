//! What is kept of a key until both sides have come: its name, and what tells whether it differs.
//!
//! ```text
//! u32 bytes that follow | u8 flags | u8 type | u32 db | u128 digest
//!   | i64 expiry, if it has one | u64 of each partial digest there is | key
//! ```
//!
//! All numbers are little-endian.

use std::io::{self, Read};

use crate::{
    keyspace::{Db, UnixMs},
    rdb::KeyType,
};

use super::digest::{Digest, PARTIAL};

/// The bytes in front of each record.
const LENGTH_BYTES: usize = 4;
/// The flag of an expiry; those of the partial digests follow.
const HAS_EXPIRY: u8 = 1;

/// A key of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'k> {
    pub(super) db: Db,
    pub(super) key: &'k [u8],
    pub(super) key_type: KeyType,
    pub(super) expire_at_ms: Option<UnixMs>,
    pub(super) digest: Digest,
}

impl<'k> Record<'k> {
    /// Appends it to `buffer`.
    pub(super) fn write(&self, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; LENGTH_BYTES]);
        let mut flags = u8::from(self.expire_at_ms.is_some());
        for (n, partial) in self.digest.partial.iter().enumerate() {
            flags |= u8::from(partial.is_some()) << (n + 1);
        }
        buffer.extend_from_slice(&[flags, self.key_type as u8]);
        buffer.extend_from_slice(&self.db.0.to_le_bytes());
        buffer.extend_from_slice(&self.digest.content.to_le_bytes());
        if let Some(at) = self.expire_at_ms {
            buffer.extend_from_slice(&at.to_le_bytes());
        }
        for partial in self.digest.partial.iter().flatten() {
            buffer.extend_from_slice(&partial.to_le_bytes());
        }
        buffer.extend_from_slice(self.key);
        let len = buffer.len() - start - LENGTH_BYTES;
        let len = u32::try_from(len).expect("keys have up to 512 MiB");
        if let Some(room) = buffer.get_mut(start..start + LENGTH_BYTES) {
            room.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// The record that begins `bytes`, and how many it takes; `None` where they do not hold one.
    pub(super) fn read(bytes: &'k [u8]) -> Option<(Record<'k>, usize)> {
        let (len, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let record = Record::of_body(rest.get(..len)?)?;
        Some((record, LENGTH_BYTES + len))
    }

    fn of_body(body: &'k [u8]) -> Option<Record<'k>> {
        let ([flags, key_type], rest) = body.split_first_chunk()?;
        let (db, rest) = rest.split_first_chunk()?;
        let (content, mut rest) = rest.split_first_chunk()?;
        let mut word = |bit: u8| -> Option<Option<[u8; 8]>> {
            if flags & bit == 0 {
                return Some(None);
            }
            let (word, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(Some(*word))
        };
        let expire_at_ms = word(HAS_EXPIRY)?.map(i64::from_le_bytes);
        let mut partial = [None; PARTIAL];
        for (n, partial) in partial.iter_mut().enumerate() {
            *partial = word(1 << (n + 1))?.map(u64::from_le_bytes);
        }
        Some(Record {
            db: Db(u32::from_le_bytes(*db)),
            key: rest,
            key_type: *KeyType::ALL.get(usize::from(*key_type))?,
            expire_at_ms,
            digest: Digest {
                content: u128::from_le_bytes(*content),
                partial,
            },
        })
    }
}

/// Reads the next record with its length into `buffer`; `false` where none follows.
pub(super) fn read_next(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.clear();
    from.take(LENGTH_BYTES as u64).read_to_end(buffer)?;
    if buffer.is_empty() {
        return Ok(false);
    }
    let len = buffer.first_chunk().map(|len| u32::from_le_bytes(*len));
    let len = len.ok_or(io::ErrorKind::UnexpectedEof)?;
    let read = from.take(len.into()).read_to_end(buffer)?;
    match read == len as usize {
        true => Ok(true),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let digest = |partial| Digest {
            content: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            partial,
        };
        let long = vec![b'x'; 70_000];
        let mut written = Vec::new();
        let mut records = Vec::new();
        for (n, key_type) in KeyType::ALL.into_iter().enumerate() {
            records.push(Record {
                db: Db(u32::MAX - n as u32),
                key: [&b""[..], b"a", b"\x00\xff", &long][n % 4],
                key_type,
                expire_at_ms: [None, Some(-1), Some(i64::MAX)][n % 3],
                digest: digest([
                    (n & 1 > 0).then_some(1),
                    (n & 2 > 0).then_some(u64::MAX),
                    (n & 4 > 0).then_some(3),
                ]),
            });
        }
        records.iter().for_each(|record| record.write(&mut written));
        let mut rest = &written[..];
        for record in &records {
            let (read, len) = Record::read(rest).unwrap();
            assert_eq!(read, *record);
            for cut in (0..len).filter(|cut| *cut < 100 || cut % 1000 == 0) {
                assert_eq!(Record::read(&rest[..cut]), None);
            }
            rest = &rest[len..];
        }
        assert!(rest.is_empty());

        let mut from = &written[..];
        let mut buffer = Vec::new();
        for record in &records {
            assert!(read_next(&mut from, &mut buffer).unwrap());
            assert_eq!(Record::read(&buffer), Some((*record, buffer.len())));
        }
        assert!(!read_next(&mut from, &mut buffer).unwrap());
        let mut cut = &written[..written.len() - 1];
        let all: io::Result<Vec<bool>> = records
            .iter()
            .map(|_| read_next(&mut cut, &mut buffer))
            .collect();
        assert!(all.is_err());
    }
}
