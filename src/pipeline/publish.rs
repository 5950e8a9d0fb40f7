//! Metrics, published while something runs.

use std::time::Duration;

use crate::telemetry;

use super::{Ended, Error, Phase, Progress};

/// How often metrics are published.
const METRICS_PERIOD: Duration = Duration::from_secs(1);

/// Runs `work` to its end and publishes what was done so far as metrics, again and again.
pub(super) async fn while_published(
    progress: &Progress,
    work: impl Future<Output = Result<Ended, Error>>,
) -> Result<Ended, Error> {
    telemetry::describe_metrics();
    let result = tokio::select! {
        result = work => result,
        () = publish(progress) => unreachable!("metrics are published until the end"),
    };
    progress.sample().publish();
    if result.is_ok() {
        progress.enter(Phase::Done);
    }
    result
}

async fn publish(progress: &Progress) {
    let mut period = tokio::time::interval(METRICS_PERIOD);
    loop {
        period.tick().await;
        progress.sample().publish();
    }
}
