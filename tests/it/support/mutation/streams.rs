//! Streams: entries, counters, groups, consumers, pending entries.

use super::{Expected, Mutations, found};
use crate::support::{client::Command, version::Version};

/// How many entries: in one node, in several, more memory than `--large-key-bytes`.
const SIZES: [(&str, usize); 3] = [("few", 6), ("many", 700), ("large", 4_000)];

/// A stream of so many entries with a group, two of whose consumers have something pending.
#[derive(Clone, Copy)]
struct Stream<'k> {
    key: &'k str,
    size: usize,
}

impl Stream<'_> {
    fn make(self) -> Vec<Command> {
        let mut commands = self.entries(None);
        let half = (self.size / 2).min(1500);
        commands.push(command!["XGROUP", "CREATE", self.key, "g", "0"]);
        for (consumer, count) in [("anna", half), ("bert", half / 2)] {
            commands.push(self.read(consumer, count));
        }
        commands
    }

    /// The entries, one of them with another value.
    fn entries(self, other: Option<usize>) -> Vec<Command> {
        let entry = |n| {
            let value = match other == Some(n) {
                true => "other".to_owned(),
                false => value(n),
            };
            command!["XADD", self.key, id(n), "f", value]
        };
        (1..=self.size).map(entry).collect()
    }

    fn read(self, consumer: &str, count: usize) -> Command {
        let read = command!["XREADGROUP", "GROUP", "g", consumer, "COUNT", count];
        [read, command!["STREAMS", self.key, ">"]].concat()
    }
}

fn id(n: usize) -> String {
    format!("{}-1", 1_700_000_000_000 + n)
}

fn value(n: usize) -> String {
    format!("value:{n:06}:{}", "-".repeat(240))
}

impl Mutations {
    pub(super) fn add_streams(&mut self) {
        for (name, size) in SIZES {
            self.add_entries(name, size);
            self.add_counters(name, size);
            self.add_groups(name, size);
            self.add_pending(name, size);
        }
    }

    /// One more stream, its changes and what has to be found.
    fn stream(
        &mut self,
        (db, name): (u32, &str),
        size: usize,
        change: impl FnOnce(Stream<'_>) -> Vec<Command>,
        expected: Vec<Expected>,
    ) {
        let of = |key: &str| {
            let stream = Stream { key, size };
            (stream.make(), change(stream))
        };
        self.add((db, name), of, expected);
    }

    fn add_entries(&mut self, name: &str, size: usize) {
        let deep = size * 2 / 3;
        let (ours, theirs) = (format!("f {}", value(deep)), "f other".to_owned());
        // Without a group, whose pending entries would be made again at another time.
        self.add(
            (0, &format!("stream:entry:{name}")),
            |key| {
                let stream = Stream { key, size };
                let again = [vec![command!["DEL", key]], stream.entries(Some(deep))].concat();
                (stream.entries(None), again)
            },
            vec![found(
                "value",
                format!("entry {}", id(deep)),
                Some(ours.clone()),
                Some(theirs),
            )],
        );
        let mut missing = vec![found(
            "value",
            format!("entry {}", id(deep)),
            Some(ours),
            None,
        )];
        if self.both(|version| version.has_common(7, 0)) {
            // Deleting leaves a trace there.
            let id = id(deep);
            missing.push(found(
                "stream_counters",
                "max-deleted-id",
                Some("0-0"),
                Some(&*id),
            ));
        }
        self.stream(
            (1, &format!("stream:missing:{name}")),
            size,
            |stream| vec![command!["XDEL", stream.key, id(deep)]],
            missing,
        );
    }

    fn add_counters(&mut self, name: &str, size: usize) {
        let last = id(size);
        self.stream(
            (9, &format!("stream:last-id:{name}")),
            size,
            |stream| vec![command!["XSETID", stream.key, id(size + 1)]],
            vec![found(
                "stream_counters",
                "last-id",
                Some(id(size)),
                Some(id(size + 1)),
            )],
        );
        if !self.both(|version| version.has_common(7, 0)) {
            return;
        }
        let set = |added: usize, deleted: &str| {
            let (last, deleted) = (last.clone(), deleted.to_owned());
            move |stream: Stream<'_>| {
                let set = command!["XSETID", stream.key, last, "ENTRIESADDED", added];
                vec![[set, command!["MAXDELETEDID", deleted]].concat()]
            }
        };
        self.stream(
            (0, &format!("stream:entries-added:{name}")),
            size,
            set(size + 5, "0-0"),
            vec![found(
                "stream_counters",
                "entries-added",
                Some(size.to_string()),
                Some((size + 5).to_string()),
            )],
        );
        self.stream(
            (1, &format!("stream:max-deleted-id:{name}")),
            size,
            set(size, "5-5"),
            vec![found(
                "stream_counters",
                "max-deleted-id",
                Some("0-0"),
                Some("5-5"),
            )],
        );
    }

