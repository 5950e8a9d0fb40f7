//! The tree as CSV (RFC 4180): one row for each prefix, the shorter before the longer.

use std::fmt::Write as _;

use super::{Branch, Report, Sums};
use crate::dump::csv_cell;

const HEADER: &str = "db,depth,kind,prefix,keys,expiring_keys,elements,memory_bytes,\
                      serialized_bytes,memory_percent\r\n";

impl Report {
    /// The tree of prefixes as CSV with a header; lines end with CR LF.
    ///
    /// `kind` is `prefix`, or `other` for what was counted under a prefix because its longer
    /// prefixes were folded or too deep; such keys are part of the row of the prefix as well.
    pub fn to_csv(&self) -> String {
        let mut csv = Csv {
            text: HEADER.to_owned(),
            total_bytes: self.totals.memory_bytes,
        };
        for db in &self.tree {
            let path = Path {
                db: db.db.0,
                depth: 0,
                prefix: "",
            };
            csv.branch(path, &db.root);
        }
        csv.text
    }
}

struct Csv {
    text: String,
    total_bytes: u64,
}

#[derive(Clone, Copy)]
struct Path<'a> {
    db: u32,
    depth: usize,
    prefix: &'a str,
}

impl Csv {
    fn branch(&mut self, path: Path<'_>, branch: &Branch) {
        self.row(path, "prefix", branch.sums);
        for child in &branch.children {
            let prefix = format!("{}{}", path.prefix, child.name);
            let below = Path {
                depth: path.depth + 1,
                prefix: &prefix,
                ..path
            };
            self.branch(below, child);
        }
        if branch.other.keys > 0 {
            self.row(path, "other", branch.other);
        }
    }

    fn row(&mut self, path: Path<'_>, kind: &str, sums: Sums) {
        let percent = sums.memory_bytes as f64 * 100.0 / self.total_bytes.max(1) as f64;
        let Path { db, depth, prefix } = path;
        let Sums {
            keys,
            expiring_keys,
            elements,
            memory_bytes,
            serialized_bytes,
        } = sums;
        let prefix = csv_cell(prefix);
        let _ = write!(
            self.text,
            "{db},{depth},{kind},{prefix},{keys},{expiring_keys},{elements},{memory_bytes},\
             {serialized_bytes},{percent:.2}\r\n"
        );
    }
}
