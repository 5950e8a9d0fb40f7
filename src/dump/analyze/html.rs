//! The report as one page that needs nothing else: data, style and script are in it.
//!
//! Names reach the page as JSON in an element that is not run, with everything escaped that could
//! end it; the script makes text of them, never markup.

use super::{DbBranch, Report};
use crate::dump::json_in_page;

/// How many prefixes a page has at most, over all dbs: what a browser handles at once.
const PREFIXES_MAX: usize = 20_000;

const PAGE: &str = include_str!("page.html");
/// Where the data stands in the page.
const DATA: &str = "{{data}}";

impl Report {
    /// The report as an HTML page with its own style and script.
    ///
    /// Very large trees are pruned to their largest prefixes; the rest is counted as `other`.
    pub fn to_html(&self) -> String {
        let max = PREFIXES_MAX / self.tree.len().max(1);
        let tree = self.tree.iter().map(|db| DbBranch {
            db: db.db,
            root: db.root.pruned(max),
        });
        let report = Report {
            tree: tree.collect(),
            ..self.clone()
        };
        PAGE.replacen(DATA, &json_in_page(report.to_json().trim_end()), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside() {
        assert_eq!(PAGE.matches(DATA).count(), 1);
        for outside in [
            "http:",
            "https:",
            "src=",
            "@import",
            "url(",
            "innerHTML",
            "eval(",
        ] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }
}
