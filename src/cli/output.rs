//! What goes to stdout: data, and nothing else.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, Write as _},
    time::Duration,
};

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::diagnostics::Diagnostic;
use crate::pipeline::{RESTORE, Summary, SummaryResult};

/// Prints `data`. A reader that has gone away has seen enough.
///
/// # Errors
/// stdout cannot be written, for instance because a disk is full.
pub(super) fn print(data: &[u8]) -> Result<(), Diagnostic> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Diagnostic::local("stdout cannot be written", &error))
        }
        _ => Ok(()),
    }
}

/// Prints the summary, as a table or as one JSON object on one line.
///
/// # Errors
/// As [`print`].
pub(super) fn summary(summary: &Summary, json: bool) -> Result<(), Diagnostic> {
    match json {
        true => print_json(summary),
        false => print(table(summary).as_bytes()),
    }
}

/// Prints one JSON object on one line.
///
/// # Errors
/// As [`print`].
pub(super) fn print_json(object: &impl Serialize) -> Result<(), Diagnostic> {
    let object = serde_json::to_string(object)
        .map_err(|error| Diagnostic::local("the summary cannot be printed", &error.into()))?;
    print((object + "\n").as_bytes())
}

/// Names and what they have, one a line.
pub(super) fn rows(rows: &[(&str, String)]) -> String {
    rows.iter().fold(String::new(), |mut table, (name, text)| {
        let _ = writeln!(table, "{name:<10} {text}");
        table
    })
}

fn table(summary: &Summary) -> String {
    let mut table: Vec<(&str, String)> = vec![
        ("result", result(summary)),
        ("source", summary.source.clone()),
        ("target", summary.target.clone()),
        ("mode", summary.mode.to_owned()),
        ("duration", durations(summary)),
    ];
    let total = summary.keys.get("total").copied().unwrap_or_default();
    table.push((
        "keys",
        format!(
            "{} written of {} read",
            HumanCount(total),
            HumanCount(summary.keys_read)
        ),
    ));
    let by_type = summary
        .keys
        .iter()
        .filter(|(name, keys)| **name != "total" && **keys > 0);
    table.extend(by_type.map(|(name, keys)| (*name, format!("  {}", HumanCount(*keys)))));
    table.extend([
        ("functions", HumanCount(summary.functions).to_string()),
        ("skipped", skipped(summary)),
        (
            "bytes",
            format!(
                "{} read, {} written",
                HumanBytes(summary.bytes_read),
                HumanBytes(summary.bytes_written)
            ),
        ),
        (
            "errors",
            format!(
                "{} error replies, {} retries, {} reconnects, {} divergences",
                HumanCount(summary.errors),
                HumanCount(summary.retries),
                HumanCount(summary.reconnects),
                HumanCount(summary.diverged)
            ),
        ),
    ]);
    if summary.mode != RESTORE {
        table.extend(of_stream(summary));
    }
    if summary.expiries_held > 0 {
        table.push((
            "held",
            format!(
                "{} expiries are still shifted",
                HumanCount(summary.expiries_held)
            ),
        ));
    }
    rows(&table)
}

/// What there is to tell only where a source is followed.
fn of_stream(summary: &Summary) -> [(&'static str, String); 4] {
    let replid = summary.replid.clone();
    [
        ("commands", HumanCount(summary.commands).to_string()),
        ("replid", replid.unwrap_or_else(|| "unknown".into())),
        ("offsets", offsets(summary)),
        ("lag", lag(summary)),
    ]
}

fn result(summary: &Summary) -> String {
    match summary.result {
        SummaryResult::Complete => "complete".into(),
        SummaryResult::Stopped => "stopped".into(),
        SummaryResult::Failed => {
            let what = summary.error.as_ref().map_or("", |error| &error.what);
            format!("failed: {}", what.lines().next().unwrap_or_default())
        }
    }
}

fn durations(summary: &Summary) -> String {
    let seconds = |ms| format!("{:.1} s", Duration::from_millis(ms).as_secs_f64());
    let mut text = seconds(summary.duration_ms);
    let phases = [
        ("waiting", summary.snapshot_wait_ms),
        ("snapshot", summary.snapshot_ms),
        ("catching up", summary.catch_up_ms),
        ("following", summary.following_ms),
    ];
    let phases: Vec<_> = phases
        .iter()
        .filter(|(_, ms)| *ms > 0)
        .map(|(name, ms)| format!("{name} {}", seconds(*ms)))
        .collect();
    if !phases.is_empty() {
        let _ = write!(text, " ({})", phases.join(", "));
    }
    text
}

fn skipped(summary: &Summary) -> String {
    let total: u64 = summary.skipped.values().sum();
    let reasons: Vec<_> = summary
        .skipped
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(name, n)| format!("{name} {}", HumanCount(*n)))
        .collect();
    match reasons.is_empty() {
        true => total.to_string(),
        false => format!("{} ({})", HumanCount(total), reasons.join(", ")),
    }
}

