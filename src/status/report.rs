//! What `GET /status` says. The field names are a contract: `docs/status.md`.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::Verdict;
use crate::pipeline::{Route, Sample};

/// Where a migration stands. Serialises to the object that is served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What the migration is called.
    pub name: Option<String>,
    /// `full` or `full+incremental`.
    pub mode: &'static str,
    /// The phase it is in, by the name that logs give it.
    pub phase: &'static str,
    /// When the run began, in RFC 3339.
    pub started_at: String,
    /// Since the run began.
    pub elapsed_ms: u64,
    /// The target keeps up with the source, and has for as long as was asked for.
    pub ready: bool,
    /// Since when, in RFC 3339.
    pub ready_since: Option<String>,
    /// Why it is not ready.
    pub not_ready_because: Option<String>,
    /// Why nothing moves.
    pub waiting_because: Option<String>,
    /// The server that is read.
    pub source: ServerReport,
    /// The server that is written.
    pub target: ServerReport,
    /// The history of the source that is read.
    pub replid: Option<String>,
    /// Whether the snapshot comes over a connection of its own.
    pub snapshot_channel: Option<bool>,
    /// The last known offset of the source.
    pub source_offset: Option<u64>,
    /// Received up to here.
    pub received_offset: Option<u64>,
    /// Parsed up to here.
    pub parsed_offset: Option<u64>,
    /// Confirmed by the target up to here.
    pub applied_offset: Option<u64>,
    /// Told to the source.
    pub acked_offset: Option<u64>,
    /// `source_offset` minus `applied_offset`.
    pub lag_bytes: Option<u64>,
    /// Age of the oldest byte the target has not confirmed.
    pub lag_seconds: Option<f64>,
    /// What waits to be applied.
    pub spool: Spool,
    /// What is in flight to the target.
    pub window: Window,
    /// Keys whose expiry is held.
    pub expiries_held: u64,
    /// Commands sent again after a passing error.
    pub retries: u64,
    /// Connections that were lost and opened again.
    pub reconnects: u64,
    /// Commands of the stream that found another state on the target than on the source.
    pub diverged: u64,
    /// What was done so far; the names are those of the summary.
    pub counts: Counts,
}

/// One of both servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerReport {
    /// Its address.
    pub endpoint: String,
    /// What it says it is, such as `Redis 7.0.15`.
    pub version: Option<String>,
}

/// Bytes of the stream that wait to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spool {
    /// In memory.
    pub memory_bytes: u64,
    /// On disk.
    pub disk_bytes: u64,
}

/// What was sent to the target and is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Bytes of commands.
    pub bytes: u64,
    /// Commands and transactions.
    pub requests: u64,
}

/// What was done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Keys of the snapshot written, by value type, and their `total`.
    pub keys: BTreeMap<&'static str, u64>,
    /// Keys read from the snapshot.
    pub keys_read: u64,
    /// Keys the snapshot is expected to hold; nil when unknown.
    pub keys_total: u64,
    /// Function libraries written.
    pub functions: u64,
    /// Commands of the stream applied.
    pub commands: u64,
    /// Keys and commands left out, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Bytes received from the source.
    pub bytes_read: u64,
    /// Bytes of the snapshot received.
    pub snapshot_bytes: u64,
    /// Length of the snapshot; nil when unknown.
    pub snapshot_bytes_total: u64,
    /// Bytes sent to the target.
    pub bytes_written: u64,
    /// Error replies of the target, retried ones included.
    pub errors: u64,
}

impl Status {
    /// The status of a run at the moment of `sample`, which `verdict` was given at.
    pub fn of(name: Option<&str>, route: &Route, sample: &Sample, verdict: Verdict) -> Status {
        let servers = &sample.servers;
        let (ready_since, not_ready_because) = match verdict {
            Verdict::Ready { since } => (Some(rfc3339(sample.started_at + since)), None),
            Verdict::NotReady(obstacle) => (None, Some(obstacle.to_string())),
        };
        Status {
            name: name.map(str::to_owned),
            mode: route.mode,
            phase: sample.phase.name(),
            started_at: rfc3339(sample.started_at),
            elapsed_ms: millis(sample.elapsed),
            ready: ready_since.is_some(),
            ready_since,
            not_ready_because,
            waiting_because: sample.waiting.clone(),
            source: ServerReport {
                endpoint: route.source.clone(),
                version: servers.source_version.clone(),
            },
            target: ServerReport {
                endpoint: route.target.clone(),
                version: servers.target_version.clone(),
            },
            replid: servers.replid.clone(),
            snapshot_channel: servers.snapshot_channel,
            source_offset: sample.source_offset,
            received_offset: sample.received_offset,
            parsed_offset: sample.parsed_offset,
            applied_offset: sample.applied_offset,
            acked_offset: sample.acked_offset,
            lag_bytes: sample.lag_bytes,
            lag_seconds: sample.lag.map(|lag| millis(lag) as f64 / 1000.0),
            spool: Spool {
                memory_bytes: sample.spool_memory_bytes,
                disk_bytes: sample.spool_disk_bytes,
            },
            window: Window {
                bytes: sample.window_bytes,
                requests: sample.window_requests,
            },
            expiries_held: sample.expiries_held,
            retries: sample.retries,
            reconnects: sample.reconnects,
            diverged: sample.diverged,
            counts: Counts::of(sample),
        }
    }

