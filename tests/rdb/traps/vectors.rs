//! Vector sets.

use super::{Corrupt, MUCH, Passes, Trap, Truncated, cut, value};

/// The module's id.
const ID: &[u8] = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\0";
/// Two dimensions, one element, no quantization, no flags.
const HEAD: &[u8] = b"\x02\x02\x02\x01\x02\0\x02\0";
/// An element with a vector of eight bytes.
const ELEMENT: &[u8] = b"\x05\x01e\x05\x0812345678";
/// One parameter, the norm.
const NORM: &[u8] = b"\x02\x01\x02\0";

fn vectors(items: &[&[u8]]) -> Vec<u8> {
    value(7, &[ID, &items.concat()].concat())
}

pub(super) fn traps() -> Vec<Trap> {
    // The bits of an infinity.
    let infinite = b"\x02\x01\x02\x80\x7f\x80\0\0";
    let no_number = b"\x02\x01\x02\x80\x7f\xc0\0\0";
    let number = Corrupt("a vector set has something else in the place of a number");
    let string = Corrupt("a vector set has something else in the place of a string");
    let other = Corrupt("a vector has other dimensions than its set");
    vec![
        (
            "a vector set",
            vectors(&[HEAD, ELEMENT, NORM, b"\0"]),
            Passes,
        ),
        (
            "vector set that goes on",
            vectors(&[HEAD, ELEMENT, NORM, b"\x02\x01\0"]),
            Corrupt("a vector set goes on behind its elements"),
        ),
        (
            "vector without a norm",
            vectors(&[HEAD, ELEMENT, b"\x02\0\0"]),
            Corrupt("an element of a vector set has no norm"),
        ),
        (
            "infinite norm, as servers store it",
            vectors(&[HEAD, ELEMENT, infinite, b"\0"]),
            Passes,
        ),
        (
            "norm that is no number",
            vectors(&[HEAD, ELEMENT, no_number, b"\0"]),
            Corrupt("impossible norm of a vector"),
        ),
        (
            "quantization 3",
            vectors(&[b"\x02\x02\x02\x01\x02\x03\x02\0"]),
            Corrupt("undefined quantization of a vector set"),
        ),
        (
            "2^62 dimensions",
            vectors(&[b"\x02", MUCH, b"\x02\x01\x02\0\x02\0"]),
            Corrupt("impossible dimensions of a vector set"),
        ),
        (
            "vector of four bytes",
            vectors(&[HEAD, b"\x05\x01e\x05\x041234", NORM]),
            other,
        ),
        (
            "string in the place of a number",
            vectors(&[b"\x05\x02"]),
            number,
        ),
        (
            "number in the place of a string",
            vectors(&[HEAD, b"\x02\x01"]),
            string,
        ),
        (
            "2^62 elements",
            cut(7, &[ID, b"\x02\x02\x02", MUCH, b"\x02\0\x02\0"].concat()),
            Truncated,
        ),
        (
            "2^62 parameters",
            cut(7, &[ID, HEAD, ELEMENT, b"\x02", MUCH].concat()),
            Truncated,
        ),
    ]
}
