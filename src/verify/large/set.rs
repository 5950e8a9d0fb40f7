//! Sets: by pages of members, each looked up on the other side.

use bytes::Bytes;

use crate::{
    resp::Reply,
    verify::{
        Kind,
        compare::{Finds, set},
        pages::{One, Scan, ValueError},
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
    let mut scan = Scan::new(b"SSCAN", key);
    while let Some(page) = scan.next(&mut source).await? {
        let found = are_members(&mut target, key, &page).await?;
        for (member, found) in page.iter().zip(found) {
            set::pair(finds, member, true, found);
        }
    }
    let (ours, theirs) = pair.ask_ints(&[b"SCARD", key]).await?;
    // As many members, and none of them missing: there are no others.
    if ours == theirs && !finds.has(Kind::Value) {
        return Ok(());
    }
    let (mut source, mut target) = pair.split();
    let mut scan = Scan::new(b"SSCAN", key);
    while let Some(page) = scan.next(&mut target).await? {
        let found = are_members(&mut source, key, &page).await?;
        for (member, found) in page.iter().zip(found) {
            set::pair(finds, member, found, true);
        }
    }
    Ok(())
}

/// Which of these are members.
async fn are_members(
    one: &mut One<'_>,
    key: &Bytes,
    members: &[Bytes],
) -> Result<Vec<bool>, ValueError> {
    let mut request = Request::default();
    if one.can.multi_lookup && !members.is_empty() {
        request.add_many(&[b"SMISMEMBER", key], members.iter());
    } else {
        for member in members {
            request.add(&[b"SISMEMBER", key, member]);
        }
    }
    let mut replies = one.ask(request).await?;
    if let [Reply::Array(Some(all))] = &mut replies[..] {
        replies = std::mem::take(all);
    }
    let found = replies.iter().map(|reply| match reply {
        Reply::Int(found) => Some(*found != 0),
        _ => None,
    });
    let found: Option<Vec<bool>> = found.collect();
    let found = found.filter(|found| found.len() == members.len());
    found.ok_or_else(|| one.odd("SMISMEMBER"))
}
