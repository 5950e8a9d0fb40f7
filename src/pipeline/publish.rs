//! Metrics, published while something runs.
//!
//! A process may run several migrations, and each of them several times: every run adds what it
//! has done to the counters of its migration, which so never go back.

use std::{collections::BTreeMap, time::Duration};

use metrics::{Label, counter, gauge};

use crate::telemetry;

use super::{Ended, Error, Phase, Progress, Sample};

/// How often metrics are published.
const METRICS_PERIOD: Duration = Duration::from_secs(1);

/// Runs `work` to its end and publishes what was done so far as metrics, again and again.
pub(super) async fn while_published(
    progress: &Progress,
    work: impl Future<Output = Result<Ended, Error>>,
) -> Result<Ended, Error> {
    telemetry::describe_metrics();
    let mut publisher = Publisher::new(progress.name());
    let result = tokio::select! {
        result = work => result,
        () = publish(&mut publisher, progress) => unreachable!("metrics are published until the end"),
    };
    if result.is_ok() {
        progress.enter(Phase::Done);
    }
    publisher.publish(&progress.sample());
    result
}

async fn publish(publisher: &mut Publisher, progress: &Progress) {
    let mut period = tokio::time::interval(METRICS_PERIOD);
    loop {
        period.tick().await;
        publisher.publish(&progress.sample());
    }
}

/// Publishes the samples of one run.
struct Publisher {
    migration: Option<String>,
    /// What was published of each counter, by its name and the value of its own label.
    counted: BTreeMap<(&'static str, &'static str), u64>,
}

impl Publisher {
    fn new(migration: Option<&str>) -> Publisher {
        Publisher {
            migration: migration.map(str::to_owned),
            counted: BTreeMap::new(),
        }
    }

    /// Publishes the numbers to the metrics recorder of the process.
    fn publish(&mut self, sample: &Sample) {
        for (key_type, keys) in &sample.keys_written {
            self.count(telemetry::KEYS_WRITTEN, Some(("type", *key_type)), *keys);
        }
        for (reason, n) in &sample.skipped {
            self.count(telemetry::SKIPPED, Some(("reason", *reason)), *n);
        }
        for (name, n) in [
            (telemetry::KEYS_READ, sample.keys_read),
            (telemetry::FUNCTIONS_WRITTEN, sample.functions),
            (telemetry::COMMANDS_APPLIED, sample.commands),
            (telemetry::SOURCE_BYTES, sample.bytes_read),
            (telemetry::SNAPSHOT_BYTES, sample.rdb_bytes),
            (telemetry::TARGET_BYTES, sample.bytes_written),
            (telemetry::TARGET_ERRORS, sample.errors),
            (telemetry::RETRIES, sample.retries),
            (telemetry::RECONNECTS, sample.reconnects),
            (telemetry::DIVERGED, sample.diverged),
        ] {
            self.count(name, None, n);
        }
        for (name, n) in [
            (telemetry::EXPIRIES_HELD, sample.expiries_held),
            (telemetry::SPOOL_MEMORY, sample.spool_memory_bytes),
            (telemetry::SPOOL_DISK, sample.spool_disk_bytes),
            (telemetry::WINDOW_BYTES, sample.window_bytes),
            (telemetry::WINDOW_REQUESTS, sample.window_requests),
        ] {
            self.set(name, Some(n as f64));
        }
        for (name, n) in [
            (telemetry::OFFSET_SOURCE, sample.source_offset),
            (telemetry::OFFSET_RECEIVED, sample.received_offset),
            (telemetry::OFFSET_PARSED, sample.parsed_offset),
            (telemetry::OFFSET_APPLIED, sample.applied_offset),
            (telemetry::OFFSET_ACKED, sample.acked_offset),
            (telemetry::LAG_BYTES, sample.lag_bytes),
        ] {
            self.set(name, n.map(|n| n as f64));
        }
        let lag = sample.lag.map(|lag| lag.as_secs_f64());
        self.set(telemetry::LAG_SECONDS, lag);
    }

    /// Adds to a counter what was done since it was published last.
    fn count(&mut self, name: &'static str, label: Option<(&'static str, &'static str)>, n: u64) {
        let of = label.map_or("", |(_, value)| value);
        let published = self.counted.insert((name, of), n).unwrap_or_default();
        let mut labels = self.labels();
        labels.extend(label.map(|(key, value)| Label::from_static_parts(key, value)));
        counter!(name, labels).increment(n.saturating_sub(published));
    }

    /// Sets a gauge; what is not known is NaN, so that no run shows what an earlier one knew.
    fn set(&self, name: &'static str, value: Option<f64>) {
        gauge!(name, self.labels()).set(value.unwrap_or(f64::NAN));
    }

    fn labels(&self) -> Vec<Label> {
        telemetry::labels_of(self.migration.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn every_run_adds_to_the_counters_of_its_migration() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for (migration, runs) in [(Some("a"), &[&[3, 5][..], &[2]][..]), (None, &[&[7, 7]])] {
                for run in runs {
                    let progress = Progress::named(migration);
                    let mut publisher = Publisher::new(progress.name());
                    for keys in *run {
                        progress.keys_read.set(*keys);
                        progress.applied_offset.set(*keys);
                        publisher.publish(&progress.sample());
                    }
                }
            }
        });
        let text = recorder.handle().render();
        for line in [
            "keyferry_keys_read_total{migration=\"a\"} 7",
            "keyferry_keys_read_total 7",
            "keyferry_applied_offset_bytes{migration=\"a\"} 2",
            "keyferry_lag_seconds{migration=\"a\"} NaN",
            "keyferry_skipped_total{migration=\"a\",reason=\"lossy\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
