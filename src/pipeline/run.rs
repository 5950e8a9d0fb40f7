//! A migration from its beginning to its end.

use std::{sync::Arc, time::Duration};

use crate::{
    config::{Migration, Mode},
    net::Node,
    sink::{
        Admin, Conflict, ErrorKind, Hold, LaneConfig, LossLog, Target, Translator, ValueConfig,
    },
    sync::{Link, LinkConfig, Notice, ReplOffset, Side, SnapshotOptions, Start},
    telemetry,
};

use super::{
    Consent, Ended, Error, Outcome, Phase, Progress, StopSignal,
    clock::SourceClock,
    follow::{self, End, Means, follow},
    lanes::Lanes,
    snapshot,
    source::{OffsetWatch, SourceFeed},
};

/// How often metrics are published.
const METRICS_PERIOD: Duration = Duration::from_secs(1);

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
    let metrics = Arc::clone(&progress);
    let mut run = Run {
        migration,
        progress,
        stop,
        replid: None,
        snapshot_offset: None,
    };
    telemetry::describe_metrics();
    let result = tokio::select! {
        result = run.complete(&consent) => result,
        () = publish(&metrics) => unreachable!("metrics are published until the end"),
    };
    metrics.sample().publish();
    let held = metrics.expiries_held.get();
    if result.is_err() && held > 0 {
        tracing::warn!(
            held,
            "keys on the target have a held expiry and will not expire by themselves; \
             run again with --on-conflict replace or --flush-target"
        );
    }
    if result.is_ok() {
        run.progress.enter(Phase::Done);
    }
    Outcome {
        replid: run.replid,
        snapshot_offset: run.snapshot_offset,
        result,
    }
}

/// Publishes what was done so far as metrics, again and again.
async fn publish(progress: &Progress) {
    let mut period = tokio::time::interval(METRICS_PERIOD);
    loop {
        period.tick().await;
        progress.sample().publish();
    }
}

struct Run<'a> {
    migration: &'a Migration,
    progress: Arc<Progress>,
    stop: StopSignal,
    replid: Option<String>,
    snapshot_offset: Option<u64>,
}

