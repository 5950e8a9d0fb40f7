//! The id of a stream entry.

use std::fmt;

/// The id of a stream entry, printed as servers do: `<ms>-<seq>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds since 1970-01-01 UTC, in ids that a server made.
    pub ms: u64,
    /// Counts entries of the same millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The id that a server has printed; `None` for what is none.
    pub fn parse(text: &[u8]) -> Option<StreamId> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(StreamId {
            ms: ms.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }

    /// The next id that there can be; `None` behind the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| StreamId { ms, seq: 0 }),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_servers_print_them() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        assert_eq!(StreamId::parse(b"5-0"), id(5, 0));
        assert_eq!(StreamId::parse(b"18446744073709551615-1"), id(u64::MAX, 1));
        for odd in [&b"5"[..], b"5-", b"-5", b"5-x", b"\xff-1"] {
            assert_eq!(StreamId::parse(odd), None);
        }
    }

    #[test]
    fn behind_the_last_id_there_is_none() {
        let id = |ms, seq| StreamId { ms, seq };
        for (one, next) in [
            (id(0, 0), Some(id(0, 1))),
            (id(5, u64::MAX), Some(id(6, 0))),
            (id(u64::MAX, 7), Some(id(u64::MAX, 8))),
            (id(u64::MAX, u64::MAX), None),
        ] {
            assert_eq!(one.next(), next, "{one}");
        }
    }
}
