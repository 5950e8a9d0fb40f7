//! The variable-length integer and the string encodings that everything else is made of
//! (redis rdb.c rdbLoadLenByRef, rdbGenericLoadStringObject).
//!
//! ```text
//! 00xxxxxx                 6 bits               11000000 b            signed  8 bits, a string
//! 01xxxxxx b              14 bits, BE           11000001 b b          signed 16 bits, LE
//! 10000000 b b b b        32 bits, BE           11000010 b b b b      signed 32 bits, LE
//! 10000001 b * 8          64 bits, BE           11000011 len len ...  LZF: compressed, original size
//! ```

use bytes::{BufMut, Bytes};
use nom::number::streaming::{be_u32, be_u64, le_i16, le_i32, u8 as byte};
use nom::{IResult, Parser as _};

use super::cursor::{Cursor, Flaw, Stop};
use super::error::ErrorKind;
use super::limits::Limits;
use super::lzf;
use super::part::Element;

/// What an LZF string begins with.
const LZF: u8 = 0xc3;

/// What stands where a string is expected, before its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// So many raw bytes follow.
    Raw(u64),
    /// The string is the decimal text of an integer; nothing follows.
    Int(i64),
    /// LZF follows.
    Lzf {
        /// How many bytes follow.
        compressed: u64,
        /// How many they inflate to.
        original: u64,
    },
}

/// A plain length; the special string encodings are refused.
pub(crate) fn length(input: &[u8]) -> IResult<&[u8], u64, Flaw> {
    let (rest, first) = byte(input)?;
    match first {
        0x00..=0x3f => Ok((rest, u64::from(first))),
        0x40..=0x7f => {
            let (rest, second) = byte(rest)?;
            Ok((rest, u64::from(first & 0x3f) << 8 | u64::from(second)))
        }
        0x80 => be_u32.map(u64::from).parse(rest),
        0x81 => be_u64(rest),
        0x82..=0xbf => flaw("no length begins with this byte"),
        0xc0..=0xff => flaw("a string encoding stands in the place of a length"),
    }
}

/// What begins a string.
pub(crate) fn prefix(input: &[u8]) -> IResult<&[u8], Prefix, Flaw> {
    match input.first() {
        Some(0xc0) => after_first(input, nom::number::streaming::i8.map(|n| int(n.into()))),
        Some(0xc1) => after_first(input, le_i16.map(|n| int(n.into()))),
        Some(0xc2) => after_first(input, le_i32.map(|n| int(n.into()))),
        Some(&LZF) => after_first(input, (length, length).map(lzf_sizes)),
        Some(0xc4) => flaw("string encoding 4, of old Redis Enterprise, is not supported"),
        Some(0xc5..) => flaw("no string begins with this byte"),
        Some(_) | None => length.map(Prefix::Raw).parse(input),
    }
}

/// How the string at the beginning of `bytes` is stored, and at which of them its content begins;
/// `None` if they are too few to say, or no string.
pub fn string_head(bytes: &[u8]) -> Option<(Prefix, usize)> {
    let (rest, head) = prefix(bytes).ok()?;
    Some((head, bytes.len() - rest.len()))
}

fn after_first<'a, T>(
    input: &'a [u8],
    mut grammar: impl nom::Parser<&'a [u8], Output = T, Error = Flaw>,
) -> IResult<&'a [u8], T, Flaw> {
    let (rest, _) = byte(input)?;
    grammar.parse(rest)
}

fn int(value: i64) -> Prefix {
    Prefix::Int(value)
}

fn lzf_sizes((compressed, original): (u64, u64)) -> Prefix {
    Prefix::Lzf {
        compressed,
        original,
    }
}

fn flaw<'a, T>(what: &'static str) -> IResult<&'a [u8], T, Flaw> {
    Err(nom::Err::Failure(Flaw(what)))
}

