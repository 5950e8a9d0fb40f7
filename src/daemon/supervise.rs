//! Runs one migration, again and again where that may help.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use metrics::counter;
use tracing::Instrument;

use super::{Action, Backoff, Ending, Event, Job, JobState};
use crate::{
    config::Declared,
    pipeline::{
        self, Consent, Ended, Error, Outcome, Phase, Progress, Route, StopSignal, Stopper,
        SummaryError, stop_signal,
    },
    status::Watched,
    telemetry,
};

/// How often it is looked whether a run moves.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// A declared migration with all its runs. Share it in an `Arc`.
#[derive(Debug)]
pub(super) struct Supervised {
    declared: Declared,
    started: Instant,
    stopper: Stopper,
    stop: StopSignal,
    life: Mutex<Life>,
}

/// What changes.
#[derive(Debug)]
struct Life {
    job: Job,
    stopped: bool,
    /// The present run, or the last one.
    watched: Arc<Watched>,
    /// Why the last run failed.
    error: Option<SummaryError>,
    retry_at: Option<SystemTime>,
}

/// Where it stands, for those who look.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) state: JobState,
    pub(super) restarts: u64,
    pub(super) watched: Arc<Watched>,
    pub(super) error: Option<SummaryError>,
    pub(super) retry_at: Option<SystemTime>,
}

impl Supervised {
    /// A migration whose first run is about to begin.
    pub(super) fn new(declared: Declared, backoff: Backoff) -> Supervised {
        let (stopper, stop) = stop_signal();
        let life = Life {
            job: Job::new(backoff),
            stopped: false,
            watched: watched(&declared, Arc::default()),
            error: None,
            retry_at: None,
        };
        Supervised {
            declared,
            started: Instant::now(),
            stopper,
            stop,
            life: Mutex::new(life),
        }
    }

    pub(super) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// Asks it to drain; it ends by itself then, and never runs again.
    pub(super) fn stop(&self) {
        self.life().stopped = true;
        self.stopper.stop();
    }

    /// Whether it was asked to drain.
    pub(super) fn is_stopped(&self) -> bool {
        self.life().stopped
    }

    pub(super) fn look(&self) -> Look {
        let life = self.life();
        Look {
            state: life.job.state(),
            restarts: life.job.restarts(),
            watched: Arc::clone(&life.watched),
            error: life.error.clone(),
            retry_at: life.retry_at,
        }
    }

    /// Runs it until there will be no further run.
    pub(super) async fn supervise(&self) {
        let span = tracing::info_span!("migration", name = self.declared.name);
        self.live().instrument(span).await;
    }

    async fn live(&self) {
        let mut action = Action::Run;
        loop {
            action = match action {
                Action::Run => self.run_once().await,
                Action::Pause(pause) => self.pause(pause).await,
                Action::Nothing | Action::End => return,
            };
        }
    }

    async fn pause(&self, pause: Duration) -> Action {
        let event = tokio::select! {
            () = tokio::time::sleep(pause) => Event::Due,
            () = self.stop.requested() => Event::Stop,
        };
        let action = self.on(event);
        self.life().retry_at = None;
        if action == Action::Run {
            let labels = telemetry::labels_of(Some(&self.declared.name));
            counter!(telemetry::RESTARTS, labels).increment(1);
        }
        action
    }

    async fn run_once(&self) -> Action {
        let window = self.life().watched.window();
        let progress = Progress::named(Some(&self.declared.name)).in_window(window);
        let progress = Arc::new(progress);
        let watched = watched(&self.declared, Arc::clone(&progress));
        self.life().watched = Arc::clone(&watched);
        let run = pipeline::run(
            &self.declared.migration,
            progress,
            self.stop.clone(),
            // Whoever declares a flush has agreed to it: the file is refused otherwise.
            Consent::Given,
        );
        let outcome = tokio::select! {
            outcome = run => outcome,
            () = watched.watch() => unreachable!("it is watched until the end"),
            () = self.look_on(&watched) => unreachable!("it is looked on until the end"),
        };
        watched.end();
        self.ended(outcome)
    }

    /// Tells the job what happens while the run goes on; never returns.
    async fn look_on(&self, watched: &Watched) {
        let mut period = tokio::time::interval(LOOK_PERIOD);
        let mut told = false;
        loop {
            tokio::select! {
                _ = period.tick() => {
                    if watched.phase() > Phase::WaitingForSnapshot {
                        self.on(Event::Moves);
                    }
                }
                () = self.stop.requested(), if !told => {
                    told = true;
                    self.on(Event::Stop);
                }
            }
        }
    }

    fn ended(&self, outcome: Outcome) -> Action {
        let (ending, error) = match &outcome.result {
            Ok(Ended::Complete) => (Ending::Complete, None),
            Ok(Ended::Stopped) => (Ending::Stopped, None),
            // Stopped within the snapshot, as it was asked to.
            Err(Error::Interrupted) => (Ending::Stopped, None),
            Err(error) => {
                let may_pass = error.may_pass();
                (Ending::Failed { may_pass }, Some(SummaryError::from(error)))
            }
        };
        let chance = fastrand::f64();
        let action = self.on(Event::Ended { ending, chance });
        report(action, error.as_ref());
        let mut life = self.life();
        if let Action::Pause(pause) = action {
            life.retry_at = Some(SystemTime::now() + pause);
        }
        life.error = error;
        action
    }

    fn on(&self, event: Event) -> Action {
        let mut life = self.life();
        let before = life.job.state();
        let action = life.job.on(self.started.elapsed(), event);
        let state = life.job.state();
        if state != before {
            tracing::info!("{}", state.name());
        }
        action
    }

    /// A panic of another task leaves these plain values whole, so they are read on.
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watched(declared: &Declared, progress: Arc<Progress>) -> Arc<Watched> {
    let route = Route::of(&declared.migration);
    Arc::new(Watched::new(route, progress, declared.ready_hold))
}

fn report(action: Action, error: Option<&SummaryError>) {
    let Some(SummaryError {
        what, why, next, ..
    }) = error
    else {
        return;
    };
    match action {
        Action::Pause(pause) => {
            tracing::warn!(why, next, "{what}; it is tried again in {pause:.1?}");
        }
        _ => tracing::error!(why, next, "{what}; it is not tried again"),
    }
}
