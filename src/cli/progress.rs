//! Shows where a migration stands: bars on a terminal, log lines elsewhere.
//!
//! A thread of its own reads the counters, so that a busy runtime cannot stop the display, nor a
//! slow terminal the runtime.

use std::{
    fmt::Write,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle as BarStyle};

use super::{
    rate::{Rate, Speed, eta, fraction},
    screen::Screen,
};
use crate::{
    config::{LogFormat, ProgressStyle, Talk},
    pipeline::{Phase, Progress, Sample},
};

/// How often the counters are read.
const TICK: Duration = Duration::from_millis(200);

/// How often a log line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The running display.
pub(super) struct Display {
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Display {
    /// Begins to show `progress` as `talk` asks for.
    pub(super) fn start(talk: &Talk, screen: &Screen, progress: Arc<Progress>) -> Display {
        let bars = screen.is_terminal() && talk.log_format == LogFormat::Text;
        let mut face: Box<dyn Face> = match talk.progress {
            ProgressStyle::Never => return Display { thread: None },
            ProgressStyle::Auto if bars => Box::new(Bars::new(screen.clone())),
            ProgressStyle::Auto => Box::new(Lines::new(talk.log_format)),
        };
        let (over, is_over) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("progress".into())
            .spawn(move || {
                let mut rate = Rate::default();
                while is_over.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let sample = progress.sample();
                    let speed = rate.observe(&sample);
                    face.show(&sample, speed);
                }
                face.finish();
            });
        // Without a thread to show it, the migration is as good.
        Display {
            thread: thread.ok().map(|thread| (over, thread)),
        }
    }

    /// Ends the display; bars stay as they are.
    pub(super) fn finish(self) {
        if let Some((over, thread)) = self.thread {
            drop(over);
            // A panic in it is reported by the panic hook.
            let _ = thread.join();
        }
    }
}

trait Face: Send {
    fn show(&mut self, sample: &Sample, speed: Speed);
    fn finish(&mut self);
}

/// One bar for each phase; those of past phases stay above.
struct Bars {
    screen: Screen,
    current: Option<(Phase, ProgressBar)>,
}

impl Bars {
    fn new(screen: Screen) -> Bars {
        Bars {
            screen,
            current: None,
        }
    }

    fn bar_for(&mut self, sample: &Sample) -> ProgressBar {
        if let Some((phase, bar)) = &self.current {
            if *phase == sample.phase {
                return bar.clone();
            }
            let took = sample.durations.get(phase).copied().unwrap_or_default();
            bar.set_style(style("  {prefix:<26} {msg}"));
            bar.finish_with_message(format!("{:.1} s", took.as_secs_f64()));
        }
        let bar = ProgressBar::new(1000)
            .with_style(style("{spinner} {prefix:<26} {wide_msg}"))
            .with_prefix(sample.phase.name());
        let bar = self.screen.add_bar(bar);
        self.current = Some((sample.phase, bar.clone()));
        bar
    }
}

impl Face for Bars {
    fn show(&mut self, sample: &Sample, speed: Speed) {
        let bar = self.bar_for(sample);
        let share = (sample.phase == Phase::Snapshot)
            .then(|| fraction(sample))
            .flatten();
        bar.set_style(match share {
            Some(_) => style("{spinner} {prefix:<12} [{bar:24}] {wide_msg}"),
            None => style("{spinner} {prefix:<26} {wide_msg}"),
        });
        bar.set_position((share.unwrap_or_default() * 1000.0) as u64);
        bar.set_message(describe(sample, speed));
        bar.tick();
    }

    fn finish(&mut self) {
        if let Some((_, bar)) = &self.current {
            bar.abandon();
        }
    }
}

fn style(template: &str) -> BarStyle {
    BarStyle::with_template(template).unwrap_or_else(|_| BarStyle::default_bar())
}

/// A log line at the beginning of each phase and every five seconds.
struct Lines {
    format: LogFormat,
    last: Option<(Phase, Duration)>,
}

impl Lines {
    fn new(format: LogFormat) -> Lines {
        Lines { format, last: None }
    }

    fn is_due(&mut self, sample: &Sample) -> bool {
        let due = match self.last {
            Some((phase, at)) => {
                phase != sample.phase || sample.elapsed.saturating_sub(at) >= LINE_EVERY
            }
            None => true,
        };
        if due {
            self.last = Some((sample.phase, sample.elapsed));
        }
        due
    }
}

impl Face for Lines {
    fn show(&mut self, sample: &Sample, speed: Speed) {
        if !self.is_due(sample) {
            return;
        }
        match self.format {
            LogFormat::Text => {
                tracing::info!("{}: {}", sample.phase.name(), describe(sample, speed))
            }
            LogFormat::Json => tracing::info!(
                phase = sample.phase.name(),
                elapsed_ms = sample.elapsed.as_millis() as u64,
                snapshot_bytes = sample.rdb_bytes,
                snapshot_bytes_total = sample.rdb_bytes_total,
                keys_read = sample.keys_read,
                keys_total = sample.keys_total,
                keys_written = sample.keys_written_total(),
                keys_per_s = speed.keys as u64,
                commands = sample.commands,
                commands_per_s = speed.commands as u64,
                bytes_read = sample.bytes_read,
                bytes_read_per_s = speed.bytes as u64,
                bytes_written = sample.bytes_written,
                errors = sample.errors,
                retries = sample.retries,
                eta_s = eta(sample, speed)
                    .filter(|_| sample.phase == Phase::Snapshot)
                    .map(|eta| eta.as_secs()),
                offset_source = sample.source_offset,
                offset_applied = sample.applied_offset,
                lag_bytes = sample.lag_bytes,
                lag_ms = sample.lag.map(|lag| lag.as_millis() as u64),
                expiries_held = sample.expiries_held,
                waiting = sample.waiting,
                "progress"
            ),
        }
    }

