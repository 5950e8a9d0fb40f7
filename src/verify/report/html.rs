//! One page that needs nothing else: data, style and script are in it.
//!
//! Differences go to a temporary file as they come, as rows of JSON; the page is put together at the
//! end. So many of them are in the page; what is counted is counted over all.
//!
//! Names reach the script as JSON in an element that is not run, with everything escaped that could
//! end it; the script makes text of them, never markup. What is there without the script
//! ([`parts`]) is escaped as HTML.

mod parts;

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use bytes::Bytes;

use super::{Format, Head, Repaired, io_error, slot_of};
use crate::{
    dump::{Output, OutputError, OutputErrorKind, json_in_page},
    keyspace::Slot,
    rdb::KeyType,
    verify::{Difference, Held, Kind, Summary, Undecided},
};

const PAGE: &str = include_str!("page.html");

/// How many slots a cell stands for.
const CELL_SLOTS: u16 = 64;
const CELLS: usize = (Slot::COUNT / CELL_SLOTS) as usize;

/// The bytes of a key that are shown.
const KEY_BYTES_MAX: usize = 512;

/// How much a page has: what a browser handles at once.
#[derive(Debug, Clone, Copy)]
struct Caps {
    /// Differences.
    rows: u64,
    /// The bytes they take.
    bytes: u64,
    /// Undecided keys, repairs, and differences that are there without the script.
    listed: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            rows: 100_000,
            bytes: 64 << 20,
            listed: 200,
        }
    }
}

/// A report as an HTML page.
pub(super) struct Html {
    output: Output,
    head: Head,
    caps: Caps,
    /// Rows of JSON, separated by commas.
    rows: BufWriter<File>,
    rows_bytes: u64,
    found: Found,
}

/// What was found so far, beside the rows.
#[derive(Debug)]
struct Found {
    /// How many differences are in the page.
    embedded: u64,
    total: u64,
    cells: Vec<Cell>,
    functions: u64,
    /// The first differences, as rows of HTML.
    first: Vec<String>,
    undecided: Vec<Undecided>,
    undecided_total: u64,
    repairs: Vec<Repaired>,
    repairs_total: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    differences: u64,
    undecided: u64,
}

impl Html {
    pub(super) fn create(path: &Path, head: &Head, overwrite: bool) -> Result<Html, OutputError> {
        Html::with_caps(path, head, overwrite, Caps::default())
    }

    fn with_caps(
        path: &Path,
        head: &Head,
        overwrite: bool,
        caps: Caps,
    ) -> Result<Html, OutputError> {
        let output = Output::file(path, overwrite)?;
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        // It has no name, so nothing is left of it whatever happens.
        let rows = tempfile::tempfile_in(directory).map_err(|error| OutputError {
            output: output.name().to_owned(),
            kind: OutputErrorKind::Create(error),
        })?;
        Ok(Html {
            output,
            head: head.clone(),
            caps,
            rows: BufWriter::new(rows),
            rows_bytes: 0,
            found: Found {
                embedded: 0,
                total: 0,
                cells: vec![Cell::default(); CELLS],
                functions: 0,
                first: Vec::new(),
                undecided: Vec::new(),
                undecided_total: 0,
                repairs: Vec::new(),
                repairs_total: 0,
            },
        })
    }

    fn add(&mut self, difference: &Difference) -> io::Result<()> {
        let found = &mut self.found;
        found.total += 1;
        match slot_of(difference).and_then(|slot| found.cells.get_mut(cell_of(slot))) {
            Some(cell) => cell.differences += 1,
            None => found.functions += 1,
        }
        if found.first.len() < self.caps.listed {
            found.first.push(parts::first_row(difference));
        }
        // What follows the first one that does not fit is left out too: "the first N" is true.
        if found.embedded + 1 < found.total || found.embedded >= self.caps.rows {
            return Ok(());
        }
        let row = json_in_page(&row_of(difference));
        if self.rows_bytes + row.len() as u64 > self.caps.bytes {
            return Ok(());
        }
        if found.embedded > 0 {
            self.rows.write_all(b",\n")?;
        }
        self.rows.write_all(row.as_bytes())?;
        self.rows_bytes += row.len() as u64;
        found.embedded += 1;
        Ok(())
    }

