//! Shows how far the reading of an RDB, or a verification, has come: a bar on a terminal, log lines
//! elsewhere.

use std::{sync::Arc, time::Duration};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle as BarStyle};
use tokio::task::JoinHandle;

use super::screen::Screen;
use crate::{
    config::{LogFormat, ProgressStyle, Talk},
    dump::Meter,
    verify::{self, Phase},
};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);
/// How often a log line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What a bar shows.
pub(super) trait Shown: Send + Sync + 'static {
    /// How the bar looks.
    const TEMPLATE: &'static str;
    /// How far it has come, and how far it goes; nil is unknown.
    fn place(&self) -> (u64, u64);
    /// The same in words.
    fn describe(&self) -> String;
}

/// The running display.
pub(super) struct Display {
    shown: Option<(JoinHandle<()>, Option<ProgressBar>)>,
}

impl Display {
    /// Begins to show `meter` as `talk` asks for.
    pub(super) fn start<T: Shown>(talk: &Talk, screen: &Screen, meter: &Arc<T>) -> Display {
        let meter = Arc::clone(meter);
        let bars = screen.is_terminal() && talk.log_format == LogFormat::Text;
        let shown = match talk.progress {
            ProgressStyle::Never => None,
            ProgressStyle::Auto if bars => {
                let bar = screen.add_bar(ProgressBar::new(1).with_style(style(T::TEMPLATE)));
                let moved = bar.clone();
                let task = tokio::spawn(async move { move_bar(&moved, &*meter).await });
                Some((task, Some(bar)))
            }
            ProgressStyle::Auto => Some((tokio::spawn(write_lines(meter)), None)),
        };
        Display { shown }
    }

    /// Ends the display; a bar goes away.
    pub(super) fn finish(self) {
        if let Some((task, bar)) = self.shown {
            task.abort();
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        }
    }
}

async fn move_bar(bar: &ProgressBar, meter: &impl Shown) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let (place, total) = meter.place();
        bar.set_length(total.max(1));
        bar.set_position(place);
        bar.set_message(meter.describe());
    }
}

async fn write_lines(meter: Arc<impl Shown>) {
    let mut lines = tokio::time::interval(LINE_EVERY);
    // The first tick comes at once, when there is nothing to tell.
    lines.tick().await;
    loop {
        lines.tick().await;
        tracing::info!("{}", meter.describe());
    }
}

fn style(template: &str) -> BarStyle {
    // The templates are constant; a mistake in one shows in every run.
    BarStyle::with_template(template).unwrap_or_else(|_| BarStyle::default_bar())
}

impl Shown for Meter {
    const TEMPLATE: &'static str = "{spinner} [{bar:24}] {msg}, {binary_bytes_per_sec}";

    fn place(&self) -> (u64, u64) {
        (self.bytes(), self.bytes_total())
    }

    fn describe(&self) -> String {
        let read = HumanBytes(self.bytes());
        let of = match self.bytes_total() {
            0 => String::new(),
            total => format!(" of {}", HumanBytes(total)),
        };
        format!("reading: {read}{of}, {} keys", HumanCount(self.keys()))
    }
}

impl Shown for verify::Progress {
    const TEMPLATE: &'static str = "{spinner} [{bar:24}] {msg}, {per_sec}, ETA {eta}";

    fn place(&self) -> (u64, u64) {
        (self.keys_done.get(), self.keys_total.get())
    }

    fn describe(&self) -> String {
        let mut text = self.phase().name().to_owned();
        if self.phase() != Phase::Connecting {
            let (done, total) = self.place();
            text.push_str(&format!(": {} keys", HumanCount(done)));
            if total > 0 {
                text.push_str(&format!(" of {}", HumanCount(total)));
            }
        }
        for (count, name) in [
            (&self.suspects, "to read again"),
            (&self.differences, "differences"),
        ] {
            if count.get() > 0 {
                text.push_str(&format!(", {} {name}", HumanCount(count.get())));
            }
        }
        if let Some(why) = self.waiting() {
            text.push_str(&format!(", waiting because the {why}"));
        }
        text
    }
}
