//! Received bytes that are not decoded yet.
//!
//! An item (a line, or an argument with its CR LF) that lies whole in one received chunk is
//! handed out as a slice of it. One that a cut divides is collected in a buffer of its own, which
//! grows with what really arrives; every byte is copied at most once, apart from the doublings.
//!
//! ```text
//!   taken | item in the making      | not looked at yet
//!         | partial | front                | queue[0] | queue[1]
//!         ^ offset
//! ```

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::{Error, ErrorKind};

/// So many digits fit an `i64`, whatever they are.
const HEAD_DIGITS_MAX: usize = 18;

/// A line of a sign and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sign: u8,
    pub(super) number: u64,
    /// Its length, CR LF included.
    bytes: usize,
}

/// Chunks of input, taken item by item.
#[derive(Debug, Default)]
pub(super) struct Input {
    front: Bytes,
    queue: VecDeque<Bytes>,
    partial: Vec<u8>,
    offset: u64,
}

impl Input {
    /// Appends received bytes.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.front.is_empty() && self.queue.is_empty() {
            self.front = bytes;
        } else {
            self.queue.push_back(bytes);
        }
    }

    /// How many bytes were taken: where the next item begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// An error at the next item.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error {
            kind,
            offset: self.offset,
        }
    }

    /// Takes LF bytes that stand where an item would begin.
    pub(super) fn skip_newlines(&mut self) {
        while self.partial.is_empty() && self.fill() && self.front.first() == Some(&b'\n') {
            self.front.advance(1);
            self.offset += 1;
        }
    }

    /// Takes exactly these bytes when they lie next, in one chunk.
    pub(super) fn take_literal(&mut self, literal: &'static [u8]) -> bool {
        let found = self.partial.is_empty() && self.front.starts_with(literal);
        if found {
            self.front.advance(literal.len());
            self.offset += literal.len() as u64;
        }
        found
    }

    /// Looks at the next line if it is a sign and a number and lies whole in one chunk, as nearly all
    /// of those do that begin an item. What it does not show is for [`Input::line`] to read or to
    /// refuse.
    pub(super) fn head(&mut self) -> Option<Head> {
        if !self.partial.is_empty() || !self.fill() {
            return None;
        }
        let (sign, rest) = self.front.split_first()?;
        let mut number = 0;
        for (digits, byte) in rest.iter().take(HEAD_DIGITS_MAX + 1).enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                number = number * 10 + u64::from(digit);
                continue;
            }
            let ends = digits > 0 && rest.get(digits..digits + 2) == Some(b"\r\n");
            return ends.then_some(Head {
                sign: *sign,
                number,
                bytes: digits + 3,
            });
        }
        None
    }

    /// Takes the line that was looked at.
    pub(super) fn take_head(&mut self, head: Head) {
        self.front.advance(head.bytes);
        self.offset += head.bytes as u64;
    }

    /// Takes a line of up to `max` bytes; `read` sees it without its CR LF.
    ///
    /// `None` when the line has not arrived whole. The line stays when `read` fails.
    pub(super) fn line<T>(
        &mut self,
        max: usize,
        read: impl FnOnce(&[u8]) -> Result<T, ErrorKind>,
    ) -> Result<Option<T>, Error> {
        while self.fill() {
            let room = (max + 2).saturating_sub(self.partial.len());
            let seen = self.front.get(..room).unwrap_or(&self.front);
            match seen.iter().position(|byte| *byte == b'\n') {
                Some(at) => return self.take_line(at, read).map(Some),
                None if seen.len() == room => {
                    return Err(self.error(ErrorKind::LineTooLong { max }));
                }
                None => {
                    self.partial.extend_from_slice(&self.front);
                    self.front.clear();
                }
            }
        }
        Ok(None)
    }

    /// Takes the line whose LF is at `newline_at` in `front`.
    fn take_line<T>(
        &mut self,
        newline_at: usize,
        read: impl FnOnce(&[u8]) -> Result<T, ErrorKind>,
    ) -> Result<T, Error> {
        let head = self.front.get(..newline_at).unwrap_or_default();
        let taken = self.partial.len() + newline_at + 1;
        let result = if self.partial.is_empty() {
            head.strip_suffix(b"\r")
                .ok_or(ErrorKind::NoTerminator)
                .and_then(read)
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(head);
            line.strip_suffix(b"\r")
                .ok_or(ErrorKind::NoTerminator)
                .and_then(read)
        };
        let value = result.map_err(|kind| self.error(kind))?;
        self.front.advance(newline_at + 1);
        self.offset += taken as u64;
        Ok(value)
    }

    /// Takes `length` bytes and the CR LF behind them; `None` when they have not all arrived.
    pub(super) fn bulk(&mut self, length: usize) -> Result<Option<Bytes>, Error> {
        let whole = length + 2;
        if !self.fill() {
            return Ok(None);
        }
        if self.partial.is_empty() && self.front.len() >= whole {
            if self.front.get(length..whole) != Some(b"\r\n") {
                return Err(self.error(ErrorKind::NoTerminator));
            }
            let bulk = self.front.split_to(length);
            self.front.advance(2);
            self.offset += whole as u64;
            return Ok(Some(bulk));
        }
        if !self.collect(whole) {
            return Ok(None);
        }
        let mut bulk = std::mem::take(&mut self.partial);
        if !bulk.ends_with(b"\r\n") {
            return Err(self.error(ErrorKind::NoTerminator));
        }
        bulk.truncate(length);
        self.offset += whole as u64;
        Ok(Some(Bytes::from(bulk)))
    }

    /// Moves input into `partial` until it holds `whole` bytes; says whether it does.
    fn collect(&mut self, whole: usize) -> bool {
        while self.partial.len() < whole {
            if !self.fill() {
                return false;
            }
            let here = self.front.len().min(whole - self.partial.len());
            let needed = self.partial.len() + here;
            if needed > self.partial.capacity() {
                // Doubling keeps it linear; the announced length only ever makes it smaller.
                let capacity = needed.max(self.partial.capacity() * 2).min(whole);
                self.partial.reserve_exact(capacity - self.partial.len());
            }
            self.partial
                .extend_from_slice(self.front.get(..here).unwrap_or_default());
            self.front.advance(here);
        }
        true
    }

    /// Room that the collected item has.
    #[cfg(test)]
    pub(super) fn partial_capacity(&self) -> usize {
        self.partial.capacity()
    }

    /// Makes `front` non-empty; `false` when there is no more input.
    fn fill(&mut self) -> bool {
        while self.front.is_empty() {
            match self.queue.pop_front() {
                Some(chunk) => self.front = chunk,
                None => return false,
            }
        }
        true
    }
}

/// Reads a decimal number of digits only: no sign, no blanks, no more than a `u64`.
pub(super) fn number(digits: &[u8]) -> Result<u64, ErrorKind> {
    if digits.is_empty() {
        return Err(ErrorKind::BadNumber);
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(ErrorKind::BadNumber);
        }
        value
            .checked_mul(10)
            .and_then(|value| value.checked_add(digit.into()))
            .ok_or(ErrorKind::BadNumber)
    })
}

/// Reads a decimal number with an optional minus.
pub(super) fn signed_number(text: &[u8]) -> Result<i64, ErrorKind> {
    let value = match text.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(number(digits)?),
        None => number(text)?.try_into().ok(),
    };
    value.ok_or(ErrorKind::BadNumber)
}
