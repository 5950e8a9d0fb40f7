//! `keyferry verify`.

use std::{fmt::Write as _, sync::Arc};

use clap::Command;
use indicatif::{HumanBytes, HumanCount};

use crate::{
    cli::{
        Exit, args,
        columns::columns,
        consent,
        diagnostics::Diagnostic,
        meter,
        output::{print, print_json, rows},
        task::Task,
    },
    config::{SourceConfig, TargetConfig},
    pipeline::link_config,
    repair::{self, Action, Step},
    sync::{SnapshotChannel, SnapshotOptions},
    verify::{self, Method, Outcome, Progress, RepairSummary, Summary, Verdict},
};

/// Pairs of connections, unless anything else is said. With fewer both servers wait for each other:
/// every page is asked about several times.
const LANES: usize = 4;

const LONG_ABOUT: &str = "\
Compares both sides key by key: types, values, expiries, streams with their groups, function \
libraries, in both directions. What differs is read again in rounds before it counts. The summary \
goes to stdout, everything else to stderr; --report names every difference.";

pub(in crate::cli) fn command() -> Command {
    let command = Command::new("verify")
        .about("Prove that source and target hold the same, or name every difference")
        .long_about(LONG_ABOUT);
    let command = args::verify::with_flags(command);
    args::with_settings_of_verify(command, &args::verify::SETTINGS)
        .mut_arg("lanes", |arg| {
            arg.help(format!(
                "Pairs of connections over which keys are compared [default: {LANES}]"
            ))
        })
        .mut_arg("max-keys-per-second", |arg| {
            arg.help("Keys of each side that are read in a second, at the most")
        })
        .mut_arg("max-bytes-per-second", |arg| {
            arg.help("Bytes that are read from both sides in a second, at the most")
        })
        .mut_arg("yes", |arg| arg.help("Do not ask before --repair writes"))
}

pub(in crate::cli) fn run(task: &Task<'_>) -> Result<Exit, Diagnostic> {
    let source = SourceConfig::of(&task.settings)?;
    let target = TargetConfig::of(&task.settings)?;
    source.refuse_masked()?;
    target.refuse_masked()?;
    target.refuse_source(&source)?;
    let mut verification = args::verify::verification(task.matches, &source, &target)?;
    verification.method = method(task, &source, &target);
    if !task.settings.is_given("lanes") {
        verification.lanes = LANES;
    }
    let consent = Consent::of(task, &target)?;
    let progress = Arc::new(Progress::default());
    let stopped = |_: &str| verify::Error::Interrupted.into();
    let (summary, steps) = task.block_on_until(stopped, async {
        let display = meter::Display::start(&task.talk, &task.screen, &progress);
        let outcome = verify::verify(&verification, Arc::clone(&progress)).await?;
        let done = put_right(task, &target, &consent, outcome).await;
        display.finish();
        done
    })?;
    if let Some(steps) = steps {
        print(plan_text(&steps).as_bytes())?;
    }
    tell(task, &summary)
}

/// What is asked before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// Nothing is written.
    Unneeded,
    /// It was agreed to beforehand.
    Given,
    /// A person at the terminal is asked.
    Ask,
}

impl Consent {
    /// # Errors
    /// A repair is asked for, `--yes` is not given, and there is no terminal to ask on.
    fn of(task: &Task<'_>, target: &TargetConfig) -> Result<Consent, Diagnostic> {
        if !task.matches.get_flag("repair") || task.matches.get_flag("dry-run") {
            return Ok(Consent::Unneeded);
        }
        match target.yes {
            true => Ok(Consent::Given),
            false if consent::may_ask(&task.screen) => Ok(Consent::Ask),
            false => Err(Diagnostic::usage(
                "--repair needs --yes",
                "it writes to the target, and there is no terminal to ask on",
                "add --yes if that is meant, or see the plan with --dry-run",
            )),
        }
    }

    /// Whether `steps` may be done.
    fn to(self, task: &Task<'_>, target: &TargetConfig, steps: &[Step]) -> bool {
        let count = |action| steps.iter().filter(|step| step.action == action).count() as u64;
        match self {
            Consent::Unneeded => false,
            Consent::Given => true,
            Consent::Ask => consent::ask(
                &task.screen,
                &format!(
                    "{} keys and libraries on the target {} will be overwritten, {} expiries set, {} keys \
                     removed.",
                    HumanCount(count(Action::Copy)),
                    target.node.endpoint,
                    HumanCount(count(Action::SetExpiry)),
                    HumanCount(count(Action::Remove)),
                ),
            ),
        }
    }
}

