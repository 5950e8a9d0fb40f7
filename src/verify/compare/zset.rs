//! Sorted sets: by their members and scores, whatever their order.

use crate::{
    rdb::{Error, Part, payload::Payload},
    verify::{Kind, Place},
};

use super::{Finds, first_shown, merge, name, parts::Parts, text::Text};

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) -> Result<(), Error> {
    merge::named(
        members(source)?,
        members(target)?,
        |member, ours, theirs| pair(finds, member, ours.copied(), theirs.copied()),
    );
    Ok(())
}

/// Compares the scores that a member has; `None` where a side does not have it.
///
/// They are the same when they are equal as numbers: servers drop the sign of -0 when they pack a
/// sorted set.
pub(in crate::verify) fn pair(
    finds: &mut Finds,
    member: &[u8],
    source: Option<f64>,
    target: Option<f64>,
) {
    if source != target {
        finds.add_named(Kind::Value, member, || {
            let text = |score: f64| ryu::Buffer::new().format(score).to_owned();
            let place = Place::Score(name(member));
            first_shown(place, source.map(text), target.map(text))
        });
    }
}

fn members(payload: &Payload) -> Result<Vec<(Text, f64)>, Error> {
    let (mut parts, mut members) = (Parts::of(payload), Vec::new());
    while let Some(part) = parts.next()? {
        if let Part::ZsetMember { member, score } = part {
            members.push((member.into(), score));
        }
    }
    Ok(members)
}
