//! Keys and other foreign bytes in a form that is safe to print.

use std::fmt;

/// The longest piece of foreign bytes that a message shows.
const SHOWN_BYTES_MAX: usize = 128;

/// Displays foreign bytes as quoted, escaped, cut ASCII: `"user:\x00\xff"`.
///
/// The form is the one `redis-cli` prints, so it can be pasted back into it. What is longer than
/// 128 bytes is cut and followed by the full length: `"aaaa"... (4096 bytes)`.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN_BYTES_MAX).unwrap_or(self.0);
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_bytes_escaped_and_cut() {
        let long = vec![b'a'; 4096];
        let cut = format!("\"{}\"... (4096 bytes)", "a".repeat(128));
        for (name, bytes, shown) in [
            ("empty", &b""[..], "\"\""),
            ("text", b"user:1", "\"user:1\""),
            ("binary", b"a\x00\xff\n\"", "\"a\\x00\\xff\\n\\\"\""),
            ("long", &long, &cut),
        ] {
            assert_eq!(Escaped(bytes).to_string(), shown, "{name}");
        }
    }
}
