//! The packed encodings: small collections that servers keep, and save, as one blob.
//!
//! A blob is walked once, forwards, without being decoded as a whole; strings are slices of it.
//! Everything servers verify in their deep mode is verified on the way, except duplicates.

pub(crate) mod intset;
pub(crate) mod listpack;
pub(crate) mod ziplist;
pub(crate) mod ziplist_writer;
pub(crate) mod zipmap;

use bytes::Bytes;

use crate::rdb::cursor::{Cursor, Flaw, Stop, count_read};
use crate::rdb::error::ErrorKind;
use crate::rdb::limits::Limits;
use crate::rdb::part::Element;

use intset::Intset;
use listpack::Listpack;
use ziplist::Ziplist;
use zipmap::Zipmap;

/// Which packed encoding a blob has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A set of integers.
    Intset,
    /// The packed encoding from Redis 7.0 on.
    Listpack,
    /// The packed encoding of Redis 2.4 to 6.2.
    Ziplist,
    /// Small hashes of Redis 2.4.
    Zipmap,
}

/// The elements of a blob, and where it stood.
#[derive(Debug)]
pub(crate) struct Packed {
    elements: Elements,
    /// The absolute offset behind the blob, which its errors are given.
    end: u64,
}

#[derive(Debug)]
enum Elements {
    Intset(Intset),
    Listpack(Listpack),
    Ziplist(Ziplist),
    Zipmap(Zipmap),
}

impl Packed {
    /// Reads the string that holds a blob.
    pub(crate) fn read(
        encoding: Encoding,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Self, Stop> {
        let blob = read_blob(cursor, limits)?;
        Self::new(encoding, blob, cursor.offset())
    }

    /// Begins at the first element of a blob whose end stood at this absolute offset.
    pub(crate) fn new(encoding: Encoding, blob: Bytes, end: u64) -> Result<Self, Stop> {
        let elements = Elements::new(encoding, blob).map_err(|flaw| bad(flaw, end))?;
        Ok(Self { elements, end })
    }

    /// The next element, `None` once the blob ended as it should.
    pub(crate) fn next(&mut self) -> Result<Option<Element>, Stop> {
        self.elements.next().map_err(|flaw| bad(flaw, self.end))
    }

    /// The next element of a group that has begun.
    pub(crate) fn required(&mut self) -> Result<Element, Stop> {
        let missing = Flaw("a packed blob ends in the middle of a pair");
        self.next()?.ok_or_else(|| bad(missing, self.end))
    }

    /// The next element of a group that has begun, an integer.
    pub(crate) fn required_int(&mut self) -> Result<i64, Stop> {
        let no_int = Flaw("a packed blob holds a string in the place of an integer");
        self.required()?
            .as_int()
            .ok_or_else(|| bad(no_int, self.end))
    }

    /// An element contradicts the format.
    pub(crate) fn corrupt(&self, what: &'static str) -> Stop {
        bad(Flaw(what), self.end)
    }

    /// Something is wrong with what an element says.
    pub(crate) fn bad(&self, kind: ErrorKind) -> Stop {
        Stop::Bad {
            kind,
            offset: self.end,
        }
    }
}

/// Reads the string that holds a blob, without looking into the blob.
pub(crate) fn read_blob(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Bytes, Stop> {
    match cursor.string(limits)? {
        Element::Bytes(blob) => Ok(blob),
        Element::Int(_) => Err(cursor.corrupt("an integer stands in the place of a packed blob")),
    }
}

impl Elements {
    fn new(encoding: Encoding, blob: Bytes) -> Result<Self, Flaw> {
        Ok(match encoding {
            Encoding::Intset => Self::Intset(Intset::new(blob)?),
            Encoding::Listpack => Self::Listpack(Listpack::new(blob)?),
            Encoding::Ziplist => Self::Ziplist(Ziplist::new(blob)?),
            Encoding::Zipmap => Self::Zipmap(Zipmap::new(blob)?),
        })
    }

    fn next(&mut self) -> Result<Option<Element>, Flaw> {
        match self {
            Self::Intset(intset) => Ok(intset.next_member().map(Element::Int)),
            Self::Listpack(listpack) => listpack.next_element(),
            Self::Ziplist(ziplist) => ziplist.next_element(),
            Self::Zipmap(zipmap) => zipmap.next_element(),
        }
    }
}

fn bad(flaw: Flaw, offset: u64) -> Stop {
    Stop::Bad {
        kind: ErrorKind::Corrupt(flaw.0),
        offset,
    }
}

/// Reads within one blob; leaving it is corruption, since the blob is all there is.
#[derive(Debug)]
struct Blob {
    bytes: Bytes,
    pos: usize,
}

impl Blob {
    fn rest(&self) -> &[u8] {
        count_read();
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.rest().first_chunk()?;
        self.pos += N;
        Some(array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn slice(&mut self, len: usize) -> Option<Bytes> {
        let end = self
            .pos
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len())?;
        let slice = self.bytes.slice(self.pos..end);
        self.pos = end;
        Some(slice)
    }

    fn is_at_end(&self) -> bool {
        self.pos == self.bytes.len()
    }
}

/// A signed integer of three bytes LE.
fn int24(bytes: [u8; 3]) -> i64 {
    let [low, mid, high] = bytes;
    i64::from(i32::from_le_bytes([0, low, mid, high]) >> 8)
}

/// Test support: walks a whole blob.
#[cfg(test)]
fn walk(encoding: Encoding, blob: &[u8]) -> Result<Vec<String>, Flaw> {
    let mut elements = Elements::new(encoding, Bytes::copy_from_slice(blob))?;
    let mut all = Vec::new();
    while let Some(element) = elements.next()? {
        all.push(String::from_utf8_lossy(&element.to_bytes()).into_owned());
    }
    Ok(all)
}
