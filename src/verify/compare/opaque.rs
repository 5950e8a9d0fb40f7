//! Values whose content only a module, or only Dragonfly, understands: by their bytes.
//!
//! Of a module's value the framing is known: its items are compared, since servers compress the
//! strings among them or do not. What they mean is unknown, so an order that means nothing to the
//! module is a difference here.

use crate::{
    rdb::{Error, Limits, ModuleItem, ModuleItems, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, first_apart};

/// The id of a module, which is always written as a length of 64 bits.
const ID_BYTES: usize = 9;

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) {
    let types = [source.value_type, target.value_type];
    let [ours, theirs] = types;
    if ours == theirs && ours.is_module() && says_the_same(source, target).unwrap_or(false) {
        return;
    }
    let first = first_apart(0, &source.body, &target.body);
    let place = Place::Payload;
    match first {
        Some(first) => finds.add(Kind::Value, || First { place, ..first }),
        None if ours == theirs => {}
        None => finds.add(Kind::Value, || {
            let [source, target] = types.map(|of| [of.byte]);
            First::at(place, Some(&source), Some(&target))
        }),
    }
}

fn says_the_same(source: &Payload, target: &Payload) -> Result<bool, Error> {
    if source.body.get(..ID_BYTES) != target.body.get(..ID_BYTES) {
        return Ok(false);
    }
    let items = |payload: &Payload| ModuleItems::new(payload.body.clone(), Limits::default());
    let (mut source, mut target) = (items(source)?, items(target)?);
    loop {
        match (source.next_item()?, target.next_item()?) {
            (None, None) => return Ok(true),
            (Some(ours), Some(theirs)) if is_same(&ours, &theirs) => {}
            _ => return Ok(false),
        }
    }
}

/// Servers write signed integers as unsigned ones, too.
fn is_same(source: &ModuleItem, target: &ModuleItem) -> bool {
    use ModuleItem::{Double, Float, Signed, Unsigned};
    match (source, target) {
        (Float(ours), Float(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Double(ours), Double(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Signed(signed), Unsigned(unsigned)) | (Unsigned(unsigned), Signed(signed)) => {
            signed.cast_unsigned() == *unsigned
        }
        (ours, theirs) => ours == theirs,
    }
}
