//! Long strings in pieces, none of which cuts a character in two.

use bytes::{Bytes, BytesMut};

/// The most bytes of a character that can stand alone at the end of a piece.
const CUT_BYTES_MAX: usize = 3;

/// Moves the beginnings of characters from the end of a piece to the next one.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    held: Bytes,
}

impl Cuts {
    /// The piece as it is to be written.
    pub(super) fn next(&mut self, piece: Bytes, is_last: bool) -> Bytes {
        let mut piece = match self.held.is_empty() {
            true => piece,
            false => {
                let mut joined = BytesMut::with_capacity(self.held.len() + piece.len());
                joined.extend_from_slice(&self.held);
                joined.extend_from_slice(&piece);
                joined.freeze()
            }
        };
        self.held = Bytes::new();
        if !is_last {
            let whole = piece.len() - cut_bytes(&piece);
            self.held = piece.split_off(whole);
        }
        piece
    }
}

/// How many bytes at the end begin a character that does not end there; 0 if the text is not
/// UTF-8 anyway.
fn cut_bytes(piece: &[u8]) -> usize {
    match std::str::from_utf8(piece) {
        Err(error) if error.error_len().is_none() => {
            let cut = piece.len() - error.valid_up_to();
            debug_assert!(cut <= CUT_BYTES_MAX);
            cut
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_text_are_text() {
        let text = "Überfahrt ⛴ 🚢".as_bytes();
        for size in 4..text.len() {
            let mut cuts = Cuts::default();
            let mut joined = Vec::new();
            let pieces = text.chunks(size);
            let count = pieces.len();
            for (n, piece) in pieces.enumerate() {
                let piece = cuts.next(Bytes::copy_from_slice(piece), n + 1 == count);
                assert!(std::str::from_utf8(&piece).is_ok(), "{size}, {n}");
                joined.extend_from_slice(&piece);
            }
            assert_eq!(joined, text, "{size}");
        }
    }

    #[test]
    fn other_bytes_stay_where_they_are() {
        let mut cuts = Cuts::default();
        for (piece, is_last, written) in [
            (&b"a\xff\xc3"[..], false, &b"a\xff\xc3"[..]),
            (b"b\xc3", false, b"b"),
            (b"c", false, b"\xc3c"),
            (b"\xe2", false, b""),
            (b"\x9b", true, b"\xe2\x9b"),
        ] {
            assert_eq!(cuts.next(Bytes::from_static(piece), is_last), written);
        }
    }
}
