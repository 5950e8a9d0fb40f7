//! The migrations of a file: started, stopped, and made anew when the file says something else.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{Backoff, JobState, board::Shown, supervise::Supervised};
use crate::{
    config::{ConfigError, Declared, declared},
    pipeline::StopSignal,
    status::{Board, State},
    telemetry,
};

/// How often the states of all migrations are published.
const PUBLISH_PERIOD: Duration = Duration::from_secs(1);

/// A daemon that is about to run.
#[derive(Debug)]
pub struct Daemon {
    path: String,
    declared: Vec<Declared>,
    shown: Arc<Shown>,
}

/// How a daemon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// Migrations that ran when the stop was asked for, and failed before they had drained.
    pub failed: Vec<String>,
}

impl Daemon {
    /// A daemon that runs what the file at `path` declares.
    ///
    /// # Errors
    /// The file cannot be read, or as [`declared`].
    pub fn of_file(path: &str) -> Result<Daemon, ConfigError> {
        Ok(Daemon {
            path: path.to_owned(),
            declared: read(path)?,
            shown: Arc::new(Shown::new(path)),
        })
    }

    /// What there is to look at, also while it runs.
    pub fn board(&self) -> Arc<dyn Board> {
        Arc::clone(&self.shown) as Arc<dyn Board>
    }

    /// Where it stands, for systemd: it has started as soon as it runs.
    pub fn state(&self) -> impl Fn() -> State + Send + 'static {
        let shown = Arc::clone(&self.shown);
        move || State {
            started: true,
            line: shown.line(),
        }
    }

    /// Runs all migrations until `stop` is asked for and they have drained. Whenever `reload`
    /// returns, the file is read again.
    ///
    /// May be dropped at any await: all migrations are then cut off.
    pub async fn run(self, stop: StopSignal, mut reload: impl AsyncFnMut()) -> Drained {
        telemetry::describe_metrics();
        let mut fleet = Fleet {
            shown: self.shown,
            slots: BTreeMap::new(),
            runs: JoinSet::new(),
        };
        fleet.take(self.declared);
        let mut period = tokio::time::interval(PUBLISH_PERIOD);
        loop {
            tokio::select! {
                () = stop.requested() => break,
                () = reload() => fleet.reload(&self.path),
                Some(ended) = fleet.runs.join_next() => fleet.ended(ended),
                _ = period.tick() => fleet.shown.publish(),
            }
        }
        fleet.drain().await
    }
}

fn read(path: &str) -> Result<Vec<Declared>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| {
        ConfigError::new(
            format!("the configuration file {path} cannot be read"),
            error.to_string(),
            "check --config or KEYFERRY_CONFIG",
        )
    })?;
    declared(&text, path)
}

/// All migrations, by name.
struct Fleet {
    shown: Arc<Shown>,
    slots: BTreeMap<String, Slot>,
    /// Each returns the name of its migration.
    runs: JoinSet<String>,
}

/// The place of one migration.
struct Slot {
    job: Arc<Supervised>,
    /// What the file says; `None` when it is no longer in there.
    wanted: Option<Declared>,
    ended: bool,
}

/// What becomes of a migration that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is shown as it ended.
    Kept,
    /// It is forgotten.
    Forgotten,
    /// It is started as the file says.
    Renewed,
}

/// What is known when a migration has ended, or has and the file is read again.
#[derive(Debug, Clone, Copy)]
struct Settling {
    /// The file has it.
    wanted: bool,
    /// The file says what it said when it was started.
    unchanged: bool,
    /// It was asked to drain.
    stopped: bool,
    /// It failed, and the file was read again since.
    failed_before_reload: bool,
}

impl Settling {
    fn fate(self) -> Fate {
        match self {
            Settling { wanted: false, .. } => Fate::Forgotten,
            Settling {
                unchanged: true,
                stopped: false,
                failed_before_reload: false,
                ..
            } => Fate::Kept,
            _ => Fate::Renewed,
        }
    }
}

