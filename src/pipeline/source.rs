//! The source's side of a running migration: what comes over the link is spooled, what the target
//! has confirmed is acknowledged. Neither waits for the other.
//!
//! ```text
//!  link ──► cut ──► spool of the snapshot ──► parser
//!    ▲       └────► spool of the stream ────► decoder ──► target
//!    └─ ACK applied ◄─────────────────────────────────────┘
//! ```
//!
//! Where the snapshot comes over a connection of its own, both are read at once and nothing is cut.
//! A link that is lost in the stream is opened again where the spool ends; one that is lost in the
//! snapshot, by either connection, breaks it off.

mod acking;
mod reading;

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    net::Endpoint,
    spool::{Piece, Reader},
    sync::{self, ErrorKind, Framing, Link, ReplOffset, Replid, Start},
};

use super::{Error, Progress, source_side::SourceSide, workdir::Spool};

use acking::AckState;
use reading::{Parts, Reading};

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
        let position = start.position();
        let replid = position.map(|position| position.replid);
        let offset = position.map_or_else(ReplOffset::default, |position| position.offset);
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
        let reading = Reading::new(Parts {
            side: Arc::clone(&side),
            snapshot: snapshot_writer.map(|writer| (writer, framing_sender)),
            stream: spools.stream.0,
            received: offset,
            acks: acks.clone(),
            ack_state,
            replid: replid_sender,
        });
        SourceFeed {
            side,
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
                if matches!(error.kind, ErrorKind::ClosedInStream | ErrorKind::Broken) {
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
