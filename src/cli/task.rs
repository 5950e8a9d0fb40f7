//! A verb that reads: what it was asked for, how it talks, and how it is run to its end.

use clap::ArgMatches;
use tokio::{runtime::Builder, sync::oneshot};

use super::{Exit, args, crash::Crash, diagnostics::Diagnostic, screen::Screen, signals::Signals};
use crate::{
    config::{LogFormat, Settings, Talk},
    telemetry,
};

/// What a verb was asked for, and how it talks.
pub(super) struct Task<'a> {
    pub(super) matches: &'a ArgMatches,
    pub(super) crash: &'a Crash,
    pub(super) settings: Settings,
    pub(super) talk: Talk,
    pub(super) screen: Screen,
}

impl<'a> Task<'a> {
    /// Reads the settings of all layers and sets up the log.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub(super) fn new(matches: &'a ArgMatches, crash: &'a Crash) -> Result<Task<'a>, Diagnostic> {
        let settings = args::settings(matches)?;
        let screen = Screen::stderr();
        let talk = Talk::of(&settings)?;
        let colour = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let json = talk.log_format == LogFormat::Json;
        telemetry::log_to(json, talk.log_level, colour, screen.clone());
        Ok(Task {
            matches,
            crash,
            settings,
            talk,
            screen,
        })
    }

    /// Runs `work` to its end, unless a signal or a panic comes first.
    ///
    /// # Errors
    /// Those of `work`; that it was stopped.
    pub(super) fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, Diagnostic>>,
    ) -> Result<T, Diagnostic> {
        self.block_on_until(Diagnostic::stopped, work)
    }

    /// The same; `stopped` says what it means that the signal of this name came first.
    ///
    /// # Errors
    /// Those of `work`; that it was stopped.
    pub(super) fn block_on_until<T>(
        &self,
        stopped: impl FnOnce(&str) -> Diagnostic,
        work: impl Future<Output = Result<T, Diagnostic>>,
    ) -> Result<T, Diagnostic> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Diagnostic::local("threads cannot be started", &error))?;
        let done = runtime.block_on(async {
            let signals = Signals::listen()
                .map_err(|error| Diagnostic::local("signals cannot be received", &error))?;
            let (stopper, signal) = oneshot::channel();
            tokio::spawn(stop_then_exit(signals, stopper));
            tokio::select! {
                done = work => done,
                () = self.crash.noticed() => Err(Diagnostic::bug("a panic")),
                Ok(signal) = signal => Err(stopped(signal)),
            }
        });
        // A thread that waits for standard input must not keep the process alive.
        runtime.shutdown_background();
        done
    }
}

/// Says which signal came first. The second ends the process, whatever it is waiting for.
async fn stop_then_exit(mut signals: Signals, stopper: oneshot::Sender<&'static str>) {
    // Nobody listens when the work has just ended.
    let _ = stopper.send(signals.next().await);
    signals.next().await;
    std::process::exit(Exit::Local as i32);
}
