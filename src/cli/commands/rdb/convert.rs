//! `keyferry rdb convert`.

use clap::{Arg, ArgAction, Command};
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
    config::on_lossy,
    dump::{self, ConvertConfig, ConvertSummary},
    rdb::{Limits, ServerVersion},
};

pub(super) fn command() -> Command {
    let command = Command::new("convert")
        .about("Write an RDB again so that another server loads it")
        .long_about(
            "Writes an RDB again so that another server loads it, also an older one or one of the \
             other family. Every value gets the newest encoding that the server knows. What the \
             server cannot hold is an error that names the key, or left out and counted.",
        )
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("SERVER")
                .required(true)
                .value_parser(ServerVersion::known)
                .help("The server that shall load it, such as redis-7.0 or valkey-8.1"),
        )
        .arg(
            Arg::new("keep-modules")
                .long("keep-modules")
                .action(ArgAction::SetTrue)
                .help("Keep values of modules: the server has these modules"),
        )
        .arg(
            Arg::new("no-compress")
                .long("no-compress")
                .action(ArgAction::SetTrue)
                .help("Do not compress strings that are written anew: faster, and a larger file"),
        );
    let command =
        with_filter(with_output(with_input(command))).mut_arg("output", |arg| arg.required(true));
    let settings = [&SOURCE_SETTINGS[..], &["on-lossy", "json"]].concat();
    with_some_settings(command, &settings)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let matches = task.matches;
    let server = matches.get_one::<ServerVersion>("to").copied();
    let config = ConvertConfig {
        server: server.expect("clap requires --to"),
        on_lossy: on_lossy(&task.settings)?,
        keep_modules: matches.get_flag("keep-modules"),
        compress: !matches.get_flag("no-compress"),
    };
    // What a source compresses is copied.
    let input = match config.compress {
        true => task.input_as_is()?,
        false => task.input()?,
    };
    let mut output = output(matches)?;
    let summary = task.read_input(&input, Limits::default(), async |reader| {
        Ok(dump::convert(reader, config, &mut output).await?)
    })?;
    output.finish()?;
    task.sum_up(&summary, &table(&summary, config.server))?;
    Ok(Exit::Success)
}

fn table(summary: &ConvertSummary, server: ServerVersion) -> Vec<(&'static str, String)> {
    let total = summary.keys.get("total").copied().unwrap_or_default();
    let converted = count(summary.keys_converted);
    let keys = format!("{}, {converted} converted", count(total));
    let mut table = vec![("for", server.to_string()), ("keys", keys)];
    table.extend(by_type(&summary.keys));
    table.extend([
        ("functions", count(summary.functions)),
        ("bytes", HumanBytes(summary.bytes).to_string()),
    ]);
    let counts = [
        ("keys not selected", summary.keys_not_selected),
        ("keys without elements", summary.keys_empty),
        ("AUX fields", summary.aux_left_out),
        ("module data beside the keys", summary.module_aux_left_out),
    ];
    table.extend(left_out(&counts, &summary.losses));
    table
}
