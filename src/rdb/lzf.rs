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

use super::cursor::Flaw;

/// How far back a copy can reach.
const WINDOW_BYTES: usize = 8192;

/// Whether any stream of `compressed` bytes inflates to `original` bytes: three bytes make 264 at
/// best, and two bytes make one at worst.
pub(crate) fn sizes_are_possible(compressed: u64, original: u64) -> bool {
    original <= compressed.saturating_mul(88) && compressed <= original.saturating_mul(2)
}

/// Inflates a whole string. The sizes were checked by [`sizes_are_possible`], so what is reserved
/// is at most 88 times what is there.
pub(crate) fn inflate(mut input: &[u8], original: usize) -> Result<Vec<u8>, Flaw> {
    let mut out = Vec::with_capacity(original);
    while !input.is_empty() {
        let Some((instruction, rest)) = next_instruction(input) else {
            return Err(Flaw("an LZF instruction leaves the compressed data"));
        };
        apply(instruction, &mut out, original)?;
        input = rest;
    }
    if out.len() != original {
        return Err(Flaw("LZF inflates to less than it says"));
    }
    Ok(out)
}

/// Inflates a string that is too long to be held, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// The window, then what was inflated and not taken yet.
    out: Vec<u8>,
    /// How many bytes of `out` are the window.
    window: usize,
    compressed_left: u64,
    original_left: u64,
    chunk_bytes_max: usize,
}

impl Inflater {
    pub(crate) fn new(compressed: u64, original: u64, chunk_bytes_max: usize) -> Self {
        Self {
            out: Vec::new(),
            window: 0,
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
        let room = usize::try_from(self.original_left).unwrap_or(usize::MAX);
        while !rest.is_empty() && self.held() < self.chunk_bytes_max {
            let Some((instruction, after)) = next_instruction(rest) else {
                if last.is_some() {
                    let flaw = Flaw("an LZF instruction leaves the compressed data");
                    return Err((flaw, given - rest.len()));
                }
                break;
            };
            apply(instruction, &mut self.out, room.saturating_add(self.window))
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
        let wanted = (self.chunk_bytes_max as u64).min(self.original_left) as usize;
        let end = self.window + wanted;
        let chunk = Bytes::copy_from_slice(self.out.get(self.window..end)?);
        self.original_left -= wanted as u64;
        let keep_from = end.saturating_sub(WINDOW_BYTES);
        self.out.drain(..keep_from);
        self.window = end - keep_from;
        Some(chunk)
    }

    /// Whether everything was inflated and taken.
    pub(crate) fn is_done(&self) -> bool {
        self.original_left == 0 && self.compressed_left == 0
    }

    fn held(&self) -> usize {
        self.out.len() - self.window
    }
}

enum Instruction<'a> {
    Literals(&'a [u8]),
    Copy { distance: usize, len: usize },
}

/// The instruction that `input` begins with and what follows it, unless the input ends within it.
fn next_instruction(input: &[u8]) -> Option<(Instruction<'_>, &[u8])> {
    let (&control, rest) = input.split_first()?;
    if control < 32 {
        let (literals, rest) = rest.split_at_checked(usize::from(control) + 1)?;
        return Some((Instruction::Literals(literals), rest));
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

/// Appends what an instruction makes to `out`, which may not get longer than `len_max`.
fn apply(instruction: Instruction<'_>, out: &mut Vec<u8>, len_max: usize) -> Result<(), Flaw> {
    let len = match instruction {
        Instruction::Literals(literals) => literals.len(),
        Instruction::Copy { len, .. } => len,
    };
    if len > len_max.saturating_sub(out.len()) {
        return Err(Flaw("LZF inflates to more than it says"));
    }
    match instruction {
        Instruction::Literals(literals) => out.extend_from_slice(literals),
        Instruction::Copy { distance, mut len } => {
            let Some(start) = out.len().checked_sub(distance) else {
                return Err(Flaw("an LZF copy reaches before the start"));
            };
            // A copy longer than its distance repeats itself: each pass doubles what there is.
            while len > 0 {
                let pass = len.min(out.len() - start);
                out.extend_from_within(start..start + pass);
                len -= pass;
            }
        }
    }
    Ok(())
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
                assert!(inflater.out.len() <= WINDOW_BYTES + chunk + 264);
            }
            assert!(out == whole, "chunks of {chunk}, input by {piece}");
        }
    }
}
