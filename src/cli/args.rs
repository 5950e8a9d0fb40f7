//! What was typed: the verbs, and a flag for every setting of the table in `config`.

use std::{fs, io::Write};

use clap::{
    Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, error::ErrorKind,
    value_parser,
};
use clap_complete::Shell;

use super::{Exit, commands};
use crate::config::{
    ConfigError, Kind, Layer, Origin, SETTINGS, Setting, Settings, from_env, from_file,
};

/// What stands below the flags of `sync` and `config`.
const SETTINGS_HELP: &str = "\
Every flag can also be set in the environment (--spool-memory as KEYFERRY_SPOOL_MEMORY) and
in the file given by --config (spool-memory = \"64mb\"). A flag beats the environment, the
environment beats the file. Passwords: KEYFERRY_SOURCE_PASSWORD and KEYFERRY_TARGET_PASSWORD, or
the files, keep them out of `ps`.

SIZE is a number (1.5 too) and kb, mb, gb (1024-based, also KiB, MiB, GiB) or k, m, g (1000-based);
TIME is a number and ms, s, m, h or d.

Exit codes: 0 success, 1 differences found, 2 usage or configuration, 3 source failed,
4 target failed, 5 local resource or abort, 70 a bug of keyferry.";

/// What stands below the flags of the verbs of `rdb`.
const RDB_HELP: &str = "\
Flags that `keyferry sync` has too can also be set in the environment (--source-timeout as
KEYFERRY_SOURCE_TIMEOUT) and in the file given by --config; all others are flags only. Passwords:
KEYFERRY_SOURCE_PASSWORD and KEYFERRY_TARGET_PASSWORD, or the files, keep them out of `ps`.

SIZE is a number (1.5 too) and kb, mb, gb (1024-based, also KiB, MiB, GiB) or k, m, g (1000-based);
TIME is a number and ms, s, m, h or d.

Exit codes: 0 success, 1 damage found by `check`, 2 usage or configuration, 3 the input failed or
is damaged, 4 the target failed or cannot hold it, 5 local resource or abort, 70 a bug of keyferry.";

/// What `--retry-for` means where nothing is written to a server.
const RETRY_FOR_SOURCE_HELP: &str = "With --source: how long it is waited for a source that is \
    loading, busy or cannot fork; 0 never waits";

/// What stands below the flags of `verify`.
const VERIFY_HELP: &str = "\
Flags that `keyferry sync` has too can also be set in the environment (--source-timeout as
KEYFERRY_SOURCE_TIMEOUT) and in the file given by --config; all others are flags only. Passwords:
KEYFERRY_SOURCE_PASSWORD and KEYFERRY_TARGET_PASSWORD, or the files, keep them out of `ps`.

SIZE is a number (1.5 too) and kb, mb, gb (1024-based, also KiB, MiB, GiB) or k, m, g (1000-based);
TIME is a number and ms, s, m, h or d.

Exit codes: 0 equal, 1 differences, or keys that nothing can be said about, 2 usage or
configuration, 3 source failed, 4 target failed, 5 local resource or a signal, 70 a bug of
keyferry.";

/// What stands below the flags of `daemon`.
const DAEMON_HELP: &str = "\
FILE declares migrations as tables, each with a name, a source and a target; the other keys are the
names of the flags of `keyferry sync`. What stands above the first table holds for all of them:

    on-conflict = \"replace\"

    [[migration]]
    name = \"orders\"
    source = \"redis://10.0.0.5\"
    target = \"valkey://10.0.0.9\"

Signals: SIGHUP reads FILE again; SIGTERM and SIGINT drain all migrations and end, a second one
ends at once. Exit codes: 0 drained, 2 usage or configuration, 5 local resource, abort, or a
migration that failed while it drained, 70 a bug of keyferry.";

pub(super) mod rdb;
pub(super) mod verify;

