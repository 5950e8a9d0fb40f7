//! `keyferry sync`.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    cli::{Exit, consent, crash::Crash, diagnostics::Diagnostic, run::to_its_end, screen::Screen},
    config::{LogFormat, Mode, Settings, SyncConfig, Talk},
    pipeline::{self, Phase, Progress, Route, StopSignal, Window},
    status::{Board, Server, Service, State, Watched},
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
    let server = match &config.status {
        Some(listen) => {
            Some(Server::bind(listen).map_err(|error| Diagnostic::listen(listen.address, &error))?)
        }
        None => None,
    };
    let route = Route::of(&config.migration);
    let progress = Arc::new(Progress::named(config.showing.name.as_deref()));
    let watched = Arc::new(Watched::new(
        route.clone(),
        Arc::clone(&progress),
        config.showing.ready_hold,
    ));
    let migration = config.migration;
    let shown = (route, progress);
    to_its_end(&config.talk, &screen, crash, shown, |progress, stop| {
        let beside = beside(watched, migration.mode, server, stop.clone());
        async move {
            let _beside = beside;
            pipeline::run(&migration, progress, stop, consent).await
        }
    })
}

/// What is done beside the migration, to show where it stands. Ends when the result is dropped.
fn beside(
    watched: Arc<Watched>,
    mode: Mode,
    server: Option<Server>,
    stop: StopSignal,
) -> JoinSet<()> {
    let mut beside = JoinSet::new();
    let watching = Arc::clone(&watched);
    beside.spawn(async move { watching.watch().await });
    if let Some(server) = server {
        beside.spawn(server.serve(Arc::new(OneMigration(Arc::clone(&watched)))));
    }
    if let Some(service) = Service::of_environment() {
        let look = move || State {
            started: mode == Mode::Full || watched.phase() >= Phase::Following,
            line: watched.status().to_line(),
        };
        beside.spawn(service.keep_informed(look, stop));
    }
    beside
}

/// The only migration there is.
struct OneMigration(Arc<Watched>);

impl Board for OneMigration {
    fn all(&self) -> String {
        self.0.status().to_json()
    }

    fn one(&self, name: &str) -> Option<String> {
        let status = self.0.status();
        (status.name.as_deref() == Some(name)).then(|| status.to_json())
    }

    fn window(&self, name: Option<&str>) -> Option<Arc<Window>> {
        let is_it = name.is_none() || self.0.status().name.as_deref() == name;
        is_it.then(|| self.0.window())
    }
}
