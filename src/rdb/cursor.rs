//! A bounds-checked reader over bytes that have arrived, which always knows its absolute offset.
//!
//! Every read either yields what it was asked for or stops: [`Stop::More`] when the bytes end
//! first, [`Stop::Bad`] when they are wrong. A reader of several items calls
//! [`Cursor::commit`] where its own state has taken over what was read; after `More` the reading
//! resumes at the last commit. So whether the input comes in one piece or byte by byte, the same
//! reads happen in the same order and fail at the same offset.

use bytes::Bytes;
use nom::IResult;

use crate::keyspace::StreamId;

use super::error::ErrorKind;

/// Why a read did not yield anything.
#[derive(Debug, PartialEq)]
pub(crate) enum Stop {
    /// The bytes at hand end here.
    More,
    /// The bytes are wrong.
    Bad {
        /// In which way.
        kind: ErrorKind,
        /// At which absolute offset.
        offset: u64,
    },
}

/// What a grammar of this room finds wrong, as text for [`ErrorKind::Corrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw(pub(crate) &'static str);

impl<I> nom::error::ParseError<I> for Flaw {
    fn from_error_kind(_: I, _: nom::error::ErrorKind) -> Self {
        Self("malformed")
    }

    fn append(_: I, _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// In tests, counts what reading costs beside the bytes that are copied.
#[inline]
pub(crate) fn count_read() {
    #[cfg(test)]
    super::cost::READS.set(super::cost::READS.get() + 1);
}

/// Reads through bytes at hand.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a Bytes,
    /// The absolute offset of the first of `bytes`.
    base: u64,
    pos: usize,
    committed: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at `pos` in `bytes`, whose first byte has the absolute offset `base`.
    pub(crate) fn new(bytes: &'a Bytes, base: u64, pos: usize) -> Self {
        Self {
            bytes,
            base,
            pos,
            committed: pos,
        }
    }

    /// The absolute offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The position of the next byte in the bytes at hand.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// The position from which reading resumes after [`Stop::More`].
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// What was read so far is taken over: reading will not resume before this point.
    pub(crate) fn commit(&mut self) {
        self.committed = self.pos;
    }

    /// A cursor that reads ahead from `len` bytes further on, without anything being taken over.
    pub(crate) fn ahead(&self, len: usize) -> Self {
        Self::new(self.bytes, self.base, self.pos + len)
    }

    /// Goes back to a position that lies behind the last commit.
    pub(crate) fn rewind(&mut self, pos: usize) {
        debug_assert!(
            self.committed <= pos && pos <= self.pos,
            "rewinds over a commit"
        );
        self.pos = pos;
    }

    /// What was read since a position that lies before this one.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.pos).unwrap_or_default()
    }

    /// The bytes at hand from here on.
    pub(crate) fn rest(&self) -> &'a [u8] {
        count_read();
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let taken = self.rest().get(..len).ok_or(Stop::More)?;
        self.pos += len;
        Ok(taken)
    }

    /// The next bytes as a slice that shares the buffer.
    pub(crate) fn slice(&mut self, len: usize) -> Result<Bytes, Stop> {
        if self.rest().len() < len {
            return Err(Stop::More);
        }
        let start = self.pos;
        self.pos += len;
        Ok(self.bytes.slice(start..self.pos))
    }

    /// Passes over up to `len` bytes and says how many there were.
    pub(crate) fn pass(&mut self, len: u64) -> u64 {
        let passed = len.min(self.rest().len() as u64);
        self.pos += passed as usize;
        passed
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let array = *self.rest().first_chunk().ok_or(Stop::More)?;
        self.pos += N;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Stop> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Milliseconds since 1970, 8 bytes LE.
    pub(crate) fn ms(&mut self) -> Result<i64, Stop> {
        self.array().map(i64::from_le_bytes)
    }

    /// A stream id as 16 bytes BE.
    pub(crate) fn stream_id(&mut self) -> Result<StreamId, Stop> {
        Ok(StreamId {
            ms: self.array().map(u64::from_be_bytes)?,
            seq: self.array().map(u64::from_be_bytes)?,
        })
    }

    /// Runs a streaming grammar from here.
    pub(crate) fn parse<T>(
        &mut self,
        grammar: impl FnOnce(&'a [u8]) -> IResult<&'a [u8], T, Flaw>,
    ) -> Result<T, Stop> {
        let input = self.rest();
        match grammar(input) {
            Ok((rest, value)) => {
                self.pos += input.len() - rest.len();
                Ok(value)
            }
            Err(nom::Err::Incomplete(_)) => Err(Stop::More),
            Err(nom::Err::Error(flaw) | nom::Err::Failure(flaw)) => Err(self.corrupt(flaw.0)),
        }
    }

    /// Something is wrong here.
    pub(crate) fn bad(&self, kind: ErrorKind) -> Stop {
        Stop::Bad {
            kind,
            offset: self.offset(),
        }
    }

    /// The bytes contradict the format here.
    pub(crate) fn corrupt(&self, what: &'static str) -> Stop {
        self.bad(ErrorKind::Corrupt(what))
    }
}
