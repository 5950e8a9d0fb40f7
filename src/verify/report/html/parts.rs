//! What is in the page without the script.

use std::fmt::{Display, Write as _};

use super::{CELL_SLOTS, Cell, Found, key_text};
use crate::{
    keyspace::Slot,
    rdb::KeyType,
    verify::{
        Counts, Difference, Held, Kind, RepairSummary, Summary, Undecided, Verdict,
        report::{Head, Repaired},
    },
};

/// Cells in a row of the grid.
const GRID_COLUMNS: usize = 16;

/// What stands for `{{name}}`.
pub(super) fn part(name: &str, head: &Head, summary: &Summary, found: &Found) -> String {
    match name {
        "title" => format!(
            "{}: {} and {}",
            word(summary.result),
            html(&head.source),
            html(&head.target)
        ),
        "heading" => format!("{} &rarr; {}", html(&head.source), html(&head.target)),
        "verdict" => verdict(summary),
        "facts" => facts(head, summary),
        "grid" => grid(&found.cells),
        "embedded" => embedded(found),
        "functions" => functions(found),
        "first" => first(found),
        "totals" => totals(&summary.differences),
        "undecided" => undecided(summary, found),
        "repairs" => repairs(found),
        "repairs-link" if found.repairs_total == 0 => String::new(),
        "repairs-link" => "<a href=\"#repairs-heading\">Repairs</a>".to_owned(),
        other => unreachable!("the page has no {other}"),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Equal => "Equal",
        Verdict::Different => "Different",
        Verdict::Incomplete => "Incomplete",
    }
}

fn verdict(summary: &Summary) -> String {
    let result = summary.result;
    let sign = match result {
        Verdict::Equal => "&#10003;",
        Verdict::Different => "&#10007;",
        Verdict::Incomplete => "?",
    };
    let undecided: u64 = summary.undecided.values().sum();
    let counts = &summary.differences;
    let mut said = match counts.total {
        0 => "no difference was found".to_owned(),
        total => format!(
            "{} in {}",
            number(total, "difference", "differences"),
            number(counts.keys, "key", "keys")
        ),
    };
    if undecided > 0 {
        let _ = write!(said, ", {} undecided", number(undecided, "key", "keys"));
    }
    format!(
        "<div class=\"verdict {}\"><b>{sign} {}</b><span>{said}</span></div>",
        result.name(),
        word(result),
    )
}

fn facts(head: &Head, summary: &Summary) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("began", html(&head.started_at)),
        ("took", html(took(summary.duration_ms))),
        ("method", html(&head.method)),
        ("depth", html(&head.depth)),
        ("looked at", selected(head)),
        (
            "keys of the source compared",
            grouped(summary.keys_compared),
        ),
        (
            "keys of the target looked up",
            grouped(summary.keys_looked_up),
        ),
        ("function libraries compared", grouped(summary.functions)),
        (
            "large values, compared in pages",
            grouped(summary.large_keys),
        ),
        ("bytes read", grouped(summary.bytes_read)),
        ("rounds of reading again", grouped(summary.rounds)),
        (
            "differed at first, equal in the end",
            grouped(summary.settled),
        ),
        (
            "tolerance of expiries",
            format!("{} ms", grouped(head.ttl_tolerance_ms.unsigned_abs())),
        ),
    ];
    for (reason, keys) in &summary.not_looked_at {
        rows.push(match *reason {
            "filtered" => ("keys not selected", grouped(*keys)),
            "not_sampled" => ("keys left out by the sample", grouped(*keys)),
            other => (other, grouped(*keys)),
        });
    }
    if summary.expiries_held > 0 {
        rows.push((
            "expiries held by a running sync",
            grouped(summary.expiries_held),
        ));
    }
    if let Some(repair) = &summary.repair {
        let RepairSummary {
            copied,
            expiries_set,
            removed,
            functions,
            remaining,
            ..
        } = repair;
        let done = copied + expiries_set + removed + functions;
        rows.push(("repaired", grouped(done)));
        rows.push(("differences left after the repair", grouped(*remaining)));
    }
    if summary.resumed {
        rows.push(("resumed", "yes; the time is that of all runs".to_owned()));
    }
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"))
        .collect();
    format!("<dl>\n{rows}</dl>")
}

fn selected(head: &Head) -> String {
    let keys = match &*head.selection {
        "" => "all keys".to_owned(),
        selection => format!("<code>{}</code>", html(selection)),
    };
    match head.sample {
        0 | 1 => keys,
        sample => format!("{keys}, one of {}", grouped(sample)),
    }
}

