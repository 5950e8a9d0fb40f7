//! Sets: by their members, whatever their order.

use crate::{
    keyspace::UnixMs,
    rdb::{Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, Rules, hash, merge, name, parts::Parts, text::Text};

pub(super) fn compare(
    source: &Payload,
    target: &Payload,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), Error> {
    merge::named(
        members(source)?,
        members(target)?,
        |member, ours, theirs| {
            let expiries = [ours.copied(), theirs.copied()];
            if let Some([ours, theirs]) = hash::present(finds, member, expiries, rules) {
                pair(finds, member, ours, theirs);
            }
        },
    );
    Ok(())
}

/// Compares whether both sides have a member.
pub(in crate::verify) fn pair(finds: &mut Finds, member: &[u8], source: bool, target: bool) {
    if source != target {
        finds.add_named(Kind::Value, member, || {
            let shown = |there: bool| there.then_some(member);
            First::at(Place::Member(name(member)), shown(source), shown(target))
        });
    }
}

/// The members with their own expiries, which only Dragonfly has.
fn members(payload: &Payload) -> Result<Vec<(Text, Option<UnixMs>)>, Error> {
    let (mut parts, mut members) = (Parts::of(payload), Vec::new());
    while let Some(part) = parts.next()? {
        match part {
            Part::SetMember(member) => members.push((member.into(), None)),
            Part::ExpiringSetMember {
                member,
                expire_at_ms,
            } => members.push((member.into(), Some(expire_at_ms))),
            _ => {}
        }
    }
    Ok(members)
}
