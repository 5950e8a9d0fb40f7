//! Listpack: the packed encoding from Redis 7.0 on, and of stream nodes (antirez/listpack).
//!
//! ```text
//! u32 LE size of the blob | u16 LE count, 65535: unknown | elements | 0xFF
//!
//! element: encoding, data, and the size of both for walking backwards
//! 0nnnnnnn            0 - 127                     11110000 len*4 LE  string
//! 10llllll            string                      11110001 .. 16 bits LE
//! 110nnnnn n          13 bits, signed, BE         11110010 .. 24 bits LE
//! 1110llll l          string, length BE           11110011 .. 32 bits LE
//!                                                 11110100 .. 64 bits LE
//! ```

use bytes::Bytes;

use super::{Blob, int24};
use crate::rdb::cursor::Flaw;
use crate::rdb::part::Element;

const END: u8 = 0xff;
const HEADER_BYTES: usize = 6;
const COUNT_UNKNOWN: u16 = u16::MAX;
const LEAVES: Flaw = Flaw("a listpack element leaves the listpack");

/// The elements of a listpack.
#[derive(Debug)]
pub(crate) struct Listpack {
    blob: Blob,
    count: u16,
    seen: u64,
}

impl Listpack {
    pub(crate) fn new(bytes: Bytes) -> Result<Self, Flaw> {
        let mut blob = Blob { bytes, pos: 0 };
        let header = blob.array().zip(blob.array());
        let (size, count) = header.ok_or(Flaw("a listpack is shorter than its header"))?;
        if u64::from(u32::from_le_bytes(size)) != blob.bytes.len() as u64 {
            return Err(Flaw("a listpack's size differs from that of its blob"));
        }
        if blob.bytes.len() <= HEADER_BYTES || blob.bytes.last() != Some(&END) {
            return Err(Flaw("a listpack has no end byte"));
        }
        Ok(Self {
            blob,
            count: u16::from_le_bytes(count),
            seen: 0,
        })
    }

    /// The next element; `None` at an end that is where it has to be.
    pub(crate) fn next_element(&mut self) -> Result<Option<Element>, Flaw> {
        if self.blob.peek() == Some(END) {
            self.check_end()?;
            return Ok(None);
        }
        let start = self.blob.pos;
        let element = self.element()?;
        let size = self.blob.pos - start;
        self.check_back_length(size)?;
        self.seen += 1;
        Ok(Some(element))
    }

    fn element(&mut self) -> Result<Element, Flaw> {
        let blob = &mut self.blob;
        let first = blob.u8().ok_or(LEAVES)?;
        let len = match first {
            0x00..=0x7f => return Ok(Element::Int(first.into())),
            0x80..=0xbf => usize::from(first & 0x3f),
            0xc0..=0xdf => {
                let low = blob.u8().ok_or(LEAVES)?;
                let bits = i16::from(first & 0x1f) << 8 | i16::from(low);
                // Moves the sign of the 13 bits to the sign of the 16.
                return Ok(Element::Int(i64::from(bits << 3 >> 3)));
            }
            0xe0..=0xef => {
                let low = blob.u8().ok_or(LEAVES)?;
                usize::from(first & 0x0f) << 8 | usize::from(low)
            }
            0xf0 => blob.array().map(u32::from_le_bytes).ok_or(LEAVES)? as usize,
            0xf1..=0xf4 => return self.wide_int(first).map(Element::Int).ok_or(LEAVES),
            0xf5..=0xff => return Err(Flaw("undefined listpack encoding")),
        };
        blob.slice(len).map(Element::Bytes).ok_or(LEAVES)
    }

    fn wide_int(&mut self, encoding: u8) -> Option<i64> {
        let blob = &mut self.blob;
        match encoding {
            0xf1 => blob.array().map(|bytes| i16::from_le_bytes(bytes).into()),
            0xf2 => blob.array().map(int24),
            0xf3 => blob.array().map(|bytes| i32::from_le_bytes(bytes).into()),
            _ => blob.array().map(i64::from_le_bytes),
        }
    }

