//! What a stream has in the order of ids, page by page: entries, and the pending entries of a group.

use std::{cmp::Ordering, collections::VecDeque};

use bytes::Bytes;

use crate::{
    keyspace::{StreamId, unix_ms},
    rdb::Element,
    resp::Reply,
    verify::{
        compare::stream::{Entry, Owner, Pending},
        peer::Request,
    },
};

use super::super::{LargeError, Pair, one::One, pace::Pace, replies};

/// What comes in pages, by ids that ascend.
pub(super) trait Rows {
    type Row;

    /// The name of the command.
    const COMMAND: &'static str;

    /// Asks for so many rows from an id on.
    fn ask(&self, request: &mut Request, from: &str, count: &str);

    /// Reads the rows, and how many bytes they have about.
    fn read(replies: Vec<Reply>) -> Option<(Vec<Self::Row>, usize)>;

    fn id(row: &Self::Row) -> StreamId;
}

/// The entries of a stream.
#[derive(Debug)]
pub(super) struct Entries<'k> {
    pub(super) key: &'k Bytes,
}

impl Rows for Entries<'_> {
    type Row = Entry;

    const COMMAND: &'static str = "XRANGE";

    fn ask(&self, request: &mut Request, from: &str, count: &str) {
        let (from, count) = (from.as_bytes(), count.as_bytes());
        request.add(&[b"XRANGE", self.key, from, b"+", b"COUNT", count]);
    }

    fn read(mut replies: Vec<Reply>) -> Option<(Vec<Entry>, usize)> {
        let mut bytes = 0;
        let rows = replies::list(replies.pop()?)?.into_iter().map(|row| {
            let [id, fields] = <[Reply; 2]>::try_from(replies::list(row)?).ok()?;
            let id = replies::stream_id(&replies::string(id)?)?;
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

/// The pending entries of a group; with each, by how many ms the time may be wrong at which it was
/// delivered.
#[derive(Debug)]
pub(super) struct PendingEntries<'k> {
    pub(super) key: &'k Bytes,
    pub(super) group: &'k Bytes,
}

impl Rows for PendingEntries<'_> {
    type Row = (Pending, i64);

    const COMMAND: &'static str = "XPENDING";

    fn ask(&self, request: &mut Request, from: &str, count: &str) {
        // It answers for how long they have been pending, so the time has to be known.
        request.add(&[b"TIME"]);
        let (from, count) = (from.as_bytes(), count.as_bytes());
        request.add(&[b"XPENDING", self.key, self.group, from, b"+", count]);
        request.add(&[b"TIME"]);
    }

    fn read(replies: Vec<Reply>) -> Option<(Vec<(Pending, i64)>, usize)> {
        let [before, rows, after] = <[Reply; 3]>::try_from(replies).ok()?;
        let (before, after) = (time(before)?, time(after)?);
        let uncertain_ms = after.saturating_sub(before).max(0) + 1;
        let mut bytes = 0;
        let rows = replies::list(rows)?.into_iter().map(|row| {
            let [id, owner, idle, count] = <[Reply; 4]>::try_from(replies::list(row)?).ok()?;
            let owner = match owner {
                Reply::Bulk(Some(name)) => Owner::Consumer(name),
                Reply::Bulk(None) => Owner::GivenBack,
                _ => return None,
            };
            let Reply::Int(idle_ms) = idle else {
                return None;
            };
            bytes += size_of::<Pending>();
            let pending = Pending {
                id: replies::stream_id(&replies::string(id)?)?,
                owner,
                delivered_at_ms: before.saturating_sub(idle_ms),
                delivery_count: replies::number(&count)?,
            };
            Some((pending, uncertain_ms))
        });
        Some((rows.collect::<Option<Vec<_>>>()?, bytes))
    }

    fn id(row: &(Pending, i64)) -> StreamId {
        row.0.id
    }
}

/// What TIME answers, in ms.
fn time(reply: Reply) -> Option<i64> {
    let parts = replies::strings(reply)?;
    let numbers = parts
        .iter()
        .map(|part| std::str::from_utf8(part).ok()?.parse().ok());
    match numbers.collect::<Option<Vec<i64>>>()?[..] {
        [seconds, micros] => Some(unix_ms(seconds, micros)),
        _ => None,
    }
}

/// The rows of one side that have been read and not visited.
struct Feed<R: Rows> {
    rows: VecDeque<R::Row>,
    /// From where to go on; `None` behind the last row.
    from: Option<StreamId>,
    visited: u64,
    pace: Pace,
}

impl<R: Rows> Feed<R> {
    fn new() -> Feed<R> {
        Feed {
            rows: VecDeque::new(),
            from: Some(StreamId::default()),
            visited: 0,
            pace: Pace::new(),
        }
    }

    /// Reads the next page, unless there are rows to visit, or no more to come.
    async fn fill(&mut self, one: &mut One<'_>, rows: &R) -> Result<(), LargeError> {
        while let (true, Some(from)) = (self.rows.is_empty(), self.from) {
            let mut request = Request::default();
            let (from, count) = (from.to_string(), self.pace.count());
            rows.ask(&mut request, &from, &count.to_string());
            let replies = one.ask_within(request, self.pace.reply_bytes_max()).await?;
            let Some(replies) = replies else {
                self.pace.shrink();
                continue;
            };
            let (page, bytes) = R::read(replies).ok_or_else(|| one.odd(R::COMMAND))?;
            self.pace.learn(page.len(), bytes);
            let is_full = page.len() as u64 >= count;
            self.from = page.last().map(R::id).filter(|_| is_full).and_then(next);
            self.rows = page.into();
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<R::Row> {
        let row = self.rows.pop_front();
        self.visited += u64::from(row.is_some());
        row
    }
}

/// The next id there can be.
fn next(id: StreamId) -> Option<StreamId> {
    let StreamId { ms, seq } = id;
    match seq.checked_add(1) {
        Some(seq) => Some(StreamId { ms, seq }),
        None => Some(StreamId {
            ms: ms.checked_add(1)?,
            seq: 0,
        }),
    }
}

/// Visits the rows of both sides in pairs of the same id, and says how many each side has; what only
/// one of them has comes alone.
pub(super) async fn in_pairs<R: Rows>(
    pair: &mut Pair<'_>,
    rows: &R,
    mut visit: impl FnMut(Option<&R::Row>, Option<&R::Row>),
) -> Result<[u64; 2], LargeError> {
    let (mut source, mut target) = pair.split();
    let (mut ours, mut theirs) = (Feed::<R>::new(), Feed::<R>::new());
    loop {
        let (read, other) =
            tokio::join!(ours.fill(&mut source, rows), theirs.fill(&mut target, rows),);
        read?;
        other?;
        let ids = [&ours, &theirs].map(|feed| feed.rows.front().map(R::id));
        let order = match ids {
            [None, None] => return Ok([ours.visited, theirs.visited]),
            [Some(_), None] => Ordering::Less,
            [None, Some(_)] => Ordering::Greater,
            [Some(id), Some(other)] => id.cmp(&other),
        };
        let one = if order.is_le() { ours.pop() } else { None };
        let other = if order.is_ge() { theirs.pop() } else { None };
        visit(one.as_ref(), other.as_ref());
    }
}
