//! Keeps how far a migration has come: on the target with the data, or in a file.

use std::path::Path;

use crate::{
    config::CheckpointPlace,
    keyspace::Db,
    sink::{Admin, Checkpoint, CheckpointPhase, Claim, Marks, TransactionBuilder},
    sync::{ReplOffset, Replid, Resumable},
};

use super::{Error, checkpoint_file::CheckpointFile};

/// Where the checkpoint of this run is.
#[derive(Debug)]
enum Place {
    Target(Claim),
    File(CheckpointFile),
}

/// Keeps the checkpoint of a migration.
#[derive(Debug)]
pub(super) struct Keeper {
    place: Place,
    /// What was written last, or is going to be.
    checkpoint: Checkpoint,
}

impl Keeper {
    /// For the migration called `name` from `source`; `directory` is where a file would be.
    pub(super) fn new(
        place: CheckpointPlace,
        name: &str,
        source: &str,
        directory: Option<&Path>,
    ) -> Result<Keeper, Error> {
        let place = match (place, directory) {
            (CheckpointPlace::Target, _) => Place::Target(Claim::new(name)),
            (CheckpointPlace::File, Some(directory)) => Place::File(CheckpointFile::of(directory)),
            (CheckpointPlace::File, None) => return Err(Error::NoDirectory),
        };
        Ok(Keeper {
            place,
            checkpoint: Checkpoint {
                phase: CheckpointPhase::Snapshot,
                replid: String::new(),
                offset: 0,
                db: Db(0),
                held: false,
                import_mode: false,
                began_empty: false,
                source: source.into(),
            },
        })
    }

    /// The right to write for this migration, where it is kept on the target.
    pub(super) fn claim(&self) -> Option<&Claim> {
        match &self.place {
            Place::Target(claim) => Some(claim),
            Place::File(_) => None,
        }
    }

    /// How the target tells which transactions of the stream behind `offset` were executed.
    pub(super) fn marks(&self, offset: ReplOffset) -> Marks {
        match &self.place {
            Place::Target(_) => Marks::Checkpoint(offset.get()),
            Place::File(_) => Marks::None,
        }
    }

    /// Whether the target had no keys of its own at the beginning.
    pub(super) fn began_empty(&self) -> bool {
        self.checkpoint.began_empty
    }

    /// Whether the target may be in import mode for this migration.
    pub(super) fn import_mode(&self) -> bool {
        self.checkpoint.import_mode
    }

    /// Says whether the target may be in import mode for this migration.
    ///
    /// # Errors
    /// The target's; `CheckpointFile`.
    pub(super) async fn set_import_mode(
        &mut self,
        admin: &mut Admin,
        on: bool,
    ) -> Result<(), Error> {
        self.checkpoint.import_mode = on;
        match &mut self.place {
            Place::Target(claim) => Ok(admin.write_import_mode(claim, on).await?),
            Place::File(file) => file.write(&self.checkpoint),
        }
    }

    /// Finds what an earlier run has left. From here on other processes that run this migration
    /// are shut out, if it has left anything.
    ///
    /// # Errors
    /// The target's; `CheckpointFile`.
    pub(super) async fn find(&mut self, admin: &mut Admin) -> Result<Option<Checkpoint>, Error> {
        let found = match &self.place {
            Place::Target(claim) => match admin.checkpoint(claim).await? {
                Some(_) => admin.take_over(claim).await?,
                None => None,
            },
            Place::File(file) => file.read()?,
        };
        if let Some(found) = &found {
            self.checkpoint.clone_from(found);
        }
        Ok(found)
    }

    /// Says that a snapshot is going to be written; other processes are shut out.
    ///
    /// # Errors
    /// The target's; `CheckpointFile`.
    pub(super) async fn begin(
        &mut self,
        admin: &mut Admin,
        began_empty: bool,
    ) -> Result<(), Error> {
        self.checkpoint.phase = CheckpointPhase::Snapshot;
        self.checkpoint.began_empty = began_empty;
        if let Place::Target(claim) = &self.place {
            admin.take_over(claim).await?;
        }
        self.write(admin).await
    }

    /// Says that the snapshot is complete, and that the stream follows behind `at`.
    ///
    /// # Errors
    /// The target's; `CheckpointFile`.
    pub(super) async fn snapshot_complete(
        &mut self,
        admin: &mut Admin,
        at: Resumable,
        replid: Option<Replid>,
        held: bool,
    ) -> Result<(), Error> {
        self.checkpoint.phase = CheckpointPhase::Stream;
        self.set(at, replid, held);
        self.write(admin).await
    }

    fn set(&mut self, at: Resumable, replid: Option<Replid>, held: bool) {
        self.checkpoint.offset = at.offset.get();
        self.checkpoint.db = at.db;
        self.checkpoint.held = held;
        self.checkpoint.replid = replid.map_or_else(String::new, |replid| replid.to_string());
    }

    async fn write(&mut self, admin: &mut Admin) -> Result<(), Error> {
        match &mut self.place {
            Place::Target(claim) => Ok(admin.write_checkpoint(claim, &self.checkpoint).await?),
            Place::File(file) => file.write(&self.checkpoint),
        }
    }

    /// What gathers the stream's transactions.
    pub(super) fn transactions(&self) -> TransactionBuilder {
        let claim = self.claim().cloned();
        TransactionBuilder::new(claim.map(|claim| (claim, self.checkpoint.clone())))
    }

    /// Says what the target has confirmed of the stream. A checkpoint on the target says so itself.
    pub(super) fn applied(&mut self, at: Resumable, replid: Option<Replid>, held: bool) {
        if self.claim().is_none() {
            self.set(at, replid, held);
        }
        if let Place::File(file) = &mut self.place {
            file.keep_up(&self.checkpoint);
        }
    }

    /// Writes what was confirmed last: the stream is not applied any further.
    pub(super) fn finish(&mut self, held: bool) {
        self.checkpoint.held = held;
        if let Place::File(file) = &mut self.place {
            file.try_write(&self.checkpoint);
        }
    }

    /// Where the target is, by its own checkpoint.
    ///
    /// # Errors
    /// The target's.
    pub(super) async fn position(
        &self,
        admin: &mut Admin,
    ) -> Result<Option<(Replid, Resumable)>, Error> {
        let Place::Target(claim) = &self.place else {
            return Ok(None);
        };
        let found = admin.checkpoint(claim).await?;
        Ok(found.as_ref().and_then(position))
    }

    /// Removes the checkpoint: the migration is over, or begins anew.
    ///
    /// # Errors
    /// The target's; `CheckpointFile`.
    pub(super) async fn remove(&mut self, admin: &mut Admin) -> Result<(), Error> {
        match &self.place {
            Place::Target(claim) => Ok(admin.remove_checkpoint(claim).await?),
            Place::File(file) => file.remove(),
        }
    }
}

/// Where the stream goes on; `None` when it cannot be continued.
pub(super) fn position(checkpoint: &Checkpoint) -> Option<(Replid, Resumable)> {
    let offset = ReplOffset::new(checkpoint.offset);
    let db = checkpoint.db;
    Some((checkpoint.replid.parse().ok()?, Resumable { offset, db }))
}
