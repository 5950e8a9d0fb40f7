//! What servers call the encodings of values.
//!
//! The type byte tells the encoding that a collection was written in. Strings and lists are the
//! exceptions: how a server keeps them depends on the server, and on their size. That rule is the
//! one by which memory is estimated ([`MemoryModel`]).

use crate::rdb::{Event, Family, ValueType};

use super::analyze::{Allocator, MemoryModel, SavedBy};

/// The longest text of a 64-bit integer.
const INT_BYTES_MAX: usize = 20;

/// The name of the encoding that a value of this type was written in, in the words of OBJECT
/// ENCODING; `None` for strings, where the content decides.
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

/// The integer that a text spells as a server would print it, which servers keep as such (redis
/// util.c string2ll).
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    if text.len() > INT_BYTES_MAX {
        return None;
    }
    let int: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // A leading zero or plus is text.
    (itoa::Buffer::new().format(int).as_bytes() == text).then_some(int)
}

/// How the server that wrote an RDB keeps its strings and lists.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    saved_by: SavedBy,
    model: Option<MemoryModel>,
}

/// The name and expiry of a key, as far as they decide how its value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Holder {
    /// The length of the name in bytes.
    pub(super) key_len: u64,
    /// Whether the key expires.
    pub(super) expires: bool,
}

impl Encodings {
    /// Takes note of what tells the server, which stands in front of the first key.
    pub(super) fn event(&mut self, event: &Event) {
        if let Event::Aux { name, value } = event {
            self.saved_by.aux(name, value);
        }
    }

    fn model(&mut self) -> &MemoryModel {
        let saved_by = &self.saved_by;
        self.model
            .get_or_insert_with(|| saved_by.model(None, Allocator::Jemalloc))
    }

    /// The encoding of a string.
    pub(super) fn string(&mut self, holder: Holder, bytes: &[u8]) -> &'static str {
        match integer(bytes) {
            Some(_) => "int",
            None => self.text(holder, bytes.len() as u64),
        }
    }

    /// The encoding of a string of this length that is no integer.
    pub(super) fn text(&mut self, Holder { key_len, expires }: Holder, len: u64) -> &'static str {
        self.model().text_encoding(key_len, len, expires)
    }

    /// The encoding of a list that consists of this one packed node.
    pub(super) fn packed_list(&mut self) -> &'static str {
        self.model().packed_list_encoding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encodings(field: &'static str, version: &'static str) -> Encodings {
        let mut encodings = Encodings::default();
        encodings.event(&Event::Aux {
            name: field.into(),
            value: version.into(),
        });
        encodings
    }

    #[test]
    fn strings_are_encoded_by_their_content() {
        let mut encodings = encodings("redis-ver", "7.2.6");
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
            let found = encodings.string(Holder::default(), bytes);
            assert_eq!(found, name, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_server_decides_how_long_an_embedded_string_is() {
        for (field, version, key_len, expires, longest) in [
            ("redis-ver", "6.2.14", 8, false, 44),
            ("redis-ver", "6.2.14", 500, true, 44),
            ("redis-ver", "8.6.3", 8, false, 33),
            ("redis-ver", "8.6.3", 8, true, 25),
            ("valkey-ver", "9.1.2", 8, false, 105),
        ] {
            let mut encodings = encodings(field, version);
            let holder = Holder { key_len, expires };
            for (len, name) in [(longest, "embstr"), (longest + 1, "raw")] {
                assert_eq!(encodings.text(holder, len), name, "{version} {len}");
            }
        }
    }

    #[test]
    fn small_lists_are_listpacks_from_7_2_on() {
        for (version, name) in [("7.0.15", "quicklist"), ("7.2.6", "listpack")] {
            assert_eq!(encodings("redis-ver", version).packed_list(), name);
        }
    }
}
