//! What a source can continue: its histories, and the bytes of them that it still has.

use std::fmt;

use super::{Position, Replid};
use crate::resp::Info;

/// What INFO says of the histories and of the backlog of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    replid: Replid,
    /// The history before the last failover, and the first offset that is not shared with it.
    replid2: Option<(Replid, u64)>,
    /// The number of the first byte that it has; `None` without a backlog.
    first: Option<u64>,
    /// The number of the last byte.
    last: u64,
}

/// Why a stream cannot be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The source has another history.
    History {
        /// The one it has.
        has: Replid,
        /// The one that would be continued.
        wanted: Replid,
    },
    /// There is no backlog: the source has had no replica for longer than `repl-backlog-ttl`, or
    /// was started anew.
    NoBacklog,
    /// The backlog begins too late.
    Bytes {
        /// How many bytes of the stream are missing.
        missing: u64,
    },
    /// The source has not come so far: it lost what it had sent.
    Ahead {
        /// How many bytes it is short of.
        short: u64,
    },
    /// It does not say; its user may not read INFO.
    Untold,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::History { has, wanted } => write!(
                f,
                "its history is {has} by now, and the one to be continued is {wanted}"
            ),
            Gap::NoBacklog => f.write_str("it has no backlog"),
            Gap::Bytes { missing } => write!(
                f,
                "{missing} bytes of the stream are missing: its backlog does not reach back that far"
            ),
            Gap::Ahead { short } => write!(
                f,
                "it has lost {short} bytes that it had sent: it was restarted with older data"
            ),
            Gap::Untold => f.write_str(
                "it has another history by now, or its backlog does not reach back that far",
            ),
        }
    }
}

impl Backlog {
    /// Reads `INFO replication`; `None` when a number is missing (before Redis 4.0).
    pub fn of(info: &Info) -> Option<Backlog> {
        let replid = |name| info.get(name)?.parse::<Replid>().ok();
        let first = match info.get("repl_backlog_active")? {
            "1" => Some(info.number("repl_backlog_first_byte_offset")?),
            _ => None,
        };
        // Without a history before, the offset is -1.
        let second = info.number("second_repl_offset");
        Some(Backlog {
            replid: replid("master_replid")?,
            replid2: replid("master_replid2").zip(second),
            first,
            last: info.number("master_repl_offset")?,
        })
    }

    /// What lies between `from` and what the source has; `None` when it can continue there.
    ///
    /// The rule is `masterTryPartialResync` of replication.c.
    pub fn gap(&self, from: Position) -> Option<Gap> {
        let wanted = from.offset.first_wanted();
        let shared = self
            .replid2
            .is_some_and(|(replid, end)| from.replid == replid && wanted <= end);
        if from.replid != self.replid && !shared {
            return Some(Gap::History {
                has: self.replid,
                wanted: from.replid,
            });
        }
        let Some(first) = self.first else {
            return Some(Gap::NoBacklog);
        };
        if wanted < first {
            let missing = first - wanted;
            return Some(Gap::Bytes { missing });
        }
        let short = wanted.saturating_sub(self.last + 1);
        (short > 0).then_some(Gap::Ahead { short })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::ReplOffset;

    const NOW: &str = "f1201b72a276aa8b04f1f574320a89b9e3b67da5";
    const BEFORE: &str = "8ef32c3c6f6ab4c8d0a0a9ed43cbd5cd1e9b3b9a";
    const OTHER: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn gaps_are_what_the_server_would_refuse() {
        let text = format!(
            "role:master\r\nmaster_replid:{NOW}\r\nmaster_replid2:{BEFORE}\r\n\
             master_repl_offset:500\r\nsecond_repl_offset:301\r\nrepl_backlog_active:1\r\n\
             repl_backlog_first_byte_offset:201\r\n"
        );
        let backlog = Backlog::of(&Info::parse(&text)).unwrap();
        let id = |text: &str| text.parse::<Replid>().unwrap();
        let (now, before, other) = (id(NOW), id(BEFORE), id(OTHER));
        for (replid, offset, gap) in [
            (now, 500, None),
            (now, 200, None),
            (now, 199, Some(Gap::Bytes { missing: 1 })),
            (now, 0, Some(Gap::Bytes { missing: 200 })),
            (now, 510, Some(Gap::Ahead { short: 10 })),
            (before, 300, None),
            (
                before,
                301,
                Some(Gap::History {
                    has: now,
                    wanted: before,
                }),
            ),
            (
                other,
                300,
                Some(Gap::History {
                    has: now,
                    wanted: other,
                }),
            ),
        ] {
            let from = Position {
                replid,
                offset: ReplOffset::new(offset),
            };
            assert_eq!(backlog.gap(from), gap, "{from}");
        }
    }

    #[test]
    fn a_server_without_a_backlog_continues_nothing() {
        let text = format!(
            "master_replid:{NOW}\r\nmaster_replid2:{OTHER}\r\nmaster_repl_offset:500\r\n\
             second_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_first_byte_offset:0\r\n"
        );
        let backlog = Backlog::of(&Info::parse(&text)).unwrap();
        let offset = ReplOffset::new(500);
        let replid = NOW.parse().unwrap();
        assert_eq!(
            backlog.gap(Position { replid, offset }),
            Some(Gap::NoBacklog)
        );
        assert_eq!(Backlog::of(&Info::parse("role:master\r\n")), None);
    }
}
