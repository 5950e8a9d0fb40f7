//! The life of one migration of a daemon.
//!
//! ```text
//!             ┌───────── the pause is over ─────────┐
//!             ▼                                     │
//!  ──► starting ──► running ──► a passing failure ──► waiting to retry
//!         │  │         │ │                          │
//!         │  └─────────│─┴── complete ──► finished ◄┴── stopped
//!         └────────────┤                     ▲
//!                      ├── stopped ──► draining
//!                      └── a final failure ──► failed ◄── a failure, draining
//! ```
//!
//! | state            | who sets it                              | who waits for it                 |
//! | ---------------- | ---------------------------------------- | -------------------------------- |
//! | starting         | a new job; the end of a pause            | the start of the daemon          |
//! | running          | the first byte of a snapshot or stream   | nobody                           |
//! | waiting to retry | a failure that may pass                  | the pause                        |
//! | draining         | a stop                                   | a reload that declares it anew, the end of the daemon |
//! | finished, failed | the end of the last run                  | the same                         |

use std::time::Duration;

/// Where a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Both servers are being connected and looked at.
    Starting,
    /// The snapshot or the stream is applied.
    Running,
    /// The last run failed; the next one begins after a pause.
    WaitingToRetry,
    /// It was stopped; what was read is still written.
    Draining,
    /// It went as far as it was asked to go, or was stopped with all that was read on the target.
    Finished,
    /// It failed for good.
    Failed,
}

impl JobState {
    /// All of them, in the order of a life.
    pub const ALL: [JobState; 6] = [
        JobState::Starting,
        JobState::Running,
        JobState::WaitingToRetry,
        JobState::Draining,
        JobState::Finished,
        JobState::Failed,
    ];

    /// Its name, as status and metrics show it.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Starting => "starting",
            JobState::Running => "running",
            JobState::WaitingToRetry => "waiting to retry",
            JobState::Draining => "draining",
            JobState::Finished => "finished",
            JobState::Failed => "failed",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It went as far as it was asked to go.
    Complete,
    /// It was stopped; nothing that was read is missing on the target, or the target has no more
    /// than a part of a snapshot.
    Stopped,
    /// It failed.
    Failed {
        /// The same run may succeed later although nobody has done anything.
        may_pass: bool,
    },
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The run has begun to receive data.
    Moves,
    /// The run is over.
    Ended {
        /// How.
        ending: Ending,
        /// Where in its range the pause before the next run is, from 0 to 1: chance decides.
        chance: f64,
    },
    /// The pause is over.
    Due,
    /// It is to stop.
    Stop,
}

/// What is to be done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Nothing,
    /// Begin a run.
    Run,
    /// Begin a run after this pause.
    Pause(Duration),
    /// There will be no further run.
    End,
}

/// How long the pauses between runs are: each twice the one before, less a part that chance
/// decides, so that many migrations do not come back to one server at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause, at the most.
    pub first: Duration,
    /// Every pause, at the most.
    pub most: Duration,
    /// A run that moved data for this long is no failed attempt: the pauses begin anew after it.
    pub forgiven_after: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
            forgiven_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The pause after this many failures in a row, at least 1; between half of it and all of it.
    fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.most);
        whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// The life of one migration, from its declaration to its end. It begins with a run.
#[derive(Debug, Clone)]
pub struct Job {
    backoff: Backoff,
    state: JobState,
    /// Failures in a row.
    failures: u32,
    restarts: u64,
    moving_since: Option<Duration>,
}

impl Job {
    /// A job whose first run begins.
    pub fn new(backoff: Backoff) -> Job {
        Job {
            backoff,
            state: JobState::Starting,
            failures: 0,
            restarts: 0,
            moving_since: None,
        }
    }

    /// Where it is.
    pub fn state(&self) -> JobState {
        self.state
    }

    /// How many runs were begun after a failure.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Whether there will be no further run.
    pub fn is_over(&self) -> bool {
        matches!(self.state, JobState::Finished | JobState::Failed)
    }

    /// Takes note of what happens at `now`, a time since any fixed start.
    ///
    /// What cannot happen in a state changes nothing: a pause may end in the moment of a stop.
    pub fn on(&mut self, now: Duration, event: Event) -> Action {
        match (self.state, event) {
            (JobState::Starting, Event::Moves) => {
                self.state = JobState::Running;
                self.moving_since = Some(now);
                Action::Nothing
            }
            (JobState::Starting | JobState::Running, Event::Stop) => {
                self.state = JobState::Draining;
                Action::Nothing
            }
            (JobState::WaitingToRetry, Event::Stop) => self.end(JobState::Finished),
            (JobState::WaitingToRetry, Event::Due) => {
                self.state = JobState::Starting;
                self.restarts += 1;
                Action::Run
            }
            (
                JobState::Starting | JobState::Running | JobState::Draining,
                Event::Ended { ending, chance },
            ) => self.ended(now, ending, chance),
            _ => Action::Nothing,
        }
    }

