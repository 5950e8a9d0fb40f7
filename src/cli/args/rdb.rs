//! What the verbs of `keyferry rdb` have in common: an input and a filter.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use crate::{
    config::{ConfigError, parse_duration, parse_size},
    dump::{Filter, Input, KeyPattern, Output, OutputError, Ttl},
    keyspace::{Db, UnixMs},
    rdb::KeyType,
    sync::LinkConfig,
};

/// The settings that say how a live source is reached, and how the program talks.
pub(in crate::cli) const SOURCE_SETTINGS: [&str; 11] = [
    "source",
    "source-password-file",
    "retry-for",
    "connect-timeout",
    "source-timeout",
    "announce-ip",
    "announce-port",
    "config",
    "progress",
    "log-format",
    "log-level",
];

/// The settings that say how a target is reached and written to.
pub(in crate::cli) const TARGET_SETTINGS: [&str; 13] = [
    "target",
    "target-password-file",
    "on-conflict",
    "flush-target",
    "yes",
    "on-lossy",
    "lanes",
    "restore-bytes-max",
    "max-inflight-bytes",
    "max-keys-per-second",
    "max-bytes-per-second",
    "adaptive",
    "target-latency-max",
];

const SELECTION: &str = "Which keys";

/// Adds the input, and that it may be of an RDB version that nobody knows.
pub(in crate::cli) fn with_input(command: Command) -> Command {
    with_known_input(command).arg(
        Arg::new("newer-versions")
            .long("newer-versions")
            .action(ArgAction::SetTrue)
            .help(
                "Read RDB versions newer than those that are known: what they add stops the \
                 reading, but what they changed may be read wrongly",
            ),
    )
}

/// Whether the input may be of an RDB version that nobody knows.
pub(in crate::cli) fn newer_versions(matches: &ArgMatches) -> bool {
    matches.get_flag("newer-versions")
}

/// Adds the input: a file, `-`, or a source.
pub(in crate::cli) fn with_known_input(command: Command) -> Command {
    command.arg(
        Arg::new("file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with("source")
            .help(
                "The RDB file, also gzip, Zstandard or LZ4; - is standard input; or give --source",
            ),
    )
}

/// The input that was typed; without a file it is the source of the settings.
///
/// # Errors
/// There is no source either, or it cannot be used.
pub(in crate::cli) fn input(
    matches: &ArgMatches,
    source: impl FnOnce() -> Result<LinkConfig, ConfigError>,
) -> Result<Input, ConfigError> {
    match matches.get_one::<PathBuf>("file") {
        Some(path) => Ok(named(path)),
        None => Ok(Input::Source(Box::new(source()?))),
    }
}

/// The inputs that were typed, where several may be.
///
/// # Errors
/// As [`input`].
pub(in crate::cli) fn inputs(
    matches: &ArgMatches,
    source: impl FnOnce() -> Result<LinkConfig, ConfigError>,
) -> Result<Vec<Input>, ConfigError> {
    let paths = matches.get_many::<PathBuf>("file").into_iter().flatten();
    let inputs: Vec<_> = paths.map(|path| named(path)).collect();
    match inputs.is_empty() {
        true => Ok(vec![input(matches, source)?]),
        false => Ok(inputs),
    }
}

fn named(path: &Path) -> Input {
    match path.as_os_str() == "-" {
        true => Input::Stdin,
        false => Input::File(path.to_owned()),
    }
}

/// Adds the output: a file, or `-`.
pub(in crate::cli) fn with_output(command: Command) -> Command {
    command
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Write to this file, which appears when it is complete; - is standard output",
                ),
        )
        .arg(
            Arg::new("overwrite")
                .long("overwrite")
                .action(ArgAction::SetTrue)
                .help("Replace the file if it exists"),
        )
}

/// Opens the output that was typed; without one it is standard output.
///
/// # Errors
/// Those of [`Output::file`].
pub(in crate::cli) fn output(matches: &ArgMatches) -> Result<Output, OutputError> {
    match output_file(matches) {
        Some(path) => Output::file(path, matches.get_flag("overwrite")),
        None => Ok(Output::stream("standard output", Box::new(io::stdout()))),
    }
}

/// The file that was typed as output; `None` is standard output.
pub(in crate::cli) fn output_file(matches: &ArgMatches) -> Option<&PathBuf> {
    let path = matches.get_one::<PathBuf>("output")?;
    (path.as_os_str() != "-").then_some(path)
}

/// Adds the flags that select keys.
pub(in crate::cli) fn with_filter(command: Command) -> Command {
    let types: Vec<_> = KeyType::ALL.iter().map(|of| of.name()).collect();
    with_name_filter(command)
        .arg(
            many("type", "TYPE", "Only values of these types")
                .value_delimiter(',')
                .value_parser(PossibleValuesParser::new(types)),
        )
        .arg(
            one(
                "ttl",
                "none|some|expired",
                "Only keys without an expiry, with one, with one in the past",
            )
            .value_parser(PossibleValuesParser::new(["none", "some", "expired"]))
            .hide_possible_values(true),
        )
        .arg(
            one(
                "ttl-min",
                "TIME",
                "Only keys that expire, and not before this long from now",
            )
            .conflicts_with("ttl"),
        )
        .arg(
            one(
                "ttl-max",
                "TIME",
                "Only keys that expire within this long from now",
            )
            .conflicts_with("ttl"),
        )
        .arg(one(
            "size-min",
            "SIZE",
            "Only values of at least this serialized size",
        ))
        .arg(one(
            "size-max",
            "SIZE",
            "Only values of at most this serialized size",
        ))
}