fn offsets(summary: &Summary) -> String {
    let offsets = [
        ("snapshot", summary.offset_snapshot),
        ("source", summary.offset_source),
        ("received", summary.offset_received),
        ("applied", summary.offset_applied),
        ("acked", summary.offset_acked),
    ];
    let known: Vec<_> = offsets
        .iter()
        .filter_map(|(name, offset)| Some(format!("{name} {}", (*offset)?)))
        .collect();
    match known.is_empty() {
        true => "unknown".into(),
        false => known.join(", "),
    }
}

fn lag(summary: &Summary) -> String {
    match (summary.lag_bytes, summary.lag_ms) {
        (Some(bytes), Some(ms)) => {
            format!(
                "{} bytes, {:.1} s",
                HumanCount(bytes),
                Duration::from_millis(ms).as_secs_f64()
            )
        }
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{Layer, Origin, SETTINGS, Settings, SyncConfig},
        pipeline::{Ended, Error, Outcome, Phase, Progress, Route, SkipReason},
        rdb::KeyType,
    };

    fn sample_summary(result: Result<Ended, Error>) -> Summary {
        let mut layer = Layer::default();
        for (name, text) in [("source", "redis://u:hunter2@a"), ("target", "redis://b")] {
            let setting = SETTINGS.iter().find(|s| s.name == name).unwrap();
            layer.set(setting, text, Origin::Flag);
        }
        let config = SyncConfig::of(&Settings::of([layer])).unwrap_or_else(|e| panic!("{e}"));
        let progress = Progress::default();
        progress.keys_read.set(1_240);
        progress.count_keys_written(KeyType::Hash, 1_234);
        progress.count_skipped(SkipReason::Expired, 6);
        progress.observe_source_offset(900);
        progress.applied_offset.set(900);
        let mut sample = progress.sample();
        sample.elapsed = Duration::from_millis(12_340);
        sample.durations = [(Phase::Snapshot, Duration::from_millis(10_000))].into();
        let outcome = Outcome {
            replid: Some("r".repeat(40)),
            snapshot_offset: Some(100),
            result,
        };
        Summary::of(Route::of(&config.migration), &sample, &outcome)
    }

    #[test]
    fn the_table_shows_what_matters() {
        let table = table(&sample_summary(Ok(Ended::Complete)));
        for line in [
            "result     complete",
            "source     a:6379",
            "duration   12.3 s (snapshot 10.0 s)",
            "keys       1,234 written of 1,240 read",
            "hash         1,234",
            "skipped    6 (expired 6)",
            "offsets    snapshot 100, source 900, applied 900",
            "lag        0 bytes, 0.0 s",
        ] {
            assert!(table.lines().any(|shown| shown == line), "{line}\n{table}");
        }
    }

    #[test]
    fn json_has_every_documented_field() {
        let error = Error::Interrupted;
        let next = error.next();
        let json = serde_json::to_value(sample_summary(Err(error))).unwrap();
        assert_eq!(json["result"], "failed");
        assert_eq!(json["error"]["side"], "local");
        assert_eq!(json["error"]["next"], next);
        assert_eq!(json["keys"]["hash"], 1_234);
        assert_eq!(json["keys"]["total"], 1_234);
        assert_eq!(json["keys"]["string"], 0);
        assert_eq!(json["skipped"]["expired"], 6);
        assert_eq!(json["lag_bytes"], 0);
        assert_eq!(json["offset_acked"], serde_json::Value::Null);
        let docs = include_str!("../../docs/cli.md");
        for (name, value) in json.as_object().unwrap() {
            assert!(
                docs.contains(&format!("`{name}`")),
                "docs/cli.md lacks {name}"
            );
            for inner in value.as_object().iter().flat_map(|object| object.keys()) {
                let dotted = format!("`{name}.{inner}`");
                assert!(docs.contains(&dotted), "docs/cli.md lacks {dotted}");
            }
        }
        assert_eq!(sample_summary(Ok(Ended::Stopped)).error, None);
    }
}
