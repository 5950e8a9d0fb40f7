//! Sorted sets: by pages of members with their scores, each looked up on the other side.

use bytes::Bytes;

use crate::{
    resp::Reply,
    verify::{
        Kind,
        compare::{Finds, zset},
        pages::{One, Scan, ValueError, replies, zset::page},
        peer::Request,
    },
};

use super::Pair;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let (mut source, mut target) = pair.split();
    let mut scan = Scan::new(b"ZSCAN", key);
    while let Some((members, ours)) = page(&mut scan, &mut source).await? {
        let theirs = scores(&mut target, key, &members).await?;
        for ((member, ours), theirs) in members.iter().zip(ours).zip(theirs) {
            zset::pair(finds, member, Some(ours), theirs);
        }
    }
    let (ours, theirs) = pair.ask_ints(&[b"ZCARD", key]).await?;
    // As many members, and none of them missing: there are no others.
    if ours == theirs && !finds.has(Kind::Value) {
        return Ok(());
    }
    let (mut source, mut target) = pair.split();
    let mut scan = Scan::new(b"ZSCAN", key);
    while let Some((members, theirs)) = page(&mut scan, &mut target).await? {
        let ours = scores(&mut source, key, &members).await?;
        for ((member, ours), theirs) in members.iter().zip(ours).zip(theirs) {
            zset::pair(finds, member, ours, Some(theirs));
        }
    }
    Ok(())
}

/// The scores of these members, `None` for those that are none.
async fn scores(
    one: &mut One<'_>,
    key: &Bytes,
    members: &[Bytes],
) -> Result<Vec<Option<f64>>, ValueError> {
    let mut request = Request::default();
    if one.can.multi_lookup && !members.is_empty() {
        request.add_many(&[b"ZMSCORE", key], members.iter());
    } else {
        for member in members {
            request.add(&[b"ZSCORE", key, member]);
        }
    }
    let mut replies = one.ask(request).await?;
    if let [Reply::Array(Some(all))] = &mut replies[..] {
        replies = std::mem::take(all);
    }
    let scores = replies.into_iter().map(|reply| {
        let text = replies::nullable(reply)?;
        text.map_or(Some(None), |text| replies::double(&text).map(Some))
    });
    let scores: Option<Vec<Option<f64>>> = scores.collect();
    let scores = scores.filter(|scores| scores.len() == members.len());
    scores.ok_or_else(|| one.odd("ZMSCORE"))
}
