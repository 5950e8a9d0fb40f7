//! Values that are too large to be DUMPed, compared page by page over two connections.
//!
//! ```text
//!  string, list, stream   both sides page by page, in order
//!  set, hash, zset        pages of the source, looked up on the target; then pages of the target,
//!                         unless nothing was missing and both have as many elements
//!  vector set             the same, by the names of its elements
//!  what has no pages      DUMP of both
//! ```
//!
//! What is found is what the comparison of payloads would have found.
//!
//! Nothing keeps the servers from changing a value meanwhile. One that is gone, or of another type,
//! is [`ValueError::Moved`]; whatever else is found has to be found again to be true.

mod hash;
mod list;
mod set;
mod stream;
mod string;
mod vector_set;
mod whole;
mod zset;

use bytes::Bytes;

use crate::{keyspace::Db, rdb::KeyType, resp::Reply};

use super::{
    abilities::Abilities,
    compare::{Finds, Found, Rules},
    pages::{One, ValueError},
    peer::Peer,
};

/// The two sides of a comparison.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) source: &'a mut Peer,
    pub(super) target: &'a mut Peer,
    pub(super) source_db: Db,
    pub(super) target_db: Db,
    pub(super) source_can: Abilities,
    pub(super) target_can: Abilities,
}

impl Pair<'_> {
    /// Both sides, which can be asked at the same time.
    pub(super) fn split(&mut self) -> (One<'_>, One<'_>) {
        (
            One {
                peer: self.source,
                db: self.source_db,
                can: self.source_can,
            },
            One {
                peer: self.target,
                db: self.target_db,
                can: self.target_can,
            },
        )
    }

    /// Asks both sides for one reply each, at the same time; `None` when one of the two is longer.
    async fn ask_within(
        &mut self,
        words: &[&[u8]],
        reply_bytes_max: usize,
    ) -> Result<Option<(Reply, Reply)>, ValueError> {
        let (mut source, mut target) = self.split();
        let (ours, theirs) = tokio::join!(
            source.ask_one_within(words, reply_bytes_max),
            target.ask_one_within(words, reply_bytes_max),
        );
        Ok(ours?.zip(theirs?))
    }

    /// Asks both sides for an integer.
    async fn ask_ints(&mut self, words: &[&[u8]]) -> Result<(i64, i64), ValueError> {
        let (mut source, mut target) = self.split();
        let (ours, theirs) = tokio::join!(source.ask_int(words), target.ask_int(words));
        Ok((ours?, theirs?))
    }
}

/// Compares a value of this type page by page; both sides are known to have the key, and with this
/// type. At most one difference of each kind is found, in the order of kinds.
///
/// Dropping it midway closes the connections.
///
/// # Errors
/// As [`ValueError`].
pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    value_type: KeyType,
    rules: &Rules,
) -> Result<Vec<Found>, ValueError> {
    let mut finds = Finds::default();
    match value_type {
        KeyType::String => string::compare(pair, key, &mut finds).await?,
        KeyType::List => list::compare(pair, key, &mut finds).await?,
        KeyType::Set => set::compare(pair, key, &mut finds).await?,
        KeyType::Zset => zset::compare(pair, key, &mut finds).await?,
        KeyType::Hash => hash::compare(pair, key, rules, &mut finds).await?,
        KeyType::Stream => stream::compare(pair, key, rules, &mut finds).await?,
        KeyType::VectorSet => vector_set::compare(pair, key, &mut finds).await?,
        KeyType::Module | KeyType::Array | KeyType::Json | KeyType::Other => {
            return whole::compare(pair, key, rules).await;
        }
    }
    // What is gone looks like an empty value in most replies.
    let (mut source, mut target) = pair.split();
    let (ours, theirs) = tokio::join!(
        source.still_has(key, value_type),
        target.still_has(key, value_type),
    );
    ours?;
    theirs?;
    Ok(finds.into_found())
}
