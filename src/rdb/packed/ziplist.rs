//! Ziplist: the packed encoding of Redis 2.4 to 6.2 (redis 6.2 ziplist.c).
//!
//! ```text
//! u32 LE size of the blob | u32 LE offset of the last entry | u16 LE count, 65535: unknown
//! entries | 0xFF
//!
//! entry: size of the entry before (u8, or 0xFE u32 LE), encoding, data
//! 00llllll            string                     11000000  16 bits LE    11110000  24 bits LE
//! 01llllll l          string, length BE          11010000  32 bits LE    11111110   8 bits
//! 10...... l*4        string, length BE          11100000  64 bits LE    1111nnnn  n - 1, n = 1..13
//! ```

use bytes::Bytes;

use super::{Blob, int24};
use crate::rdb::cursor::Flaw;
use crate::rdb::part::Element;

pub(super) const END: u8 = 0xff;
pub(super) const HEADER_BYTES: usize = 10;
pub(super) const COUNT_UNKNOWN: u16 = u16::MAX;
const LEAVES: Flaw = Flaw("a ziplist entry leaves the ziplist");

/// The elements of a ziplist.
#[derive(Debug)]
pub(crate) struct Ziplist {
    blob: Blob,
    last_entry: usize,
    count: u16,
    seen: u64,
    /// Where the entry before starts; the end of the header if there is none.
    previous: usize,
}

impl Ziplist {
    pub(crate) fn new(bytes: Bytes) -> Result<Self, Flaw> {
        let short = Flaw("a ziplist is shorter than its header");
        let mut blob = Blob { bytes, pos: 0 };
        let size = blob.array().map(u32::from_le_bytes).ok_or(short)?;
        let last_entry = blob.array().map(u32::from_le_bytes).ok_or(short)?;
        let count = blob.array().map(u16::from_le_bytes).ok_or(short)?;
        if u64::from(size) != blob.bytes.len() as u64 {
            return Err(Flaw("a ziplist's size differs from that of its blob"));
        }
        if blob.bytes.len() <= HEADER_BYTES || blob.bytes.last() != Some(&END) {
            return Err(Flaw("a ziplist has no end byte"));
        }
        Ok(Self {
            blob,
            last_entry: last_entry as usize,
            count,
            seen: 0,
            previous: HEADER_BYTES,
        })
    }

    /// The next element; `None` at an end that is where it has to be.
    pub(crate) fn next_element(&mut self) -> Result<Option<Element>, Flaw> {
        if self.blob.peek() == Some(END) {
            self.check_end()?;
            return Ok(None);
        }
        let start = self.blob.pos;
        let previous_size = match self.blob.u8().ok_or(LEAVES)? {
            0xfe => self.blob.array().map(u32::from_le_bytes).ok_or(LEAVES)? as usize,
            size => usize::from(size),
        };
        if previous_size != start - self.previous {
            return Err(Flaw("a ziplist entry has the wrong size of the one before"));
        }
        let element = self.element()?;
        self.previous = start;
        self.seen += 1;
        Ok(Some(element))
    }

    fn element(&mut self) -> Result<Element, Flaw> {
        let blob = &mut self.blob;
        let encoding = blob.u8().ok_or(LEAVES)?;
        let len = match encoding {
            0x00..=0x3f => usize::from(encoding),
            0x40..=0x7f => {
                let low = blob.u8().ok_or(LEAVES)?;
                usize::from(encoding & 0x3f) << 8 | usize::from(low)
            }
            0x80..=0xbf => blob.array().map(u32::from_be_bytes).ok_or(LEAVES)? as usize,
            0xf1..=0xfd => return Ok(Element::Int(i64::from(encoding & 0x0f) - 1)),
            _ => return self.int(encoding).map(Element::Int),
        };
        blob.slice(len).map(Element::Bytes).ok_or(LEAVES)
    }