    fn ended(&mut self, now: Duration, ending: Ending, chance: f64) -> Action {
        let moved_since = self.moving_since.take();
        match ending {
            Ending::Complete | Ending::Stopped => self.end(JobState::Finished),
            Ending::Failed { may_pass: true } if self.state != JobState::Draining => {
                let forgiven = self.backoff.forgiven_after;
                if moved_since.is_some_and(|since| now.saturating_sub(since) >= forgiven) {
                    self.failures = 0;
                }
                self.failures = self.failures.saturating_add(1);
                self.state = JobState::WaitingToRetry;
                Action::Pause(self.backoff.pause(self.failures, chance))
            }
            Ending::Failed { .. } => self.end(JobState::Failed),
        }
    }

    fn end(&mut self, state: JobState) -> Action {
        self.state = state;
        Action::End
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn ended(ending: Ending) -> Event {
        Event::Ended {
            ending,
            chance: 1.0,
        }
    }

    fn pause(seconds: f64) -> Action {
        Action::Pause(s(seconds))
    }

    const PASSING: Ending = Ending::Failed { may_pass: true };
    const FINAL: Ending = Ending::Failed { may_pass: false };

    #[test]
    fn lives_as_the_drawing_says() {
        use Action::{End, Nothing, Run};
        use Event::{Due, Moves, Stop};
        use JobState::{Draining, Failed, Finished, Running, Starting, WaitingToRetry};
        for (name, life) in [
            (
                "to its end",
                &[
                    (0.0, Moves, Running, Nothing),
                    (9.0, ended(Ending::Complete), Finished, End),
                    (9.5, Stop, Finished, Nothing),
                ][..],
            ),
            (
                "ends before it was seen to move",
                &[(1.0, ended(Ending::Complete), Finished, End)],
            ),
            (
                "stopped while it runs",
                &[
                    (0.0, Moves, Running, Nothing),
                    (1.0, Stop, Draining, Nothing),
                    (1.1, Stop, Draining, Nothing),
                    (2.0, ended(Ending::Stopped), Finished, End),
                ],
            ),
            (
                "stopped before it moves",
                &[
                    (0.0, Stop, Draining, Nothing),
                    (0.1, Moves, Draining, Nothing),
                    (0.2, ended(Ending::Stopped), Finished, End),
                ],
            ),
            (
                "cannot start",
                &[
                    (0.0, ended(FINAL), Failed, End),
                    (1.0, Due, Failed, Nothing),
                ],
            ),
            (
                "fails while draining, also if that may pass",
                &[
                    (0.0, Stop, Draining, Nothing),
                    (0.0, ended(PASSING), Failed, End),
                ],
            ),
            (
                "comes back",
                &[
                    (0.0, ended(PASSING), WaitingToRetry, pause(1.0)),
                    (1.0, Due, Starting, Run),
                    (1.1, Moves, Running, Nothing),
                    (5.0, Moves, Running, Nothing),
                    (5.0, Due, Running, Nothing),
                ],
            ),
            (
                "stopped in the pause",
                &[
                    (0.0, ended(PASSING), WaitingToRetry, pause(1.0)),
                    (0.5, Stop, Finished, End),
                    (1.0, Due, Finished, Nothing),
                ],
            ),
            (
                "short runs lengthen the pause, a long one makes it short again",
                &[
                    (0.0, ended(PASSING), WaitingToRetry, pause(1.0)),
                    (1.0, Due, Starting, Run),
                    (1.0, Moves, Running, Nothing),
                    (60.9, ended(PASSING), WaitingToRetry, pause(2.0)),
                    (63.0, Due, Starting, Run),
                    (63.0, ended(PASSING), WaitingToRetry, pause(4.0)),
                    (67.0, Due, Starting, Run),
                    (67.0, Moves, Running, Nothing),
                    (127.0, ended(PASSING), WaitingToRetry, pause(1.0)),
                ],
            ),
        ] {
            let mut job = Job::new(Backoff::default());
            let mut restarts = 0;
            for (now, event, state, action) in life {
                let found = job.on(s(*now), *event);
                restarts += u64::from(found == Run);
                assert_eq!((job.state(), found), (*state, *action), "{name} at {now}");
                assert_eq!(job.restarts(), restarts, "{name}");
                assert_eq!(job.is_over(), matches!(state, Finished | Failed));
            }
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_chance_halves_them_at_the_most() {
        let backoff = Backoff::default();
        for (failures, chance, seconds) in [
            (1, 0.0, 0.5),
            (1, 1.0, 1.0),
            (2, 0.5, 1.5),
            (6, 1.0, 32.0),
            (7, 1.0, 60.0),
            (7, 0.0, 30.0),
            (u32::MAX, 1.0, 60.0),
            (3, 7.0, 4.0),
        ] {
            let pause = backoff.pause(failures, chance);
            assert_eq!(pause, s(seconds), "{failures} {chance}");
        }
    }
}
