//! `keyferry rdb info`.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Arg, Command, value_parser};
use indicatif::{HumanBytes, HumanCount};

use super::{Task, now_ms};
use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, with_filter, with_input},
            with_some_settings,
        },
        columns::columns,
        diagnostics::Diagnostic,
        output::{print, print_json, rows},
    },
    dump::{ByteString, Info, InfoOptions, info},
    keyspace::{Escaped, UnixMs},
    rdb::Limits,
};

const LONG_ABOUT: &str = "\
Says who wrote an RDB and when, and counts what is in it: keys by db, type and encoding, expiries, the \
largest values, functions, scripts, data of modules. Values are passed over, not decoded. Sizes are \
those of the values in the file; `keyferry rdb analyze` estimates memory.";

pub(super) fn command() -> Command {
    let command = Command::new("info")
        .about("Say what an RDB holds and who wrote it")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("top")
                .long("top")
                .value_name("N")
                .value_parser(value_parser!(u32).range(..=1_000_000))
                .default_value("10")
                .help("Name so many of the largest values"),
        );
    let settings = [&SOURCE_SETTINGS[..], &["json"]].concat();
    with_some_settings(with_filter(with_input(command)), &settings)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let top = task.matches.get_one::<u32>("top").copied().unwrap_or(0);
    let options = InfoOptions {
        largest: top as usize,
        now_ms: now_ms(),
    };
    let input = task.input_as_is()?;
    let found = task.read_input(&input, Limits::default(), async |reader| {
        Ok(info(reader, options).await?)
    })?;
    match task.talk.json {
        true => print_json(&found)?,
        false => print(text(&found).as_bytes())?,
    }
    Ok(Exit::Success)
}

fn text(info: &Info) -> String {
    let mut text = rows(&head(info));
    let mut section = |title: &str, header: &[&str], left: usize, rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            let header = header.iter().map(|&name| name.to_owned()).collect();
            let table = [vec![header], rows].concat();
            let _ = write!(text, "\n{title}\n{}", columns(&table, left));
        }
    };
    section(
        "dbs",
        &["db", "keys", "expire", "bytes", "share", "said"],
        0,
        dbs(info),
    );
    section(
        "types",
        &["type", "keys", "expire", "bytes", "share"],
        1,
        types(info),
    );
    let header = ["type", "encoding", "rdb type", "keys", "bytes", "share"];
    section("encodings", &header, 2, encodings(info));
    section(
        "modules",
        &["module", "keys", "bytes", "share"],
        1,
        modules(info),
    );
    section(
        "largest values",
        &["bytes", "type", "encoding", "db", "key"],
        5,
        largest(info),
    );
    section(
        "functions",
        &["engine", "name", "bytes"],
        2,
        functions(info),
    );
    text
}

fn head(info: &Info) -> Vec<(&'static str, String)> {
    let writer = info.writer.as_ref();
    let writer = writer.map(|by| format!(", written by {} {}", by.server, shown(&by.version)));
    let mut head = vec![
        ("input", info.input.clone()),
        (
            "RDB",
            format!(
                "{} version {}{}",
                info.rdb,
                info.rdb_version,
                writer.unwrap_or_default()
            ),
        ),
    ];
    if let Some(at) = info.created_at_ms {
        head.push(("created", time(at)));
    }
    let other = info.aux.iter().filter(|aux| !is_shown(&aux.name.0));
    let other: Vec<_> = other
        .map(|aux| format!("{}={}", shown(&aux.name), shown(&aux.value)))
        .collect();
    if !other.is_empty() {
        head.push(("AUX", other.join(" ")));
    }
    head.push(("bytes", bytes(info)));
    head.push(("checksum", info.checksum.to_owned()));
    let not_selected = match info.keys_not_selected {
        0 => String::new(),
        keys => format!(", {} not selected", HumanCount(keys)),
    };
    head.push(("keys", format!("{}{not_selected}", HumanCount(info.keys))));
    head.push(("expiry", expiry(info)));
    let fields = info.expiry.fields;
    if fields > 0 {
        let hashes = HumanCount(info.expiry.keys_with_field_expiry);
        head.push((
            "fields",
            format!("{} expire, in {hashes} hashes", HumanCount(fields)),
        ));
    }
    for (name, keys) in [("LRU", info.keys_with_idle), ("LFU", info.keys_with_freq)] {
        if keys > 0 {
            head.push((name, format!("{} keys", HumanCount(keys))));
        }
    }
    let lzf = &info.lzf;
    if lzf.values > 0 {
        let (values, stored) = (HumanCount(lzf.values), HumanBytes(lzf.bytes));
        let inflated = HumanBytes(lzf.bytes_inflated);
        head.push(("LZF", format!("{values} values, {stored} for {inflated}")));
    }
    if info.scripts > 0 {
        head.push(("scripts", HumanCount(info.scripts).to_string()));
    }
    if !info.module_aux.is_empty() {
        head.push(("module aux", info.module_aux.join(" ")));
    }
    head.extend(rarities(info));
    head
}

