//! What modules keep beside ordinary keys (opcode 243 under `REDIS`, from Redis 8.6 on): named,
//! and passed over.
//!
//! ```text
//! 0xF3 | len n | n * (u32 LE class, the items of a module)
//!
//! class:  24 bits name, four characters | 5 bits version | 3 bits flags
//! ```

use super::cursor::{Cursor, Stop};
use super::event::MetadataClass;
use super::value::module;
use super::walk::{Op, Walk};

const CLASSES_MAX: u64 = 7;
const ITEMS: &[Op] = &[Op::Items];

/// Metadata that is being read.
#[derive(Debug)]
pub(crate) struct KeyMeta {
    left: u64,
    classes: Vec<MetadataClass>,
    /// Through the items of the last class.
    walk: Option<Walk>,
}

impl KeyMeta {
    /// Reads how many classes there are.
    pub(crate) fn begin(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        match cursor.length()? {
            left @ 1..=CLASSES_MAX => Ok(Self {
                left,
                classes: Vec::new(),
                walk: None,
            }),
            _ => Err(cursor.corrupt("impossible number of metadata classes")),
        }
    }

    /// Walks through the classes and names them.
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<MetadataClass>, Stop> {
        loop {
            if let Some(walk) = &mut self.walk {
                walk.run(cursor, u64::MAX)?;
                self.walk = None;
            }
            if self.left == 0 {
                return Ok(std::mem::take(&mut self.classes));
            }
            let class = cursor.array().map(u32::from_le_bytes)?;
            self.classes.push(MetadataClass {
                name: module::characters((class >> 8).into(), 4),
                version: (class >> 3) as u8 & 31,
            });
            self.left -= 1;
            self.walk = Some(Walk::new(ITEMS));
            cursor.commit();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn names_the_classes_however_they_arrive() {
        // "abcd" version 2, with a number; "-_AB" version 31 without anything.
        let one = ((26 << 18 | 27 << 12 | 28 << 6 | 29_u32) << 8 | 2 << 3 | 1).to_le_bytes();
        let two = ((62 << 18 | 63 << 12 | 1_u32) << 8 | 31 << 3).to_le_bytes();
        let bytes = Bytes::from([b"\x02", &one[..], b"\x02\x07\0", &two, b"\0"].concat());
        let mut cursor = Cursor::new(&bytes, 0, 0);
        let mut meta = KeyMeta::begin(&mut cursor).unwrap();
        let (mut pos, mut end) = (cursor.pos(), cursor.pos());
        let classes = loop {
            let part = bytes.slice(..end);
            let mut cursor = Cursor::new(&part, 0, pos);
            match meta.next(&mut cursor) {
                Ok(classes) => break classes,
                Err(stop) => assert_eq!(stop, Stop::More),
            }
            (pos, end) = (cursor.committed(), end + 1);
        };
        assert_eq!(end, bytes.len());
        let class = |name: &str, version| MetadataClass {
            name: name.to_owned(),
            version,
        };
        assert_eq!(classes, [class("abcd", 2), class("-_AB", 31)]);
    }
}
