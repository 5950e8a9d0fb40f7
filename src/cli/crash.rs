//! Notices panics, wherever they happen.
//!
//! A runtime catches the panics of its tasks, and what waits for such a task may wait forever.
//! So a hook takes note, and whoever runs the show hears of it.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    sync::Arc,
};

use tokio::sync::watch;

/// Holds the report of the first panic.
#[derive(Debug, Clone)]
pub(super) struct Crash(Arc<watch::Sender<Option<String>>>);

impl Crash {
    /// Replaces the panic hook of the process by one that takes note and prints nothing.
    pub(super) fn watch() -> Crash {
        let crash = Crash(Arc::new(watch::Sender::new(None)));
        let noted = crash.clone();
        panic::set_hook(Box::new(move |info| noted.note(info)));
        crash
    }

    /// What the first panic said and where it was.
    pub(super) fn report(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits for a panic.
    pub(super) async fn noticed(&self) {
        // This end holds the sender, so the wait can only end with a panic.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    fn note(&self, info: &PanicHookInfo<'_>) {
        let payload = info.payload();
        let said = payload.downcast_ref::<&str>().copied();
        let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let said = said.unwrap_or("a panic without text");
        let place = info
            .location()
            .map(|at| format!(" at {at}"))
            .unwrap_or_default();
        let trace = Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        self.0.send_if_modified(|first| {
            first.is_none() && {
                *first = Some(format!("{said}{place}{trace}"));
                true
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_is_noticed() {
        let crash = Crash::watch();
        assert_eq!(crash.report(), None);
        let task = tokio::spawn(async { panic!("the keel broke") });
        crash.noticed().await;
        assert!(task.await.is_err());
        let _ = panic::take_hook();
        let report = crash.report().unwrap();
        assert!(
            report.contains("the keel broke at src/cli/crash.rs"),
            "{report}"
        );
    }
}
