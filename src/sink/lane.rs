//! A lane: one connection to the target, its batches in order, its bounded window.
//!
//! ```text
//!  batches ──► [waiting] ──► outgoing bytes ──► target
//!                               │ in flight: requests without their replies yet
//!  events  ◄── judge ◄── replies ◄────────────────
//! ```
//!
//! The window bounds the bytes in flight. A request that is refused for a passing reason (OOM,
//! LOADING, BUSY ...) halts the lane: nothing more is sent until everything in flight has been
//! answered, then what was refused is sent again, in order, until it is taken or the deadline
//! passes. What must not overtake an unconfirmed request stands in a batch that asks to be sent
//! only after everything before it is confirmed. So does whatever stands behind a SELECT: a
//! refused SELECT must never leave commands to another db.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
};

use crate::{
    keyspace::{Db, Escaped},
    net::{Connection, Node},
    resp::{self, CommandDecoder, Encoder, Reply, ReplyDecoder, ReplyError, ReplyErrorKind},
};

use super::{
    Lossy, Target,
    batch::{self, Batch, Named, Request, Shape, Writes},
    connect::connect,
    error::{Error, ErrorKind},
    fallback,
    judge::{Verdict, judge, named},
    policy::{Conflict, OnLossy},
    staging::{rebuild_key, transaction},
};

/// Batches that wait for room in the window. Two keep the lane busy while the next is built.
const BATCHES_WAITING_MAX: usize = 2;

/// Room that a read of replies gets.
const REPLY_BYTES: usize = 16 * 1024;

/// The longest pause between two tries of what was refused.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// An idle connection says PING this often, so that nobody on the way forgets it.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Somebody is told when the target has not answered for so long.
const SILENCE: Duration = Duration::from_secs(5);

/// What a lane needs to know.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// The target.
    pub node: Node,
    /// How long opening the connection may take.
    pub connect_timeout: Duration,
    /// Bytes sent and not confirmed, at the most.
    pub window_bytes_max: usize,
    /// How long passing refusals are waited out.
    pub retry_for: Duration,
    /// What to do when a key exists.
    pub conflict: Conflict,
    /// What the target understands, to say with commands what its RESTORE refuses.
    pub target: Arc<Target>,
    /// What to do with what the target cannot hold.
    pub on_lossy: OnLossy,
}

/// What a lane reports.
#[derive(Debug)]
pub enum LaneEvent {
    /// A batch is confirmed.
    Confirmed(Confirmed),
    /// The target refuses for a passing reason; the lane waits.
    Waiting(String),
    /// It takes commands again.
    Recovered,
    /// The lane has ended for good.
    Failed(Error),
}

/// What a confirmed batch has done.
#[derive(Debug, Default)]
pub struct Confirmed {
    /// Keys written, with the type of their values.
    pub keys: Vec<(crate::rdb::ValueType, u64)>,
    /// Keys that the target had and kept.
    pub skipped: Vec<(Db, Bytes)>,
    /// Function libraries that the target had and kept.
    pub skipped_functions: u64,
    /// Function libraries loaded.
    pub functions: u64,
    /// Commands of the stream.
    pub commands: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Requests that were refused and will be sent again.
    pub retries: u64,
    /// Keys that had expired before they were written.
    pub expired: u64,
    /// Keys without elements, found when their RESTORE was refused.
    pub empty: u64,
    /// What could not be said on the target when a refused RESTORE was rebuilt.
    pub lossy: Vec<(Db, Lossy)>,
    /// The stream offset that is applied.
    pub applied_offset: Option<u64>,
}

/// The sending end of a lane. Dropping it ends the lane at once, whatever is under way.
#[derive(Debug)]
pub struct Lane {
    /// `None` once it is to finish.
    batches: Option<mpsc::Sender<Batch>>,
    task: tokio::task::JoinHandle<()>,
}

/// The lane has ended; its last event says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneEnded;

