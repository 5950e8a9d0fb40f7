//! Finds the end of a value without decoding it.
//!
//! The layout of every value type is a short program of [`Op`]s; walking runs it over the bytes,
//! reading lengths and passing over what they announce. A walk can stop at any byte and go on
//! when more have arrived, without looking at anything twice.

use super::cursor::{Cursor, Stop};
use super::length::Prefix;
use super::value::array::{self, Tag};

/// One step through a layout.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// A string in any encoding.
    Str,
    /// A length or another variable-length integer.
    Len,
    /// So many of them.
    Lens(u8),
    /// So many bytes.
    Fixed(u8),
    /// A score as text behind its length (type 3).
    Score,
    /// A count, then so many times this.
    Repeat(&'static [Op]),
    /// The items of a module up to their end mark.
    Items,
    /// A count, a flag, a cursor if the flag is set, then so many times this (type 28).
    Array(&'static [Op]),
    /// What an array holds, behind a tag that says how.
    ArrayValue,
    /// A size, then pieces behind their own sizes that add up to it (types 34 and 37 of
    /// Dragonfly).
    Chunks,
    /// Width, height and something else as lengths, then width times height numbers of 8 bytes
    /// (type 35 of Dragonfly).
    Matrix,
}

/// How deep layouts nest: a stream's groups, their consumers, the ids of those.
const DEPTH_MAX: usize = 4;

/// Where a walk through a layout stands.
#[derive(Debug)]
pub(crate) struct Walk {
    frames: [Frame; DEPTH_MAX],
    /// How many of the frames are in use.
    depth: usize,
    /// Bytes to pass over before the next step.
    skip: u64,
    /// Bytes that the pieces still have to add up to, once they have begun.
    chunks_left: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    ops: &'static [Op],
    at: usize,
    /// How often `ops` still has to be run, this time included.
    times: u64,
}

const UNUSED: Frame = Frame {
    ops: &[],
    at: 0,
    times: 0,
};

/// How far a walk came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// To the end.
    All,
    /// The end lies behind the offset that was given.
    TooFar,
}

impl Walk {
    /// Walks through `ops` once.
    pub(crate) fn new(ops: &'static [Op]) -> Self {
        Self::times(ops, 1)
    }

    /// Walks through `ops` so many times.
    pub(crate) fn times(ops: &'static [Op], times: u64) -> Self {
        let mut walk = Self {
            frames: [UNUSED; DEPTH_MAX],
            depth: 0,
            skip: 0,
            chunks_left: None,
        };
        walk.push(ops, times);
        walk
    }

    /// Walks through a length and so many strings behind it.
    pub(crate) fn strings_behind_length(strings: u64) -> Self {
        let mut walk = Self::times(&[Op::Str], strings);
        walk.push(&[Op::Len], 1);
        walk
    }

    /// Walks on, up to the end or to where the end is known to lie behind `end_max`, which it never
    /// does behind `u64::MAX`.
    pub(crate) fn run(&mut self, cursor: &mut Cursor<'_>, end_max: u64) -> Result<Walked, Stop> {
        loop {
            let Some(end) = cursor.offset().checked_add(self.skip) else {
                cursor.commit();
                return Err(cursor.corrupt("a length reaches behind the last offset there can be"));
            };
            if end > end_max {
                return Ok(Walked::TooFar);
            }
            self.skip -= cursor.pass(self.skip);
            cursor.commit();
            if self.skip > 0 {
                return Err(Stop::More);
            }
            let Some(op) = self.next_op() else {
                return Ok(Walked::All);
            };
            self.step(op, cursor)?;
        }
    }

    /// The step to take next. It is done only with [`Walk::advance`].
    fn next_op(&mut self) -> Option<Op> {
        loop {
            let top = self.depth.checked_sub(1)?;
            let frame = self.frames.get_mut(top)?;
            if frame.times > 0 {
                if let Some(op) = frame.ops.get(frame.at) {
                    return Some(*op);
                }
                frame.times -= 1;
                frame.at = 0;
            }
            if frame.times == 0 {
                self.depth = top;
            }
        }
    }