impl Cursor<'_> {
    /// A length or another unsigned 64-bit integer.
    #[inline]
    pub(crate) fn length(&mut self) -> Result<u64, Stop> {
        match self.short() {
            Some(value) => Ok(value),
            None => self.parse(length),
        }
    }

    /// A length of one byte, which nearly all are, if that is what follows.
    #[inline]
    fn short(&mut self) -> Option<u64> {
        let value = self.rest().first().copied().filter(|byte| *byte < 0x40)?;
        self.take(1).ok()?;
        Some(value.into())
    }

    /// How many elements follow. Servers store -1 in some *values*; a count is never negative.
    pub(crate) fn count(&mut self) -> Result<u64, Stop> {
        let count = self.length()?;
        if count > i64::MAX as u64 {
            return Err(self.corrupt("impossible number of elements"));
        }
        Ok(count)
    }

    /// What begins a string.
    #[inline]
    pub(crate) fn prefix(&mut self) -> Result<Prefix, Stop> {
        match self.short() {
            Some(len) => Ok(Prefix::Raw(len)),
            None => self.parse(prefix),
        }
    }

    /// What begins a string, with its sizes checked against each other and the limits.
    pub(crate) fn string_prefix(&mut self, limits: &Limits) -> Result<Prefix, Stop> {
        let prefix = self.prefix()?;
        let size = match prefix {
            Prefix::Raw(size) => size,
            Prefix::Int(_) => 0,
            Prefix::Lzf {
                compressed,
                original,
            } => {
                if !lzf::sizes_are_possible(compressed, original) {
                    return Err(self.corrupt("impossible sizes of an LZF string"));
                }
                // The compressed form of a short string may be the longer one.
                original.max(compressed)
            }
        };
        if size > limits.string_bytes_max {
            let limit = limits.string_bytes_max;
            return Err(self.bad(ErrorKind::Limit {
                what: "a string",
                size,
                limit,
            }));
        }
        Ok(prefix)
    }

    /// A whole string: a slice of the buffer, an integer, or inflated bytes.
    #[inline]
    pub(crate) fn string(&mut self, limits: &Limits) -> Result<Element, Stop> {
        let (string, ()) = self.string_and(limits, |_| Ok(()))?;
        Ok(string)
    }

    /// A whole string and what is read behind it. Nothing is inflated before both are at hand, so
    /// that a string whose end arrives in small pieces is inflated once.
    #[inline]
    pub(crate) fn string_and<T>(
        &mut self,
        limits: &Limits,
        behind: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<(Element, T), Stop> {
        match self.string_prefix(limits)? {
            Prefix::Raw(len) => {
                let string = self.slice(len as usize)?;
                Ok((Element::Bytes(string), behind(self)?))
            }
            Prefix::Int(value) => Ok((Element::Int(value), behind(self)?)),
            Prefix::Lzf {
                compressed,
                original,
            } => {
                let packed = self.take(compressed as usize)?;
                let end = self.clone();
                let behind = behind(self)?;
                let inflated = lzf::inflate(packed, original as usize);
                let inflated = inflated.map_err(|flaw| end.corrupt(flaw.0))?;
                Ok((Element::Bytes(inflated.into()), behind))
            }
        }
    }

    /// A whole string that fits one piece; `None` of a longer one, which is not passed over.
    #[inline]
    pub(crate) fn short_string(&mut self, limits: &Limits) -> Result<Option<Element>, Stop> {
        let start = self.pos();
        match self.string_prefix(limits)? {
            Prefix::Raw(len) | Prefix::Lzf { original: len, .. }
                if len > limits.chunk_bytes_max as u64 =>
            {
                self.rewind(start);
                Ok(None)
            }
            Prefix::Raw(len) => Ok(Some(Element::Bytes(self.slice(len as usize)?))),
            Prefix::Int(value) => Ok(Some(Element::Int(value))),
            Prefix::Lzf { .. } => {
                self.rewind(start);
                self.string(limits).map(Some)
            }
        }
    }

    /// Passes over a whole string without inflating it.
    pub(crate) fn pass_string(&mut self, limits: &Limits) -> Result<(), Stop> {
        let size = match self.string_prefix(limits)? {
            Prefix::Raw(size) => size,
            Prefix::Int(_) => 0,
            Prefix::Lzf { compressed, .. } => compressed,
        };
        self.take(size as usize).map(drop)
    }

    /// A whole string as bytes.
    pub(crate) fn text(&mut self, limits: &Limits) -> Result<Bytes, Stop> {
        Ok(self.string(limits)?.into_bytes())
    }
}

/// Writes a length in its shortest form.
pub(crate) fn put_length(out: &mut impl BufMut, length: u64) {
    match length {
        0..=0x3f => out.put_u8(length as u8),
        0x40..=0x3fff => out.put_u16(0x4000 | length as u16),
        0x4000..=0xffff_ffff => {
            out.put_u8(0x80);
            out.put_u32(length as u32);
        }
        _ => {
            out.put_u8(0x81);
            out.put_u64(length);
        }
    }
}

