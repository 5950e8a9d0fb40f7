//! Shows how far the reading of an RDB has come: a bar on a terminal, log lines elsewhere.

use std::{sync::Arc, time::Duration};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle as BarStyle};
use tokio::task::JoinHandle;

use super::screen::Screen;
use crate::{
    config::{LogFormat, ProgressStyle, Talk},
    dump::Meter,
};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);
/// How often a log line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The running display.
pub(super) struct Display {
    shown: Option<(JoinHandle<()>, Option<ProgressBar>)>,
}

impl Display {
    /// Begins to show `meter` as `talk` asks for.
    pub(super) fn start(talk: &Talk, screen: &Screen, meter: &Arc<Meter>) -> Display {
        let meter = Arc::clone(meter);
        let bars = screen.is_terminal() && talk.log_format == LogFormat::Text;
        let shown = match talk.progress {
            ProgressStyle::Never => None,
            ProgressStyle::Auto if bars => {
                let bar = screen.add_bar(ProgressBar::new(1).with_style(style()));
                let moved = bar.clone();
                let task = tokio::spawn(async move { move_bar(&moved, &meter).await });
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

async fn move_bar(bar: &ProgressBar, meter: &Meter) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        bar.set_length(meter.bytes_total().max(1));
        bar.set_position(meter.bytes());
        bar.set_message(describe(meter));
    }
}

async fn write_lines(meter: Arc<Meter>) {
    let mut lines = tokio::time::interval(LINE_EVERY);
    // The first tick comes at once, when there is nothing to tell.
    lines.tick().await;
    loop {
        lines.tick().await;
        tracing::info!("reading: {}", describe(&meter));
    }
}

fn describe(meter: &Meter) -> String {
    let read = HumanBytes(meter.bytes());
    let of = match meter.bytes_total() {
        0 => String::new(),
        total => format!(" of {}", HumanBytes(total)),
    };
    format!("{read}{of}, {} keys", HumanCount(meter.keys()))
}

fn style() -> BarStyle {
    // The template is constant; a mistake in it shows in every run.
    BarStyle::with_template("{spinner} [{bar:24}] {msg}, {binary_bytes_per_sec}")
        .unwrap_or_else(|_| BarStyle::default_bar())
}
