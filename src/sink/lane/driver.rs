//! The task behind a lane: what is sent, what was answered, what is sent again.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, WriteHalf},
    sync::mpsc,
};

use crate::{
    keyspace::{Db, Escaped},
    net::Connection,
    resp::{self, CommandDecoder, Reply, ReplyDecoder, ReplyError, ReplyErrorKind},
};

use super::{
    super::{
        batch::{Batch, Named, Request, Shape, Writes},
        claim::Claim,
        connect::Connected,
        error::{Error, ErrorKind},
        fallback::{self, Plan, Rebuilding},
        judge::{Verdict, named},
        policy::{Conflict, OnLossy},
        staging::{rebuild_key, transaction},
        window::{Admission, Share},
    },
    LaneConfig, LaneEvent, Marks,
    unconfirmed::{Refused, Unasked, Unconfirmed, single},
};

/// Room that a read of replies gets.
const REPLY_BYTES: usize = 16 * 1024;

/// The longest pause between two tries of what was refused.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// An idle connection says PING this often, so that nobody on the way forgets it.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Somebody is told when the target has not answered for so long.
const SILENCE: Duration = Duration::from_secs(5);

/// The task behind a lane.
pub(super) struct Driver {
    pub(super) config: LaneConfig,
    pub(super) index: usize,
    pub(super) last_connection: LastConnection,
    pub(super) events: mpsc::UnboundedSender<LaneEvent>,
    decoder: ReplyDecoder,
    inbound: BytesMut,
    outgoing: VecDeque<Bytes>,
    pub(super) unconfirmed: Unconfirmed,
    /// More batches may come.
    open: bool,
    /// A batch that came from the queue and must wait until all before it is confirmed.
    held_back: Option<Batch>,
    refused: Vec<Refused>,
    /// Values whose RESTORE was refused, the first of which is under way with other commands.
    rebuilding: VecDeque<Rebuilt>,
    retry: Option<Retrying>,
    /// When the target last answered, or the lane last had nothing to wait for.
    heard_at: Instant,
    silence_told: bool,
}

/// The connection that a lane has, or had last.
pub(super) enum LastConnection {
    /// It never had one.
    None,
    /// The target can be asked to close it by this.
    Id(u64),
    /// The target has not told its id.
    Unnamed,
}

/// A RESTORE that is said with other commands.
struct Rebuilt {
    plan: Plan,
    /// `None` until its first transaction is sent.
    begun: Option<Rebuilding>,
    /// It was begun before, on a connection that was lost.
    resent: bool,
    key: Bytes,
    db: Db,
    writes: Writes,
    applied_offset: Option<u64>,
}

/// A batch is not admitted yet; perhaps at this time, or when something is confirmed.
struct Later {
    at: Option<Instant>,
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

impl Driver {
    /// For lane `index`, which has a staging name of its own.
    pub(super) fn new(
        index: usize,
        config: LaneConfig,
        events: mpsc::UnboundedSender<LaneEvent>,
    ) -> Driver {
        let confirmed_mark = match config.marks {
            Marks::Checkpoint(offset) => offset,
            Marks::Lane | Marks::None => 0,
        };
        let window = Arc::clone(&config.window);
        Driver {
            index,
            config,
            last_connection: LastConnection::None,
            events,
            decoder: ReplyDecoder::new(resp::Limits::default()),
            inbound: BytesMut::new(),
            outgoing: VecDeque::new(),
            unconfirmed: Unconfirmed::new(confirmed_mark, window),
            open: true,
            held_back: None,
            refused: Vec::new(),
            rebuilding: VecDeque::new(),
            retry: None,
            heard_at: Instant::now(),
            silence_told: false,
        }
    }

