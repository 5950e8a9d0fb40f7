//! Zipmap: small hashes of Redis 2.4 (redis 2.4 zipmap.c).
//!
//! ```text
//! u8 number of pairs, 254 and more: unknown | pairs | 0xFF
//! pair: length, field, length, u8 free, value, free unused bytes
//! length: u8 below 254, or 0xFE u32 LE
//! ```

use bytes::Bytes;

use super::Blob;
use crate::rdb::cursor::Flaw;
use crate::rdb::part::Element;

const END: u8 = 0xff;
const LEAVES: Flaw = Flaw("a zipmap entry leaves the zipmap");

/// The fields and values of a zipmap, in turns.
#[derive(Debug)]
pub(crate) struct Zipmap {
    blob: Blob,
    pairs: u8,
    seen: u64,
    value_is_next: bool,
}

impl Zipmap {
    pub(crate) fn new(bytes: Bytes) -> Result<Self, Flaw> {
        let mut blob = Blob { bytes, pos: 0 };
        let pairs = blob.u8().ok_or(Flaw("a zipmap is empty"))?;
        if blob.bytes.len() < 2 || blob.bytes.last() != Some(&END) {
            return Err(Flaw("a zipmap has no end byte"));
        }
        Ok(Self {
            blob,
            pairs,
            seen: 0,
            value_is_next: false,
        })
    }

    /// The next field or value; `None` at an end that is where it has to be.
    pub(crate) fn next_element(&mut self) -> Result<Option<Element>, Flaw> {
        if self.value_is_next {
            return self.value().map(Some);
        }
        if self.blob.peek() == Some(END) {
            self.check_end()?;
            return Ok(None);
        }
        let len = self.length()?;
        let field = self.blob.slice(len).ok_or(LEAVES)?;
        self.value_is_next = true;
        Ok(Some(Element::Bytes(field)))
    }

    fn value(&mut self) -> Result<Element, Flaw> {
        let len = self.length()?;
        let free = self.blob.u8().ok_or(LEAVES)?;
        let value = self.blob.slice(len).ok_or(LEAVES)?;
        self.blob.slice(free.into()).ok_or(LEAVES)?;
        self.value_is_next = false;
        self.seen += 1;
        Ok(Element::Bytes(value))
    }

    fn length(&mut self) -> Result<usize, Flaw> {
        match self.blob.u8().ok_or(LEAVES)? {
            END => Err(Flaw("a zipmap ends in the middle of a pair")),
            0xfe => self
                .blob
                .array()
                .map(|len| u32::from_le_bytes(len) as usize)
                .ok_or(LEAVES),
            len => Ok(len.into()),
        }
    }

    fn check_end(&mut self) -> Result<(), Flaw> {
        self.blob.pos += 1;
        if !self.blob.is_at_end() {
            return Err(Flaw("a zipmap ends in the middle of its blob"));
        }
        self.blob.pos -= 1;
        if self.pairs < 254 && u64::from(self.pairs) != self.seen {
            return Err(Flaw("a zipmap's count differs from its pairs"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, walk};

    #[test]
    fn reads_pairs() {
        let padded = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world..\xff";
        let wide = b"\xfe\xfe\x03\0\0\0foo\x00\x00\xff";
        for (name, blob, expected) in [
            (
                "two",
                &b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff"[..],
                &["foo", "bar", "hello", "world"][..],
            ),
            ("unused bytes", padded, &["foo", "bar", "hello", "world"]),
            (
                "a wide length, an empty value, an unknown count",
                wide,
                &["foo", ""],
            ),
        ] {
            assert_eq!(walk(Encoding::Zipmap, blob).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn refuses_what_lies() {
        for (name, blob) in [
            ("empty", &b""[..]),
            ("no end byte", b"\x01\x01a\x01\x00b"),
            ("field past the end", b"\x01\x20a\x01\x00b\xff"),
            ("value past the end", b"\x01\x01a\x09\x00b\xff"),
            ("unused bytes past the end", b"\x01\x01a\x01\x09b\xff"),
            ("field without a value", b"\x01\x01a\xff"),
            ("another count", b"\x02\x01a\x01\x00b\xff"),
            (
                "end byte in the middle",
                b"\x01\x01a\x01\x00b\xff\x01a\x01\x00b\xff",
            ),
        ] {
            assert!(walk(Encoding::Zipmap, blob).is_err(), "{name}");
        }
    }
}
