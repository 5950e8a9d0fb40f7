//! `keyferry rdb dump`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Command;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, output, with_output},
            with_some_settings,
        },
        diagnostics::Diagnostic,
        output::{print, print_json, rows},
        task::Task,
    },
    config::ConfigError,
    dump::{Backup, Feed, backup},
    rdb::Checksum,
    sync::Position,
};

const LONG_ABOUT: &str = "\
Joins a live source as a replica and writes its snapshot to a file, byte for byte as it was sent. \
What arrives is parsed and its checksum compared; the file appears when it is complete and on the \
disk, readable by its owner only. Nothing is left of a dump that failed. Keys cannot be selected \
here: `keyferry rdb convert --source` does that.";

pub(super) fn command() -> Command {
    let command = Command::new("dump")
        .about("Take the snapshot of a live source as an RDB file")
        .long_about(LONG_ABOUT);
    let command = with_output(command).mut_arg("output", |output| output.required(true));
    with_some_settings(command, &[&SOURCE_SETTINGS[..], &["json"]].concat())
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let path = task.matches.get_one::<PathBuf>("output");
    let to_stdout = path.is_some_and(|path| path.as_os_str() == "-");
    if to_stdout && task.talk.json {
        return Err(ConfigError::new(
            "--json and -o - contradict",
            "both write to standard output",
            "give -o a file",
        )
        .into());
    }
    let started = Instant::now();
    let summary = task.block_on(async {
        let mut output = output(task.matches)?;
        let mut feed = task.source().await?;
        let display = task.show(&feed);
        let taken = backup(&mut feed, &mut output).await;
        display.finish();
        let taken = taken?;
        let name = output.name().to_owned();
        output.finish()?;
        Ok(Summary::of(&feed, &taken, name, started.elapsed()))
    })?;
    if taken_unchecked(&summary) {
        tracing::warn!("the source computes no checksum (rdbchecksum no): flaws stay unnoticed");
    }
    match (to_stdout, task.talk.json) {
        (true, _) => tracing::info!("{} bytes, {} keys written", summary.bytes, summary.keys),
        (_, true) => print_json(&summary)?,
        (_, false) => print(rows(&summary.rows()).as_bytes())?,
    }
    Ok(Exit::Success)
}

fn taken_unchecked(summary: &Summary) -> bool {
    summary.checksum != Checksum::Verified.name()
}

/// What is shown at the end.
#[derive(Debug, Serialize)]
struct Summary {
    source: String,
    output: String,
    rdb: String,
    rdb_version: u16,
    bytes: u64,
    keys: u64,
    checksum: &'static str,
    replid: Option<String>,
    offset: Option<u64>,
    duration_ms: u64,
}

impl Summary {
    fn of(feed: &Feed, taken: &Backup, output: String, took: Duration) -> Summary {
        let position: Option<Position> = feed.position();
        Summary {
            source: feed.input().replacen("source ", "", 1),
            output,
            rdb: taken.header.magic().to_owned(),
            rdb_version: taken.header.version,
            bytes: taken.bytes,
            keys: taken.keys,
            checksum: taken.checksum.name(),
            replid: position.map(|at| at.replid.to_string()),
            offset: position.map(|at| at.offset.get()),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let took = Duration::from_millis(self.duration_ms).as_secs_f64();
        let unknown = || "unknown".to_owned();
        vec![
            ("source", self.source.clone()),
            ("file", self.output.clone()),
            ("RDB", format!("{} version {}", self.rdb, self.rdb_version)),
            (
                "bytes",
                format!("{} ({})", HumanCount(self.bytes), HumanBytes(self.bytes)),
            ),
            ("keys", HumanCount(self.keys).to_string()),
            ("checksum", self.checksum.to_owned()),
            ("replid", self.replid.clone().unwrap_or_else(unknown)),
            (
                "offset",
                self.offset
                    .map_or_else(unknown, |offset| offset.to_string()),
            ),
            ("duration", format!("{took:.1} s")),
        ]
    }
}
