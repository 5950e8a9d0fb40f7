//! The questions before a target is emptied or written to.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::Arc,
};

use indicatif::HumanCount;

use super::screen::Screen;
use crate::{
    config::{ConfigError, TargetConfig},
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
    if !may_ask(screen) {
        return Err(ConfigError::new(
            "--flush-target needs --yes",
            "it deletes everything on the target, and there is no terminal to ask on",
            "add --yes if that is meant",
        ));
    }
    let (screen, target) = (screen.clone(), config.node.endpoint.clone());
    Ok(Consent::Ask(Arc::new(move |keys| {
        let keys = HumanCount(keys);
        ask(
            &screen,
            &format!("All {keys} keys on the target {target} will be deleted."),
        )
    })))
}

/// Whether there is a person to ask.
pub(super) fn may_ask(screen: &Screen) -> bool {
    io::stdin().is_terminal() && screen.is_terminal()
}

/// Tells a person what will happen; whether they want it.
pub(super) fn ask(screen: &Screen, what: &str) -> bool {
    screen.without_bars(|| answer(what).unwrap_or(false))
}

fn answer(what: &str) -> io::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "{what} Type `yes` to go on: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
