//! Sets: by their members, whatever their order.

use crate::{
    keyspace::UnixMs,
    rdb::{Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{
    Finds, Rules,
    hash::{self, FieldExpiry},
    merge, name,
    parts::Parts,
    text::Text,
};

pub(super) fn compare(
    source: &Payload,
    target: &Payload,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), Error> {
    let source = members(source, |at_ms| rules.source_field_is_gone(at_ms))?;
    let target = members(target, |at_ms| rules.target_field_is_gone(at_ms))?;
    merge::named(source, target, |member, ours, theirs| {
        let expiries = [ours.copied(), theirs.copied()];
        if let Some([ours, theirs]) = hash::present(finds, member, expiries, rules) {
            pair(finds, member, ours, theirs);
        }
    });
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
fn members(
    payload: &Payload,
    is_past: impl Fn(Option<UnixMs>) -> bool,
) -> Result<Vec<(Text, FieldExpiry)>, Error> {
    let (mut parts, mut members) = (Parts::of(payload), Vec::new());
    while let Some(part) = parts.next()? {
        let (member, at_ms) = match part {
            Part::SetMember(member) => (member, None),
            Part::ExpiringSetMember {
                member,
                expire_at_ms,
            } => (member, Some(expire_at_ms)),
            _ => continue,
        };
        let is_past = is_past(at_ms);
        members.push((member.into(), FieldExpiry { at_ms, is_past }));
    }
    Ok(members)
}
