//! The source's side of a running migration: what comes over the link is spooled, what the target
//! has confirmed is acknowledged. Neither waits for the other.
//!
//! ```text
//!  link ──► cut ──► spool of the snapshot ──► parser
//!    ▲       └────► spool of the stream ────► decoder ──► target
//!    └─ ACK applied ◄─────────────────────────────────────┘
//! ```
//!
//! A link that is lost in the stream is opened again where the spool ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    keyspace::UnixMs,
    net::Endpoint,
    spool::{Piece, Reader, Writer},
    sync::{
        self, AckSchedule, ErrorKind, Framing, Link, LinkReader, LinkWriter, Position, Recovery,
        ReplOffset, Replid, SnapshotCut, Start, Transfer,
    },
};

use super::{
    Awaited, Error, Progress,
    source_side::SourceSide,
    workdir::{Spool, origin},
};

/// How often it is looked why a spool takes nothing.
const FULL_LOOK_PERIOD: Duration = Duration::from_millis(200);

/// What the acknowledging task is told.
#[derive(Debug, Clone, Copy)]
struct AckState {
    applied: ReplOffset,
    snapshot_ended: bool,
    stream_seen: bool,
    /// How often an acknowledgement was wanted at once.
    requests: u64,
    /// The source waits for this offset to be acknowledged (REPLCONF GETACK).
    wanted: Option<ReplOffset>,
}

/// What comes of the link, and where it goes.
#[derive(Debug)]
pub(super) struct Spools {
    /// The snapshot; `None` when the stream is continued.
    pub(super) snapshot: Option<Spool>,
    /// The stream.
    pub(super) stream: Spool,
}

/// The source while it is read. Its task ends with it.
#[derive(Debug)]
pub(super) struct SourceFeed {
    side: Arc<SourceSide>,
    snapshot: Option<Reader>,
    framing: Option<oneshot::Receiver<Framing>>,
    /// `None` once it is abandoned.
    stream: Option<Reader>,
    acks: watch::Sender<AckState>,
    replid: watch::Receiver<Option<Replid>>,
    stop: Arc<Notify>,
    task: Option<JoinHandle<Result<(), sync::Error>>>,
}

impl SourceFeed {
    /// Starts reading what `link` brings behind its `start`.
    pub(super) fn start(
        link: Link,
        start: &Start,
        spools: Spools,
        side: Arc<SourceSide>,
    ) -> SourceFeed {
        let (replid, offset) = match start {
            Start::FullResync(position) | Start::Continue(position) => {
                (Some(position.replid), position.offset)
            }
            Start::Sync => (None, ReplOffset::default()),
        };
        let stop = Arc::new(Notify::new());
        let (acks, ack_state) = watch::channel(AckState {
            applied: offset,
            snapshot_ended: spools.snapshot.is_none(),
            stream_seen: false,
            requests: 0,
            wanted: None,
        });
        show_replid(&side.progress, replid);
        let (replid_sender, replid) = watch::channel(replid);
        let (framing_sender, framing) = oneshot::channel();
        let (snapshot_writer, snapshot) = spools.snapshot.unzip();
        let reading = Reading {
            side,
            snapshot: snapshot_writer.map(|writer| (writer, framing_sender)),
            stream: spools.stream.0,
            received: offset,
            acks: acks.clone(),
            ack_state,
            replid: replid_sender,
        };
        SourceFeed {
            side: Arc::clone(&reading.side),
            task: Some(tokio::spawn(reading.run(link, Arc::clone(&stop)))),
            framing: snapshot.is_some().then_some(framing),
            snapshot,
            stream: Some(spools.stream.1),
            acks,
            replid,
            stop,
        }
    }

