//! Reads a key of the source to its end, as the events that a snapshot of it would have.
//!
//! Small values, and those that have no pages, come by DUMP as one body; large ones page by page, as
//! parts. What is changed meanwhile comes as a mixture: whoever copies it compares it again. What
//! goes away, or gets another type, ends with [`ValueError::Moved`] before its last event.

mod stream;

use bytes::Bytes;

use crate::{
    keyspace::Db,
    rdb::{
        self, Altitude, Element, Event, Key, KeyType, Limits, Part, ValueParser, ValueType, payload,
    },
};

use super::{
    Side,
    pages::{One, PAGE_BYTES, PageSize, Scan, ValueError, hash, replies, zset},
    peer::Peer,
    plan::Plan,
    probe::{Probe, probe},
};
use stream::StreamReading;

/// Events of a body that are handed over at a time.
const EVENTS_AT_ONCE: usize = 256;

/// A key of the source that is being read.
#[derive(Debug)]
pub struct Fetched<'a> {
    one: One<'a>,
    key: Key,
    value: Value,
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
        size: PageSize,
    },
    Set(Scan),
    Zset(Scan),
    Hash(Scan),
    Stream(Box<StreamReading>),
    /// Only the end of a value of this type, whose pages have all been read.
    End(KeyType),
    Nothing,
}