    fn data(&mut self, summary: &Summary) -> io::Result<()> {
        let by_kind = &summary.differences.by_kind;
        let kinds = Kind::ALL.map(Kind::name).into_iter();
        let kinds: Vec<&str> = kinds.filter(|kind| by_kind.contains_key(kind)).collect();
        let dbs: Vec<&u32> = summary.differences.by_db.keys().collect();
        let cells: Vec<u64> = self
            .found
            .cells
            .iter()
            .map(|cell| cell.differences)
            .collect();
        let begin = serde_json::json!({
            "total": self.found.total,
            "functions": self.found.functions,
            "cells": cells,
            "kinds": kinds,
            "dbs": dbs,
        });
        let begin = json_in_page(&begin.to_string());
        let begin = begin.trim_end_matches('}');
        write!(self.output, "{begin},\"rows\":[")?;
        self.rows.flush()?;
        let rows = self.rows.get_mut();
        rows.seek(SeekFrom::Start(0))?;
        let mut rows = BufReader::new(rows);
        io::copy(&mut rows, &mut self.output)?;
        self.output.write_all(b"]}")
    }
}

impl Format for Html {
    fn differences(&mut self, of_key: &[Difference]) -> io::Result<()> {
        of_key
            .iter()
            .try_for_each(|difference| self.add(difference))
    }

    fn undecided(&mut self, undecided: &Undecided) -> io::Result<()> {
        let found = &mut self.found;
        found.undecided_total += 1;
        if let Some(cell) = found.cells.get_mut(cell_of(Slot::of(&undecided.key))) {
            cell.undecided += 1;
        }
        if found.undecided.len() < self.caps.listed {
            found.undecided.push(undecided.clone());
        }
        Ok(())
    }

    fn repaired(&mut self, repaired: &Repaired) -> io::Result<()> {
        self.found.repairs_total += 1;
        if self.found.repairs.len() < self.caps.listed {
            self.found.repairs.push(repaired.clone());
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary) -> io::Result<()> {
        // `text{{name}}text{{name}}text`
        let mut pieces = PAGE.split("{{");
        let start = pieces.next().unwrap_or_default();
        self.output.write_all(start.as_bytes())?;
        for piece in pieces {
            let (name, text) = piece.split_once("}}").unwrap_or((piece, ""));
            match name {
                "data" => self.data(summary)?,
                name => {
                    let part = parts::part(name, &self.head, summary, &self.found);
                    self.output.write_all(part.as_bytes())?;
                }
            }
            self.output.write_all(text.as_bytes())?;
        }
        self.output.finish().map(drop).map_err(io_error)
    }
}

fn cell_of(slot: Slot) -> usize {
    usize::from(slot.0 / CELL_SLOTS)
}

/// What the script reads: cell and slot, db and key, kind, what each side holds, and where they
/// differ first.
fn row_of(difference: &Difference) -> String {
    let slot = slot_of(difference);
    let cell = slot.map_or(-1, |slot| i64::from(slot.0 / CELL_SLOTS));
    let held = |held: &Held| {
        (
            held.value_type.map(KeyType::name),
            held.memory_bytes,
            held.len,
            held.expire_at_ms,
        )
    };
    let (source, target) = (held(&difference.source), held(&difference.target));
    let first = difference.first.as_ref();
    let value = |value: Option<&Bytes>| value.map(|bytes| bytes.escape_ascii().to_string());
    serde_json::json!([
        cell,
        slot.map(|slot| slot.0),
        difference.db.0,
        key_text(&difference.key),
        difference.kind.name(),
        source.0,
        source.1,
        source.2,
        source.3,
        target.0,
        target.1,
        target.2,
        target.3,
        first.map(|first| first.place.to_string()),
        value(first.and_then(|first| first.source.as_ref())),
        value(first.and_then(|first| first.target.as_ref())),
    ])
    .to_string()
}

/// A key as it is shown: quoted, escaped and, if it is very long, cut.
fn key_text(key: &[u8]) -> String {
    match key.get(..KEY_BYTES_MAX) {
        Some(shown) if shown.len() < key.len() => {
            format!("\"{}\"... ({} bytes)", shown.escape_ascii(), key.len())
        }
        _ => format!("\"{}\"", key.escape_ascii()),
    }
}

#[cfg(test)]
mod tests;
