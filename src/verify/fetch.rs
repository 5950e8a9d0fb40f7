//! Reads a key of the source to its end, as the events that a snapshot of it would have.
//!
//! Small values, and those that have no elements, come by DUMP as one body; large ones page by page,
//! as parts. A key that changes meanwhile comes as a mixture: whoever copies it compares it again.

mod stream;

use bytes::Bytes;

use crate::{
    keyspace::Db,
    rdb::{
        self, Altitude, Element, Event, Key, KeyType, Limits, Part, ValueParser, ValueType, payload,
    },
    resp::Reply,
};

use super::{
    Error, ErrorKind,
    abilities::Abilities,
    peer::{Peer, Request},
    plan::Plan,
    reading::{Probe, probe, type_of},
};
use stream::StreamReading;

/// Bytes of a string that are asked for at a time.
const STRING_PAGE_BYTES: u64 = 1 << 20;
/// Elements that are asked for first; how many come later depends on their size.
const ELEMENTS_FIRST: u64 = 16;
const ELEMENTS_MAX: u64 = 4096;
/// Events of a body that are handed over at a time.
const EVENTS_AT_ONCE: usize = 256;
/// What a page of elements should have, in bytes.
const PAGE_BYTES: usize = 1 << 20;

/// A key of the source that is being read.
#[derive(Debug)]
pub struct Fetched<'a> {
    peer: &'a mut Peer,
    can: Abilities,
    db: Db,
    key: Key,
    value: Value,
    /// How many elements are asked for next.
    elements: u64,
}

/// What is left of its value.
#[derive(Debug)]
enum Value {
    /// The whole body.
    Body(Box<ValueParser>),
    String {
        at: u64,
        len: u64,
    },
    List {
        at: u64,
    },
    /// A set, hash or sorted set, with the cursor of the next page.
    Scanned {
        of: KeyType,
        cursor: Bytes,
    },
    Stream(Box<StreamReading>),
    /// Only its end.
    End,
    Nothing,
}

