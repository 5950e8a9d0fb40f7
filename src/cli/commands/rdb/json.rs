//! `keyferry rdb json`.

use clap::{Arg, ArgAction, Command};

use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, bytes, output, with_filter, with_input, with_output},
            with_some_settings,
        },
        diagnostics::Diagnostic,
        task::Task,
    },
    dump::{CopyError, JsonOptions, write_json},
    rdb::Limits,
};

const LONG_ABOUT: &str = "\
Writes an RDB as JSON Lines: one object for the header, one for each function library and each key, \
one for the end. A key with a long value comes as several lines. A byte string that is not UTF-8 is \
{\"base64\": \"...\"}. docs/rdb.md describes every field.";

/// Smaller parts would be more frame than content.
const CHUNK_BYTES_MIN: u64 = 64;

pub(super) fn command() -> Command {
    let command =
        Command::new("json")
            .about("Write an RDB as JSON Lines")
            .long_about(LONG_ABOUT)
            .arg(
                Arg::new("chunk-bytes")
                    .long("chunk-bytes")
                    .value_name("SIZE")
                    .default_value("1mb")
                    .help("Values longer than this come in several lines"),
            )
            .arg(Arg::new("aux").long("aux").action(ArgAction::SetTrue).help(
                "Write what stands between the keys too: AUX fields, hints, data of modules",
            ));
    let command = with_filter(with_output(with_input(command)));
    with_some_settings(command, &SOURCE_SETTINGS)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let options = JsonOptions {
        chunk_bytes: bytes(task.matches, "chunk-bytes", CHUNK_BYTES_MIN)?,
        aux: task.matches.get_flag("aux"),
    };
    let limits = Limits {
        chunk_bytes_max: options.chunk_bytes,
        ..Limits::default()
    };
    task.read_input(&task.input()?, limits, async |reader| {
        let mut output = output(task.matches)?;
        match write_json(reader, &mut output, options).await {
            Ok(()) => drop(output.finish()?),
            // A reader that has gone away has seen enough.
            Err(CopyError::Write(error)) if error.is_closed() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Exit::Success)
    })
}
