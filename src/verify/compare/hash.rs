//! Hashes: by their fields, whatever their order. Fields that have expired are not there.

use crate::{
    keyspace::UnixMs,
    rdb::{Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, Rules, finds, first_shown, merge, name, parts::Parts, text::Text};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::verify) struct Held<'v> {
    pub(in crate::verify) value: &'v [u8],
    pub(in crate::verify) expire_at_ms: Option<UnixMs>,
}

pub(super) fn compare(
    source: &Payload,
    target: &Payload,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), Error> {
    merge::named(fields(source)?, fields(target)?, |name, ours, theirs| {
        let [ours, theirs] = [ours, theirs].map(|of| {
            of.map(|(value, expire_at_ms)| Held {
                value,
                expire_at_ms: *expire_at_ms,
            })
        });
        field(finds, name, ours, theirs, rules);
    });
    Ok(())
}

/// Compares a field; `None` where a side does not have it.
pub(in crate::verify) fn field(
    finds: &mut Finds,
    name: &[u8],
    source: Option<Held<'_>>,
    target: Option<Held<'_>>,
    rules: &Rules,
) {
    let expiries = [source, target].map(|of| of.map(|held| held.expire_at_ms));
    if let Some([ours, theirs]) = present(finds, name, expiries, rules) {
        let source = source.filter(|_| ours).map(|held| held.value);
        let target = target.filter(|_| theirs).map(|held| held.value);
        if source != target {
            finds.add_named(Kind::Value, name, || {
                First::at(Place::Field(finds::name(name)), source, target)
            });
        }
    }
}

/// Compares the expiries of a field, and says on which sides it is there; `None` where both have
/// it, and it is about to expire.
pub(super) fn present(
    finds: &mut Finds,
    field: &[u8],
    expiries: [Option<Option<UnixMs>>; 2],
    rules: &Rules,
) -> Option<[bool; 2]> {
    let [source, target] = expiries;
    let source_is_past = source.is_some_and(|at_ms| rules.source_field_is_past(at_ms));
    let target_is_past = target.is_some_and(|at_ms| rules.target_field_is_past(at_ms));
    if let (Some(source), Some(target)) = (source, target) {
        let is_past = source_is_past || target_is_past;
        let same = rules.same_field_expiry(source, target);
        // Time goes on from one side to the other.
        if is_past && same {
            return None;
        }
        if !is_past && !same {
            finds.add_named(Kind::FieldExpiry, field, || {
                first_shown(Place::FieldExpiry(name(field)), source, target)
            });
        }
    }
    Some([
        source.is_some() && !source_is_past,
        target.is_some() && !target_is_past,
    ])
}

/// Fields, and to each its value and its expiry.
type Fields = Vec<(Text, (Text, Option<UnixMs>))>;

fn fields(payload: &Payload) -> Result<Fields, Error> {
    let (mut parts, mut fields) = (Parts::of(payload), Vec::new());
    while let Some(part) = parts.next()? {
        if let Part::HashField {
            field,
            value,
            expire_at_ms,
        } = part
        {
            fields.push((field.into(), (value.into(), expire_at_ms)));
        }
    }
    Ok(fields)
}
