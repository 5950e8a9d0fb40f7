//! RDB's own compression: LZF, a byte-oriented LZ77 with an 8 KiB window (redis lzf_d.c).
//!
//! ```text
//! 000nnnnn                      n + 1 literal bytes follow
//! nnnddddd dddddddd             copy n + 2 bytes (n = 1..6) from d + 1 bytes back
//! 111ddddd nnnnnnnn dddddddd    copy n + 9 bytes from d + 1 bytes back
//! ```
//!
//! Nothing marks the end; both sizes are stored outside.

use bytes::Bytes;

use super::cursor::{Flaw, count_read};

/// How far back a copy can reach.
const WINDOW_BYTES: usize = 8192;
/// What one instruction makes at most.
const INSTRUCTION_BYTES_MAX: usize = 264;
const OVERRUN: Flaw = Flaw("LZF inflates to more than it says");
/// The longest run of literals.
const LITERALS_MAX: usize = 32;

/// Whether any stream of `compressed` bytes inflates to `original` bytes: three bytes make 264 at
/// best, and two bytes make one at worst.
pub(crate) fn sizes_are_possible(compressed: u64, original: u64) -> bool {
    original <= compressed.saturating_mul(88) && compressed <= original.saturating_mul(2)
}

/// Inflates a whole string. The sizes were checked by [`sizes_are_possible`], so what is reserved
/// is at most 88 times what is there.
pub(crate) fn inflate(mut input: &[u8], original: usize) -> Result<Vec<u8>, Flaw> {
    let mut out = vec![0; original];
    let mut end = 0;
    while !input.is_empty() {
        let Some((instruction, rest)) = next_instruction(input) else {
            return Err(Flaw("an LZF instruction leaves the compressed data"));
        };
        end = apply(instruction, &mut out, end)?;
        input = rest;
    }
    if end != original {
        return Err(Flaw("LZF inflates to less than it says"));
    }
    Ok(out)
}

/// The shortest copy: a shorter one takes no less than the bytes themselves.
const COPY_BYTES_MIN: usize = 3;
/// The longest copy without a byte for its length, counted from what every copy has.
const SHORT_MAX: usize = 6;
/// The sizes of the table of places: few for short strings, which there are many of.
const PLACES_BITS: std::ops::RangeInclusive<u32> = 6..=14;

/// Compresses a string into at most `len_max` bytes; `None` where that is too little.
///
/// Greedy: of what came before with the same three bytes the last place is known, and a copy from
/// there is made as long as it can be.
pub(crate) fn compress(input: &[u8], len_max: usize) -> Option<Vec<u8>> {
    u32::try_from(input.len()).ok()?;
    let bits = usize::BITS - input.len().leading_zeros();
    let bits = bits.clamp(*PLACES_BITS.start(), *PLACES_BITS.end());
    // Where three bytes were last, counted from one.
    let mut places = vec![0_u32; 1 << bits];
    let mut out = Vec::with_capacity(len_max.min(input.len()));
    let (mut pos, mut literals_start) = (0, 0);
    while let Some(three) = three_at(input, pos) {
        let place = places.get_mut(slot(three, bits))?;
        let before = std::mem::replace(place, pos as u32 + 1);
        let Some(len) = len_of_copy(input, before, pos) else {
            pos += 1;
            continue;
        };
        put_literals(&mut out, input.get(literals_start..pos)?);
        put_copy(&mut out, pos - before as usize, len - 2);
        for within in pos + 1..pos + len {
            if let Some(three) = three_at(input, within) {
                *places.get_mut(slot(three, bits))? = within as u32 + 1;
            }
        }
        pos += len;
        literals_start = pos;
        if out.len() > len_max {
            return None;
        }
    }
    put_literals(&mut out, input.get(literals_start..)?);
    (out.len() <= len_max).then_some(out)
}

fn three_at(input: &[u8], pos: usize) -> Option<[u8; COPY_BYTES_MIN]> {
    input.get(pos..)?.first_chunk().copied()
}

/// Multiplicative hashing, by the golden ratio.
fn slot([a, b, c]: [u8; COPY_BYTES_MIN], bits: u32) -> usize {
    let three = u32::from_le_bytes([a, b, c, 0]);
    (three.wrapping_mul(0x9e37_79b1) >> (u32::BITS - bits)) as usize
}

/// How long a copy to `pos` from the place `before`, counted from one, can be.
fn len_of_copy(input: &[u8], before: u32, pos: usize) -> Option<usize> {
    let start = (before as usize).checked_sub(1)?;
    if pos - start > WINDOW_BYTES {
        return None;
    }
    let pairs = input.get(start..)?.iter().zip(input.get(pos..)?);
    let same = pairs.take(INSTRUCTION_BYTES_MAX);
    let len = same.take_while(|(one, other)| one == other).count();
    (len >= COPY_BYTES_MIN).then_some(len)
}

