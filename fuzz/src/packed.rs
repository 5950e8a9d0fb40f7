//! Packed blobs, whatever is in them: each goes through every value type that is kept that way,
//! inside an RDB and by itself, stored raw and compressed.
//!
//! The first byte of an input chooses; what follows is the blob. Half of the choices put its
//! header and its end right, so that what stands between is reached.

use keyferry::rdb::{Encoding, ErrorKind, Event, Part, ValueParser, ValueType};

use super::rdb::{parts, plain_reads_back, small_limits};
use super::value::{self, put_length};

/// Puts header and end right.
const MENDED: u8 = 0x80;
/// Stores the blob as LZF.
const COMPRESSED: u8 = 0x40;

const ZIPLISTS: [u8; 4] = [10, 12, 13, 14];
const LISTPACKS: [u8; 6] = [16, 17, 18, 20, 23, 25];

/// The input that reads a blob as a value of this type.
pub fn input(value_type: ValueType, blob: &[u8]) -> Vec<u8> {
    let types = ZIPLISTS
        .iter()
        .enumerate()
        .chain(LISTPACKS.iter().enumerate());
    let choice = types
        .into_iter()
        .find(|(_, byte)| **byte == value_type.byte);
    [&[choice.map_or(0, |(choice, _)| choice as u8)], blob].concat()
}

/// Ziplists: lists, nodes of lists, sorted sets, hashes.
pub fn ziplist(data: &[u8]) {
    let types = ZIPLISTS.map(ValueType::common);
    let mend = |blob: &mut [u8]| {
        mend_size(blob);
        blob.get_mut(8..10)
            .into_iter()
            .for_each(|count| count.fill(0xff));
        mend_end(blob);
    };
    if let Some((blob, read)) = packed(data, Encoding::Ziplist, &types, mend) {
        assert_eq!(ziplist_backwards(&blob), Some(read));
    }
}

/// Listpacks: hashes with and without expiry, sorted sets, nodes of lists, sets.
pub fn listpack(data: &[u8]) {
    let types = LISTPACKS.map(ValueType::common);
    let mend = |blob: &mut [u8]| {
        mend_size(blob);
        blob.get_mut(4..6)
            .into_iter()
            .for_each(|count| count.fill(0xff));
        mend_end(blob);
    };
    if let Some((blob, read)) = packed(data, Encoding::Listpack, &types, mend) {
        assert_eq!(listpack_backwards(&blob), Some(read));
    }
}

/// Intsets.
pub fn intset(data: &[u8]) {
    let mend = |blob: &mut [u8]| {
        if let Some((header, members)) = blob.split_first_chunk_mut::<8>() {
            let width = [2, 4, 8, 8][usize::from(header[0] % 4)];
            let count = members.len() as u32 / width;
            *header = [0; 8];
            header[..4].copy_from_slice(&width.to_le_bytes());
            header[4..].copy_from_slice(&count.to_le_bytes());
        }
    };
    packed(data, Encoding::Intset, &[ValueType::common(11)], mend);
}

/// Zipmaps.
pub fn zipmap(data: &[u8]) {
    let mend = |blob: &mut [u8]| {
        // So many pairs that nobody counted them.
        blob.first_mut().into_iter().for_each(|pairs| *pairs = 254);
        mend_end(blob);
    };
    packed(data, Encoding::Zipmap, &[ValueType::common(9)], mend);
}

fn mend_size(blob: &mut [u8]) {
    let size = (blob.len() as u32).to_le_bytes();
    if let Some(header) = blob.first_chunk_mut() {
        *header = size;
    }
}

fn mend_end(blob: &mut [u8]) {
    blob.last_mut().into_iter().for_each(|end| *end = 0xff);
}

