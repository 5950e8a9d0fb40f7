//! Strings: by ranges.

use bytes::Bytes;

use crate::verify::{
    First, Kind, Place, SHOWN_BYTES_MAX,
    compare::{Finds, first_apart, strings},
    pages::{PAGE_BYTES, ValueError, replies},
};

use super::Pair;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let mut offset = 0;
    loop {
        let (ours, theirs) = range(pair, key, offset, PAGE_BYTES).await?;
        let is_last = |page: &Bytes| page.len() < PAGE_BYTES;
        if offset == 0 && is_last(&ours) && is_last(&theirs) {
            // Also HyperLogLogs, which are never as long as a page.
            if let Some(found) = strings(&ours, &theirs) {
                finds.add(found.kind, || found.first);
            }
            return Ok(());
        }
        if let Some(first) = first_apart(offset, &ours, &theirs) {
            let first = shown_in_full(pair, key, first).await?;
            finds.add(Kind::Value, || first);
            return Ok(());
        }
        if is_last(&ours) {
            return Ok(());
        }
        offset += PAGE_BYTES as u64;
    }
}

/// What stands on both sides from this byte on.
async fn range(
    pair: &mut Pair<'_>,
    key: &Bytes,
    offset: u64,
    len: usize,
) -> Result<(Bytes, Bytes), ValueError> {
    let last = offset + len as u64 - 1;
    let [from, to] = [offset, last].map(|at| at.to_string());
    let words: [&[u8]; 4] = [b"GETRANGE", key, from.as_bytes(), to.as_bytes()];
    let pages = pair.ask_within(&words, usize::MAX).await?;
    let pages = pages.and_then(|(ours, theirs)| {
        let ours = replies::string(ours)?;
        Some((ours, replies::string(theirs)?))
    });
    pages.ok_or_else(|| pair.split().0.odd("GETRANGE"))
}

/// The difference with what stands behind the end of the page, too.
async fn shown_in_full(
    pair: &mut Pair<'_>,
    key: &Bytes,
    first: First,
) -> Result<First, ValueError> {
    let Place::Offset(at) = first.place else {
        return Ok(first);
    };
    let (ours, theirs) = range(pair, key, at, SHOWN_BYTES_MAX).await?;
    // Unless it was changed meanwhile.
    let again = first_apart(at, &ours, &theirs).filter(|again| again.place == first.place);
    Ok(again.unwrap_or(first))
}
