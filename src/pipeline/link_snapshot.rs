//! The snapshot as a source sends it to its replica: received bytes, framing, parser.

use bytes::Buf;

use crate::{
    rdb::{self, Event, Parser},
    sync::{self, Framing, SnapshotEnd, Transfer},
};

use super::{
    Error, Phase, Progress,
    queue::Received,
    snapshot::{Copied, SnapshotCopy},
    source::SourceFeed,
};

/// What is known once the snapshot is on the target.
#[derive(Debug)]
pub(super) struct Applied {
    /// What came behind the snapshot: the beginning of the stream.
    pub(super) rest: Received,
    /// What became of it.
    pub(super) copied: Copied,
}

/// Applies the snapshot that `feed` brings.
///
/// Returns when its checksum is right and the target has confirmed every key of it. May be
/// dropped midway: the target then holds a part of it.
pub(super) async fn apply(
    feed: &mut SourceFeed,
    copy: SnapshotCopy<'_>,
    progress: &Progress,
) -> Result<Applied, Error> {
    let (framing, first) = framing(feed, progress).await?;
    let mut received_at_ms = first.received_at_ms;
    progress.enter(Phase::Snapshot);
    let mut snapshot = Snapshot {
        parser: Parser::new(rdb::Limits::default()),
        copy,
        progress,
    };
    snapshot.feed(&first.bytes);
    while !snapshot.take_events(feed).await? {
        let received = snapshot.receive(feed).await?;
        received_at_ms = received.received_at_ms;
        snapshot.feed(&received.bytes);
    }
    let rest = Received {
        bytes: snapshot.parser.take_rest(),
        received_at_ms,
    };
    let rest = end(feed, framing, snapshot.parser.offset(), rest).await?;
    feed.snapshot_ended();
    let copied = snapshot.copy.finish().await?;
    Ok(Applied { rest, copied })
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

/// The snapshot between the link and its way to the target.
struct Snapshot<'a> {
    parser: Parser,
    copy: SnapshotCopy<'a>,
    progress: &'a Progress,
}

impl Snapshot<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        self.progress.rdb_bytes.add(bytes.len() as u64);
        self.parser.feed(bytes);
    }

    async fn receive(&mut self, feed: &mut SourceFeed) -> Result<Received, Error> {
        let received = loop {
            tokio::select! {
                received = receive(feed) => break received,
                // A lane may wait or fail while the source is silent.
                noted = self.copy.noted() => noted?,
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
                None => return Ok(false),
                Some(Event::End(_)) => return Ok(true),
                Some(event) => self.take(event)?,
            }
            self.copy.hand_over().await?;
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        if let Event::Key(_) = event {
            self.progress.keys_read.add(1);
        }
        if let Some(altitude) = self.copy.take(event)? {
            self.parser.choose(altitude);
        }
        Ok(())
    }
}
