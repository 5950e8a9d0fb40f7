//! Payloads of DUMP and RESTORE, and of FUNCTION DUMP and FUNCTION RESTORE: checked and built.
//!
//! ```text
//! [ KEY_META ] | u8 value type | body | u16 LE RDB version | u64 LE CRC-64 of all before
//! n * (0xF5, str source of a library) | u16 LE RDB version | u64 LE CRC-64 of all before
//! ```
//!
//! The version only says who may read it; how the body reads is the value type's business, and
//! type 22 is Redis's below version 80 and Valkey's from there on; types 20 and 30 to 37 are
//! Dragonfly's up to version 9 (redis cluster.c
//! createDumpPayload, verifyDumpPayload).

use bytes::{BufMut, Bytes};

use super::crc64::{Crc64, crc64};
use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::Header;
use super::length::put_string;
use super::limits::Limits;
use super::metadata::KeyMeta;
use super::opcode;
use super::value::function::PreGaFunction;
use super::value::module;
use super::value_type::ValueType;

/// The length of what ends a payload: version and checksum.
pub const FOOTER_BYTES: usize = 10;

const CHECKSUM_BYTES: usize = 8;

/// A payload whose checksum is right, taken apart without a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The type of the value, of the family that the version belongs to.
    pub value_type: ValueType,
    /// What follows the type byte, up to the footer; not looked into.
    pub body: Bytes,
    /// The RDB version.
    pub version: u16,
    /// Carries metadata of modules (KEY_META), which was left out.
    pub has_metadata: bool,
}

/// The footer that makes a payload of a type byte and a body: `[value_type] + body + footer`.
pub fn footer(value_type: u8, body: &[u8], version: u16) -> [u8; FOOTER_BYTES] {
    let mut crc = Crc64::new();
    crc.update(&[value_type]);
    crc.update(body);
    let [low, high] = version.to_le_bytes();
    crc.update(&[low, high]);
    let [a, b, c, d, e, f, g, h] = crc.value().to_le_bytes();
    [low, high, a, b, c, d, e, f, g, h]
}

/// Appends a payload: `[value_type] + body + footer`. Of a short body it is cheaper to sum it up
/// where it lies together than in three pieces.
pub fn put(out: &mut Vec<u8>, value_type: u8, body: &[u8], version: u16) {
    let start = out.len();
    out.reserve(1 + body.len() + FOOTER_BYTES);
    out.push(value_type);
    out.extend_from_slice(body);
    out.put_u16_le(version);
    let checksum = crc64(out.get(start..).unwrap_or_default());
    out.put_u64_le(checksum);
}

/// Checks a DUMP payload and takes it apart.
///
/// A checksum of zero stands for none, as Redis 8.6 writes it for some commands of its own.
///
/// # Errors
///
/// `Truncated` if it is too short to be one, `Checksum`, `UnsupportedType` for a type that cannot
/// be read, `Corrupt` for metadata that does not end. Offsets count from the start of the payload.
pub fn check(payload: &Bytes) -> Result<Payload, Error> {
    let (content, version) = open(payload)?;
    let header = header(version);
    let mut cursor = Cursor::new(&content, 0, 0);
    let value_type = type_of(&mut cursor, header).map_err(|stop| error(stop, &content))?;
    let body = content.slice(cursor.pos()..);
    Ok(Payload {
        value_type,
        body,
        version,
        has_metadata: cursor.pos() > 1,
    })
}

/// The type of the value in a DUMP payload, with vector sets told from the values of other modules.
/// The checksum is not looked at.
///
/// # Errors
///
/// As [`check`], without `Checksum`.
pub fn value_type(payload: &Bytes) -> Result<ValueType, Error> {
    let (content, version) = opened(payload)?;
    let mut cursor = Cursor::new(&content, 0, 0);
    type_of(&mut cursor, header(version))
        .and_then(|value_type| module::told_apart(value_type, &cursor))
        .map_err(|stop| error(stop, &content))
}