    fn finish(&mut self) {}
}

/// Where the migration stands, in one line.
fn describe(sample: &Sample, speed: Speed) -> String {
    let mut text = match sample.phase {
        Phase::Connecting | Phase::WaitingForSnapshot | Phase::Done => {
            format!("{:.0} s", sample.phase_elapsed.as_secs_f64())
        }
        Phase::Snapshot => snapshot(sample, speed),
        Phase::CatchingUp | Phase::Releasing | Phase::Following | Phase::Draining => {
            stream(sample, speed)
        }
    };
    if let Some(reason) = &sample.waiting {
        let _ = write!(text, ", waiting because {reason}");
    }
    text
}

fn snapshot(sample: &Sample, speed: Speed) -> String {
    let mut text = String::new();
    if let Some(share) = fraction(sample) {
        let _ = write!(text, "{:.0} %, ", share * 100.0);
    }
    let _ = write!(text, "{}", HumanBytes(sample.rdb_bytes));
    if sample.rdb_bytes_total > 0 {
        let _ = write!(text, " of {}", HumanBytes(sample.rdb_bytes_total));
    }
    let _ = write!(
        text,
        ", {} keys, {} keys/s, {}/s",
        HumanCount(sample.keys_read),
        HumanCount(speed.keys as u64),
        HumanBytes(speed.bytes as u64),
    );
    if let Some(eta) = eta(sample, speed) {
        let _ = write!(text, ", {} left", HumanDuration(eta));
    }
    text
}

fn stream(sample: &Sample, speed: Speed) -> String {
    let mut text = String::new();
    if let Some(offset) = sample.applied_offset {
        let _ = write!(text, "offset {offset}, ");
    }
    if let (Some(bytes), Some(lag)) = (sample.lag_bytes, sample.lag) {
        let _ = write!(
            text,
            "lag {} bytes / {:.1} s, ",
            HumanCount(bytes),
            lag.as_secs_f64()
        );
    }
    let _ = write!(text, "{} commands/s", HumanCount(speed.commands as u64));
    if sample.phase == Phase::Releasing {
        let _ = write!(text, ", {} expiries held", HumanCount(sample.expiries_held));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Awaited;

    fn progress() -> Progress {
        let progress = Progress::default();
        progress.rdb_bytes.set(1 << 20);
        progress.rdb_bytes_total.set(4 << 20);
        progress.keys_read.set(1_234);
        progress
    }

    #[test]
    fn each_phase_says_what_it_knows() {
        let speed = Speed {
            keys: 100.0,
            bytes: 2048.0,
            commands: 7.9,
            ..Speed::default()
        };
        let progress = progress();
        progress.enter(Phase::Snapshot);
        let text = describe(&progress.sample(), speed);
        assert_eq!(
            text,
            "25 %, 1.00 MiB of 4.00 MiB, 1,234 keys, 100 keys/s, 2.00 KiB/s"
        );
        progress.wait_because(Awaited::Target, Some("the target is loading".into()));
        assert!(
            describe(&progress.sample(), speed)
                .ends_with(", waiting because the target is loading")
        );
        progress.wait_because(Awaited::Target, None);
        progress.enter(Phase::Following);
        assert_eq!(describe(&progress.sample(), speed), "7 commands/s");
        progress.observe_source_offset(5_000);
        progress.applied_offset.set(5_000);
        let text = describe(&progress.sample(), speed);
        assert_eq!(text, "offset 5000, lag 0 bytes / 0.0 s, 7 commands/s");
    }

    #[test]
    fn lines_come_at_each_phase_and_every_five_seconds() {
        let mut lines = Lines::new(LogFormat::Text);
        let mut sample = progress().sample();
        for (second, phase, due) in [
            (0, Phase::Connecting, true),
            (1, Phase::Connecting, false),
            (2, Phase::Snapshot, true),
            (6, Phase::Snapshot, false),
            (7, Phase::Snapshot, true),
            (8, Phase::Following, true),
        ] {
            (sample.elapsed, sample.phase) = (Duration::from_secs(second), phase);
            assert_eq!(lines.is_due(&sample), due, "{second}");
        }
    }

    #[test]
    fn templates_of_bars_are_valid() {
        for template in [
            "  {prefix:<26} {msg}",
            "{spinner} {prefix:<12} [{bar:24}] {wide_msg}",
            "{spinner} {prefix:<26} {wide_msg}",
        ] {
            assert!(BarStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
