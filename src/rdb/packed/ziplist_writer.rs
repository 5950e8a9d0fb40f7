//! Writes ziplists, whose layout is drawn where they are read.

use bytes::BufMut;

use crate::rdb::part::Element;

use super::ziplist::{COUNT_UNKNOWN, END, HEADER_BYTES};

/// The last size of an entry that the next one says in one byte.
const SHORT_SIZE_MAX: usize = 253;

/// A ziplist that is being put together.
#[derive(Debug)]
pub(crate) struct ZiplistWriter {
    /// The header, filled in at the end, and the entries.
    out: Vec<u8>,
    count: u64,
    /// Where the last entry begins; the end of the header if there is none.
    last: usize,
}

/// A ziplist that its own header cannot say the size of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) size: u64,
    pub(crate) limit: u64,
}

impl ZiplistWriter {
    pub(crate) fn new() -> Self {
        Self {
            out: vec![0; HEADER_BYTES],
            count: 0,
            last: HEADER_BYTES,
        }
    }

    /// Appends an element. Integers that were packed stay so.
    pub(crate) fn push(&mut self, element: &Element) {
        let previous = self.out.len() - self.last;
        self.last = self.out.len();
        self.count += 1;
        if previous <= SHORT_SIZE_MAX {
            self.out.put_u8(previous as u8);
        } else {
            self.out.put_u8(0xfe);
            // What does not fit makes the whole too long, which the end notices.
            self.out.put_u32_le(previous as u32);
        }
        match element {
            Element::Int(value) => self.int(*value),
            Element::Bytes(bytes) => {
                self.string_length(bytes.len());
                self.out.put_slice(bytes);
            }
        }
    }

    fn string_length(&mut self, len: usize) {
        match len {
            0..=0x3f => self.out.put_u8(len as u8),
            0x40..=0x3fff => self.out.put_u16(0x4000 | len as u16),
            _ => {
                self.out.put_u8(0x80);
                self.out.put_u32(len as u32);
            }
        }
    }

    fn int(&mut self, value: i64) {
        let out = &mut self.out;
        if (0..=12).contains(&value) {
            out.put_u8(0xf1 + value as u8);
        } else if let Ok(value) = i8::try_from(value) {
            out.put_u8(0xfe);
            out.put_i8(value);
        } else if let Ok(value) = i16::try_from(value) {
            out.put_u8(0xc0);
            out.put_i16_le(value);
        } else if (-0x80_0000..0x80_0000).contains(&value) {
            out.put_u8(0xf0);
            out.put_int_le(value, 3);
        } else if let Ok(value) = i32::try_from(value) {
            out.put_u8(0xd0);
            out.put_i32_le(value);
        } else {
            out.put_u8(0xe0);
            out.put_i64_le(value);
        }
    }

    /// The ziplist.
    ///
    /// # Errors
    ///
    /// [`TooLong`] from 4 GiB on.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, TooLong> {
        self.out.put_u8(END);
        let size = self.out.len() as u64;
        let limit = u32::MAX.into();
        let (Ok(bytes), Ok(last)) = (u32::try_from(size), u32::try_from(self.last)) else {
            return Err(TooLong { size, limit });
        };
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        if let Some(mut header) = self.out.get_mut(..HEADER_BYTES) {
            header.put_u32_le(bytes);
            header.put_u32_le(last);
            header.put_u16_le(count);
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Elements, Encoding};
    use super::*;

    fn read_back(elements: &[Element]) -> Vec<Element> {
        let mut writer = ZiplistWriter::new();
        elements.iter().for_each(|element| writer.push(element));
        let blob = Bytes::from(writer.finish().unwrap());
        let mut read = Elements::new(Encoding::Ziplist, blob).unwrap();
        std::iter::from_fn(|| read.next().unwrap()).collect()
    }

    #[test]
    fn writes_what_is_read_back() {
        let string = |len| Element::Bytes(vec![b'x'; len].into());
        let ints = [
            0,
            12,
            13,
            -1,
            127,
            128,
            -128,
            -129,
            32767,
            32768,
            -32769,
            8_388_607,
            8_388_608,
            -8_388_609,
            i32::MAX.into(),
            i64::from(i32::MIN) - 1,
            i64::MAX,
            i64::MIN,
        ];
        let strings = [0, 1, 63, 64, 252, 253, 254, 16383, 16384, 70_000].map(string);
        let all: Vec<_> = ints.map(Element::Int).into_iter().chain(strings).collect();
        assert_eq!(read_back(&all), all);
        for element in &all {
            let alone = std::slice::from_ref(element);
            assert_eq!(read_back(alone), alone);
        }
        assert_eq!(read_back(&[]), []);
        let many = vec![Element::Int(7); 70_000];
        assert_eq!(read_back(&many), many);
    }
}
