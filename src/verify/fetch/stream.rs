//! Reads a stream: its entries, then its counters, then its groups with what is pending in them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    keyspace::{Db, StreamId, UnixMs},
    rdb::{Element, Part, StreamConsumer, StreamGroup, StreamGroupEnd, StreamMeta, StreamPending},
    resp::Reply,
};

use super::super::{
    Error, ErrorKind,
    peer::Peer,
    server::{now_ms, time_of},
};

/// Entries that are asked for first, and at the most.
const ENTRIES_FIRST: u64 = 16;
const ENTRIES_MAX: u64 = 1024;
/// What a page of entries should have, in bytes.
const PAGE_BYTES: usize = 1 << 20;
/// Pending entries that are asked for at a time.
const PENDING: &[u8] = b"1000";

/// A stream that is being read.
#[derive(Debug)]
pub(super) struct StreamReading {
    next: Next,
    entries: u64,
    groups: VecDeque<StreamGroup>,
    consumers: VecDeque<StreamConsumer>,
}

/// What is read next.
#[derive(Debug)]
enum Next {
    /// Entries from this id on.
    Entries(StreamId),
    Counters,
    Group,
    /// Consumers of the group.
    Consumer(Bytes),
    /// Pending entries of a consumer of the group, from this id on.
    Pending {
        group: Bytes,
        consumer: Bytes,
        from: StreamId,
    },
    End,
}

impl StreamReading {
    pub(super) fn new() -> StreamReading {
        StreamReading {
            next: Next::Entries(StreamId::default()),
            entries: ENTRIES_FIRST,
            groups: VecDeque::new(),
            consumers: VecDeque::new(),
        }
    }

    /// The next parts; `None` behind the last.
    ///
    /// # Errors
    /// The source cannot be asked any more, or answers what no stream has.
    pub(super) async fn next(
        &mut self,
        peer: &mut Peer,
        db: Db,
        key: &Bytes,
    ) -> Result<Option<Vec<Part>>, Error> {
        let parts = match std::mem::replace(&mut self.next, Next::End) {
            Next::Entries(from) => self.entries(peer, db, key, from).await?,
            Next::Counters => self.counters(peer, db, key).await?,
            Next::Group => match self.groups.pop_front() {
                None => return Ok(None),
                Some(group) => {
                    self.consumers = consumers(peer, db, key, &group.name).await?;
                    self.next = Next::Consumer(group.name.clone());
                    vec![Part::StreamGroup(group)]
                }
            },
            Next::Consumer(group) => match self.consumers.pop_front() {
                None => {
                    self.next = Next::Group;
                    vec![Part::StreamGroupEnd(StreamGroupEnd::default())]
                }
                Some(consumer) => {
                    self.next = Next::Pending {
                        group,
                        consumer: consumer.name.clone(),
                        from: StreamId::default(),
                    };
                    vec![Part::StreamConsumer(consumer)]
                }
            },
            Next::Pending {
                group,
                consumer,
                from,
            } => {
                let page = pending(peer, db, key, (&group, &consumer), from).await?;
                self.next = match page.last().and_then(|last| following(last.id)) {
                    Some(from) => Next::Pending {
                        group,
                        consumer,
                        from,
                    },
                    None => Next::Consumer(group),
                };
                page.into_iter().map(Part::StreamPending).collect()
            }
            Next::End => return Ok(None),
        };
        Ok(Some(parts))
    }

    async fn entries(
        &mut self,
        peer: &mut Peer,
        db: Db,
        key: &Bytes,
        from: StreamId,
    ) -> Result<Vec<Part>, Error> {
        let (from, count) = (from.to_string(), self.entries.to_string());
        let words: &[&[u8]] = &[
            b"XRANGE",
            key,
            from.as_bytes(),
            b"+",
            b"COUNT",
            count.as_bytes(),
        ];
        let page = peer.ask_one(db, "read a stream", words).await?;
        let entries = array(page).and_then(|page| page.into_iter().map(entry).collect());
        let entries: Vec<(StreamId, Vec<Bytes>)> =
            entries.ok_or_else(|| peer.error(ErrorKind::Answer("XRANGE")))?;
        let bytes: usize = entries
            .iter()
            .flat_map(|(_, fields)| fields)
            .map(Bytes::len)
            .sum();
        self.entries = match bytes {
            bytes if bytes < PAGE_BYTES / 2 => (self.entries * 2).min(ENTRIES_MAX),
            bytes if bytes > PAGE_BYTES => (self.entries / 2).max(1),
            _ => self.entries,
        };
        self.next = match entries.last().and_then(|(id, _)| following(*id)) {
            Some(from) => Next::Entries(from),
            None => Next::Counters,
        };
        Ok(entries
            .into_iter()
            .map(|(id, fields)| part_of(id, &fields))
            .collect())
    }

    async fn counters(&mut self, peer: &mut Peer, db: Db, key: &Bytes) -> Result<Vec<Part>, Error> {
        let about = peer
            .ask_one(db, "tell about a stream", &[b"XINFO", b"STREAM", key])
            .await?;
        let about =
            Fields::of(about).ok_or_else(|| peer.error(ErrorKind::Answer("XINFO STREAM")))?;
        let wrong = || peer.error(ErrorKind::Answer("XINFO STREAM"));
        let meta = StreamMeta {
            length: about.number("length").ok_or_else(wrong)?,
            last_id: about.id("last-generated-id").ok_or_else(wrong)?,
            max_deleted_id: about.id("max-deleted-entry-id"),
            entries_added: about.number("entries-added"),
        };
        let listed = peer
            .ask_one(db, "tell about groups", &[b"XINFO", b"GROUPS", key])
            .await?;
        let groups = array(listed).and_then(|groups| groups.into_iter().map(group).collect());
        self.groups = groups.ok_or_else(|| peer.error(ErrorKind::Answer("XINFO GROUPS")))?;
        self.next = Next::Group;
        Ok(vec![Part::StreamMeta(meta)])
    }
}