/// What only few files have.
fn rarities(info: &Info) -> Vec<(&'static str, String)> {
    let count = |count: u64| HumanCount(count).to_string();
    let mut rows = Vec::new();
    for class in &info.metadata {
        rows.push((
            "metadata",
            format!("{} of {} keys", class.class, count(class.keys)),
        ));
    }
    if info.slots.slots > 0 {
        let (slots, keys) = (count(info.slots.slots), count(info.slots.keys));
        rows.push((
            "slots",
            format!("{slots} with {keys} keys, as the file says"),
        ));
    }
    for import in &info.slot_imports {
        let ranges = import
            .ranges
            .iter()
            .map(|(first, last)| format!("{first}-{last}"));
        let ranges: Vec<_> = ranges.collect();
        rows.push((
            "import",
            format!("{}: slots {}", shown(&import.job), ranges.join(" ")),
        ));
    }
    for (name, found) in [
        ("members", info.member_expiries),
        ("sticky", info.sticky_keys),
    ] {
        if found > 0 {
            let what = if name == "members" {
                "members expire"
            } else {
                "keys"
            };
            rows.push((name, format!("{} {what}", count(found))));
        }
    }
    for index in &info.search_indexes {
        rows.push(("index", shown(index)));
    }
    rows
}

/// What has a line of its own.
fn is_shown(name: &[u8]) -> bool {
    let own: [&[u8]; 4] = [b"redis-ver", b"valkey-ver", b"df-ver", b"ctime"];
    own.iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn bytes(info: &Info) -> String {
    let mut text = format!("{} ({})", HumanCount(info.bytes), HumanBytes(info.bytes));
    if info.bytes_behind > 0 {
        let _ = write!(text, ", {} more follow", HumanCount(info.bytes_behind));
    }
    if info.input_bytes > 0 && info.input_bytes < info.bytes {
        let _ = write!(text, ", read from {}", HumanBytes(info.input_bytes));
    }
    text
}

fn expiry(info: &Info) -> String {
    let expiry = &info.expiry;
    let (Some(earliest), Some(latest)) = (expiry.earliest_ms, expiry.latest_ms) else {
        return "no key expires".into();
    };
    let mut text = format!("{} keys", HumanCount(expiry.keys));
    if let Some(expired) = expiry.expired_at_creation {
        let _ = write!(text, ", {} had expired when written", HumanCount(expired));
    }
    let now = HumanCount(expiry.expired_now);
    let _ = write!(
        text,
        ", {now} by now; {} to {}",
        time(earliest),
        time(latest)
    );
    text
}

fn dbs(info: &Info) -> Vec<Vec<String>> {
    let is_whole = info.keys_not_selected == 0;
    let row = |db: &crate::dump::DbInfo| {
        let said = match (db.hint_keys, db.hint_expires) {
            (Some(keys), Some(expires)) if is_whole && (keys, expires) != (db.keys, db.expires) => {
                format!("{} keys, {} expire", HumanCount(keys), HumanCount(expires))
            }
            _ => String::new(),
        };
        vec![
            db.db.to_string(),
            HumanCount(db.keys).to_string(),
            HumanCount(db.expires).to_string(),
            HumanBytes(db.bytes).to_string(),
            share(db.bytes, info),
            said,
        ]
    };
    info.dbs.iter().map(row).collect()
}

fn types(info: &Info) -> Vec<Vec<String>> {
    let row = |of: &crate::dump::TypeInfo| {
        vec![
            of.name.to_owned(),
            HumanCount(of.keys).to_string(),
            HumanCount(of.expires).to_string(),
            HumanBytes(of.bytes).to_string(),
            share(of.bytes, info),
        ]
    };
    info.types.iter().map(row).collect()
}

fn encodings(info: &Info) -> Vec<Vec<String>> {
    let row = |of: &crate::dump::EncodingInfo| {
        vec![
            of.name.to_owned(),
            of.encoding.to_owned(),
            of.rdb_type.to_string(),
            HumanCount(of.keys).to_string(),
            HumanBytes(of.bytes).to_string(),
            share(of.bytes, info),
        ]
    };
    info.encodings.iter().map(row).collect()
}

fn modules(info: &Info) -> Vec<Vec<String>> {
    let row = |of: &crate::dump::ModuleInfo| {
        vec![
            of.module.clone(),
            HumanCount(of.keys).to_string(),
            HumanBytes(of.bytes).to_string(),
            share(of.bytes, info),
        ]
    };
    info.modules.iter().map(row).collect()
}

fn largest(info: &Info) -> Vec<Vec<String>> {
    let row = |large: &crate::dump::LargeKey| {
        vec![
            HumanBytes(large.bytes).to_string(),
            large.name.to_owned(),
            large.encoding.to_owned(),
            large.place.db.to_string(),
            Escaped(&large.place.key.0).to_string(),
        ]
    };
    info.largest.iter().map(row).collect()
}

fn functions(info: &Info) -> Vec<Vec<String>> {
    let said = |text: &Option<String>| match text {
        Some(text) => text.escape_debug().to_string(),
        None => "?".into(),
    };
    let row = |of: &crate::dump::FunctionInfo| {
        vec![
            said(&of.engine),
            said(&of.name),
            HumanBytes(of.bytes).to_string(),
        ]
    };
    info.functions.iter().map(row).collect()
}

/// The part that bytes have in those of all values that were counted.
fn share(bytes: u64, info: &Info) -> String {
    let all: u64 = info.types.iter().map(|of| of.bytes).sum();
    match all {
        0 => String::new(),
        all => format!("{:.1} %", bytes as f64 * 100.0 / all as f64),
    }
}

/// A short text as it is, other bytes escaped.
fn shown(text: &ByteString) -> String {
    text.0.escape_ascii().to_string()
}

/// A time as people read it; one that no clock shows as a number.
fn time(at: UnixMs) -> String {
    let since = u64::try_from(at).ok().map(Duration::from_millis);
    let time: Option<SystemTime> = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    match time {
        Some(time) if at < 253_402_300_800_000 => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => format!("{at} ms"),
    }
}
