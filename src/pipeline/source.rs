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
    sync::{
        self, AckSchedule, ErrorKind, Link, LinkReader, LinkWriter, ReplOffset, Side, SideError,
    },
};

use super::{
    Progress,
    clock::ServerClock,
    queue::{QueueReceiver, QueueSender, Received, queue},
};

/// How often the source is asked where it stands.
const OFFSET_PERIOD: Duration = Duration::from_millis(500);

/// How long a source is asked that does not answer.
const OFFSET_PATIENCE: Duration = Duration::from_secs(10);

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
        clock: ServerClock,
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
            wanted: None,
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
    clock: ServerClock,
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

/// A reading of the source's offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct OffsetSample {
    /// Where the source stood.
    pub(super) offset: ReplOffset,
    /// When it was asked, by our clock: it stood there at this time or later.
    pub(super) asked_at: Instant,
}

/// Where the source stands, asked again and again until this is dropped.
#[derive(Debug)]
pub(super) struct OffsetWatch {
    samples: watch::Receiver<Option<OffsetSample>>,
    task: JoinHandle<()>,
}

impl OffsetWatch {
    /// Starts asking.
    pub(super) fn start(side: Side) -> OffsetWatch {
        let (sender, samples) = watch::channel(None);
        OffsetWatch {
            samples,
            task: tokio::spawn(ask_offset(side, sender)),
        }
    }

    /// Waits for the next reading; `None` when there will be no more.
    ///
    /// May be dropped midway: a later call gets the last reading.
    pub(super) async fn next(&mut self) -> Option<OffsetSample> {
        loop {
            self.samples.changed().await.ok()?;
            let sample = *self.samples.borrow_and_update();
            if sample.is_some() {
                return sample;
            }
        }
    }
}

impl Drop for OffsetWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks until the source refuses to say, or has not said anything for long.
async fn ask_offset(mut side: Side, samples: watch::Sender<Option<OffsetSample>>) {
    let mut answered_at = Instant::now();
    loop {
        let asked_at = Instant::now();
        match side.offset().await {
            Ok(offset) => {
                answered_at = asked_at;
                samples.send_replace(Some(OffsetSample { offset, asked_at }));
            }
            Err(SideError::Passing) if answered_at.elapsed() < OFFSET_PATIENCE => {}
            Err(SideError::Passing | SideError::Refused) => {
                tracing::warn!("the source does not say where it stands; lag is estimated");
                return;
            }
        }
        tokio::time::sleep(OFFSET_PERIOD).await;
    }
}