    /// Drives the lane to its end. `waiting` is only borrowed: its closing tells the other side
    /// that the lane has ended, and the reason must be on its way by then.
    pub(super) async fn run(mut self, waiting: &mut mpsc::Receiver<Batch>) -> Result<(), Error> {
        let mut lost = None;
        loop {
            let connection = self.connect(lost).await?;
            match self.drive(connection, waiting).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind.ends_connection() => lost = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Drives one connection.
    async fn drive(
        &mut self,
        connection: Connection,
        waiting: &mut mpsc::Receiver<Batch>,
    ) -> Result<(), Error> {
        let (mut reader, mut writer) = tokio::io::split(connection);
        while self.open || !self.is_idle() {
            // From before it is asked for, so that no news of it is missed.
            let window = Arc::clone(&self.config.window);
            let room = window.room.notified();
            let blocked = self.send_held_back();
            let (waits_for_room, paced_until) = match blocked {
                Some(Later { at }) => (true, at),
                None => (false, None),
            };
            let wants_batch = self.open && self.held_back.is_none() && self.retry.is_none();
            let retry_at = self.retry_at();
            let quiet_until = self.quiet_until();
            self.inbound.reserve(REPLY_BYTES);
            tokio::select! {
                read = reader.read_buf(&mut self.inbound) => {
                    if read.map_err(|error| self.lost(Some(error)))? == 0 {
                        return Err(self.lost(None));
                    }
                    self.heard();
                    self.take_replies()?;
                }
                written = write_some(&mut writer, &self.outgoing), if !self.outgoing.is_empty() => {
                    let written = written.map_err(|error| self.lost(Some(error)))?;
                    if written == 0 {
                        return Err(self.lost(None));
                    }
                    advance(&mut self.outgoing, written);
                }
                batch = waiting.recv(), if wants_batch => match batch {
                    Some(batch) => self.held_back = Some(batch),
                    None => self.open = false,
                },
                () = room, if waits_for_room => {}
                () = sleep_until(paced_until), if paced_until.is_some() => {}
                () = sleep_until(retry_at) => self.send_refused(),
                () = sleep_until(quiet_until) => self.break_silence()?,
            }
        }
        Ok(())
    }

    /// Goes on with a new connection, on which nothing was sent yet.
    pub(super) fn adopt(&mut self, connected: Connected) -> Connection {
        let Connected { connection, id } = connected;
        self.last_connection = id.map_or(LastConnection::Unnamed, LastConnection::Id);
        self.decoder = ReplyDecoder::new(resp::Limits::default());
        self.inbound.clear();
        self.outgoing.clear();
        self.heard();
        self.begin_again();
        self.outgoing.extend(self.unconfirmed.again());
        connection
    }

    /// Begins the value anew that is being rebuilt: its transactions leave no mark. Nothing else is
    /// under way then, and what there is of it goes with the first.
    fn begin_again(&mut self) {
        if let Some(front) = self.rebuilding.front_mut()
            && front.begun.take().is_some()
        {
            front.resent = true;
            self.refused.clear();
            self.unconfirmed.clear();
        }
    }

    fn is_idle(&self) -> bool {
        self.is_confirmed() && self.held_back.is_none()
    }

    fn is_confirmed(&self) -> bool {
        self.unconfirmed.is_empty() && self.refused.is_empty() && self.rebuilding.is_empty()
    }

    /// Sends the batch that comes next, if it may be sent; says when the window may admit it.
    fn send_held_back(&mut self) -> Option<Later> {
        let mut batch = self.held_back.take()?;
        let ready = self.retry.is_none() && (!batch.after_confirmed || self.is_confirmed());
        match batch.db {
            Some(db) if db != self.unconfirmed.db() && ready && self.is_confirmed() => {
                let select = self.unconfirmed.select(db);
                self.send(select);
                batch.after_confirmed = true;
            }
            Some(db) if db != self.unconfirmed.db() => {}
            _ if ready => match self.config.window.admit(&batch, Instant::now()) {
                Admission::Granted(share) => {
                    self.send_admitted(batch, share);
                    return None;
                }
                Admission::Later(at) => {
                    self.held_back = Some(batch);
                    return Some(Later { at });
                }
            },
            _ => {}
        }
        self.held_back = Some(batch);
        None
    }

    /// Sends what the window does not hold up.
    fn send(&mut self, batch: Batch) {
        let share = self.config.window.share(&batch);
        self.send_admitted(batch, share);
    }

    fn send_admitted(&mut self, batch: Batch, share: Share) {
        if self.is_confirmed() {
            self.heard();
        }
        self.outgoing.extend(batch.segments.iter().cloned());
        self.unconfirmed.push(batch, share, false);
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
        if std::mem::take(&mut self.silence_told) {
            let _ = self.events.send(LaneEvent::Recovered);
        }
    }

    /// Until when silence is no reason to do anything.
    fn quiet_until(&self) -> Option<Instant> {
        let quiet_for = match self.unconfirmed.is_empty() {
            true => KEEPALIVE,
            false if self.silence_told => self.config.silence_max,
            false => SILENCE.min(self.config.silence_max),
        };
        Some(self.heard_at + quiet_for)
    }

    /// Says PING on an idle connection; tells somebody when an answer is overdue, and gives the
    /// connection up when it has been for too long.
    fn break_silence(&mut self) -> Result<(), Error> {
        if self.unconfirmed.is_empty() {
            self.send(single(&[b"PING"], self.unconfirmed.db()));
            return Ok(());
        }
        if self.heard_at.elapsed() >= self.config.silence_max {
            return Err(self.fail(ErrorKind::Silent(self.config.silence_max)));
        }
        self.silence_told = true;
        let why = format!("the target has not answered for {SILENCE:?}");
        let _ = self.events.send(LaneEvent::Waiting(why));
        Ok(())
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
        match self.unconfirmed.reply(reply) {
            Ok(Some((index, verdict))) => self.act_on(index, verdict)?,
            Ok(None) => return Ok(()),
            Err(Unasked) => return Err(self.fail(ErrorKind::Reply(None))),
        }
        self.close_front()
    }

    /// Acts on the verdict about request `index` of the front batch.
    fn act_on(&mut self, index: usize, verdict: Verdict) -> Result<(), Error> {
        let Some(front) = self.unconfirmed.front_mut() else {
            return Ok(());
        };
        let resent = front.resent;
        let Some(request) = front.batch.requests.get(index) else {
            return Ok(());
        };
        let db = request.db;
        match verdict {
            Verdict::Done => self.unconfirmed.done(index),
            Verdict::Diverged(idle) => {
                let diverged = idle.iter().map(|at| named(request, *at));
                front.done.diverged.extend(diverged);
                self.unconfirmed.done(index);
            }
            Verdict::CheckpointDropped => {
                let name = self.config.claim.as_ref().map(Claim::name);
                let name = name.unwrap_or_default().to_owned();
                return Err(self.fail(ErrorKind::CheckpointDropped { name }));
            }
            Verdict::Expired => front.done.expired += 1,
            // Nobody else had keys there: it was written before the connection was lost.
            Verdict::KeyExists if resent && self.config.began_empty => {
                self.unconfirmed.done(index);
            }
            Verdict::KeyExists if resent => {
                let command = named(request, 0);
                return Err(self.fail(ErrorKind::Undecided { command, db }));
            }
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
            Verdict::Refused(at, reply) if is_demotion(&reply) => {
                let command = named(request, at);
                self.unconfirmed.not_executed(index);
                return Err(self.fail(ErrorKind::Demoted { command, reply }));
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

    /// Keeps request `index` of the front batch for another try.
    fn refuse(&mut self, index: usize, reply: ReplyError) -> Result<(), Error> {
        let Some(refused) = self.unconfirmed.take_out(index) else {
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
        let Some(refused) = self.unconfirmed.take_out(index) else {
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
        let rebuilt = fallback::rebuild(&restore, &self.config.target, &rebuild_key(self.index))
            .map_err(|source| {
                self.fail(ErrorKind::Value {
                    key: key.clone(),
                    source,
                })
            })?;
        let db = refused.request.db;
        if let Some(front) = self.unconfirmed.front_mut() {
            front.done.empty += u64::from(rebuilt.is_empty);
        }
        for lossy in rebuilt.lossy {
            if self.config.on_lossy == OnLossy::Fail {
                return Err(self.fail(ErrorKind::Lossy { lossy, db }));
            }
            if let Some(front) = self.unconfirmed.front_mut() {
                front.done.lossy.push((db, lossy));
            }
        }
        if let Some(plan) = rebuilt.plan {
            self.rebuilding.push_back(Rebuilt {
                plan,
                begun: None,
                resent: refused.resent,
                key,
                db,
                writes: refused.request.writes,
                applied_offset: refused.applied_offset,
            });
            self.retry.get_or_insert_with(Retrying::begin);
        }
        Ok(())
    }

    /// Keeps the next transaction of the values that are rebuilt, to be sent on its own.
    fn rebuild_on(&mut self) -> Result<(), Error> {
        while let Some(front) = self.rebuilding.front_mut() {
            let (db, key) = (front.db, front.key.clone());
            let rebuilding = front.begun.get_or_insert_with(|| front.plan.begin());
            let step = match rebuilding.next() {
                Ok(Some(step)) => step,
                Ok(None) => {
                    self.rebuilding.pop_front();
                    continue;
                }
                Err(source) => return Err(self.fail(ErrorKind::Value { key, source })),
            };
            let (writes, applied_offset) = match step.is_last {
                true => (front.writes, front.applied_offset),
                false => (Writes::Part, None),
            };
            let (segments, request) = transaction(&step.commands, db, &key, step.shape, writes);
            self.refused.push(Refused {
                segments,
                request,
                share: None,
                applied_offset,
                resent: front.resent,
            });
            self.retry.get_or_insert_with(Retrying::begin);
            break;
        }
        Ok(())
    }

    /// Reports and drops the front batch once all its replies are in.
    pub(super) fn close_front(&mut self) -> Result<(), Error> {
        let Some((done, sent_at)) = self.unconfirmed.close_front() else {
            return Ok(());
        };
        self.config.window.confirmed(sent_at);
        let _ = self.events.send(LaneEvent::Confirmed(done));
        if self.unconfirmed.is_empty() {
            self.settle()?;
        }
        Ok(())
    }

    /// Everything sent has been answered: plans the next try, or goes on.
    fn settle(&mut self) -> Result<(), Error> {
        if self.refused.is_empty() {
            if self.retry.take().is_some_and(|retry| retry.announced) {
                let _ = self.events.send(LaneEvent::Recovered);
            }
            self.rebuild_on()?;
        }
        let Some(retry) = &mut self.retry else {
            return Ok(());
        };
        let pause = match retry.announced {
            true => retry.backoff,
            // Nothing has to pass: a payload was rebuilt.
            false => Duration::ZERO,
        };
        retry.at = Some(Instant::now() + pause);
        retry.backoff = (retry.backoff * 2).min(BACKOFF_MAX);
        Ok(())
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
            let batch = Batch {
                segments: refused.segments,
                requests: vec![refused.request],
                db: None,
                after_confirmed: false,
                applied_offset: refused.applied_offset,
            };
            self.outgoing.extend(batch.segments.iter().cloned());
            let share = refused.share;
            let share = share.unwrap_or_else(|| self.config.window.share(&batch));
            self.unconfirmed.push(batch, share, refused.resent);
        }
    }

    fn lost(&self, source: Option<io::Error>) -> Error {
        self.fail(ErrorKind::Lost {
            unconfirmed: self.unconfirmed.bytes(),
            source,
        })
    }

    pub(super) fn fail(&self, kind: ErrorKind) -> Error {
        kind.at(&self.config.node.endpoint)
    }
}

/// Whether the server says that it is not in charge, and has executed nothing.
fn is_demotion(reply: &ReplyError) -> bool {
    matches!(
        reply.kind,
        ReplyErrorKind::ReadOnly | ReplyErrorKind::MasterDown
    )
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
