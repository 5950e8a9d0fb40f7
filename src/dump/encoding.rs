//! What a server that has loaded an RDB calls the encodings of its values.

use crate::rdb::{Family, ValueType};

/// The longest string that servers keep in one piece with its header.
pub(super) const EMBSTR_BYTES_MAX: usize = 44;
/// The longest text of a 64-bit integer.
const INT_BYTES_MAX: usize = 20;

/// The name of the encoding that a value of this type was written in, in the words of OBJECT
/// ENCODING; `None` for strings, where the content decides ([`string_encoding`]).
///
/// A list of type 18 is a `quicklist`, also where it is so small that a server keeps it as a
/// `listpack`: the type byte does not tell.
pub fn encoding_name(value_type: ValueType) -> Option<&'static str> {
    Some(match value_type.byte {
        20.. if value_type.family == Family::Dragonfly => "raw",
        0 => return None,
        1 => "linkedlist",
        14 | 18 => "quicklist",
        10 | 12 | 13 => "ziplist",
        9 => "zipmap",
        11 => "intset",
        3 | 5 => "skiplist",
        2 | 4 | 22 | 24 => "hashtable",
        16 | 17 | 20 => "listpack",
        30 => "listpack",
        32 => "hashtable",
        23 | 25 => "listpackex",
        _ if value_type.is_stream() => "stream",
        _ => "raw",
    })
}

/// The encoding that a server keeps a string in (redis object.c tryObjectEncoding).
pub fn string_encoding(bytes: &[u8]) -> &'static str {
    if bytes.len() > EMBSTR_BYTES_MAX {
        return "raw";
    }
    let text = (bytes.len() <= INT_BYTES_MAX).then(|| std::str::from_utf8(bytes).ok());
    let int = text.flatten().and_then(|text| text.parse::<i64>().ok());
    match int {
        // A leading zero or plus is text.
        Some(int) if itoa::Buffer::new().format(int).as_bytes() == bytes => "int",
        _ => "embstr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_encoded_by_their_content() {
        for (bytes, name) in [
            (&b""[..], "embstr"),
            (b"0", "int"),
            (b"-7", "int"),
            (b"9223372036854775807", "int"),
            (b"9223372036854775808", "embstr"),
            (b"-9223372036854775808", "int"),
            (b"007", "embstr"),
            (b"+1", "embstr"),
            (b"-0", "embstr"),
            (b"1 ", "embstr"),
            (&[b'a'; 44], "embstr"),
            (&[b'1'; 45], "raw"),
        ] {
            assert_eq!(string_encoding(bytes), name, "{}", bytes.escape_ascii());
        }
    }
}