/// Reads a blob in every way there is, and gives it with the number of its elements if it is right.
fn packed(
    data: &[u8],
    encoding: Encoding,
    types: &[ValueType],
    mend: impl Fn(&mut [u8]),
) -> Option<(Vec<u8>, usize)> {
    let (&choice, blob) = data.split_first()?;
    let mut blob = blob.to_vec();
    if choice & MENDED != 0 {
        mend(&mut blob);
    }
    let value_type = types[usize::from(choice & 0x3f) % types.len()];
    let body = body(value_type, &blob, choice & COMPRESSED != 0);
    value::check(value_type, &body, &[choice.into(), 31]);
    let read = parts(value_type, body.into());
    let alone = of_blob(value_type, encoding, &blob);
    match (read, alone) {
        (Ok(read), Ok(alone)) => {
            assert_eq!(read, alone);
            plain_reads_back(&read);
            // No element takes less than a byte.
            assert!(read.len() < blob.len());
            let per_part = match value_type.byte {
                9 | 12 | 13 | 16 | 17 => 2,
                23 | 25 => 3,
                _ => 1,
            };
            Some((blob, read.len() * per_part))
        }
        (Err(error), Err(alone)) => {
            // Sizes of the compressed form are checked before the blob is.
            let inside = !matches!(error.kind, ErrorKind::Limit { .. });
            assert!(!inside || error.kind == alone, "{error}, alone {alone}");
            None
        }
        (read, alone) => panic!("{read:?}, alone {alone:?}"),
    }
}

/// The body of a value of this type that is kept in this blob.
fn body(value_type: ValueType, blob: &[u8], compressed: bool) -> Vec<u8> {
    let mut body = match value_type.byte {
        // One node; one node that is a listpack.
        14 => vec![1],
        18 => vec![1, 2],
        // The least expiry of the fields.
        25 => vec![0; 8],
        _ => Vec::new(),
    };
    if compressed && !blob.is_empty() {
        let literals: Vec<u8> = blob
            .chunks(32)
            .flat_map(|run| [&[run.len() as u8 - 1], run].concat())
            .collect();
        body.push(0xc3);
        put_length(&mut body, literals.len());
        put_length(&mut body, blob.len());
        body.extend(literals);
    } else {
        put_length(&mut body, blob.len());
        body.extend(blob);
    }
    body
}

fn of_blob(value_type: ValueType, encoding: Encoding, blob: &[u8]) -> Result<Vec<Part>, ErrorKind> {
    let blob = bytes::Bytes::copy_from_slice(blob);
    let parser = ValueParser::of_blob(value_type, encoding, blob, small_limits());
    let mut parser = parser.map_err(|error| error.kind)?;
    let mut parts = Vec::new();
    while let Some(event) = parser.next_event().map_err(|error| error.kind)? {
        if let Event::Part(part) = event {
            parts.push(part);
        }
    }
    Ok(parts)
}

/// How many elements a listpack has when it is walked from its end, as servers walk it for LRANGE
/// and ZREVRANGE.
fn listpack_backwards(blob: &[u8]) -> Option<usize> {
    let (mut at, mut elements) = (blob.len() - 1, 0);
    while at > 6 {
        // Seven bits a byte, the least first; the top bit says that more follow.
        let (mut size, mut shift) = (0, 0);
        loop {
            at = at.checked_sub(1)?;
            let byte = blob.get(at)?;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at = at.checked_sub(size)?;
        elements += 1;
    }
    (at == 6).then_some(elements)
}

/// How many entries a ziplist has when it is walked from its end.
fn ziplist_backwards(blob: &[u8]) -> Option<usize> {
    let u32_at = |at: usize| {
        let bytes = blob.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let mut at = u32_at(4)?;
    if *blob.get(at)? == 0xff {
        return (at == 10).then_some(0);
    }
    let mut entries = 1;
    while at > 10 {
        at = at.checked_sub(match *blob.get(at)? {
            0xfe => u32_at(at + 1)?,
            size => size.into(),
        })?;
        entries += 1;
    }
    (at == 10).then_some(entries)
}
