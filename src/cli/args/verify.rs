//! The flags of `keyferry verify`.

use std::path::PathBuf;

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::{PossibleValuesParser, ValueParser},
    value_parser,
};

use super::rdb::{self, unusable};
use crate::{
    config::{ConfigError, SourceConfig, TargetConfig, parse_duration, parse_token},
    dump::Filter,
    verify::{Depth, PeerConfig, ReportConfig, Side, SyncStatus, Verification},
};

/// The settings of `sync` that it has, too.
pub(in crate::cli) const SETTINGS: [&str; 19] = [
    "source",
    "target",
    "source-password-file",
    "target-password-file",
    "lanes",
    "max-keys-per-second",
    "max-bytes-per-second",
    "retry-for",
    "connect-timeout",
    "source-timeout",
    "target-timeout",
    "yes",
    "on-lossy",
    "restore-bytes-max",
    "config",
    "json",
    "progress",
    "log-format",
    "log-level",
];

const COMPARISON: &str = "What is compared";
const PATIENCE: &str = "How gently, and how patiently";
const REPORT: &str = "Report";
const REPAIR: &str = "Repair";

/// Adds them.
pub(in crate::cli) fn with_flags(command: Command) -> Command {
    let command = [comparison(), patience(), report(), repair()]
        .into_iter()
        .flatten()
        .fold(command, Command::arg);
    rdb::with_name_filter(command)
}

fn flag(name: &'static str, value: &'static str, help: &'static str, group: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .help_heading(group)
}

fn switch(name: &'static str, help: &'static str, group: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
        .help_heading(group)
}

fn words(words: &'static [&'static str]) -> ValueParser {
    PossibleValuesParser::new(words).into()
}

fn comparison() -> Vec<Arg> {
    let of = |name, value, help| flag(name, value, help, COMPARISON);
    vec![
        of(
            "method",
            "scan|snapshot",
            "scan: read each key on both sides; snapshot: take a snapshot of both sides and read \
             only the keys in which they differ",
        )
        .value_parser(words(&["scan", "snapshot"]))
        .hide_possible_values(true)
        .default_value("scan"),
        of(
            "depth",
            "full|metadata|existence",
            "full: everything; metadata: type, number of elements and expiry; existence: only \
             whether the key is there",
        )
        .value_parser(words(&["full", "metadata", "existence"]))
        .hide_possible_values(true)
        .default_value("full"),
        of(
            "sample",
            "1/N",
            "Look at one of N keys, the same in every run",
        )
        .default_value("1/1"),
        of("ttl-tolerance", "TIME", "How far apart expiries may be").default_value("1s"),
        of(
            "large-key-bytes",
            "SIZE",
            "Values that take this much memory are compared page by page",
        )
        .default_value("1mb"),
        of(
            "snapshot-dir",
            "DIR",
            "Where --method snapshot keeps its digests (about 60 bytes and the name of each key)",
        )
        .value_parser(value_parser!(PathBuf)),
    ]
}

fn patience() -> Vec<Arg> {
    let of = |name, value, help| flag(name, value, help, PATIENCE);
    vec![
        of("rounds", "N", "How often keys that differ are read again")
            .value_parser(value_parser!(u64).range(1..=1000))
            .default_value("3"),
        of("round-delay", "TIME", "The pause before each round").default_value("1s"),
        of(
            "sync-status",
            "URL",
            "The status of a `keyferry sync` that follows, such as http://127.0.0.1:9121: what \
             differs counts only once it has applied what the source had when the key was read",
        ),
        of(
            "sync-status-token-file",
            "FILE",
            "The bearer token of that status is the first line of FILE",
        )
        .requires("sync-status"),
    ]
}

fn report() -> Vec<Arg> {
    vec![
        flag(
            "report",
            "FILE",
            "Write all differences to FILE: .jsonl, .csv, .sqlite or .html",
            REPORT,
        )
        .value_parser(value_parser!(PathBuf)),
        switch("overwrite", "Replace FILE if it exists", REPORT).requires("report"),
        switch(
            "resume",
            "Go on where an interrupted verification stopped; its report is .jsonl or .sqlite",
            REPORT,
        )
        .requires("report")
        .conflicts_with("overwrite"),
    ]
}