/// The libraries in a FUNCTION DUMP payload, as FUNCTION LOAD takes them.
///
/// # Errors
///
/// As [`check`]; `UnsupportedOpcode` for anything that is not a function.
pub fn functions(payload: &Bytes) -> Result<Vec<Bytes>, Error> {
    let (content, version) = open(payload)?;
    let mut cursor = Cursor::new(&content, 0, 0);
    let mut sources = Vec::new();
    while !cursor.rest().is_empty() {
        let source = function(&mut cursor, header(version));
        sources.push(source.map_err(|stop| error(stop, &content))?);
    }
    Ok(sources)
}

/// Builds the payload that FUNCTION RESTORE takes, from the sources of libraries.
pub fn of_functions<'a>(sources: impl IntoIterator<Item = &'a [u8]>, version: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    for source in sources {
        payload.push(opcode::FUNCTION2);
        put_string(&mut payload, source);
    }
    payload.put_u16_le(version);
    let checksum = crc64(&payload);
    payload.put_u64_le(checksum);
    payload
}

/// What stands before the footer, and the version, once the checksum is right.
fn open(payload: &Bytes) -> Result<(Bytes, u16), Error> {
    let opened = opened(payload)?;
    if let Some((summed, stored)) = payload.split_last_chunk() {
        let (stored, computed) = (u64::from_le_bytes(*stored), crc64(summed));
        if stored != 0 && stored != computed {
            let offset = (payload.len() - CHECKSUM_BYTES) as u64;
            return Err(Error::at(ErrorKind::Checksum { stored, computed }, offset));
        }
    }
    Ok(opened)
}

/// What stands before the footer, and the version.
fn opened(payload: &Bytes) -> Result<(Bytes, u16), Error> {
    let taken_apart = || {
        let (content, footer) = payload.split_last_chunk::<FOOTER_BYTES>()?;
        Some((payload.slice_ref(content), *footer.first_chunk()?))
    };
    let truncated = || Error::at(ErrorKind::Truncated, payload.len() as u64);
    let (content, version) = taken_apart().ok_or_else(truncated)?;
    Ok((content, u16::from_le_bytes(version)))
}

fn header(version: u16) -> Header {
    Header {
        valkey: version >= opcode::VALKEY_VERSION_MIN,
        version,
    }
}

fn type_of(cursor: &mut Cursor<'_>, header: Header) -> Result<ValueType, Stop> {
    let mut byte = cursor.u8()?;
    if byte == opcode::KEY_META && !header.valkey {
        KeyMeta::begin(cursor)?.next(cursor)?;
        byte = cursor.u8()?;
    }
    let value_type = opcode::payload_type(byte, header.version);
    if !opcode::payload_type_is_known(value_type) {
        return Err(cursor.bad(ErrorKind::unsupported(byte, header)));
    }
    Ok(value_type)
}

fn function(cursor: &mut Cursor<'_>, header: Header) -> Result<Bytes, Stop> {
    let limits = Limits::default();
    match cursor.u8()? {
        opcode::FUNCTION2 => cursor.text(&limits),
        opcode::FUNCTION_PRE_GA => PreGaFunction::default().next(cursor, &limits),
        byte => Err(cursor.bad(ErrorKind::UnsupportedOpcode { byte, header })),
    }
}