/// Writes a string as raw bytes behind their length.
pub(crate) fn put_string(out: &mut impl BufMut, bytes: &[u8]) {
    put_length(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// The shortest string that servers compress, and what that has to save (redis rdb.c
/// rdbSaveRawString, rdbSaveLzfStringObject).
const COMPRESSED_FROM_BYTES: usize = 21;
const SAVED_BYTES_MIN: usize = 4;

/// Writes a string as servers do: compressed where that saves something, and is wanted.
pub(crate) fn put_string_as(out: &mut impl BufMut, bytes: &[u8], compress: bool) {
    let len_max = bytes.len().saturating_sub(SAVED_BYTES_MIN);
    let compressed = match compress && bytes.len() >= COMPRESSED_FROM_BYTES {
        true => lzf::compress(bytes, len_max),
        false => None,
    };
    let Some(compressed) = compressed else {
        return put_string(out, bytes);
    };
    out.put_u8(LZF);
    put_length(out, compressed.len() as u64);
    put_length(out, bytes.len() as u64);
    out.put_slice(&compressed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_compressed_where_that_saves_something() {
        let (long, short) = ([b'a'; 100], [b'a'; 20]);
        let half = b"abcdefghijklmnopqrst abcdef";
        for (name, bytes, compress, begins) in [
            ("compressed", &long[..], true, &b"\xc3\x05\x40\x64"[..]),
            ("not asked for", &long, false, b"\x40\x64aaa"),
            ("too short", &short, true, b"\x14aaa"),
            ("saves three bytes", half, true, b"\x1babc"),
        ] {
            let mut out = Vec::new();
            put_string_as(&mut out, bytes, compress);
            assert!(out.starts_with(begins), "{name}: {}", out.escape_ascii());
            let out = Bytes::from(out);
            let read = Cursor::new(&out, 0, 0).string(&Limits::default()).unwrap();
            assert_eq!(read.into_bytes(), bytes, "{name}");
        }
    }

    #[test]
    fn reads_every_form_of_a_length() {
        let eight = [0x81, 1, 2, 3, 4, 5, 6, 7, 8];
        for (name, bytes, expected) in [
            ("6 bits", &[0x3f][..], Ok(63)),
            ("14 bits", &[0x41, 0x02], Ok(258)),
            ("32 bits", &[0x80, 1, 2, 3, 4], Ok(0x0102_0304)),
            ("64 bits", &eight, Ok(0x0102_0304_0506_0708)),
            ("64 bits holding 3", &[0x81, 0, 0, 0, 0, 0, 0, 0, 3], Ok(3)),
            (
                "0x82",
                &[0x82, 0, 0, 0, 0],
                Err("no length begins with this byte"),
            ),
            ("0xbf", &[0xbf], Err("no length begins with this byte")),
            (
                "0xc0",
                &[0xc0, 1],
                Err("a string encoding stands in the place of a length"),
            ),
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let mut cursor = Cursor::new(&bytes, 100, 0);
            match (cursor.length(), expected) {
                (Ok(value), expected) => {
                    assert_eq!(Ok(value), expected, "{name}");
                    assert_eq!(cursor.pos(), bytes.len(), "{name}");
                }
                (Err(stop), Err(what)) => assert_eq!(stop, cursor.corrupt(what), "{name}"),
                (Err(stop), Ok(_)) => panic!("{name}: {stop:?}"),
            }
            for cut in 0..if expected.is_ok() { bytes.len() } else { 0 } {
                let short = bytes.slice(..cut);
                assert_eq!(
                    Cursor::new(&short, 0, 0).length(),
                    Err(Stop::More),
                    "{name} to {cut}"
                );
            }
        }
    }

    #[test]
    fn reads_every_form_of_a_string() {
        let lzf = b"\xc3\x09\x40\x64\x01\x61\x61\xe0\x57\x00\x01\x61\x61";
        for (name, bytes, expected) in [
            ("empty", &b"\x00"[..], Element::Bytes(Bytes::new())),
            ("raw", b"\x02hi", Element::Bytes("hi".into())),
            ("int8", b"\xc0\xff", Element::Int(-1)),
            ("int16", b"\xc1\x39\x30", Element::Int(12345)),
            (
                "int32",
                b"\xc2\x00\x00\x00\x80",
                Element::Int(-2_147_483_648),
            ),
            ("LZF", lzf, Element::Bytes("a".repeat(100).into())),
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let mut cursor = Cursor::new(&bytes, 0, 0);
            assert_eq!(cursor.string(&Limits::default()), Ok(expected), "{name}");
            assert_eq!(cursor.pos(), bytes.len(), "{name}");
            for cut in 0..bytes.len() {
                let short = bytes.slice(..cut);
                let stop = Cursor::new(&short, 0, 0).string(&Limits::default());
                assert_eq!(stop, Err(Stop::More), "{name} cut to {cut}");
            }
        }
    }

    #[test]
    fn refuses_sizes_before_their_bytes_arrive() {
        let limits = Limits {
            string_bytes_max: 1000,
            ..Limits::default()
        };
        for (name, bytes) in [
            ("0xc4", &b"\xc4"[..]),
            ("over the limit", b"\x43\xe9"),
            ("2^64-1 bytes", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
            ("LZF over the limit", b"\xc3\x3f\x43\xe9"),
            ("LZF of more than 88:1", b"\xc3\x01\x40\x59"),
            ("LZF of nothing to something", b"\xc3\x00\x05"),
            ("LZF longer than literals could make it", b"\xc3\x0b\x05"),
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let stop = Cursor::new(&bytes, 0, 0).string(&limits);
            assert!(matches!(stop, Err(Stop::Bad { .. })), "{name}: {stop:?}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for value in [
            0,
            63,
            64,
            16383,
            16384,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_length(&mut out, value);
            let bytes = Bytes::from(out);
            let mut cursor = Cursor::new(&bytes, 0, 0);
            assert_eq!(cursor.length(), Ok(value));
            assert_eq!(cursor.pos(), bytes.len());
        }
    }
}
