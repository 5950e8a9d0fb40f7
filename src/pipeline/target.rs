//! The target's side of a run: found, prepared, and opened for writing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::TargetConfig,
    net::Backoff,
    sink::{
        self, Admin, Claim, ErrorKind, Expired, Hold, ImportMode, LaneConfig, MadeBy, Marks,
        Target, ValueConfig,
    },
    sync::ReplOffset,
};

use super::{Awaited, Consent, Error, Progress, keeper::Keeper, lanes::Lanes};

const ADMIN_PAUSE_MIN: Duration = Duration::from_millis(50);
const ADMIN_PAUSE_MAX: Duration = Duration::from_secs(2);

/// A target that takes commands.
#[derive(Debug)]
pub(super) struct TargetSide {
    config: TargetConfig,
    progress: Arc<Progress>,
    pub(super) admin: Admin,
    /// What it was found to be.
    pub(super) target: Arc<Target>,
    /// The id of its process, where it tells.
    run_id: Option<String>,
    import_mode: ImportMode,
}

impl TargetSide {
    /// Connects to the target, waits until it takes commands, and finds out what it is.
    pub(super) async fn find(
        config: &TargetConfig,
        progress: &Arc<Progress>,
    ) -> Result<TargetSide, Error> {
        progress.window.declare(config.throttle);
        let mut admin = Admin::open(&config.node, config.connect_timeout).await?;
        let mut waiting = |why: &str| {
            tracing::warn!("waiting because the target is not ready: {why}");
            let why = format!("the target is not ready: {why}");
            progress.wait_because(Awaited::Target, Some(why));
        };
        admin.wait_ready(config.retry_for, &mut waiting).await?;
        progress.wait_because(Awaited::Target, None);
        let found = admin.probe().await?;
        let run_id = admin.run_id().await?;
        tracing::info!(target = %config.node.endpoint, is = %found, "found the target");
        progress.learn(|servers| servers.target_version = Some(found.to_string()));
        Ok(TargetSide {
            config: config.clone(),
            progress: Arc::clone(progress),
            admin,
            target: Arc::new(found),
            run_id,
            import_mode: ImportMode::Off,
        })
    }

    /// Makes sure that the target may be written to, and that nothing of an aborted run is left.
    /// Whether it has no keys, or will have none.
    pub(super) async fn prepare(&mut self, consent: &Consent) -> Result<bool, Error> {
        self.admin.remove_staging().await?;
        let keys = self.admin.keys().await?;
        if keys == 0 {
            return Ok(true);
        }
        if self.config.flush {
            return match consent.to_flush(keys).await {
                true => Ok(true),
                false => Err(Error::FlushDeclined),
            };
        }
        match self.config.on_conflict {
            Some(_) => Ok(false),
            None => {
                let kind = ErrorKind::NotEmpty { keys };
                Err(Error::Target(kind.at(&self.config.node.endpoint)))
            }
        }
    }

    /// Empties the target if that was asked for. Only to be called when there is something to
    /// fill it with again.
    pub(super) async fn flush_if_asked(&mut self) -> Result<(), Error> {
        if self.config.flush {
            self.admin.flush(&self.target).await?;
        }
        Ok(())
    }

    /// Puts the target into import mode where it has one, and that is wanted and allowed. The
    /// checkpoint says so first.
    pub(super) async fn begin_import(&mut self, keeper: &mut Keeper) -> Result<(), Error> {
        if !self.config.import_mode || !self.target.has_import_mode() {
            return Ok(());
        }
        let admin = self.admin_again().await?;
        let Some(is_on) = admin.import_mode().await else {
            return Ok(());
        };
        if is_on && !keeper.import_mode() {
            self.import_mode = ImportMode::Theirs;
            return Ok(());
        }
        keeper.set_import_mode(admin, true).await?;
        if admin.set_import_mode(true).await? {
            tracing::info!(
                "the target is in import mode: it expires and evicts nothing by itself, until the \
                 run ends"
            );
            self.import_mode = ImportMode::Ours;
        } else {
            keeper.set_import_mode(admin, false).await?;
        }
        Ok(())
    }

    /// Puts the target into import mode once more: it was restarted.
    pub(super) async fn import_again(&mut self) -> Result<(), Error> {
        if self.import_mode == ImportMode::Ours {
            self.admin.set_import_mode(true).await?;
        }
        Ok(())
    }

    /// Puts the target out of import mode if this migration has put it there, and no other one
    /// needs it.
    pub(super) async fn end_import(&self, keeper: &mut Keeper) -> Result<(), Error> {
        if self.import_mode != ImportMode::Ours {
            return Ok(());
        }
        let mut admin = self.admin_when_back().await?;
        if !admin.is_imported_by_others(keeper.claim()).await? {
            admin.set_import_mode(false).await?;
            tracing::info!("the target is out of import mode");
        }
        keeper.set_import_mode(&mut admin, false).await
    }

