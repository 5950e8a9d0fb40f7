//! The recorder of the process that keeps metrics for Prometheus.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

/// Metrics that nobody publishes any more, such as those of a migration that is gone, are
/// forgotten after this time. Those of a running one are published every second.
const FORGET_AFTER: Duration = Duration::from_secs(60);

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The metrics of this process, recorded from the first call on.
///
/// `None` when the process has given itself another recorder.
pub(super) fn installed() -> Option<PrometheusHandle> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if installed.is_none() {
        let builder =
            PrometheusBuilder::new().idle_timeout(MetricKindMask::ALL, Some(FORGET_AFTER));
        *installed = builder.install_recorder().ok();
    }
    installed.clone()
}
