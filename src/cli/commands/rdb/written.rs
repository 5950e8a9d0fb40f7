//! What is shown about an RDB that was written as something else.

use std::{collections::BTreeMap, io::Write as _};

use indicatif::HumanCount;
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter as _;

use crate::cli::{args::rdb::output_file, diagnostics::Diagnostic, output, task::Task};

impl Task<'_> {
    /// Shows the summary of what was written with `-o`: as JSON if that is asked for, or as a
    /// table; on stdout, or on stderr where stdout is what was written.
    ///
    /// # Errors
    /// Those of printing.
    pub(super) fn sum_up(
        &self,
        summary: &impl Serialize,
        table: &[(&str, String)],
    ) -> Result<(), Diagnostic> {
        let text = match self.talk.json {
            true => output::json_line(summary)?,
            false => output::rows(table),
        };
        match output_file(self.matches) {
            Some(_) => output::print(text.as_bytes()),
            None => {
                // Nobody may be left to tell on stderr.
                let _ = self.screen.make_writer().write_all(text.as_bytes());
                Ok(())
            }
        }
    }
}

/// A number as people read it.
pub(super) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// The rows of keys by type, from a map that has their `total` as well.
pub(super) fn by_type(
    keys: &BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = (&'static str, String)> {
    let types = keys.iter().filter(|(name, _)| **name != "total");
    types.map(|(name, keys)| (*name, format!("  {}", count(*keys))))
}

/// The rows of what was left out, as far as there is any, and of losses by kind.
pub(super) fn left_out(
    counts: &[(&str, u64)],
    losses: &BTreeMap<&'static str, u64>,
) -> Vec<(&'static str, String)> {
    let counts = counts.iter().filter(|(_, left_out)| *left_out > 0);
    let counts =
        counts.map(|(name, left_out)| ("left out", format!("{} {name}", count(*left_out))));
    let losses = losses.iter();
    let losses = losses.map(|(loss, lost)| ("lost", format!("{} {loss}", count(*lost))));
    counts.chain(losses).collect()
}
