//! `keyferry rdb restore`.

use std::sync::Arc;

use clap::{Arg, ArgAction, Command};

use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, TARGET_SETTINGS, with_filter, with_known_input},
            with_some_settings,
        },
        consent,
        diagnostics::Diagnostic,
        run::to_its_end,
        task::Task,
    },
    config::{SourceConfig, TargetConfig},
    dump::Input,
    pipeline::{self, Restoration, Route},
    sink::Expired,
};

pub(super) fn command() -> Command {
    let command = Command::new("restore")
        .about("Write the keys of an RDB to a server")
        .long_about(
            "Writes the keys of an RDB to a server of any version that `keyferry sync` writes to, \
             in the same way. Keys that have expired by the clock of the target are left out. The \
             summary goes to stdout, everything else to stderr. SIGINT and SIGTERM stop it once \
             what was sent is confirmed.",
        )
        .arg(
            Arg::new("keep-expired")
                .long("keep-expired")
                .action(ArgAction::SetTrue)
                .help("Write keys and fields of hashes that have expired, too, without an expiry")
                .help_heading("Writing to the target"),
        );
    let settings = [&SOURCE_SETTINGS[..], &TARGET_SETTINGS, &["json"]].concat();
    with_some_settings(with_filter(with_known_input(command)), &settings)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let target = TargetConfig::of(&task.settings)?;
    target.refuse_masked()?;
    let input = task.input()?;
    if let Input::Source(_) = input {
        target.refuse_source(&SourceConfig::of(&task.settings)?)?;
    }
    let consent = consent::of(&target, &task.screen)?;
    let restoration = Restoration {
        input,
        filter: task.filter()?,
        expired: match task.matches.get_flag("keep-expired") {
            true => Expired::Persist,
            false => Expired::LeaveOut,
        },
        target,
    };
    let route = Route::restored(&restoration.input, &restoration.target);
    let shown = (route, Arc::default());
    to_its_end(
        &task.talk,
        &task.screen,
        task.crash,
        shown,
        |progress, stop| async move { pipeline::restore(&restoration, progress, stop, consent).await },
    )
}