fn put_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// Both as they are written: the distance less one, the length less two.
fn put_copy(out: &mut Vec<u8>, distance: usize, len: usize) {
    let (high, low) = ((distance >> 8) as u8, distance as u8);
    match len {
        ..=SHORT_MAX => out.push((len as u8) << 5 | high),
        _ => out.extend([7 << 5 | high, (len - SHORT_MAX - 1) as u8]),
    }
    out.push(low);
}

/// Inflates a string that is too long to be held, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// The window, then what was inflated and not taken yet, then room.
    out: Vec<u8>,
    /// How many bytes of `out` are the window.
    window: usize,
    /// How many bytes of `out` are no room.
    end: usize,
    compressed_left: u64,
    original_left: u64,
    chunk_bytes_max: usize,
}

impl Inflater {
    pub(crate) fn new(compressed: u64, original: u64, chunk_bytes_max: usize) -> Self {
        Self {
            out: Vec::new(),
            window: 0,
            end: 0,
            compressed_left: compressed,
            original_left: original,
            chunk_bytes_max: chunk_bytes_max.max(1),
        }
    }

    /// Consumes whole instructions from `input` until a chunk is full, and says how many bytes
    /// that were. Without progress the caller has to find more input. A flaw comes with the bytes
    /// before it, so that it has the same place however the input was cut.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<usize, (Flaw, usize)> {
        let last = usize::try_from(self.compressed_left)
            .ok()
            .and_then(|left| input.get(..left));
        let mut rest = last.unwrap_or(input);
        let given = rest.len();
        if self.original_left == 0 && self.compressed_left > 0 {
            return Err((OVERRUN, 0));
        }
        while !rest.is_empty() && self.held() < self.wanted() {
            let Some((instruction, after)) = next_instruction(rest) else {
                if last.is_some() {
                    let flaw = Flaw("an LZF instruction leaves the compressed data");
                    return Err((flaw, given - rest.len()));
                }
                break;
            };
            self.make_room();
            self.end = apply(instruction, &mut self.out, self.end)
                .map_err(|flaw| (flaw, given - rest.len()))?;
            rest = after;
        }
        let used = given - rest.len();
        self.compressed_left -= used as u64;
        if self.compressed_left == 0 && (self.held() as u64) < self.original_left {
            return Err((Flaw("LZF inflates to less than it says"), used));
        }
        Ok(used)
    }

    /// The next chunk once it is full or the last one; copied out, since copies go on to read the
    /// window behind it.
    pub(crate) fn take_chunk(&mut self) -> Option<Bytes> {
        if self.original_left == 0 {
            return None;
        }
        let wanted = self.wanted();
        let end = self.window + wanted;
        if end > self.end {
            return None;
        }
        let chunk = Bytes::copy_from_slice(self.out.get(self.window..end)?);
        self.original_left -= wanted as u64;
        self.window = end;
        // Moved rarely: a small chunk does not cost moving a window.
        if self.window >= 2 * WINDOW_BYTES {
            let gone = self.window - WINDOW_BYTES;
            self.out.copy_within(gone..self.end, 0);
            self.out.truncate(self.out.len() - gone);
            self.window -= gone;
            self.end -= gone;
        }
        Some(chunk)
    }

    /// Whether everything was inflated and taken.
    pub(crate) fn is_done(&self) -> bool {
        self.original_left == 0 && self.compressed_left == 0
    }

    fn held(&self) -> usize {
        self.end - self.window
    }

    /// How long the next chunk is.
    fn wanted(&self) -> usize {
        (self.chunk_bytes_max as u64).min(self.original_left) as usize
    }

    /// Makes room for one instruction, as far as the string is that long: for real output only, so
    /// that a size that lies costs nothing.
    fn make_room(&mut self) {
        let left = usize::try_from(self.original_left).unwrap_or(usize::MAX);
        let len_max = self.window.saturating_add(left);
        if self.out.len() < len_max && self.out.len() < self.end + INSTRUCTION_BYTES_MAX {
            let chunk_end = self.window.saturating_add(self.chunk_bytes_max);
            let len = (2 * self.end).min(chunk_end);
            let len = len.max(self.end + INSTRUCTION_BYTES_MAX);
            self.out.resize(len.min(len_max), 0);
        }
    }
}

enum Instruction<'a> {
    Literals {
        bytes: &'a [u8],
        /// The same and what follows, if there is as much as the longest run takes.
        wide: Option<&'a [u8; LITERALS_MAX]>,
    },
    Copy {
        distance: usize,
        len: usize,
    },
}