impl<'a> Fetched<'a> {
    /// Begins to read a key; `None` when the source does not have it.
    ///
    /// # Errors
    /// As [`ValueError`].
    pub(super) async fn begin(
        peer: &'a mut Peer,
        plan: &Plan,
        db: Db,
        key: &Bytes,
    ) -> Result<Option<Fetched<'a>>, ValueError> {
        let keys = std::slice::from_ref(key);
        let probes = probe(peer, &plan.source, db, keys, super::Depth::Full).await;
        let Some(probe) = probes.map_err(ValueError::Failed)?.pop() else {
            return Ok(None);
        };
        if let Some(refused) = &probe.refused {
            return Err(ValueError::Unreadable(Side::Source, refused.to_string()));
        }
        if !probe.exists {
            return Ok(None);
        }
        let mut one = One {
            peer,
            db,
            can: plan.source.abilities,
        };
        let is_large = probe.memory_bytes.unwrap_or(0) >= plan.large_key_bytes;
        let paged = match is_large {
            true => match one.value_type(key).await? {
                Some(value_type) => paged(&mut one, key, value_type).await?,
                None => return Ok(None),
            },
            false => None,
        };
        let found = match paged {
            Some(paged) => Some(paged),
            None => whole(&mut one, key).await?,
        };
        Ok(found.map(|(value_type, value)| Fetched {
            one,
            key: key_of(key, value_type, &probe),
            value,
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

    /// The next events of its value; `None` after the last, [`Event::ValueEnd`]. Without that what has
    /// come is not the value.
    ///
    /// # Errors
    /// As [`ValueError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, ValueError> {
        let parts = match std::mem::replace(&mut self.value, Value::Nothing) {
            Value::Nothing => return Ok(None),
            Value::Body(mut parser) => {
                let events = events(&mut parser).map_err(|error| self.one.unreadable(&error))?;
                if !events.is_empty() {
                    self.value = Value::Body(parser);
                }
                return Ok((!events.is_empty()).then_some(events));
            }
            Value::String { at, len } => self.string(at, len).await?,
            Value::List { at, size } => self.list(at, size).await?,
            Value::Set(scan) => self.set(scan).await?,
            Value::Zset(scan) => self.zset(scan).await?,
            Value::Hash(scan) => self.hash(scan).await?,
            Value::Stream(stream) => self.stream(stream).await?,
            Value::End(value_type) => {
                // What is gone looks like an empty value in most replies.
                self.one.still_has(&self.key.key, value_type).await?;
                return Ok(Some(vec![Event::ValueEnd]));
            }
        };
        Ok(Some(parts.into_iter().map(Event::Part).collect()))
    }

    async fn string(&mut self, at: u64, len: u64) -> Result<Vec<Part>, ValueError> {
        let end = len.min(at + PAGE_BYTES as u64);
        let (from, to) = (at.to_string(), end.saturating_sub(1).to_string());
        let words: &[&[u8]] = &[b"GETRANGE", &self.key.key, from.as_bytes(), to.as_bytes()];
        let chunk = self.one.ask_one_within(words, usize::MAX).await?;
        let chunk = chunk.and_then(replies::string);
        let chunk = chunk.ok_or_else(|| self.one.odd("GETRANGE"))?;
        if chunk.len() as u64 != end - at {
            // It is another string than the one whose length was told.
            return Err(ValueError::Moved);
        }
        self.value = match end < len {
            true => Value::String { at: end, len },
            false => Value::End(KeyType::String),
        };
        let start = (at == 0).then_some(Part::StringStart { len });
        Ok(start
            .into_iter()
            .chain([Part::StringChunk(chunk)])
            .collect())
    }

    async fn list(&mut self, at: u64, mut size: PageSize) -> Result<Vec<Part>, ValueError> {
        let (count, page) = loop {
            let count = size.count();
            let (from, to) = (at.to_string(), (at + count - 1).to_string());
            let words: &[&[u8]] = &[b"LRANGE", &self.key.key, from.as_bytes(), to.as_bytes()];
            let page = self.one.ask_one_within(words, size.reply_bytes_max());
            match page.await? {
                Some(page) => break (count, page),
                None => size.shrink(),
            }
        };
        let elements = replies::strings(page).ok_or_else(|| self.one.odd("LRANGE"))?;
        size.learn(elements.len(), elements.iter().map(Bytes::len).sum());
        self.value = match (elements.len() as u64) < count {
            true => Value::End(KeyType::List),
            false => Value::List {
                at: at + count,
                size,
            },
        };
        let part = |element| Part::ListElement(Element::Bytes(element));
        Ok(elements.into_iter().map(part).collect())
    }

    async fn set(&mut self, mut scan: Scan) -> Result<Vec<Part>, ValueError> {
        let Some(members) = scan.next(&mut self.one).await? else {
            self.value = Value::End(KeyType::Set);
            return Ok(Vec::new());
        };
        self.value = Value::Set(scan);
        let part = |member| Part::SetMember(Element::Bytes(member));
        Ok(members.into_iter().map(part).collect())
    }

    async fn zset(&mut self, mut scan: Scan) -> Result<Vec<Part>, ValueError> {
        let Some((members, scores)) = zset::page(&mut scan, &mut self.one).await? else {
            self.value = Value::End(KeyType::Zset);
            return Ok(Vec::new());
        };
        self.value = Value::Zset(scan);
        let part = |(member, score)| Part::ZsetMember {
            member: Element::Bytes(member),
            score,
        };
        Ok(members.into_iter().zip(scores).map(part).collect())
    }

    async fn hash(&mut self, mut scan: Scan) -> Result<Vec<Part>, ValueError> {
        let Some((names, values)) = hash::page(&mut scan, &mut self.one).await? else {
            self.value = Value::End(KeyType::Hash);
            return Ok(Vec::new());
        };
        let expiries = hash::expiries(&mut self.one, &self.key.key, &names).await?;
        self.value = Value::Hash(scan);
        let fields = names.into_iter().zip(values).zip(expiries);
        let part = |((field, value), expiry): (_, hash::FieldExpiry)| {
            // One that is not there any more has expired.
            Some(Part::HashField {
                expire_at_ms: expiry?,
                field: Element::Bytes(field),
                value: Element::Bytes(value),
            })
        };
        Ok(fields.filter_map(part).collect())
    }

    async fn stream(&mut self, mut stream: Box<StreamReading>) -> Result<Vec<Part>, ValueError> {
        let parts = stream.next(&mut self.one).await?;
        self.value = match parts {
            Some(_) => Value::Stream(stream),
            None => Value::End(KeyType::Stream),
        };
        Ok(parts.unwrap_or_default())
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
    one: &mut One<'_>,
    key: &Bytes,
    value_type: KeyType,
) -> Result<Option<(ValueType, Value)>, ValueError> {
    let (byte, value) = match value_type {
        KeyType::String => {
            let len = one.ask_int(&[b"STRLEN", key]).await?.unsigned_abs();
            (0, Value::String { at: 0, len })
        }
        KeyType::List => {
            let size = PageSize::new();
            (1, Value::List { at: 0, size })
        }
        KeyType::Set => (2, Value::Set(Scan::new(b"SSCAN", key))),
        KeyType::Zset => (5, Value::Zset(Scan::new(b"ZSCAN", key))),
        KeyType::Hash => (4, Value::Hash(Scan::new(b"HSCAN", key))),
        KeyType::Stream => {
            let stream = StreamReading::new(key);
            (19, Value::Stream(Box::new(stream)))
        }
        KeyType::Module | KeyType::VectorSet | KeyType::Array | KeyType::Json | KeyType::Other => {
            return Ok(None);
        }
    };
    Ok(Some((ValueType::common(byte), value)))
}

/// The value as DUMP gives it; `None` when it is gone.
async fn whole(one: &mut One<'_>, key: &Bytes) -> Result<Option<(ValueType, Value)>, ValueError> {
    let Some(dumped) = one.dump(key).await? else {
        return Ok(None);
    };
    let payload = payload::check(&dumped).map_err(|error| one.unreadable(&error))?;
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