fn grid(cells: &[Cell]) -> String {
    let mut grid = String::new();
    for (n, cell) in cells.iter().enumerate() {
        let first = n * usize::from(CELL_SLOTS);
        if n % GRID_COLUMNS == 0 {
            let _ = write!(grid, "<span aria-hidden=\"true\">{first}</span>");
        }
        let last = first + usize::from(CELL_SLOTS) - 1;
        let mut label = format!("slots {first} to {last}: ");
        label.push_str(&number(cell.differences, "difference", "differences"));
        if cell.undecided > 0 {
            let _ = write!(
                label,
                ", {} undecided",
                number(cell.undecided, "key", "keys")
            );
        }
        let (class, text) = match (cell.differences, cell.undecided) {
            (0, 0) => ("cell", String::new()),
            (0, _) => ("cell open", "?".to_owned()),
            (differences, _) => ("cell bad", short(differences)),
        };
        let _ = writeln!(
            grid,
            "<button type=\"button\" class=\"{class}\" aria-label=\"{label}\" title=\"{label}\">{text}</button>"
        );
    }
    grid
}

/// A count in three or four characters.
fn short(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        1000..=999_999 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn embedded(found: &Found) -> String {
    match found.embedded < found.total {
        true => format!(
            "<p><b>This page has the first {} of {}.</b> What is counted by slot and in the totals \
             is counted over all; a report in JSON Lines or SQLite names all.</p>",
            grouped(found.embedded),
            number(found.total, "difference", "differences")
        ),
        false => String::new(),
    }
}

fn functions(found: &Found) -> String {
    match found.functions {
        0 => String::new(),
        functions => format!(
            "<button type=\"button\" id=\"functions\">Function libraries ({})</button>",
            grouped(functions)
        ),
    }
}

fn first(found: &Found) -> String {
    if found.total == 0 {
        return "<p class=\"faint\">none</p>".to_owned();
    }
    let said = format!(
        "<p>Without its script this page shows the first {} of {}; the others stand in its source, \
         as JSON.</p>\n",
        found.first.len(),
        number(found.total, "difference", "differences")
    );
    let head = "<div class=\"scroll\"><table><thead><tr><th>key</th><th>differs in</th>\
                <th>source</th><th>target</th><th>first at</th><th>source has</th>\
                <th>target has</th></tr></thead><tbody>\n";
    let rows = found.first.concat();
    format!("{said}{head}{rows}</tbody></table></div>")
}

/// A difference as a row of a table.
pub(super) fn first_row(difference: &Difference) -> String {
    let is_function = difference.kind == Kind::Function;
    let place = match is_function {
        true => "function library".to_owned(),
        false => format!("db {}, slot {}", difference.db, Slot::of(&difference.key).0),
    };
    let held = |held: &Held| match held.value_type {
        None if is_function => String::new(),
        None => "<span class=\"none\">no key</span>".to_owned(),
        Some(of) => {
            let mut text = KeyType::name(of).to_owned();
            if let Some(len) = held.len {
                let _ = write!(text, ", length {}", grouped(len));
            }
            if let Some(bytes) = held.memory_bytes {
                let _ = write!(text, ", takes {} bytes", grouped(bytes));
            }
            if let Some(ms) = held.expire_at_ms {
                let _ = write!(text, ", expires at {ms} ms");
            }
            text
        }
    };
    let first = difference.first.as_ref();
    let value = |value: Option<&bytes::Bytes>| match value {
        None => "<span class=\"none\">nothing</span>".to_owned(),
        Some(bytes) => format!("<code>\"{}\"</code>", html(bytes.escape_ascii())),
    };
    format!(
        "<tr><td class=\"key\"><code>{}</code><div class=\"faint\">{place}</div></td><td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        html(key_text(&difference.key)),
        spaced(difference.kind.name()),
        held(&difference.source),
        held(&difference.target),
        first.map_or_else(String::new, |first| format!(
            "<code>{}</code>",
            html(&first.place)
        )),
        first.map_or_else(String::new, |first| value(first.source.as_ref())),
        first.map_or_else(String::new, |first| value(first.target.as_ref())),
    )
}

fn totals(counts: &Counts) -> String {
    let max = counts.total;
    let kinds = Kind::ALL.into_iter().filter_map(|kind| {
        let name = kind.name();
        let count = counts
            .by_kind
            .get(name)
            .copied()
            .filter(|count| *count > 0)?;
        let button =
            format!("<button type=\"button\" class=\"js\" data-kind=\"{name}\">Show</button>");
        Some((format!("{} {button}", spaced(name)), count))
    });
    let dbs = counts.by_db.iter();
    let types = counts.by_type.iter();
    let prefixes = counts.by_prefix.shown();
    let prefixes = prefixes.into_iter().map(|(prefix, count)| match &*prefix {
        "" => ("<span class=\"none\">no prefix</span>".to_owned(), count),
        "*" => ("<span class=\"none\">all others</span>".to_owned(), count),
        prefix => (format!("<code>{}</code>", html(prefix)), count),
    });
    [
        total("By kind", "kind", max, kinds.collect()),
        total(
            "By db",
            "db",
            max,
            dbs.map(|(db, n)| (db.to_string(), *n)).collect(),
        ),
        total(
            "By type",
            "type",
            max,
            types.map(|(of, n)| (html(of), *n)).collect(),
        ),
        total("By prefix", "prefix", max, prefixes.collect()),
    ]
    .concat()
}

/// Counts with the share they have of `max`; names are HTML already.
fn total(title: &str, column: &str, max: u64, rows: Vec<(String, u64)>) -> String {
    let mut text = format!("<section><h3>{title}</h3>");
    if rows.is_empty() {
        return text + "<p class=\"faint\">none</p></section>\n";
    }
    let _ = write!(
        text,
        "<table><thead><tr><th>{column}</th><th class=\"number\">differences</th></tr></thead><tbody>"
    );
    for (name, count) in rows {
        let share = count as f64 * 100.0 / max.max(1) as f64;
        let _ = write!(
            text,
            "<tr><td>{name}<span class=\"share\" style=\"width:{share:.1}%\"></span></td>\
             <td class=\"number\">{}</td></tr>",
            grouped(count)
        );
    }
    text + "</tbody></table></section>\n"
}

fn undecided(summary: &Summary, found: &Found) -> String {
    if found.undecided_total == 0 {
        return "<p class=\"faint\">none</p>".to_owned();
    }
    let reasons = summary.undecided.iter().filter(|(_, count)| **count > 0);
    let reasons: Vec<String> = reasons
        .map(|(reason, count)| format!("{reason} {}", grouped(*count)))
        .collect();
    let said = format!(
        "<p>Nothing can be said about {}: {}.{}</p>",
        number(found.undecided_total, "key", "keys"),
        reasons.join(", "),
        listed(found.undecided.len(), found.undecided_total)
    );
    let row = |of: &Undecided| {
        let detail = of.detail.as_deref().unwrap_or_default();
        named_row(of.db.0, &of.key, of.reason.name(), detail)
    };
    let rows: String = found.undecided.iter().map(row).collect();
    format!("{said}\n{}", named_table("why", &rows))
}

fn repairs(found: &Found) -> String {
    if found.repairs_total == 0 {
        return String::new();
    }
    let said = format!(
        "<h2 id=\"repairs-heading\">Repairs</h2>\n<p>{}.{}</p>",
        number(found.repairs_total, "repair", "repairs"),
        listed(found.repairs.len(), found.repairs_total)
    );
    let row = |of: &Repaired| {
        let detail = of.action.detail().unwrap_or_default();
        named_row(of.db.0, &of.key, of.action.name(), detail)
    };
    let rows: String = found.repairs.iter().map(row).collect();
    format!("{said}\n{}", named_table("done", &rows))
}

fn listed(listed: usize, total: u64) -> String {
    match (listed as u64) < total {
        true => format!(" The first {listed} of {}:", grouped(total)),
        false => String::new(),
    }
}

fn named_table(column: &str, rows: &str) -> String {
    format!(
        "<div class=\"scroll\"><table><thead><tr><th class=\"number\">db</th><th>key</th>\
         <th>{column}</th><th>detail</th></tr></thead><tbody>\n{rows}</tbody></table></div>"
    )
}

fn named_row(db: u32, key: &[u8], word: &str, detail: &str) -> String {
    format!(
        "<tr><td class=\"number\">{db}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
        html(key_text(key)),
        spaced(word),
        html(detail)
    )
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn number(count: u64, one: &str, many: &str) -> String {
    let word = if count == 1 { one } else { many };
    format!("{} {word}", grouped(count))
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn took(duration_ms: u64) -> String {
    let took = std::time::Duration::from_millis(duration_ms);
    humantime::format_duration(took).to_string()
}

/// Text that stands in HTML, also in a quoted attribute.
pub(super) fn html(text: impl Display) -> String {
    let text = text.to_string();
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}
