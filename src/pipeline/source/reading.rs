//! The reading task: from the link, or the two connections of it, into the spools.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    acking::{AckState, Acking},
    show_replid,
};
use crate::{
    pipeline::{Awaited, source_side::SourceSide, workdir::origin},
    spool::Writer,
    sync::{
        self, ErrorKind, Framing, Link, LinkParts, LinkReader, Position, Recovery, ReplOffset,
        Replid, SnapshotCut, Transfer,
    },
};

/// How often it is looked whether a snapshot that leaves room for the stream may go on.
const ROOM_PERIOD: Duration = Duration::from_millis(50);

/// How often it is looked why a spool takes nothing.
const FULL_LOOK_PERIOD: Duration = Duration::from_millis(200);

/// What the task is made of.
pub(super) struct Parts {
    pub(super) side: Arc<SourceSide>,
    /// Where the snapshot goes, and who wants to know its framing.
    pub(super) snapshot: Option<(Writer, oneshot::Sender<Framing>)>,
    pub(super) stream: Writer,
    /// The stream was received up to here.
    pub(super) received: ReplOffset,
    pub(super) acks: watch::Sender<AckState>,
    pub(super) ack_state: watch::Receiver<AckState>,
    pub(super) replid: watch::Sender<Option<Replid>>,
}

/// The reading task.
pub(super) struct Reading {
    side: Arc<SourceSide>,
    snapshot: Option<SnapshotReading>,
    stream: StreamReading,
    ack_state: watch::Receiver<AckState>,
    replid: watch::Sender<Option<Replid>>,
}

impl Reading {
    pub(super) fn new(parts: Parts) -> Reading {
        let (side, acks) = (parts.side, parts.acks);
        let snapshot = parts.snapshot.map(|(spool, said)| SnapshotReading {
            side: Arc::clone(&side),
            spool,
            said: Some(said),
            acks,
            yields: false,
            said_yielding: false,
        });
        Reading {
            snapshot,
            stream: StreamReading {
                side: Arc::clone(&side),
                spool: parts.stream,
                received: parts.received,
            },
            side,
            ack_state: parts.ack_state,
            replid: parts.replid,
        }
    }

    /// Reads until the link is lost for good, or that is enough.
    pub(super) async fn run(mut self, link: Link, stop: Arc<Notify>) -> Result<(), sync::Error> {
        tokio::select! {
            result = self.read(link) => result,
            () = stop.notified() => Ok(()),
        }
    }

    /// Reads until the link is lost for good.
    async fn read(&mut self, mut link: Link) -> Result<(), sync::Error> {
        loop {
            let LinkParts {
                reader,
                writer,
                snapshot,
            } = link.into_parts();
            let acking = Acking::start(
                writer,
                self.ack_state.clone(),
                Arc::clone(&self.side.progress),
                snapshot.is_some(),
            );
            let error = match self.read_link(reader, snapshot).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            drop(acking);
            link = self.open_again(error).await?;
        }
    }

    /// Reads one link to its end; `Ok` when nobody takes what it brings.
    async fn read_link(
        &mut self,
        mut reader: LinkReader,
        channel: Option<LinkReader>,
    ) -> Result<(), sync::Error> {
        match (self.snapshot.take(), channel) {
            (None, _) => {}
            (Some(snapshot), Some(channel)) => {
                return self.read_both(reader, snapshot, channel).await;
            }
            (Some(snapshot), None) => {
                let rest = snapshot.read(&mut reader).await?;
                if !self.stream.push(rest).await {
                    return Ok(());
                }
            }
        }
        self.stream.read(&mut reader).await
    }

    /// Reads the snapshot from one connection and the stream from the other, at once: neither waits
    /// for the other, or for what becomes of it.
    async fn read_both(
        &mut self,
        mut reader: LinkReader,
        mut snapshot: SnapshotReading,
        mut channel: LinkReader,
    ) -> Result<(), sync::Error> {
        snapshot.yields = true;
        let snapshot = async {
            snapshot.read(&mut channel).await?;
            drain(&mut channel).await;
            Ok(())
        };
        let acks = self.ack_state.clone();
        let stream = async {
            loop {
                match self.stream.read(&mut reader).await {
                    // A source may have nothing to say; its snapshot shows that it is there.
                    Err(error)
                        if matches!(error.kind, ErrorKind::Silent(_))
                            && !acks.borrow().snapshot_ended => {}
                    ended => return ended,
                }
            }
        };
        tokio::pin!(stream);
        tokio::select! {
            ended = &mut stream => return ended,
            ended = snapshot => ended?,
        }
        stream.await
    }

