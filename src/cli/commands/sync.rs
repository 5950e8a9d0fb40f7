//! `keyferry sync`.

use std::{sync::Arc, time::Duration};

use tokio::runtime::{Builder, Runtime};

use crate::{
    cli::{
        Exit, consent, crash::Crash, diagnostics::Diagnostic, output, progress::Display,
        screen::Screen, signals::Signals,
    },
    config::{LogFormat, Settings, SyncConfig, Talk},
    pipeline::{self, Consent, Error, Outcome, Progress, Summary, stop_signal},
    telemetry,
};

/// How long tasks that are left over may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_millis(500);

/// Runs a migration and prints its summary.
pub(in crate::cli) fn run(settings: &Settings, crash: &Crash) -> Result<Exit, Diagnostic> {
    let screen = Screen::stderr();
    let talk = Talk::of(settings)?;
    let colour = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let json = talk.log_format == LogFormat::Json;
    telemetry::log_to(json, talk.log_level, colour, screen.clone());

    let config = SyncConfig::of(settings)?;
    config.refuse_masked()?;
    let consent = consent::of(&config, &screen)?;

    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::local("threads cannot be started", &error))?;
    let progress = Arc::new(Progress::default());
    let display = Display::start(&config.talk, &screen, Arc::clone(&progress));
    let outcome = migrate(&runtime, &config, &progress, consent, crash);
    let sample = progress.sample();
    // A task that waits for a person or a dead peer must not keep the process alive.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    display.finish();

    let Some(outcome) = outcome? else {
        return Ok(Exit::Bug);
    };
    let summary = Summary::of(&config.migration, &sample, &outcome);
    output::summary(&summary, config.talk.json)?;
    match &outcome.result {
        Ok(_) => Ok(Exit::Success),
        Err(error) => Err(error.into()),
    }
}

/// Runs the pipeline until it ends, is aborted, or something panics (`None`).
fn migrate(
    runtime: &Runtime,
    config: &SyncConfig,
    progress: &Arc<Progress>,
    consent: Consent,
    crash: &Crash,
) -> Result<Option<Outcome>, Diagnostic> {
    runtime.block_on(async {
        let signals = Signals::listen()
            .map_err(|error| Diagnostic::local("signals cannot be received", &error))?;
        let (stopper, stop) = stop_signal();
        let migration = pipeline::run(&config.migration, Arc::clone(progress), stop, consent);
        let outcome = tokio::select! {
            () = crash.noticed() => None,
            outcome = migration => Some(outcome),
            () = signals.stop_then_abort(&stopper) => Some(aborted()),
        };
        Ok(outcome)
    })
}

fn aborted() -> Outcome {
    Outcome {
        replid: None,
        snapshot_offset: None,
        result: Err(Error::Aborted),
    }
}