impl<'a> Fetched<'a> {
    /// Begins to read a key; `None` when the source does not have it.
    ///
    /// # Errors
    /// The source cannot be asked any more.
    pub(super) async fn begin(
        peer: &'a mut Peer,
        plan: &Plan,
        db: Db,
        key: &Bytes,
    ) -> Result<Option<Fetched<'a>>, Error> {
        let keys = std::slice::from_ref(key);
        let probes = probe(peer, &plan.source, db, keys, super::Depth::Full).await?;
        let Some(probe) = probes.into_iter().next().filter(|probe| probe.exists) else {
            return Ok(None);
        };
        let can = plan.source.abilities;
        let is_large = probe.memory_bytes.unwrap_or(0) >= plan.large_key_bytes;
        let paged = match is_large {
            true => match type_of(peer, db, key).await? {
                Some(value_type) => paged(peer, db, key, value_type).await?,
                None => return Ok(None),
            },
            false => None,
        };
        let found = match paged {
            Some(paged) => Some(paged),
            None => whole(peer, db, key).await?,
        };
        Ok(found.map(|(value_type, value)| Fetched {
            peer,
            can,
            db,
            key: key_of(key, value_type, &probe),
            value,
            elements: ELEMENTS_FIRST,
        }))
    }

    /// What stands before its value.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Chooses how deep to look into a value that came whole; one that comes in pages has its elements
    /// only.
    pub fn choose(&mut self, altitude: Altitude) {
        if let Value::Body(parser) = &mut self.value {
            parser.choose(altitude);
        }
    }

    /// The next events of its value; `None` after the last.
    ///
    /// # Errors
    /// The source cannot be asked any more, or answers what no such value has.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, Error> {
        let parts = match std::mem::replace(&mut self.value, Value::Nothing) {
            Value::Nothing => return Ok(None),
            Value::Body(mut parser) => {
                let events = events(&mut parser).map_err(|error| unreadable(self.peer, error))?;
                if !events.is_empty() {
                    self.value = Value::Body(parser);
                }
                return Ok((!events.is_empty()).then_some(events));
            }
            Value::End => return Ok(Some(vec![Event::ValueEnd])),
            Value::String { at, len } => self.string(at, len).await?,
            Value::List { at } => self.list(at).await?,
            Value::Scanned { of, cursor } => self.scanned(of, &cursor).await?,
            Value::Stream(mut stream) => {
                let parts = stream.next(self.peer, self.db, &self.key.key).await?;
                match parts {
                    Some(parts) => {
                        self.value = Value::Stream(stream);
                        parts
                    }
                    None => return Ok(Some(vec![Event::ValueEnd])),
                }
            }
        };
        Ok(Some(parts.into_iter().map(Event::Part).collect()))
    }

    async fn string(&mut self, at: u64, len: u64) -> Result<Vec<Part>, Error> {
        let end = at + STRING_PAGE_BYTES;
        let (from, to) = (at.to_string(), (end - 1).to_string());
        let words: &[&[u8]] = &[b"GETRANGE", &self.key.key, from.as_bytes(), to.as_bytes()];
        let Reply::Bulk(Some(chunk)) = self.peer.ask_one(self.db, "read a string", words).await?
        else {
            return Err(self.peer.error(ErrorKind::Answer("GETRANGE")));
        };
        self.value = match end < len && !chunk.is_empty() {
            true => Value::String { at: end, len },
            false => Value::End,
        };
        let start = (at == 0).then_some(Part::StringStart { len });
        Ok(start
            .into_iter()
            .chain([Part::StringChunk(chunk)])
            .collect())
    }

    async fn list(&mut self, at: u64) -> Result<Vec<Part>, Error> {
        let end = at + self.elements;
        let (from, to) = (at.to_string(), (end - 1).to_string());
        let words: &[&[u8]] = &[b"LRANGE", &self.key.key, from.as_bytes(), to.as_bytes()];
        let page = self.peer.ask_one(self.db, "read a list", words).await?;
        let elements = strings(page).ok_or_else(|| self.peer.error(ErrorKind::Answer("LRANGE")))?;
        self.value = match elements.is_empty() {
            true => Value::End,
            false => Value::List { at: end },
        };
        self.adapt(elements.iter().map(Bytes::len).sum());
        let part = |element| Part::ListElement(Element::Bytes(element));
        Ok(elements.into_iter().map(part).collect())
    }

    async fn scanned(&mut self, of: KeyType, cursor: &Bytes) -> Result<Vec<Part>, Error> {
        let command: &[u8] = match of {
            KeyType::Set => b"SSCAN",
            KeyType::Zset => b"ZSCAN",
            _ => b"HSCAN",
        };
        let count = self.elements.to_string();
        let words: &[&[u8]] = &[command, &self.key.key, cursor, b"COUNT", count.as_bytes()];
        let page = self
            .peer
            .ask_one(self.db, "page through a value", words)
            .await?;
        let (cursor, page) =
            scan_page(page).ok_or_else(|| self.peer.error(ErrorKind::Answer("a page")))?;
        self.value = match &*cursor == b"0" {
            true => Value::End,
            false => Value::Scanned { of, cursor },
        };
        self.adapt(page.iter().map(Bytes::len).sum());
        let (pairs, _) = page.as_chunks();
        match of {
            KeyType::Set => {
                let part = |member| Part::SetMember(Element::Bytes(member));
                Ok(page.into_iter().map(part).collect())
            }
            KeyType::Zset => {
                let parts: Option<Vec<Part>> = pairs.iter().map(zset_member).collect();
                parts.ok_or_else(|| self.peer.error(ErrorKind::Answer("ZSCAN")))
            }
            _ => self.hash_fields(pairs).await,
        }
    }

    async fn hash_fields(&mut self, pairs: &[[Bytes; 2]]) -> Result<Vec<Part>, Error> {
        let expiries = match self.can.field_expiry && !pairs.is_empty() {
            true => {
                let mut request = Request::default();
                let count = pairs.len().to_string();
                let words: &[&[u8]] =
                    &[b"HPEXPIRETIME", &self.key.key, b"FIELDS", count.as_bytes()];
                let fields: Vec<&Bytes> = pairs.iter().map(|[field, _]| field).collect();
                request.add_many(words, fields.into_iter());
                let reply = self.peer.ask(self.db, request).await?.pop();
                match reply {
                    Some(Reply::Array(Some(times))) => times,
                    _ => Vec::new(),
                }
            }
            false => Vec::new(),
        };
        let expiry = |at: usize| match expiries.get(at) {
            Some(Reply::Int(ms)) if *ms >= 0 => Some(*ms),
            _ => None,
        };
        let part = |(at, [field, value]): (usize, &[Bytes; 2])| Part::HashField {
            field: Element::Bytes(field.clone()),
            value: Element::Bytes(value.clone()),
            expire_at_ms: expiry(at),
        };
        Ok(pairs.iter().enumerate().map(part).collect())
    }

    /// Asks for more elements next time where they are small, for fewer where they are large.
    fn adapt(&mut self, page_bytes: usize) {
        self.elements = match page_bytes {
            bytes if bytes < PAGE_BYTES / 2 => (self.elements * 2).min(ELEMENTS_MAX),
            bytes if bytes > PAGE_BYTES => (self.elements / 2).max(1),
            _ => self.elements,
        };
    }
}

