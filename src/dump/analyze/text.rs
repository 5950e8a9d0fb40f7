//! The report as text: tables with the largest first.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};

use crate::keyspace::UnixMs;

use super::{Branch, Report, Sums, TopKey};

/// Prefixes below this share of all memory are summed up.
const SHARE_MIN: f64 = 0.01;
/// How much of a name is shown, in characters.
const NAME_CHARS_MAX: usize = 100;
const DAY_MS: i64 = 86_400_000;

impl Report {
    /// The report as text for a person: the summary, then tables.
    pub fn to_text(&self) -> String {
        let mut text = self.summary();
        self.dbs_table(&mut text);
        self.types_table(&mut text);
        self.ttl_table(&mut text);
        self.prefixes_table(&mut text);
        self.top_table(&mut text);
        text
    }

    fn summary(&self) -> String {
        let Sums {
            keys,
            expiring_keys,
            ..
        } = self.totals;
        let by = self.saved_by.server.as_deref().unwrap_or("a server");
        let saved = self.saved_by.saved_at_ms.map(utc);
        let mut rows = vec![
            ("input", self.input.clone()),
            (
                "saved",
                format!(
                    "by {by}{}, {} of RDB version {}",
                    saved.map_or_else(String::new, |at| format!(" at {at}")),
                    HumanBytes(self.rdb_bytes),
                    self.saved_by.rdb_version
                ),
            ),
            (
                "keys",
                format!("{} in {}", HumanCount(keys), dbs(self.dbs.len())),
            ),
        ];
        if self.keys_not_selected > 0 {
            rows.push((
                "left out",
                format!("{} keys", HumanCount(self.keys_not_selected)),
            ));
        }
        rows.push((
            "expiring",
            format!(
                "{} of the keys; times count from {}",
                percent(expiring_keys, keys),
                utc(self.now_ms)
            ),
        ));
        rows.push((
            "memory",
            format!(
                "{} in keys and {} in tables, estimated for {} on {}",
                HumanBytes(self.totals.memory_bytes),
                HumanBytes(self.table_bytes),
                self.model.server,
                self.model.allocator
            ),
        ));
        if let Some(used) = self.saved_by.used_memory_bytes {
            let all = "all that the server had in use when it saved";
            rows.push(("used", format!("{}, {all}", HumanBytes(used))));
        }
        if self.prefixes.folded > 0 {
            let folded = HumanCount(self.prefixes.folded);
            let why = "small prefixes were counted under shorter ones, as (other)";
            rows.push(("folded", format!("{folded} {why}")));
        }
        rows.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name:<10} {value}");
            text
        })
    }

    fn dbs_table(&self, text: &mut String) {
        let mut table = Table::new("By db", &[SUMS_HEADER, &["tables"]].concat(), "db");
        for db in &self.dbs {
            let mut cells = self.cells(db.sums);
            cells.push(HumanBytes(db.table_bytes).to_string());
            table.row(cells, db.db.to_string());
        }
        table.print(text);
    }

    fn types_table(&self, text: &mut String) {
        let mut table = Table::new("By type", SUMS_HEADER, "type and encoding");
        let mut types = self.types.clone();
        types.sort_by_key(|of| std::cmp::Reverse(of.sums.memory_bytes));
        for of in types {
            let name = kind(of.key_type, of.encoding);
            table.row(self.cells(of.sums), name);
        }
        table.print(text);
    }

    fn ttl_table(&self, text: &mut String) {
        let mut table = Table::new("By time to live", SUMS_HEADER, "time left");
        for bucket in self.ttl.iter().filter(|bucket| bucket.sums.keys > 0) {
            table.row(self.cells(bucket.sums), bucket.ttl.to_owned());
        }
        table.print(text);
    }

    fn prefixes_table(&self, text: &mut String) {
        let title = format!("By prefix, from {}% of the memory on", SHARE_MIN * 100.0);
        let mut table = Table::new(&title, SUMS_HEADER, "prefix");
        for db in &self.tree {
            if self.tree.len() == 1 {
                self.children(&db.root, 0, &mut table);
            } else if self.is_large(db.root.sums) {
                table.row(self.cells(db.root.sums), format!("db {}", db.db));
                self.children(&db.root, 1, &mut table);
            }
        }
        table.print(text);
    }

    /// The rows below a branch: large prefixes, then what is left.
    fn children(&self, branch: &Branch, depth: usize, table: &mut Table) {
        let indent = "  ".repeat(depth);
        let (mut rest, mut rest_prefixes) = (branch.other, branch.other_prefixes);
        for child in &branch.children {
            if !self.is_large(child.sums) {
                rest += child.sums;
                rest_prefixes += 1;
                continue;
            }
            let (name, end) = joined(child);
            table.row(self.cells(child.sums), format!("{indent}{name}"));
            self.children(end, depth + 1, table);
        }
        if self.is_large(rest) {
            let of = match rest_prefixes {
                0 => "longer prefixes".to_owned(),
                count => format!("{} prefixes", HumanCount(count)),
            };
            table.row(self.cells(rest), format!("{indent}(other: {of})"));
        }
    }

    fn is_large(&self, sums: Sums) -> bool {
        let least = self.totals.memory_bytes as f64 * SHARE_MIN;
        sums.keys > 0 && sums.memory_bytes as f64 >= least
    }

    fn top_table(&self, text: &mut String) {
        let header = ["memory", "%", "serialized", "elements", "time left", "db"];
        let mut table = Table::new("Largest keys", &header, "key");
        for top in &self.top {
            let TopKey {
                db,
                key,
                key_type,
                encoding,
                elements,
                memory_bytes,
                serialized_bytes,
                expire_at_ms,
            } = top;
            let cells = vec![
                HumanBytes(*memory_bytes).to_string(),
                percent(*memory_bytes, self.totals.memory_bytes),
                HumanBytes(*serialized_bytes).to_string(),
                HumanCount(*elements).to_string(),
                expire_at_ms.map_or_else(|| "-".into(), |at| ttl(at.saturating_sub(self.now_ms))),
                db.to_string(),
            ];
            let name = key.short(NAME_CHARS_MAX);
            table.row(cells, format!("{name}  ({})", kind(key_type, encoding)));
        }
        table.print(text);
    }

    fn cells(&self, sums: Sums) -> Vec<String> {
        let Sums {
            keys,
            expiring_keys,
            memory_bytes,
            serialized_bytes,
            ..
        } = sums;
        vec![
            HumanCount(keys).to_string(),
            percent(expiring_keys, keys),
            HumanBytes(memory_bytes).to_string(),
            percent(memory_bytes, self.totals.memory_bytes),
            HumanBytes(memory_bytes / keys.max(1)).to_string(),
            HumanBytes(serialized_bytes).to_string(),
        ]
    }
}

