//! Errors as the operator reads them: what failed, why, and what to do next.

use std::io::Write;

use super::Exit;
use crate::{
    config::ConfigError,
    dump::{self, CommandsError, ConvertError, CopyError, OutputError, OutputErrorKind},
    pipeline::{Error, SummaryError},
    telemetry::logs_are_json,
};

/// An error and the exit code it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnostic {
    exit: Exit,
    what: String,
    why: String,
    next: String,
}

impl Diagnostic {
    /// A local resource failed.
    pub(super) fn local(what: &str, why: &std::io::Error) -> Diagnostic {
        Diagnostic {
            exit: Exit::Local,
            what: what.to_owned(),
            why: why.to_string(),
            next: "check limits of the process (ulimit -a) and free space, and rerun".to_owned(),
        }
    }

    /// What failed, why, and what to do next.
    pub(super) fn of(exit: Exit, what: &str, why: &str, next: &str) -> Diagnostic {
        Diagnostic {
            exit,
            what: what.to_owned(),
            why: why.to_owned(),
            next: next.to_owned(),
        }
    }

    /// What was asked for cannot be done.
    pub(super) fn usage(what: &str, why: &str, next: &str) -> Diagnostic {
        Diagnostic::of(Exit::Usage, what, why, next)
    }

    /// An address cannot be listened on.
    pub(super) fn listen(address: std::net::SocketAddr, why: &std::io::Error) -> Diagnostic {
        Diagnostic {
            exit: Exit::Local,
            what: format!("{address} cannot be listened on"),
            why: why.to_string(),
            next: "give an address of this machine that nobody else listens on".to_owned(),
        }
    }

    /// A second signal ended a daemon.
    pub(super) fn daemon_aborted() -> Diagnostic {
        Diagnostic {
            exit: Exit::Local,
            what: "aborted by a second signal".to_owned(),
            why: "what was read and not confirmed by a target may be there or not".to_owned(),
            next: "start the daemon again; one signal alone drains".to_owned(),
        }
    }

    /// Migrations of a daemon failed while they drained.
    pub(super) fn not_drained(names: &[String]) -> Diagnostic {
        Diagnostic {
            exit: Exit::Local,
            what: format!("not drained: {}", names.join(", ")),
            why: "they failed after the stop was asked for; the log says why of each".to_owned(),
            next: "see what each of them says is to be done next, then start the daemon again"
                .to_owned(),
        }
    }

    /// A signal ended the run.
    pub(super) fn stopped(signal: &str) -> Diagnostic {
        Diagnostic {
            exit: Exit::Local,
            what: format!("stopped by {signal}"),
            why: "the input was not read to its end".to_owned(),
            next: "run it again".to_owned(),
        }
    }

    /// A panic; `report` says where.
    pub(super) fn bug(report: &str) -> Diagnostic {
        Diagnostic {
            exit: Exit::Bug,
            what: "keyferry has a bug and had to stop".to_owned(),
            why: report.to_owned(),
            next: format!(
                "please report it with this text and the version ({}); RUST_BACKTRACE=1 adds \
                 detail\nthe target holds a part of the data: the same command goes on where it was",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }

    /// The exit code it leads to.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the error to stderr, as a log line where logs are JSON.
    pub(super) fn report(&self) -> Exit {
        if logs_are_json() {
            let (code, why, next) = (self.exit as u8, &self.why, &self.next);
            tracing::error!(exit_code = code, why, next, "{}", self.what);
        } else {
            // Nobody is left to tell when stderr is gone.
            let _ = std::io::stderr().write_all(self.text().as_bytes());
        }
        self.exit
    }

    fn text(&self) -> String {
        let mut text = format!("error: {}\n", indented(&self.what));
        for (label, body) in [("why: ", &self.why), ("next:", &self.next)] {
            if !body.is_empty() {
                text.push_str(&format!("  {label} {}\n", indented(body)));
            }
        }
        text
    }
}

impl From<ConfigError> for Diagnostic {
    fn from(error: ConfigError) -> Diagnostic {
        Diagnostic {
            exit: Exit::Usage,
            what: error.what,
            why: error.why,
            next: error.next,
        }
    }
}

impl From<&Error> for Diagnostic {
    fn from(error: &Error) -> Diagnostic {
        let SummaryError {
            what, why, next, ..
        } = SummaryError::from(error);
        Diagnostic {
            exit: error.side().into(),
            what,
            why,
            next,
        }
    }
}

impl From<dump::Error> for Diagnostic {
    fn from(error: dump::Error) -> Diagnostic {
        Diagnostic {
            exit: Exit::Source,
            why: error.why(),
            next: error.next(),
            what: error.to_string(),
        }
    }
}

impl From<OutputError> for Diagnostic {
    fn from(error: OutputError) -> Diagnostic {
        Diagnostic {
            exit: match error.kind {
                OutputErrorKind::Exists | OutputErrorKind::Special => Exit::Usage,
                OutputErrorKind::Create(_) | OutputErrorKind::Write(_) => Exit::Local,
            },
            why: error.why(),
            next: error.next(),
            what: error.to_string(),
        }
    }
}

impl From<ConvertError> for Diagnostic {
    fn from(error: ConvertError) -> Diagnostic {
        match error {
            ConvertError::Copy(error) => error.into(),
            ConvertError::Lossy { .. } => Diagnostic {
                exit: Exit::Target,
                what: error.to_string(),
                why: "its release has no place for that in an RDB".to_owned(),
                next: ConvertError::next_of_lossy().to_owned(),
            },
        }
    }
}

impl From<CommandsError> for Diagnostic {
    fn from(error: CommandsError) -> Diagnostic {
        match error {
            CommandsError::Copy(error) => error.into(),
            CommandsError::Lossy {
                loss, by_payload, ..
            } => Diagnostic {
                exit: Exit::Target,
                what: error.to_string(),
                why: "its release has no command for that".to_owned(),
                next: CommandsError::next_of(loss, by_payload).to_owned(),
            },
        }
    }
}

impl From<CopyError> for Diagnostic {
    fn from(error: CopyError) -> Diagnostic {
        match error {
            CopyError::Read(error) => error.into(),
            CopyError::Write(error) => error.into(),
        }
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n        ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_why_and_next() {
        for (name, why, next, text) in [
            ("all", "w", "n", "error: x\n  why:  w\n  next: n\n"),
            ("no why", "", "n", "error: x\n  next: n\n"),
            (
                "two lines",
                "w",
                "n\nm\n",
                "error: x\n  why:  w\n  next: n\n        m\n",
            ),
        ] {
            let diagnostic = Diagnostic {
                exit: Exit::Target,
                what: "x".to_owned(),
                why: why.to_owned(),
                next: next.to_owned(),
            };
            assert_eq!(diagnostic.text(), text, "{name}");
        }
    }

    #[test]
    fn the_side_decides_the_exit_code() {
        let diagnostic = Diagnostic::from(&Error::Aborted);
        assert_eq!(diagnostic.exit, Exit::Local);
        assert_eq!(diagnostic.what, "aborted by a second signal");
        let diagnostic = Diagnostic::from(&Error::FlushDeclined);
        assert_eq!(diagnostic.exit, Exit::Usage);
    }
}