    fn step(&mut self, op: Op, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        match op {
            Op::Str => self.skip = string_size(cursor)?,
            Op::Len => drop(cursor.length()?),
            Op::Lens(count) => {
                for _ in 0..count {
                    cursor.length()?;
                }
            }
            Op::Fixed(size) => self.skip = size.into(),
            Op::Score => self.skip = score_size(cursor.u8()?),
            Op::Repeat(ops) => {
                let times = cursor.count()?;
                self.advance();
                self.push(ops, times);
                return Ok(());
            }
            Op::Array(ops) => {
                let (times, _) = array::head(cursor)?;
                self.advance();
                self.push(ops, times);
                return Ok(());
            }
            Op::ArrayValue => {
                self.skip = match array::tag(cursor)? {
                    Tag::String => string_size(cursor)?,
                    Tag::Int | Tag::Float => 8,
                }
            }
            Op::Chunks => {
                if self.chunk(cursor)? > 0 {
                    return Ok(());
                }
                self.chunks_left = None;
            }
            Op::Matrix => {
                let (width, height) = (cursor.length()?, cursor.length()?);
                cursor.length()?;
                let numbers = width.checked_mul(height);
                self.skip = numbers
                    .and_then(|numbers| numbers.checked_mul(8))
                    .ok_or_else(|| cursor.corrupt("impossible size of a sketch"))?;
            }
            Op::Items => match cursor.length()? {
                0 => {}
                item => return self.item(item, cursor),
            },
        }
        self.advance();
        Ok(())
    }

    /// One item of a module; the walk stays where it is, for the next one.
    fn item(&mut self, item: u64, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        match item {
            // A signed or an unsigned integer.
            1 | 2 => drop(cursor.length()?),
            // A float, a double.
            3 => self.skip = 4,
            4 => self.skip = 8,
            5 => self.skip = string_size(cursor)?,
            _ => return Err(cursor.corrupt("undefined item in the data of a module")),
        }
        Ok(())
    }

    /// Begins the pieces or passes over the next one; how many bytes the others add up to.
    fn chunk(&mut self, cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
        let size = cursor.length()?;
        let left = match self.chunks_left {
            None => size,
            Some(left) => {
                let left = left.checked_sub(size).filter(|_| size > 0);
                let differ = || cursor.corrupt("pieces of a filter differ from its size");
                let left = left.ok_or_else(differ)?;
                self.skip = size;
                left
            }
        };
        self.chunks_left = Some(left);
        Ok(left)
    }

    fn advance(&mut self) {
        if let Some(frame) = self
            .depth
            .checked_sub(1)
            .and_then(|top| self.frames.get_mut(top))
        {
            frame.at += 1;
        }
    }

    fn push(&mut self, ops: &'static [Op], times: u64) {
        if let Some(frame) = self.frames.get_mut(self.depth) {
            *frame = Frame { ops, at: 0, times };
            self.depth += 1;
        } else {
            debug_assert!(false, "a layout nests deeper than DEPTH_MAX");
        }
    }
}

/// How many bytes of a string follow what it begins with.
fn string_size(cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
    Ok(match cursor.prefix()? {
        Prefix::Raw(size) => size,
        Prefix::Int(_) => 0,
        Prefix::Lzf { compressed, .. } => compressed,
    })
}

/// How many bytes of a score follow its first one: 253 to 255 stand for NaN and the infinities.
fn score_size(first: u8) -> u64 {
    if first > 252 { 0 } else { first.into() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rdb::error::ErrorKind;

    /// A list of `a` and a string that says it has this many bytes.
    fn list_with_string_of(size: u64) -> Bytes {
        [b"\x02\x01a\x81", &size.to_be_bytes()[..]].concat().into()
    }

    #[test]
    fn an_end_behind_every_offset_is_no_end() {
        let last = u64::MAX - 12;
        for (name, size, end_max, expected) in [
            ("the last offset", last, u64::MAX, Err(Stop::More)),
            ("behind what is wanted", last, 100, Ok(Walked::TooFar)),
            ("behind the last offset", last + 1, u64::MAX, Err(flaw())),
            ("the longest of all", u64::MAX, u64::MAX, Err(flaw())),
            ("both", u64::MAX, 100, Err(flaw())),
        ] {
            let body = list_with_string_of(size);
            let mut walk = Walk::new(&[Op::Repeat(&[Op::Str])]);
            let mut cursor = Cursor::new(&body, 0, 0);
            assert_eq!(walk.run(&mut cursor, end_max), expected, "{name}");
            // What was walked over is not looked at again, and says the same.
            let mut again = Cursor::new(&body, 0, cursor.committed());
            assert_eq!(walk.run(&mut again, end_max), expected, "{name}, again");
        }
    }

    fn flaw() -> Stop {
        let what = "a length reaches behind the last offset there can be";
        Stop::Bad {
            kind: ErrorKind::Corrupt(what),
            offset: 12,
        }
    }
}
