//! The first nine bytes: `REDIS` and four digits, or `VALKEY` and three.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::digit1;
use nom::combinator::all_consuming;
use nom::sequence::preceded;
use nom::{IResult, Parser as _};

use super::cursor::{Cursor, Flaw, Stop};
use super::error::{ErrorKind, Likeness};
use super::event::Header;
use super::opcode;

const HEADER_BYTES: usize = 9;

/// Reads the magic and a version that is known, or also a newer one.
pub(crate) fn read(cursor: &mut Cursor<'_>, newer_versions: bool) -> Result<Header, Stop> {
    let bytes: [u8; HEADER_BYTES] = cursor.array()?;
    let Some((valkey, digits)) = magic(&bytes) else {
        return Err(cursor.bad(ErrorKind::NotRdb(likeness(&bytes))));
    };
    let version = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    // Four digits at most, so they are always a number.
    let header = Header {
        valkey,
        version: version.unwrap_or(0),
    };
    let readable = newer_versions && !opcode::version_is_impossible(header);
    if !readable && !opcode::version_is_known(header) {
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
fn likeness(bytes: &[u8]) -> Likeness {
    match bytes {
        [b'R', b'E', b'D', b'I', b'S', ..] => Likeness::NoVersion,
        [b'V', b'A', b'L', b'K', b'E', b'Y', ..] => Likeness::NoVersion,
        [b'V', b'C', b'S', 1, ..] => Likeness::ValkeyCompressed,
        [b'*', ..] => Likeness::Commands,
        [b'-' | b'+' | b'$', ..] => Likeness::Reply,
        [0x1f, 0x8b, ..] => Likeness::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Likeness::Zstandard,
        [0x04, 0x22, 0x4d, 0x18, ..] => Likeness::Lz4,
        _ => Likeness::Unknown,
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
        let other = |likeness| Err(ErrorKind::NotRdb(likeness));
        for (bytes, expected) in [
            (b"REDIS0001", known(false, 1)),
            (b"REDIS0015", known(false, 15)),
            (b"VALKEY081", known(true, 81)),
            (b"REDIS0016", unknown(false, 16)),
            (b"VALKEY082", unknown(true, 82)),
            (b"VALKEY011", unknown(true, 11)),
            (b"REDIS0000", unknown(false, 0)),
            (b"REDIS00x1", other(Likeness::NoVersion)),
            (b"*1\r\n$4\r\nP", other(Likeness::Commands)),
            (b"\x1f\x8b0000000", other(Likeness::Gzip)),
            (
                b"VCS\x01\x01\x00\x01\x04\x22",
                other(Likeness::ValkeyCompressed),
            ),
            (b"\x28\xb5\x2f\xfd\0\0\0\0\0", other(Likeness::Zstandard)),
            (b"\x04\x22\x4d\x18\0\0\0\0\0", other(Likeness::Lz4)),
        ] {
            assert_eq!(read_all(bytes, false), expected, "{bytes:?}");
        }
    }

    #[test]
    fn newer_versions_are_read_where_asked_for() {
        let header = |valkey, version| Ok(Header { valkey, version });
        assert_eq!(read_all(b"REDIS0987", true), header(false, 987));
        assert_eq!(read_all(b"VALKEY082", true), header(true, 82));
        assert!(
            read_all(b"VALKEY079", true).is_err(),
            "that is no newer one"
        );
        assert!(read_all(b"REDIS0000", true).is_err());
    }

    fn read_all(bytes: &[u8], newer_versions: bool) -> Result<Header, ErrorKind> {
        let bytes = Bytes::copy_from_slice(bytes);
        read(&mut Cursor::new(&bytes, 0, 0), newer_versions).map_err(|stop| match stop {
            Stop::Bad { kind, offset: 9 } => kind,
            stop => panic!("{stop:?}"),
        })
    }
}
