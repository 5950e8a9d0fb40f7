//! What systemd is told about a service of `Type=notify`.
//!
//! | message           | when                                                                  |
//! | ----------------- | --------------------------------------------------------------------- |
//! | `READY=1`         | once, when what was asked for has started                             |
//! | `STATUS=`         | when the line has changed                                             |
//! | `EXTEND_TIMEOUT_USEC=` | with each look before `READY=1`: a long snapshot is no failure   |
//! | `WATCHDOG=1`      | with each look, twice within `WATCHDOG_USEC` at the least             |
//! | `STOPPING=1`      | once, when a stop was asked for                                       |
//!
//! Looking happens on the runtime that does all the work: when that hangs, so do the messages.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::pipeline::StopSignal;

/// How often systemd is told something, unless its watchdog wants more.
const PERIOD: Duration = Duration::from_secs(1);

/// How much longer starting may take after each look.
const STARTING_MORE: Duration = Duration::from_secs(30);

/// Where the service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What was asked for has started.
    pub started: bool,
    /// One line for people.
    pub line: String,
}

/// The service that this process is to systemd.
#[derive(Debug)]
pub struct Service {
    watchdog: Option<Duration>,
}

impl Service {
    /// The service that the environment tells of (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub fn of_environment() -> Option<Service> {
        std::env::var_os("NOTIFY_SOCKET")?;
        Some(Service {
            watchdog: sd_notify::watchdog_enabled().filter(|period| !period.is_zero()),
        })
    }

    /// Tells systemd again and again what `look` sees; never returns.
    ///
    /// May be dropped at any await.
    pub async fn keep_informed(self, look: impl Fn() -> State, stop: StopSignal) {
        let mut period = tokio::time::interval(self.period());
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = Told::new(self.watchdog.is_some());
        let mut stopping = false;
        loop {
            tokio::select! {
                _ = period.tick() => {}
                () = stop.requested(), if !stopping => stopping = true,
            }
            let state = look();
            if let Err(error) = sd_notify::notify(&told.news(&state, stopping)) {
                tracing::debug!(%error, "systemd cannot be told anything");
            }
        }
    }

    fn period(&self) -> Duration {
        self.watchdog.map_or(PERIOD, |watchdog| {
            (watchdog / 2).clamp(Duration::from_millis(1), PERIOD)
        })
    }
}

/// What systemd knows already.
#[derive(Debug)]
struct Told {
    watched: bool,
    started: bool,
    stopping: bool,
    line: String,
}

impl Told {
    fn new(watched: bool) -> Told {
        Told {
            watched,
            started: false,
            stopping: false,
            line: String::new(),
        }
    }

    fn news(&mut self, state: &State, stopping: bool) -> Vec<NotifyState<'_>> {
        let mut news = Vec::new();
        if stopping && !self.stopping {
            news.push(NotifyState::Stopping);
        } else if state.started && !self.started {
            news.push(NotifyState::Ready);
        }
        self.stopping |= stopping;
        self.started |= state.started;
        if !self.started && !self.stopping {
            let more = STARTING_MORE.as_micros() as u32;
            news.push(NotifyState::ExtendTimeoutUsec(more));
        }
        if self.watched {
            news.push(NotifyState::Watchdog);
        }
        // A message is a line; a server's words may hold anything.
        let line = state.line.replace(char::is_control, " ");
        if line != self.line {
            self.line = line;
            news.push(NotifyState::Status(&self.line));
        }
        news
    }
}

impl Drop for Told {
    /// What ends before it could tell that it stops tells it at last.
    fn drop(&mut self) {
        if !self.stopping {
            // Systemd sees the end of the process all the same.
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(told: &mut Told, started: bool, line: &str, stopping: bool) -> String {
        let state = State {
            started,
            line: line.into(),
        };
        let news = told.news(&state, stopping);
        let texts: Vec<String> = news.iter().map(ToString::to_string).collect();
        texts.join(" | ")
    }

    #[test]
    fn tells_each_thing_when_it_is_news() {
        let mut told = Told::new(true);
        for (started, line, stopping, text) in [
            (
                false,
                "snapshot",
                false,
                "EXTEND_TIMEOUT_USEC=30000000 | WATCHDOG=1 | STATUS=snapshot",
            ),
            (
                false,
                "snapshot",
                false,
                "EXTEND_TIMEOUT_USEC=30000000 | WATCHDOG=1",
            ),
            (
                true,
                "following\nREADY=0",
                false,
                "READY=1 | WATCHDOG=1 | STATUS=following READY=0",
            ),
            (true, "following\nREADY=0", false, "WATCHDOG=1"),
            // A run that is connected anew has been ready before.
            (false, "following\nREADY=0", false, "WATCHDOG=1"),
            (
                true,
                "draining",
                true,
                "STOPPING=1 | WATCHDOG=1 | STATUS=draining",
            ),
            (true, "draining", true, "WATCHDOG=1"),
        ] {
            assert_eq!(news(&mut told, started, line, stopping), text);
        }
    }

    #[test]
    fn what_is_stopped_before_it_started_is_never_ready() {
        let mut told = Told::new(false);
        assert_eq!(news(&mut told, true, "", true), "STOPPING=1");
        assert_eq!(news(&mut told, true, "", true), "");
    }

    #[test]
    fn the_watchdog_hears_from_us_twice_in_its_time() {
        for (watchdog_ms, period_ms) in [(None, 1000), (Some(30_000), 1000), (Some(500), 250)] {
            let watchdog = watchdog_ms.map(Duration::from_millis);
            let period = Service { watchdog }.period();
            assert_eq!(period, Duration::from_millis(period_ms));
        }
    }
}
