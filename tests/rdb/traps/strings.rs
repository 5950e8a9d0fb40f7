//! Strings, lengths, counts.

use super::{Corrupt, MOST, MUCH, Passes, TooLarge, Trap, Truncated, cut, file, value};

pub(super) fn traps() -> Vec<Trap> {
    let with = |before: &[u8], length: &[u8], after: &[u8]| [before, length, after].concat();
    vec![
        (
            "key of 2^64-1 bytes",
            file(&with(b"\0", MOST, b"")),
            TooLarge,
        ),
        ("key over the limit", file(b"\0\x80\0\x10\0\x01"), TooLarge),
        ("string of 2^64-1 bytes", value(0, MOST), TooLarge),
        (
            "element of 2^62 bytes",
            value(1, &with(b"\x01", MUCH, b"")),
            TooLarge,
        ),
        ("blob of 2^62 bytes", value(16, MUCH), TooLarge),
        (
            "name of an AUX field",
            file(&with(b"\xfa", MUCH, b"")),
            TooLarge,
        ),
        (
            "value of an AUX field",
            file(&with(b"\xfa\x01a", MUCH, b"")),
            TooLarge,
        ),
        (
            "source of functions",
            file(&with(b"\xf5", MUCH, b"")),
            TooLarge,
        ),
        (
            "string at the limit that is not there",
            cut(0, b"\x80\0\x10\0\0"),
            Truncated,
        ),
        (
            "LZF that is over the limit",
            value(0, b"\xc3\x80\0\0\x40\0\x80\0\x10\0\x01"),
            TooLarge,
        ),
        (
            "LZF of more than 88:1",
            value(0, b"\xc3\x01\x40\x59\0"),
            Corrupt("impossible sizes of an LZF string"),
        ),
        (
            "LZF of nothing to something",
            value(0, b"\xc3\0\x05"),
            Corrupt("impossible sizes of an LZF string"),
        ),
        ("LZF of nothing to nothing", value(0, b"\xc3\0\0"), Passes),
        (
            "LZF that is cut",
            value(0, b"\xc3\x02\x03\x02a"),
            Corrupt("an LZF instruction leaves the compressed data"),
        ),
        (
            "LZF before its start",
            value(0, b"\xc3\x04\x04\0a\x20\x01"),
            Corrupt("an LZF copy reaches before the start"),
        ),
        (
            "LZF that makes more",
            value(0, b"\xc3\x04\x03\0a\x20\0"),
            Corrupt("LZF inflates to more than it says"),
        ),
        (
            "LZF that makes less",
            value(0, b"\xc3\x04\x05\0a\x20\0"),
            Corrupt("LZF inflates to less than it says"),
        ),
        (
            "length of an undefined form",
            value(1, b"\x82\0\0\0\0"),
            Corrupt("no length begins with this byte"),
        ),
        (
            "string encoding as a count",
            value(1, b"\xc0\x01"),
            Corrupt("a string encoding stands in the place of a length"),
        ),
        (
            "undefined string encoding",
            value(0, b"\xc5"),
            Corrupt("no string begins with this byte"),
        ),
        (
            "string encoding of Redis Enterprise",
            value(0, b"\xc4"),
            Corrupt("string encoding 4, of old Redis Enterprise, is not supported"),
        ),
        (
            "count of -1",
            value(4, MOST),
            Corrupt("impossible number of elements"),
        ),
        ("count of 2^62", cut(4, MUCH), Truncated),
        (
            "db of 2^62",
            file(&with(b"\xfe", MUCH, b"")),
            Corrupt("impossible db"),
        ),
        (
            "hints of 2^64-1",
            file(&[b"\xfb", MOST, MOST, b"\xf4", MOST, MOST, MOST].concat()),
            Passes,
        ),
    ]
}