/// Adds the flags that select keys by their dbs and names.
pub(in crate::cli) fn with_name_filter(command: Command) -> Command {
    command
        .arg(
            many(
                "db",
                "N",
                "Only these dbs; repeat it or separate them by commas",
            )
            .value_delimiter(',')
            .value_parser(value_parser!(u32)),
        )
        .arg(many(
            "key",
            "GLOB",
            "Only keys that match, as KEYS matches; repeat it for more",
        ))
        .arg(many(
            "key-regex",
            "REGEX",
            "Only keys that match this regular expression somewhere",
        ))
        .arg(many("not-key", "GLOB", "No keys that match"))
        .arg(many(
            "not-key-regex",
            "REGEX",
            "No keys that match this regular expression",
        ))
        .arg(
            Arg::new("functions")
                .long("functions")
                .action(ArgAction::SetTrue)
                .help("Take function libraries and scripts along although keys are selected")
                .help_heading(SELECTION),
        )
}

fn many(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .action(ArgAction::Append)
        .help(help)
        .help_heading(SELECTION)
}

fn one(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    many(name, value, help).action(ArgAction::Set)
}

/// The filter that was typed; TTLs count from `now_ms`.
///
/// # Errors
/// A text that cannot be read.
pub(in crate::cli) fn filter(matches: &ArgMatches, now_ms: UnixMs) -> Result<Filter, ConfigError> {
    let types = matches.get_many::<String>("type").into_iter().flatten();
    let types = types.filter_map(|name| KeyType::ALL.into_iter().find(|of| of.name() == name));
    let types: BTreeSet<_> = types.collect();
    Ok(Filter {
        types: (!types.is_empty()).then_some(types),
        ttl: ttl(matches, now_ms)?,
        size: size(matches)?,
        ..name_filter(matches)?
    })
}

/// The filter by dbs and names that was typed.
///
/// # Errors
/// A text that cannot be read.
pub(in crate::cli) fn name_filter(matches: &ArgMatches) -> Result<Filter, ConfigError> {
    let texts = |name| matches.get_many::<String>(name).into_iter().flatten();
    let dbs = matches.get_many::<u32>("db");
    let patterns = |glob, regex| {
        let globs = texts(glob).map(|text| Ok(KeyPattern::glob(text)));
        let regexes = texts(regex).map(|text| {
            let pattern = KeyPattern::regex(text);
            pattern.map_err(|error| unusable(regex, error.to_string(), "write it as for grep -E"))
        });
        globs.chain(regexes).collect::<Result<Vec<_>, _>>()
    };
    Ok(Filter {
        dbs: dbs.map(|dbs| dbs.copied().map(Db).collect()),
        keys: patterns("key", "key-regex")?,
        not_keys: patterns("not-key", "not-key-regex")?,
        functions: matches.get_flag("functions"),
        ..Filter::default()
    })
}

fn ttl(matches: &ArgMatches, now_ms: UnixMs) -> Result<Option<Ttl>, ConfigError> {
    match matches.get_one::<String>("ttl").map(String::as_str) {
        Some("none") => return Ok(Some(Ttl::None)),
        Some("some") => return Ok(Some(Ttl::Some)),
        Some(_) => return Ok(Some(Ttl::Within(UnixMs::MIN..now_ms))),
        None => {}
    }
    let at = |name| {
        let Some(text) = matches.get_one::<String>(name) else {
            return Ok(None);
        };
        let duration =
            parse_duration(text).map_err(|why| unusable(name, why, "write 30s, 5m, 2h, 7d"))?;
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Ok(Some(now_ms.saturating_add(ms)))
    };
    Ok(match (at("ttl-min")?, at("ttl-max")?) {
        (None, None) => None,
        (min, max) => {
            let end = max.map_or(UnixMs::MAX, |max| max.saturating_add(1));
            Some(Ttl::Within(min.unwrap_or(UnixMs::MIN)..end))
        }
    })
}

fn size(matches: &ArgMatches) -> Result<Option<std::ops::RangeInclusive<u64>>, ConfigError> {
    let bytes = |name| match matches.get_one::<String>(name) {
        None => Ok(None),
        Some(text) => parse_size(text)
            .map(Some)
            .map_err(|why| unusable(name, why, "write 512, 64kb, 1.5mb, 2GiB")),
    };
    Ok(match (bytes("size-min")?, bytes("size-max")?) {
        (None, None) => None,
        (min, max) => Some(min.unwrap_or(0)..=max.unwrap_or(u64::MAX)),
    })
}

/// A size that has a default, at least `min` bytes.
///
/// # Errors
/// A text that is no size, or too small a one.
pub(in crate::cli) fn bytes(
    matches: &ArgMatches,
    flag: &str,
    min: u64,
) -> Result<usize, ConfigError> {
    let text = matches.get_one::<String>(flag).map_or("", String::as_str);
    let next = format!("write a size of at least {min} bytes, such as 64kb");
    let size = parse_size(text).map_err(|why| unusable(flag, why, &next))?;
    match usize::try_from(size) {
        Ok(size) if size as u64 >= min => Ok(size),
        _ => Err(unusable(flag, format!("{text} is out of range"), &next)),
    }
}

pub(super) fn unusable(flag: &str, why: String, next: &str) -> ConfigError {
    ConfigError::new(format!("--{flag} cannot be used"), why, next)
}