    fn add_groups(&mut self, name: &str, size: usize) {
        let read = (size / 2).min(1500) + (size / 2).min(1500) / 2;
        self.stream(
            (9, &format!("group:last-id:{name}")),
            size,
            |stream| vec![command!["XGROUP", "SETID", stream.key, "g", id(read + 1)]],
            vec![found(
                "group",
                "last-delivered-id of group \"g\"",
                Some(id(read)),
                Some(id(read + 1)),
            )],
        );
        let tells_reads =
            |version: &Version| version.is_redis_from(7, 4) || version.is_valkey_from(9, 0);
        if self.both(tells_reads) {
            self.stream(
                (0, &format!("group:entries-read:{name}")),
                size,
                |stream| {
                    let set = command!["XGROUP", "SETID", stream.key, "g", id(read)];
                    vec![[set, command!["ENTRIESREAD", 1]].concat()]
                },
                vec![found(
                    "group",
                    "entries-read of group \"g\"",
                    Some(read.to_string()),
                    Some("1".to_owned()),
                )],
            );
        }
        self.stream(
            (1, &format!("group:missing:{name}")),
            size,
            |stream| vec![command!["XGROUP", "DESTROY", stream.key, "g"]],
            vec![found(
                "group",
                "group \"g\"",
                Some(format!("last-delivered-id {}", id(read))),
                None,
            )],
        );
        self.stream(
            (9, &format!("group:only-on-target:{name}")),
            size,
            |stream| vec![command!["XGROUP", "CREATE", stream.key, "more", "5-5"]],
            vec![found(
                "group",
                "group \"more\"",
                None,
                Some("last-delivered-id 5-5"),
            )],
        );
    }

    fn add_pending(&mut self, name: &str, size: usize) {
        let deep = (size / 2).min(1500) * 2 / 3;
        let at = format!("pending entry {} of group \"g\"", id(deep));
        let pending =
            |source: Option<&str>, target: Option<&str>| found("pending", &*at, source, target);
        let claim = |key: &str, consumer: &str| {
            command!["XCLAIM", key, "g", consumer, 0, id(deep), "JUSTID"]
        };
        self.stream(
            (0, &format!("pending:consumer:{name}")),
            size,
            |stream| vec![claim(stream.key, "bert")],
            vec![pending(Some("anna"), Some("bert"))],
        );
        self.stream(
            (1, &format!("pending:acked:{name}")),
            size,
            |stream| vec![command!["XACK", stream.key, "g", id(deep)]],
            vec![pending(Some("anna"), None)],
        );
        self.stream(
            (9, &format!("pending:deliveries:{name}")),
            size,
            |stream| {
                let times = command!["RETRYCOUNT", 9];
                vec![[claim(stream.key, "anna"), times].concat()]
            },
            vec![pending(Some("delivery-count 1"), Some("delivery-count 9"))],
        );
        let bert = "consumer \"bert\" of group \"g\"";
        let half = (size / 2).min(1500);
        let lost = format!("{} pending", half / 2);
        self.stream(
            (0, &format!("consumer:missing:{name}")),
            size,
            |stream| vec![command!["XGROUP", "DELCONSUMER", stream.key, "g", "bert"]],
            vec![
                found("consumer", bert, Some(&*lost), None),
                // Its entries go with it; the first of them is named.
                found(
                    "pending",
                    format!("pending entry {} of group \"g\"", id(half + 1)),
                    Some("bert"),
                    None,
                ),
            ],
        );
        self.stream(
            (1, &format!("consumer:only-on-target:{name}")),
            size,
            // What it reads again is what it has: nothing.
            |stream| {
                let read = command!["XREADGROUP", "GROUP", "g", "cleo"];
                vec![[read, command!["STREAMS", stream.key, 0]].concat()]
            },
            vec![found(
                "consumer",
                "consumer \"cleo\" of group \"g\"",
                None,
                Some("0 pending"),
            )],
        );
    }
}