/// Puts right what differs, if that is wanted, and completes the report. The plan, where only that
/// is wanted.
async fn put_right(
    task: &Task<'_>,
    target: &TargetConfig,
    consent: &Consent,
    outcome: Outcome,
) -> Result<(Summary, Option<Vec<Step>>), Diagnostic> {
    let Outcome {
        mut summary,
        differing,
        mut report,
        mut examiner,
    } = outcome;
    let mut planned = None;
    if task.matches.get_flag("repair") {
        let deletes = task.matches.get_flag("repair-delete");
        let differing = differing.ok_or_else(|| {
            Diagnostic::usage(
                "--repair has too many keys to put right",
                "more than 256 MiB of names of keys differ",
                "copy everything with keyferry sync, or select keys with --key",
            )
        })?;
        let steps = repair::plan(differing, deletes);
        if task.matches.get_flag("dry-run") {
            planned = Some(steps);
        } else if !steps.is_empty() && consent.to(task, target, &steps) {
            let examiner = &mut examiner;
            let done = repair::repair(target, deletes, &steps, examiner, &mut report).await?;
            summary.repaired(done);
        }
    }
    if let Some(report) = report {
        report.finish(&summary)?;
    }
    Ok((summary, planned))
}

/// What a repair would do, a line for each key.
fn plan_text(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |mut text, step| {
        let kinds: Vec<&str> = step.kinds.iter().map(|kind| kind.name()).collect();
        // The whole name, however long: whoever reads the plan may have to find the key.
        let (action, key) = (step.action.name(), step.key.escape_ascii());
        let _ = match step.is_key() {
            true => writeln!(
                text,
                "{action} db {} \"{key}\" ({})",
                step.db,
                kinds.join(", ")
            ),
            false => writeln!(text, "{action} function library \"{key}\""),
        };
        text
    })
}

/// How keys that differ are found.
fn method(task: &Task<'_>, source: &SourceConfig, target: &TargetConfig) -> Method {
    let is_snapshot = task
        .matches
        .get_one::<String>("method")
        .is_some_and(|of| of == "snapshot");
    if !is_snapshot {
        return Method::Scan;
    }
    let options = SnapshotOptions {
        rdb_no_compress: true,
        rdb_only: true,
        channel: SnapshotChannel::Off,
    };
    let target = SourceConfig {
        node: target.node.clone(),
        connect_timeout: target.connect_timeout,
        source_timeout: target.silence_max,
        retry_for: target.retry_for,
        ..source.clone()
    };
    Method::Snapshot {
        source: Box::new(link_config(source, options)),
        target: Box::new(link_config(&target, options)),
        dir: task.matches.get_one("snapshot-dir").cloned(),
    }
}

fn tell(task: &Task<'_>, summary: &Summary) -> Result<Exit, Diagnostic> {
    match task.talk.json {
        true => print_json(summary)?,
        false => print(text(summary).as_bytes())?,
    }
    Ok(match summary.result {
        Verdict::Equal => Exit::Success,
        Verdict::Different | Verdict::Incomplete => Exit::Differences,
    })
}