fn key_of(key: &Bytes, value_type: ValueType, probe: &Probe) -> Key {
    Key {
        key: key.clone(),
        value_type,
        expire_at_ms: probe.expire_at_ms,
        idle_s: None,
        freq: None,
        has_metadata: false,
    }
}

/// A value of this type that is read page by page; `None` for those that have no pages.
///
/// The type is one that every target restores, so its parts are written by commands, to which it
/// does no harm that a page of SCAN may repeat an element.
async fn paged(
    peer: &mut Peer,
    db: Db,
    key: &Bytes,
    value_type: KeyType,
) -> Result<Option<(ValueType, Value)>, Error> {
    let scanned = |of| Value::Scanned {
        of,
        cursor: Bytes::from_static(b"0"),
    };
    Ok(Some(match value_type {
        KeyType::String => {
            let reply = peer.ask_one(db, "tell a length", &[b"STRLEN", key]).await?;
            let len = match reply {
                Reply::Int(len) => u64::try_from(len).unwrap_or(0),
                _ => 0,
            };
            (ValueType::common(0), Value::String { at: 0, len })
        }
        KeyType::List => (ValueType::common(1), Value::List { at: 0 }),
        KeyType::Set => (ValueType::common(2), scanned(KeyType::Set)),
        KeyType::Zset => (ValueType::common(5), scanned(KeyType::Zset)),
        KeyType::Hash => (ValueType::common(4), scanned(KeyType::Hash)),
        KeyType::Stream => {
            let stream = StreamReading::new();
            (ValueType::common(19), Value::Stream(Box::new(stream)))
        }
        KeyType::Module | KeyType::VectorSet | KeyType::Array | KeyType::Json | KeyType::Other => {
            return Ok(None);
        }
    }))
}

/// The value as DUMP gives it; `None` when it is gone.
async fn whole(peer: &mut Peer, db: Db, key: &Bytes) -> Result<Option<(ValueType, Value)>, Error> {
    let dumped = peer.ask_one(db, "dump a value", &[b"DUMP", key]).await?;
    let Reply::Bulk(Some(dumped)) = dumped else {
        return Ok(None);
    };
    let payload = payload::check(&dumped).map_err(|error| unreadable(peer, error))?;
    let parser = ValueParser::new(payload.value_type, payload.body, Limits::default());
    Ok(Some((payload.value_type, Value::Body(Box::new(parser)))))
}

/// Some of the next events of a body; none after the last.
fn events(parser: &mut ValueParser) -> Result<Vec<Event>, rdb::Error> {
    let mut events = Vec::new();
    while events.len() < EVENTS_AT_ONCE {
        match parser.next_event()? {
            Some(event) => events.push(event),
            None => break,
        }
    }
    Ok(events)
}

fn unreadable(peer: &Peer, error: rdb::Error) -> Error {
    peer.error(ErrorKind::Snapshot(Box::new(error)))
}

fn zset_member([member, score]: &[Bytes; 2]) -> Option<Part> {
    Some(Part::ZsetMember {
        member: Element::Bytes(member.clone()),
        score: std::str::from_utf8(score).ok()?.parse().ok()?,
    })
}

/// The strings of an array reply.
fn strings(reply: Reply) -> Option<Vec<Bytes>> {
    let Reply::Array(Some(elements)) = reply else {
        return None;
    };
    let string = |element| match element {
        Reply::Bulk(string) => string,
        _ => None,
    };
    elements.into_iter().map(string).collect()
}

/// What a command like SCAN answers: the next cursor, and the page.
pub(super) fn scan_page(reply: Reply) -> Option<(Bytes, Vec<Bytes>)> {
    let Reply::Array(Some(parts)) = reply else {
        return None;
    };
    match <[Reply; 2]>::try_from(parts).ok()? {
        [Reply::Bulk(Some(cursor)), page] => Some((cursor, strings(page)?)),
        _ => None,
    }
}
