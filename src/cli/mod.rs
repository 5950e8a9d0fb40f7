//! What was typed, and what is shown.
//!
//! stdout is data: the summary, the effective configuration. stderr is talk: progress, log lines,
//! errors. Nothing imports this room, and no other room prints.
//!
//! ```text
//!  argv -> args -> config::Settings -> commands::{sync, daemon, config} -> exit
//!                                        |  progress: bars or log lines (stderr)
//!                                        |  signals:  first stops, second aborts
//!                                        |  consent:  the question before a flush
//!                                        v  output:   summary (stdout)
//! ```

mod args;
mod columns;
mod commands;
mod consent;
mod crash;
mod diagnostics;
mod exit;
mod meter;
mod output;
mod progress;
mod rate;
mod run;
mod screen;
mod signals;
mod task;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

pub use exit::Exit;

use args::Verb;
use crash::Crash;
use diagnostics::Diagnostic;
use task::Task;

/// Runs the command line of this process and returns its exit code.
///
/// Takes over the panic hook: a panic in any thread or task ends the process with
/// [`Exit::Bug`].
pub fn run() -> ExitCode {
    let crash = Crash::watch();
    let caught = catch_unwind(AssertUnwindSafe(|| match dispatch(&crash) {
        Ok(exit) => exit,
        Err(diagnostic) => diagnostic.report(),
    }));
    match (caught, crash.report()) {
        (Ok(exit), None) => exit.into(),
        (_, report) => Diagnostic::bug(report.as_deref().unwrap_or("a panic"))
            .report()
            .into(),
    }
}

fn dispatch(crash: &Crash) -> Result<Exit, Diagnostic> {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return Ok(args::report(&error)),
    };
    match args::verb(&matches) {
        Some(Verb::Sync(matches)) => commands::sync::run(&args::settings(matches)?, crash),
        Some(Verb::Daemon(matches)) => commands::daemon::run(matches, crash),
        Some(Verb::Rdb(verb, matches)) => commands::rdb::run(verb, &Task::new(matches, crash)?),
        Some(Verb::Verify(matches)) => commands::verify::run(&Task::new(matches, crash)?),
        Some(Verb::Checkpoint(verb, matches)) => {
            commands::checkpoint::run(verb, matches, &args::settings(matches)?)
        }
        Some(Verb::Config(matches)) => commands::config::run(&args::settings(matches)?),
        Some(Verb::Completions(shell)) => commands::completions::run(shell),
        None => unreachable!("clap requires one of the verbs"),
    }
}
