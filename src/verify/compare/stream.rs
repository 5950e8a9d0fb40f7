//! Streams: entries in order; counters; groups with their consumers and pending entries.
//!
//! What is compared of all but the entries stands in `stream/state.rs`, for those who learn it by
//! other ways than from a payload, too.

mod state;

use std::cmp::Ordering;

use crate::{
    keyspace::StreamId,
    rdb::{Element, Error, Part, StreamMeta, payload::Payload},
    verify::{First, Kind, Place, SHOWN_BYTES_MAX},
};

use super::{
    Finds, Rules, merge,
    parts::Parts,
    text::{Text, same},
};

pub(in crate::verify) use state::{
    Consumer, Counters, Group, Owner, Pending, consumers, counters, group, groups, pending_entry,
};

/// Servers that write payloads of this version, Redis 7.4 and Valkey 9.0, and later ones, tell their
/// replicas how many entries a group has read. Redis 7.0 and 7.2 do not, so that what a replica
/// knows goes out of date (measured); Valkey 8 does, but its payloads have the version of 7.2.
pub(in crate::verify) const ENTRIES_READ_VERSION_MIN: u16 = 12;

/// An entry: its id, its fields and their values.
pub(in crate::verify) type Entry = (StreamId, Vec<(Element, Element)>);

pub(super) fn compare(
    source: &Payload,
    target: &Payload,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), Error> {
    let with_entries_read = source.version >= ENTRIES_READ_VERSION_MIN;
    let (mut source, mut target) = (Reader::of(source), Reader::of(target));
    let (mut ours, mut theirs) = (source.entry()?, target.entry()?);
    loop {
        let order = match (&ours, &theirs) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((id, _)), Some((other, _))) => id.cmp(other),
        };
        entry(
            finds,
            ours.as_ref().filter(|_| order.is_le()),
            theirs.as_ref().filter(|_| order.is_ge()),
        );
        if order.is_le() {
            ours = source.entry()?;
        }
        if order.is_ge() {
            theirs = target.entry()?;
        }
    }
    let (source, target) = (source.state()?, target.state()?);
    counters(finds, &source.counters, &target.counters);
    for (ours, theirs) in groups(finds, &source.groups, &target.groups) {
        group(finds, ours, theirs, with_entries_read);
        consumers(finds, &ours.name, &ours.consumers, &theirs.consumers);
        merge::sorted(
            &ours.pending,
            &theirs.pending,
            |pending| pending.id,
            |one, other| pending_entry(finds, &ours.name, one, other, rules),
        );
    }
    Ok(())
}

/// Compares an entry; `None` where a side does not have it.
pub(in crate::verify) fn entry(finds: &mut Finds, source: Option<&Entry>, target: Option<&Entry>) {
    let equal = match (source, target) {
        (Some((_, ours)), Some((_, theirs))) => {
            let mut pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len()
                && pairs.all(|(ours, theirs)| same(&ours.0, &theirs.0) && same(&ours.1, &theirs.1))
        }
        _ => false,
    };
    if let (false, Some((id, _))) = (equal, source.or(target)) {
        finds.add(Kind::Value, || {
            let [source, target] = [source, target].map(|of| of.map(|(_, fields)| shown(fields)));
            First::at(Place::Entry(*id), source.as_deref(), target.as_deref())
        });
    }
}

/// Fields and values one after the other, as far as a report may show them.
fn shown(fields: &[(Element, Element)]) -> Vec<u8> {
    let mut shown = Vec::new();
    for (field, value) in fields {
        for element in [field, value] {
            if shown.len() >= SHOWN_BYTES_MAX {
                return shown;
            }
            if !shown.is_empty() {
                shown.push(b' ');
            }
            let text = Text::from(element.clone());
            shown.extend_from_slice(text.get(..SHOWN_BYTES_MAX).unwrap_or(&text));
        }
    }
    shown
}

/// Everything but the entries.
struct State {
    counters: Counters,
    /// In the order of their names.
    groups: Vec<Group>,
}

/// A stream that is read: first its entries, then the rest.
struct Reader {
    parts: Parts,
    entries: u64,
    meta: Option<StreamMeta>,
}

impl Reader {
    fn of(payload: &Payload) -> Reader {
        Reader {
            parts: Parts::of(payload),
            entries: 0,
            meta: None,
        }
    }

    /// The next entry, `None` behind the last one.
    fn entry(&mut self) -> Result<Option<Entry>, Error> {
        // Behind the counters are no entries.
        while self.meta.is_none() {
            match self.parts.next()? {
                Some(Part::StreamEntry { id, fields }) => {
                    self.entries += 1;
                    return Ok(Some((id, fields)));
                }
                Some(Part::StreamMeta(meta)) => self.meta = Some(meta),
                Some(_) => {}
                None => break,
            }
        }
        Ok(None)
    }

    /// What stands behind the entries, all of which have been read.
    fn state(mut self) -> Result<State, Error> {
        let (mut groups, mut idempotency) = (Vec::new(), None);
        while let Some(part) = self.parts.next()? {
            match part {
                Part::StreamGroup(group) => groups.push(Group::of(group)),
                Part::StreamIdempotency(settings) => {
                    idempotency = Some((settings.duration_s, settings.entries_max));
                }
                part => {
                    if let Some(group) = groups.last_mut() {
                        group.add(part);
                    }
                }
            }
        }
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        let meta = self.meta.unwrap_or(StreamMeta {
            length: 0,
            last_id: StreamId::default(),
            max_deleted_id: None,
            entries_added: None,
        });
        Ok(State {
            counters: Counters {
                last_id: meta.last_id,
                entries_added: meta.entries_added,
                max_deleted_id: meta.max_deleted_id,
                length: meta.length,
                entries: self.entries,
                idempotency,
            },
            groups,
        })
    }
}
