//! `keyferry rdb check`.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::{
    cli::{
        Exit,
        args::{
            rdb::{SOURCE_SETTINGS, with_filter, with_input},
            with_some_settings,
        },
        diagnostics::Diagnostic,
        output::{print, print_json},
        task::Task,
    },
    dump::{ByteString, CheckOptions, Checked, Damage, DamageKind, Input, Place, Remark, check},
    keyspace::Escaped,
    rdb::Limits,
};

const LONG_ABOUT: &str = "\
Reads RDBs down to the last element and compares their checksums. Damage is what ends the reading; \
remarks are what can be read although a server would leave it out, correct it, or refuse the file \
for it. Exit code 1 when a file is damaged (with --strict also for remarks), 3 when one cannot be \
read at all.";

pub(super) fn command() -> Command {
    let command = Command::new("check")
        .about("Read RDBs to the last element and say where they are damaged")
        .long_about(LONG_ABOUT)
        .arg(
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("Exit with 1 for remarks too"),
        )
        .arg(
            Arg::new("duplicate-keys")
                .long("duplicate-keys")
                .action(ArgAction::SetTrue)
                .help("Look for keys that are there twice; takes 10 to 30 bytes of memory a key"),
        );
    let command = with_input(command).mut_arg("file", |file| {
        file.num_args(0..)
            .action(ArgAction::Append)
            .value_name("FILE...")
    });
    let settings = [&SOURCE_SETTINGS[..], &["json"]].concat();
    with_some_settings(with_filter(command), &settings)
}

pub(super) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let inputs = task.inputs()?;
    let is_strict = task.matches.get_flag("strict");
    let mut worst = Exit::Success;
    for input in &inputs {
        let exit = match check_one(task, input) {
            Ok(report) => {
                match task.talk.json {
                    true => print_json(&report)?,
                    false => print(report.text().as_bytes())?,
                }
                report.exit(is_strict)
            }
            // The others can still be read.
            Err(error) if error.exit() == Exit::Source && inputs.len() > 1 => error.report(),
            Err(error) => return Err(error),
        };
        if exit as u8 > worst as u8 {
            worst = exit;
        }
    }
    Ok(worst)
}

fn check_one(task: &Task<'_>, input: &Input) -> Result<Report, Diagnostic> {
    let options = CheckOptions {
        duplicate_keys: task.matches.get_flag("duplicate-keys"),
    };
    task.read_input(input, Limits::default(), async |reader| {
        let checked = check(reader, options).await?;
        Ok(Report::of(reader.input().to_owned(), checked))
    })
}

/// What is shown about one input.
#[derive(Debug, Serialize)]
struct Report {
    input: String,
    result: &'static str,
    rdb: Option<&'static str>,
    rdb_version: Option<u16>,
    bytes: u64,
    bytes_behind: u64,
    keys: u64,
    last_key: Option<Place>,
    member_expiries: u64,
    checksum: Option<&'static str>,
    damage: Option<Damage>,
    remarks: Vec<Remark>,
    values_unsure: u64,
}

impl Report {
    fn of(input: String, checked: Checked) -> Report {
        let result = match (&checked.damage, checked.remarks.is_empty()) {
            (Some(_), _) => "damaged",
            (None, false) => "remarks",
            (None, true) => "ok",
        };
        Report {
            input,
            result,
            rdb: checked.header.map(|header| header.magic()),
            rdb_version: checked.header.map(|header| header.version),
            bytes: checked.bytes,
            bytes_behind: checked.bytes_behind,
            keys: checked.keys,
            last_key: checked.last_key,
            member_expiries: checked.member_expiries,
            checksum: checked.checksum.map(|checksum| checksum.name()),
            damage: checked.damage,
            remarks: checked.remarks,
            values_unsure: checked.values_unsure,
        }
    }

    fn exit(&self, is_strict: bool) -> Exit {
        match (&self.damage, self.remarks.is_empty()) {
            (Some(_), _) => Exit::Differences,
            (None, false) if is_strict => Exit::Differences,
            _ => Exit::Success,
        }
    }

    fn text(&self) -> String {
        let verdict = match (&self.damage, self.remarks.len()) {
            (Some(damage), _) => format!("{} at offset {}", verdict(damage), damage.offset),
            (None, 0) => "ok".into(),
            (None, _) => "readable, with remarks".into(),
        };
        let mut text = format!("{}: {verdict}\n", self.input);
        let mut row = |name: &str, said: String| {
            let _ = writeln!(text, "  {name:<10} {said}");
        };
        if let (Some(rdb), Some(version)) = (self.rdb, self.rdb_version) {
            let checksum = self.checksum.unwrap_or("not reached");
            row(
                "RDB",
                format!("{rdb} version {version}, checksum {checksum}"),
            );
        }
        let (keys, bytes) = (HumanCount(self.keys), HumanCount(self.bytes));
        match &self.damage {
            None => row(
                "read",
                format!("{keys} keys in {bytes} bytes ({})", HumanBytes(self.bytes)),
            ),
            Some(damage) => {
                row("damage", damage.what.clone());
                row("where", place_of(damage));
                row("keys", format!("{keys} could be read, in {bytes} bytes"));
                if let Some(last) = &self.last_key {
                    row("last key", shown(last));
                }
                row("then", after(damage).into());
            }
        }
        if self.member_expiries > 0 {
            let members = HumanCount(self.member_expiries);
            row("members", format!("{members} members expire"));
        }
        for remark in &self.remarks {
            let first = remark.first.as_ref();
            let first = first.map_or(String::new(), |place| format!("{}: ", shown(place)));
            let count = HumanCount(remark.count);
            row(
                "remark",
                format!("{} x {count}: {first}{}", remark.kind, remark.detail),
            );
        }
        if self.values_unsure > 0 {
            let values = HumanCount(self.values_unsure);
            row(
                "note",
                format!("{values} values are too long to be searched for duplicates"),
            );
        }
        text
    }
}

fn shown(place: &Place) -> String {
    format!("db {}, key {}", place.db, Escaped(&place.key.0))
}

fn place_of(damage: &Damage) -> String {
    let mut place = format!("offset {}, db {}", damage.offset, damage.db);
    if let Some(ByteString(key)) = &damage.key {
        let _ = write!(place, ", key {}", Escaped(key));
    }
    if let Some(byte) = damage.byte {
        let _ = write!(place, ", type or opcode {byte}");
    }
    place
}

fn verdict(damage: &Damage) -> &'static str {
    match damage.kind {
        DamageKind::Unsupported | DamageKind::Limit => "NOT READABLE",
        DamageKind::Truncated | DamageKind::Corrupt | DamageKind::Checksum => "DAMAGED",
    }
}

fn after(damage: &Damage) -> &'static str {
    match damage.kind {
        DamageKind::Checksum => {
            "all keys could be read; some byte of them is not what the server wrote"
        }
        DamageKind::Truncated => "the rest is missing",
        _ => "nothing in an RDB tells where the next key begins, so the rest cannot be read",
    }
}
