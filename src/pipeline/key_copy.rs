//! Single keys, written the way those of a snapshot are.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    config::TargetConfig,
    keyspace::{Db, UnixMs},
    rdb::{Altitude, Event},
    sink::{Expired, Hold, MadeBy},
};

use super::{Error, Progress, clock::ServerClock, snapshot::SnapshotCopy, target::TargetSide};

/// Writes keys to a target, over those that are there.
pub struct KeyCopy<'a> {
    target: TargetSide,
    progress: &'a Arc<Progress>,
    /// What was given and not confirmed.
    copy: Option<SnapshotCopy<'a>>,
}

impl<'a> KeyCopy<'a> {
    /// Connects to the target.
    ///
    /// # Errors
    /// It cannot be written to.
    pub async fn open(
        config: &'a TargetConfig,
        progress: &'a Arc<Progress>,
    ) -> Result<KeyCopy<'a>, Error> {
        Ok(KeyCopy {
            target: TargetSide::find(config, progress).await?,
            progress,
            copy: None,
        })
    }

    /// Takes the next event of keys and their values: a db, a key, its body or its parts and their
    /// end, a function library. After a key, says how its value is wanted.
    ///
    /// # Errors
    /// The end of a lane; what the target cannot hold, when that is to stop it.
    pub async fn take(&mut self, event: Event) -> Result<Option<Altitude>, Error> {
        let copy = match &mut self.copy {
            Some(copy) => copy,
            none => {
                let now = self.target.accept_restart().await?.time().await?;
                none.insert(SnapshotCopy::new(
                    Arc::clone(&self.target.target),
                    self.target
                        .value_config(Hold::Released, Expired::LeaveOut, MadeBy::Server),
                    ServerClock::new(Some(now)),
                    self.target.snapshot_lanes(false, None, false),
                    None,
                    self.progress,
                ))
            }
        };
        let altitude = copy.take(event)?;
        copy.hand_over().await?;
        Ok(altitude)
    }

    /// Forgets the key that was begun last and whose value is not complete. Nothing of it is seen on
    /// the target.
    pub fn abandon(&mut self) {
        if let Some(copy) = &mut self.copy {
            copy.abandon();
        }
    }

    /// Waits until the target has confirmed everything that was given.
    ///
    /// # Errors
    /// The end of a lane before that.
    pub async fn confirm(&mut self) -> Result<(), Error> {
        let Some(copy) = self.copy.take() else {
            return Ok(());
        };
        copy.finish().await?;
        self.target.admin_again().await?.remove_staging().await?;
        Ok(())
    }

    /// Gives a key another expiry, or none, and leaves its value alone.
    ///
    /// # Errors
    /// The target's.
    pub async fn expire(
        &mut self,
        db: Db,
        key: &[u8],
        expire_at_ms: Option<UnixMs>,
    ) -> Result<(), Error> {
        let admin = self.target.admin_again().await?;
        Ok(admin.set_expiry(db, key, expire_at_ms).await?)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// The target's.
    pub async fn remove(&mut self, db: Db, key: &[u8]) -> Result<(), Error> {
        let admin = self.target.admin_again().await?;
        Ok(admin.remove_keys([(db, key)].into_iter()).await?)
    }

    /// Removes a function library.
    ///
    /// # Errors
    /// The target's.
    pub async fn remove_function(&mut self, name: &Bytes) -> Result<(), Error> {
        let admin = self.target.admin_again().await?;
        Ok(admin.remove_function(name).await?)
    }
}