/// The instruction that `input` begins with and what follows it, unless the input ends within it.
#[inline]
fn next_instruction(input: &[u8]) -> Option<(Instruction<'_>, &[u8])> {
    count_read();
    let (&control, rest) = input.split_first()?;
    if control < 32 {
        let wide = rest.first_chunk();
        let (bytes, rest) = rest.split_at_checked(usize::from(control) + 1)?;
        return Some((Instruction::Literals { bytes, wide }, rest));
    }
    let (mut len, mut rest) = (usize::from(control >> 5), rest);
    if len == 7 {
        let (&more, after) = rest.split_first()?;
        len += usize::from(more);
        rest = after;
    }
    let (&low, rest) = rest.split_first()?;
    let distance = (usize::from(control & 31) << 8 | usize::from(low)) + 1;
    Some((
        Instruction::Copy {
            distance,
            len: len + 2,
        },
        rest,
    ))
}

/// Puts what an instruction makes behind the first `end` bytes of `out`, and says where that ends.
/// All of `out` behind that is room, which may be written over.
#[inline]
fn apply(instruction: Instruction<'_>, out: &mut [u8], end: usize) -> Result<usize, Flaw> {
    match instruction {
        Instruction::Literals { bytes, wide } => {
            let room = out.get_mut(end..).ok_or(OVERRUN)?;
            match (wide, room.first_chunk_mut()) {
                (Some(wide), Some(room)) => *room = *wide,
                _ => room
                    .get_mut(..bytes.len())
                    .ok_or(OVERRUN)?
                    .copy_from_slice(bytes),
            }
            Ok(end + bytes.len())
        }
        Instruction::Copy { distance, len } => {
            let new_end = end + len;
            if new_end > out.len() {
                return Err(OVERRUN);
            }
            let Some(start) = end.checked_sub(distance) else {
                return Err(Flaw("an LZF copy reaches before the start"));
            };
            copy(out, start, end, new_end);
            Ok(new_end)
        }
    }
}

/// Repeats what stands from `start` on, from `end` to `new_end`, all within `out`.
#[inline]
fn copy(out: &mut [u8], start: usize, end: usize, new_end: usize) {
    const STRIDE: usize = 16;
    let (mut from, mut to) = (start, end);
    if end - start >= STRIDE {
        while to < new_end && copy_stride::<STRIDE>(out, from, to).is_some() {
            (from, to) = (from + STRIDE, to + STRIDE);
        }
    }
    // A copy longer than its distance repeats itself: each pass doubles what there is.
    while to < new_end {
        let pass = (new_end - to).min(to - from);
        out.copy_within(from..from + pass, to);
        to += pass;
    }
}

