//! The target's side of a run: found, prepared, and opened for writing.

use std::sync::Arc;

use crate::{
    config::TargetConfig,
    sink::{Admin, ErrorKind, Expired, Hold, LaneConfig, Target, ValueConfig},
};

use super::{Consent, Error, Progress, lanes::Lanes};

/// A target that takes commands.
#[derive(Debug)]
pub(super) struct TargetSide<'a> {
    config: &'a TargetConfig,
    pub(super) admin: Admin,
    /// What it was found to be.
    pub(super) target: Arc<Target>,
}

impl TargetSide<'_> {
    /// Connects to the target, waits until it takes commands, and finds out what it is.
    pub(super) async fn find<'a>(
        config: &'a TargetConfig,
        progress: &Progress,
    ) -> Result<TargetSide<'a>, Error> {
        let mut admin = Admin::open(&config.node, config.connect_timeout).await?;
        let mut waiting = |why: &str| {
            tracing::warn!("waiting because the target is not ready: {why}");
            let why = format!("the target is not ready: {why}");
            progress.wait_because(Some(why));
        };
        admin.wait_ready(config.retry_for, &mut waiting).await?;
        progress.wait_because(None);
        let found = admin.probe().await?;
        tracing::info!(target = %config.node.endpoint, is = %found, "found the target");
        progress.learn(|servers| servers.target_version = Some(found.to_string()));
        Ok(TargetSide {
            config,
            admin,
            target: Arc::new(found),
        })
    }

    /// Makes sure that the target may be written to, and that nothing of an aborted run is left.
    pub(super) async fn prepare(&mut self, consent: &Consent) -> Result<(), Error> {
        self.admin.remove_staging().await?;
        let keys = self.admin.keys().await?;
        if keys == 0 {
            return Ok(());
        }
        if self.config.flush {
            return match consent.to_flush(keys).await {
                true => Ok(()),
                false => Err(Error::FlushDeclined),
            };
        }
        match self.config.on_conflict {
            Some(_) => Ok(()),
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

    /// How the values of a snapshot are written to it.
    pub(super) fn value_config(&self, hold: Hold, expired: Expired) -> ValueConfig {
        let config = self.config;
        ValueConfig {
            endpoint: config.node.endpoint.clone(),
            conflict: config.conflict(),
            on_lossy: config.on_lossy,
            hold,
            expired,
            restore_bytes_max: self.target.payload_bytes_max(config.restore_bytes_max),
            lanes: config.lanes,
        }
    }

    /// Opens `count` lanes; `remembers_skipped` keeps the names of keys that were skipped.
    pub(super) async fn lanes(
        &self,
        count: usize,
        remembers_skipped: bool,
        progress: &Arc<Progress>,
    ) -> Result<Lanes, Error> {
        let config = LaneConfig {
            node: self.config.node.clone(),
            connect_timeout: self.config.connect_timeout,
            window_bytes_max: self.config.window_bytes_max,
            window: Arc::clone(&progress.window),
            retry_for: self.config.retry_for,
            conflict: self.config.conflict(),
            target: Arc::clone(&self.target),
            on_lossy: self.config.on_lossy,
        };
        let progress = Arc::clone(progress);
        Ok(Lanes::open(&config, count, remembers_skipped, progress).await?)
    }
}
