//! `keyferry daemon`.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use tokio::{runtime::Builder, task::JoinSet};

use crate::{
    cli::{
        Exit, args,
        crash::Crash,
        diagnostics::Diagnostic,
        screen::Screen,
        signals::{Hangups, Signals},
    },
    config::{ConfigError, Listen, ListenText, LogFormat, Talk},
    daemon::{Daemon, Drained},
    pipeline::stop_signal,
    status::{Server, Service},
    telemetry,
};

/// How long tasks that are left over may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_millis(500);

pub(in crate::cli) fn command() -> Command {
    let command = Command::new("daemon")
        .about("Run the migrations that a file declares until stopped")
        .long_about(
            "Runs the migrations that the file given by --config declares until it is stopped. \
             Each is supervised on its own: one that fails for a passing reason is run again \
             after a pause, one that fails for good is kept and shown, and holds up nobody.",
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .help(
                    "Serve /status, /status/NAME (JSON), /metrics (Prometheus) and /healthz on \
                     this address, such as 127.0.0.1:9121",
                )
                .help_heading("Status"),
        )
        .arg(
            Arg::new("token-file")
                .long("token-file")
                .value_name("FILE")
                .help(
                    "Ask for the bearer token in the first line of FILE; needed where the \
                     address is not loopback",
                )
                .help_heading("Status"),
        );
    args::with_settings_of_daemon(command).mut_arg("config", |config| {
        config.help("The TOML file that declares the migrations; required")
    })
}

/// Runs a daemon to its end.
pub(in crate::cli) fn run(matches: &ArgMatches, crash: &Crash) -> Result<Exit, Diagnostic> {
    let settings = args::settings_without_file(matches)?;
    let talk = Talk::of(&settings)?;
    let screen = Screen::stderr();
    let colour = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let json = talk.log_format == LogFormat::Json;
    telemetry::log_to(json, talk.log_level, colour, screen);

    let Some(path) = settings.text("config") else {
        return Err(ConfigError::new(
            "no configuration file is given",
            "a daemon runs the migrations that a file declares",
            "add --config FILE",
        )
        .into());
    };
    let daemon = Daemon::of_file(path)?;
    let server = server(matches)?;

    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::local("threads cannot be started", &error))?;
    let exit = runtime.block_on(run_all(daemon, server, crash));
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    exit
}

fn server(matches: &ArgMatches) -> Result<Option<Server>, Diagnostic> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let Some(address) = text("listen") else {
        return Ok(None);
    };
    let listen = Listen::of(ListenText {
        address_label: "--listen",
        address,
        token_label: "--token-file",
        token_file: text("token-file"),
    })?;
    let server = Server::bind(&listen);
    server
        .map(Some)
        .map_err(|error| Diagnostic::listen(listen.address, &error))
}

async fn run_all(
    daemon: Daemon,
    server: Option<Server>,
    crash: &Crash,
) -> Result<Exit, Diagnostic> {
    let deaf = |error| Diagnostic::local("signals cannot be received", &error);
    let signals = Signals::listen().map_err(deaf)?;
    let mut hangups = Hangups::listen().map_err(deaf)?;
    let (stopper, stop) = stop_signal();
    let mut beside = JoinSet::new();
    if let Some(server) = server {
        beside.spawn(server.serve(daemon.board()));
    }
    if let Some(service) = Service::of_environment() {
        beside.spawn(service.keep_informed(daemon.state(), stop.clone()));
    }
    let ended = tokio::select! {
        () = crash.noticed() => return Ok(Exit::Bug),
        drained = daemon.run(stop, async || hangups.next().await) => drained,
        () = signals.stop_then_abort(&stopper) => return Err(Diagnostic::daemon_aborted()),
    };
    let Drained { failed } = ended;
    match failed.is_empty() {
        true => Ok(Exit::Success),
        false => Err(Diagnostic::not_drained(&failed)),
    }
}
