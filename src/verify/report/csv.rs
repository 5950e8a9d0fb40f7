//! CSV (RFC 4180): a row for each difference, each undecided key and each repair.
//!
//! Keys and values are escaped ASCII without quotes; `\N`, which escaping never makes, is nothing at
//! all where a value could be.

use std::{fmt::Write as _, io, path::Path};

use bytes::Bytes;

use super::{Format, Repaired, io_error, slot_of};
use crate::{
    dump::{Output, OutputError, csv_cell},
    keyspace::{Db, Slot},
    rdb::KeyType,
    verify::{Difference, Held, Summary, Undecided},
};

const HEADER: &str = "record,db,slot,key,kind,source_type,target_type,source_memory_bytes,\
                      target_memory_bytes,source_len,target_len,source_expire_at_ms,\
                      target_expire_at_ms,place,source_value,target_value,detail\r\n";

/// Nothing where a value could be.
const NOTHING: &str = "\\N";

/// A report as CSV.
pub(super) struct Csv {
    output: Output,
}

impl Csv {
    pub(super) fn create(path: &Path, overwrite: bool) -> Result<Csv, OutputError> {
        let mut output = Output::file(path, overwrite)?;
        output.put(HEADER.as_bytes())?;
        Ok(Csv { output })
    }

    /// Writes what all rows begin with, then `rest`.
    fn row(
        &mut self,
        record: &str,
        (db, slot, key): (Db, Option<Slot>, &Bytes),
        rest: &str,
    ) -> io::Result<()> {
        let slot = slot.map_or_else(String::new, |slot| slot.0.to_string());
        let row = format!("{record},{db},{slot},{},{rest}\r\n", escaped(key));
        self.output.put(row.as_bytes()).map_err(io_error)
    }
}

impl Format for Csv {
    fn differences(&mut self, of_key: &[Difference]) -> io::Result<()> {
        for difference in of_key {
            let mut rest = difference.kind.name().to_owned();
            let [source, target] = [&difference.source, &difference.target].map(cells_of);
            for cell in source.iter().zip(&target).flat_map(|(one, two)| [one, two]) {
                let _ = write!(rest, ",{cell}");
            }
            match &difference.first {
                None => rest.push_str(",,,,"),
                Some(first) => {
                    let [source, target] = [&first.source, &first.target]
                        .map(|value| value.as_ref().map_or_else(|| NOTHING.to_owned(), escaped));
                    let place = csv_cell(&first.place.to_string());
                    let _ = write!(rest, ",{place},{source},{target},");
                }
            }
            let named = (difference.db, slot_of(difference), &difference.key);
            self.row("difference", named, &rest)?;
        }
        Ok(())
    }

    fn undecided(&mut self, undecided: &Undecided) -> io::Result<()> {
        let detail = undecided.detail.as_deref().unwrap_or_default();
        let rest = format!(
            "{}{}{}",
            undecided.reason.name(),
            ",".repeat(12),
            csv_cell(detail)
        );
        let slot = Some(Slot::of(&undecided.key));
        self.row("undecided", (undecided.db, slot, &undecided.key), &rest)
    }

    fn repaired(&mut self, repaired: &Repaired) -> io::Result<()> {
        let detail = csv_cell(repaired.action.detail().unwrap_or_default());
        let rest = format!("{}{}{detail}", repaired.action.name(), ",".repeat(12));
        let slot = Some(Slot::of(&repaired.key));
        self.row("repair", (repaired.db, slot, &repaired.key), &rest)
    }

    fn finish(self: Box<Self>, _: &Summary) -> io::Result<()> {
        self.output.finish().map(drop).map_err(io_error)
    }
}

fn escaped(bytes: &Bytes) -> String {
    csv_cell(&bytes.escape_ascii().to_string())
}

/// Type, memory, length and expiry; empty where it is not known or not there.
fn cells_of(held: &Held) -> [String; 4] {
    let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
    let expire_at_ms = held.expire_at_ms;
    [
        held.value_type
            .map_or_else(String::new, |of| KeyType::name(of).to_owned()),
        number(held.memory_bytes),
        number(held.len),
        expire_at_ms.map_or_else(String::new, |ms| ms.to_string()),
    ]
}