/// What is to be done.
pub(super) enum Verb<'a> {
    Sync(&'a ArgMatches),
    Daemon(&'a ArgMatches),
    Rdb(&'a str, &'a ArgMatches),
    Verify(&'a ArgMatches),
    Checkpoint(&'a str, &'a ArgMatches),
    Config(&'a ArgMatches),
    Completions(Shell),
}

/// The command line as clap understands it.
pub(super) fn command() -> Command {
    Command::new("keyferry")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Moves a live Redis or Valkey keyspace to another server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(with_settings(
            Command::new("sync")
                .about("Copy the keyspace of the source to the target and follow its writes")
                .long_about(
                    "Copies the keyspace of the source to the target, then follows every write \
                     until stopped (SIGINT or SIGTERM: what was read is still written; a second \
                     signal aborts). The summary goes to stdout, everything else to stderr.",
                ),
        ))
        .subcommand(with_settings(
            Command::new("config")
                .about("Print what `keyferry sync` would run with, and where each value comes from")
                .long_about(
                    "Prints the effective configuration of `keyferry sync` with the same flags, \
                     as a TOML file for --config. Passwords are masked; a comment says where each \
                     value comes from.",
                ),
        ))
        .subcommand(commands::daemon::command())
        .subcommand(commands::verify::command())
        .subcommand(commands::rdb::command())
        .subcommand(commands::checkpoint::command())
        .subcommand(
            Command::new("completions")
                .about("Print a completion script for a shell")
                .arg(
                    Arg::new("shell")
                        .required(true)
                        .value_parser(value_parser!(Shell)),
                ),
        )
}

/// The verb that was typed.
pub(super) fn verb(matches: &ArgMatches) -> Option<Verb<'_>> {
    match matches.subcommand()? {
        ("sync", matches) => Some(Verb::Sync(matches)),
        ("daemon", matches) => Some(Verb::Daemon(matches)),
        ("config", matches) => Some(Verb::Config(matches)),
        ("verify", matches) => Some(Verb::Verify(matches)),
        ("rdb", matches) => matches
            .subcommand()
            .map(|(verb, matches)| Verb::Rdb(verb, matches)),
        ("checkpoint", matches) => matches
            .subcommand()
            .map(|(verb, matches)| Verb::Checkpoint(verb, matches)),
        (_, matches) => matches.get_one("shell").copied().map(Verb::Completions),
    }
}

/// The settings of all layers: flags, environment, file, defaults.
///
/// # Errors
/// A file that cannot be read or is not what it should be, a variable that is not text.
pub(super) fn settings(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    let flags = flags(matches);
    let environment = from_env(std::env::vars_os())?;
    let file = match flags.text("config").or(environment.text("config")) {
        Some(path) => from_file(&read(path)?, path)?,
        None => Layer::default(),
    };
    Ok(Settings::of([flags, environment, file]))
}

/// The settings of a verb that reads none from a file: flags, environment, defaults.
///
/// # Errors
/// A variable that is not text.
pub(super) fn settings_without_file(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    let environment = from_env(std::env::vars_os())?;
    Ok(Settings::of([flags(matches), environment]))
}

/// Prints what clap has to say: help and version to stdout, errors to stderr.
///
/// An error can repeat an argument, and the argument can be a URL with a password.
pub(super) fn report(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone away has seen enough.
            let _ = error.print();
            Exit::Success
        }
        _ => {
            let text = mask_urls(&error.render().to_string());
            let _ = write!(std::io::stderr(), "{text}");
            Exit::Usage
        }
    }
}

fn with_settings(command: Command) -> Command {
    with_settings_of(command, |_| true, SETTINGS_HELP)
}

/// Adds the flags of the settings that are named.
pub(super) fn with_some_settings(command: Command, names: &[&str]) -> Command {
    let command = with_settings_of(command, |name| names.contains(&name), RDB_HELP);
    match names.contains(&"target") {
        true => command,
        false => SETTINGS
            .iter()
            .filter(|setting| setting.name == "retry-for")
            .fold(command, |command, setting| {
                let help = help(setting, RETRY_FOR_SOURCE_HELP);
                command.mut_arg(setting.name, |arg| arg.help(help))
            }),
    }
}

