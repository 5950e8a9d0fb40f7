//! Keeps how far a migration has come: on the target with the data, or in a file.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    config::CheckpointPlace,
    keyspace::Db,
    sink::{Admin, Checkpoint, CheckpointPhase, Claim, Marks, TransactionBuilder},
    sync::{ReplOffset, Replid, Resumable},
};

use super::Error;

/// How often a checkpoint file is written while the stream is applied.
const FILE_PERIOD: Duration = Duration::from_secs(1);

/// Where the checkpoint of this run is.
#[derive(Debug)]
enum Place {
    Target(Claim),
    File { path: PathBuf, written_at: Instant },
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
        directory: Option<PathBuf>,
    ) -> Result<Keeper, Error> {
        let place = match (place, directory) {
            (CheckpointPlace::Target, _) => Place::Target(Claim::new(name)),
            (CheckpointPlace::File, Some(directory)) => Place::File {
                path: directory.join("checkpoint"),
                written_at: Instant::now(),
            },
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
                began_empty: false,
                source: source.into(),
            },
        })
    }

    /// The right to write for this migration, where it is kept on the target.
    pub(super) fn claim(&self) -> Option<&Claim> {
        match &self.place {
            Place::Target(claim) => Some(claim),
            Place::File { .. } => None,
        }
    }

    /// How the target tells which transactions of the stream behind `offset` were executed.
    pub(super) fn marks(&self, offset: ReplOffset) -> Marks {
        match &self.place {
            Place::Target(_) => Marks::Checkpoint(offset.get()),
            Place::File { .. } => Marks::None,
        }
    }

    /// Whether the target had no keys of its own at the beginning.
    pub(super) fn began_empty(&self) -> bool {
        self.checkpoint.began_empty
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
            Place::File { path, .. } => {
                let path = path.clone();
                read(&path).map_err(|error| Error::CheckpointFile { path, error })?
            }
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
        match &self.place {
            Place::Target(claim) => Ok(admin.write_checkpoint(claim, &self.checkpoint).await?),
            Place::File { .. } => self.write_file(),
        }
    }

    fn write_file(&mut self) -> Result<(), Error> {
        let Place::File { path, written_at } = &mut self.place else {
            return Ok(());
        };
        *written_at = Instant::now();
        let written = write(path, &self.checkpoint);
        written.map_err(|error| Error::CheckpointFile {
            path: path.clone(),
            error,
        })
    }

    /// What gathers the stream's transactions.
    pub(super) fn transactions(&self) -> TransactionBuilder {
        let claim = self.claim().cloned();
        TransactionBuilder::new(claim.map(|claim| (claim, self.checkpoint.clone())))
    }

    /// Says what the target has confirmed of the stream.
    pub(super) fn applied(&mut self, at: Resumable, replid: Option<Replid>, held: bool) {
        let Place::File { written_at, .. } = &self.place else {
            return;
        };
        let is_due = written_at.elapsed() >= FILE_PERIOD;
        self.set(at, replid, held);
        if is_due {
            self.try_write_file();
        }
    }

    /// Writes what was confirmed last: the stream is not applied any further.
    pub(super) fn finish(&mut self, held: bool) {
        self.checkpoint.held = held;
        self.try_write_file();
    }

    /// A file that cannot be written means that more is applied twice, and nothing else.
    fn try_write_file(&mut self) {
        if let Err(error) = self.write_file() {
            tracing::warn!("{error}: {}", error.why());
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
            Place::File { path, .. } => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = path.clone();
                    Err(Error::CheckpointFile { path, error })
                }
                _ => Ok(()),
            },
        }
    }
}

/// Where the stream goes on; `None` when it cannot be continued.
pub(super) fn position(checkpoint: &Checkpoint) -> Option<(Replid, Resumable)> {
    let offset = ReplOffset::new(checkpoint.offset);
    let db = checkpoint.db;
    Some((checkpoint.replid.parse().ok()?, Resumable { offset, db }))
}

/// Reads `field=value` lines.
fn read(path: &std::path::Path) -> io::Result<Option<Checkpoint>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let fields: HashMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(field, value)| (field.into(), value.into()))
        .collect();
    Checkpoint::read(&fields).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes all of it or nothing.
fn write(path: &std::path::Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut text = String::new();
    for (field, value) in checkpoint.fields() {
        text.push_str(&format!("{field}={value}\n"));
    }
    let directory = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_was_written_and_damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        assert_eq!(read(&path).unwrap(), None);
        let checkpoint = Checkpoint {
            phase: CheckpointPhase::Stream,
            replid: "f1201b72a276aa8b04f1f574320a89b9e3b67da5".into(),
            offset: 77,
            db: Db(5),
            held: true,
            began_empty: false,
            source: "unix:/a=b".into(),
        };
        write(&path, &checkpoint).unwrap();
        assert_eq!(read(&path).unwrap(), Some(checkpoint.clone()));
        let (replid, at) = position(&checkpoint).unwrap();
        assert_eq!(replid.to_string(), checkpoint.replid);
        assert_eq!((at.offset.get(), at.db), (77, Db(5)));
        fs::write(&path, "offset=1\n").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