    /// Opens the link again where the stream was received to.
    async fn open_again(&mut self, lost: sync::Error) -> Result<Link, sync::Error> {
        let in_snapshot = !self.ack_state.borrow().snapshot_ended;
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
            offset: self.stream.received,
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
        self.stream.spool.set_origin(origin(Some(position.replid)));
        Ok(link)
    }
}

/// Takes what stands behind a snapshot until the source closes its connection, so that it never has
/// to tell a replica that is done from one that was lost just before the end.
async fn drain(channel: &mut LinkReader) {
    while let Ok(Some(_)) = channel.read().await {}
}

async fn receive(side: &SourceSide, reader: &mut LinkReader) -> Result<Bytes, sync::Error> {
    match reader.read().await? {
        Some(bytes) => {
            side.progress.bytes_read.add(bytes.len() as u64);
            Ok(bytes)
        }
        None => Err(sync::Error::new(side.endpoint(), ErrorKind::ClosedInStream)),
    }
}

/// Puts bytes into a spool, and shows when that has to wait; whether somebody may still take them.
async fn push(spool: &mut Writer, bytes: Bytes, side: &SourceSide) -> bool {
    let progress = &side.progress;
    let gauge = spool.gauge();
    let pushing = spool.push(bytes, side.clock.now_ms());
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

/// The stream on its way into its spool.
struct StreamReading {
    side: Arc<SourceSide>,
    spool: Writer,
    /// It was received up to here.
    received: ReplOffset,
}

impl StreamReading {
    /// Reads until the link is lost; `Ok` when nobody takes it any more.
    async fn read(&mut self, reader: &mut LinkReader) -> Result<(), sync::Error> {
        loop {
            let bytes = receive(&self.side, reader).await?;
            if !self.push(bytes).await {
                return Ok(());
            }
        }
    }

    /// Whether somebody may still take it.
    async fn push(&mut self, bytes: Bytes) -> bool {
        if bytes.is_empty() {
            return true;
        }
        self.received = self.received.after(bytes.len() as u64);
        let pushed = push(&mut self.spool, bytes, &self.side).await;
        let progress = &self.side.progress;
        progress.received_offset.set(self.received.get());
        self.side.workdir.show(progress);
        pushed
    }
}

/// The snapshot on its way into its spool.
struct SnapshotReading {
    side: Arc<SourceSide>,
    spool: Writer,
    /// Who wants to know the framing.
    said: Option<oneshot::Sender<Framing>>,
    acks: watch::Sender<AckState>,
    /// The stream comes at the same time, and half of the spools' room is for it alone.
    yields: bool,
    said_yielding: bool,
}

impl SnapshotReading {
    /// Reads the snapshot and its mark; returns what follows them.
    async fn read(mut self, reader: &mut LinkReader) -> Result<Bytes, sync::Error> {
        let mut transfer = Transfer::new();
        let (framing, mut bytes) = loop {
            let mut bytes = receive(&self.side, reader).await?;
            let step = transfer.feed(&bytes);
            let step = step.map_err(|kind| sync::Error::new(self.side.endpoint(), kind))?;
            bytes.advance(step.used);
            if let Some(framing) = step.framing {
                break (framing, bytes);
            }
        };
        if let Some(said) = self.said.take() {
            // Whoever wants to know may be gone.
            let _ = said.send(framing);
        }
        let mut cut = SnapshotCut::new(framing);
        loop {
            let end = cut.feed(&bytes);
            let rest = bytes.split_off(end.unwrap_or(bytes.len()));
            self.leave_room().await;
            if !bytes.is_empty() && !push(&mut self.spool, bytes, &self.side).await {
                return Ok(Bytes::new());
            }
            if end.is_some() {
                self.acks.send_modify(|acks| acks.snapshot_ended = true);
                return Ok(rest);
            }
            bytes = receive(&self.side, reader).await?;
        }
    }

    /// Waits while the target has something to do and the stream needs the room. A source whose
    /// snapshot is not read waits; one whose stream is not read runs out of its output buffer.
    async fn leave_room(&mut self) {
        while self.yields && self.spool.usage().unread_bytes > 0 && self.side.workdir.is_half_full()
        {
            if !std::mem::replace(&mut self.said_yielding, true) {
                tracing::info!(
                    "the spool is half full; the snapshot is read as fast as the target takes it"
                );
            }
            tokio::time::sleep(ROOM_PERIOD).await;
        }
    }
}
