//! Names of keys and prefixes as text.

use std::fmt;

use serde::{Serialize, Serializer};

/// The longest name that is kept whole, in bytes; the report says how long a longer one is.
const KEPT_BYTES_MAX: usize = 1024;

/// A name made of foreign bytes.
///
/// Its text has printable characters as they are, a backslash as `\\`, and any other byte as `\xNN`,
/// so it is safe to print and says which bytes the name has. A name that was cut ends with `…` and
/// its length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name {
    bytes: Vec<u8>,
    /// The whole length, where that is more than what is kept.
    cut_len: Option<usize>,
}

impl Name {
    /// Copies a name, or its beginning where it is very long.
    pub fn of(bytes: &[u8]) -> Name {
        let kept = bytes.get(..KEPT_BYTES_MAX).unwrap_or(bytes);
        Name {
            bytes: kept.to_vec(),
            cut_len: (kept.len() < bytes.len()).then_some(bytes.len()),
        }
    }

    /// The text, with no more than `chars` characters of it.
    pub(super) fn short(&self, chars: usize) -> String {
        let text = self.to_string();
        match text.char_indices().nth(chars) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            for char in chunk.valid().chars() {
                // What Rust would escape is invisible, moves the text around it, or is a quote.
                let plain = matches!(char, '"' | '\'') || char.escape_debug().eq([char]);
                match char {
                    '\\' => f.write_str("\\\\")?,
                    _ if plain => fmt::Write::write_char(f, char)?,
                    _ => escape(f, char.encode_utf8(&mut [0; 4]).as_bytes())?,
                }
            }
            escape(f, chunk.invalid())?;
        }
        match self.cut_len {
            Some(len) => write!(f, "… ({len} bytes)"),
            None => Ok(()),
        }
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_safely() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"user:1", "user:1"),
            ("clé:日本".as_bytes(), "clé:日本"),
            (b"a\\x00", "a\\\\x00"),
            (b"a\x00\xff\n", "a\\x00\\xff\\x0a"),
            (b"\x1b[31m", "\\x1b[31m"),
            // A right-to-left override would turn around what follows.
            ("\u{202e}abc".as_bytes(), "\\xe2\\x80\\xaeabc"),
            (b"'\"<b>", "'\"<b>"),
        ] {
            assert_eq!(Name::of(bytes).to_string(), text);
        }
    }

    #[test]
    fn long_names_are_cut() {
        let name = Name::of(&[b'a'; 5000]);
        assert_eq!(
            name.to_string(),
            format!("{}… (5000 bytes)", "a".repeat(1024))
        );
        assert_eq!(name.short(3), "aaa…");
        assert_eq!(Name::of(b"abc").short(3), "abc");
    }
}
