//! The snapshot's way: received bytes, framing, parser, value writer, lanes.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::{
    keyspace::Db,
    rdb::{self, Event},
    sink::{Target, ValueConfig, ValueWriter},
    sync::{self, Framing, SnapshotEnd, Transfer},
};

use super::{
    Error, Phase, Progress, SkipReason,
    clock::SourceClock,
    lanes::{Lanes, Skipped},
    queue::Received,
    source::SourceFeed,
};

/// What is known once the snapshot is on the target.
#[derive(Debug)]
pub(super) struct Applied {
    /// What came behind the snapshot: the beginning of the stream.
    pub(super) rest: Received,
    /// The db that is selected where the stream begins.
    pub(super) stream_db: Db,
    /// Whether keys were written with held expiries.
    pub(super) held_keys: bool,
    /// Whether fields of hashes were written with held expiries.
    pub(super) held_fields: bool,
    /// Keys that the target had and kept.
    pub(super) skipped: Skipped,
}

/// Applies the snapshot that `feed` brings.
///
/// Returns when its checksum is right and the target has confirmed every key of it. May be
/// dropped midway: the target then holds a part of it.
pub(super) async fn apply(
    feed: &mut SourceFeed,
    target: Arc<Target>,
    config: ValueConfig,
    clock: SourceClock,
    lanes: Lanes,
    progress: &Progress,
) -> Result<Applied, Error> {
    let (framing, first) = framing(feed, progress).await?;
    let mut received_at_ms = first.received_at_ms;
    progress.enter(Phase::Snapshot);
    let mut copy = Copy {
        parser: rdb::Parser::new(rdb::Limits::default()),
        writer: ValueWriter::new(target, config),
        clock,
        lanes,
        progress,
        db: Db(0),
        stream_db: Db(0),
    };
    copy.feed(&first.bytes);
    while !copy.take_events(feed).await? {
        let received = copy.receive(feed).await?;
        received_at_ms = received.received_at_ms;
        copy.feed(&received.bytes);
    }
    let rest = Received {
        bytes: copy.parser.take_rest(),
        received_at_ms,
    };
    let rest = end(feed, framing, copy.parser.offset(), rest).await?;
    feed.snapshot_ended();
    copy.finish(rest).await
}

/// Reads up to the framing line; returns it and the bytes behind it.
async fn framing(feed: &mut SourceFeed, progress: &Progress) -> Result<(Framing, Received), Error> {
    let mut transfer = Transfer::new();
    loop {
        let mut received = receive(feed).await?;
        let step = transfer
            .feed(&received.bytes)
            .map_err(|kind| sync::Error::new(feed.endpoint(), kind))?;
        received.bytes.advance(step.used);
        if let Some(framing) = step.framing {
            if let Framing::Length(bytes) = framing {
                progress.rdb_bytes_total.set(bytes);
            }
            return Ok((framing, received));
        }
    }
}

/// Checks that the snapshot ended where the framing says; returns what comes behind it.
async fn end(
    feed: &mut SourceFeed,
    framing: Framing,
    rdb_bytes: u64,
    mut rest: Received,
) -> Result<Received, Error> {
    let endpoint = feed.endpoint().clone();
    let wrong = |kind| sync::Error::new(&endpoint, kind);
    let mut end = SnapshotEnd::new(framing, rdb_bytes).map_err(wrong)?;
    while !end.feed(&mut rest.bytes).map_err(wrong)? {
        rest = receive(feed).await?;
    }
    Ok(rest)
}

/// Takes the next bytes of a link that nobody has stopped.
async fn receive(feed: &mut SourceFeed) -> Result<Received, Error> {
    match feed.recv().await {
        Ok(Some(received)) => Ok(received),
        Ok(None) => Err(Error::Interrupted),
        Err(mut error) => {
            if error.kind == sync::ErrorKind::ClosedInStream {
                error.kind = sync::ErrorKind::ClosedInSnapshot;
            }
            Err(Error::Source(error))
        }
    }
}

