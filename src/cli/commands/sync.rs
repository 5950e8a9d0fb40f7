//! `keyferry sync`.

use crate::{
    cli::{Exit, consent, crash::Crash, diagnostics::Diagnostic, run::to_its_end, screen::Screen},
    config::{LogFormat, Settings, SyncConfig, Talk},
    pipeline::{self, Route},
    telemetry,
};

/// Runs a migration and prints its summary.
pub(in crate::cli) fn run(settings: &Settings, crash: &Crash) -> Result<Exit, Diagnostic> {
    let screen = Screen::stderr();
    let talk = Talk::of(settings)?;
    let colour = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let json = talk.log_format == LogFormat::Json;
    telemetry::log_to(json, talk.log_level, colour, screen.clone());

    let config = SyncConfig::of(settings)?;
    config.refuse_masked()?;
    let consent = consent::of(&config.migration.target, &screen)?;
    let route = Route::of(&config.migration);
    to_its_end(&config.talk, &screen, crash, route, |progress, stop| {
        pipeline::run(&config.migration, progress, stop, consent)
    })
}
