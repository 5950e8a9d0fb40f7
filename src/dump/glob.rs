//! Patterns of key names as KEYS and SCAN take them.

/// A pattern: `*` any bytes, `?` one byte, `[a-z]` one of these, `[^a-z]` none of these, `\x` the
/// byte itself.
///
/// Source: redis `util.c` `stringmatchlen`. A bracket that is not closed ends with the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Byte(u8),
    Class {
        ranges: Vec<(u8, u8)>,
        negated: bool,
    },
}

impl Token {
    /// Whether it matches this one byte; [`Token::Any`] is not asked.
    fn matches(&self, byte: u8) -> bool {
        match self {
            Token::Any | Token::One => true,
            Token::Byte(own) => *own == byte,
            Token::Class { ranges, negated } => {
                let inside = |(low, high): &(u8, u8)| (*low..=*high).contains(&byte);
                ranges.iter().any(inside) != *negated
            }
        }
    }
}

impl Glob {
    /// Reads a pattern; every text is one.
    pub(super) fn new(pattern: &[u8]) -> Glob {
        let mut tokens = Vec::new();
        let mut bytes = pattern.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                // Stars in a row mean what one means.
                b'*' if tokens.last() == Some(&Token::Any) => continue,
                b'*' => Token::Any,
                b'?' => Token::One,
                b'[' => class(&mut bytes),
                b'\\' => Token::Byte(bytes.next().unwrap_or(b'\\')),
                byte => Token::Byte(byte),
            });
        }
        Glob(tokens)
    }

    /// Whether it matches the whole of `text`, in time linear in both for each star.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on when what follows the last star did not match.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() || token < self.0.len() {
            match (self.0.get(token), text.get(at)) {
                (Some(Token::Any), _) => {
                    star = Some((token, at));
                    token += 1;
                }
                (Some(one), Some(byte)) if one.matches(*byte) => {
                    token += 1;
                    at += 1;
                }
                _ => match star {
                    Some((after, from)) if from < text.len() => {
                        star = Some((after, from + 1));
                        token = after + 1;
                        at = from + 1;
                    }
                    _ => return false,
                },
            }
        }
        true
    }
}

/// Reads what stands behind an opening bracket.
fn class(bytes: &mut std::iter::Peekable<impl Iterator<Item = u8>>) -> Token {
    let negated = bytes.next_if_eq(&b'^').is_some();
    let mut ranges = Vec::new();
    while let Some(byte) = bytes.next() {
        let low = match byte {
            b']' => break,
            b'\\' => bytes.next().unwrap_or(b'\\'),
            byte => byte,
        };
        if bytes.next_if_eq(&b'-').is_none() {
            ranges.push((low, low));
            continue;
        }
        match bytes.next() {
            Some(high) => ranges.push((low.min(high), low.max(high))),
            None => ranges.extend([(low, low), (b'-', b'-')]),
        }
    }
    Token::Class { ranges, negated }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_servers_do() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("user:*", "user:1", true),
            ("user:*", "user", false),
            ("*:name", "user:1:name", true),
            ("a*b*c", "a123b456b7c", true),
            ("a*b*c", "a123b456b7", false),
            ("**a", "ba", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-", "h-", true),
            ("h[ab", "hb", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
        ] {
            let glob = Glob::new(pattern.as_bytes());
            assert_eq!(glob.matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let glob = Glob::new("a*".repeat(50).as_bytes());
        assert!(!glob.matches(&b"a".repeat(49)));
        let glob = Glob::new(format!("{}b", "a*".repeat(50)).as_bytes());
        assert!(!glob.matches(&b"a".repeat(10_000)));
    }
}
