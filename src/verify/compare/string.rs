//! Strings: by their bytes, HyperLogLogs by their registers.

use crate::{
    rdb::{Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, Found, hyperloglog, parts::Parts, text::Text};

/// Bytes that are compared at once while looking for the first that differs.
const STRIDE_BYTES: usize = 4096;

/// The difference between two strings, as GET answers them.
pub(in crate::verify) fn strings(source: &[u8], target: &[u8]) -> Option<Found> {
    if hyperloglog::same(source, target) {
        return None;
    }
    first_apart(0, source, target).map(|first| Found {
        kind: Kind::Value,
        first,
    })
}

/// Where two strings first differ, which begin at byte `offset`; `None` where they do not.
pub(in crate::verify) fn first_apart(offset: u64, source: &[u8], target: &[u8]) -> Option<First> {
    let at = apart(source, target)?;
    let rest = |bytes| <[u8]>::get(bytes, at..).filter(|rest| !rest.is_empty());
    let place = Place::Offset(offset + at as u64);
    Some(First::at(place, rest(source), rest(target)))
}

/// The position of the first byte that differs, or that only one has.
fn apart(source: &[u8], target: &[u8]) -> Option<usize> {
    if source == target {
        return None;
    }
    let strides = source.chunks(STRIDE_BYTES).zip(target.chunks(STRIDE_BYTES));
    let same = strides.take_while(|(ours, theirs)| ours == theirs).count() * STRIDE_BYTES;
    let same = same.min(source.len()).min(target.len());
    let rest = |bytes| <[u8]>::get(bytes, same..).unwrap_or_default();
    let pairs = rest(source).iter().zip(rest(target));
    Some(same + pairs.take_while(|(ours, theirs)| ours == theirs).count())
}

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) -> Result<(), Error> {
    let (mut source, mut target) = (Parts::of(source), Parts::of(target));
    let mut offset = 0;
    loop {
        // All pieces but the last have the same length on both sides.
        let (ours, theirs) = (piece(&mut source)?, piece(&mut target)?);
        if ours.is_empty() && theirs.is_empty() {
            return Ok(());
        }
        if offset == 0 && hyperloglog::same(&ours, &theirs) {
            return Ok(());
        }
        if let Some(first) = first_apart(offset, &ours, &theirs) {
            finds.add(Kind::Value, || first);
            return Ok(());
        }
        offset += ours.len() as u64;
    }
}

/// The next bytes of a string, none at its end.
fn piece(parts: &mut Parts) -> Result<Text, Error> {
    while let Some(part) = parts.next()? {
        match part {
            Part::String(element) => return Ok(element.into()),
            Part::StringChunk(bytes) => return Ok(Text::Shared(bytes)),
            _ => {}
        }
    }
    Ok(Text::Shared(Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_is_found() {
        let long = vec![b'x'; 3 * STRIDE_BYTES];
        for at in [0, 1, STRIDE_BYTES - 1, STRIDE_BYTES, 2 * STRIDE_BYTES + 7] {
            let mut other = long.clone();
            other[at] = b'y';
            assert_eq!(apart(&long, &other), Some(at));
            assert_eq!(apart(&long, &long[..at]), Some(at), "cut");
            assert_eq!(apart(&other[..at], &long), Some(at), "cut");
            assert_eq!(apart(&long[..at], &long[..at]), None);
        }
    }

    #[test]
    fn both_rests_are_shown_and_nothing_is_none() {
        let first = first_apart(100, b"abcd", b"ab").unwrap();
        assert_eq!(first, First::at(Place::Offset(102), Some(b"cd"), None));
        assert_eq!(first_apart(0, b"", b""), None);
    }
}
