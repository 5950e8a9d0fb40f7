//! Elements as byte strings, without allocating for those that are stored as integers.

use std::ops::Deref;

use bytes::Bytes;

use crate::rdb::Element;

/// The longest decimal text of an `i64`: `-9223372036854775808`.
const DIGITS_MAX: usize = 20;

/// A byte string: shared with the payload, or the text of an integer.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Shared(Bytes),
    Int { digits: [u8; DIGITS_MAX], len: u8 },
}

impl From<Element> for Text {
    fn from(element: Element) -> Text {
        match element {
            Element::Bytes(bytes) => Text::Shared(bytes),
            Element::Int(value) => {
                let mut buffer = itoa::Buffer::new();
                let text = buffer.format(value).as_bytes();
                let mut digits = [0; DIGITS_MAX];
                let len = digits.iter_mut().zip(text).map(|(to, from)| *to = *from);
                let len = len.count() as u8;
                Text::Int { digits, len }
            }
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Shared(bytes) => bytes,
            Text::Int { digits, len } => digits.get(..usize::from(*len)).unwrap_or_default(),
        }
    }
}

/// Whether two elements are the same byte string.
pub(super) fn same(source: &Element, target: &Element) -> bool {
    match (source, target) {
        (Element::Bytes(source), Element::Bytes(target)) => source == target,
        (Element::Int(source), Element::Int(target)) => source == target,
        (Element::Int(value), Element::Bytes(bytes))
        | (Element::Bytes(bytes), Element::Int(value)) => {
            bytes == itoa::Buffer::new().format(*value).as_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_their_text() {
        let bytes = |text: &'static str| Element::Bytes(text.into());
        for (int, text) in [
            (0, "0"),
            (-7, "-7"),
            (i64::MIN, "-9223372036854775808"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(&*Text::from(Element::Int(int)), text.as_bytes());
            assert!(same(&Element::Int(int), &bytes(text)));
            assert!(same(&bytes(text), &Element::Int(int)));
            assert!(same(&Element::Int(int), &Element::Int(int)));
        }
        for text in ["07", "+7", "7 ", ""] {
            assert!(!same(&Element::Int(7), &bytes(text)), "{text:?}");
        }
        assert_eq!(&*Text::from(bytes("07")), b"07");
    }
}
