//! `keyferry rdb commands`.

use clap::{Arg, ArgAction, Command, builder::PossibleValuesParser};
use indicatif::HumanBytes;

use super::{
    Task,
    written::{by_type, count, left_out},
};
use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, output, with_filter, with_input, with_output},
            with_some_settings,
        },
        diagnostics::Diagnostic,
    },
    config::{ConfigError, on_lossy},
    dump::{self, CommandFormat, CommandsConfig, CommandsSummary},
    rdb::{Flavor, ServerVersion},
    sink::OLDEST,
};

const LONG_ABOUT: &str = "\
Writes the commands that rebuild the content of an RDB on a server of the version given: values in \
bounded pieces, expiries as absolute times, function libraries and scripts. For servers where an RDB \
cannot be put, or for people to read. They are meant for an empty server; with --replace they first \
remove what is there under the name of each key.

    keyferry rdb commands dump.rdb --target-version redis-7.0 | redis-cli --pipe
    keyferry rdb commands dump.rdb --target-version redis-7.0 --format cli | redis-cli";

pub(super) fn command() -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let command = Command::new("commands")
        .about("Write the commands that rebuild the content of an RDB")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("target-version")
                .long("target-version")
                .value_name("SERVER")
                .required(true)
                .value_parser(ServerVersion::known)
                .help("The server that shall execute them, such as redis-7.0 or valkey-8.1"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("resp|cli")
                .value_parser(PossibleValuesParser::new(["resp", "cli"]))
                .default_value("resp")
                .hide_possible_values(true)
                .help("resp: as `redis-cli --pipe` takes them; cli: one a line, as redis-cli reads them"),
        )
        .arg(switch(
            "replace",
            "Remove what is there under the name of each key and library",
        ))
        .arg(switch(
            "restore",
            "Write values as RESTORE of their payload where the server takes it",
        ));
    let command = with_filter(with_output(with_input(command)));
    let settings = [&SOURCE_SETTINGS[..], &["on-lossy", "json"]].concat();
    with_some_settings(command, &settings)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let matches = task.matches;
    let config = CommandsConfig {
        server: server(task)?,
        format: match matches.get_one::<String>("format").map(String::as_str) {
            Some("cli") => CommandFormat::Cli,
            _ => CommandFormat::Resp,
        },
        replace: matches.get_flag("replace"),
        restore: matches.get_flag("restore"),
        on_lossy: on_lossy(&task.settings)?,
    };
    let mut output = output(matches)?;
    let summary =
        task.read(async |reader| Ok(dump::commands(reader, config, &mut output).await?))?;
    output.finish()?;
    task.sum_up(&summary, &table(&summary, config.server))?;
    Ok(Exit::Success)
}

/// The server that was typed, if it is one that is written to.
fn server(task: &Task<'_>) -> Result<ServerVersion, Diagnostic> {
    let server = task.matches.get_one::<ServerVersion>("target-version");
    let server = *server.expect("clap requires --target-version");
    let oldest = ServerVersion::new(Flavor::Redis, OLDEST.0, OLDEST.1);
    if !server.has_common(oldest.major, oldest.minor) {
        return Err(ConfigError::new(
            "--target-version cannot be used",
            format!("{server} is older than {oldest}"),
            "write an RDB for it: `keyferry rdb convert --to`",
        )
        .into());
    }
    Ok(server)
}

fn table(summary: &CommandsSummary, server: ServerVersion) -> Vec<(&'static str, String)> {
    let total = summary.keys.get("total").copied().unwrap_or_default();
    let mut table = vec![("for", server.to_string()), ("keys", count(total))];
    table.extend(by_type(&summary.keys));
    table.extend([
        ("functions", count(summary.functions)),
        ("scripts", count(summary.scripts)),
        ("commands", count(summary.commands)),
        ("bytes", HumanBytes(summary.bytes).to_string()),
    ]);
    let counts = [
        ("keys not selected", summary.keys_not_selected),
        ("keys without elements", summary.keys_empty),
        ("module data beside the keys", summary.module_aux_left_out),
    ];
    table.extend(left_out(&counts, &summary.losses));
    table
}