fn repair() -> Vec<Arg> {
    vec![
        switch(
            "repair",
            "Copy what differs from the source to the target; asks on a terminal, needs --yes \
             elsewhere",
            REPAIR,
        )
        // What an earlier run has found is in its report only.
        .conflicts_with("resume"),
        switch(
            "repair-delete",
            "Also remove keys that only the target has",
            REPAIR,
        )
        .requires("repair"),
        switch(
            "dry-run",
            "Print what --repair would do, and do nothing",
            REPAIR,
        )
        .requires("repair"),
    ]
}

/// The verification that was typed, but for its method.
///
/// # Errors
/// A text that cannot be read.
pub(in crate::cli) fn verification(
    matches: &ArgMatches,
    source: &SourceConfig,
    target: &TargetConfig,
) -> Result<Verification, ConfigError> {
    let duration = |name: &str| {
        let text = matches.get_one::<String>(name).map_or("", String::as_str);
        parse_duration(text)
            .map_err(|why| unusable(name, why, "write a number and ms, s, m, h or d: 250ms, 30s"))
    };
    let filter = rdb::name_filter(matches)?;
    Ok(Verification {
        source: PeerConfig {
            side: Side::Source,
            node: source.node.clone(),
            connect_timeout: source.connect_timeout,
            silence_max: source.source_timeout,
            retry_for: source.retry_for,
        },
        target: PeerConfig {
            side: Side::Target,
            node: target.node.clone(),
            connect_timeout: target.connect_timeout,
            silence_max: target.silence_max,
            retry_for: target.retry_for,
        },
        method: crate::verify::Method::Scan,
        depth: match text(matches, "depth") {
            "metadata" => Depth::Metadata,
            "existence" => Depth::Existence,
            _ => Depth::Full,
        },
        sample: sample(text(matches, "sample"))?,
        selection: selection(matches, &filter),
        filter,
        ttl_tolerance: duration("ttl-tolerance")?,
        large_key_bytes: rdb::bytes(matches, "large-key-bytes", 1)? as u64,
        lanes: target.lanes,
        keys_per_s: target.throttle.keys_per_s,
        bytes_per_s: target.throttle.bytes_per_s,
        rounds: matches.get_one("rounds").copied().unwrap_or(1),
        round_delay: duration("round-delay")?,
        sync_status: sync_status(matches)?,
        report: matches
            .get_one::<PathBuf>("report")
            .map(|path| ReportConfig {
                path: path.clone(),
                overwrite: matches.get_flag("overwrite"),
                resume: matches.get_flag("resume"),
            }),
    })
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn sample(text: &str) -> Result<u64, ConfigError> {
    let number = text.strip_prefix("1/").and_then(|of| of.parse().ok());
    number
        .filter(|of| *of > 0)
        .ok_or_else(|| unusable("sample", format!("`{text}` is no share"), "write 1/100"))
}

fn sync_status(matches: &ArgMatches) -> Result<Option<SyncStatus>, ConfigError> {
    let Some(url) = matches.get_one::<String>("sync-status") else {
        return Ok(None);
    };
    let token = match matches.get_one::<String>("sync-status-token-file") {
        Some(path) => Some(parse_token("--sync-status-token-file", path)?),
        None => None,
    };
    SyncStatus::of(url, token).map(Some).map_err(|why| {
        unusable(
            "sync-status",
            why.into(),
            "write it as http://127.0.0.1:9121",
        )
    })
}

/// The selection as it was typed, for the head of a report.
fn selection(matches: &ArgMatches, filter: &Filter) -> String {
    if filter.selects_all() {
        return String::new();
    }
    let mut typed = Vec::new();
    for name in ["key", "key-regex", "not-key", "not-key-regex"] {
        for text in matches.get_many::<String>(name).into_iter().flatten() {
            typed.push(format!("--{name} {text}"));
        }
    }
    for db in matches.get_many::<u32>("db").into_iter().flatten() {
        typed.push(format!("--db {db}"));
    }
    typed.join(" ")
}
