//! Intset: a set of integers (redis intset.c).
//!
//! ```text
//! u32 LE width (2, 4, 8) | u32 LE count | count * width bytes, signed LE, ascending
//! ```

use bytes::Bytes;

use crate::rdb::cursor::Flaw;

/// The members of an intset.
#[derive(Debug)]
pub(crate) struct Intset {
    members: Bytes,
    width: usize,
    pos: usize,
}

impl Intset {
    pub(crate) fn new(blob: Bytes) -> Result<Self, Flaw> {
        let Some((width, rest)) = blob.split_first_chunk() else {
            return Err(Flaw("an intset is shorter than its header"));
        };
        let Some((count, members)) = rest.split_first_chunk() else {
            return Err(Flaw("an intset is shorter than its header"));
        };
        let (width, count) = (u32::from_le_bytes(*width), u32::from_le_bytes(*count));
        if !matches!(width, 2 | 4 | 8) {
            return Err(Flaw("impossible width of an intset's members"));
        }
        if count == 0 || u64::from(count) * u64::from(width) != members.len() as u64 {
            return Err(Flaw("an intset's count differs from its size"));
        }
        Ok(Self {
            members: blob.slice_ref(members),
            width: width as usize,
            pos: 0,
        })
    }

    /// The next member. Files whose members do not ascend exist; servers load them, so do we.
    pub(crate) fn next_member(&mut self) -> Option<i64> {
        let member = self.members.get(self.pos..self.pos + self.width)?;
        self.pos += self.width;
        if let Ok(bytes) = member.try_into() {
            return Some(i64::from_le_bytes(bytes));
        }
        if let Ok(bytes) = member.try_into() {
            return Some(i64::from(i32::from_le_bytes(bytes)));
        }
        member
            .try_into()
            .ok()
            .map(|bytes| i64::from(i16::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, walk};

    #[test]
    fn reads_every_width() {
        for (name, blob, expected) in [
            (
                "16 bits",
                &b"\x02\0\0\0\x03\0\0\0\xfb\xff\x01\0\x2c\x01"[..],
                &["-5", "1", "300"][..],
            ),
            (
                "32 bits",
                b"\x04\0\0\0\x02\0\0\0\xff\xff\xff\xff\0\0\x01\0",
                &["-1", "65536"],
            ),
            (
                "64 bits",
                b"\x08\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\x80",
                &["-9223372036854775808"],
            ),
        ] {
            assert_eq!(walk(Encoding::Intset, blob).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn refuses_what_lies() {
        for (name, blob) in [
            ("empty", &b""[..]),
            ("half a header", b"\x02\0\0\0\x01\0"),
            ("no members", b"\x02\0\0\0\0\0\0\0"),
            ("width 3", b"\x03\0\0\0\x01\0\0\0\x01\0\0"),
            ("too few", b"\x02\0\0\0\x02\0\0\0\x01\0"),
            ("too many", b"\x02\0\0\0\x01\0\0\0\x01\0\x02\0"),
            (
                "a product that wraps in 32 bits",
                b"\x08\0\0\0\x01\0\0\x20\x01\0\0\0\0\0\0\0",
            ),
        ] {
            assert!(walk(Encoding::Intset, blob).is_err(), "{name}");
        }
    }
}
