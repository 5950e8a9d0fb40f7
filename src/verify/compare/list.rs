//! Lists: element by element, in order.

use crate::{
    rdb::{Element, Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{
    Finds,
    parts::Parts,
    text::{Text, same},
};

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) -> Result<(), Error> {
    let (mut source, mut target) = (Parts::of(source), Parts::of(target));
    for index in 0.. {
        let (ours, theirs) = (element(&mut source)?, element(&mut target)?);
        let equal = match (&ours, &theirs) {
            (None, None) => break,
            (Some(ours), Some(theirs)) => same(ours, theirs),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !equal {
            let [ours, theirs] = [ours, theirs].map(|element| element.map(Text::from));
            let first = First::at(Place::Index(index), ours.as_deref(), theirs.as_deref());
            finds.add(Kind::Value, || first);
            break;
        }
    }
    Ok(())
}

fn element(parts: &mut Parts) -> Result<Option<Element>, Error> {
    while let Some(part) = parts.next()? {
        if let Part::ListElement(element) = part {
            return Ok(Some(element));
        }
    }
    Ok(None)
}