/// Adds the flags of the settings that `verify` has.
pub(super) fn with_settings_of_verify(command: Command, names: &[&str]) -> Command {
    with_settings_of(command, |name| names.contains(&name), VERIFY_HELP)
}

/// Adds the flags that say how a daemon talks.
pub(super) fn with_settings_of_daemon(command: Command) -> Command {
    let talks = |name: &str| ["config", "log-format", "log-level"].contains(&name);
    with_settings_of(command, talks, DAEMON_HELP)
}

fn with_settings_of(
    command: Command,
    wanted: impl Fn(&str) -> bool,
    after: &'static str,
) -> Command {
    let command = SETTINGS
        .iter()
        .filter(|setting| setting.on_command_line && wanted(setting.name))
        .fold(command, |command, setting| command.arg(flag(setting)));
    command
        .arg(
            Arg::new("verbose")
                .short('v')
                .action(ArgAction::Count)
                .conflicts_with("log-level")
                .help("Log more: -v is --log-level debug, -vv is trace")
                .help_heading("Output"),
        )
        .after_help(after)
}

fn flag(setting: &'static Setting) -> Arg {
    let help = help(setting, setting.help);
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value_name)
        .help(help)
        .help_heading(setting.group.heading());
    match setting.kind {
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .hide_possible_values(true),
        Kind::Choice(words) => arg
            .value_parser(PossibleValuesParser::new(words))
            .hide_possible_values(true),
        _ => arg,
    }
}

/// What a setting means, and its default.
fn help(setting: &Setting, text: &str) -> String {
    match setting.default {
        Some(default) if setting.kind != Kind::Switch => format!("{text} [default: {default}]"),
        _ => text.to_owned(),
    }
}

fn flags(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::default();
    for setting in SETTINGS.iter().filter(|setting| setting.on_command_line) {
        // A verb need not have a flag for every setting.
        let given = matches.try_get_one::<String>(setting.name);
        if let Some(text) = given.ok().flatten() {
            layer.set(setting, text, Origin::Flag);
        } else if setting.name == "log-level" {
            match matches.get_count("verbose") {
                0 => {}
                1 => layer.set(setting, "debug", Origin::Flag),
                _ => layer.set(setting, "trace", Origin::Flag),
            }
        }
    }
    layer
}

fn read(path: &str) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| {
        ConfigError::new(
            format!("the configuration file {path} cannot be read"),
            error.to_string(),
            "check --config or KEYFERRY_CONFIG",
        )
    })
}

/// Masks what stands between the `://` and the last `@` of each word.
fn mask_urls(text: &str) -> String {
    let mask_word = |word: &str| {
        let body = word.trim_end();
        let space = word.get(body.len()..).unwrap_or_default();
        let masked = body.rsplit_once('@').and_then(|(before, after)| {
            let (scheme, _) = before.split_once("://")?;
            Some(format!("{scheme}://***@{after}{space}"))
        });
        masked.unwrap_or_else(|| word.to_owned())
    };
    text.split_inclusive(char::is_whitespace)
        .map(mask_word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn urls_are_masked_in_errors() {
        for (text, masked) in [
            ("no URL here, a@b\n", "no URL here, a@b\n"),
            ("'redis://u:p@h' found", "'redis://***@h' found"),
            ("--x=redis://u:p@q@h:1\n", "--x=redis://***@h:1\n"),
            ("redis://h:1", "redis://h:1"),
        ] {
            assert_eq!(mask_urls(text), masked);
        }
    }

    #[test]
    fn switches_and_verbosity_become_settings() {
        for (argv, name, text) in [
            (&["--json"][..], "json", Some("true")),
            (&["--json=false"], "json", Some("false")),
            (&[], "json", None),
            (&["-v"], "log-level", Some("debug")),
            (&["-vvv"], "log-level", Some("trace")),
            (&["--log-level", "warn"], "log-level", Some("warn")),
        ] {
            let argv = ["keyferry", "sync"].iter().chain(argv);
            let matches = command().try_get_matches_from(argv).unwrap();
            let (_, matches) = matches.subcommand().unwrap();
            assert_eq!(flags(matches).text(name), text, "{name}");
        }
    }
}
