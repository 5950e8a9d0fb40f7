//! The bytes that have arrived: the ones taken over are summed, the others kept.

use bytes::{Bytes, BytesMut};

use super::crc64::Crc64;
use super::cursor::{Cursor, Stop};
use super::error::ErrorKind;
use super::event::Checksum;

/// The bytes that have arrived.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: Bytes,
    /// The absolute offset of the first of `bytes`.
    base: u64,
    /// Up to here they were taken over.
    pos: usize,
    /// Up to here they are part of the checksum.
    summed: usize,
    crc: Crc64,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Bytes::new(),
            base: 0,
            pos: 0,
            summed: 0,
            crc: Crc64::new(),
        }
    }

    /// Reads from where bytes were not taken over yet.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.bytes, self.base, self.pos)
    }

    /// The absolute offset up to which bytes were taken over.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// Takes over what stands before a position of the cursor.
    pub(crate) fn take_over(&mut self, pos: usize) {
        self.pos = pos;
    }

    /// How many bytes have arrived, from the first one on.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Puts `more` behind what is left.
    ///
    /// A short rest moves to a new buffer of the right size: what grew for a large value is
    /// given up with it, and a slice that is kept pins no more than about one piece of input. A
    /// long rest, of a value that is still arriving, grows in place, moving at most once to part
    /// from slices that share its buffer. Either way the cost is that of the bytes fed.
    pub(crate) fn append(&mut self, more: &[u8]) {
        let rest = self.take_rest();
        let own = |rest: &[u8]| {
            let mut own = BytesMut::with_capacity(rest.len() + more.len());
            own.extend_from_slice(rest);
            own
        };
        let mut grown = match rest {
            rest if rest.len() <= more.len() => own(&rest),
            rest => rest.try_into_mut().unwrap_or_else(|shared| own(&shared)),
        };
        grown.extend_from_slice(more);
        self.bytes = grown.freeze();
    }

    /// Takes out what was not taken over.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.sum();
        let rest = self.bytes.split_off(self.pos);
        self.bytes = Bytes::new();
        self.base += self.pos as u64;
        self.pos = 0;
        self.summed = 0;
        rest
    }

    /// Sums what was taken over since the last time, in one go: summing item by item is slow.
    pub(crate) fn sum(&mut self) {
        if let Some(taken) = self.bytes.get(self.summed..self.pos) {
            self.crc.update(taken);
            self.summed = self.pos;
        }
    }

    /// Reads the stored checksum, if there is one, and compares it.
    pub(crate) fn check(&self, present: bool, cursor: &mut Cursor<'_>) -> Result<Checksum, Stop> {
        if !present {
            return Ok(Checksum::Absent);
        }
        let computed = self.crc.value();
        match cursor.array().map(u64::from_le_bytes)? {
            0 => Ok(Checksum::Disabled),
            stored if stored == computed => Ok(Checksum::Verified),
            stored => Err(cursor.bad(ErrorKind::Checksum { stored, computed })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slice that an event keeps does not make every later piece copy what has gathered.
    #[test]
    fn a_value_that_gathers_moves_at_most_once() {
        let mut input = Input::new();
        input.append(b"key");
        input.take_over(2);
        let kept = input.bytes.slice(..2);
        input.append(&[b'x'; 100]);
        let first = input.bytes.slice(..1);
        let mut moves = 0;
        let mut place = None;
        for _ in 0..1000 {
            input.append(&[b'x'; 100]);
            let at = input.bytes.as_ptr();
            moves += u32::from(place.is_some_and(|place| place != at));
            place = Some(at);
        }
        assert_eq!(input.bytes.len(), 100_101);
        // Growing doubles: 100 bytes to 100 000 in ten steps.
        assert!(moves <= 12, "{moves} moves");
        assert_eq!((&kept[..], &first[..]), (&b"ke"[..], &b"y"[..]));
    }

    #[test]
    fn a_short_rest_leaves_a_large_buffer() {
        let mut input = Input::new();
        input.append(&vec![b'x'; 1 << 20]);
        input.take_over((1 << 20) - 1);
        input.append(b"ab");
        assert_eq!(input.bytes, &b"xab"[..]);
        let bytes = std::mem::take(&mut input.bytes).try_into_mut().unwrap();
        assert!(bytes.capacity() < 100, "{}", bytes.capacity());
    }
}
