//! Each form of a report has exactly what was planted.

use rusqlite::Connection;

use super::copy;
use crate::support::{
    mutation::{Mutations, Planted},
    server::Server,
    verification::Verify,
    version::Version,
};

/// What all forms tell of a difference: db, key, kind, place, and what both sides have there.
type Row = (u32, String, String, Option<String>, [Option<String>; 2]);

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What was planted, of which the test knows only a part.
fn rows_of(planted: &[Planted]) -> Vec<Row> {
    let row = |one: &Planted| {
        let values = one.values().map(|value| value.map(escaped));
        let place = one.place().map(str::to_owned);
        (
            one.db,
            escaped(&one.key),
            one.kind().to_owned(),
            place,
            values,
        )
    };
    planted.iter().map(row).collect()
}

fn assert_rows(form: &str, mut found: Vec<Row>, planted: &[Planted]) {
    for expected in rows_of(planted) {
        let at = found.iter().position(|row| {
            let (db, key, kind, place, values) = row;
            let told = expected.3.is_none() || (&expected.3, &expected.4) == (place, values);
            let no_values = expected.4 == [None, None] && &expected.3 == place;
            (db, key, kind) == (&expected.0, &expected.1, &expected.2) && (told || no_values)
        });
        let at = at.unwrap_or_else(|| panic!("{form}: {expected:?} is not in {found:#?}"));
        found.swap_remove(at);
    }
    assert!(found.is_empty(), "{form}: not planted: {found:#?}");
}

/// The cells of RFC 4180.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            char => cell.push(char),
        }
    }
    assert!(row.is_empty() && cell.is_empty(), "it ends within a row");
    rows
}

fn rows_of_csv(text: &str) -> Vec<Row> {
    let mut table = csv(text).into_iter();
    let header = table.next().unwrap();
    let column = |row: &[String], name: &str| {
        let at = header.iter().position(|cell| cell == name);
        row[at.unwrap_or_else(|| panic!("no {name} in {header:?}"))].clone()
    };
    // What could be a formula in a spreadsheet begins with its escape.
    let plain = |cell: String| match cell.strip_prefix("\\x") {
        Some(rest) if ["3d", "2b", "2d", "40"].contains(&&rest[..2]) => {
            let first = u8::from_str_radix(&rest[..2], 16).unwrap();
            format!("{}{}", char::from(first), &rest[2..])
        }
        _ => cell,
    };
    let rows = table.filter(|row| column(row, "record") == "difference");
    rows.map(|row| {
        assert_eq!(row.len(), header.len());
        let place = Some(column(&row, "place")).filter(|place| !place.is_empty());
        let value = |name: &str| match (&place, column(&row, name)) {
            (None, _) => None,
            (_, cell) if cell == "\\N" => None,
            (_, cell) => Some(plain(cell)),
        };
        let values = ["source_value", "target_value"].map(value);
        let db = column(&row, "db").parse().unwrap();
        (
            db,
            plain(column(&row, "key")),
            column(&row, "kind"),
            place,
            values,
        )
    })
    .collect()
}

fn rows_of_sqlite(path: &str) -> Vec<Row> {
    let database = Connection::open(path).unwrap();
    let sql = "SELECT db, key, kind, place, source_value, target_value FROM differences";
    let mut query = database.prepare(sql).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let value = |at| -> rusqlite::Result<Option<String>> {
            let bytes: Option<Vec<u8>> = row.get(at)?;
            Ok(bytes.map(|bytes| escaped(&bytes)))
        };
        let key: Vec<u8> = row.get(1)?;
        let values = [value(4)?, value(5)?];
        Ok((row.get(0)?, escaped(&key), row.get(2)?, row.get(3)?, values))
    };
    query
        .query_map([], row)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// The data of the page, which is JSON in an element that is not run.
fn rows_of_html(page: &str) -> Vec<Row> {
    let (_, data) = page
        .split_once("{\"cells\"")
        .unwrap_or_else(|| panic!("no data in {page}"));
    let (data, _) = data.split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(&format!("{{\"cells\"{data}")).unwrap();
    let rows = data["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |at: usize| row[at].as_str().map(str::to_owned);
        let key = text(3).unwrap();
        let key = match key.rsplit_once("\"... (") {
            Some((key, _)) => key.trim_start_matches('"').to_owned(),
            None => key[1..key.len() - 1].to_owned(),
        };
        let db = row[2].as_u64().unwrap() as u32;
        (db, key, text(4).unwrap(), text(13), [text(14), text(15)])
    })
    .collect()
}

#[test]
fn each_form_has_what_was_planted() {
    let version = Version::named("redis-8.0");
    let mutations = Mutations::between(version, version);
    let [source, target] = [version, version].map(|version| Server::of(version).start());
    mutations.make(&source);
    copy(&source, &target);
    let planted = mutations.plant(&source, &target);
    for form in ["csv", "sqlite", "html"] {
        let verify = Verify::reporting(&source.url(), &target.url(), form);
        let finished = verify.start().wait(super::SOON);
        finished.assert_code(1);
        assert_eq!(finished.json()["differences"]["total"], planted.len());
        let path = verify.report_of(form);
        let text = || std::fs::read_to_string(&path).unwrap();
        match form {
            "csv" => assert_rows(form, rows_of_csv(&text()), &planted),
            "sqlite" => assert_rows(form, rows_of_sqlite(&path), &planted),
            _ => {
                let page = text();
                assert!(!page.contains("<b>&,;"), "a key is markup");
                let mut found = rows_of_html(&page);
                // Long keys are cut there.
                for row in &mut found {
                    let whole = planted.iter().map(|one| escaped(&one.key));
                    let mut whole =
                        whole.filter(|key| row.1.len() > 500 && key.starts_with(&row.1));
                    row.1 = whole.next().unwrap_or(row.1.clone());
                }
                assert_rows(form, found, &planted);
            }
        }
    }
}

#[test]
fn a_report_that_is_there_is_not_replaced_unless_asked_for() {
    let [source, target] = ["redis-7.0", "redis-7.0"].map(Server::start);
    target.client().run(command!["SET", "key", "v"]);
    for form in ["jsonl", "csv", "sqlite", "html"] {
        let verify = Verify::reporting(&source.url(), &target.url(), form);
        let path = verify.report_of(form);
        std::fs::write(&path, "precious").unwrap();
        let refused = verify.start().wait(super::SOON);
        refused.assert_code(2);
        for said in ["error: ", "next: ", "--overwrite"] {
            assert!(refused.stderr.contains(said), "{}", refused.stderr);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let replaced = verify.start_with(&["--overwrite"]).wait(super::SOON);
        replaced.assert_code(1);
        assert!(!std::fs::read(&path).unwrap().starts_with(b"precious"));
    }
}
