//! The source's side of a running migration: what comes over the link is queued, what the
//! target has confirmed is acknowledged. Neither waits for the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    net::Endpoint,
    sync::{self, AckSchedule, ErrorKind, Link, LinkReader, LinkWriter, ReplOffset, Side},
};

use super::{
    Progress,
    clock::SourceClock,
    queue::{QueueReceiver, QueueSender, Received, queue},
};

/// How often the source is asked where it stands.
const OFFSET_PERIOD: Duration = Duration::from_millis(500);

/// What the acknowledging task is told.
#[derive(Debug, Clone, Copy)]
struct AckState {
    applied: ReplOffset,
    snapshot_ended: bool,
    stream_seen: bool,
    /// How often the source has asked (REPLCONF GETACK).
    requests: u64,
}

/// The link while it runs. Its tasks end with it.
#[derive(Debug)]
pub(super) struct SourceFeed {
    endpoint: Endpoint,
    queue: QueueReceiver,
    acks: watch::Sender<AckState>,
    stop: Arc<Notify>,
    reader: JoinHandle<Result<(), sync::Error>>,
    acker: JoinHandle<()>,
}

impl SourceFeed {
    /// Starts reading and acknowledging, from `start` on.
    pub(super) fn start(
        link: Link,
        endpoint: Endpoint,
        start: ReplOffset,
        queue_bytes_max: usize,
        clock: SourceClock,
        progress: Arc<Progress>,
    ) -> SourceFeed {
        let (link_reader, link_writer) = link.into_parts();
        let (sender, receiver) = queue(queue_bytes_max);
        let stop = Arc::new(Notify::new());
        let (acks, ack_state) = watch::channel(AckState {
            applied: start,
            snapshot_ended: false,
            stream_seen: false,
            requests: 0,
        });
        SourceFeed {
            queue: receiver,
            acks,
            reader: tokio::spawn(read(
                link_reader,
                endpoint.clone(),
                sender,
                Arc::clone(&stop),
                clock,
                Arc::clone(&progress),
            )),
            acker: tokio::spawn(acknowledge(link_writer, ack_state, progress)),
            endpoint,
            stop,
        }
    }

    /// Where the source is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes the next bytes; `None` after [`SourceFeed::stop`] once all were taken.
    ///
    /// May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// What ended the link, after everything it had brought was taken.
    pub(super) async fn recv(&mut self) -> Result<Option<Received>, sync::Error> {
        if let Some(received) = self.queue.recv().await {
            return Ok(Some(received));
        }
        match (&mut self.reader).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Says that the snapshot is complete: the source waits for an acknowledgement then.
    pub(super) fn snapshot_ended(&self) {
        self.acks.send_modify(|acks| acks.snapshot_ended = true);
    }

    /// Says that the stream has begun.
    pub(super) fn stream_seen(&self) {
        self.acks.send_if_modified(|acks| {
            let news = !acks.stream_seen;
            acks.stream_seen = true;
            news
        });
    }

    /// Says what the target has confirmed.
    pub(super) fn applied(&self, offset: ReplOffset) {
        self.acks.send_if_modified(|acks| {
            acks.applied = offset;
            false
        });
    }

    /// Says that the source has asked for an acknowledgement.
    pub(super) fn ack_requested(&self) {
        self.acks.send_modify(|acks| acks.requests += 1);
    }

    /// Stops reading; what was received can still be taken.
    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }
}

impl Drop for SourceFeed {
    fn drop(&mut self) {
        self.reader.abort();
        self.acker.abort();
    }
}

async fn read(
    mut reader: LinkReader,
    endpoint: Endpoint,
    queue: QueueSender,
    stop: Arc<Notify>,
    clock: SourceClock,
    progress: Arc<Progress>,
) -> Result<(), sync::Error> {
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        let bytes = tokio::select! {
            () = &mut stopped => return Ok(()),
            bytes = reader.read() => bytes?,
        };
        let Some(bytes) = bytes else {
            return Err(sync::Error::new(&endpoint, ErrorKind::ClosedInStream));
        };
        progress.bytes_read.add(bytes.len() as u64);
        let received = Received {
            bytes,
            received_at_ms: clock.now_ms(),
        };
        let queued = tokio::select! {
            () = &mut stopped => return Ok(()),
            queued = queue.send(received) => queued,
        };
        if !queued {
            return Ok(());
        }
    }
}

/// Acknowledges until the link breaks; the reader says why it did.
async fn acknowledge(
    mut writer: LinkWriter,
    mut state: watch::Receiver<AckState>,
    progress: Arc<Progress>,
) {
    // From the start on: a source whose snapshot is sent counts the silence from then, and we
    // may still be busy with what is queued here.
    let mut schedule = AckSchedule::following(Instant::now());
    let mut told = *state.borrow();
    loop {
        let due = schedule.due();
        tokio::select! {
            () = sleep_until(due) => {
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

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// A reading of the source's offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct OffsetSample {
    /// Where the source stood.
    pub(super) offset: ReplOffset,
    /// When it was asked, by our clock: it stood there at this time or later.
    pub(super) asked_at: Instant,
}

/// Asks the source again and again where it stands, until nobody listens.
pub(super) fn watch_offset(mut side: Side) -> watch::Receiver<Option<OffsetSample>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while !sender.is_closed() {
            let asked_at = Instant::now();
            let Some(offset) = side.offset().await else {
                return;
            };
            let _ = sender.send(Some(OffsetSample { offset, asked_at }));
            tokio::time::sleep(OFFSET_PERIOD).await;
        }
    });
    receiver
}
