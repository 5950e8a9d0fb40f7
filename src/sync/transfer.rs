//! How the snapshot is framed.
//!
//! ```text
//! +FULLRESYNC ...\r\n  \n \n \n  $5818\r\n         <5818 bytes of RDB>             <stream>
//! +FULLRESYNC ...\r\n  \n \n \n  $EOF:<mark>\r\n   <RDB> <the same 40 bytes mark>  <stream>
//!                      keepalives
//! ```
//!
//! [`Transfer`] reads what stands before the snapshot, [`SnapshotCut`] finds its end, and
//! [`SnapshotEnd`] checks that the snapshot itself says that it ends there.
//!
//! Source: replication.c `readSyncBulkPayload`.

use bytes::{Buf, Bytes};
use memchr::memmem;
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take},
    character::complete::u64,
    combinator::{all_consuming, map, map_opt},
    sequence::preceded,
};

use super::{
    ErrorKind,
    handshake::refusal::{refusal, unexpected as unexpected_to},
};

/// The longest line that is taken, in bytes; a refusal may stand where the framing should.
const LINE_BYTES_MAX: usize = 1024;

/// Bytes of an end mark.
const MARK_BYTES: usize = 40;

/// How the end of the snapshot is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// It has this many bytes.
    Length(u64),
    /// It is followed by this mark.
    Mark([u8; MARK_BYTES]),
}

/// What [`Transfer::feed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferStep {
    /// How many bytes of the input were used up.
    pub used: usize,
    /// How many keepalive newlines were among them.
    pub keepalives: usize,
    /// The framing, once its line is complete; the snapshot follows.
    pub framing: Option<Framing>,
}

/// Reads what stands between the handshake and the snapshot.
#[derive(Debug, Default)]
pub struct Transfer {
    line: Vec<u8>,
}

impl Transfer {
    /// For a link whose handshake has just ended in a full resync.
    pub fn new() -> Transfer {
        Transfer::default()
    }

    /// Looks at received bytes, up to the end of the framing line.
    ///
    /// # Errors
    /// What the source says in an error line, or `Unexpected`.
    pub fn feed(&mut self, input: &[u8]) -> Result<TransferStep, ErrorKind> {
        let mut step = TransferStep {
            used: 0,
            keepalives: 0,
            framing: None,
        };
        for byte in input {
            step.used += 1;
            match byte {
                b'\n' if self.line.is_empty() => step.keepalives += 1,
                b'\n' => {
                    step.framing = Some(read_framing(&self.line)?);
                    self.line.clear();
                    break;
                }
                _ if self.line.len() == LINE_BYTES_MAX => return Err(unexpected(&self.line)),
                byte => self.line.push(*byte),
            }
        }
        Ok(step)
    }
}

fn unexpected(found: &[u8]) -> ErrorKind {
    unexpected_to("the snapshot's length", found)
}

/// Reads `$<length>` or `$EOF:<mark>`, the CR included.
fn read_framing(line: &[u8]) -> Result<Framing, ErrorKind> {
    let Some(line) = line.strip_suffix(b"\r") else {
        return Err(unexpected(line));
    };
    if let Some(text) = line.strip_prefix(b"-") {
        return Err(refusal("psync", text));
    }
    framing(line)
        .map(|(_, framing)| framing)
        .map_err(|_| unexpected(line))
}

fn framing(line: &[u8]) -> IResult<&[u8], Framing> {
    let mark = map_opt(take(MARK_BYTES), |mark: &[u8]| {
        mark.try_into().ok().map(Framing::Mark)
    });
    all_consuming(alt((
        preceded(tag("$EOF:"), mark),
        preceded(tag("$"), map(u64, Framing::Length)),
    )))
    .parse(line)
}

/// Checks that the snapshot ends where its framing says.
#[derive(Debug)]
pub struct SnapshotEnd {
    missing: [u8; MARK_BYTES],
    seen: usize,
}

impl SnapshotEnd {
    /// For a snapshot of `rdb_bytes` by its own account.
    ///
    /// # Errors
    /// `LengthDiffers` when another length was announced.
    pub fn new(framing: Framing, rdb_bytes: u64) -> Result<SnapshotEnd, ErrorKind> {
        match framing {
            Framing::Length(announced) if announced != rdb_bytes => Err(ErrorKind::LengthDiffers {
                announced,
                found: rdb_bytes,
            }),
            Framing::Length(_) => Ok(SnapshotEnd {
                missing: [0; MARK_BYTES],
                seen: MARK_BYTES,
            }),
            Framing::Mark(mark) => Ok(SnapshotEnd {
                missing: mark,
                seen: 0,
            }),
        }
    }

