//! SIGINT and SIGTERM: the first stops, the second aborts. SIGXFSZ does not end the process: a file
//! that may not grow is an error of whoever writes it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::pipeline::Stopper;

/// Listens for both signals.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Nobody waits for it.
    _file_size: Signal,
}

impl Signals {
    /// Begins to listen; from here on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Stops at the first signal and returns at the second.
    pub(super) async fn stop_then_abort(mut self, stopper: &Stopper) {
        let name = self.next().await;
        tracing::warn!("{name}: stopping; what was read is still written, a second signal aborts");
        stopper.stop();
        self.next().await;
    }

    /// Waits for a signal and says its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Listens for SIGHUP, by which a daemon is asked to read its file again.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// Begins to listen; from here on the signal does not end the process.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn listen() -> io::Result<Hangups> {
        Ok(Hangups(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one. May be dropped midway: none is lost.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;
    use crate::pipeline::stop_signal;

    fn send(signal: &str) {
        let pid = process::id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    #[tokio::test]
    async fn the_first_signal_stops_and_the_second_aborts() {
        let signals = Signals::listen().unwrap();
        let (stopper, stop) = stop_signal();
        let abort = tokio::spawn(async move { signals.stop_then_abort(&stopper).await });
        send("-TERM");
        stop.requested().await;
        assert!(!abort.is_finished());
        send("-INT");
        abort.await.unwrap();
    }
}
