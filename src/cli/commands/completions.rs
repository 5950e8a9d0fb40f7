//! `keyferry completions <shell>`.

use clap_complete::{Shell, generate};

use crate::cli::{Exit, args, diagnostics::Diagnostic, output};

/// Prints a completion script.
pub(in crate::cli) fn run(shell: Shell) -> Result<Exit, Diagnostic> {
    let mut script = Vec::new();
    generate(shell, &mut args::command(), "keyferry", &mut script);
    output::print(&script)?;
    Ok(Exit::Success)
}