    /// Takes the mark off the front of `received`, in any cut; says whether it was all there. What
    /// is left in `received` then is the stream.
    ///
    /// # Errors
    /// `MarkDiffers` at the first byte that differs.
    pub fn feed(&mut self, received: &mut Bytes) -> Result<bool, ErrorKind> {
        let missing = self.missing.get(self.seen..).unwrap_or_default();
        let here = missing.len().min(received.len());
        if received.get(..here) != missing.get(..here) {
            return Err(ErrorKind::MarkDiffers);
        }
        received.advance(here);
        self.seen += here;
        Ok(self.seen == MARK_BYTES)
    }
}

/// Finds where the snapshot ends in what is received, without looking into it.
///
/// An acknowledgement may reach the source just when its snapshot process has ended, so that the
/// stream follows the mark in one piece.
#[derive(Debug)]
pub struct SnapshotCut {
    framing: Framing,
    /// Bytes of the snapshot that were seen.
    seen: u64,
    /// What may be the beginning of the mark.
    tail: Vec<u8>,
}

impl SnapshotCut {
    /// For a snapshot that begins with the next byte.
    pub fn new(framing: Framing) -> SnapshotCut {
        SnapshotCut {
            framing,
            seen: 0,
            tail: Vec::new(),
        }
    }

    /// Looks at the next bytes. Returns how many of them belong to the snapshot and its mark once
    /// these are complete.
    pub fn feed(&mut self, received: &[u8]) -> Option<usize> {
        match self.framing {
            Framing::Length(bytes) => {
                let left = bytes - self.seen;
                self.seen += left.min(received.len() as u64);
                usize::try_from(left)
                    .ok()
                    .filter(|left| *left <= received.len())
            }
            Framing::Mark(mark) => self.feed_mark(received, &mark),
        }
    }