/// The snapshot on its way from the parser to the lanes.
struct Copy<'a> {
    parser: rdb::Parser,
    writer: ValueWriter,
    clock: SourceClock,
    lanes: Lanes,
    progress: &'a Progress,
    /// The db of the keys that follow.
    db: Db,
    stream_db: Db,
}

impl Copy<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        self.progress.rdb_bytes.add(bytes.len() as u64);
        self.parser.feed(bytes);
    }

    async fn receive(&mut self, feed: &mut SourceFeed) -> Result<Received, Error> {
        let received = loop {
            tokio::select! {
                received = receive(feed) => break received,
                // A lane may wait or fail while the source is silent.
                noted = self.lanes.next() => {
                    noted?;
                }
            }
        };
        match received {
            // The parser knows where in which key the snapshot broke off.
            Err(Error::Source(link)) => match self.parser.finish() {
                Err(error) => Err(Error::Snapshot {
                    endpoint: feed.endpoint().clone(),
                    error: Box::new(error),
                    link: Some(Box::new(link)),
                }),
                Ok(()) => Err(Error::Source(link)),
            },
            other => other,
        }
    }

    /// Takes all events that the parser has; true when the snapshot is complete.
    async fn take_events(&mut self, feed: &SourceFeed) -> Result<bool, Error> {
        loop {
            let event = self.parser.next_event().map_err(|error| Error::Snapshot {
                endpoint: feed.endpoint().clone(),
                error: Box::new(error),
                link: None,
            })?;
            match event {
                None | Some(Event::End(_)) => {
                    let held = self.writer.held_keys();
                    self.progress.expiries_held.set(held);
                    return Ok(event.is_some());
                }
                Some(event) => self.take(event)?,
            }
            while let Some((lane, batch)) = self.writer.ready() {
                self.lanes.send(lane, batch).await?;
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Key(key) => {
                self.progress.keys_read.add(1);
                let altitude = self.writer.begin(self.db, key, self.clock.now_ms())?;
                self.parser.choose(altitude);
            }
            event @ (Event::Body(_)
            | Event::BodyPiece(_)
            | Event::Blob { .. }
            | Event::Measured { .. }
            | Event::Lost { .. }
            | Event::Part(_)
            | Event::ValueEnd) => {
                self.writer.take(event)?;
            }
            Event::SelectDb(db) => self.db = db,
            Event::Function { code } => self.writer.function(&code)?,
            Event::Aux { name, value } => self.aux(&name, &value),
            Event::ModuleAux { module } => {
                tracing::warn!(
                    module,
                    "data that a module keeps beside the keys is left out"
                );
            }
            Event::ResizeDb { .. } => {}
            Event::Header(header) => {
                tracing::debug!(version = header.version, "the snapshot begins");
            }
            Event::End(_) => {}
        }
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &Bytes) {
        match name {
            b"repl-stream-db" => {
                // -1 when nothing is selected yet: the stream selects before its first command.
                let db = std::str::from_utf8(value).ok();
                self.stream_db = Db(db.and_then(|db| db.parse().ok()).unwrap_or(0));
            }
            b"lua" => self.writer.script(value),
            _ => {}
        }
    }

    /// Hands over what is left and waits until all of it is confirmed.
    async fn finish(mut self, rest: Received) -> Result<Applied, Error> {
        self.writer.flush();
        while let Some((lane, batch)) = self.writer.ready() {
            self.lanes.send(lane, batch).await?;
        }
        let skipped = self.lanes.finish().await?;
        let left_out = self.writer.left_out();
        let lossy = self.writer.losses().total();
        for (reason, n) in [
            (SkipReason::Expired, left_out.expired),
            (SkipReason::Empty, left_out.empty),
            (SkipReason::Lossy, lossy),
        ] {
            self.progress.count_skipped(reason, n);
        }
        Ok(Applied {
            rest,
            stream_db: self.stream_db,
            held_keys: self.writer.held_keys() > 0,
            held_fields: self.writer.held_fields(),
            skipped,
        })
    }
}
