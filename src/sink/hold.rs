//! Expiries that are held while the target is behind.
//!
//! A replica keeps an expired key until its primary deletes it; the target of a migration is a
//! primary and does not. A key whose TTL the source renews while we are behind would be gone
//! before the renewal arrives. So every expiry is written shifted far ahead by a constant, and
//! shifted back ("released") once the stream has caught up. From then on only expiries that come
//! soon are held, or still all of them; the source's DEL or renewal decides about those.
//!
//! ```text
//!  0            2^46 ms (year 4199)      2^47 ms (year 6429)         2^47 + 2^46 ms
//!  |---- true ----|--- never shifted ------|-------- held --------------|--- never shifted ->
//! ```
//!
//! The ranges do not overlap, so whether an expiry is held can be read from the expiry alone,
//! by anyone, after any crash. (A true expiry between the years 6429 and 8658 would be mistaken
//! for a held one.)
//!
//! Expiries of hash fields have a scale of their own, because HPEXPIREAT of Redis refuses 2^46 ms
//! and more (`HFE_MAX_ABS_TIME_MSEC`, redis 7.4 t_hash.c): fields are shifted by 2^45 ms, and true
//! ones from 2^44 ms (year 2527) on are not.

use crate::keyspace::UnixMs;

/// How far a held expiry is shifted.
const SHIFT_MS: UnixMs = 1 << 47;

/// True expiries from here on need no holding.
const HELD_TRUE_MAX_MS: UnixMs = 1 << 46;

/// How far a held expiry of a hash field is shifted.
const FIELD_SHIFT_MS: UnixMs = 1 << 45;

/// True expiries of hash fields from here on need no holding.
const FIELD_HELD_TRUE_MAX_MS: UnixMs = 1 << 44;

/// Which expiries stay held while the stream is followed: the source may renew a key in its last
/// moment, and its command must find the key here, however late it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldExpiries {
    /// Those that come within this time, in milliseconds.
    Within(UnixMs),
    /// All of them, to the end of the run.
    All,
}

/// Whether expiries are written as they are or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Expiries are written true.
    Released,
    /// Expiries are written shifted: the target is behind.
    Held,
    /// The target follows closely. Expiries are written true, except those that come soon.
    Following {
        /// Those before this come soon, by the clock that the expiries are made by.
        soon_until_ms: UnixMs,
    },
}

impl Hold {
    /// Whether any expiry may be written shifted.
    pub fn is_on(self) -> bool {
        self != Hold::Released
    }

    /// Whether this true expiry is to be shifted, if it can be.
    fn holds(self, expire_at_ms: UnixMs) -> bool {
        match self {
            Hold::Released => false,
            Hold::Held => true,
            Hold::Following { soon_until_ms } => expire_at_ms < soon_until_ms,
        }
    }

    /// The expiry of a key to write for a true one.
    pub fn apply(self, expire_at_ms: UnixMs) -> UnixMs {
        if self.holds(expire_at_ms) && expire_at_ms < HELD_TRUE_MAX_MS {
            return expire_at_ms.max(0) + SHIFT_MS;
        }
        expire_at_ms
    }

    /// The true expiry of a key behind a held one; `None` when it is not held.
    pub fn release(expire_at_ms: UnixMs) -> Option<UnixMs> {
        (SHIFT_MS..SHIFT_MS + HELD_TRUE_MAX_MS)
            .contains(&expire_at_ms)
            .then(|| expire_at_ms - SHIFT_MS)
    }

    /// The expiry of a hash field to write for a true one.
    pub fn apply_field(self, expire_at_ms: UnixMs) -> UnixMs {
        if self.holds(expire_at_ms) && expire_at_ms < FIELD_HELD_TRUE_MAX_MS {
            return expire_at_ms.max(0) + FIELD_SHIFT_MS;
        }
        expire_at_ms
    }

    /// The true expiry of a hash field behind a held one; `None` when it is not held.
    pub fn release_field(expire_at_ms: UnixMs) -> Option<UnixMs> {
        (FIELD_SHIFT_MS..FIELD_SHIFT_MS + FIELD_HELD_TRUE_MAX_MS)
            .contains(&expire_at_ms)
            .then(|| expire_at_ms - FIELD_SHIFT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_expiries_come_back_and_others_stay() {
        for (name, true_ms, written_ms, released) in [
            ("now", 1_795_000_000_000, 142_532_488_355_328, true),
            ("the epoch", 0, SHIFT_MS, true),
            ("before the epoch", -5, SHIFT_MS, true),
            ("year 9999", 253_402_300_799_000, 253_402_300_799_000, false),
            ("year 4200", 70_380_000_000_000, 70_380_000_000_000, false),
        ] {
            assert_eq!(Hold::Held.apply(true_ms), written_ms, "{name}");
            assert_eq!(Hold::Released.apply(true_ms), true_ms, "{name}");
            let back = Hold::release(written_ms);
            assert_eq!(back, released.then_some(true_ms.max(0)), "{name}");
        }
    }

    #[test]
    fn while_following_only_what_expires_soon_is_held() {
        let soon_until_ms = 1_795_000_000_000;
        let following = Hold::Following { soon_until_ms };
        for (name, true_ms, held) in [
            ("soon", soon_until_ms - 1, true),
            ("later", soon_until_ms, false),
        ] {
            assert_eq!(following.apply(true_ms) != true_ms, held, "{name}");
            assert_eq!(following.apply_field(true_ms) != true_ms, held, "{name}");
        }
    }

    #[test]
    fn held_expiries_of_fields_come_back_and_are_accepted_by_servers() {
        for (name, true_ms, written_ms, released) in [
            ("now", 1_795_000_000_000, 36_979_372_088_832, true),
            ("before the epoch", -5, FIELD_SHIFT_MS, true),
            ("year 2600", 19_880_899_200_000, 19_880_899_200_000, false),
        ] {
            assert_eq!(Hold::Held.apply_field(true_ms), written_ms, "{name}");
            assert_eq!(Hold::Released.apply_field(true_ms), true_ms, "{name}");
            assert!(written_ms < 1 << 46, "{name}");
            let back = Hold::release_field(written_ms);
            assert_eq!(back, released.then_some(true_ms.max(0)), "{name}");
        }
    }
}
