//! Strings that go to the target together: one MSET costs it less than as many SETs.

use bytes::{Bytes, BytesMut};

use crate::resp::{Encoder, put_arg};

/// Strings that are so long with their keys get a SET of their own.
const PAIR_BYTES_MAX: usize = 16 * 1024;
/// Pairs of one command. A server reads 16 KiB at a time and answers after each: commands that are
/// longer are answered less often.
const PAIRS_MAX: usize = 512;

/// The pairs of an MSET that is being gathered.
#[derive(Debug, Default)]
pub(super) struct Mset {
    pairs: BytesMut,
    count: usize,
    first: Option<Bytes>,
}

/// An MSET that was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its name: a single pair is a plain SET.
    pub(super) command: Bytes,
    /// Its first key.
    pub(super) key: Bytes,
    /// How many pairs it has.
    pub(super) count: usize,
}

impl Mset {
    /// Whether a string is short enough to go with others.
    pub(super) fn takes(key: &[u8], string: &[u8]) -> bool {
        key.len() + string.len() < PAIR_BYTES_MAX
    }

    /// Appends a pair; whether it is time to write what was gathered.
    pub(super) fn push(&mut self, key: &Bytes, string: &[u8]) -> bool {
        put_arg(&mut self.pairs, key);
        put_arg(&mut self.pairs, string);
        self.count += 1;
        self.first.get_or_insert_with(|| key.clone());
        self.count == PAIRS_MAX
    }

    /// How many pairs were gathered.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many bytes they take.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Appends what was gathered to `encoder`, if there is anything, and begins anew.
    pub(super) fn write(&mut self, encoder: &mut Encoder) -> Option<Written> {
        let key = self.first.take()?;
        let count = std::mem::take(&mut self.count);
        let command = match count {
            1 => Bytes::from_static(b"SET"),
            _ => Bytes::from_static(b"MSET"),
        };
        encoder.begin(1 + 2 * count);
        encoder.arg(&command);
        encoder.encoded(&self.pairs);
        self.pairs.clear();
        Some(Written {
            command,
            key,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_set_and_more_are_an_mset() {
        let mut mset = Mset::default();
        let mut encoder = Encoder::default();
        assert_eq!(mset.write(&mut encoder), None);
        mset.push(&Bytes::from("a"), b"1");
        let written = mset.write(&mut encoder).unwrap();
        assert_eq!((&written.command[..], written.count), (&b"SET"[..], 1));
        mset.push(&Bytes::from("b"), b"2");
        mset.push(&Bytes::from("b"), b"");
        let written = mset.write(&mut encoder).unwrap();
        assert_eq!((&written.command[..], written.count), (&b"MSET"[..], 2));
        assert_eq!(written.key, "b");
        assert_eq!(
            encoder.take().concat(),
            b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n\
              *5\r\n$4\r\nMSET\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nb\r\n$0\r\n\r\n"
        );
        assert_eq!((mset.len(), mset.count()), (0, 0));
    }

    #[test]
    fn it_is_full_at_some_point() {
        let mut mset = Mset::default();
        let pushed = (1..).find(|_| mset.push(&Bytes::from("a"), b"1"));
        assert_eq!(pushed, Some(PAIRS_MAX));
        assert!(!Mset::takes(b"a", &[b'x'; PAIR_BYTES_MAX]));
    }
}
