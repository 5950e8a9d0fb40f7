//! The question before the target is emptied.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::Arc,
};

use indicatif::HumanCount;

use super::screen::Screen;
use crate::{
    config::{ConfigError, TargetConfig},
    net::Endpoint,
    pipeline::Consent,
};

/// How consent to the flush is obtained: from `--yes`, or from the person at the terminal.
///
/// # Errors
/// A flush is asked for, `--yes` is not given, and there is no terminal to ask on.
pub(super) fn of(config: &TargetConfig, screen: &Screen) -> Result<Consent, ConfigError> {
    if config.yes || !config.flush {
        return Ok(Consent::Given);
    }
    if !(io::stdin().is_terminal() && screen.is_terminal()) {
        return Err(ConfigError::new(
            "--flush-target needs --yes",
            "it deletes everything on the target, and there is no terminal to ask on",
            "add --yes if that is meant",
        ));
    }
    let (screen, target) = (screen.clone(), config.node.endpoint.clone());
    Ok(Consent::Ask(Arc::new(move |keys| {
        screen.without_bars(|| ask(&target, keys).unwrap_or(false))
    })))
}

fn ask(target: &Endpoint, keys: u64) -> io::Result<bool> {
    let mut stderr = io::stderr();
    write!(
        stderr,
        "All {} keys on the target {target} will be deleted. Type `yes` to go on: ",
        HumanCount(keys)
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
