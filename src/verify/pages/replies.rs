//! What replies hold; `None` for what a command does not answer.

use bytes::Bytes;

use crate::{
    keyspace::{StreamId, UnixMs, unix_ms},
    rdb::KeyType,
    resp::Reply,
};

/// A string that is there.
pub(in crate::verify) fn string(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(Some(bytes)) | Reply::Simple(bytes) => Some(bytes),
        _ => None,
    }
}

/// A string that may not be there.
pub(in crate::verify) fn nullable(reply: Reply) -> Option<Option<Bytes>> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

/// The elements of an array.
pub(in crate::verify) fn list(reply: Reply) -> Option<Vec<Reply>> {
    match reply {
        Reply::Array(elements) => elements,
        _ => None,
    }
}

/// The strings of an array.
pub(in crate::verify) fn strings(reply: Reply) -> Option<Vec<Bytes>> {
    list(reply)?.into_iter().map(string).collect()
}

/// An integer that is not negative.
pub(in crate::verify) fn number(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

/// A cursor, and the elements of a page.
pub(in crate::verify) fn page(reply: Reply) -> Option<(Bytes, Vec<Bytes>)> {
    let [cursor, elements] = <[Reply; 2]>::try_from(list(reply)?).ok()?;
    Some((string(cursor)?, strings(elements)?))
}

/// Names and what stands behind each, as commands like XINFO answer them.
#[derive(Debug, Default, PartialEq)]
pub(in crate::verify) struct Fields(Vec<(Bytes, Reply)>);

impl Fields {
    /// The fields of an array.
    pub(in crate::verify) fn of(reply: Reply) -> Option<Fields> {
        let (mut flat, mut fields) = (list(reply)?.into_iter(), Vec::new());
        while let Some(name) = flat.next() {
            fields.push((string(name)?, flat.next()?));
        }
        Some(Fields(fields))
    }

    /// What stands behind a name.
    pub(in crate::verify) fn get(&self, name: &str) -> Option<&Reply> {
        let mut found = self.0.iter().filter(|(of, _)| of == name);
        found.next().map(|(_, value)| value)
    }

    /// A string.
    pub(in crate::verify) fn text(&self, name: &str) -> Option<Bytes> {
        string(self.get(name)?.clone())
    }

    /// An integer.
    pub(in crate::verify) fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Reply::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// An integer that is not negative.
    pub(in crate::verify) fn number(&self, name: &str) -> Option<u64> {
        number(self.get(name)?)
    }

    /// The id of an entry.
    pub(in crate::verify) fn id(&self, name: &str) -> Option<StreamId> {
        StreamId::parse(&self.text(name)?)
    }
}

/// What TIME answers.
pub(in crate::verify) fn time(reply: Reply) -> Option<UnixMs> {
    let [seconds, micros] = <[Bytes; 2]>::try_from(strings(reply)?).ok()?;
    let number = |text: Bytes| std::str::from_utf8(&text).ok()?.parse().ok();
    Some(unix_ms(number(seconds)?, number(micros)?))
}

/// The type that TYPE calls so. Types of modules have names of their own.
pub(in crate::verify) fn named_type(name: &[u8]) -> Option<KeyType> {
    if name == b"none" {
        return None;
    }
    let known = KeyType::ALL
        .into_iter()
        .find(|of| of.name().as_bytes() == name);
    Some(known.unwrap_or(KeyType::Module))
}

/// A double as servers print it.
pub(in crate::verify) fn double(bytes: &[u8]) -> Option<f64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_read_as_servers_print_them() {
        for (text, value) in [
            ("3", 3.0),
            ("1.1000000000000001", 1.1),
            ("-inf", f64::NEG_INFINITY),
            ("1e+17", 1e17),
        ] {
            assert_eq!(double(text.as_bytes()), Some(value));
        }
    }

    #[test]
    fn what_is_not_expected_is_none() {
        let word = |word: &'static str| Reply::Bulk(Some(word.into()));
        let array = |elements| Reply::Array(Some(elements));
        let cursor = || array(vec![word("0"), array(vec![word("a")])]);
        assert_eq!(page(cursor()), Some(("0".into(), vec!["a".into()])));
        assert_eq!(page(array(vec![word("0")])), None);
        assert_eq!(strings(array(vec![Reply::Bulk(None)])), None);
        assert_eq!(Fields::of(array(vec![word("a")])), None);
        assert_eq!(time(array(vec![word("5"), word("7000")])), Some(5007));
        assert_eq!(time(array(vec![word("5"), word("x")])), None);
        assert_eq!(time(array(vec![word("5")])), None);
        assert_eq!(number(&Reply::Int(-1)), None);
        assert_eq!(nullable(Reply::Bulk(None)), Some(None));
        assert_eq!(list(Reply::Array(None)), None);
    }
}
