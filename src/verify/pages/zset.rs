//! Sorted sets.

use bytes::Bytes;

use super::{One, Scan, ValueError, replies};

/// The next members of a sorted set, and the score of each; `None` behind the last page.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn page(
    scan: &mut Scan,
    one: &mut One<'_>,
) -> Result<Option<(Vec<Bytes>, Vec<f64>)>, ValueError> {
    let Some(flat) = scan.next(one).await? else {
        return Ok(None);
    };
    let (mut flat, mut members, mut scores) = (flat.into_iter(), Vec::new(), Vec::new());
    while let Some(member) = flat.next() {
        let score = flat.next().and_then(|text| replies::double(&text));
        scores.push(score.ok_or_else(|| one.odd("ZSCAN"))?);
        members.push(member);
    }
    Ok(Some((members, scores)))
}
