//! A migration that is looked at while it runs.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::gauge;

use super::{Readiness, SourceOffset, Standing, Status, Verdict};
use crate::{
    pipeline::{Phase, Progress, Route, Sample, Window},
    telemetry,
};

/// How often a migration is looked at; often enough that it cannot fall behind in between
/// unnoticed.
const PERIOD: Duration = Duration::from_millis(250);

/// A run of a migration, and whether its target is ready.
#[derive(Debug)]
pub struct Watched {
    route: Route,
    progress: Arc<Progress>,
    readiness: Mutex<Readiness>,
    /// The run has ended, in whatever phase.
    over: AtomicBool,
}

impl Watched {
    /// Looks at the run that `progress` belongs to; its target is ready once it has kept up for
    /// `ready_hold`.
    pub fn new(route: Route, progress: Arc<Progress>, ready_hold: Duration) -> Watched {
        Watched {
            route,
            progress,
            readiness: Mutex::new(Readiness::new(ready_hold)),
            over: AtomicBool::new(false),
        }
    }

    /// Where it stands at this moment.
    pub fn status(&self) -> Status {
        let (sample, verdict) = self.observe();
        Status::of(self.progress.name(), &self.route, &sample, verdict)
    }

    /// Where its limits are.
    pub fn window(&self) -> Arc<Window> {
        Arc::clone(&self.progress.window)
    }

    /// The phase it is in.
    pub fn phase(&self) -> Phase {
        self.progress.sample().phase
    }

    /// Looks again and again, and publishes whether the target is ready; never returns.
    ///
    /// May be dropped at any await: what is seen later begins the time of readiness anew only if
    /// the target was seen behind.
    pub async fn watch(&self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            self.publish();
        }
    }

    /// Says that the run has ended: its target is ready no more, whatever was seen last.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
        self.publish();
    }

    fn publish(&self) {
        let (_, verdict) = self.observe();
        let ready = matches!(verdict, Verdict::Ready { .. });
        let labels = telemetry::labels_of(self.progress.name());
        gauge!(telemetry::READY, labels).set(f64::from(u8::from(ready)));
    }

    fn observe(&self) -> (Sample, Verdict) {
        // Observations must come in the order of time.
        let mut readiness = self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sample = self.progress.sample();
        let over = self.over.load(Relaxed);
        let verdict = readiness.observe(sample.elapsed, standing(&sample, over));
        (sample, verdict)
    }
}

fn standing(sample: &Sample, over: bool) -> Standing {
    let source = sample.source_offset.zip(sample.source_offset_age);
    Standing {
        following: sample.phase == Phase::Following && !over,
        waiting: sample.waiting.is_some(),
        source: source.map(|(offset, age)| SourceOffset {
            offset,
            sampled_at: sample.elapsed.saturating_sub(age),
        }),
        applied_offset: sample.applied_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Awaited;

    #[test]
    fn what_is_sampled_decides() {
        let progress = Arc::new(Progress::default());
        let route = Route {
            source: "a".into(),
            target: "b".into(),
            mode: "full+incremental",
        };
        let watched = Watched::new(route, Arc::clone(&progress), Duration::ZERO);
        assert!(!watched.status().ready);
        progress.enter(Phase::Following);
        progress.observe_source_offset(100);
        progress.applied_offset.set(99);
        assert!(!watched.status().ready);
        progress.applied_offset.set(100);
        assert!(watched.status().ready);
        progress.wait_because(Awaited::Target, Some("the target is loading".into()));
        assert!(!watched.status().ready);
        progress.wait_because(Awaited::Target, None);
        assert!(watched.status().ready);
        progress.enter(Phase::Draining);
        assert!(!watched.status().ready);
    }

    #[test]
    fn a_run_that_has_ended_is_not_ready_whatever_was_seen_last() {
        let progress = Arc::new(Progress::default());
        let route = Route {
            source: "a".into(),
            target: "b".into(),
            mode: "full+incremental",
        };
        let watched = Watched::new(route, Arc::clone(&progress), Duration::ZERO);
        progress.enter(Phase::Following);
        progress.observe_source_offset(100);
        progress.applied_offset.set(100);
        assert!(watched.status().ready);
        watched.end();
        assert!(!watched.status().ready);
    }
}