impl Run<'_> {
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
    async fn copy(&mut self, consent: &Consent) -> Result<(SourceFeed, Option<Copied>), Error> {
        let migration = self.migration;
        let (mut admin, target) = self.find_target().await?;
        let mut side = Side::open(&migration.source, migration.connect_timeout).await;
        let clock = self.look_at_source(&mut side, &mut admin).await?;
        self.prepare(&mut admin, consent).await?;

        let (link, offset) = self.join().await?;
        let mut feed = SourceFeed::start(
            link,
            migration.source.endpoint.clone(),
            offset,
            migration.queue_bytes_max,
            clock,
            Arc::clone(&self.progress),
        );
        if migration.flush_target {
            // Only when there is a source to fill it again.
            admin.flush(&target).await?;
        }
        let incremental = migration.mode == Mode::FullIncremental;
        let hold = match incremental {
            true => Hold::Held,
            false => Hold::Released,
        };
        let lanes = self.lanes(&target, migration.lanes, incremental).await?;
        let applied = snapshot::apply(
            &mut feed,
            Arc::clone(&target),
            self.value_config(&target, hold),
            clock,
            lanes,
            &self.progress,
        )
        .await?;
        self.progress.applied_offset.set(offset.get());
        let keys = self.progress.keys_read.get();
        tracing::info!(keys, "the snapshot is on the target");
        let copied = incremental.then_some(Copied {
            target,
            side,
            hold,
            applied,
            offset,
        });
        Ok((feed, copied))
    }

    /// Connects to the target, waits until it takes commands, and finds out what it is.
    async fn find_target(&self) -> Result<(Admin, Arc<Target>), Error> {
        let Migration {
            target,
            connect_timeout,
            retry_for,
            ..
        } = self.migration;
        let mut admin = Admin::open(target, *connect_timeout).await?;
        let mut waiting = |why: &str| {
            tracing::warn!("waiting because the target is not ready: {why}");
            let why = format!("the target is not ready: {why}");
            self.progress.wait_because(Some(why));
        };
        admin.wait_ready(*retry_for, &mut waiting).await?;
        self.progress.wait_because(None);
        let found = admin.probe().await?;
        tracing::info!(target = %target.endpoint, is = %found, "found the target");
        Ok((admin, Arc::new(found)))
    }

    /// Sets the clock by the source, and asks how many keys it has; both as far as it tells.
    async fn look_at_source(
        &self,
        side: &mut Option<Side>,
        admin: &mut Admin,
    ) -> Result<SourceClock, Error> {
        let Some(side) = side else {
            return Ok(SourceClock::new(None));
        };
        let run_id = side.run_id().await;
        if run_id.is_some() && run_id == admin.run_id().await? {
            return Err(Error::SameServer);
        }
        self.progress.keys_total.set(side.keys().await.unwrap_or(0));
        Ok(SourceClock::new(side.time().await))
    }

    fn value_config(&self, target: &Target, hold: Hold) -> ValueConfig {
        let migration = self.migration;
        ValueConfig {
            endpoint: migration.target.endpoint.clone(),
            conflict: self.conflict(),
            on_lossy: migration.on_lossy,
            hold,
            restore_bytes_max: target.payload_bytes_max(migration.restore_bytes_max),
            lanes: migration.lanes,
        }
    }

    /// Makes sure that the target may be written to, and that nothing of an aborted run is left.
    async fn prepare(&self, admin: &mut Admin, consent: &Consent) -> Result<(), Error> {
        let migration = self.migration;
        admin.remove_staging().await?;
        let keys = admin.keys().await?;
        if keys == 0 {
            return Ok(());
        }
        if migration.flush_target {
            return match consent.to_flush(keys).await {
                true => Ok(()),
                false => Err(Error::FlushDeclined),
            };
        }
        match migration.on_conflict {
            Some(_) => Ok(()),
            None => {
                let kind = ErrorKind::NotEmpty { keys };
                Err(Error::Target(kind.at(&migration.target.endpoint)))
            }
        }
    }

    /// Joins the source as a replica.
    async fn join(&mut self) -> Result<(Link, ReplOffset), Error> {
        let migration = self.migration;
        let Node {
            endpoint,
            user,
            password,
        } = migration.source.clone();
        let config = LinkConfig {
            endpoint,
            user,
            password,
            announce_ip: migration.announce_ip.clone(),
            announce_port: migration.announce_port,
            connect_timeout: migration.connect_timeout,
            source_timeout: migration.source_timeout,
            retry_for: migration.retry_for,
            snapshot: SnapshotOptions {
                rdb_no_compress: true,
                rdb_only: false,
            },
        };
        self.progress.enter(Phase::WaitingForSnapshot);
        let progress = Arc::clone(&self.progress);
        let mut notice = |notice: Notice| match notice {
            Notice::Waiting { kind, pause } => {
                tracing::warn!("waiting because the source {kind}; next try in {pause:?}");
                progress.wait_because(Some(format!("the source {kind}")));
            }
            Notice::SnapshotPending => {
                tracing::info!("the source prepares its snapshot");
            }
            Notice::PasswordUnused => {
                tracing::warn!("the source needs no password; the one given was not used");
            }
        };
        let (link, start) = Link::open(&config, None, &mut notice).await?;
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

    async fn follow(&mut self, mut feed: SourceFeed, copied: Copied) -> Result<Ended, Error> {
        let migration = self.migration;
        let endpoint = migration.target.endpoint.clone();
        let translator = Translator::new(
            (*copied.target).clone(),
            copied.hold,
            migration.publish,
            migration.on_lossy,
        );
        let end = follow(
            follow::Start {
                offset: copied.offset,
                db: copied.applied.stream_db,
                first: copied.applied.rest,
                skipped: copied.applied.skipped,
                hold: copied.hold,
                held_keys: copied.applied.held_keys,
                held_fields: copied.applied.held_fields,
            },
            Means {
                feed: &mut feed,
                lanes: self.lanes(&copied.target, 1, false).await?,
                node: &migration.target,
                connect_timeout: migration.connect_timeout,
                target: copied.target,
                translator,
                losses: LossLog::new(endpoint, migration.on_lossy),
                // After SYNC offsets are counted by ourselves: the source's mean nothing then.
                source_offset: match self.replid {
                    Some(_) => copied.side.map(OffsetWatch::start),
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

    async fn lanes(
        &self,
        target: &Arc<Target>,
        count: usize,
        remembers_skipped: bool,
    ) -> Result<Lanes, Error> {
        let config = LaneConfig {
            node: self.migration.target.clone(),
            connect_timeout: self.migration.connect_timeout,
            window_bytes_max: self.migration.window_bytes_max,
            retry_for: self.migration.retry_for,
            conflict: self.conflict(),
            target: Arc::clone(target),
            on_lossy: self.migration.on_lossy,
        };
        let progress = Arc::clone(&self.progress);
        Ok(Lanes::open(&config, count, remembers_skipped, progress).await?)
    }

    /// The conflict policy; on a target that was empty there is nothing to be in conflict with.
    fn conflict(&self) -> Conflict {
        self.migration.on_conflict.unwrap_or(Conflict::Replace)
    }
}

/// What following needs of the copied snapshot.
struct Copied {
    target: Arc<Target>,
    side: Option<Side>,
    hold: Hold,
    applied: snapshot::Applied,
    offset: ReplOffset,
}
