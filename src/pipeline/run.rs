//! A migration from its beginning to its end.

use std::sync::Arc;

use crate::{
    config::{Migration, Mode, TargetConfig},
    sink::{Expired, Hold, LossLog, Translator},
    sync::{Link, ReplOffset, Side, SnapshotOptions, Start},
};

use super::{
    Consent, Ended, Error, Outcome, Phase, Progress, StopSignal,
    follow::{self, End, Means, follow},
    join::{link_config, look_at_source, shown},
    link_snapshot,
    publish::while_published,
    snapshot::Copy,
    source::{OffsetWatch, SourceFeed},
    target::TargetSide,
};

/// Runs a migration to its end.
///
/// `consent` is asked before the target is emptied. `stop` ends the run: while following,
/// everything received is applied first; before the snapshot is complete, the run fails.
pub async fn run(
    migration: &Migration,
    progress: Arc<Progress>,
    stop: StopSignal,
    consent: Consent,
) -> Outcome {
    let published = Arc::clone(&progress);
    let mut run = Run {
        migration,
        progress,
        stop,
        replid: None,
        snapshot_offset: None,
    };
    let result = while_published(&published, run.complete(&consent)).await;
    let held = published.expiries_held.get();
    if result.is_err() && held > 0 {
        tracing::warn!(
            held,
            "keys on the target have a held expiry and will not expire by themselves; \
             run again with --on-conflict replace or --flush-target"
        );
    }
    Outcome {
        replid: run.replid,
        snapshot_offset: run.snapshot_offset,
        result,
    }
}

struct Run<'a> {
    migration: &'a Migration,
    progress: Arc<Progress>,
    stop: StopSignal,
    replid: Option<String>,
    snapshot_offset: Option<u64>,
}

impl<'a> Run<'a> {
    async fn complete(&mut self, consent: &Consent) -> Result<Ended, Error> {
        let stop = self.stop.clone();
        let (feed, copied) = tokio::select! {
            copied = self.copy(consent) => copied?,
            () = stop.requested() => return Err(Error::Interrupted),
        };
        match copied {
            Some(copied) => self.follow(feed, copied).await,
            None => Ok(Ended::Complete),
        }
    }

    /// Brings the snapshot to the target. May be dropped midway: the target then holds a part.
    async fn copy(
        &mut self,
        consent: &Consent,
    ) -> Result<(SourceFeed, Option<Continued<'a>>), Error> {
        let migration = self.migration;
        let source = &migration.source;
        let progress = Arc::clone(&self.progress);
        let mut target = TargetSide::find(&migration.target, &progress).await?;
        let mut side = Side::open(&source.node, source.connect_timeout).await;
        let clock = look_at_source(&mut side, &mut target.admin, &progress).await?;
        target.prepare(consent).await?;

        let (link, offset) = self.join().await?;
        let mut feed = SourceFeed::start(
            link,
            source.node.endpoint.clone(),
            offset,
            migration.queue_bytes_max,
            clock,
            Arc::clone(&progress),
        );
        target.flush_if_asked().await?;
        let incremental = migration.mode == Mode::FullIncremental;
        let hold = match incremental {
            true => Hold::Held,
            false => Hold::Released,
        };
        let lanes = migration.target.lanes;
        let copy = Copy::new(
            Arc::clone(&target.target),
            target.value_config(hold, Expired::LeaveOut),
            clock,
            target.lanes(lanes, incremental, &progress).await?,
            &progress,
        );
        let applied = link_snapshot::apply(&mut feed, copy, &progress).await;
        let applied = applied.map_err(|error| error.after_flush(migration.target.flush))?;
        progress.applied_offset.set(offset.get());
        let keys = progress.keys_read.get();
        tracing::info!(keys, "the snapshot is on the target");
        let continued = incremental.then_some(Continued {
            target,
            side,
            hold,
            applied,
            offset,
        });
        Ok((feed, continued))
    }

    /// Joins the source as a replica.
    async fn join(&mut self) -> Result<(Link, ReplOffset), Error> {
        let snapshot = SnapshotOptions {
            rdb_no_compress: true,
            rdb_only: false,
        };
        let config = link_config(&self.migration.source, snapshot);
        self.progress.enter(Phase::WaitingForSnapshot);
        let (link, start) = Link::open(&config, None, &mut shown(&self.progress)).await?;
        self.progress.wait_because(None);
        let offset = match start {
            Start::FullResync(position) | Start::Continue(position) => {
                self.replid = Some(position.replid.to_string());
                position.offset
            }
            Start::Sync => {
                tracing::warn!("the source knows SYNC only: the stream can never be continued");
                ReplOffset::default()
            }
        };
        self.snapshot_offset = Some(offset.get());
        self.progress.received_offset.set(offset.get());
        Ok((link, offset))
    }

    async fn follow(&self, mut feed: SourceFeed, continued: Continued<'_>) -> Result<Ended, Error> {
        let migration = self.migration;
        let TargetConfig {
            node,
            connect_timeout,
            on_lossy,
            ..
        } = &migration.target;
        let (target, applied) = (continued.target, continued.applied);
        let found = &target.target;
        let translator = Translator::new(
            (**found).clone(),
            continued.hold,
            migration.publish,
            *on_lossy,
        );
        let end = follow(
            follow::Start {
                offset: continued.offset,
                db: applied.copied.stream_db,
                first: applied.rest,
                skipped: applied.copied.skipped,
                hold: continued.hold,
                held_keys: applied.copied.held_keys,
                held_fields: applied.copied.held_fields,
            },
            Means {
                feed: &mut feed,
                lanes: target.lanes(1, false, &self.progress).await?,
                node,
                connect_timeout: *connect_timeout,
                target: Arc::clone(found),
                translator,
                losses: LossLog::new(node.endpoint.clone(), *on_lossy),
                // After SYNC offsets are counted by ourselves: the source's mean nothing then.
                source_offset: match self.replid {
                    Some(_) => continued.side.map(OffsetWatch::start),
                    None => None,
                },
                until_caught_up: migration.until_caught_up,
                progress: &self.progress,
                stop: self.stop.clone(),
            },
        )
        .await?;
        Ok(match end {
            End::CaughtUp => Ended::Complete,
            End::Stopped => Ended::Stopped,
        })
    }
}

/// What following needs of the copied snapshot.
struct Continued<'a> {
    target: TargetSide<'a>,
    side: Option<Side>,
    hold: Hold,
    applied: link_snapshot::Applied,
    offset: ReplOffset,
}
