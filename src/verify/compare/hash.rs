//! Hashes: by their fields, whatever their order. Fields that have expired are not there.

use crate::{
    keyspace::UnixMs,
    rdb::{Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, Rules, first_shown, merge, name, parts::Parts, text::Text};

/// What a field holds.
#[derive(Debug)]
struct Field {
    value: Text,
    expiry: FieldExpiry,
}

/// When a field expires, and whether it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldExpiry {
    pub(super) at_ms: Option<UnixMs>,
    pub(super) is_past: bool,
}

pub(super) fn compare(
    source: &Payload,
    target: &Payload,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), Error> {
    let source = fields(source, |at_ms| rules.source_field_is_gone(at_ms))?;
    let target = fields(target, |at_ms| rules.target_field_is_gone(at_ms))?;
    merge::named(source, target, |field, ours, theirs| {
        let expiries = [ours, theirs].map(|of| of.map(|of| of.expiry));
        if let Some([ours_are_there, theirs_are_there]) = present(finds, field, expiries, rules) {
            let ours = ours.filter(|_| ours_are_there).map(|of| &*of.value);
            let theirs = theirs.filter(|_| theirs_are_there).map(|of| &*of.value);
            pair(finds, field, ours, theirs);
        }
    });
    Ok(())
}

/// Compares the expiries of a field, and says on which sides it is there; `None` where both sides
/// have it, and it is about to expire.
pub(super) fn present(
    finds: &mut Finds,
    field: &[u8],
    expiries: [Option<FieldExpiry>; 2],
    rules: &Rules,
) -> Option<[bool; 2]> {
    if let [Some(ours), Some(theirs)] = expiries {
        let is_past = ours.is_past || theirs.is_past;
        // Time goes on from one side to the other.
        if is_past && rules.same_field_expiry(ours.at_ms, theirs.at_ms) {
            return None;
        }
        if !is_past {
            expiry(finds, field, (ours.at_ms, theirs.at_ms), rules);
        }
    }
    Some(expiries.map(|of| of.is_some_and(|expiry| !expiry.is_past)))
}

/// Compares the values of a field; `None` where a side does not have it.
pub(in crate::verify) fn pair(
    finds: &mut Finds,
    field: &[u8],
    source: Option<&[u8]>,
    target: Option<&[u8]>,
) {
    if source != target {
        finds.add_named(Kind::Value, field, || {
            First::at(Place::Field(name(field)), source, target)
        });
    }
}

/// Compares the expiries of a field that both sides have.
pub(in crate::verify) fn expiry(
    finds: &mut Finds,
    field: &[u8],
    (source, target): (Option<UnixMs>, Option<UnixMs>),
    rules: &Rules,
) {
    if !rules.same_field_expiry(source, target) {
        finds.add_named(Kind::FieldExpiry, field, || {
            first_shown(Place::FieldExpiry(name(field)), source, target)
        });
    }
}

fn fields(
    payload: &Payload,
    is_past: impl Fn(Option<UnixMs>) -> bool,
) -> Result<Vec<(Text, Field)>, Error> {
    let (mut parts, mut fields) = (Parts::of(payload), Vec::new());
    while let Some(part) = parts.next()? {
        if let Part::HashField {
            field,
            value,
            expire_at_ms,
        } = part
        {
            let expiry = FieldExpiry {
                at_ms: expire_at_ms,
                is_past: is_past(expire_at_ms),
            };
            let value = value.into();
            fields.push((field.into(), Field { value, expiry }));
        }
    }
    Ok(fields)
}
