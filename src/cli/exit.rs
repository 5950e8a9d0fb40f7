//! Exit codes, a contract: `docs/cli.md`.

use std::process::ExitCode;

use crate::pipeline::Side;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success = 0,
    /// Differences or findings.
    Differences = 1,
    /// The command line or the configuration cannot be used.
    Usage = 2,
    /// The source failed.
    Source = 3,
    /// The target failed.
    Target = 4,
    /// A local resource failed, or the run was aborted.
    Local = 5,
    /// Our bug.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<Side> for Exit {
    fn from(side: Side) -> Exit {
        match side {
            Side::Source => Exit::Source,
            Side::Target => Exit::Target,
            Side::Local => Exit::Local,
            Side::Usage => Exit::Usage,
        }
    }
}
