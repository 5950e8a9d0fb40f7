//! Streams: what comes in the order of ids, and what XINFO tells.

use bytes::Bytes;

use crate::{
    keyspace::{StreamId, UnixMs},
    rdb::{Element, StreamConsumer, StreamGroup, StreamIdempotency, StreamMeta, StreamPending},
    resp::Reply,
    verify::{compare::stream::Entry, peer::Request},
};

use super::{One, PageSize, ValueError, replies, replies::Fields};

/// What comes in pages, by ids that ascend.
pub(in crate::verify) trait Rows {
    /// One of them.
    type Row;

    /// The name of the command.
    const COMMAND: &'static str;

    /// Asks for so many rows from an id on.
    fn ask(&self, request: &mut Request, from: &str, count: &str);

    /// Reads the rows, and how many bytes they have about.
    fn read(replies: Vec<Reply>) -> Option<(Vec<Self::Row>, usize)>;

    /// The id of a row.
    fn id(row: &Self::Row) -> StreamId;
}

/// The entries of a stream.
#[derive(Debug, Clone)]
pub(in crate::verify) struct Entries {
    pub(in crate::verify) key: Bytes,
}

impl Rows for Entries {
    type Row = Entry;

    const COMMAND: &'static str = "XRANGE";

    fn ask(&self, request: &mut Request, from: &str, count: &str) {
        let (from, count) = (from.as_bytes(), count.as_bytes());
        request.add(&[b"XRANGE", &self.key, from, b"+", b"COUNT", count]);
    }

    fn read(mut replies: Vec<Reply>) -> Option<(Vec<Entry>, usize)> {
        let mut bytes = 0;
        let rows = replies::list(replies.pop()?)?.into_iter().map(|row| {
            let [id, fields] = <[Reply; 2]>::try_from(replies::list(row)?).ok()?;
            let id = StreamId::parse(&replies::string(id)?)?;
            let (mut flat, mut fields) = (replies::strings(fields)?.into_iter(), Vec::new());
            while let Some(field) = flat.next() {
                let value = flat.next()?;
                bytes += field.len() + value.len();
                fields.push((Element::Bytes(field), Element::Bytes(value)));
            }
            Some((id, fields))
        });
        Some((rows.collect::<Option<Vec<Entry>>>()?, bytes))
    }

    fn id(row: &Entry) -> StreamId {
        row.0
    }
}

/// The pending entries of a group, or of one of its consumers.
#[derive(Debug, Clone)]
pub(in crate::verify) struct PendingEntries {
    pub(in crate::verify) key: Bytes,
    pub(in crate::verify) group: Bytes,
    /// `None` is everybody.
    pub(in crate::verify) consumer: Option<Bytes>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug)]
pub(in crate::verify) struct PendingEntry {
    pub(in crate::verify) pending: StreamPending,
    /// Who has it; `None` when it was given back (Redis 8.8).
    pub(in crate::verify) consumer: Option<Bytes>,
    /// By how many ms the time may be wrong at which it was delivered.
    pub(in crate::verify) uncertain_ms: i64,
}

impl Rows for PendingEntries {
    type Row = PendingEntry;

    const COMMAND: &'static str = "XPENDING";

    fn ask(&self, request: &mut Request, from: &str, count: &str) {
        let PendingEntries {
            key,
            group,
            consumer,
        } = self;
        let (from, count) = (from.as_bytes(), count.as_bytes());
        let words: [&[u8]; 6] = [b"XPENDING", key, group, from, b"+", count];
        // It answers for how long they have been pending, so the time has to be known.
        request.add(&[b"TIME"]);
        request.add_many(&words, consumer.iter());
        request.add(&[b"TIME"]);
    }

    fn read(replies: Vec<Reply>) -> Option<(Vec<PendingEntry>, usize)> {
        let [before, rows, after] = <[Reply; 3]>::try_from(replies).ok()?;
        let (before, after) = (replies::time(before)?, replies::time(after)?);
        let uncertain_ms = after.saturating_sub(before).max(0) + 1;
        let mut bytes = 0;
        let rows = replies::list(rows)?.into_iter().map(|row| {
            let [id, consumer, idle, count] = <[Reply; 4]>::try_from(replies::list(row)?).ok()?;
            let Reply::Int(idle_ms) = idle else {
                return None;
            };
            bytes += size_of::<PendingEntry>();
            let pending = StreamPending {
                id: StreamId::parse(&replies::string(id)?)?,
                delivered_at_ms: before.saturating_sub(idle_ms),
                delivery_count: replies::number(&count)?,
            };
            Some(PendingEntry {
                pending,
                consumer: replies::nullable(consumer)?,
                uncertain_ms,
            })
        });
        Some((rows.collect::<Option<Vec<_>>>()?, bytes))
    }

    fn id(row: &PendingEntry) -> StreamId {
        row.pending.id
    }
}

/// Rows of one side, page by page.
#[derive(Debug)]
pub(in crate::verify) struct RowPages<R> {
    rows: R,
    /// From where to go on; `None` behind the last row.
    from: Option<StreamId>,
    size: PageSize,
}

impl<R: Rows> RowPages<R> {
    /// Before the first page.
    pub(in crate::verify) fn new(rows: R) -> RowPages<R> {
        RowPages {
            rows,
            from: Some(StreamId::default()),
            size: PageSize::new(),
        }
    }

