//! stub
use super::{
    Error, Side,
    abilities::Abilities,
    compare::{Found, Rules},
    peer::Peer,
};
use crate::{keyspace::Db, rdb::KeyType, resp::ReplyError};
use bytes::Bytes;
pub(super) struct Pair<'a> {
    pub(super) source: &'a mut Peer,
    pub(super) target: &'a mut Peer,
    pub(super) source_db: Db,
    pub(super) target_db: Db,
    pub(super) source_can: Abilities,
    pub(super) target_can: Abilities,
}
pub(super) enum LargeError {
    Moved,
    Unreadable(Side, ReplyError),
    Failed(Error),
}
pub(super) async fn compare(
    _: &mut Pair<'_>,
    _: &Bytes,
    _: KeyType,
    _: &Rules,
) -> Result<Vec<Found>, LargeError> {
    Ok(vec![])
}
