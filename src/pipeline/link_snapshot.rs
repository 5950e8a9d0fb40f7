//! The snapshot as a source sends it to its replica: received bytes, framing, parser.

use crate::{
    rdb::{self, Event, Parser},
    sync::{self, Framing, SnapshotEnd},
};

use super::{
    Error, Phase, Progress,
    snapshot::{Copied, SnapshotCopy},
    source::SourceFeed,
};

/// Applies the snapshot that `feed` brings.
///
/// Returns when its checksum is right and the target has confirmed every key of it. May be
/// dropped midway: the target then holds a part of it.
pub(super) async fn apply(
    feed: &mut SourceFeed,
    copy: SnapshotCopy<'_>,
    progress: &Progress,
) -> Result<Copied, Error> {
    let framing = feed.framing().await?;
    if let Framing::Length(bytes) = framing {
        progress.rdb_bytes_total.set(bytes);
    }
    progress.enter(Phase::Snapshot);
    let mut snapshot = Snapshot {
        parser: Parser::new(rdb::Limits::default()).joining_strings(),
        copy,
        progress,
    };
    while !snapshot.take_events(feed).await? {
        snapshot.receive(feed).await?;
    }
    end(feed, framing, &mut snapshot.parser).await?;
    feed.snapshot_taken();
    snapshot.copy.finish().await
}

/// Checks that the snapshot ended where the framing says.
async fn end(feed: &mut SourceFeed, framing: Framing, parser: &mut Parser) -> Result<(), Error> {
    let endpoint = feed.endpoint().clone();
    let wrong = |kind| sync::Error::new(&endpoint, kind);
    let mut rest = parser.take_rest();
    let mut end = SnapshotEnd::new(framing, parser.offset()).map_err(wrong)?;
    while !end.feed(&mut rest).map_err(wrong)? {
        rest = feed.recv_snapshot().await?;
    }
    Ok(())
}

/// The snapshot between the link and its way to the target.
struct Snapshot<'a> {
    parser: Parser,
    copy: SnapshotCopy<'a>,
    progress: &'a Progress,
}

impl Snapshot<'_> {
    /// Takes the next bytes over.
    async fn receive(&mut self, feed: &mut SourceFeed) -> Result<(), Error> {
        let received = loop {
            tokio::select! {
                received = feed.recv_snapshot() => break received,
                // A lane may wait or fail while the source is silent.
                noted = self.copy.noted() => noted?,
            }
        };
        match received {
            Ok(bytes) => {
                self.progress.rdb_bytes.add(bytes.len() as u64);
                self.parser.feed(&bytes);
                Ok(())
            }
            // The parser knows where in which key the snapshot broke off.
            Err(Error::Source(link)) => match self.parser.finish() {
                Err(error) => Err(Error::Snapshot {
                    endpoint: feed.endpoint().clone(),
                    error: Box::new(error),
                    link: Some(Box::new(link)),
                }),
                Ok(()) => Err(Error::Source(link)),
            },
            Err(error) => Err(error),
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
            if self.copy.is_ready() {
                self.copy.hand_over().await?;
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        if matches!(event, Event::Key(_) | Event::String { .. }) {
            self.progress.keys_read.add(1);
        }
        if let Some(altitude) = self.copy.take(event)? {
            self.parser.choose(altitude);
        }
        Ok(())
    }
}
