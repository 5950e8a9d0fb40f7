//! The report as JSON: its fields as they are, documented in `docs/rdb.md`.

use super::Report;

impl Report {
    /// One JSON object on one line, with a newline behind it.
    ///
    /// Names are text as [`super::Name`] shows them, times are absolute milliseconds.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string(self);
        // Every field is a number, a text, or a list of those.
        json.expect("a report has a JSON form") + "\n"
    }
}
