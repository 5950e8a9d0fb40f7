//! LZF, whatever it is, against a model that is too simple to be wrong.

use keyferry::rdb::{Element, Limits, Part, ValueType};

use super::rdb::{parts, small_limits};
use super::value::{check, put_length};

/// The first byte says by how much the size that is announced lies (0 and 3: not at all), the
/// rest is compressed. It is inflated whole (an element of a list) and as it arrives (a string).
pub fn lzf(data: &[u8]) {
    let Some((&choice, compressed)) = data.split_first() else {
        return;
    };
    let inflated = model(compressed);
    let len = inflated.as_ref().map_or(compressed.len(), Vec::len);
    let announced = match choice % 4 {
        1 => len + 1,
        2 => len.saturating_sub(1),
        _ => len,
    };
    let Limits {
        chunk_bytes_max,
        string_bytes_max,
        ..
    } = small_limits();
    if announced as u64 > string_bytes_max {
        return;
    }
    let mut string = vec![0xc3];
    put_length(&mut string, compressed.len());
    put_length(&mut string, announced);
    string.extend(compressed);
    let list = [&[1], &string[..]].concat();

    let expected = inflated.filter(|inflated| inflated.len() == announced);
    let sizes = [choice.into(), 31];
    check(ValueType::common(0), &string, &sizes);
    check(ValueType::common(1), &list, &sizes);

    let element = parts(ValueType::common(1), list.into()).ok();
    let whole = element.map(|parts| match &parts[..] {
        [Part::ListElement(Element::Bytes(bytes))] => bytes.to_vec(),
        parts => panic!("{parts:?}"),
    });
    assert_eq!(whole, expected);
    let chunks = parts(ValueType::common(0), string.into()).ok();
    let joined = chunks.map(|parts| {
        let mut joined = Vec::new();
        for part in parts {
            match part {
                Part::String(Element::Bytes(bytes)) => joined.extend_from_slice(&bytes),
                Part::StringChunk(bytes) => {
                    assert!(bytes.len() <= chunk_bytes_max);
                    joined.extend_from_slice(&bytes);
                }
                Part::StringStart { .. } => {}
                part => panic!("{part:?}"),
            }
        }
        joined
    });
    assert_eq!(joined, expected);
}

/// What is compressed in a string, if it is an LZF string with short sizes.
pub fn compressed(string: &[u8]) -> Option<&[u8]> {
    let mut rest = string.strip_prefix(&[0xc3])?;
    for _ in 0..2 {
        let bytes = match rest.first()? >> 6 {
            0 => 1,
            1 => 2,
            _ => return None,
        };
        rest = rest.get(bytes..)?;
    }
    Some(rest)
}

/// Inflates one byte at a time.
fn model(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut input = compressed.iter().copied();
    let mut out = Vec::new();
    while let Some(control) = input.next() {
        if control < 32 {
            for _ in 0..=control {
                out.push(input.next()?);
            }
            continue;
        }
        let mut len = usize::from(control >> 5) + 2;
        if len == 9 {
            len += usize::from(input.next()?);
        }
        let far = usize::from(control & 31) * 256 + usize::from(input.next()?);
        for _ in 0..len {
            out.push(*out.get(out.len().checked_sub(far + 1)?)?);
        }
    }
    Some(out)
}