const SUMS_HEADER: &[&str] = &["keys", "expiring", "memory", "%", "per key", "serialized"];

/// The name of a branch with those below it that hold the same keys, and the last of these.
fn joined(branch: &Branch) -> (String, &Branch) {
    let (mut name, mut end) = (branch.name.to_string(), branch);
    while let [only] = end.children.as_slice()
        && only.sums.keys == end.sums.keys
    {
        let _ = write!(name, "{}", only.name);
        end = only;
    }
    (name, end)
}

/// Numbers to the right, a name behind them.
struct Table {
    title: String,
    rows: Vec<(Vec<String>, String)>,
}

impl Table {
    fn new(title: &str, header: &[&str], name: &str) -> Table {
        let header = header.iter().map(|name| (*name).to_owned()).collect();
        Table {
            title: title.to_owned(),
            rows: vec![(header, name.to_owned())],
        }
    }

    fn row(&mut self, cells: Vec<String>, name: String) {
        self.rows.push((cells, name));
    }

    /// Appends the table, unless it is empty.
    fn print(&self, text: &mut String) {
        let [(header, _), rows @ ..] = self.rows.as_slice() else {
            return;
        };
        if rows.is_empty() {
            return;
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|(cells, _)| cells[column].len());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..header.len()).map(width).collect();
        let _ = writeln!(text, "\n{}", self.title);
        for (cells, name) in &self.rows {
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(text, "  {cell:>width$}");
            }
            let _ = writeln!(text, "  {name}");
        }
    }
}

/// Type and encoding, unless these are the same.
fn kind(key_type: &str, encoding: &str) -> String {
    match key_type == encoding {
        true => key_type.to_owned(),
        false => format!("{key_type} {encoding}"),
    }
}

fn dbs(count: usize) -> String {
    match count {
        1 => "1 db".into(),
        count => format!("{count} dbs"),
    }
}

fn percent(part: u64, of: u64) -> String {
    format!("{:.1}%", part as f64 * 100.0 / of.max(1) as f64)
}

/// A duration in its largest unit, rounded down.
fn ttl(ttl_ms: i64) -> String {
    match ttl_ms {
        i64::MIN..=0 => "expired".into(),
        1..1000 => format!("{ttl_ms}ms"),
        1000..60_000 => format!("{}s", ttl_ms / 1000),
        60_000..3_600_000 => format!("{}m", ttl_ms / 60_000),
        3_600_000..DAY_MS => format!("{}h", ttl_ms / 3_600_000),
        DAY_MS.. => format!("{}d", ttl_ms / DAY_MS),
    }
}

/// A time as `2024-11-02 10:22:33 UTC`.
fn utc(at_ms: UnixMs) -> String {
    let (days, seconds) = (at_ms.div_euclid(DAY_MS), at_ms.rem_euclid(DAY_MS) / 1000);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The date of a day counted from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_400_YEARS: i64 = 146_097;
    // Years are counted from March on, so that the day a leap year has more is the last one.
    let from_march_0 = days + 719_468;
    let era = from_march_0.div_euclid(DAYS_400_YEARS);
    let day_of_era = from_march_0.rem_euclid(DAYS_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        for (at_ms, shown) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_730_542_953_999, "2024-11-02 10:22:33 UTC"),
            (4_102_444_800_000, "2100-01-01 00:00:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(at_ms), shown);
        }
        // Whatever a file says, it can be shown.
        utc(i64::MAX);
        utc(i64::MIN);
    }

    #[test]
    fn durations_are_shown_in_their_largest_unit() {
        for (ttl_ms, shown) in [
            (i64::MIN, "expired"),
            (0, "expired"),
            (1, "1ms"),
            (999, "999ms"),
            (59_999, "59s"),
            (3_599_999, "59m"),
            (DAY_MS - 1, "23h"),
            (DAY_MS, "1d"),
            (400 * DAY_MS, "400d"),
        ] {
            assert_eq!(ttl(ttl_ms), shown);
        }
    }
}