    fn feed_mark(&mut self, received: &[u8], mark: &[u8; MARK_BYTES]) -> Option<usize> {
        // A mark that is cut: its beginning is in the tail.
        let before = self.tail.len();
        let joint = received.get(..MARK_BYTES - 1).unwrap_or(received);
        self.tail.extend_from_slice(joint);
        if let Some(at) = memmem::find(&self.tail, mark) {
            return Some(at + MARK_BYTES - before);
        }
        if let Some(at) = memmem::find(received, mark) {
            return Some(at + MARK_BYTES);
        }
        if received.len() >= MARK_BYTES {
            self.tail.clear();
            let kept = received.len() - (MARK_BYTES - 1);
            self.tail
                .extend_from_slice(received.get(kept..).unwrap_or_default());
        } else {
            let surplus = self.tail.len().saturating_sub(MARK_BYTES - 1);
            self.tail.drain(..surplus);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_is_cut_off_at_its_end_for_every_cut_of_the_input() {
        let mark = Framing::Mark(*MARK);
        let marked = [
            b"REDIS0011...4449".as_slice(),
            MARK,
            b"*1\r\n$4\r\nPING\r\n",
        ]
        .concat();
        let mut plain = b"REDIS0011...4449*1\r\n".to_vec();
        plain.truncate(16 + 4);
        for (framing, input, end) in [
            (mark, &marked, 16 + MARK.len()),
            (Framing::Length(16), &plain, 16),
            (Framing::Length(0), &plain, 0),
        ] {
            for size in 1..=input.len() {
                let mut cut = SnapshotCut::new(framing);
                let mut seen = 0;
                let found = input.chunks(size).find_map(|chunk| {
                    let within = cut.feed(chunk);
                    let found = within.map(|within| seen + within);
                    seen += chunk.len();
                    found
                });
                assert_eq!(found, Some(end), "{framing:?} in pieces of {size}");
            }
        }
        let mut cut = SnapshotCut::new(mark);
        assert_eq!(cut.feed(&marked[..16 + 39]), None);
        assert_eq!(cut.feed(b""), None);
    }

    const MARK: &[u8; 40] = b"444977fe4a6c2b0352c5c1690b2a0b7ed1956937";

    /// Feeds `input` in two pieces; gives the framing, the keepalives and the bytes used.
    fn feed(input: &[u8], cut: usize) -> Result<(Option<Framing>, usize, usize), ErrorKind> {
        let mut transfer = Transfer::new();
        let (left, right) = input.split_at(cut);
        let first = transfer.feed(left)?;
        if first.framing.is_some() {
            return Ok((first.framing, first.keepalives, first.used));
        }
        assert_eq!(first.used, left.len());
        let second = transfer.feed(right)?;
        let keepalives = first.keepalives + second.keepalives;
        Ok((second.framing, keepalives, first.used + second.used))
    }

    #[test]
    fn reads_the_framing_behind_any_newlines_at_every_cut() {
        let eof = format!("\n\n$EOF:{}\r\n", MARK.escape_ascii());
        for (name, head, framing, keepalives) in [
            ("length", "$5818\r\n", Framing::Length(5818), 0),
            ("newlines", "\n\n\n$0\r\n", Framing::Length(0), 3),
            ("mark", &eof, Framing::Mark(*MARK), 2),
        ] {
            let input = format!("{head}REDIS0011\n$");
            for cut in 0..=input.len() {
                let found = feed(input.as_bytes(), cut).unwrap();
                assert_eq!(
                    found,
                    (Some(framing), keepalives, head.len()),
                    "{name} {cut}"
                );
            }
            for cut in 0..head.len() {
                let part = feed(&head.as_bytes()[..cut], 0).unwrap();
                assert_eq!((part.0, part.2), (None, cut), "{name} short by {cut}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_framing() {
        for (name, input) in [
            ("no CR", "$12\n".to_owned()),
            ("negative", "$-1\r\n".into()),
            ("no number", "$\r\n".into()),
            ("overflow", "$18446744073709551616\r\n".into()),
            ("short mark", "$EOF:444977\r\n".into()),
            ("long mark", format!("$EOF:{}0\r\n", "4".repeat(40))),
            ("other reply", "+OK\r\n".into()),
            ("endless", "x".repeat(2000)),
        ] {
            for cut in 0..=input.len() {
                let error = feed(input.as_bytes(), cut).unwrap_err();
                assert!(
                    matches!(error, ErrorKind::Unexpected { .. }),
                    "{name}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_refusal_in_its_place_keeps_its_meaning() {
        let text = "-ERR BGSAVE failed, replication can't continue\r\n";
        let error = feed(text.as_bytes(), 3).unwrap_err();
        assert!(
            matches!(error, ErrorKind::SnapshotRefused { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn the_mark_is_taken_off_at_every_cut() {
        let input = [&MARK[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        for cut in 0..=input.len() {
            let mut end = SnapshotEnd::new(Framing::Mark(*MARK), 99).unwrap();
            let (left, right) = input.split_at(cut);
            let mut left = Bytes::copy_from_slice(left);
            let ended = end.feed(&mut left).unwrap();
            assert_eq!(ended, cut >= 40);
            let mut right = Bytes::copy_from_slice(right);
            assert!(end.feed(&mut right).unwrap());
            assert_eq!([left, right].concat(), b"*1\r\n$4\r\nPING\r\n", "{cut}");
        }
    }

    #[test]
    fn another_mark_or_length_is_an_error() {
        let mut wrong = MARK.to_vec();
        wrong[39] ^= 1;
        for cut in 0..40 {
            let mut end = SnapshotEnd::new(Framing::Mark(*MARK), 99).unwrap();
            let (left, right) = wrong.split_at(cut);
            assert_eq!(end.feed(&mut Bytes::copy_from_slice(left)), Ok(false));
            let error = end.feed(&mut Bytes::copy_from_slice(right));
            assert_eq!(error, Err(ErrorKind::MarkDiffers));
        }
        assert_eq!(
            SnapshotEnd::new(Framing::Length(10), 9).err(),
            Some(ErrorKind::LengthDiffers {
                announced: 10,
                found: 9
            })
        );
        let mut end = SnapshotEnd::new(Framing::Length(10), 10).unwrap();
        let mut stream = Bytes::from_static(b"*1");
        assert_eq!(end.feed(&mut stream), Ok(true));
        assert_eq!(stream, "*1");
    }
}