fn error(stop: Stop, content: &Bytes) -> Error {
    match stop {
        Stop::More => Error::at(ErrorKind::Truncated, content.len() as u64),
        Stop::Bad { kind, offset } => Error::at(kind, offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::value_type::Family;

    const HI: &[u8] = b"\x00\x02hi\x09\x00\x7f\x99\xce\x24\xda\xb7\x78\xa5";

    fn with_footer(type_and_body: &[u8], version: u16) -> Bytes {
        let (value_type, body) = type_and_body.split_first().unwrap();
        [type_and_body, &footer(*value_type, body, version)]
            .concat()
            .into()
    }

    #[test]
    fn builds_and_checks_a_payload() {
        assert_eq!(with_footer(b"\x00\x02hi", 9), HI);
        let payload = check(&Bytes::from_static(HI)).unwrap();
        assert_eq!(payload.value_type, ValueType::common(0));
        assert_eq!(
            (payload.body.as_ref(), payload.version),
            (&b"\x02hi"[..], 9)
        );
    }

    #[test]
    fn passes_over_metadata() {
        let meta = b"\xf3\x01\x01\x02\x03\x04\x02\x07\x05\x02xy\x00\x00\x02hi";
        let payload = check(&with_footer(meta, 13)).unwrap();
        assert_eq!(payload.body, &b"\x02hi"[..]);
        assert!(payload.has_metadata);
    }

    #[test]
    fn the_version_says_whose_type_22_it_is() {
        for (version, family) in [
            (12, Family::Redis),
            (79, Family::Redis),
            (80, Family::Valkey),
        ] {
            let payload = check(&with_footer(b"\x16\x00", version)).unwrap();
            assert_eq!(payload.value_type, ValueType::of(22, family), "{version}");
        }
    }

    #[test]
    fn the_type_is_told_without_the_checksum() {
        for (name, payload, known) in [
            ("as it is", HI.to_vec(), Some(0)),
            (
                "a wrong checksum",
                [b"\x00\x02ho", &HI[4..]].concat(),
                Some(0),
            ),
            (
                "behind metadata",
                with_footer(b"\xf3\x01\x01\x02\x03\x04\x00\x02\0", 13).into(),
                Some(2),
            ),
            ("an unknown type", with_footer(b"\x63\x00", 9).into(), None),
            (
                "half a module's id",
                with_footer(b"\x07\x81\xbd\xe7", 9).into(),
                None,
            ),
            ("only a footer", of_functions([], 9), None),
            ("too short", HI[..9].to_vec(), None),
        ] {
            let found = value_type(&payload.into()).ok();
            assert_eq!(found, known.map(ValueType::common), "{name}");
        }
        let id = b"\x07\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x00";
        let vector_set = value_type(&with_footer(id, 12));
        assert_eq!(vector_set, Ok(ValueType::of(7, Family::VectorSets)));
    }

    #[test]
    fn refuses_what_is_wrong() {
        let flipped = [b"\x00\x02ho", HI.get(4..).unwrap()].concat();
        let unsummed = [HI.get(..6).unwrap(), &[0; 8]].concat();
        assert!(check(&unsummed.into()).is_ok(), "a checksum of zero");
        for (name, payload) in [
            ("empty", Bytes::new()),
            (
                "nine bytes",
                Bytes::from_static(b"\x00\x02hi\x09\x00\x7f\x99\xce"),
            ),
            ("only a footer", of_functions([], 9).into()),
            ("a flipped bit", flipped.into()),
            ("an unknown type", with_footer(b"\x63\x00", 9)),
            (
                "endless metadata",
                with_footer(b"\xf3\x01\x01\x02\x03\x04\x02", 13),
            ),
            ("a hash without its template", with_footer(b"\x1e\x00", 15)),
            ("no metadata at all", with_footer(b"\xf3\x00\x00\x02hi", 13)),
        ] {
            assert!(check(&payload).is_err(), "{name}");
        }
    }

    #[test]
    fn functions_come_back() {
        let sources = [&b"#!lua name=a\nreturn 1"[..], &[b'x'; 300]];
        let payload = Bytes::from(of_functions(sources, 12));
        assert_eq!(functions(&payload).unwrap(), sources);
        assert_eq!(functions(&of_functions([], 12).into()).unwrap(), [""; 0]);
        assert!(
            functions(&Bytes::from_static(HI)).is_err(),
            "a value is no function"
        );
    }
}
