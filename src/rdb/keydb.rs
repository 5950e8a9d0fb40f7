//! What KeyDB writes beside the data of Redis.
//!
//! Members of sets and sorted sets and fields of hashes can expire there. That stands behind the
//! record of the key, in pairs of AUX fields:
//!
//! ```text
//! keydb-subexpire-key   the member
//! keydb-subexpire-when  its absolute expiry, ms as decimal text
//! ```
//!
//! Its other AUX fields (`mvcc-tstamp`, `repl-masters`) say nothing about the data.

use bytes::Bytes;

use super::cursor::Flaw;
use super::event::Event;

const MEMBER: &[u8] = b"keydb-subexpire-key";
const NO_TIME: &str = "the expiry of a member says no time";
const WHEN: &[u8] = b"keydb-subexpire-when";

/// Whose members may expire in what follows.
#[derive(Debug, Default)]
pub(crate) struct MemberExpiry {
    key: Option<Bytes>,
    member: Option<Bytes>,
}

impl MemberExpiry {
    /// The record of a key ended: what follows may say something about its members. `None` where no
    /// key stands before what follows. Half a pair before that is refused.
    pub(crate) fn follow(&mut self, key: Option<Bytes>) -> Result<(), Flaw> {
        self.key = key;
        match self.member.take() {
            None => Ok(()),
            Some(_) => Err(Flaw(NO_TIME)),
        }
    }

    /// Takes an AUX field: one of KeyDB's becomes an event with the second of the pair, any other
    /// one is an event itself.
    pub(crate) fn aux(&mut self, name: Bytes, value: Bytes) -> Result<Option<Event>, Flaw> {
        if name.eq_ignore_ascii_case(MEMBER) {
            return match self.member.replace(value) {
                None => Ok(None),
                Some(_) => Err(Flaw(NO_TIME)),
            };
        }
        if !name.eq_ignore_ascii_case(WHEN) {
            return Ok(Some(Event::Aux { name, value }));
        }
        let time = std::str::from_utf8(&value).ok();
        let Some(expire_at_ms) = time.and_then(|time| time.parse().ok()) else {
            return Err(Flaw("the expiry of a member is not a number"));
        };
        match (self.key.clone(), self.member.take()) {
            (Some(key), Some(member)) => Ok(Some(Event::MemberExpiry {
                key,
                member,
                expire_at_ms,
            })),
            _ => Err(Flaw("the expiry of a member names no member of a key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_belong_to_the_key_before_them() {
        let mut expiry = MemberExpiry::default();
        expiry.follow(Some("k".into())).unwrap();
        for (member, time) in [("a", "5"), ("b", "-7")] {
            assert_eq!(expiry.aux(MEMBER.into(), member.into()), Ok(None));
            let other = Event::Aux {
                name: "mvcc-tstamp".into(),
                value: "1".into(),
            };
            let taken = expiry.aux("mvcc-tstamp".into(), "1".into());
            assert_eq!(taken, Ok(Some(other)));
            let expected = Event::MemberExpiry {
                key: "k".into(),
                member: member.into(),
                expire_at_ms: time.parse().unwrap(),
            };
            assert_eq!(expiry.aux(WHEN.into(), time.into()), Ok(Some(expected)));
        }
    }

    #[test]
    fn a_half_is_refused_by_whatever_follows() {
        for next in [None, Some("other")] {
            let mut expiry = MemberExpiry::default();
            expiry.follow(Some("k".into())).unwrap();
            assert_eq!(expiry.aux(MEMBER.into(), "a".into()), Ok(None));
            assert!(expiry.follow(next.map(Bytes::from)).is_err());
        }
    }

    #[test]
    fn halves_and_strays_are_refused() {
        for (name, key, fields) in [
            ("no key", None, &[(MEMBER, "a"), (WHEN, "5")][..]),
            ("no member", Some("k"), &[(WHEN, "5")]),
            ("no time", Some("k"), &[(MEMBER, "a"), (MEMBER, "b")]),
            ("no number", Some("k"), &[(MEMBER, "a"), (WHEN, "soon")]),
        ] {
            let mut expiry = MemberExpiry::default();
            expiry.follow(key.map(Bytes::from)).unwrap();
            let mut taken = fields
                .iter()
                .map(|(field, value)| expiry.aux((*field).into(), (*value).into()));
            assert!(taken.any(|taken| taken.is_err()), "{name}");
        }
    }
}
