//! A migration from its beginning to its end.
//!
//! ```text
//!  checkpoint   none, snapshot             stream
//!                    │                        │
//!      what an earlier run wrote is removed   │
//!                    ▼                        │
//!            join ► snapshot ► checkpoint     │ go on behind it
//!                                 ▼           ▼
//!                                     follow
//! ```

use std::sync::Arc;

use crate::{
    config::{Migration, Mode},
    sink::{
        Checkpoint, CheckpointPhase, Due, Expired, Hold, LossLog, MadeBy, Release, ReleaseStep,
        Translator,
    },
    sync::{Position, ReplOffset, Resumable, Side, SnapshotOptions},
};

use super::{
    Consent, Ended, Error, Outcome, Progress, StopSignal,
    follow::{self, End, Means, follow},
    join::{link_config, look_at_source},
    keeper::{self, Keeper},
    link_snapshot,
    offset_watch::OffsetWatch,
    publish::while_published,
    skipped::Skipped,
    snapshot::SnapshotCopy,
    source::SourceFeed,
    source_side::SourceSide,
    target::TargetSide,
    workdir::WorkDir,
    written::{Written, undo},
};

/// How often a snapshot is begun that the source or the target broke off.
const SNAPSHOT_TRIES: u32 = 3;

/// Runs a migration to its end, or on from where an earlier run of it stopped.
///
/// `consent` is asked before the target is emptied. `stop` ends the run: while following, what was
/// received is applied first, as far as that is possible in [`Migration::drain_timeout`]; before
/// the snapshot is complete, the run fails.
pub async fn run(
    migration: &Migration,
    progress: Arc<Progress>,
    stop: StopSignal,
    consent: Consent,
) -> Outcome {
    let mut run = Run {
        migration,
        progress: Arc::clone(&progress),
        stop,
        replid: None,
        snapshot_offset: None,
    };
    let result = while_published(&progress, run.complete(&consent)).await;
    if let Err(Error::Target(error)) = &result
        && error.is_checkpoint_dropped()
        && let Err(error) = run.leave_nothing_held().await
    {
        tracing::warn!("what was written after the checkpoint was dropped is left: {error}");
    }
    let held = progress.expiries_held.get();
    if held > 0 {
        tracing::warn!(
            held,
            "keys on the target have a held expiry and will not expire by themselves; run the same \
             command again to release them"
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

/// Both sides, as far as they are known.
struct Sides {
    source: Arc<SourceSide>,
    target: TargetSide,
    keeper: Keeper,
}

impl<'a> Run<'a> {
    async fn complete(&mut self, consent: &Consent) -> Result<Ended, Error> {
        let workdir = WorkDir::open(&self.migration.spool, &self.migration.name)?;
        let stop = self.stop.clone();
        let (mut sides, begun) = tokio::select! {
            begun = self.begin(workdir.clone(), consent) => begun?,
            () = stop.requested() => return Err(Error::Interrupted),
        };
        let ended = match begun {
            Some((feed, start)) => self.follow(&mut sides, feed, start).await?,
            None => Ended::Complete,
        };
        if ended == Ended::Complete {
            sides
                .keeper
                .remove(sides.target.admin_again().await?)
                .await?;
            workdir.clear()?;
        }
        Ok(ended)
    }

    /// Undoes what was written after the checkpoint was dropped, as the drop itself did: the
    /// checkpoint goes, and expiries get their true time, unless the migration has begun anew.
    async fn leave_nothing_held(&self) -> Result<(), Error> {
        let mut target = TargetSide::find(&self.migration.target, &self.progress).await?;
        let name = &self.migration.name;
        let mut release = Release::new(&target.target, true);
        let admin = &mut target.admin;
        while !admin.is_claimed(name).await? {
            if let ReleaseStep::Done { .. } = release.page(admin, Due::All).await? {
                self.progress.expiries_held.set(0);
                admin.drop_checkpoint(name).await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Brings the snapshot to the target, or finds that an earlier run has done so. `None` when
    /// there is nothing to follow. May be dropped midway: the target then holds a part.
    async fn begin(
        &mut self,
        workdir: WorkDir,
        consent: &Consent,
    ) -> Result<(Sides, Option<(SourceFeed, follow::Start)>), Error> {
        let mut sides = self.meet(workdir).await?;
        let found = sides.keeper.find(&mut sides.target.admin).await?;
        let incremental = self.migration.mode == Mode::FullIncremental;
        match found {
            None => sides.source.workdir.clear()?,
            Some(checkpoint) => match checkpoint.phase {
                CheckpointPhase::Stream if incremental => {
                    match self.go_on(&sides, &checkpoint).await {
                        Err(Error::Source(error))
                            if error.kind.is_gap() && self.migration.allow_full_resync =>
                        {
                            tracing::warn!("{error}: {}; everything is copied again", error.why());
                            self.start_over(&mut sides, &checkpoint, consent).await?;
                        }
                        begun => return Ok((sides, Some(begun?))),
                    }
                }
                CheckpointPhase::Stream => return Err(Error::InStream),
                CheckpointPhase::Snapshot => self.undo(&mut sides, &checkpoint).await?,
            },
        }
        let mut tries = 1;
        loop {
            let error = match self.copy(&mut sides, consent).await {
                Ok(begun) => return Ok((sides, begun)),
                Err(error) => error,
            };
            if !error.breaks_off_snapshot() || tries == SNAPSHOT_TRIES {
                return Err(error);
            }
            tries += 1;
            tracing::warn!("{error}; a new snapshot is taken");
            sides.target = TargetSide::find(&self.migration.target, &self.progress).await?;
            if let Some(checkpoint) = sides.keeper.find(&mut sides.target.admin).await? {
                self.undo(&mut sides, &checkpoint).await?;
            }
        }
    }

    /// Meets both sides. Nothing is changed on them.
    async fn meet(&self, workdir: WorkDir) -> Result<Sides, Error> {
        let migration: &'a Migration = self.migration;
        let source = &migration.source;
        let mut target = TargetSide::find(&migration.target, &self.progress).await?;
        let mut side = Side::open(&source.node, source.connect_timeout).await;
        let clock = look_at_source(&mut side, &mut target.admin, &self.progress).await?;
        let keeper = Keeper::new(
            migration.checkpoint,
            &migration.name,
            &source.node.endpoint.to_string(),
            workdir.path().as_deref(),
        )?;
        let snapshot = SnapshotOptions {
            rdb_no_compress: true,
            rdb_only: false,
            channel: migration.snapshot_channel,
        };
        let source = Arc::new(SourceSide {
            link: link_config(source, snapshot),
            clock,
            side,
            progress: Arc::clone(&self.progress),
            workdir,
        });
        Ok(Sides {
            source,
            target,
            keeper,
        })
    }

    /// Goes on behind a checkpoint.
    async fn go_on(
        &mut self,
        sides: &Sides,
        checkpoint: &Checkpoint,
    ) -> Result<(SourceFeed, follow::Start), Error> {
        let Some((replid, from)) = keeper::position(checkpoint) else {
            return Err(Error::NotContinuable);
        };
        tracing::info!(
            offset = from.offset.get(),
            "an earlier run has come to this offset; it goes on from there"
        );
        let offset = from.offset;
        let feed = sides.source.go_on(Position { replid, offset }).await?;
        self.replid = Some(replid.to_string());
        self.progress.applied_offset.set(offset.get());
        let skipped = match sides.source.workdir.skipped()? {
            Some(journal) => Skipped::read(journal, offset)?,
            None => Skipped::default(),
        };
        let start = follow::Start {
            from,
            skipped,
            hold: Hold::Held,
            held_keys: checkpoint.held,
            held_fields: checkpoint.held,
        };
        Ok((feed, start))
    }

    /// Removes what an interrupted snapshot has written.
    async fn undo(&self, sides: &mut Sides, checkpoint: &Checkpoint) -> Result<(), Error> {
        let may_undo = checkpoint.began_empty
            || self.migration.target.flush
            || self.migration.target.conflict().replaces();
        let journal = match (may_undo, sides.source.workdir.written()?) {
            (true, Some(journal)) => journal,
            _ if self.migration.target.flush => return Ok(()),
            _ => return Err(Error::NotUndoable),
        };
        tracing::warn!("an earlier run was interrupted in its snapshot; what it wrote is removed");
        let admin = &mut sides.target.admin;
        let keys = undo(journal, admin).await?;
        if checkpoint.began_empty {
            admin.remove_functions(&sides.target.target).await?;
        }
        sides.keeper.remove(admin).await?;
        sides.source.workdir.clear()?;
        tracing::info!(keys, "what the interrupted snapshot wrote is removed");
        Ok(())
    }

    /// Empties the target: it was empty when the migration began, and all that is there is of it.
    async fn start_over(
        &self,
        sides: &mut Sides,
        checkpoint: &Checkpoint,
        consent: &Consent,
    ) -> Result<(), Error> {
        if !checkpoint.began_empty {
            return Err(Error::NotUndoable);
        }
        let keys = sides.target.admin.keys().await?;
        if !consent.to_flush(keys).await {
            return Err(Error::FlushDeclined);
        }
        sides.target.admin.flush(&sides.target.target).await?;
        self.progress.forget_source_offset();
        sides.source.workdir.clear()
    }

    /// Takes a snapshot, and brings it to the target.
    async fn copy(
        &mut self,
        sides: &mut Sides,
        consent: &Consent,
    ) -> Result<Option<(SourceFeed, follow::Start)>, Error> {
        let began_empty = sides.target.prepare(consent).await?;
        let mut joined = sides.source.join().await?;
        self.replid = joined.replid.map(|replid| replid.to_string());
        self.snapshot_offset = Some(joined.offset.get());
        let written = self
            .write_snapshot(sides, &mut joined.feed, joined.offset, began_empty)
            .await;
        match written {
            Ok(Some(start)) => Ok(Some((joined.feed, start))),
            written => {
                joined.feed.abandon().await;
                written.map(|_| None)
            }
        }
    }

    /// Brings the snapshot that was taken at `offset` to the target; says from where to follow, if
    /// that is wanted.
    async fn write_snapshot(
        &self,
        sides: &mut Sides,
        feed: &mut SourceFeed,
        offset: ReplOffset,
        began_empty: bool,
    ) -> Result<Option<follow::Start>, Error> {
        // The source may have taken its time.
        sides.target.admin_of_same_process().await?;
        sides.target.flush_if_asked().await?;
        let written = self
            .write_keys(sides, feed, offset, began_empty)
            .await
            .map_err(|error| error.after_flush(self.migration.target.flush));
        let Some(mut start) = written? else {
            return Ok(None);
        };
        self.snapshot_complete(sides, feed, &mut start).await?;
        Ok(Some(start))
    }

    /// Writes the keys of the snapshot.
    async fn write_keys(
        &self,
        sides: &mut Sides,
        feed: &mut SourceFeed,
        offset: ReplOffset,
        began_empty: bool,
    ) -> Result<Option<follow::Start>, Error> {
        let progress = &self.progress;
        let Sides {
            source,
            target,
            keeper,
        } = sides;
        keeper.begin(&mut target.admin, began_empty).await?;
        let incremental = self.migration.mode == Mode::FullIncremental;
        let hold = match incremental {
            true => Hold::Held,
            false => Hold::Released,
        };
        let copy = SnapshotCopy::new(
            Arc::clone(&target.target),
            target.value_config(hold, Expired::LeaveOut, MadeBy::Server),
            source.clock,
            target.snapshot_lanes(incremental, keeper.claim(), began_empty),
            source.workdir.written()?.map(Written::new),
            progress,
        );
        let copied = link_snapshot::apply(feed, copy, progress).await?;
        // One that was restarted since its last key may have lost some.
        let admin = target.admin_of_same_process().await?;
        admin.remove_staging().await?;
        progress.applied_offset.set(offset.get());
        let keys = progress.keys_read.get();
        tracing::info!(keys, "the snapshot is on the target");
        Ok(incremental.then_some(follow::Start {
            from: Resumable {
                offset,
                db: copied.stream_db,
            },
            skipped: copied.skipped,
            hold,
            held_keys: copied.held_keys,
            held_fields: copied.held_fields,
        }))
    }

    /// Makes the stream the thing to go on with.
    async fn snapshot_complete(
        &self,
        sides: &mut Sides,
        feed: &SourceFeed,
        start: &mut follow::Start,
    ) -> Result<(), Error> {
        if let (false, Some(journal)) = (start.skipped.is_empty(), sides.source.workdir.skipped()?)
        {
            start.skipped.keep(journal)?;
        }
        let held = start.held_keys || start.held_fields;
        let admin = sides.target.admin_of_same_process().await?;
        sides
            .keeper
            .snapshot_complete(admin, start.from, feed.replid(), held)
            .await?;
        if let Some(journal) = sides.source.workdir.written()? {
            journal.remove()?;
        }
        Ok(())
    }

    async fn follow(
        &self,
        sides: &mut Sides,
        feed: SourceFeed,
        start: follow::Start,
    ) -> Result<Ended, Error> {
        let migration = self.migration;
        let config = &migration.target;
        let goes_on = tokio::select! {
            imports = sides.target.begin_import(&mut sides.keeper) => imports.map(|()| true),
            () = self.stop.requested() => Ok(false),
        };
        if !matches!(goes_on, Ok(true)) {
            feed.keep().await;
            return goes_on.map(|_| Ended::Stopped);
        }
        let found = &sides.target.target;
        let endpoint = config.node.endpoint.clone();
        let translator = Translator::new(
            (**found).clone(),
            start.hold,
            migration.publish,
            config.on_lossy,
        );
        // After SYNC offsets are counted by ourselves: the source's mean nothing then.
        let side = sides
            .source
            .side
            .clone()
            .filter(|_| feed.replid().is_some());
        let end = follow(
            start,
            Means {
                feed,
                source: &sides.source,
                target: &mut sides.target,
                keeper: &mut sides.keeper,
                translator,
                losses: LossLog::new(endpoint, config.on_lossy),
                hold_expiries: migration.hold_expiries,
                source_offset: side.map(OffsetWatch::start),
                until_caught_up: migration.until_caught_up,
                drain_timeout: migration.drain_timeout,
                progress: &self.progress,
                stop: self.stop.clone(),
            },
        )
        .await;
        if sides.keeper.import_mode() {
            tracing::warn!(
                "the target stays in import mode: it expires and evicts nothing by itself until the \
                 same command has ended, or keyferry checkpoint drop was used"
            );
        }
        Ok(match end? {
            End::CaughtUp => Ended::Complete,
            End::Stopped => Ended::Stopped,
        })
    }
}
