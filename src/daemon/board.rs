//! What a daemon shows. The field names are a contract: `docs/daemon.md`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use metrics::{Label, counter, gauge};
use serde::Serialize;

use super::{JobState, supervise::Supervised};
use crate::{
    config::ConfigError,
    pipeline::{SummaryError, Window},
    status::{Board, Status, rfc3339, to_json},
    telemetry,
};

/// A daemon and all its migrations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DaemonStatus {
    /// The version of keyferry.
    pub version: &'static str,
    /// When the daemon was started, in RFC 3339.
    pub started_at: String,
    /// The path of its file.
    pub config: String,
    /// When the file that holds was read, in RFC 3339.
    pub config_read_at: String,
    /// Why the file could not be read anew; what it said before still holds.
    pub config_error: Option<ConfigError>,
    /// How many migrations are in each state.
    pub states: BTreeMap<&'static str, u64>,
    /// Each of them, in the order of their names.
    pub migrations: Vec<JobStatus>,
}

/// One migration of a daemon: what `keyferry sync` shows of it, and what the daemon does with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// The state it is in.
    pub state: &'static str,
    /// Why the last run failed.
    pub error: Option<SummaryError>,
    /// When the next run begins, in RFC 3339.
    pub retry_at: Option<String>,
    /// Runs that were begun again after a failure.
    pub restarts: u64,
    /// The present run, or the last one.
    #[serde(flatten)]
    pub status: Status,
}

/// The migrations of a daemon, for those who look.
#[derive(Debug)]
pub(super) struct Shown {
    config: String,
    started_at: SystemTime,
    jobs: Mutex<BTreeMap<String, Arc<Supervised>>>,
    file: Mutex<FileState>,
}

/// What became of the file.
#[derive(Debug)]
struct FileState {
    read_at: SystemTime,
    error: Option<ConfigError>,
}

impl Shown {
    pub(super) fn new(config: &str) -> Shown {
        let now = SystemTime::now();
        Shown {
            config: config.to_owned(),
            started_at: now,
            jobs: Mutex::default(),
            file: Mutex::new(FileState {
                read_at: now,
                error: None,
            }),
        }
    }

    pub(super) fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Supervised>>> {
        locked(&self.jobs)
    }

    /// Notes that the file was read, or why it could not be.
    pub(super) fn note_file(&self, error: Option<ConfigError>) {
        let mut file = locked(&self.file);
        if error.is_none() {
            file.read_at = SystemTime::now();
        }
        file.error = error;
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let states = self.states();
        let counts = states.iter().filter(|(_, n)| **n > 0);
        let parts: Vec<String> = counts.map(|(state, n)| format!("{n} {state}")).collect();
        match parts.is_empty() {
            true => "no migration".into(),
            false => parts.join(", "),
        }
    }

    /// Publishes the state of every migration; those that do not run publish nothing themselves.
    pub(super) fn publish(&self) {
        for (name, job) in self.jobs().iter() {
            let now = job.look().state;
            let labels = telemetry::labels_of(Some(name));
            counter!(telemetry::RESTARTS, labels.clone()).increment(0);
            for state in JobState::ALL {
                let mut labels = labels.clone();
                labels.push(Label::from_static_parts("state", state.name()));
                let is_it = f64::from(u8::from(state == now));
                gauge!(telemetry::MIGRATION_STATE, labels).set(is_it);
            }
        }
    }

    fn states(&self) -> BTreeMap<&'static str, u64> {
        let mut states: BTreeMap<_, _> = JobState::ALL.map(|state| (state.name(), 0)).into();
        for job in self.jobs().values() {
            *states.entry(job.look().state.name()).or_default() += 1;
        }
        states
    }

    fn status(&self) -> DaemonStatus {
        let file = locked(&self.file);
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION"),
            started_at: rfc3339(self.started_at),
            config: self.config.clone(),
            config_read_at: rfc3339(file.read_at),
            config_error: file.error.clone(),
            states: self.states(),
            migrations: self.jobs().iter().map(job_status).collect(),
        }
    }
}

impl Board for Shown {
    fn all(&self) -> String {
        to_json(&self.status())
    }

    fn one(&self, name: &str) -> Option<String> {
        let jobs = self.jobs();
        Some(to_json(&job_status(jobs.get_key_value(name)?)))
    }

    fn window(&self, name: Option<&str>) -> Option<Arc<Window>> {
        Some(self.jobs().get(name?)?.look().watched.window())
    }
}

fn job_status((name, job): (&String, &Arc<Supervised>)) -> JobStatus {
    let look = job.look();
    let mut status = look.watched.status();
    // Before the first run there is no progress that knows it.
    status.name = Some(name.clone());
    JobStatus {
        state: look.state.name(),
        error: look.error,
        retry_at: look.retry_at.map(rfc3339),
        restarts: look.restarts,
        status,
    }
}

/// A panic of another task leaves these plain values whole, so they are read on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
