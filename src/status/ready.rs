//! Whether the target keeps up with the source: what an operator waits for before switching over.
//!
//! The source is asked for its offset again and again. An answer is a goal, reached once the target
//! has confirmed that much. The target keeps up while each goal is reached soon; it is ready once it
//! has kept up for as long as the operator wants.
//!
//! ```text
//!  the source says     100        180        260        340
//!  applied reaches        100        180         ...             260
//!                      |--------- keeps up --------|  late: begins anew
//!                                 |-- ready
//!                      |-- hold --|
//! ```
//!
//! An offset that was sampled just now proves nothing before it is reached, and one that is old
//! proves nothing about the source of today: both are bounded.

use std::{fmt, time::Duration};

/// A goal that is not reached within this time after it was sampled is late.
const LATE_AFTER: Duration = Duration::from_secs(2);

/// A source that has not said where it stands for this long is not known to be anywhere.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Where the source stood, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceOffset {
    /// Its replication offset.
    pub offset: u64,
    /// When it stood there; a time since any fixed start.
    pub sampled_at: Duration,
}

/// Where a migration stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The stream is applied as it comes; what was held for the snapshot is released.
    pub following: bool,
    /// Something is waited for that keeps everything else from moving.
    pub waiting: bool,
    /// The last that the source said.
    pub source: Option<SourceOffset>,
    /// What the target has confirmed.
    pub applied_offset: Option<u64>,
}

/// Why the target is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The stream is not followed yet, or no longer.
    NotFollowing,
    /// Something is waited for.
    Waiting,
    /// The source does not say where it stands.
    SourceSilent,
    /// What the source had some time ago is not on the target.
    Late,
    /// It keeps up, but not for long enough.
    Holding {
        /// How much longer it has to keep up.
        left: Duration,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NotFollowing => f.write_str("the stream is not followed"),
            Obstacle::Waiting => f.write_str("something is waited for"),
            Obstacle::SourceSilent => f.write_str("the source does not say where it stands"),
            Obstacle::Late => write!(
                f,
                "the target has not confirmed what the source had {} s ago",
                LATE_AFTER.as_secs()
            ),
            Obstacle::Holding { left } => write!(
                f,
                "the target keeps up, but has to for another {:.1} s",
                left.as_secs_f64()
            ),
        }
    }
}

/// Whether the target is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is, since this time.
    Ready {
        /// A time since the same start as those that were observed.
        since: Duration,
    },
    /// It is not.
    NotReady(Obstacle),
}

/// Judges a migration by what is observed of it, in the order of time.
#[derive(Debug, Clone)]
pub struct Readiness {
    hold: Duration,
    goal: Option<SourceOffset>,
    kept_up_since: Option<Duration>,
}

impl Readiness {
    /// A target that is ready once it has kept up for `hold`.
    pub fn new(hold: Duration) -> Readiness {
        Readiness {
            hold,
            goal: None,
            kept_up_since: None,
        }
    }

    /// Takes note of where the migration stands at `now`, a time since any fixed start.
    pub fn observe(&mut self, now: Duration, standing: Standing) -> Verdict {
        match self.obstacle(now, standing) {
            Some(obstacle) => {
                self.kept_up_since = None;
                // What was promised before the obstacle says nothing about the time after it.
                if obstacle != Obstacle::Late {
                    self.goal = None;
                }
                Verdict::NotReady(obstacle)
            }
            None => self.held(now),
        }
    }

    fn obstacle(&mut self, now: Duration, standing: Standing) -> Option<Obstacle> {
        if !standing.following {
            return Some(Obstacle::NotFollowing);
        }
        if standing.waiting {
            return Some(Obstacle::Waiting);
        }
        let (Some(source), Some(applied)) = (standing.source, standing.applied_offset) else {
            return Some(Obstacle::SourceSilent);
        };
        if now.saturating_sub(source.sampled_at) > SILENT_AFTER {
            return Some(Obstacle::SourceSilent);
        }
        let goal = *self.goal.get_or_insert(source);
        if applied >= goal.offset {
            self.goal = Some(source);
            // The first goal that is reached begins the time; one that is new has yet to be.
            self.kept_up_since.get_or_insert(now);
            return None;
        }
        let late = now.saturating_sub(goal.sampled_at) > LATE_AFTER;
        (late || self.kept_up_since.is_none()).then_some(Obstacle::Late)
    }

