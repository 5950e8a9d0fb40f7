//! `keyferry rdb check`.

use clap::Command;

use super::Task;
use crate::cli::{
    Exit,
    args::{
        rdb::{SOURCE_SETTINGS, with_filter, with_input},
        with_some_settings,
    },
    diagnostics::Diagnostic,
};

pub(super) fn command() -> Command {
    let command = Command::new("check")
        .about("Walk through an RDB and say where it is damaged")
        .long_about("Decodes every value of an RDB down to its elements and compares the checksum. Exit code 1 when it is damaged.");
    with_some_settings(with_filter(with_input(command)), &SOURCE_SETTINGS)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    task.read(async |reader| {
        while reader.next().await?.is_some() {}
        reader.finish().await?;
        Ok(Exit::Success)
    })
}
