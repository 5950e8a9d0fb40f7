//! The first nine bytes: `REDIS` and four digits, or `VALKEY` and three.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::digit1;
use nom::combinator::all_consuming;
use nom::sequence::preceded;
use nom::{IResult, Parser as _};

use super::cursor::{Cursor, Flaw, Stop};
use super::error::ErrorKind;
use super::event::Header;
use super::opcode;

const HEADER_BYTES: usize = 9;

/// Reads the magic and a version that is known.
pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Header, Stop> {
    let bytes: [u8; HEADER_BYTES] = cursor.array()?;
    let Some((valkey, digits)) = magic(&bytes) else {
        return Err(cursor.bad(ErrorKind::NotRdb(likeness(&bytes))));
    };
    let version = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    let Some(version) = version.filter(|version| *version > 0) else {
        return Err(cursor.corrupt("impossible RDB version"));
    };
    let header = Header { valkey, version };
    if !opcode::version_is_known(header) {
        return Err(cursor.bad(ErrorKind::UnknownVersion(header)));
    }
    Ok(header)
}

/// Whether the magic is Valkey's, and the digits behind it.
fn magic(bytes: &[u8]) -> Option<(bool, &[u8])> {
    let redis = preceded(tag(&b"REDIS"[..]), digit1).map(|digits| (false, digits));
    let valkey = preceded(tag(&b"VALKEY"[..]), digit1).map(|digits| (true, digits));
    let parsed: IResult<_, _, Flaw> = all_consuming(alt((redis, valkey))).parse(bytes);
    parsed.ok().map(|(_, magic)| magic)
}

/// What else the bytes look like, for the one who gave us the wrong file.
fn likeness(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'R', b'E', b'D', b'I', b'S', ..] => "an RDB without a version",
        [b'V', b'A', b'L', b'K', b'E', b'Y', ..] => "an RDB without a version",
        [b'V', b'C', b'S', ..] => "a compressed RDB of Valkey",
        [b'*', ..] => "commands, as in an append-only file",
        [b'-' | b'+' | b'$', ..] => "the reply of a server",
        [0x1f, 0x8b, ..] => "a gzip file",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "a Zstandard file",
        [0x04, 0x22, 0x4d, 0x18, ..] => "an LZ4 file",
        _ => "no format that is known",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn knows_magics_and_versions() {
        let known = |valkey, version| Ok(Header { valkey, version });
        let unknown = |valkey, version| Err(ErrorKind::UnknownVersion(Header { valkey, version }));
        for (bytes, expected) in [
            (b"REDIS0001", known(false, 1)),
            (b"REDIS0013", known(false, 13)),
            (b"VALKEY080", known(true, 80)),
            (b"REDIS0014", unknown(false, 14)),
            (b"VALKEY081", unknown(true, 81)),
            (b"VALKEY011", unknown(true, 11)),
            (
                b"REDIS0000",
                Err(ErrorKind::Corrupt("impossible RDB version")),
            ),
            (
                b"REDIS00x1",
                Err(ErrorKind::NotRdb("an RDB without a version")),
            ),
            (
                b"*1\r\n$4\r\nP",
                Err(ErrorKind::NotRdb("commands, as in an append-only file")),
            ),
            (b"\x1f\x8b0000000", Err(ErrorKind::NotRdb("a gzip file"))),
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let read = read(&mut Cursor::new(&bytes, 0, 0));
            let read = read.map_err(|stop| match stop {
                Stop::Bad { kind, offset: 9 } => kind,
                stop => panic!("{stop:?}"),
            });
            assert_eq!(read, expected, "{bytes:?}");
        }
    }
}
