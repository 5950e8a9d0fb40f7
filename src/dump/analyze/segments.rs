//! Cuts keys into the segments of their prefixes.
//!
//! ```text
//!  user:8812:session:5f0c…  ->  user:  *:  session:  *
//! ```

/// The longest segment that is told apart by all its bytes; of a longer one the beginning counts.
const SEGMENT_BYTES_MAX: usize = 64;
/// How long something hexadecimal must be to be an id.
const HEX_MIN: usize = 8;
/// How long, and how mixed, letters and digits must be to be an id.
const TOKEN_MIN: usize = 16;
const TOKEN_CHANGES_MIN: usize = 4;
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
const UUID_LEN: usize = 36;

/// How keys are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segmenting {
    /// The bytes behind which a key is cut. A segment has its separator at its end.
    pub separators: Vec<u8>,
    /// Segments that are ids count as `*`.
    pub collapse: bool,
}

impl Segmenting {
    /// The segments of a key, which together are the key, except for what was collapsed or cut.
    pub(super) fn segments<'a>(&self, key: &'a [u8]) -> impl Iterator<Item = Segment<'a>> {
        key.split_inclusive(|byte| self.separators.contains(byte))
            .map(|segment| {
                let (text, separator) = match segment.split_last() {
                    Some((last, text)) if self.separators.contains(last) => (text, Some(*last)),
                    _ => (segment, None),
                };
                self.collapsed(text, separator)
            })
    }

    fn collapsed<'a>(&self, text: &'a [u8], separator: Option<u8>) -> Segment<'a> {
        // A hash tag keeps its braces.
        let inner = text
            .strip_prefix(b"{")
            .and_then(|text| text.strip_suffix(b"}"));
        let (kept, any) = match (inner, text.get(..SEGMENT_BYTES_MAX)) {
            (Some(inner), _) if self.collapse && is_id(inner) => return Segment::tag(separator),
            (None, _) if self.collapse && is_id(text) => (&text[..0], true),
            (_, Some(kept)) if kept.len() < text.len() => (kept, true),
            _ => (text, false),
        };
        Segment {
            text: kept,
            end: if any { b"*" } else { b"" },
            separator,
        }
    }
}

/// One segment of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    text: &'a [u8],
    /// `*` for what the text does not say.
    end: &'static [u8],
    separator: Option<u8>,
}

impl Segment<'_> {
    fn tag(separator: Option<u8>) -> Self {
        Segment {
            text: b"",
            end: b"{*}",
            separator,
        }
    }

    /// Writes its name into a buffer, which is emptied first.
    pub(super) fn write(&self, name: &mut Vec<u8>) {
        name.clear();
        name.extend_from_slice(self.text);
        name.extend_from_slice(self.end);
        name.extend(self.separator);
    }
}

/// Whether a segment looks like one of many ids: a number, a date, an address, a UUID, something
/// hexadecimal, a random token.
fn is_id(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return false;
    }
    let is_number = || {
        text.iter()
            .all(|byte| byte.is_ascii_digit() || b".-_+".contains(byte))
    };
    is_number() || is_hex(text) || is_uuid(text) || is_token(text)
}

fn is_hex(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    text.len() >= HEX_MIN && text.iter().all(u8::is_ascii_hexdigit)
}

fn is_uuid(text: &[u8]) -> bool {
    let mut bytes = text.iter().enumerate();
    text.len() == UUID_LEN
        && bytes.all(|(at, byte)| match UUID_DASHES.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

/// Names have their digits in one place, random tokens anywhere.
fn is_token(text: &[u8]) -> bool {
    let changes = text
        .windows(2)
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    text.len() >= TOKEN_MIN
        && changes >= TOKEN_CHANGES_MIN
        && text.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(separators: &str, collapse: bool, key: &[u8]) -> Vec<String> {
        let segmenting = Segmenting {
            separators: separators.into(),
            collapse,
        };
        let mut name = Vec::new();
        let segments = segmenting.segments(key).map(|segment| {
            segment.write(&mut name);
            name.escape_ascii().to_string()
        });
        segments.collect()
    }

    #[test]
    fn keys_are_cut_behind_separators() {
        for (separators, key, segments) in [
            (":", "user:123:name", &["user:", "*:", "name"][..]),
            (":", "user", &["user"]),
            (":", "", &[]),
            (":", ":", &[":"]),
            (":", "a::b:", &["a:", ":", "b:"]),
            (":/", "a/b:c", &["a/", "b:", "c"]),
            ("", "a:7", &["a:7"]),
            (":", "{42}:cart", &["{*}:", "cart"]),
            (":", "{user}:cart", &["{user}:", "cart"]),
            (":", "a\u{0}:7", &["a\\x00:", "*"]),
        ] {
            assert_eq!(cut(separators, true, key.as_bytes()), segments, "{key}");
        }
        let whole = ["user:", "123:", "name"];
        assert_eq!(cut(":", false, b"user:123:name"), whole);
        let long = [b"a".repeat(100), b":b".to_vec()].concat();
        let cut_off = [format!("{}*:", "a".repeat(64)), "b".into()];
        assert_eq!(cut(":", false, &long), cut_off);
    }

    #[test]
    fn ids_are_told_from_names() {
        for id in [
            "0",
            "123",
            "-5",
            "3.14",
            "2024-11-02",
            "10.0.0.7",
            "deadbee5",
            "0xDEADBEEF0",
            "d41d8cd98f00b204e9800998ecf8427e",
            "9f1c2d3e-4b5a-6978-8a9b-0c1d2e3f4a5b",
            "Zk3Jd8sPq0aLmN2x",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ] {
            assert!(is_id(id.as_bytes()), "{id}");
        }
        for name in [
            "",
            "-",
            "user",
            "v1",
            "page12",
            "deadbeef",
            "facade",
            "md5",
            "a1b2c3",
            "configuration2024x01",
            "utf8mb4_general_ci",
            "9f1c2d3e-4b5a-6978-8a9b-0c1d2e3f4a5z",
        ] {
            assert!(!is_id(name.as_bytes()), "{name}");
        }
    }
}