    fn int(&mut self, encoding: u8) -> Result<i64, Flaw> {
        let blob = &mut self.blob;
        let value = match encoding {
            0xc0 => blob.array().map(|bytes| i16::from_le_bytes(bytes).into()),
            0xd0 => blob.array().map(|bytes| i32::from_le_bytes(bytes).into()),
            0xe0 => blob.array().map(i64::from_le_bytes),
            0xf0 => blob.array().map(int24),
            0xfe => blob.array().map(|bytes| i8::from_le_bytes(bytes).into()),
            _ => return Err(Flaw("undefined ziplist encoding")),
        };
        value.ok_or(LEAVES)
    }

    fn check_end(&self) -> Result<(), Flaw> {
        if self.blob.pos + 1 != self.blob.bytes.len() {
            return Err(Flaw("a ziplist ends in the middle of its blob"));
        }
        if self.last_entry != self.previous {
            return Err(Flaw("a ziplist has the wrong offset of its last entry"));
        }
        if self.count != COUNT_UNKNOWN && u64::from(self.count) != self.seen {
            return Err(Flaw("a ziplist's count differs from its entries"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, walk};

    /// A ziplist of entries that are given with their headers; `last` is relative to the first.
    fn ziplist(count: u16, last: u32, entries: &[u8]) -> Vec<u8> {
        let mut blob = Vec::from((entries.len() as u32 + 11).to_le_bytes());
        blob.extend((last + 10).to_le_bytes());
        blob.extend(count.to_le_bytes());
        blob.extend(entries);
        blob.push(0xff);
        blob
    }

    #[test]
    fn reads_every_encoding() {
        for (name, entry, expected) in [
            ("short string", &b"\0\x02hi"[..], "hi"),
            ("medium string", b"\0\x40\x02hi", "hi"),
            ("long string", b"\0\x80\0\0\0\x02hi", "hi"),
            ("wide size of none", b"\xfe\0\0\0\0\x02hi", "hi"),
            ("immediate, least", b"\0\xf1", "0"),
            ("immediate, most", b"\0\xfd", "12"),
            ("8 bits", b"\0\xfe\x80", "-128"),
            ("16 bits", b"\0\xc0\xff\x7f", "32767"),
            ("24 bits", b"\0\xf0\0\0\x80", "-8388608"),
            ("32 bits", b"\0\xd0\0\0\0\x80", "-2147483648"),
            (
                "64 bits",
                b"\0\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
                "9223372036854775807",
            ),
        ] {
            for count in [1, 65535] {
                let blob = ziplist(count, 0, entry);
                assert_eq!(
                    walk(Encoding::Ziplist, &blob).unwrap(),
                    [expected],
                    "{name}"
                );
            }
            assert!(
                walk(Encoding::Ziplist, &ziplist(2, 0, entry)).is_err(),
                "{name}, count 2"
            );
        }
        let two = b"\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff";
        assert_eq!(walk(Encoding::Ziplist, two).unwrap(), ["2", "5"]);
        assert_eq!(
            walk(Encoding::Ziplist, &ziplist(0, 0, b"")).unwrap(),
            [""; 0]
        );
    }

    #[test]
    fn refuses_what_lies() {
        let mut other_size = ziplist(1, 0, b"\0\xf1");
        other_size.push(0xff);
        for (name, blob) in [
            ("empty", Vec::new()),
            ("half a header", b"\x05\0\0\0\0".to_vec()),
            ("no end byte", b"\x0a\0\0\0\x0a\0\0\0\0\0".to_vec()),
            ("another size", other_size),
            ("past the end", ziplist(1, 0, b"\0\x05hi")),
            ("near 4 GiB", ziplist(1, 0, b"\0\x80\xff\xff\xff\xff")),
            ("undefined", ziplist(1, 0, b"\0\xc1\0\0")),
            (
                "wrong size of the one before",
                ziplist(2, 2, b"\0\xf1\x03\xf1"),
            ),
            (
                "end byte in the middle",
                ziplist(1, 0, b"\0\xf1\xff\x02\xf1"),
            ),
            (
                "wrong offset of the last entry",
                ziplist(2, 0, b"\0\xf1\x02\xf1"),
            ),
        ] {
            assert!(walk(Encoding::Ziplist, &blob).is_err(), "{name}");
        }
    }
}