    /// The object as text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// One line for people.
    pub fn to_line(&self) -> String {
        let mut line = self.phase.to_owned();
        if let (Some(bytes), Some(seconds)) = (self.lag_bytes, self.lag_seconds) {
            line.push_str(&format!(", lag {bytes} bytes / {seconds:.1} s"));
        }
        match &self.waiting_because {
            Some(why) => line.push_str(&format!(", waiting because {why}")),
            None if self.ready => line.push_str(", ready"),
            None => {}
        }
        line
    }
}

impl Counts {
    fn of(sample: &Sample) -> Counts {
        let mut keys: BTreeMap<_, _> = sample.keys_written.iter().copied().collect();
        keys.insert("total", sample.keys_written_total());
        Counts {
            keys,
            keys_read: sample.keys_read,
            keys_total: sample.keys_total,
            functions: sample.functions,
            commands: sample.commands,
            skipped: sample.skipped.iter().copied().collect(),
            bytes_read: sample.bytes_read,
            snapshot_bytes: sample.rdb_bytes,
            snapshot_bytes_total: sample.rdb_bytes_total,
            bytes_written: sample.bytes_written,
            errors: sample.errors,
        }
    }
}

/// A document of texts and numbers as JSON.
///
/// # Panics
/// When a key of a map in it is no text.
pub fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("texts and numbers can always be written as JSON")
}

/// A time as RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pipeline::{Phase, Progress},
        status::Obstacle,
    };

    fn route() -> Route {
        Route {
            source: "10.0.0.5:6379".into(),
            target: "10.0.0.9:6379".into(),
            mode: "full+incremental",
        }
    }

    #[test]
    fn every_field_is_there_from_the_start() {
        let verdict = Verdict::NotReady(Obstacle::NotFollowing);
        let status = Status::of(None, &route(), &Progress::default().sample(), verdict);
        let json: serde_json::Value = serde_json::from_str(&status.to_json()).unwrap();
        for (pointer, value) in [
            ("/name", serde_json::Value::Null),
            ("/phase", "connecting".into()),
            ("/source/endpoint", "10.0.0.5:6379".into()),
            ("/source/version", serde_json::Value::Null),
            ("/applied_offset", serde_json::Value::Null),
            ("/lag_seconds", serde_json::Value::Null),
            ("/spool/disk_bytes", 0.into()),
            ("/window/requests", 0.into()),
            ("/ready", false.into()),
            ("/ready_since", serde_json::Value::Null),
            ("/not_ready_because", "the stream is not followed".into()),
            ("/counts/keys/total", 0.into()),
        ] {
            assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(status.to_line(), "connecting");
    }

    #[test]
    fn says_how_far_it_is_and_since_when_it_is_ready() {
        let progress = Progress::named(Some("orders"));
        progress.enter(Phase::Following);
        progress.learn(|servers| servers.source_version = Some("Redis 7.0.15".into()));
        progress.observe_source_offset(120);
        progress.applied_offset.set(100);
        let mut sample = progress.sample();
        sample.started_at = SystemTime::UNIX_EPOCH;
        sample.lag = Some(Duration::from_millis(1234));
        let ready = Verdict::Ready {
            since: Duration::from_millis(90_500),
        };
        let status = Status::of(progress.name(), &route(), &sample, ready);
        assert_eq!(status.name.as_deref(), Some("orders"));
        assert_eq!(
            status.ready_since.as_deref(),
            Some("1970-01-01T00:01:30.500Z")
        );
        assert_eq!(status.source.version.as_deref(), Some("Redis 7.0.15"));
        assert_eq!(status.lag_seconds, Some(1.234));
        assert_eq!(status.to_line(), "following, lag 20 bytes / 1.2 s, ready");
        sample.waiting = Some("the target is not ready: LOADING".into());
        let waiting = Verdict::NotReady(Obstacle::Waiting);
        let line = Status::of(None, &route(), &sample, waiting).to_line();
        assert!(line.ends_with("waiting because the target is not ready: LOADING"));
    }
}