    /// The next rows, `None` behind the last page.
    ///
    /// # Errors
    /// As [`ValueError`].
    pub(in crate::verify) async fn next(
        &mut self,
        one: &mut One<'_>,
    ) -> Result<Option<Vec<R::Row>>, ValueError> {
        let Some(from) = self.from else {
            return Ok(None);
        };
        loop {
            let mut request = Request::default();
            let count = self.size.count();
            self.rows
                .ask(&mut request, &from.to_string(), &count.to_string());
            let replies = one.ask_within(request, self.size.reply_bytes_max()).await?;
            let Some(replies) = replies else {
                self.size.shrink();
                continue;
            };
            let (page, bytes) = R::read(replies).ok_or_else(|| one.odd(R::COMMAND))?;
            self.size.learn(page.len(), bytes);
            let is_full = page.len() as u64 >= count;
            let last = page.last().map(R::id).filter(|_| is_full);
            self.from = last.and_then(StreamId::next);
            return Ok(Some(page));
        }
    }
}

/// What XINFO tells of a stream and its groups, without what is in them.
#[derive(Debug)]
pub(in crate::verify) struct State {
    pub(in crate::verify) meta: StreamMeta,
    /// How repeated XADDs are recognised, where the server tells (Redis 8.6).
    pub(in crate::verify) idempotency: Option<StreamIdempotency>,
    /// In the order of their names.
    pub(in crate::verify) groups: Vec<GroupState>,
}

/// A consumer group.
#[derive(Debug)]
pub(in crate::verify) struct GroupState {
    pub(in crate::verify) group: StreamGroup,
    /// How many entries nobody has acknowledged.
    pub(in crate::verify) pending: u64,
}

/// Asks for the state of a stream.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn state(one: &mut One<'_>, key: &Bytes) -> Result<State, ValueError> {
    let mut request = Request::default();
    request.add(&[b"XINFO", b"STREAM", key]);
    request.add(&[b"XINFO", b"GROUPS", key]);
    let mut replies = one.ask(request).await?.into_iter();
    let state = replies.next().and_then(Fields::of).and_then(|about| {
        let mut groups: Vec<GroupState> = replies::list(replies.next()?)?
            .into_iter()
            .map(|about| group(&Fields::of(about)?))
            .collect::<Option<_>>()?;
        groups.sort_by(|one, other| one.group.name.cmp(&other.group.name));
        Some(State {
            meta: meta(&about)?,
            idempotency: idempotency(&about),
            groups,
        })
    });
    state.ok_or_else(|| one.odd("XINFO"))
}

fn meta(about: &Fields) -> Option<StreamMeta> {
    Some(StreamMeta {
        length: about.number("length")?,
        last_id: about.id("last-generated-id")?,
        max_deleted_id: about.id("max-deleted-entry-id"),
        entries_added: about.number("entries-added"),
    })
}

fn idempotency(about: &Fields) -> Option<StreamIdempotency> {
    Some(StreamIdempotency {
        duration_s: about.number("idmp-duration")?,
        entries_max: about.number("idmp-maxsize")?,
        // What they have sent is not read.
        producers: 0,
    })
}

fn group(about: &Fields) -> Option<GroupState> {
    Some(GroupState {
        group: StreamGroup {
            name: about.text("name")?,
            last_id: about.id("last-delivered-id")?,
            entries_read: about.number("entries-read"),
        },
        pending: about.number("pending")?,
    })
}

/// A consumer of a group.
#[derive(Debug)]
pub(in crate::verify) struct ConsumerState {
    pub(in crate::verify) consumer: StreamConsumer,
    /// How many entries it has not acknowledged.
    pub(in crate::verify) pending: u64,
}

/// Asks for the consumers of a group, in the order of their names.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn consumers(
    one: &mut One<'_>,
    key: &Bytes,
    group: &Bytes,
) -> Result<Vec<ConsumerState>, ValueError> {
    let mut request = Request::default();
    // It tells for how long they have been idle, so the time has to be known.
    request.add(&[b"TIME"]);
    request.add(&[b"XINFO", b"CONSUMERS", key, group]);
    let mut replies = one.ask(request).await?.into_iter();
    let consumers = replies.next().and_then(replies::time).and_then(|now_ms| {
        let consumers = replies::list(replies.next()?)?.into_iter();
        consumers
            .map(|about| consumer(&Fields::of(about)?, now_ms))
            .collect::<Option<Vec<ConsumerState>>>()
    });
    let mut consumers = consumers.ok_or_else(|| one.odd("XINFO CONSUMERS"))?;
    consumers.sort_by(|one, other| one.consumer.name.cmp(&other.consumer.name));
    Ok(consumers)
}

fn consumer(about: &Fields, now_ms: UnixMs) -> Option<ConsumerState> {
    let before = |idle_ms: i64| now_ms.saturating_sub(idle_ms);
    // -1 says that it never got anything.
    let inactive_ms = about.integer("inactive").filter(|idle_ms| *idle_ms >= 0);
    Some(ConsumerState {
        consumer: StreamConsumer {
            name: about.text("name")?,
            seen_at_ms: before(about.integer("idle")?),
            active_at_ms: inactive_ms.map(before),
        },
        pending: about.number("pending")?,
    })
}
