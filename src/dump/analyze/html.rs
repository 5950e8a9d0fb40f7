//! The report as one page that needs nothing else: data, style and script are in it.
//!
//! Names reach the page as JSON in an element that is not run, with everything escaped that could
//! end it; the script makes text of them, never markup.

use super::{DbBranch, Report};

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
        PAGE.replacen(DATA, &escaped(report.to_json().trim_end()), 1)
    }
}

/// JSON that can stand in an element of a page: what HTML or scripts give a meaning is `\uNNNN`.
///
/// Outside of texts JSON has none of these.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_it() {
        let json = r#"{"name":"</script><!--<script>&amp;"}"#;
        let text = escaped(json);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["name"], "</script><!--<script>&amp;");
    }

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
