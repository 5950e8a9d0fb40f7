//! When to send REPLCONF ACK.
//!
//! ```text
//!  snapshot      | its end is seen          | first stream byte
//!  every second  | at once, every 50 ms,    | every second, and at once
//!                | after 1 s every second   | when GETACK asks
//! ```
//!
//! After a diskless snapshot the source holds the stream back until it has had an ACK *and* has
//! noticed that its snapshot process is gone; an ACK that comes first is lost. Measured on Redis 6.0
//! to 8.6 and Valkey 7.2 to 9.1: one ACK right behind the mark is never enough, the second of a
//! series every 50 ms always was. A source counts our silence from the
//! moment its snapshot is sent, and drops us after `repl-timeout`; what was sent may still be on
//! its way or being applied then. So there are ACKs from the beginning.
//!
//! With the snapshot on a connection of its own the schedule begins when that has arrived: the first
//! ACK puts us online at once, whatever the snapshot is at, and the stream comes without one. Measured
//! on Redis 8.0 and 8.6; by its replication.c Valkey 8.1 and 9.1 do the same.

use std::time::{Duration, Instant};

/// Time between ACKs of a running link; replication.c `replicationCron` does the same.
const PERIOD: Duration = Duration::from_secs(1);

/// Time between ACKs that shall start the stream.
const NUDGE_PERIOD: Duration = Duration::from_millis(50);

/// How long the stream is nudged.
const NUDGE_FOR: Duration = Duration::from_secs(1);

/// Says when the next ACK is due. It does not know offsets: what is acknowledged is always what was
/// applied.
#[derive(Debug, Clone)]
pub struct AckSchedule {
    due: Instant,
    nudge_until: Option<Instant>,
}

impl AckSchedule {
    /// For a link that begins at `now`: due at once, then every second.
    pub fn new(now: Instant) -> AckSchedule {
        AckSchedule {
            due: now,
            nudge_until: None,
        }
    }

    /// The last byte of the snapshot was received at `now`.
    pub fn snapshot_ended(&mut self, now: Instant) {
        self.due = now;
        self.nudge_until = Some(now + NUDGE_FOR);
    }

    /// A byte of the stream was received.
    pub fn stream_byte_seen(&mut self) {
        self.nudge_until = None;
    }

    /// The source asked with REPLCONF GETACK.
    pub fn requested(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    /// When the next ACK is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// An ACK was sent at `now`.
    pub fn sent(&mut self, now: Instant) {
        let period = match self.nudge_until {
            Some(until) if now < until => NUDGE_PERIOD,
            _ => PERIOD,
        };
        self.due = now + period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whenever something is due; returns the times in ms up to `end_ms`.
    fn run(schedule: &mut AckSchedule, start: Instant, end_ms: u64) -> Vec<u128> {
        let end = start + Duration::from_millis(end_ms);
        let mut times = Vec::new();
        while schedule.due() <= end {
            let due = schedule.due();
            times.push((due - start).as_millis());
            schedule.sent(due);
        }
        times
    }

    #[test]
    fn a_running_link_is_acknowledged_every_second_and_when_asked() {
        let start = Instant::now();
        let mut schedule = AckSchedule::new(start);
        assert_eq!(run(&mut schedule, start, 2500), [0, 1000, 2000]);
        schedule.requested(start + Duration::from_millis(2600));
        assert_eq!(run(&mut schedule, start, 4000), [2600, 3600]);
    }

    #[test]
    fn the_stream_is_nudged_until_its_first_byte() {
        let start = Instant::now();
        let mut schedule = AckSchedule::new(start);
        schedule.snapshot_ended(start);
        assert_eq!(run(&mut schedule, start, 120), [0, 50, 100]);
        schedule.stream_byte_seen();
        assert_eq!(run(&mut schedule, start, 1200), [150, 1150]);
    }

    #[test]
    fn nudging_ends_after_a_second() {
        let start = Instant::now();
        let mut schedule = AckSchedule::new(start);
        schedule.snapshot_ended(start);
        let times = run(&mut schedule, start, 3000);
        assert_eq!(times.len(), 20 + 1 + 2, "{times:?}");
        assert_eq!(times.last_chunk(), Some(&[1000, 2000, 3000]));
    }
}
