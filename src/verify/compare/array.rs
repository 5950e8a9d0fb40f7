//! Arrays (Redis 8.8): by what stands at which index, and the place of the next insertion.

use crate::{
    rdb::{Error, Part, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, first_shown, merge, parts::Parts, text::Text};

/// The name of the place of the next insertion.
const INSERT_CURSOR: &str = "insert-cursor";

/// The elements in ascending order, and the insert cursor.
#[derive(Debug, Default)]
struct Array {
    insert_cursor: Option<u64>,
    elements: Vec<(u64, Text)>,
}

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) -> Result<(), Error> {
    let (source, target) = (read(source)?, read(target)?);
    merge::sorted(
        &source.elements,
        &target.elements,
        |(index, _)| *index,
        |ours, theirs| {
            let [value, other] = [ours, theirs].map(|of| of.map(|(_, value)| &**value));
            if let (true, Some((index, _))) = (value != other, ours.or(theirs)) {
                let place = Place::Index(*index);
                finds.add(Kind::Value, || First::at(place, value, other));
            }
        },
    );
    if source.insert_cursor != target.insert_cursor {
        finds.add(Kind::Value, || {
            let place = Place::Counter(INSERT_CURSOR);
            first_shown(place, source.insert_cursor, target.insert_cursor)
        });
    }
    Ok(())
}

fn read(payload: &Payload) -> Result<Array, Error> {
    let (mut parts, mut array) = (Parts::of(payload), Array::default());
    while let Some(part) = parts.next()? {
        match part {
            Part::ArrayStart { insert_cursor } => array.insert_cursor = insert_cursor,
            Part::ArrayElement { index, value } => array.elements.push((index, value.into())),
            _ => {}
        }
    }
    // Servers write them in ascending order, but nothing says that they have to.
    array.elements.sort_by_key(|(index, _)| *index);
    Ok(array)
}
