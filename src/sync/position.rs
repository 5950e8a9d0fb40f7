//! Where in a replication history something stands.

use std::{fmt, str::FromStr};

/// The name of a replication history: 40 hexadecimal digits, in lower case.
///
/// Servers compare it in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Replid([u8; 40]);

/// Text that is not a replid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a replid has 40 hexadecimal digits")]
pub struct ReplidError;

impl TryFrom<&[u8]> for Replid {
    type Error = ReplidError;

    fn try_from(text: &[u8]) -> Result<Replid, ReplidError> {
        let mut digits: [u8; 40] = text.try_into().map_err(|_| ReplidError)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(ReplidError);
        }
        digits.make_ascii_lowercase();
        Ok(Replid(digits))
    }
}

impl FromStr for Replid {
    type Err = ReplidError;

    fn from_str(text: &str) -> Result<Replid, ReplidError> {
        Replid::try_from(text.as_bytes())
    }
}

impl fmt::Display for Replid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Replid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many bytes of a history have passed: everything up to and including this byte.
///
/// The first byte of a history is number 1. Whether an offset is the received, the parsed, the
/// applied or the acknowledged one is said by the name of what holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReplOffset(u64);

impl ReplOffset {
    /// The offset that a server calls `bytes`.
    pub const fn new(bytes: u64) -> ReplOffset {
        ReplOffset(bytes)
    }

    /// The number as servers write it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Where the stream stands after `bytes` more of it.
    pub const fn after(self, bytes: u64) -> ReplOffset {
        ReplOffset(self.0.saturating_add(bytes))
    }

    /// The number of the first byte behind it, which is what PSYNC asks for.
    pub const fn first_wanted(self) -> u64 {
        self.0.saturating_add(1)
    }
}

impl fmt::Display for ReplOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a history: what a partial resync continues from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub replid: Replid,
    /// The last byte that was seen of it.
    pub offset: ReplOffset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.replid, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replid_is_forty_hexadecimal_digits_in_any_case() {
        let lower = "f1201b72a276aa8b04f1f574320a89b9e3b67da5";
        let replid: Replid = lower.parse().unwrap();
        assert_eq!(replid.to_string(), lower);
        assert_eq!(lower.to_uppercase().parse(), Ok(replid));
        for bad in ["", "?", &lower[1..], &format!("{lower}0"), &"g".repeat(40)] {
            assert_eq!(bad.parse::<Replid>(), Err(ReplidError), "{bad}");
        }
    }

    #[test]
    fn offsets_count_bytes_and_ask_for_the_next_one() {
        let snapshot = ReplOffset::new(50);
        let applied = snapshot.after(14);
        assert_eq!((applied.get(), applied.first_wanted()), (64, 65));
        assert_eq!(ReplOffset::new(u64::MAX).after(1).first_wanted(), u64::MAX);
    }
}
