//! `keyferry config`.

use crate::{
    cli::{Exit, diagnostics::Diagnostic, output},
    config::{Settings, SyncConfig},
};

/// Prints the effective configuration, if `keyferry sync` could run with it.
pub(in crate::cli) fn run(settings: &Settings) -> Result<Exit, Diagnostic> {
    SyncConfig::of(settings)?;
    output::print(settings.to_toml().as_bytes())?;
    Ok(Exit::Success)
}