fn text(summary: &Summary) -> String {
    let count = |n: u64| HumanCount(n).to_string();
    let seconds = std::time::Duration::from_millis(summary.duration_ms);
    let mut table = vec![
        ("result", result(summary)),
        ("source", summary.source.clone()),
        ("target", summary.target.clone()),
        ("duration", humantime::format_duration(seconds).to_string()),
        (
            "keys",
            format!(
                "{} compared, {} of the target looked up, {} page by page",
                count(summary.keys_compared),
                count(summary.keys_looked_up),
                count(summary.large_keys)
            ),
        ),
        ("read", HumanBytes(summary.bytes_read).to_string()),
    ];
    if summary.rounds > 0 {
        let (rounds, settled) = (summary.rounds, count(summary.settled));
        let said = format!("{rounds} rounds; {settled} keys differed at first and are equal");
        table.push(("again", said));
    }
    let named = |counts: Vec<(&str, u64)>| {
        let some = counts.into_iter().filter(|(_, n)| *n > 0);
        let said: Vec<String> = some
            .map(|(name, n)| format!("{} {name}", count(n)))
            .collect();
        said.join(", ")
    };
    let undecided = named(
        summary
            .undecided
            .iter()
            .map(|(name, n)| (*name, *n))
            .collect(),
    );
    if !undecided.is_empty() {
        table.push(("undecided", undecided));
    }
    let mut left_out = named(
        summary
            .not_looked_at
            .iter()
            .map(|(name, n)| (*name, *n))
            .collect(),
    );
    if summary.depth != "full" {
        let _ = write!(
            left_out,
            "{}values (--depth {})",
            comma(&left_out),
            summary.depth
        );
    }
    if !left_out.is_empty() {
        table.push(("left out", left_out));
    }
    if let Some(repair) = &summary.repair {
        table.push(("repaired", repaired(repair)));
    }
    let mut text = rows(&table);
    text.push_str(&differences(summary));
    text
}

fn comma(before: &str) -> &'static str {
    if before.is_empty() { "" } else { ", " }
}

fn result(summary: &Summary) -> String {
    let of = &summary.differences;
    match summary.result {
        Verdict::Equal => "equal".to_owned(),
        Verdict::Incomplete => {
            "no difference found, but nothing can be said about some keys".to_owned()
        }
        Verdict::Different => format!(
            "{} differences in {} keys and libraries",
            HumanCount(of.total),
            HumanCount(of.keys)
        ),
    }
}

fn repaired(repair: &RepairSummary) -> String {
    let done = [
        ("copied", repair.copied),
        ("expiries set", repair.expiries_set),
        ("removed", repair.removed),
        ("function libraries", repair.functions),
        ("needed nothing", repair.skipped),
        ("left alone", repair.left),
    ];
    let some = done.into_iter().filter(|(_, n)| *n > 0);
    let said: Vec<String> = some
        .map(|(name, n)| format!("{} {name}", HumanCount(n)))
        .collect();
    let still = HumanCount(repair.remaining);
    format!("{}; {still} differences are left", said.join(", "))
}

/// The differences by kind, db, type and prefix.
fn differences(summary: &Summary) -> String {
    let of = &summary.differences;
    if of.total == 0 {
        return String::new();
    }
    let by_db = of.by_db.iter().map(|(db, n)| (format!("db {db}"), *n));
    let own = |(name, n): (&&str, &u64)| ((*name).to_owned(), *n);
    let groups: [Vec<(String, u64)>; 4] = [
        of.by_kind.iter().map(own).collect(),
        by_db.collect(),
        of.by_type.iter().map(own).collect(),
        of.by_prefix
            .shown()
            .into_iter()
            .take(20)
            .map(|(prefix, n)| (format!("\"{prefix}\""), n))
            .collect(),
    ];
    let mut text = String::new();
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let lines: Vec<Vec<String>> = group
            .iter()
            .map(|(name, n)| vec![format!("  {name}"), HumanCount(*n).to_string()])
            .collect();
        text.push('\n');
        text.push_str(&columns(&lines, 1));
    }
    text
}

impl From<repair::Error> for Diagnostic {
    fn from(error: repair::Error) -> Diagnostic {
        match error {
            repair::Error::Verify(error) => error.into(),
            repair::Error::Write(error) => Diagnostic::from(&error),
        }
    }
}

impl From<verify::Error> for Diagnostic {
    fn from(error: verify::Error) -> Diagnostic {
        let exit = match &error {
            verify::Error::Server { side, .. } => match side {
                verify::Side::Source => Exit::Source,
                verify::Side::Target => Exit::Target,
            },
            verify::Error::UnusableReport { .. }
            | verify::Error::OtherReport { .. }
            | verify::Error::SameServer => Exit::Usage,
            verify::Error::Report { .. }
            | verify::Error::Spool { .. }
            | verify::Error::SyncStatus { .. }
            | verify::Error::Interrupted => Exit::Local,
        };
        Diagnostic::of(exit, &error.to_string(), &error.why(), error.next())
    }
}
