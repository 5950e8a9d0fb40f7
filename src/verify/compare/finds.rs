//! What was found in a value: of each kind the first.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::verify::{First, Kind, Place};

use super::Found;

/// The longest name of an element that a place keeps, in bytes; a longer one is cut.
const NAME_BYTES_MAX: usize = 4096;

/// The name of an element for a [`Place`], copied: a slice would keep all of
/// a payload alive.
pub(in crate::verify) fn name(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes))
}

/// Two values that are shown as text.
pub(in crate::verify) fn first_shown(
    place: Place,
    source: Option<impl ToString>,
    target: Option<impl ToString>,
) -> First {
    let (source, target) = (
        source.map(|of| of.to_string()),
        target.map(|of| of.to_string()),
    );
    First::at(
        place,
        source.as_deref().map(str::as_bytes),
        target.as_deref().map(str::as_bytes),
    )
}

/// The first difference of each kind.
#[derive(Debug, Default)]
pub(in crate::verify) struct Finds(BTreeMap<Kind, Find>);

#[derive(Debug)]
struct Find {
    /// What makes it the first where there is no order to look in.
    name: Vec<u8>,
    first: First,
}

impl Finds {
    /// Adds a difference, unless there is one of its kind.
    pub(in crate::verify) fn add(&mut self, kind: Kind, first: impl FnOnce() -> First) {
        self.0.entry(kind).or_insert_with(|| Find {
            name: Vec::new(),
            first: first(),
        });
    }

    /// Adds a difference, unless there is one of its kind at a smaller name.
    pub(in crate::verify) fn add_named(
        &mut self,
        kind: Kind,
        name: &[u8],
        first: impl FnOnce() -> First,
    ) {
        if self.0.get(&kind).is_none_or(|find| name < &find.name[..]) {
            let (name, first) = (name.to_vec(), first());
            self.0.insert(kind, Find { name, first });
        }
    }

    /// Whether there is one of this kind.
    pub(in crate::verify) fn has(&self, kind: Kind) -> bool {
        self.0.contains_key(&kind)
    }

    /// All of them, in the order of kinds.
    pub(in crate::verify) fn into_found(self) -> Vec<Found> {
        let found = self.0.into_iter();
        found
            .map(|(kind, find)| Found {
                kind,
                first: find.first,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_kept() {
        let mut finds = Finds::default();
        let at = |index| move || First::at(Place::Index(index), None, None);
        finds.add_named(Kind::FieldExpiry, b"c", at(1));
        finds.add_named(Kind::FieldExpiry, b"a", at(2));
        finds.add_named(Kind::FieldExpiry, b"b", at(3));
        finds.add(Kind::Value, at(4));
        finds.add(Kind::Value, at(5));
        assert!(finds.has(Kind::Value) && !finds.has(Kind::Group));
        let found = finds.into_found();
        let places: Vec<_> = found.iter().map(|f| (f.kind, &f.first.place)).collect();
        let expected = [
            (Kind::Value, &Place::Index(4)),
            (Kind::FieldExpiry, &Place::Index(2)),
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name(b"ab"), "ab");
        assert_eq!(name(&[b'x'; 5000]).len(), NAME_BYTES_MAX);
    }
}