fn part_of(id: StreamId, fields: &[Bytes]) -> Part {
    let (pairs, _) = fields.as_chunks();
    let pair = |[field, value]: &[Bytes; 2]| {
        (Element::Bytes(field.clone()), Element::Bytes(value.clone()))
    };
    Part::StreamEntry {
        id,
        fields: pairs.iter().map(pair).collect(),
    }
}

async fn consumers(
    peer: &mut Peer,
    db: Db,
    key: &Bytes,
    group: &Bytes,
) -> Result<VecDeque<StreamConsumer>, Error> {
    let now_ms = time(peer).await?;
    let words: &[&[u8]] = &[b"XINFO", b"CONSUMERS", key, group];
    let listed = peer.ask_one(db, "tell about consumers", words).await?;
    let consumer = |about| {
        let about = Fields::of(about)?;
        let before = |name| Some(now_ms.saturating_sub(about.signed(name)?));
        Some(StreamConsumer {
            name: about.string("name")?,
            seen_at_ms: before("idle")?,
            // -1 says that it never got anything.
            active_at_ms: before("inactive").filter(|_| about.signed("inactive") >= Some(0)),
        })
    };
    let consumers = array(listed).and_then(|listed| listed.into_iter().map(consumer).collect());
    consumers.ok_or_else(|| peer.error(ErrorKind::Answer("XINFO CONSUMERS")))
}

async fn pending(
    peer: &mut Peer,
    db: Db,
    key: &Bytes,
    (group, consumer): (&Bytes, &Bytes),
    from: StreamId,
) -> Result<Vec<StreamPending>, Error> {
    let now_ms = time(peer).await?;
    let from = from.to_string();
    let words: &[&[u8]] = &[
        b"XPENDING",
        key,
        group,
        from.as_bytes(),
        b"+",
        PENDING,
        consumer,
    ];
    let listed = peer.ask_one(db, "tell what is pending", words).await?;
    let pending = |entry| match <[Reply; 4]>::try_from(array(entry)?).ok()? {
        [
            Reply::Bulk(Some(id)),
            _,
            Reply::Int(idle_ms),
            Reply::Int(count),
        ] => Some(StreamPending {
            id: stream_id(&id)?,
            delivered_at_ms: now_ms.saturating_sub(idle_ms),
            delivery_count: u64::try_from(count).ok()?,
        }),
        _ => None,
    };
    let page = array(listed).and_then(|listed| listed.into_iter().map(pending).collect());
    page.ok_or_else(|| peer.error(ErrorKind::Answer("XPENDING")))
}

/// The time by the clock of the server, by which it counts how long something was idle.
async fn time(peer: &mut Peer) -> Result<UnixMs, Error> {
    let reply = peer.ask_one(Db(0), "tell the time", &[b"TIME"]).await?;
    Ok(time_of(&reply).unwrap_or_else(now_ms))
}

fn group(about: Reply) -> Option<StreamGroup> {
    let about = Fields::of(about)?;
    Some(StreamGroup {
        name: about.string("name")?,
        last_id: about.id("last-delivered-id")?,
        entries_read: about.number("entries-read"),
    })
}

fn entry(reply: Reply) -> Option<(StreamId, Vec<Bytes>)> {
    match <[Reply; 2]>::try_from(array(reply)?).ok()? {
        [Reply::Bulk(Some(id)), fields] => Some((stream_id(&id)?, super::strings(fields)?)),
        _ => None,
    }
}

fn array(reply: Reply) -> Option<Vec<Reply>> {
    match reply {
        Reply::Array(elements) => elements,
        _ => None,
    }
}

/// The id behind this one; `None` behind the last that there is.
fn following(id: StreamId) -> Option<StreamId> {
    match id.seq.checked_add(1) {
        Some(seq) => Some(StreamId { seq, ..id }),
        None => id.ms.checked_add(1).map(|ms| StreamId { ms, seq: 0 }),
    }
}

fn stream_id(text: &[u8]) -> Option<StreamId> {
    let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some(StreamId {
        ms: ms.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}

/// Names and what they have, as XINFO answers them.
struct Fields(Vec<Reply>);

impl Fields {
    fn of(reply: Reply) -> Option<Fields> {
        array(reply).map(Fields)
    }

    fn get(&self, name: &str) -> Option<&Reply> {
        let (pairs, _) = self.0.as_chunks();
        pairs.iter().find_map(|[found, value]| match found {
            Reply::Bulk(Some(found)) if found == name => Some(value),
            _ => None,
        })
    }

    fn string(&self, name: &str) -> Option<Bytes> {
        match self.get(name)? {
            Reply::Bulk(string) => string.clone(),
            _ => None,
        }
    }

    fn id(&self, name: &str) -> Option<StreamId> {
        stream_id(&self.string(name)?)
    }

    fn signed(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Reply::Int(number) => Some(*number),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        u64::try_from(self.signed(name)?).ok()
    }
}
