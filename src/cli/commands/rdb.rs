//! `keyferry rdb`: what can be done with an RDB file.

mod analyze;
mod check;
mod commands;
mod convert;
mod dump;
mod info;
mod json;
mod restore;
mod written;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{ArgMatches, Command};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{
    cli::{
        Exit, args, crash::Crash, diagnostics::Diagnostic, meter, screen::Screen, signals::Signals,
    },
    config::{ConfigError, LogFormat, Settings, SourceConfig, Talk},
    dump::{Feed, Filter, Input, Reader},
    keyspace::UnixMs,
    pipeline,
    rdb::Limits,
    sync::{LinkConfig, SnapshotChannel, SnapshotOptions},
    telemetry,
};

/// The verbs as clap understands them.
pub(in crate::cli) fn command() -> Command {
    Command::new("rdb")
        .about("Look into RDB files, convert them, bring them to a server, take them from one")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(analyze::command())
        .subcommand(check::command())
        .subcommand(commands::command())
        .subcommand(convert::command())
        .subcommand(dump::command())
        .subcommand(info::command())
        .subcommand(restore::command())
        .subcommand(json::command())
}

/// Runs the verb that was typed.
pub(in crate::cli) fn run(
    verb: &str,
    matches: &ArgMatches,
    crash: &Crash,
) -> Result<Exit, Diagnostic> {
    let task = Task::new(matches, crash)?;
    match verb {
        "analyze" => analyze::run(&task),
        "check" => check::run(&task),
        "commands" => commands::run(&task),
        "convert" => convert::run(&task),
        "dump" => dump::run(&task),
        "info" => info::run(&task),
        "restore" => restore::run(&task),
        "json" => json::run(&task),
        _ => unreachable!("clap knows the verbs"),
    }
}

/// What a verb was asked for, and how it talks.
struct Task<'a> {
    matches: &'a ArgMatches,
    crash: &'a Crash,
    settings: Settings,
    talk: Talk,
    screen: Screen,
}

impl<'a> Task<'a> {
    fn new(matches: &'a ArgMatches, crash: &'a Crash) -> Result<Task<'a>, Diagnostic> {
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

    /// The keys that were asked for.
    fn filter(&self) -> Result<Filter, Diagnostic> {
        Ok(args::rdb::filter(self.matches, now_ms())?)
    }

    /// Runs `work` to its end, unless a signal or a panic comes first.
    fn block_on<T>(
        &self,
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
            let (stopper, stopped) = oneshot::channel();
            tokio::spawn(stop_then_exit(signals, stopper));
            tokio::select! {
                done = work => done,
                () = self.crash.noticed() => Err(Diagnostic::bug("a panic")),
                Ok(signal) = stopped => Err(Diagnostic::stopped(signal)),
            }
        });
        // A thread that waits for standard input must not keep the process alive.
        runtime.shutdown_background();
        done
    }

    /// Opens the input and runs `work` over the events of the keys that were asked for, while
    /// progress is shown.
    fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Reader) -> Result<T, Diagnostic>,
    ) -> Result<T, Diagnostic> {
        self.read_input(&self.input()?, Limits::default(), work)
    }

    /// The same with an input and limits of its own.
    fn read_input<T>(
        &self,
        input: &Input,
        limits: Limits,
        work: impl AsyncFnOnce(&mut Reader) -> Result<T, Diagnostic>,
    ) -> Result<T, Diagnostic> {
        let filter = self.filter()?;
        self.block_on(async {
            let feed = Feed::open(input, &mut |notice| pipeline::log_notice(&notice)).await?;
            let display = self.show(&feed);
            let mut reader = Reader::new(feed, filter, limits);
            if args::rdb::newer_versions(self.matches) {
                reader = reader.with_newer_versions();
            }
            let done = work(&mut reader).await;
            display.finish();
            done
        })
    }

    /// The file, standard input or source that was asked for. A source need not compress its
    /// strings, if it can leave that out.
    fn input(&self) -> Result<Input, Diagnostic> {
        Ok(args::rdb::input(self.matches, || self.snapshot_of(true))?)
    }

    /// The same where there may be several.
    fn inputs(&self) -> Result<Vec<Input>, Diagnostic> {
        let inputs = args::rdb::inputs(self.matches, || self.snapshot_of(true));
        Ok(inputs?)
    }

    /// The same where the source's own compression is of interest.
    fn input_as_is(&self) -> Result<Input, Diagnostic> {
        Ok(args::rdb::input(self.matches, || self.snapshot_of(false))?)
    }

    fn snapshot_of(&self, fast: bool) -> Result<LinkConfig, ConfigError> {
        match self.settings.has("source") {
            true => self.link(fast),
            false => Err(ConfigError::new(
                "no input is given",
                "neither a file nor --source or KEYFERRY_SOURCE names one",
                "give an RDB file, - for standard input, or --source redis://host:port",
            )),
        }
    }

    /// Shows how far the reading has come.
    fn show(&self, feed: &Feed) -> meter::Display {
        meter::Display::start(&self.talk, &self.screen, feed.meter())
    }

    /// Joins the source of the settings, which sends its snapshot as it would save it.
    async fn source(&self) -> Result<Feed, Diagnostic> {
        Ok(Feed::source(&self.link(false)?, &mut |notice| {
            pipeline::log_notice(&notice)
        })
        .await?)
    }

    fn link(&self, fast: bool) -> Result<LinkConfig, ConfigError> {
        let source = SourceConfig::of(&self.settings)?;
        source.refuse_masked()?;
        let snapshot = SnapshotOptions {
            rdb_no_compress: fast,
            rdb_only: true,
            channel: SnapshotChannel::Off,
        };
        Ok(pipeline::link_config(&source, snapshot))
    }
}

/// Says which signal came first. The second ends the process, whatever it is waiting for.
async fn stop_then_exit(mut signals: Signals, stopper: oneshot::Sender<&'static str>) {
    // Nobody listens when the work has just ended.
    let _ = stopper.send(signals.next().await);
    signals.next().await;
    std::process::exit(Exit::Local as i32);
}

fn now_ms() -> UnixMs {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| {
        UnixMs::try_from(now.as_millis()).unwrap_or(UnixMs::MAX)
    })
}