impl Fleet {
    fn reload(&mut self, path: &str) {
        match read(path) {
            Ok(declared) => {
                tracing::info!(migrations = declared.len(), "{path} was read again");
                self.shown.note_file(None);
                self.take(declared);
            }
            Err(error) => {
                let ConfigError { what, why, next } = &error;
                tracing::error!(why, next, "{what}; what the file said before still holds");
                self.shown.note_file(Some(error));
            }
        }
    }

    /// Makes the migrations those that are declared.
    fn take(&mut self, declared: Vec<Declared>) {
        let mut declared: BTreeMap<_, _> =
            declared.into_iter().map(|d| (d.name.clone(), d)).collect();
        let mut ended = Vec::new();
        for (name, slot) in &mut self.slots {
            slot.wanted = declared.remove(name);
            if slot.ended {
                ended.push(name.clone());
            } else if slot.wanted.as_ref() != Some(slot.job.declared()) {
                slot.job.stop();
            }
        }
        for name in ended {
            self.settle(&name, true);
        }
        for declared in declared.into_values() {
            self.start(declared);
        }
        self.shown.publish();
    }

    fn start(&mut self, declared: Declared) {
        let name = declared.name.clone();
        let job = Arc::new(Supervised::new(declared.clone(), Backoff::default()));
        self.shown.jobs().insert(name.clone(), Arc::clone(&job));
        let slot = Slot {
            job: Arc::clone(&job),
            wanted: Some(declared),
            ended: false,
        };
        self.slots.insert(name.clone(), slot);
        self.runs.spawn(async move {
            job.supervise().await;
            name
        });
    }

    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(name) => {
                if let Some(slot) = self.slots.get_mut(&name) {
                    slot.ended = true;
                }
                self.settle(&name, false);
            }
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn settle(&mut self, name: &str, reloaded: bool) {
        let Some(slot) = self.slots.get(name) else {
            return;
        };
        let settling = Settling {
            wanted: slot.wanted.is_some(),
            unchanged: slot.wanted.as_ref() == Some(slot.job.declared()),
            stopped: slot.job.is_stopped(),
            failed_before_reload: reloaded && slot.job.look().state == JobState::Failed,
        };
        match settling.fate() {
            Fate::Kept => {}
            Fate::Forgotten => {
                self.slots.remove(name);
                self.shown.jobs().remove(name);
            }
            Fate::Renewed => {
                if let Some(declared) = slot.wanted.clone() {
                    self.start(declared);
                }
            }
        }
    }

    /// Stops all migrations and waits until they have drained.
    async fn drain(mut self) -> Drained {
        let running: Vec<Arc<Supervised>> = self.slots.values().map(|s| &s.job).cloned().collect();
        let mut failed_before = Vec::new();
        for job in &running {
            if job.look().state == JobState::Failed {
                failed_before.push(job.declared().name.clone());
            }
            job.stop();
        }
        while let Some(ended) = self.runs.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
            self.shown.publish();
        }
        let failed = running
            .iter()
            .filter(|j| j.look().state == JobState::Failed);
        let names = failed.map(|job| job.declared().name.clone());
        Drained {
            failed: names.filter(|name| !failed_before.contains(name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_decides_what_becomes_of_a_migration_that_has_ended() {
        for (name, wanted, unchanged, stopped, failed_before_reload, fate) in [
            ("ended by itself", true, true, false, false, Fate::Kept),
            (
                "not in the file",
                false,
                false,
                true,
                false,
                Fate::Forgotten,
            ),
            (
                "failed, and not in the file",
                false,
                false,
                false,
                true,
                Fate::Forgotten,
            ),
            ("changed", true, false, true, false, Fate::Renewed),
            (
                "ended while it was changed",
                true,
                false,
                false,
                false,
                Fate::Renewed,
            ),
            (
                "removed and added again while draining",
                true,
                true,
                true,
                false,
                Fate::Renewed,
            ),
            (
                "failed, and the file read again",
                true,
                true,
                false,
                true,
                Fate::Renewed,
            ),
        ] {
            let settling = Settling {
                wanted,
                unchanged,
                stopped,
                failed_before_reload,
            };
            assert_eq!(settling.fate(), fate, "{name}");
        }
    }
}
