//! Asking a migration to stop gracefully.

use tokio::sync::watch;

/// The side that asks.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// The side that is asked; clones hear the same request.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<bool>);

/// Makes both sides of a stop signal.
pub fn stop_signal() -> (Stopper, StopSignal) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), StopSignal(receiver))
}

impl Stopper {
    /// Asks for the stop; asking again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl StopSignal {
    /// Waits until the stop is asked for; at once if it was already.
    ///
    /// Never returns when the [`Stopper`] is gone without having asked. May be dropped at any
    /// await and called again.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn every_clone_hears_the_request_whenever_it_listens() {
        let (stopper, signal) = stop_signal();
        let early = tokio::spawn({
            let signal = signal.clone();
            async move { signal.requested().await }
        });
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        stopper.stop();
        early.await.unwrap();
        drop(stopper);
        signal.requested().await;
    }

    #[tokio::test]
    async fn a_lost_stopper_is_no_request() {
        let (stopper, signal) = stop_signal();
        drop(stopper);
        let waited = tokio::time::timeout(Duration::from_millis(20), signal.requested()).await;
        assert!(waited.is_err());
    }
}
