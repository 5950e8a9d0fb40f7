//! Lists: by ranges.

use bytes::Bytes;

use crate::verify::{
    First, Kind, Place,
    compare::Finds,
    pages::{PageSize, ValueError, replies},
};

use super::Pair;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let (mut start, mut size) = (0, PageSize::new());
    loop {
        let count = size.count();
        let [from, to] = [start, start + count - 1].map(|at| at.to_string());
        let words: [&[u8]; 4] = [b"LRANGE", key, from.as_bytes(), to.as_bytes()];
        let Some((ours, theirs)) = pair.ask_within(&words, size.reply_bytes_max()).await? else {
            size.shrink();
            continue;
        };
        let (source, target) = pair.split();
        let ours = replies::strings(ours).ok_or_else(|| source.odd("LRANGE"))?;
        let theirs = replies::strings(theirs).ok_or_else(|| target.odd("LRANGE"))?;
        let pairs = ours.iter().zip(&theirs);
        let same = pairs.take_while(|(ours, theirs)| ours == theirs).count();
        let (one, other) = (ours.get(same), theirs.get(same));
        if one.is_some() || other.is_some() {
            let place = Place::Index(start + same as u64);
            let first = First::at(place, one.map(|of| &of[..]), other.map(|of| &of[..]));
            finds.add(Kind::Value, || first);
            return Ok(());
        }
        if (ours.len() as u64) < count {
            return Ok(());
        }
        start += count;
        size.learn(ours.len(), ours.iter().map(Bytes::len).sum());
    }
}
