//! What the first bytes of a value tell about it.

use bytes::Bytes;

use crate::{
    dump::encoding::{Encodings, Holder},
    rdb::{Family, StringHead, ValueType, module_name, string_head},
};

/// So many bytes tell all that is asked for: the time before a packed hash (8), what begins an
/// LZF string (19), the text of an integer (21).
const HEAD_BYTES: usize = 32;
/// The text of an integer is no longer.
const INT_BYTES_MAX: u64 = 20;
const STRING: u8 = 0;
/// A list whose nodes say whether they are packed.
const QUICKLIST_2: u8 = 18;

/// The first bytes of a value, as they arrive.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Bytes,
}

/// How a string is stored compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lzf {
    /// Its size as it is stored, in bytes.
    pub(super) compressed: u64,
    /// Its size when it is inflated.
    pub(super) original: u64,
}

impl Head {
    /// Takes the next piece of the value.
    pub(super) fn feed(&mut self, piece: Bytes) {
        if self.bytes.is_empty() {
            self.bytes = piece;
            self.bytes.truncate(HEAD_BYTES);
        } else if self.bytes.len() < HEAD_BYTES {
            let missing = HEAD_BYTES - self.bytes.len();
            let more = piece.get(..missing).unwrap_or(&piece);
            self.bytes = [&self.bytes, more].concat().into();
        }
    }

    /// The encoding of a string or list, where the content decides.
    pub(super) fn encoding(
        &self,
        value_type: ValueType,
        holder: Holder,
        named: &mut Encodings,
    ) -> Option<&'static str> {
        match value_type.byte {
            STRING => self.string_encoding(holder, named),
            // One node, and that packed.
            QUICKLIST_2 if self.bytes.starts_with(b"\x01\x02") => Some(named.packed_list()),
            _ => None,
        }
    }

    fn string_encoding(&self, holder: Holder, named: &mut Encodings) -> Option<&'static str> {
        let (head, content_at) = string_head(&self.bytes)?;
        let len = match head {
            StringHead::Int(_) => return Some("int"),
            StringHead::Raw(len) => len,
            StringHead::Lzf { original, .. } => original,
        };
        let content = match (head, usize::try_from(len)) {
            (StringHead::Raw(_), Ok(len)) => self.bytes.get(content_at..content_at + len),
            _ => None,
        };
        Some(match content {
            Some(content) => named.string(holder, content),
            // Too long for a number, or compressed, which no number is.
            None if matches!(head, StringHead::Raw(..=INT_BYTES_MAX)) => return None,
            None => named.text(holder, len),
        })
    }

    /// How the value is compressed, if it is one string that is.
    pub(super) fn lzf(&self, value_type: ValueType) -> Option<Lzf> {
        if value_type.family == Family::Dragonfly && value_type.byte >= 20 {
            return None;
        }
        let at = match value_type.byte {
            0 | 9..=13 | 16 | 17 | 20 => 0,
            25 => 8,
            _ => return None,
        };
        match string_head(self.bytes.get(at..)?)?.0 {
            StringHead::Lzf {
                compressed,
                original,
            } => Some(Lzf {
                compressed,
                original,
            }),
            StringHead::Raw(_) | StringHead::Int(_) => None,
        }
    }

    /// The module that the value belongs to.
    pub(super) fn module(&self) -> Option<String> {
        module_name(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &'static [u8], piece_bytes: usize) -> Head {
        let mut head = Head::default();
        let pieces = bytes.chunks(piece_bytes);
        pieces.for_each(|piece| head.feed(Bytes::from_static(piece)));
        head
    }

    #[test]
    fn tells_the_encoding_of_strings_in_whatever_pieces_they_come() {
        for (bytes, name) in [
            (&b"\xc0\x07"[..], Some("int")),
            (b"\x0b12345678901", Some("int")),
            (b"\x14-9223372036854775808", Some("int")),
            (b"\x02hi", Some("embstr")),
            (b"\x00", Some("embstr")),
            (
                b"\x2caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                Some("embstr"),
            ),
            (
                b"\x2daaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                Some("raw"),
            ),
            (b"\xc3\x09\x40\x64", Some("raw")),
            (b"\xc3\x09\x2c", Some("embstr")),
            (b"\xc5", None),
            (b"", None),
        ] {
            for piece_bytes in [1, 2, 40] {
                let mut named = Encodings::default();
                let string = ValueType::common(STRING);
                let found =
                    head(bytes, piece_bytes).encoding(string, Holder::default(), &mut named);
                assert_eq!(found, name, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn tells_what_is_compressed() {
        let lzf = |byte, bytes| head(bytes, 3).lzf(ValueType::common(byte));
        let expected = Some(Lzf {
            compressed: 9,
            original: 100,
        });
        assert_eq!(lzf(0, b"\xc3\x09\x40\x64"), expected);
        assert_eq!(
            lzf(25, b"\0\xd8\xc3\x2c\xbb\x03\0\0\xc3\x09\x40\x64"),
            expected
        );
        assert_eq!(lzf(16, b"\x09abcdefghi"), None);
        // The first of the elements, not the value.
        assert_eq!(lzf(2, b"\xc3\x09\x40\x64"), None);
    }
}
