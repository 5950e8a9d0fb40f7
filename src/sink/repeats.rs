//! Elements that stand in a value twice.
//!
//! No server writes that, but servers up to Redis 8.6 and Valkey 8.1 take it in packed encodings,
//! and in plain ones that they pack themselves. They answer with the first one, count both, and
//! end over it once the value grows out of its packed encoding (measured on Redis 6.0 to 8.6 and
//! Valkey 8.1). So the first one is kept here, as they read it.

use std::collections::{HashMap, hash_map::Entry};

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    rdb::{Element, Part},
};

/// The elements of one value that were seen so far.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    seen: HashMap<Bytes, Content>,
}

/// What belongs to an element.
#[derive(Debug, PartialEq)]
enum Content {
    Nothing,
    /// Its bits: a zero has a sign.
    Score(u64),
    Field(Element, Option<UnixMs>),
}

/// Whether an element was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is new, or of a kind that may repeat.
    No,
    /// It was, with the same content.
    Same,
    /// It was, with another content, which it loses.
    Differs,
}

/// What an element that must not repeat is called by.
pub(super) fn name(part: &Part) -> Option<&Element> {
    match part {
        Part::SetMember(name)
        | Part::ZsetMember { member: name, .. }
        | Part::HashField { field: name, .. } => Some(name),
        _ => None,
    }
}

impl Repeats {
    /// Sees the next part of the value.
    pub(super) fn see(&mut self, part: &Part) -> Repeat {
        let Some(name) = name(part) else {
            return Repeat::No;
        };
        let content = match part {
            Part::ZsetMember { score, .. } => Content::Score(score.to_bits()),
            Part::HashField {
                value,
                expire_at_ms,
                ..
            } => Content::Field(value.clone(), *expire_at_ms),
            _ => Content::Nothing,
        };
        match self.seen.entry(name.to_bytes()) {
            Entry::Vacant(free) => {
                free.insert(content);
                Repeat::No
            }
            Entry::Occupied(before) if *before.get() == content => Repeat::Same,
            Entry::Occupied(_) => Repeat::Differs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_name_is_new() {
        let text = |text: &'static str| Element::Bytes(text.into());
        let field = |name, value| Part::HashField {
            field: name,
            value: text(value),
            expire_at_ms: None,
        };
        let member = |member, score| Part::ZsetMember { member, score };
        for (name, parts, last) in [
            (
                "other fields",
                [field(text("a"), "1"), field(text("b"), "1")],
                Repeat::No,
            ),
            (
                "a field with the same value",
                [field(text("a"), "1"), field(text("a"), "1")],
                Repeat::Same,
            ),
            (
                "a field with another value",
                [field(text("a"), "1"), field(text("a"), "2")],
                Repeat::Differs,
            ),
            (
                "an integer and its text",
                [field(Element::Int(7), "1"), field(text("7"), "1")],
                Repeat::Same,
            ),
            (
                "a member",
                [Part::SetMember(text("a")), Part::SetMember(text("a"))],
                Repeat::Same,
            ),
            (
                "another zero",
                [member(text("a"), 0.0), member(text("a"), -0.0)],
                Repeat::Differs,
            ),
            (
                "an element of a list",
                [Part::ListElement(text("a")), Part::ListElement(text("a"))],
                Repeat::No,
            ),
        ] {
            let mut repeats = Repeats::default();
            let [first, second] = parts;
            assert_eq!(repeats.see(&first), Repeat::No, "{name}");
            assert_eq!(repeats.see(&second), last, "{name}");
        }
    }
}
