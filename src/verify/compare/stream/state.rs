//! What a stream has beside its entries: counters, groups, consumers, pending entries.

use bytes::Bytes;

use crate::{
    keyspace::{StreamId, UnixMs},
    rdb::{Part, StreamGroup, StreamPending},
    verify::{
        First, Kind, Place,
        compare::{Finds, Rules, first_shown, merge, name},
    },
};

/// The counters of a stream, and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verify) struct Counters {
    pub(in crate::verify) last_id: StreamId,
    /// `None` where the server does not know (before 7.0).
    pub(in crate::verify) entries_added: Option<u64>,
    pub(in crate::verify) max_deleted_id: Option<StreamId>,
    /// As many entries as the stream says it has.
    pub(in crate::verify) length: u64,
    /// As many as it has.
    pub(in crate::verify) entries: u64,
    /// For how many seconds and how many repetitions of a producer are recognised (Redis 8.6).
    pub(in crate::verify) idempotency: Option<(u64, u64)>,
}

/// A consumer group.
#[derive(Debug, Clone)]
pub(in crate::verify) struct Group {
    pub(in crate::verify) name: Bytes,
    pub(in crate::verify) last_id: StreamId,
    /// `None` when unknown.
    pub(in crate::verify) entries_read: Option<u64>,
    /// In the order of their names.
    pub(in crate::verify) consumers: Vec<Consumer>,
    /// In the order of their ids.
    pub(in crate::verify) pending: Vec<Pending>,
}

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::verify) struct Consumer {
    pub(in crate::verify) name: Bytes,
    /// How many entries it has not acknowledged.
    pub(in crate::verify) pending: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::verify) struct Pending {
    pub(in crate::verify) id: StreamId,
    pub(in crate::verify) owner: Owner,
    pub(in crate::verify) delivered_at_ms: UnixMs,
    pub(in crate::verify) delivery_count: u64,
}

/// Who has a pending entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::verify) enum Owner {
    /// This consumer.
    Consumer(Bytes),
    /// Nobody: it was given back (Redis 8.8).
    GivenBack,
    /// Nobody, by a bug of the server. Other servers do not take such an entry, so that whoever
    /// writes it there gives it to somebody: whatever owner the target has is right.
    Lost,
}

impl Group {
    /// A group whose consumers and pending entries follow.
    pub(in crate::verify) fn of(group: StreamGroup) -> Group {
        Group {
            name: group.name,
            last_id: group.last_id,
            entries_read: group.entries_read,
            consumers: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Adds a consumer or pending entry, in the order in which payloads have them.
    pub(super) fn add(&mut self, part: Part) {
        match part {
            Part::StreamConsumer(consumer) => self.consumers.push(Consumer {
                name: consumer.name,
                pending: 0,
            }),
            Part::StreamPending(pending) => {
                if let Some(consumer) = self.consumers.last_mut() {
                    consumer.pending += 1;
                    let owner = Owner::Consumer(consumer.name.clone());
                    self.pending.push(Pending::of(pending, owner));
                }
            }
            Part::StreamNacked(pending) => {
                self.pending.push(Pending::of(pending, Owner::GivenBack));
            }
            Part::StreamUnowned(pending) => self.pending.push(Pending::of(pending, Owner::Lost)),
            Part::StreamGroupEnd(_) => {
                self.consumers
                    .sort_by(|one, other| one.name.cmp(&other.name));
                self.pending.sort_by_key(|pending| pending.id);
            }
            _ => {}
        }
    }
}

impl Pending {
    /// One that this owner has.
    pub(in crate::verify) fn of(pending: StreamPending, owner: Owner) -> Pending {
        Pending {
            id: pending.id,
            owner,
            delivered_at_ms: pending.delivered_at_ms,
            delivery_count: pending.delivery_count,
        }
    }
}

/// Compares the counters of two streams, each as far as both sides know it.
pub(in crate::verify) fn counters(finds: &mut Finds, source: &Counters, target: &Counters) {
    let mut compare = |counter, ours: Option<String>, theirs: Option<String>| {
        if ours.is_some() && theirs.is_some() && ours != theirs {
            let place = Place::Counter(counter);
            finds.add(Kind::StreamCounters, || first_shown(place, ours, theirs));
        }
    };
    let id = |id: StreamId| id.to_string();
    let number = |number: u64| number.to_string();
    compare(
        "last-id",
        Some(id(source.last_id)),
        Some(id(target.last_id)),
    );
    let [ours, theirs] = [source, target].map(|of| of.entries_added.map(number));
    compare("entries-added", ours, theirs);
    let [ours, theirs] = [source, target].map(|of| of.max_deleted_id.map(id));
    compare("max-deleted-id", ours, theirs);
    // Old servers count wrongly by a bug. A target that counts its entries rightly is no worse.
    let [ours, theirs] = [source, target].map(|of| Some(number(of.length)));
    if target.length != target.entries {
        compare("length", ours, theirs);
    }
    let [ours, theirs] = [source, target].map(|of| of.idempotency.map(|(s, _)| number(s)));
    compare("idmp-duration", ours, theirs);
    let [ours, theirs] = [source, target].map(|of| of.idempotency.map(|(_, max)| number(max)));
    compare("idmp-maxsize", ours, theirs);
}

/// Compares which groups there are, both in the order of their names, and gives those of both sides.
pub(in crate::verify) fn groups<'g>(
    finds: &mut Finds,
    source: &'g [Group],
    target: &'g [Group],
) -> Vec<(&'g Group, &'g Group)> {
    let mut both = Vec::new();
    merge::sorted(
        source,
        target,
        |group| &group.name,
        |ours, theirs| {
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                both.push((ours, theirs));
            } else if let Some(group) = ours.or(theirs) {
                finds.add(Kind::Group, || {
                    let place = Place::Group(name(&group.name));
                    let shown = |group: &Group| format!("last-delivered-id {}", group.last_id);
                    first_shown(place, ours.map(shown), theirs.map(shown))
                });
            }
        },
    );
    both
}