    /// How the values of a snapshot are written to it.
    pub(super) fn value_config(
        &self,
        hold: Hold,
        expired: Expired,
        made_by: MadeBy,
    ) -> ValueConfig {
        let config = &self.config;
        ValueConfig {
            endpoint: config.node.endpoint.clone(),
            conflict: config.conflict(),
            on_lossy: config.on_lossy,
            hold,
            expired,
            made_by,
            restore_bytes_max: self.target.payload_bytes_max(config.restore_bytes_max),
            lanes: config.lanes,
            window: Arc::clone(&self.progress.window),
        }
    }

    /// Starts the lanes that write a snapshot. `remembers_skipped` keeps the names of keys that
    /// were skipped.
    pub(super) fn snapshot_lanes(
        &self,
        remembers_skipped: bool,
        claim: Option<&Claim>,
        began_empty: bool,
    ) -> Lanes {
        let config = LaneConfig {
            claim: claim.cloned(),
            began_empty,
            ..self.lane_config(Marks::Lane)
        };
        let progress = Arc::clone(&self.progress);
        Lanes::start(&config, self.config.lanes, remembers_skipped, progress)
    }

    /// Starts the lane that writes the stream behind `offset`.
    pub(super) fn stream_lane(&self, keeper: &Keeper, offset: ReplOffset) -> Lanes {
        let config = LaneConfig {
            claim: keeper.claim().cloned(),
            began_empty: keeper.began_empty(),
            ..self.lane_config(keeper.marks(offset))
        };
        Lanes::start(&config, 1, false, Arc::clone(&self.progress))
    }

    fn lane_config(&self, marks: Marks) -> LaneConfig {
        LaneConfig {
            node: self.config.node.clone(),
            connect_timeout: self.config.connect_timeout,
            window: Arc::clone(&self.progress.window),
            retry_for: self.config.retry_for,
            conflict: self.config.conflict(),
            target: Arc::clone(&self.target),
            on_lossy: self.config.on_lossy,
            silence_max: self.config.silence_max,
            claim: None,
            import_mode: self.import_mode,
            marks,
            began_empty: false,
            run_id: self.run_id.clone(),
        }
    }

    /// Makes sure that the administrative connection works, and waits for a target that is away.
    ///
    /// # Errors
    /// The last error, when it does not come back in time.
    pub(super) async fn admin_again(&mut self) -> Result<&mut Admin, Error> {
        match self.ready(&mut self.admin.clone()).await {
            Ok(()) => {}
            Err(error) if error.passes() => self.admin = self.admin_when_back().await?,
            Err(error) => return Err(error.into()),
        }
        Ok(&mut self.admin)
    }

    /// The same, of a target that still is the process which was found: what was written to it
    /// since is there.
    ///
    /// # Errors
    /// [`ErrorKind::Restarted`], and as [`TargetSide::admin_again`].
    pub(super) async fn admin_of_same_process(&mut self) -> Result<&mut Admin, Error> {
        let run_id = self.admin_again().await?.run_id().await?;
        if run_id != self.run_id {
            let endpoint = &self.config.node.endpoint;
            return Err(ErrorKind::Restarted.at(endpoint).into());
        }
        Ok(&mut self.admin)
    }

    /// Takes the target for the process that it is now.
    ///
    /// # Errors
    /// As [`TargetSide::admin_again`].
    pub(super) async fn accept_restart(&mut self) -> Result<&mut Admin, Error> {
        self.run_id = self.admin_again().await?.run_id().await?;
        Ok(&mut self.admin)
    }

    /// Opens another administrative connection as soon as the target takes commands.
    ///
    /// # Errors
    /// The last error, when it does not come back in time.
    pub(super) async fn admin_when_back(&self) -> Result<Admin, Error> {
        let deadline = Instant::now() + self.config.retry_for;
        let mut backoff = Backoff::new(ADMIN_PAUSE_MIN, ADMIN_PAUSE_MAX);
        let mut told = false;
        loop {
            let error = match self.ready_admin().await {
                Ok(admin) => {
                    if told {
                        self.progress.wait_because(Awaited::Target, None);
                    }
                    return Ok(admin);
                }
                Err(error) if error.passes() && Instant::now() < deadline => error,
                Err(error) => return Err(error.into()),
            };
            if !std::mem::replace(&mut told, true) {
                let why = error.with_why();
                tracing::warn!("waiting because {why}");
                self.progress.wait_because(Awaited::Target, Some(why));
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn ready_admin(&self) -> Result<Admin, sink::Error> {
        let mut admin = Admin::open(&self.config.node, self.config.connect_timeout).await?;
        self.ready(&mut admin).await?;
        Ok(admin)
    }

    /// Refuses a target that takes no commands now, or does not say so soon.
    async fn ready(&self, admin: &mut Admin) -> Result<(), sink::Error> {
        let timeout = self.config.connect_timeout;
        match tokio::time::timeout(timeout, admin.must_be_ready()).await {
            Ok(ready) => ready,
            Err(_) => Err(ErrorKind::Silent(timeout).at(&self.config.node.endpoint)),
        }
    }

    /// Opens another administrative connection.
    pub(super) async fn open_admin(&self) -> Result<Admin, Error> {
        Ok(Admin::open(&self.config.node, self.config.connect_timeout).await?)
    }

    /// How long passing troubles are waited out.
    pub(super) fn retry_for(&self) -> Duration {
        self.config.retry_for
    }
}
