//! The source's side of a run: what is known of it, and how it is joined, the first time and again.

use std::sync::Arc;

use crate::{
    net::Endpoint,
    sync::{
        self, ErrorKind, Gap, Link, LinkConfig, Position, ReplOffset, Replid, Side,
        SnapshotChannel, Start,
    },
};

use super::{
    Awaited, Error, Phase, Progress,
    clock::ServerClock,
    join::shown,
    source::{SourceFeed, Spools},
    workdir::{Spool, WorkDir},
};

/// A source that can be joined.
#[derive(Debug)]
pub(super) struct SourceSide {
    pub(super) link: LinkConfig,
    /// The clock that its expiries are made by.
    pub(super) clock: ServerClock,
    /// A connection for questions, where it may be had.
    pub(super) side: Option<Side>,
    pub(super) progress: Arc<Progress>,
    pub(super) workdir: WorkDir,
}

/// A source whose snapshot comes.
pub(super) struct Joined {
    pub(super) feed: SourceFeed,
    /// What the snapshot is a picture of.
    pub(super) offset: ReplOffset,
    /// The history; `None` after SYNC.
    pub(super) replid: Option<Replid>,
}

impl SourceSide {
    /// Where it is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.link.endpoint
    }

    /// Joins it as a replica that has nothing yet.
    ///
    /// # Errors
    /// The last error of the last attempt; the spool's.
    pub(super) async fn join(self: &Arc<Self>) -> Result<Joined, Error> {
        self.progress.enter(Phase::WaitingForSnapshot);
        self.check_channel().await?;
        let (link, start) = Link::open(&self.link, None, &mut shown(&self.progress)).await?;
        self.progress.wait_because(Awaited::Source, None);
        let has_channel = link.has_channel();
        self.progress
            .learn(|servers| servers.snapshot_channel = Some(has_channel));
        if start == Start::Sync {
            tracing::warn!("the source knows SYNC only: the stream can never be continued");
        }
        let position = start.position();
        let replid = position.map(|position| position.replid);
        let offset = position.map_or_else(ReplOffset::default, |position| position.offset);
        self.progress.received_offset.set(offset.get());
        let spools = Spools {
            snapshot: Some(self.workdir.snapshot()?),
            stream: self.workdir.stream(offset, replid)?,
        };
        let feed = SourceFeed::start(link, &start, spools, Arc::clone(self));
        Ok(Joined {
            feed,
            offset,
            replid,
        })
    }

    /// Finds out before a snapshot is begun in vain whether it will come as it is demanded.
    ///
    /// # Errors
    /// `NoSnapshotChannel`. A source that does not tell says it in its answer to PSYNC.
    async fn check_channel(&self) -> Result<(), sync::Error> {
        let is_demanded = self.link.snapshot.channel == SnapshotChannel::On;
        let (true, Some(mut side)) = (is_demanded, self.side.clone()) else {
            return Ok(());
        };
        match side.offers_channel().await {
            Some(false) => {
                let kind = ErrorKind::NoSnapshotChannel;
                Err(sync::Error::new(self.endpoint(), kind))
            }
            Some(true) | None => Ok(()),
        }
    }

    /// Goes on with the stream behind `from`: with what an earlier run has spooled of it, and from
    /// the source behind that.
    ///
    /// # Errors
    /// `CannotContinue`, the last error of the last attempt, the spool's.
    pub(super) async fn go_on(self: &Arc<Self>, from: Position) -> Result<SourceFeed, Error> {
        if let Some((end, stream)) = self.workdir.survived(from)? {
            let bytes = end.offset.get() - from.offset.get();
            tracing::info!(bytes, "what an earlier run has received is on disk");
            match self.feed(end, stream).await {
                // Perhaps the source still has what was spooled, under another name.
                Err(Error::Source(error)) if error.kind.is_gap() => {}
                other => return other,
            }
        }
        let stream = self.workdir.stream(from.offset, Some(from.replid))?;
        self.feed(from, stream).await
    }

    async fn feed(self: &Arc<Self>, from: Position, stream: Spool) -> Result<SourceFeed, Error> {
        let (link, position) = self.continued(from).await?;
        self.progress.wait_because(Awaited::Source, None);
        self.progress.received_offset.set(position.offset.get());
        let spools = Spools {
            snapshot: None,
            stream,
        };
        let start = Start::Continue(position);
        Ok(SourceFeed::start(link, &start, spools, Arc::clone(self)))
    }

    /// Opens a link that continues behind `from`, or says why there is none.
    ///
    /// # Errors
    /// `CannotContinue`, or the last error of the last attempt.
    pub(super) async fn continued(&self, from: Position) -> Result<(Link, Position), sync::Error> {
        let cannot = |replid, gap: Option<Gap>| {
            let gap = gap.map(Box::new);
            let kind = ErrorKind::CannotContinue { replid, gap };
            sync::Error::new(self.endpoint(), kind).at(from.offset)
        };
        // Asked before, since a source that cannot continue begins a snapshot.
        if let Some(gap) = self.gap(from).await {
            return Err(cannot(Some(from.replid), Some(gap)));
        }
        let opened = Link::open(&self.link, Some(from), &mut shown(&self.progress)).await;
        let (link, start) = opened?;
        match start {
            Start::Continue(position) => Ok((link, position)),
            Start::FullResync(position) => {
                drop(link);
                Err(cannot(Some(position.replid), self.gap(from).await))
            }
            Start::NotContinued => {
                drop(link);
                let gap = self.gap(from).await.unwrap_or(Gap::Untold);
                Err(cannot(None, Some(gap)))
            }
            Start::Sync => Err(cannot(None, None)),
        }
    }

    async fn gap(&self, from: Position) -> Option<Gap> {
        let mut side = self.side.clone()?;
        side.backlog().await?.gap(from)
    }
}