/// Copies so many bytes at once, if that stays within `out`.
#[inline]
fn copy_stride<const N: usize>(out: &mut [u8], from: usize, to: usize) -> Option<()> {
    let bytes: [u8; N] = *out.get(from..)?.first_chunk()?;
    *out.get_mut(to..)?.first_chunk_mut()? = bytes;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNDRED: &[u8] = b"\x01\x61\x61\xe0\x57\x00\x01\x61\x61";

    #[test]
    fn inflates() {
        for (name, input, expected) in [
            ("nothing", &b""[..], String::new()),
            ("literals", b"\x02abc", "abc".to_owned()),
            ("a repeated byte", HUNDRED, "a".repeat(100)),
            (
                "an overlapping pattern",
                b"\x02abc\x80\x02",
                "abcabcabc".to_owned(),
            ),
            (
                "a copy from further back",
                b"\x03abcd\x20\x03",
                "abcdabc".to_owned(),
            ),
        ] {
            assert_eq!(
                inflate(input, expected.len()),
                Ok(expected.into()),
                "{name}"
            );
        }
    }

    /// Every distance and length that is copied in strides, by doubling or both, up to the end of
    /// the buffer and before it.
    #[test]
    fn copies_of_every_distance_and_length_repeat_what_is_there() {
        for distance in (1..=40).chain([255, 256, 257]) {
            for len in (3..=70).chain([263, 264_usize]) {
                let mut input = Vec::new();
                let mut expected: Vec<u8> = (0..300_u32).map(|n| (n * 7) as u8).collect();
                for run in expected.chunks(32) {
                    input.push(run.len() as u8 - 1);
                    input.extend(run);
                }
                let (far, control) = (distance - 1, (distance - 1) >> 8);
                match len {
                    ..=8 => input.push(((len - 2) << 5) as u8 | control as u8),
                    _ => input.extend([7 << 5 | control as u8, (len - 9) as u8]),
                }
                input.push(far as u8);
                for _ in 0..len {
                    expected.push(*expected.get(expected.len() - distance).unwrap());
                }
                for tail in ["", "and many more literals than fit"] {
                    let mut input = input.clone();
                    input.extend(tail.len().checked_sub(1).map(|control| control as u8));
                    input.extend(tail.bytes());
                    let whole = [&expected, tail.as_bytes()].concat();
                    assert!(
                        inflate(&input, whole.len()) == Ok(whole),
                        "{len} bytes from {distance} back"
                    );
                }
            }
        }
    }

    #[test]
    fn refuses_what_leaves_either_side() {
        for (name, input, original) in [
            ("literals past the end", &b"\x05abc"[..], 6),
            ("no distance", b"\x00a\x20", 4),
            ("no long length", b"\x00a\xe0", 4),
            ("before the start", b"\x00a\x20\x01", 4),
            ("too much", HUNDRED, 99),
            ("too little", HUNDRED, 101),
        ] {
            assert!(inflate(input, original).is_err(), "{name}");
            let mut inflater = Inflater::new(input.len() as u64, original as u64, 1000);
            assert!(inflater.feed(input).is_err(), "{name}, in chunks");
        }
    }

    fn comes_back(input: &[u8]) -> usize {
        let compressed = compress(input, usize::MAX).unwrap();
        assert!(sizes_are_possible(
            compressed.len() as u64,
            input.len() as u64
        ));
        assert!(inflate(&compressed, input.len()).as_deref() == Ok(input));
        compressed.len()
    }

    #[test]
    fn what_repeats_is_compressed() {
        let text = "the same words again, and the same words once more. ".repeat(40);
        let mut far = b"0123456789".to_vec();
        far.extend((0..WINDOW_BYTES - 10).map(|n| ((n * 31) >> 3) as u8));
        far.extend(b"0123456789");
        let noise: Vec<u8> = (0..500_u32)
            .map(|n| (n.wrapping_mul(0x9e37_79b1) >> 13) as u8)
            .collect();
        for (name, input, len_max) in [
            ("nothing", &b""[..], 0),
            ("one byte", b"a", 2),
            ("three bytes", b"aaa", 4),
            ("a byte again and again", &[b'a'; 100], 9),
            ("as long as copies are", &[b'a'; 1 + 264], 5),
            ("longer than they are", &[b'a'; 1 + 264 + 264], 8),
            ("text", text.as_bytes(), 100),
            ("noise", &noise, 500 + 16),
            ("the far end of the window", &far, far.len()),
        ] {
            let len = comes_back(input);
            assert!(len <= len_max, "{name}: {len}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_compressed() {
        let input = [b'a'; 100];
        let len = comes_back(&input);
        assert_eq!(compress(&input, len).map(|out| out.len()), Some(len));
        assert_eq!(compress(&input, len - 1), None);
        assert_eq!(compress(b"abcdefghijklmnopqrstuvwxyz", 22), None);
    }

    proptest::proptest! {
        /// Bytes of few values, so that there is something to copy, in runs and from afar.
        #[test]
        fn whatever_is_compressed_comes_back(
            runs in proptest::collection::vec((0..4_u8, 1..400_usize), 0..60),
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            repeats in 1..40_usize,
        ) {
            let mut input: Vec<u8> = Vec::new();
            for (byte, len) in runs {
                input.extend((0..len).map(|n| byte.wrapping_add((n % 7 / 5) as u8)));
            }
            input.extend(noise.repeat(repeats));
            comes_back(&input);
        }
    }

    #[test]
    fn inflates_in_chunks_like_the_whole() {
        // Far copies over many chunks: 20 KB of literals, then copies from 8 KiB back.
        let mut input = Vec::new();
        let mut original = 20_000;
        for n in 0..20_000_u32 / 32 {
            input.push(31);
            input.extend((0..32).map(|m| (n * 31 + m * 7) as u8));
        }
        for _ in 0..500 {
            input.extend([0xff, 200, 0xff, 0x20, 0x00]);
            original += 209 + 3;
        }
        let whole = inflate(&input, original).unwrap();
        for (chunk, piece) in [
            (1, 64),
            (100, 3),
            (4096, 1000),
            (10_000, 1),
            (1 << 20, 100_000),
        ] {
            let mut inflater = Inflater::new(input.len() as u64, original as u64, chunk);
            let (mut out, mut pos, mut end) = (Vec::new(), 0, 0);
            while !inflater.is_done() {
                let used = inflater.feed(input.get(pos..end).unwrap()).unwrap();
                pos += used;
                match inflater.take_chunk() {
                    Some(taken) => out.extend_from_slice(&taken),
                    None if used == 0 => end = (end + piece).min(input.len()),
                    None => {}
                }
                assert!(inflater.out.len() <= 2 * WINDOW_BYTES + chunk + INSTRUCTION_BYTES_MAX);
            }
            assert!(out == whole, "chunks of {chunk}, input by {piece}");
        }
    }
}
