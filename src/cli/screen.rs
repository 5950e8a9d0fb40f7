//! stderr, shared by log lines, bars and the question before a flush.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

/// stderr. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    bars: MultiProgress,
    is_terminal: bool,
}

impl Screen {
    /// Takes stderr; bars show nothing until [`Screen::add_bar`], and never off a terminal.
    pub(super) fn stderr() -> Screen {
        Screen {
            bars: MultiProgress::new(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows a bar below those there are.
    pub(super) fn add_bar(&self, bar: ProgressBar) -> ProgressBar {
        self.bars.add(bar)
    }

    /// Runs `talk` with the bars out of sight.
    ///
    /// Log lines pass meanwhile: they must never wait for a person.
    pub(super) fn without_bars<T>(&self, talk: impl FnOnce() -> T) -> T {
        // Failing to clear leaves a stale line, which does no harm.
        let _ = self.bars.clear();
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
        let told = talk();
        self.bars.set_draw_target(ProgressDrawTarget::stderr());
        told
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Lines<'a>;

    fn make_writer(&'a self) -> Lines<'a> {
        Lines(&self.bars)
    }
}

/// Writes log lines above the bars.
pub(super) struct Lines<'a>(&'a MultiProgress);

impl Write for Lines<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