    fn held(&self, now: Duration) -> Verdict {
        let since = self.kept_up_since.unwrap_or(now) + self.hold;
        match since.checked_sub(now) {
            None | Some(Duration::ZERO) => Verdict::Ready { since },
            Some(left) => Verdict::NotReady(Obstacle::Holding { left }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Following, with the source's offset and when it said so, and the applied offset.
    fn following(offset: u64, sampled_at: f64, applied: u64) -> Standing {
        Standing {
            following: true,
            waiting: false,
            source: Some(SourceOffset {
                offset,
                sampled_at: s(sampled_at),
            }),
            applied_offset: Some(applied),
        }
    }

    fn ready(since: f64) -> Verdict {
        Verdict::Ready { since: s(since) }
    }

    fn holding(left: f64) -> Verdict {
        Verdict::NotReady(Obstacle::Holding { left: s(left) })
    }

    const LATE: Verdict = Verdict::NotReady(Obstacle::Late);
    const SILENT: Verdict = Verdict::NotReady(Obstacle::SourceSilent);
    const WAITING: Verdict = Verdict::NotReady(Obstacle::Waiting);
    const NOT_FOLLOWING: Verdict = Verdict::NotReady(Obstacle::NotFollowing);

    #[test]
    fn is_ready_once_it_has_kept_up_for_long_enough() {
        let copying = Standing {
            following: false,
            ..following(100, 0.0, 100)
        };
        let waiting = |standing| Standing {
            waiting: true,
            ..standing
        };
        let unknown = Standing {
            source: None,
            ..following(0, 0.0, 100)
        };
        let nothing_applied = Standing {
            applied_offset: None,
            ..following(100, 0.0, 0)
        };
        for (name, observed) in [
            (
                "an idle source",
                &[
                    (0.0, following(100, 0.0, 100), holding(5.0)),
                    (2.0, following(100, 1.5, 100), holding(3.0)),
                    (4.9, following(100, 4.5, 100), holding(0.1)),
                    (5.0, following(100, 5.0, 100), ready(5.0)),
                    (9.0, following(100, 9.0, 100), ready(5.0)),
                ][..],
            ),
            (
                "a busy source, always one sample ahead",
                &[
                    (0.0, following(100, 0.0, 40), LATE),
                    (0.5, following(200, 0.5, 110), holding(5.0)),
                    (1.0, following(300, 1.0, 190), holding(4.5)),
                    (1.5, following(400, 1.5, 290), holding(4.0)),
                    (5.5, following(900, 5.5, 890), ready(5.5)),
                    (6.0, following(990, 6.0, 901), ready(5.5)),
                ],
            ),
            (
                "a goal that is reached late begins the time anew",
                &[
                    (0.0, following(100, 0.0, 100), holding(5.0)),
                    (5.0, following(200, 5.0, 100), ready(5.0)),
                    (6.0, following(300, 6.0, 150), ready(5.0)),
                    (7.1, following(300, 7.0, 199), LATE),
                    (7.2, following(300, 7.0, 200), holding(5.0)),
                    (12.2, following(300, 12.0, 300), ready(12.2)),
                ],
            ),
            (
                "never caught up",
                &[
                    (0.0, following(100, 0.0, 1), LATE),
                    (60.0, following(9000, 60.0, 99), LATE),
                ],
            ),
            (
                "the source falls silent",
                &[
                    (0.0, following(100, 0.0, 100), holding(5.0)),
                    (5.0, following(100, 0.0, 100), ready(5.0)),
                    (5.1, following(100, 0.0, 100), SILENT),
                    (6.0, following(100, 6.0, 100), holding(5.0)),
                ],
            ),
            (
                "something is waited for",
                &[
                    (0.0, following(100, 0.0, 100), holding(5.0)),
                    (5.0, following(100, 5.0, 100), ready(5.0)),
                    (5.1, waiting(following(100, 5.0, 100)), WAITING),
                    (5.2, following(100, 5.0, 100), holding(5.0)),
                ],
            ),
            (
                "not followed yet, and no longer",
                &[
                    (0.0, copying, NOT_FOLLOWING),
                    (1.0, following(100, 1.0, 100), holding(5.0)),
                    (6.0, following(100, 6.0, 100), ready(6.0)),
                    (7.0, copying, NOT_FOLLOWING),
                ],
            ),
            (
                "nothing is known",
                &[(0.0, unknown, SILENT), (1.0, nothing_applied, SILENT)],
            ),
        ] {
            let mut readiness = Readiness::new(s(5.0));
            for (now, standing, verdict) in observed {
                let found = readiness.observe(s(*now), *standing);
                assert_eq!(rounded(found), *verdict, "{name} at {now}");
            }
        }
    }

    #[test]
    fn without_a_hold_the_first_goal_that_is_reached_will_do() {
        let mut readiness = Readiness::new(Duration::ZERO);
        assert_eq!(readiness.observe(s(3.0), following(7, 3.0, 6)), LATE);
        assert_eq!(readiness.observe(s(3.5), following(9, 3.5, 7)), ready(3.5));
    }

    /// To whole milliseconds: the times above are written as decimal fractions.
    fn rounded(verdict: Verdict) -> Verdict {
        let round = |time: Duration| s((time.as_secs_f64() * 1000.0).round() / 1000.0);
        match verdict {
            Verdict::Ready { since } => Verdict::Ready {
                since: round(since),
            },
            Verdict::NotReady(Obstacle::Holding { left }) => {
                Verdict::NotReady(Obstacle::Holding { left: round(left) })
            }
            other => other,
        }
    }
}
