//! Log set-up, and the names, units and descriptions of every metric.
//!
//! Metrics go to whatever recorder of the `metrics` crate the process has installed; without one
//! they cost next to nothing and go nowhere. A key or a server is never a label; the name of a
//! migration is, where it has one.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use metrics::{Label, Unit, describe_counter, describe_gauge};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// A number that many tasks change.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Replaces the number.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Raises it to `n` if it is less.
    pub fn at_least(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Whether this process's log lines are JSON, once there are any.
static LOGS_ARE_JSON: OnceLock<bool> = OnceLock::new();

/// Whether log lines are JSON; false before [`log_to`].
pub fn logs_are_json() -> bool {
    LOGS_ARE_JSON.get().copied().unwrap_or(false)
}

/// Sends log lines of at least `level` (`error` to `trace`) to `writer`, for people or as one
/// JSON object a line.
///
/// Libraries below us log from `warn` on only, unless the level is `trace`. A second call in a
/// process changes nothing.
pub fn log_to<W>(json: bool, level: &str, colour: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = match level {
        "error" | "trace" => EnvFilter::new(level),
        level => EnvFilter::new(format!("warn,keyferry={level}")),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colour)
        .with_writer(writer);
    let installed = match json {
        false => lines.try_init(),
        true => lines.json().flatten_event(true).try_init(),
    };
    // Fails only when the process logs already, which is as good.
    if installed.is_ok() {
        LOGS_ARE_JSON.get_or_init(|| json);
    }
}

/// The labels that every metric of a migration has.
pub fn labels_of(migration: Option<&str>) -> Vec<Label> {
    let label = migration.map(|name| Label::new("migration", name.to_owned()));
    label.into_iter().collect()
}

macro_rules! metrics {
    ($($name:ident = $text:literal, $kind:ident, $unit:ident, $description:literal;)*) => {
        $(#[doc = $description] pub const $name: &str = $text;)*

        /// Tells the recorder the unit and the description of every metric.
        pub fn describe_metrics() {
            $($kind!($name, Unit::$unit, $description);)*
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

metrics! {
    KEYS_READ = "keyferry_keys_read_total", describe_counter, Count,
        "Keys read from the snapshot.";
    KEYS_WRITTEN = "keyferry_keys_written_total", describe_counter, Count,
        "Keys of the snapshot that the target has confirmed, by value type (label `type`).";
    FUNCTIONS_WRITTEN = "keyferry_functions_written_total", describe_counter, Count,
        "Function libraries that the target has confirmed.";
    SKIPPED = "keyferry_skipped_total", describe_counter, Count,
        "Keys and commands left out, by reason (label `reason`).";
    COMMANDS_APPLIED = "keyferry_commands_applied_total", describe_counter, Count,
        "Commands of the stream that the target has confirmed.";
    SOURCE_BYTES = "keyferry_source_bytes_total", describe_counter, Bytes,
        "Bytes received from the source, snapshot and stream.";
    SNAPSHOT_BYTES = "keyferry_snapshot_bytes_total", describe_counter, Bytes,
        "Bytes of the snapshot received.";
    TARGET_BYTES = "keyferry_target_bytes_total", describe_counter, Bytes,
        "Bytes sent to the target.";
    TARGET_ERRORS = "keyferry_target_errors_total", describe_counter, Count,
        "Error replies of the target, those that were retried included.";
    RETRIES = "keyferry_retries_total", describe_counter, Count,
        "Commands sent again after a passing error.";
    RECONNECTS = "keyferry_reconnects_total", describe_counter, Count,
        "Connections to the source or the target that were lost and opened again.";
    DIVERGED = "keyferry_diverged_total", describe_counter, Count,
        "Commands of the stream that found another state on the target than on the source.";
    OFFSET_SOURCE = "keyferry_source_offset_bytes", describe_gauge, Bytes,
        "The last known replication offset of the source.";
    OFFSET_RECEIVED = "keyferry_received_offset_bytes", describe_gauge, Bytes,
        "The offset up to which the stream was received.";
    OFFSET_PARSED = "keyferry_parsed_offset_bytes", describe_gauge, Bytes,
        "The offset up to which the stream was parsed.";
    OFFSET_APPLIED = "keyferry_applied_offset_bytes", describe_gauge, Bytes,
        "The offset up to which the target has confirmed the stream.";
    OFFSET_ACKED = "keyferry_acked_offset_bytes", describe_gauge, Bytes,
        "The offset that the source was told.";
    LAG_BYTES = "keyferry_lag_bytes", describe_gauge, Bytes,
        "Offset of the source minus applied offset.";
    LAG_SECONDS = "keyferry_lag_seconds", describe_gauge, Seconds,
        "Age of the oldest byte of the stream that the target has not confirmed.";
    EXPIRIES_HELD = "keyferry_expiries_held", describe_gauge, Count,
        "Expiries written shifted and not released yet.";
    SPOOL_MEMORY = "keyferry_spool_memory_bytes", describe_gauge, Bytes,
        "Memory taken by bytes of the stream that wait to be applied.";
    SPOOL_DISK = "keyferry_spool_disk_bytes", describe_gauge, Bytes,
        "Disk space taken by bytes of the stream that wait to be applied.";
    WINDOW_BYTES = "keyferry_window_bytes", describe_gauge, Bytes,
        "Bytes sent to the target and not confirmed yet.";
    WINDOW_REQUESTS = "keyferry_window_requests", describe_gauge, Count,
        "Commands and transactions sent to the target and not confirmed yet.";
    READY = "keyferry_ready", describe_gauge, Count,
        "1 while the target keeps up with the source, else 0.";
    MIGRATION_STATE = "keyferry_migration_state", describe_gauge, Count,
        "1 for the state a migration of the daemon is in (label `state`), 0 for the others.";
    RESTARTS = "keyferry_restarts_total", describe_counter, Count,
        "Runs of a migration that the daemon began again after a passing failure.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let docs = include_str!("../docs/status.md");
        for name in NAMES {
            assert!(
                docs.contains(&format!("`{name}`")),
                "docs/status.md lacks {name}"
            );
        }
    }

    #[test]
    fn names_carry_prefix_and_unit() {
        for name in NAMES {
            assert!(name.starts_with("keyferry_"), "{name}");
            let unit = [
                "_total",
                "_bytes",
                "_seconds",
                "_held",
                "_requests",
                "_ready",
                "_state",
            ];
            assert!(unit.iter().any(|unit| name.ends_with(unit)), "{name}");
        }
    }
}
