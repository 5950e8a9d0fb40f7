//! Values of which there are no pages: modules', and types of servers that have other commands.
//!
//! They are DUMPed after all, and held whole.

use bytes::Bytes;

use crate::{
    rdb::payload,
    resp::ReplyError,
    verify::{
        compare::{Found, Rules, payloads},
        error::Side,
    },
};

use super::{LargeError, Pair, replies};

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
) -> Result<Vec<Found>, LargeError> {
    let words: [&[u8]; 2] = [b"DUMP", key];
    let (mut source, mut target) = pair.split();
    let (ours, theirs) = tokio::join!(
        source.ask_one_within(&words, usize::MAX),
        target.ask_one_within(&words, usize::MAX),
    );
    let too_long = |side| unreadable(side, "longer than any reply that is read");
    let ours = ours?.ok_or_else(|| too_long(Side::Source))?;
    let theirs = theirs?.ok_or_else(|| too_long(Side::Target))?;
    let ours = replies::nullable(ours).ok_or_else(|| source.odd("DUMP"))?;
    let theirs = replies::nullable(theirs).ok_or_else(|| target.odd("DUMP"))?;
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Err(LargeError::Moved);
    };
    payloads(&ours, &theirs, rules).map_err(|error| {
        let side = match payload::check(&ours) {
            Ok(_) => Side::Target,
            Err(_) => Side::Source,
        };
        unreadable(side, &error.to_string())
    })
}

/// What cannot be read although the server does not refuse it.
fn unreadable(side: Side, why: &str) -> LargeError {
    let text = format!("the payload of DUMP is unreadable: {why}");
    LargeError::Unreadable(side, ReplyError::parse(text.as_bytes()))
}
