//! A run that writes to a target: shown while it goes on, stopped by signals, summed up at its
//! end.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use super::{
    Exit, crash::Crash, diagnostics::Diagnostic, output, progress::Display, screen::Screen,
    signals::Signals,
};
use crate::{
    config::Talk,
    pipeline::{Error, Outcome, Progress, Route, StopSignal, Summary, stop_signal},
};

/// How long tasks that are left over may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_millis(500);

/// Runs `work` to its end and prints its summary.
///
/// # Errors
/// What made it fail, after the summary was printed; a local resource.
pub(super) fn to_its_end<W: Future<Output = Outcome> + Send + 'static>(
    talk: &Talk,
    screen: &Screen,
    crash: &Crash,
    (route, progress): (Route, Arc<Progress>),
    work: impl FnOnce(Arc<Progress>, StopSignal) -> W,
) -> Result<Exit, Diagnostic> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::local("threads cannot be started", &error))?;
    let display = Display::start(talk, screen, Arc::clone(&progress));
    let outcome = outcome(&runtime, &progress, crash, work);
    let sample = progress.sample();
    // A task that waits for a person or a dead peer must not keep the process alive.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    display.finish();

    let Some(outcome) = outcome? else {
        return Ok(Exit::Bug);
    };
    output::summary(&Summary::of(route, &sample, &outcome), talk.json)?;
    match &outcome.result {
        Ok(_) => Ok(Exit::Success),
        Err(error) => Err(error.into()),
    }
}

/// Runs `work` until it ends, is aborted, or something panics (`None`).
///
/// It is a task like all those that it works with: one that wakes another then mostly finds it on
/// its own thread, and threads that wake each other for every piece of work cost more than the work.
fn outcome<W: Future<Output = Outcome> + Send + 'static>(
    runtime: &Runtime,
    progress: &Arc<Progress>,
    crash: &Crash,
    work: impl FnOnce(Arc<Progress>, StopSignal) -> W,
) -> Result<Option<Outcome>, Diagnostic> {
    runtime.block_on(async {
        let signals = Signals::listen()
            .map_err(|error| Diagnostic::local("signals cannot be received", &error))?;
        let (stopper, stop) = stop_signal();
        // Ends what is under way when it is dropped.
        let mut working = JoinSet::new();
        working.spawn(work(Arc::clone(progress), stop));
        let outcome = tokio::select! {
            () = crash.noticed() => None,
            Some(ended) = working.join_next() => ended.ok(),
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
