//! `keyferry rdb analyze`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use super::{Task, now_ms};
use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, with_filter, with_input},
            with_some_settings,
        },
        diagnostics::Diagnostic,
        output,
    },
    dump::{
        Output,
        analyze::{self, Allocator, AnalyzeOptions, Report, Segmenting, TreeOptions},
    },
    rdb::ServerVersion,
};

const REPORT: &str = "Report";
const MEMORY: &str = "Memory";

/// How many prefixes are kept at a time: some tens of megabytes.
const PREFIXES_MAX: usize = 100_000;
/// Deeper trees are no help, and JSON readers have limits.
const DEPTH_MAX: u64 = 32;

pub(super) fn command() -> Command {
    let command = Command::new("analyze")
        .about("Show what takes the memory: by prefix, type and time to live, and the largest keys")
        .long_about(
            "Estimates what every key takes in the memory of a server and sums it up by prefix, by \
             type and by time to live. Segments of keys that look like ids (numbers, UUIDs, \
             hexadecimal, random tokens) count as *. The report goes to stdout.",
        )
        .args(report_args())
        .args(memory_args());
    let settings = [&SOURCE_SETTINGS[..], &["json"]].concat();
    with_some_settings(with_filter(with_input(command)), &settings)
}

fn report_args() -> [Arg; 7] {
    [
        Arg::new("depth")
            .long("depth")
            .value_name("N")
            .default_value("6")
            .value_parser(value_parser!(u64).range(1..=DEPTH_MAX))
            .help("How many segments of a key make prefixes"),
        Arg::new("separator")
            .long("separator")
            .value_name("CHARS")
            .default_value(":")
            .help("The characters behind which keys are cut into segments"),
        Arg::new("keep-ids")
            .long("keep-ids")
            .action(ArgAction::SetTrue)
            .help("Keep segments that look like ids apart"),
        Arg::new("top")
            .long("top")
            .value_name("N")
            .default_value("20")
            .value_parser(value_parser!(u64).range(0..=100_000))
            .help("How many of the largest keys are shown"),
        Arg::new("csv")
            .long("csv")
            .action(ArgAction::SetTrue)
            .conflicts_with("json")
            .help("Print the tree of prefixes as CSV"),
        Arg::new("html")
            .long("html")
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("Also write the report as one HTML page with a picture to zoom into; - prints it instead"),
        Arg::new("overwrite")
            .long("overwrite")
            .action(ArgAction::SetTrue)
            .help("Replace the HTML page if there is one"),
    ]
    .map(|arg| arg.help_heading(REPORT))
}

fn memory_args() -> [Arg; 2] {
    [
        Arg::new("target-version")
            .long("target-version")
            .value_name("SERVER")
            .value_parser(value_parser!(ServerVersion))
            .help(
                "The server whose memory is meant, such as redis-7.2 or valkey-8.1; else the one that \
                 wrote the file",
            ),
        Arg::new("allocator")
            .long("allocator")
            .value_name("NAME")
            .default_value(Allocator::Jemalloc.name())
            .value_parser(PossibleValuesParser::new(
                Allocator::ALL.map(|(name, _)| name),
            ))
            .help("Its allocator; packages of Linux distributions have system-jemalloc or libc"),
    ]
    .map(|arg| arg.help_heading(MEMORY))
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let matches = task.matches;
    let options = options(matches);
    // A page that cannot be written is said before the work, not behind it.
    let html = matches.get_one::<PathBuf>("html");
    let prints_page = html.is_some_and(|path| path.as_os_str() == "-");
    let page = match html {
        Some(path) if !prints_page => Some(Output::file(path, matches.get_flag("overwrite"))?),
        _ => None,
    };
    let report: Report = task.read(async |reader| Ok(analyze::analyze(reader, options).await?))?;
    if let Some(mut page) = page {
        page.put(report.to_html().as_bytes())?;
        page.finish()?;
    }
    let shown = match (matches.get_flag("csv"), task.talk.json) {
        _ if prints_page => report.to_html(),
        (true, _) => report.to_csv(),
        (_, true) => report.to_json(),
        _ => report.to_text(),
    };
    output::print(shown.as_bytes())?;
    Ok(Exit::Success)
}

fn options(matches: &ArgMatches) -> AnalyzeOptions {
    let number = |name| matches.get_one::<u64>(name).copied().unwrap_or_default() as usize;
    let text = |name| matches.get_one::<String>(name);
    let allocator = Allocator::ALL
        .into_iter()
        .find(|(name, _)| text("allocator").is_some_and(|text| text == name))
        .map_or(Allocator::Jemalloc, |(_, allocator)| allocator);
    AnalyzeOptions {
        tree: TreeOptions {
            segmenting: Segmenting {
                separators: text("separator").cloned().unwrap_or_default().into_bytes(),
                collapse: !matches.get_flag("keep-ids"),
            },
            depth_max: number("depth"),
            nodes_max: PREFIXES_MAX,
        },
        top: number("top"),
        server: matches.get_one::<ServerVersion>("target-version").copied(),
        allocator,
        now_ms: now_ms(),
    }
}