    /// Passes over the back length, 7 bits a byte, the most significant ones first; all bytes but
    /// the first have the top bit set.
    fn check_back_length(&mut self, size: usize) -> Result<(), Flaw> {
        let wrong = Flaw("wrong back length of a listpack element");
        if size <= 127 {
            let right = self.blob.u8() == Some(size as u8);
            return if right { Ok(()) } else { Err(wrong) };
        }
        // The odd limits are those of lpEncodeBacklenBytes: the largest value of each length
        // already takes one byte more.
        let groups = match size {
            ..=16_382 => 2,
            16_383..=2_097_150 => 3,
            2_097_151..=268_435_454 => 4,
            _ => 5,
        };
        for group in (0..groups).rev() {
            let bits = (size >> (7 * group)) as u8 & 0x7f;
            let top = if group + 1 == groups { 0 } else { 0x80 };
            if self.blob.u8() != Some(bits | top) {
                return Err(wrong);
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), Flaw> {
        if self.blob.pos + 1 != self.blob.bytes.len() {
            return Err(Flaw("a listpack ends in the middle of its blob"));
        }
        if self.count != COUNT_UNKNOWN && u64::from(self.count) != self.seen {
            return Err(Flaw("a listpack's count differs from its elements"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, walk};

    /// A listpack of elements that are given with their back lengths.
    fn listpack(count: u16, elements: &[u8]) -> Vec<u8> {
        let mut blob = Vec::from((elements.len() as u32 + 7).to_le_bytes());
        blob.extend(count.to_le_bytes());
        blob.extend(elements);
        blob.push(0xff);
        blob
    }

    #[test]
    fn reads_every_encoding() {
        for (name, element, expected) in [
            ("7 bits", &b"\x7f\x01"[..], "127"),
            ("short string", b"\x82hi\x03", "hi"),
            ("empty string", b"\x80\x01", ""),
            ("13 bits", b"\xcf\xff\x02", "4095"),
            ("13 bits, negative", b"\xdf\xfd\x02", "-3"),
            ("13 bits, least", b"\xd0\x00\x02", "-4096"),
            ("medium string", b"\xe0\x02hi\x04", "hi"),
            ("long string", b"\xf0\x02\0\0\0hi\x07", "hi"),
            ("16 bits", b"\xf1\x00\x80\x03", "-32768"),
            ("24 bits", b"\xf2\x70\x11\x01\x04", "70000"),
            ("24 bits, negative", b"\xf2\xff\xff\xff\x04", "-1"),
            ("32 bits", b"\xf3\xff\xff\xff\x7f\x05", "2147483647"),
            (
                "64 bits",
                b"\xf4\0\0\0\0\0\0\0\x80\x09",
                "-9223372036854775808",
            ),
        ] {
            for count in [1, 65535] {
                let blob = listpack(count, element);
                assert_eq!(
                    walk(Encoding::Listpack, &blob).unwrap(),
                    [expected],
                    "{name}"
                );
            }
            assert!(
                walk(Encoding::Listpack, &listpack(2, element)).is_err(),
                "{name}, count 2"
            );
        }
    }

    #[test]
    fn knows_the_odd_limits_of_the_back_length() {
        for (len, back) in [
            (122, &b"\x7f"[..]),
            (123, b"\x01\x80"),
            (16_377, b"\x7f\xfe"),
            (16_378, b"\x00\xff\xff"),
        ] {
            let mut element = vec![0xf0];
            element.extend((len as u32).to_le_bytes());
            element.extend(vec![b'a'; len]);
            element.extend(back);
            let blob = listpack(1, &element);
            assert_eq!(
                walk(Encoding::Listpack, &blob).unwrap(),
                ["a".repeat(len)],
                "{len}"
            );
        }
    }

    #[test]
    fn refuses_what_lies() {
        let mut other_size = listpack(1, b"\x01\x01");
        other_size.push(0xff);
        for (name, blob) in [
            ("empty", Vec::new()),
            ("five bytes", b"\x05\0\0\0\0".to_vec()),
            ("no end byte", b"\x06\0\0\0\0\0".to_vec()),
            ("another size", other_size),
            ("past the end", listpack(1, b"\x83hi")),
            ("near 4 GiB", listpack(1, b"\xf0\xff\xff\xff\xff")),
            ("undefined", listpack(1, b"\xf7\x01")),
            ("wrong back length", listpack(1, b"\x01\x02")),
            (
                "end byte in the middle",
                listpack(1, b"\x01\x01\xff\x01\x01"),
            ),
        ] {
            assert!(walk(Encoding::Listpack, &blob).is_err(), "{name}");
        }
        assert_eq!(
            walk(Encoding::Listpack, &listpack(0, b"")).unwrap(),
            [""; 0],
            "no elements"
        );
    }
}
