//! What a migration did, as told when it is over. The field names are a contract: `docs/cli.md`.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{Ended, Error, Outcome, Phase, Sample, Side};
use crate::{
    config::{Migration, Mode, TargetConfig},
    dump::Input,
};

/// How a migration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryResult {
    /// It went as far as it was asked to go.
    Complete,
    /// It was stopped, and all that was read is on the target.
    Stopped,
    /// It failed.
    Failed,
}

/// The mode of a route without a stream behind it.
pub const RESTORE: &str = "restore";

/// What was read, what was written, and how far it was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What was read: an endpoint, a file.
    pub source: String,
    /// The endpoint that was written.
    pub target: String,
    /// `full`, `full+incremental` or [`RESTORE`].
    pub mode: &'static str,
}

impl Route {
    /// The route of an RDB to a target.
    pub fn restored(input: &Input, target: &TargetConfig) -> Route {
        Route {
            source: input.to_string(),
            target: target.node.endpoint.to_string(),
            mode: RESTORE,
        }
    }

    /// The route of a migration.
    pub fn of(migration: &Migration) -> Route {
        Route {
            source: migration.source.node.endpoint.to_string(),
            target: migration.target.node.endpoint.to_string(),
            mode: match migration.mode {
                Mode::Full => "full",
                Mode::FullIncremental => "full+incremental",
            },
        }
    }
}

/// What a migration did. Serialises to the object `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How it ended.
    pub result: SummaryResult,
    /// Why it failed.
    pub error: Option<SummaryError>,
    /// The endpoint or file that was read.
    pub source: String,
    /// The endpoint that was written.
    pub target: String,
    /// `full`, `full+incremental` or `restore`.
    pub mode: &'static str,
    /// From start to end.
    pub duration_ms: u64,
    /// Waiting for the source to begin its snapshot.
    pub snapshot_wait_ms: u64,
    /// Receiving and writing the snapshot.
    pub snapshot_ms: u64,
    /// Applying what piled up meanwhile, releases of expiries included.
    pub catch_up_ms: u64,
    /// Following, until the stop.
    pub following_ms: u64,
    /// Keys of the snapshot written, by value type, and their `total`.
    pub keys: BTreeMap<&'static str, u64>,
    /// Keys read from the snapshot.
    pub keys_read: u64,
    /// Function libraries written.
    pub functions: u64,
    /// Commands of the stream applied.
    pub commands: u64,
    /// Keys and commands left out, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Bytes received from the source.
    pub bytes_read: u64,
    /// Bytes of the snapshot.
    pub snapshot_bytes: u64,
    /// Bytes sent to the target.
    pub bytes_written: u64,
    /// Error replies of the target, retried ones included.
    pub errors: u64,
    /// Commands sent again.
    pub retries: u64,
    /// Connections that were lost and opened again.
    pub reconnects: u64,
    /// Commands of the stream that found another state on the target than on the source.
    pub diverged: u64,
    /// Expiries that are still held on the target; not nil only after a failure.
    pub expiries_held: u64,
    /// The replication id of the source.
    pub replid: Option<String>,
    /// The offset the snapshot was taken at.
    pub offset_snapshot: Option<u64>,
    /// The last known offset of the source.
    pub offset_source: Option<u64>,
    /// Received up to here.
    pub offset_received: Option<u64>,
    /// Confirmed by the target up to here.
    pub offset_applied: Option<u64>,
    /// Told to the source.
    pub offset_acked: Option<u64>,
    /// `offset_source - offset_applied`.
    pub lag_bytes: Option<u64>,
    /// Age of the oldest byte not applied.
    pub lag_ms: Option<u64>,
}

/// Why a migration failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SummaryError {
    /// `source`, `target`, `local` or `usage`.
    pub side: &'static str,
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do next.
    pub next: String,
}

impl Summary {
    /// Makes the summary of a migration that is over; `sample` was taken after its end.
    pub fn of(route: Route, sample: &Sample, outcome: &Outcome) -> Summary {
        let ms = |phase: Phase| millis(sample.durations.get(&phase).copied());
        let mut keys: BTreeMap<_, _> = sample.keys_written.iter().copied().collect();
        keys.insert("total", sample.keys_written_total());
        Summary {
            result: match &outcome.result {
                Ok(Ended::Complete) => SummaryResult::Complete,
                Ok(Ended::Stopped) => SummaryResult::Stopped,
                Err(_) => SummaryResult::Failed,
            },
            error: outcome.result.as_ref().err().map(SummaryError::from),
            source: route.source,
            target: route.target,
            mode: route.mode,
            duration_ms: millis(Some(sample.elapsed)),
            snapshot_wait_ms: ms(Phase::WaitingForSnapshot),
            snapshot_ms: ms(Phase::Snapshot),
            catch_up_ms: ms(Phase::CatchingUp) + ms(Phase::Releasing),
            following_ms: ms(Phase::Following),
            keys,
            keys_read: sample.keys_read,
            functions: sample.functions,
            commands: sample.commands,
            skipped: sample.skipped.iter().copied().collect(),
            bytes_read: sample.bytes_read,
            snapshot_bytes: sample.rdb_bytes,
            bytes_written: sample.bytes_written,
            errors: sample.errors,
            retries: sample.retries,
            reconnects: sample.reconnects,
            diverged: sample.diverged,
            expiries_held: sample.expiries_held,
            replid: outcome.replid.clone(),
            offset_snapshot: outcome.snapshot_offset,
            offset_source: sample.source_offset,
            offset_received: sample.received_offset,
            offset_applied: sample.applied_offset,
            offset_acked: sample.acked_offset,
            lag_bytes: sample.lag_bytes,
            lag_ms: sample.lag.map(|lag| millis(Some(lag))),
        }
    }
}

impl From<&Error> for SummaryError {
    fn from(error: &Error) -> SummaryError {
        SummaryError {
            side: match error.side() {
                Side::Source => "source",
                Side::Target => "target",
                Side::Local => "local",
                Side::Usage => "usage",
            },
            what: error.to_string(),
            why: error.why(),
            next: error.next(),
        }
    }
}

fn millis(duration: Option<Duration>) -> u64 {
    let ms = duration.unwrap_or_default().as_millis();
    u64::try_from(ms).unwrap_or(u64::MAX)
}
