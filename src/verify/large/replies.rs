//! What replies hold; `None` for what a command does not answer.

use bytes::Bytes;

use crate::{keyspace::StreamId, resp::Reply};

/// A string that is there.
pub(super) fn string(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(Some(bytes)) | Reply::Simple(bytes) => Some(bytes),
        _ => None,
    }
}

/// A string that may not be there.
pub(super) fn nullable(reply: Reply) -> Option<Option<Bytes>> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

/// The elements of an array.
pub(super) fn list(reply: Reply) -> Option<Vec<Reply>> {
    match reply {
        Reply::Array(elements) => elements,
        _ => None,
    }
}

/// The strings of an array.
pub(super) fn strings(reply: Reply) -> Option<Vec<Bytes>> {
    list(reply)?.into_iter().map(string).collect()
}

/// An integer that is not negative.
pub(super) fn number(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

/// A cursor, and the elements of a page.
pub(super) fn page(reply: Reply) -> Option<(Bytes, Vec<Bytes>)> {
    let [cursor, elements] = <[Reply; 2]>::try_from(list(reply)?).ok()?;
    Some((string(cursor)?, strings(elements)?))
}

/// Names and what stands behind each.
pub(super) fn fields(reply: Reply) -> Option<Vec<(Bytes, Reply)>> {
    let (mut flat, mut fields) = (list(reply)?.into_iter(), Vec::new());
    while let Some(name) = flat.next() {
        fields.push((string(name)?, flat.next()?));
    }
    Some(fields)
}

/// The id of an entry.
pub(super) fn stream_id(bytes: &[u8]) -> Option<StreamId> {
    let (ms, seq) = std::str::from_utf8(bytes).ok()?.split_once('-')?;
    Some(StreamId {
        ms: ms.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}

/// A double as servers print it.
pub(super) fn double(bytes: &[u8]) -> Option<f64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_doubles_are_read_as_servers_print_them() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        assert_eq!(stream_id(b"5-0"), id(5, 0));
        assert_eq!(stream_id(b"18446744073709551615-1"), id(u64::MAX, 1));
        for odd in [&b"5"[..], b"5-", b"-5", b"5-x", b"\xff-1"] {
            assert_eq!(stream_id(odd), None);
        }
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
        assert_eq!(fields(array(vec![word("a")])), None);
        assert_eq!(number(&Reply::Int(-1)), None);
        assert_eq!(nullable(Reply::Bulk(None)), Some(None));
        assert_eq!(list(Reply::Array(None)), None);
    }
}
