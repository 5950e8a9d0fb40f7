//! Values by element, attributes of keys, opcodes, the end of the file.

use super::{Corrupt, MOST, Passes, Trap, Truncated, Unknown, cut, file, valkey_hash, value};

/// The id of a module that nobody knows.
const MODULE: &[u8] = b"\x01";

pub(super) fn traps() -> Vec<Trap> {
    let nan = f64::NAN.to_le_bytes();
    let minus_five = (-5_i64).to_le_bytes();
    let late = i64::MAX.to_le_bytes();
    vec![
        (
            "score NaN",
            value(5, &[b"\x01\x01m", &nan[..]].concat()),
            Corrupt("a score is not a number"),
        ),
        (
            "score NaN as text",
            value(3, b"\x01\x01m\xfd"),
            Corrupt("a score is not a number"),
        ),
        (
            "score with something behind",
            value(3, b"\x01\x01m\x041.5x"),
            Corrupt("a score is not a number"),
        ),
        (
            "undefined container",
            value(18, b"\x01\x07\x01a"),
            Corrupt("undefined container of a list node"),
        ),
        (
            "field expiry of -5",
            valkey_hash(&[b"\x01\x01f\x01v", &minus_five[..]].concat()),
            Corrupt("impossible expiry of a hash field"),
        ),
        (
            "field expiry over the end of time",
            value(24, &[&late, &b"\x01\x02\x01f\x01v"[..]].concat()),
            Corrupt("impossible expiry of a hash field"),
        ),
        (
            "key expiry of -2^63",
            file(&[b"\xfc", &i64::MIN.to_le_bytes()[..], b"\0\x01k\0"].concat()),
            Passes,
        ),
        (
            "key expiry of 2^63-1",
            file(&[b"\xfc", &late[..], b"\0\x01k\0"].concat()),
            Passes,
        ),
        (
            "key expiry of -2^31 seconds",
            file(b"\xfd\0\0\0\x80\0\x01k\0"),
            Passes,
        ),
        (
            "attributes of no key",
            file(b"\xfd\0\0\0\x80\xf9\x05"),
            Passes,
        ),
        (
            "module without an end",
            cut(7, &[MODULE, b"\x02\x05\x02\x05"].concat()),
            Truncated,
        ),
        (
            "undefined item of a module",
            value(7, &[MODULE, b"\x06\0"].concat()),
            Corrupt("undefined item in the data of a module"),
        ),
        (
            "string of 2^64-1 bytes in the data of a module",
            value(7, &[MODULE, b"\x05", MOST].concat()),
            Corrupt("a length reaches behind the last offset there can be"),
        ),
        (
            "module data for no time",
            file(&[b"\xf7", MODULE, b"\x01\x01\0"].concat()),
            Corrupt("the data of a module does not say where it belongs"),
        ),
        (
            "no metadata at all",
            file(b"\xf3\0\0\x01k\0"),
            Corrupt("impossible number of metadata classes"),
        ),
        (
            "eight classes of metadata",
            file(b"\xf3\x08\0\x01k\0"),
            Corrupt("impossible number of metadata classes"),
        ),
        (
            "slot import of no name",
            b"VALKEY080\xf3\x01j\0\xff\0\0\0\0\0\0\0\0".to_vec(),
            Corrupt("the name of a slot import is not 40 bytes long"),
        ),
        ("value type 8", value(8, b"\0"), Unknown(9)),
        (
            "value type of a release candidate's module",
            value(6, b"\0"),
            Unknown(9),
        ),
        ("opcode 204", file(b"\xcc\0"), Unknown(9)),
        (
            "no checksum behind the end",
            b"REDIS0013\xff".to_vec(),
            Truncated,
        ),
        (
            "half a checksum",
            b"REDIS0013\xff\0\0\0\0".to_vec(),
            Truncated,
        ),
    ]
}
