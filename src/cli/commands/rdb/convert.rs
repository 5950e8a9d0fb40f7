//! `keyferry rdb convert`.

use std::{fmt::Write as _, io::Write as _};

use clap::{Arg, ArgAction, Command};
use indicatif::{HumanBytes, HumanCount};
use tracing_subscriber::fmt::MakeWriter as _;

use super::Task;
use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, output, output_file, with_filter, with_input, with_output},
            with_some_settings,
        },
        diagnostics::Diagnostic,
        output::print,
    },
    config::on_lossy,
    dump::{self, ConvertConfig, ConvertSummary},
    rdb::ServerVersion,
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
    };
    let mut output = output(matches)?;
    let summary =
        task.read(async |reader| Ok(dump::convert(reader, config, &mut output).await?))?;
    output.finish()?;
    let text = match task.talk.json {
        true => serde_json::to_string(&summary).expect("a map of numbers") + "\n",
        false => table(&summary, config.server),
    };
    match output_file(matches) {
        Some(_) => print(text.as_bytes())?,
        // Standard output is the RDB; nobody may be left to tell on the other.
        None => drop(task.screen.make_writer().write_all(text.as_bytes())),
    }
    Ok(Exit::Success)
}

fn table(summary: &ConvertSummary, server: ServerVersion) -> String {
    let count = |count: u64| HumanCount(count).to_string();
    let total = summary.keys.get("total").copied().unwrap_or_default();
    let converted = count(summary.keys_converted);
    let mut rows = vec![
        ("for".to_owned(), server.to_string()),
        (
            "keys".into(),
            format!("{}, {converted} converted", count(total)),
        ),
    ];
    let by_type = summary.keys.iter().filter(|(name, _)| **name != "total");
    rows.extend(by_type.map(|(name, keys)| ((*name).to_owned(), format!("  {}", count(*keys)))));
    rows.push(("functions".into(), count(summary.functions)));
    rows.push(("bytes".into(), HumanBytes(summary.bytes).to_string()));
    let left_out = [
        ("keys not selected", summary.keys_not_selected),
        ("AUX fields", summary.aux_left_out),
        ("module data beside the keys", summary.module_aux_left_out),
    ];
    for (name, left_out) in left_out.into_iter().filter(|(_, n)| *n > 0) {
        rows.push(("left out".into(), format!("{} {name}", count(left_out))));
    }
    for (loss, lost) in &summary.losses {
        rows.push(("lost".into(), format!("{} {loss}", count(*lost))));
    }
    rows.iter().fold(String::new(), |mut table, (name, text)| {
        let _ = writeln!(table, "{name:<10} {text}");
        table
    })
}