impl Lane {
    /// Connects and starts lane `index`, which has a staging name of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`], [`ErrorKind::LaneLogin`], [`ErrorKind::Reply`].
    pub async fn open(
        index: usize,
        config: LaneConfig,
        events: mpsc::UnboundedSender<LaneEvent>,
    ) -> Result<Lane, Error> {
        let connection = connect(&config.node, config.connect_timeout).await?;
        let (reader, writer) = tokio::io::split(connection);
        let (batches, mut waiting) = mpsc::channel(BATCHES_WAITING_MAX);
        let driver = Driver {
            reader,
            writer,
            config,
            staging: rebuild_key(index),
            events: events.clone(),
            decoder: ReplyDecoder::new(resp::Limits::default()),
            inbound: BytesMut::new(),
            outgoing: VecDeque::new(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            held_back: None,
            refused: Vec::new(),
            retry: None,
            db: Db(0),
            heard_at: Instant::now(),
            silence_told: false,
        };
        let task = tokio::spawn(async move {
            if let Err(error) = driver.run(&mut waiting).await {
                // Nobody listens only when the whole migration has ended already.
                let _ = events.send(LaneEvent::Failed(error));
            }
        });
        Ok(Lane {
            batches: Some(batches),
            task,
        })
    }

    /// Hands over a batch, waiting for room. May be dropped midway: the batch is then not sent.
    ///
    /// # Errors
    /// [`LaneEnded`] when the lane has failed.
    pub async fn send(&self, batch: Batch) -> Result<(), LaneEnded> {
        match &self.batches {
            Some(batches) => batches.send(batch).await.map_err(|_| LaneEnded),
            None => Err(LaneEnded),
        }
    }

    /// Lets the lane finish what it was given and waits for its end. Whether all went well is
    /// in its events.
    ///
    /// # Panics
    /// When the lane's task has panicked: what it was given is not on the target then.
    pub async fn finish(mut self) {
        self.batches = None;
        if let Err(panicked) = (&mut self.task).await {
            std::panic::resume_unwind(panicked.into_panic());
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind a lane.
struct Driver {
    config: LaneConfig,
    staging: Bytes,
    reader: ReadHalf<Connection>,
    writer: WriteHalf<Connection>,
    events: mpsc::UnboundedSender<LaneEvent>,
    decoder: ReplyDecoder,
    inbound: BytesMut,
    outgoing: VecDeque<Bytes>,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// A batch that came from the queue and must wait until all before it is confirmed.
    held_back: Option<Batch>,
    refused: Vec<Refused>,
    retry: Option<Retrying>,
    /// The db that will be selected once everything outgoing is executed.
    db: Db,
    /// When the target last answered, or the lane last had nothing to wait for.
    heard_at: Instant,
    silence_told: bool,
}

/// A batch that was sent, and how far its replies have come.
struct InFlight {
    batch: Batch,
    /// The request whose replies come next.
    next: usize,
    replies: Vec<Reply>,
    done: Confirmed,
}

/// A request to be sent again.
struct Refused {
    segments: Vec<Bytes>,
    request: Request,
    applied_offset: Option<u64>,
}

/// The state of waiting out a passing refusal.
struct Retrying {
    since: Instant,
    at: Option<Instant>,
    backoff: Duration,
    /// Somebody was told that we wait.
    announced: bool,
}

impl Retrying {
    fn begin() -> Retrying {
        Retrying {
            since: Instant::now(),
            at: None,
            backoff: BACKOFF_MIN,
            announced: false,
        }
    }
}

impl InFlight {
    /// Takes request `index` out of the batch; what is left of it counts nothing.
    fn take(&mut self, index: usize) -> Option<Refused> {
        let start = index
            .checked_sub(1)
            .and_then(|before| self.batch.requests.get(before))
            .map_or(0, |before| before.end);
        let request = self.batch.requests.get_mut(index)?;
        Some(Refused {
            segments: batch::slice(&self.batch.segments, start, request.end),
            applied_offset: self.batch.applied_offset.take(),
            request: Request {
                end: request.end - start,
                shape: request.shape,
                commands: std::mem::take(&mut request.commands),
                writes: std::mem::replace(&mut request.writes, Writes::Part),
                db: request.db,
            },
        })
    }
}

impl Driver {
    /// Drives the lane to its end. `waiting` is only borrowed: its closing tells the other side
    /// that the lane has ended, and the reason must be on its way by then.
    async fn run(mut self, waiting: &mut mpsc::Receiver<Batch>) -> Result<(), Error> {
        let mut open = true;
        while open || !self.is_idle() {
            let wants_batch = open && self.held_back.is_none() && self.has_room();
            let retry_at = self.retry_at();
            let quiet_until = self.quiet_until();
            self.inbound.reserve(REPLY_BYTES);
            tokio::select! {
                read = self.reader.read_buf(&mut self.inbound) => {
                    if read.map_err(|error| self.lost(Some(error)))? == 0 {
                        return Err(self.lost(None));
                    }
                    self.heard();
                    self.take_replies()?;
                }
                written = write_some(&mut self.writer, &self.outgoing), if !self.outgoing.is_empty() => {
                    let written = written.map_err(|error| self.lost(Some(error)))?;
                    if written == 0 {
                        return Err(self.lost(None));
                    }
                    advance(&mut self.outgoing, written);
                }
                batch = waiting.recv(), if wants_batch => match batch {
                    Some(batch) => self.held_back = Some(batch),
                    None => open = false,
                },
                () = sleep_until(retry_at) => self.send_refused(),
                () = sleep_until(quiet_until) => self.break_silence(),
            }
            self.send_held_back();
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.is_confirmed() && self.held_back.is_none()
    }

    fn is_confirmed(&self) -> bool {
        self.in_flight.is_empty() && self.refused.is_empty()
    }

    fn has_room(&self) -> bool {
        self.retry.is_none() && self.in_flight_bytes < self.config.window_bytes_max
    }

    fn send_held_back(&mut self) {
        let Some(mut batch) = self.held_back.take() else {
            return;
        };
        let ready = self.retry.is_none() && (!batch.after_confirmed || self.is_confirmed());
        match batch.db {
            Some(db) if db != self.db => {
                if ready && self.is_confirmed() {
                    self.send(single(&[b"SELECT", db.to_string().as_bytes()], db));
                    self.db = db;
                    batch.after_confirmed = true;
                }
                self.held_back = Some(batch);
            }
            _ if ready => self.send(batch),
            _ => self.held_back = Some(batch),
        }
    }

    fn send(&mut self, batch: Batch) {
        if self.is_confirmed() {
            self.heard();
        }
        self.outgoing.extend(batch.segments.iter().cloned());
        self.in_flight_bytes += batch.len();
        self.in_flight.push_back(InFlight {
            batch,
            next: 0,
            replies: Vec::new(),
            done: Confirmed::default(),
        });
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
        if std::mem::take(&mut self.silence_told) {
            let _ = self.events.send(LaneEvent::Recovered);
        }
    }

    /// Until when silence is no reason to do anything.
    fn quiet_until(&self) -> Option<Instant> {
        match self.in_flight.is_empty() {
            true => Some(self.heard_at + KEEPALIVE),
            false if self.silence_told => None,
            false => Some(self.heard_at + SILENCE),
        }
    }

    /// Says PING on an idle connection; tells somebody when an answer is overdue.
    fn break_silence(&mut self) {
        if self.in_flight.is_empty() {
            self.send(single(&[b"PING"], self.db));
            return;
        }
        self.silence_told = true;
        let why = format!("the target has not answered for {SILENCE:?}");
        let _ = self.events.send(LaneEvent::Waiting(why));
    }

    fn take_replies(&mut self) -> Result<(), Error> {
        self.decoder.feed(self.inbound.split().freeze());
        while let Some(reply) = self
            .decoder
            .next()
            .map_err(|error| self.fail(ErrorKind::Reply(Some(error))))?
        {
            self.take_reply(reply)?;
        }
        Ok(())
    }

    fn take_reply(&mut self, reply: Reply) -> Result<(), Error> {
        let Some(front) = self.in_flight.front_mut() else {
            return Err(self.fail(ErrorKind::Reply(None)));
        };
        front.replies.push(reply);
        let Some(request) = front.batch.requests.get(front.next) else {
            return Err(self.fail(ErrorKind::Reply(None)));
        };
        if front.replies.len() < request.replies() {
            return Ok(());
        }
        let verdict = judge(request, &mut front.replies);
        front.replies.clear();
        front.next += 1;
        self.act_on(verdict)?;
        self.close_front();
        Ok(())
    }

    /// Acts on the verdict about the request before `next` of the front batch.
    fn act_on(&mut self, verdict: Verdict) -> Result<(), Error> {
        let Some(front) = self.in_flight.front_mut() else {
            return Ok(());
        };
        let index = front.next - 1;
        let Some(request) = front.batch.requests.get(index) else {
            return Ok(());
        };
        let db = request.db;
        match verdict {
            Verdict::Done => front.done.count(&request.writes),
            Verdict::Expired => front.done.expired += 1,
            Verdict::KeyExists
                if self.config.conflict == Conflict::Skip && request.writes == Writes::Function =>
            {
                front.done.skipped_functions += 1;
            }
            Verdict::KeyExists if self.config.conflict == Conflict::Skip => {
                let key = named(request, 0).key;
                front.done.skipped.push((db, key));
            }
            Verdict::KeyExists if request.writes == Writes::Function => {
                let name = named(request, 0).key;
                return Err(self.fail(ErrorKind::LibraryExists { name }));
            }
            Verdict::KeyExists => {
                let command = named(request, 0);
                return Err(self.fail(ErrorKind::KeyExists { command, db }));
            }
            Verdict::Again(reply) => {
                front.done.retries += 1;
                self.refuse(index, reply)?;
            }
            Verdict::Refused(_, reply) if is_refused_payload(request, &reply) => {
                self.rebuild(index)?;
            }
            Verdict::Refused(at, reply) => {
                let command = named(request, at);
                return Err(self.fail(ErrorKind::Refused { command, db, reply }));
            }
            Verdict::Unexpected(_) => return Err(self.fail(ErrorKind::Reply(None))),
        }
        Ok(())
    }

    /// Takes request `index` out of the front batch, to be sent on its own.
    fn take_out(&mut self, index: usize) -> Option<Refused> {
        let front = self.in_flight.front_mut()?;
        front.take(index)
    }

    /// Keeps request `index` of the front batch for another try.
    fn refuse(&mut self, index: usize, reply: ReplyError) -> Result<(), Error> {
        let Some(refused) = self.take_out(index) else {
            return Ok(());
        };
        let command = named(&refused.request, 0);
        let retry = self.retry.get_or_insert_with(Retrying::begin);
        if !std::mem::replace(&mut retry.announced, true) {
            let why = format!("the target refuses {command}: {reply}");
            let _ = self.events.send(LaneEvent::Waiting(why));
        }
        if retry.since.elapsed() > self.config.retry_for {
            return Err(self.fail(ErrorKind::RefusedTooLong {
                command,
                db: refused.request.db,
                reply,
                waited: self.config.retry_for,
            }));
        }
        self.refused.push(refused);
        Ok(())
    }

    /// Keeps what request `index` of the front batch, a RESTORE that was refused, becomes when
    /// it is said with other commands.
    fn rebuild(&mut self, index: usize) -> Result<(), Error> {
        let Some(refused) = self.take_out(index) else {
            return Ok(());
        };
        let Named { key, .. } = named(&refused.request, 0);
        tracing::debug!(key = %Escaped(&key), "a payload is refused; the value is rebuilt");
        let mut decoder = CommandDecoder::new(resp::Limits::default());
        for segment in &refused.segments {
            decoder.feed(segment.clone());
        }
        let restore = match decoder.next() {
            Ok(Some(decoded)) => decoded.command,
            Ok(None) | Err(_) => return Err(self.fail(ErrorKind::Reply(None))),
        };
        let rebuilt =
            fallback::rebuild(&restore, &self.config.target, &self.staging).map_err(|source| {
                self.fail(ErrorKind::Value {
                    key: key.clone(),
                    source,
                })
            })?;
        let db = refused.request.db;
        if let Some(front) = self.in_flight.front_mut() {
            front.done.empty += u64::from(rebuilt.is_empty);
        }
        for lossy in rebuilt.lossy {
            if self.config.on_lossy == OnLossy::Fail {
                return Err(self.fail(ErrorKind::Lossy { lossy, db }));
            }
            if let Some(front) = self.in_flight.front_mut() {
                front.done.lossy.push((db, lossy));
            }
        }
        if rebuilt.commands.is_empty() {
            return Ok(());
        }
        let shape = match refused.request.shape {
            Shape::IfAbsent => Shape::TransactionIfAbsent,
            _ => Shape::Transaction,
        };
        let shape = shape.expiring(rebuilt.may_vanish);
        let (segments, request) =
            transaction(&rebuilt.commands, db, &key, shape, refused.request.writes);
        self.refused.push(Refused {
            segments,
            request,
            ..refused
        });
        self.retry.get_or_insert_with(Retrying::begin);
        Ok(())
    }

    /// Reports and drops the front batch once all its replies are in.
    fn close_front(&mut self) {
        let complete = |front: &InFlight| front.next == front.batch.requests.len();
        if !self.in_flight.front().is_some_and(complete) {
            return;
        }
        let Some(mut front) = self.in_flight.pop_front() else {
            return;
        };
        self.in_flight_bytes -= front.batch.len();
        front.done.bytes = front.batch.len() as u64;
        front.done.applied_offset = front.batch.applied_offset;
        let _ = self.events.send(LaneEvent::Confirmed(front.done));
        if self.in_flight.is_empty() {
            self.settle();
        }
    }

    /// Everything sent has been answered: plans the next try, or goes on.
    fn settle(&mut self) {
        let Some(retry) = &mut self.retry else {
            return;
        };
        if self.refused.is_empty() {
            if retry.announced {
                let _ = self.events.send(LaneEvent::Recovered);
            }
            self.retry = None;
            return;
        }
        let pause = match retry.announced {
            true => retry.backoff,
            // Nothing has to pass: a payload was rebuilt.
            false => Duration::ZERO,
        };
        retry.at = Some(Instant::now() + pause);
        retry.backoff = (retry.backoff * 2).min(BACKOFF_MAX);
    }

    fn retry_at(&self) -> Option<Instant> {
        self.retry.as_ref().and_then(|retry| retry.at)
    }

    /// Sends again what was refused, each request as a batch of its own.
    fn send_refused(&mut self) {
        if let Some(retry) = &mut self.retry {
            retry.at = None;
        }
        for refused in std::mem::take(&mut self.refused) {
            self.send(Batch {
                segments: refused.segments,
                requests: vec![refused.request],
                db: None,
                after_confirmed: false,
                applied_offset: refused.applied_offset,
            });
        }
    }

    fn lost(&self, source: Option<io::Error>) -> Error {
        self.fail(ErrorKind::Lost {
            unconfirmed: self.in_flight_bytes,
            source,
        })
    }

    fn fail(&self, kind: ErrorKind) -> Error {
        kind.at(&self.config.node.endpoint)
    }
}

impl Confirmed {
    fn count(&mut self, writes: &Writes) {
        match writes {
            Writes::Part => {}
            Writes::Keys { value_type, count } => match self.keys.last_mut() {
                Some((last, sum)) if last == value_type => *sum += count,
                _ => self.keys.push((*value_type, *count)),
            },
            Writes::Function => self.functions += 1,
            Writes::Commands(count) => self.commands += count,
        }
    }
}

/// Whether a RESTORE was refused for its payload.
fn is_refused_payload(request: &Request, reply: &ReplyError) -> bool {
    let is_restore = request
        .commands
        .first()
        .is_some_and(|named| named.command == "RESTORE");
    let is_single = matches!(request.shape, Shape::Plain | Shape::IfAbsent);
    is_single && is_restore && reply.kind == ReplyErrorKind::BadPayload
}

/// A batch of one small command that writes nothing.
fn single(words: &[&[u8]], db: Db) -> Batch {
    let mut encoder = Encoder::default();
    encoder.words(words);
    let request = Request {
        end: encoder.len(),
        shape: Shape::Plain,
        commands: vec![Named {
            command: Bytes::copy_from_slice(words.first().unwrap_or(&&b""[..])),
            key: Bytes::new(),
            offset: None,
        }],
        writes: Writes::Part,
        db,
    };
    Batch {
        segments: encoder.take(),
        requests: vec![request],
        db: None,
        after_confirmed: false,
        applied_offset: None,
    }
}

/// Writes what the socket takes. May be dropped midway: nothing is written then.
async fn write_some(
    writer: &mut WriteHalf<Connection>,
    outgoing: &VecDeque<Bytes>,
) -> io::Result<usize> {
    const SLICES_MAX: usize = 16;
    let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
    let mut used = 0;
    for (slice, bytes) in slices.iter_mut().zip(outgoing) {
        *slice = io::IoSlice::new(bytes);
        used += 1;
    }
    writer
        .write_vectored(slices.get(..used).unwrap_or(&[]))
        .await
}

fn advance(outgoing: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = outgoing.front_mut() {
        if front.len() > written {
            front.advance(written);
            return;
        }
        written -= front.len();
        outgoing.pop_front();
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