/// Compares the counters of a group.
pub(in crate::verify) fn group(
    finds: &mut Finds,
    source: &Group,
    target: &Group,
    with_entries_read: bool,
) {
    let place = |counter| Place::GroupCounter {
        group: name(&source.name),
        counter,
    };
    if source.last_id != target.last_id {
        finds.add(Kind::Group, || {
            let place = place("last-delivered-id");
            first_shown(place, Some(source.last_id), Some(target.last_id))
        });
    }
    let read = source.entries_read.zip(target.entries_read);
    if let (true, Some((ours, theirs))) = (with_entries_read, read)
        && ours != theirs
    {
        finds.add(Kind::Group, || {
            first_shown(place("entries-read"), Some(ours), Some(theirs))
        });
    }
}

/// Compares which consumers a group has, both in the order of their names.
///
/// One of the source that has nothing pending may be missing on the target: servers tell their
/// replicas of a consumer when it first gets something (measured from Redis 6.0 to 8.6 and Valkey
/// 9.1).
pub(in crate::verify) fn consumers(
    finds: &mut Finds,
    group: &Bytes,
    source: &[Consumer],
    target: &[Consumer],
) {
    merge::sorted(
        source,
        target,
        |consumer| &consumer.name,
        |ours, theirs| {
            let consumer = match (ours, theirs) {
                (Some(ours), None) if ours.pending > 0 => ours,
                (None, Some(theirs)) => theirs,
                _ => return,
            };
            finds.add(Kind::Consumer, || {
                let place = Place::Consumer {
                    group: name(group),
                    consumer: name(&consumer.name),
                };
                let shown = |consumer: &Consumer| format!("{} pending", consumer.pending);
                first_shown(place, ours.map(shown), theirs.map(shown))
            });
        },
    );
}

/// Compares a pending entry; `None` where it is not pending on a side.
pub(in crate::verify) fn pending_entry(
    finds: &mut Finds,
    group: &Bytes,
    source: Option<&Pending>,
    target: Option<&Pending>,
    rules: &Rules,
) {
    let Some(id) = source.or(target).map(|pending| pending.id) else {
        return;
    };
    let place = || Place::Pending {
        group: name(group),
        id,
    };
    let (ours, theirs) = match (source, target) {
        (Some(ours), Some(theirs)) if ours.owner.may_be(&theirs.owner) => (ours, theirs),
        _ => {
            return finds.add(Kind::Pending, || {
                let [ours, theirs] = [source, target].map(|of| of.map(|of| of.owner.shown()));
                First::at(place(), ours, theirs)
            });
        }
    };
    let shown = |what: &str, ours: String, theirs: String| {
        let [ours, theirs] = [ours, theirs].map(|value| format!("{what} {value}"));
        first_shown(place(), Some(ours), Some(theirs))
    };
    if ours.delivery_count != theirs.delivery_count {
        let [ours, theirs] = [ours, theirs].map(|of| of.delivery_count.to_string());
        finds.add(Kind::Pending, || shown("delivery-count", ours, theirs));
    } else if !rules.near(ours.delivered_at_ms, theirs.delivered_at_ms) {
        let [ours, theirs] = [ours, theirs].map(|of| of.delivered_at_ms.to_string());
        finds.add(Kind::Pending, || shown("delivered-at", ours, theirs));
    }
}

impl Owner {
    fn may_be(&self, target: &Owner) -> bool {
        self == target || *self == Owner::Lost
    }

    fn shown(&self) -> &[u8] {
        match self {
            Owner::Consumer(name) => name,
            Owner::GivenBack => b"given back",
            Owner::Lost => b"nobody",
        }
    }
}