    /// Where the source is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        self.side.endpoint()
    }

    /// The history that is read; `None` after SYNC.
    pub(super) fn replid(&self) -> Option<Replid> {
        *self.replid.borrow()
    }

    /// Waits for the framing of the snapshot.
    ///
    /// # Errors
    /// What ended the link.
    pub(super) async fn framing(&mut self) -> Result<Framing, Error> {
        if let Some(framing) = self.framing.take()
            && let Ok(framing) = framing.await
        {
            return Ok(framing);
        }
        Err(self.ended_in_snapshot().await)
    }

    /// Takes the next bytes of the snapshot and what stands behind it. May be dropped midway:
    /// nothing is lost.
    ///
    /// # Errors
    /// What ended the link, after everything it had brought was taken; the spool's.
    pub(super) async fn recv_snapshot(&mut self) -> Result<Bytes, Error> {
        if let Some(snapshot) = &mut self.snapshot
            && let Some(piece) = snapshot.next().await?
        {
            snapshot.release(piece.position);
            return Ok(piece.bytes);
        }
        Err(self.ended_in_snapshot().await)
    }

    /// Forgets the snapshot, which is complete.
    pub(super) fn snapshot_taken(&mut self) {
        self.snapshot = None;
    }

    async fn ended_in_snapshot(&mut self) -> Error {
        match self.ended().await {
            Ok(()) => Error::Interrupted,
            Err(mut error) => {
                if error.kind == ErrorKind::ClosedInStream {
                    error.kind = ErrorKind::ClosedInSnapshot;
                }
                Error::Source(error)
            }
        }
    }

    /// Takes the next bytes of the stream; `None` after [`SourceFeed::stop`] once all were taken.
    ///
    /// May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// What ended the link for good, after everything it had brought was taken; the spool's.
    pub(super) async fn recv(&mut self) -> Result<Option<Piece>, Error> {
        if let Some(stream) = &mut self.stream
            && let Some(piece) = stream.next().await?
        {
            return Ok(Some(piece));
        }
        self.ended().await?;
        Ok(None)
    }

    /// Goes back to `offset`, if the spool still has what follows; whether it has.
    pub(super) fn rewind(&mut self, offset: ReplOffset) -> bool {
        let stream = self.stream.as_mut();
        stream.is_some_and(|stream| stream.rewind(offset.get()).is_ok())
    }

    /// Says that the stream has begun.
    pub(super) fn stream_seen(&self) {
        self.acks.send_if_modified(|acks| {
            let news = !acks.stream_seen;
            acks.stream_seen = true;
            news
        });
    }

    /// Says what the target has confirmed. The spool keeps nothing of it.
    pub(super) fn applied(&mut self, offset: ReplOffset) {
        if let Some(stream) = &mut self.stream {
            stream.release(offset.get());
        }
        self.side.workdir.show(&self.side.progress);
        self.acks.send_if_modified(|acks| {
            acks.applied = offset;
            let reached = acks.wanted.take_if(|wanted| offset >= *wanted).is_some();
            acks.requests += u64::from(reached);
            reached
        });
    }

    /// Says that the source has asked for an acknowledgement, at this offset. It gets one at
    /// once, and another when all up to there is applied: a client may be waiting for that.
    pub(super) fn ack_requested(&self, at: ReplOffset) {
        self.acks.send_modify(|acks| {
            acks.requests += 1;
            acks.wanted = Some(at);
        });
    }

    /// Stops reading; what was received can still be taken.
    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Stops reading, and forgets what was received: this is of no further use.
    pub(super) async fn abandon(&mut self) {
        self.stop();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        (self.snapshot, self.stream) = (None, None);
    }

    /// Stops reading, and keeps what was received and not released on disk for a later run.
    pub(super) async fn keep(mut self) {
        self.stop();
        if let Some(task) = self.task.take() {
            // Its own end is of no interest any more.
            let _ = task.await;
        }
        if let Some(stream) = &mut self.stream
            && let Err(error) = stream.persist().await
        {
            tracing::warn!("what was received and not applied is not kept: {error}");
        }
    }

    /// Waits for the end of the reading task; the second time it only says that it has ended.
    async fn ended(&mut self) -> Result<(), sync::Error> {
        let Some(task) = &mut self.task else {
            return Ok(());
        };
        let joined = task.await;
        self.task = None;
        match joined {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

fn show_replid(progress: &Progress, replid: Option<Replid>) {
    progress.learn(|servers| servers.replid = replid.map(|replid| replid.to_string()));
}

impl Drop for SourceFeed {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The reading task.
struct Reading {
    side: Arc<SourceSide>,
    snapshot: Option<(Writer, oneshot::Sender<Framing>)>,
    stream: Writer,
    /// The stream was received up to here.
    received: ReplOffset,
    acks: watch::Sender<AckState>,
    ack_state: watch::Receiver<AckState>,
    replid: watch::Sender<Option<Replid>>,
}

impl Reading {
    /// Reads until the link is lost for good, or that is enough.
    async fn run(mut self, link: Link, stop: Arc<Notify>) -> Result<(), sync::Error> {
        tokio::select! {
            result = self.read(link) => result,
            () = stop.notified() => Ok(()),
        }
    }

    /// Reads until the link is lost for good.
    async fn read(&mut self, mut link: Link) -> Result<(), sync::Error> {
        loop {
            let (reader, writer) = link.into_parts();
            let acking = Acking(tokio::spawn(acknowledge(
                writer,
                self.ack_state.clone(),
                Arc::clone(&self.side.progress),
            )));
            let error = match self.read_link(reader).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            drop(acking);
            link = self.open_again(error).await?;
        }
    }

    /// Reads one link to its end; `Ok` when nobody takes what it brings.
    async fn read_link(&mut self, mut reader: LinkReader) -> Result<(), sync::Error> {
        if let Some((snapshot, framing)) = self.snapshot.take() {
            let rest = self.read_snapshot(&mut reader, snapshot, framing).await?;
            if !self.push_stream(rest).await {
                return Ok(());
            }
        }
        loop {
            let bytes = self.receive(&mut reader).await?;
            if !self.push_stream(bytes).await {
                return Ok(());
            }
        }
    }

    async fn receive(&self, reader: &mut LinkReader) -> Result<Bytes, sync::Error> {
        match reader.read().await? {
            Some(bytes) => {
                self.side.progress.bytes_read.add(bytes.len() as u64);
                Ok(bytes)
            }
            None => Err(self.error(ErrorKind::ClosedInStream)),
        }
    }

    /// Whether somebody may still take it.
    async fn push_stream(&mut self, bytes: Bytes) -> bool {
        if bytes.is_empty() {
            return true;
        }
        self.received = self.received.after(bytes.len() as u64);
        let now_ms = self.side.clock.now_ms();
        let pushed = push(&mut self.stream, bytes, now_ms, &self.side.progress).await;
        let received = self.received.get();
        self.side.progress.received_offset.set(received);
        self.side.workdir.show(&self.side.progress);
        pushed
    }

    /// Reads the snapshot; returns what follows it.
    async fn read_snapshot(
        &mut self,
        reader: &mut LinkReader,
        mut snapshot: Writer,
        said: oneshot::Sender<Framing>,
    ) -> Result<Bytes, sync::Error> {
        let mut transfer = Transfer::new();
        let (framing, mut bytes) = loop {
            let mut bytes = self.receive(reader).await?;
            let step = transfer.feed(&bytes).map_err(|kind| self.error(kind))?;
            bytes.advance(step.used);
            if let Some(framing) = step.framing {
                break (framing, bytes);
            }
        };
        // Whoever wants to know may be gone.
        let _ = said.send(framing);
        let mut cut = SnapshotCut::new(framing);
        loop {
            let end = cut.feed(&bytes);
            let rest = bytes.split_off(end.unwrap_or(bytes.len()));
            let now_ms = self.side.clock.now_ms();
            if !bytes.is_empty() && !push(&mut snapshot, bytes, now_ms, &self.side.progress).await {
                return Ok(Bytes::new());
            }
            if end.is_some() {
                self.acks.send_modify(|acks| acks.snapshot_ended = true);
                return Ok(rest);
            }
            bytes = self.receive(reader).await?;
        }
    }

    /// Opens the link again where the stream was received to.
    async fn open_again(&mut self, lost: sync::Error) -> Result<Link, sync::Error> {
        let in_snapshot = !self.acks.borrow().snapshot_ended;
        let Some(replid) = *self.replid.borrow() else {
            return Err(lost);
        };
        if in_snapshot || lost.kind.recovery() == Recovery::Never {
            return Err(lost);
        }
        let progress = Arc::clone(&self.side.progress);
        tracing::warn!("{lost}; connecting again");
        progress.wait_because(Awaited::Source, Some(lost.to_string()));
        let from = Position {
            replid,
            offset: self.received,
        };
        let (link, position) = self.side.continued(from).await?;
        progress.wait_because(Awaited::Source, None);
        progress.reconnects.add(1);
        tracing::info!(
            "the source continues the stream behind offset {}",
            from.offset
        );
        self.replid.send_replace(Some(position.replid));
        show_replid(&self.side.progress, Some(position.replid));
        self.stream.set_origin(origin(Some(position.replid)));
        Ok(link)
    }

    fn error(&self, kind: ErrorKind) -> sync::Error {
        sync::Error::new(self.side.endpoint(), kind)
    }
}

/// Puts bytes into a spool, and shows when that has to wait; whether somebody may still take them.
async fn push(spool: &mut Writer, bytes: Bytes, now_ms: UnixMs, progress: &Progress) -> bool {
    let gauge = spool.gauge();
    let pushing = spool.push(bytes, now_ms);
    tokio::pin!(pushing);
    let mut shown = None;
    loop {
        tokio::select! {
            biased;
            pushed = &mut pushing => {
                if shown.is_some() {
                    progress.wait_because(Awaited::Spool, None);
                    tracing::info!("the spool has room; the source is read on");
                }
                return pushed.is_ok();
            }
            () = tokio::time::sleep(FULL_LOOK_PERIOD) => {
                let why = gauge.usage().and_then(|usage| usage.waiting_because);
                if let Some(why) = why.filter(|why| shown.replace(*why) != Some(*why)) {
                    tracing::warn!("waiting because {why}; the source is read no further");
                    progress.wait_because(Awaited::Spool, Some(why.to_string()));
                }
            }
        }
    }
}

/// The acknowledging task, which ends with the link.
struct Acking(JoinHandle<()>);

impl Drop for Acking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Acknowledges until the link breaks; the reader says why it did.
async fn acknowledge(
    mut writer: LinkWriter,
    mut state: watch::Receiver<AckState>,
    progress: Arc<Progress>,
) {
    let mut schedule = AckSchedule::new(Instant::now());
    let mut told = *state.borrow();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(schedule.due().into()) => {
                let applied = state.borrow().applied;
                if writer.ack(applied).await.is_err() {
                    return;
                }
                progress.acked_offset.set(applied.get());
                schedule.sent(Instant::now());
            }
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = Instant::now();
                let news = *state.borrow_and_update();
                if news.snapshot_ended && !told.snapshot_ended {
                    schedule.snapshot_ended(now);
                }
                if news.stream_seen {
                    schedule.stream_byte_seen();
                }
                if news.requests != told.requests {
                    schedule.requested(now);
                }
                told = news;
            }
        }
    }
}
