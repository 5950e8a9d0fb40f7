//! The checkpoint in a file, for `--checkpoint file`: written once in a while, whole or not at all.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::sink::Checkpoint;

use super::Error;

/// How often it is written while the stream is applied.
const PERIOD: Duration = Duration::from_secs(1);

/// The file that holds the checkpoint.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
    written_at: Instant,
}

impl CheckpointFile {
    /// The file in `directory`, which need not be there.
    pub(super) fn of(directory: &Path) -> CheckpointFile {
        CheckpointFile {
            path: directory.join("checkpoint"),
            written_at: Instant::now(),
        }
    }

    /// What it says; `None` when it is not there.
    ///
    /// # Errors
    /// `CheckpointFile`, also for what makes no sense.
    pub(super) fn read(&self) -> Result<Option<Checkpoint>, Error> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(error)),
        };
        let fields: HashMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(field, value)| (field.into(), value.into()))
            .collect();
        Checkpoint::read(&fields)
            .map_err(|error| self.unusable(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Writes all of it or nothing.
    ///
    /// # Errors
    /// `CheckpointFile`.
    pub(super) fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.written_at = Instant::now();
        let mut text = String::new();
        for (field, value) in checkpoint.fields() {
            text.push_str(&format!("{field}={value}\n"));
        }
        let directory = self.path.parent().unwrap_or(&self.path);
        let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.as_file().sync_data()?;
            file.persist(&self.path)?;
            Ok(())
        });
        written.map_err(|error| self.unusable(error))
    }

    /// Writes it if it was not written for a while. A file that cannot be written means that more
    /// is applied twice, and nothing else.
    pub(super) fn keep_up(&mut self, checkpoint: &Checkpoint) {
        if self.written_at.elapsed() >= PERIOD {
            self.try_write(checkpoint);
        }
    }

    /// Writes it, or says that this could not be done.
    pub(super) fn try_write(&mut self, checkpoint: &Checkpoint) {
        if let Err(error) = self.write(checkpoint) {
            tracing::warn!("{error}: {}", error.why());
        }
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// `CheckpointFile`.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.unusable(error)),
            _ => Ok(()),
        }
    }

    fn unusable(&self, error: io::Error) -> Error {
        let path = self.path.clone();
        Error::CheckpointFile { path, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keyspace::Db, sink::CheckpointPhase};

    #[test]
    fn it_says_what_was_written_and_damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = CheckpointFile::of(directory.path());
        assert_eq!(file.read().unwrap(), None);
        let checkpoint = Checkpoint {
            phase: CheckpointPhase::Stream,
            replid: "f1201b72a276aa8b04f1f574320a89b9e3b67da5".into(),
            offset: 77,
            db: Db(5),
            held: true,
            import_mode: false,
            began_empty: false,
            source: "unix:/a=b".into(),
        };
        file.write(&checkpoint).unwrap();
        assert_eq!(file.read().unwrap(), Some(checkpoint));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::write(directory.path().join("checkpoint"), "offset=1\n").unwrap();
        assert!(matches!(
            file.read().unwrap_err(),
            Error::CheckpointFile { error, .. } if error.kind() == io::ErrorKind::InvalidData
        ));
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }
}
