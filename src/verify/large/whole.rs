//! Values of which there are no pages: modules', and types of servers that have other commands.
//!
//! They are DUMPed after all, and held whole.

use bytes::Bytes;

use crate::{
    rdb::payload,
    verify::{
        compare::{Found, Rules, payloads},
        pages::ValueError,
    },
};

use super::Pair;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
) -> Result<Vec<Found>, ValueError> {
    let (mut source, mut target) = pair.split();
    let (ours, theirs) = tokio::join!(source.dump(key), target.dump(key));
    let (Some(ours), Some(theirs)) = (ours?, theirs?) else {
        return Err(ValueError::Moved);
    };
    payloads(&ours, &theirs, rules).map_err(|error| match payload::check(&ours) {
        Ok(_) => target.unreadable(&error),
        Err(_) => source.unreadable(&error),
    })
}
