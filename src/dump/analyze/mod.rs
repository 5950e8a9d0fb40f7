//! What takes the memory: sums by prefix, by type and by time to live, and the largest keys.
//!
//! ```text
//!  Reader ──► ValueMemory (a model of one server) ──► KeyFacts ──┬─► Tree       by prefix
//!                                                               ├─► Histogram  by TTL
//!                                                               ├─► Top        the largest
//!                                                               └─► sums       by db, by type
//!                                                                      │
//!                            text, JSON, CSV, HTML  ◄── Report ◄───────┘
//! ```
//!
//! Memory is bounded whatever the file holds: nodes of the tree, keys of the top, and one element
//! or packed blob at a time. The same file and options give the same report, byte for byte.

mod csv;
mod histogram;
mod html;
mod json;
mod memory;
mod name;
mod report;
mod segments;
mod sums;
mod text;
mod top;
mod tree;

use std::collections::BTreeMap;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Altitude, Event, Key, KeyType, ServerVersion},
};

use super::{Error, Reader};

pub use histogram::TtlBucket;
pub use memory::{Allocator, MemoryModel};
pub use name::Name;
pub use report::{DbSums, Report, SavedBy, TypeSums};
pub use segments::Segmenting;
pub use sums::Sums;
pub use top::TopKey;
pub use tree::{Branch, DbBranch, TreeOptions};

use histogram::Histogram;
use memory::ValueMemory;
use top::Top;
use tree::Tree;

/// What is asked of a report.
#[derive(Debug, Clone)]
pub struct AnalyzeOptions {
    /// How the tree of prefixes grows.
    pub tree: TreeOptions,
    /// How many of the largest keys are named.
    pub top: usize,
    /// The server whose memory is meant; without one it is the server that wrote the file.
    pub server: Option<ServerVersion>,
    /// Its allocator.
    pub allocator: Allocator,
    /// The time that TTLs count from where the file does not say when it was written.
    pub now_ms: UnixMs,
}

/// Reads an RDB to its end and sums up the keys that the filter of the reader selects.
///
/// # Errors
/// Those of the reader.
pub async fn analyze(reader: &mut Reader, options: AnalyzeOptions) -> Result<Report, Error> {
    let mut analysis = Analysis::new(&options);
    let mut model = None;
    while let Some(event) = reader.next().await? {
        match event {
            Event::Header(header) => analysis.saved_by.header(header),
            Event::Aux { name, value } => analysis.saved_by.aux(&name, &value),
            Event::Key(key) => {
                // What tells the server and the time stands in front of the first key.
                let model = model.get_or_insert_with(|| analysis.model(&options));
                if let Some(at_ms) = analysis.saved_by.saved_at_ms {
                    analysis.histogram.set_now_ms(at_ms);
                }
                let record_position = reader.record_position();
                let value = measure(reader, model, &key).await?;
                analysis.add(&KeyFacts {
                    db: reader.db(),
                    key: &key.key,
                    key_type: KeyType::of(key.value_type),
                    encoding: value.encoding,
                    expire_at_ms: key.expire_at_ms,
                    elements: value.elements,
                    memory_bytes: value.bytes,
                    serialized_bytes: reader.position().saturating_sub(record_position),
                });
            }
            _ => {}
        }
    }
    let rdb_bytes = reader.offset();
    reader.finish().await?;
    let model = model.unwrap_or_else(|| analysis.model(&options));
    Ok(Report {
        input: reader.input().to_owned(),
        rdb_bytes,
        keys_not_selected: reader.keys_not_selected(),
        ..analysis.report(&model, &options)
    })
}

/// What the report needs to know of one key.
#[derive(Debug, Clone, Copy)]
struct KeyFacts<'a> {
    db: Db,
    key: &'a [u8],
    key_type: KeyType,
    encoding: &'static str,
    expire_at_ms: Option<UnixMs>,
    elements: u64,
    memory_bytes: u64,
    serialized_bytes: u64,
}

/// The sums of all keys that were seen.
#[derive(Debug)]
struct Analysis {
    saved_by: SavedBy,
    totals: Sums,
    dbs: BTreeMap<Db, Sums>,
    types: BTreeMap<(KeyType, &'static str), Sums>,
    histogram: Histogram,
    tree: Tree,
    top: Top,
}

impl Analysis {
    fn new(options: &AnalyzeOptions) -> Self {
        Self {
            saved_by: SavedBy::default(),
            totals: Sums::default(),
            dbs: BTreeMap::new(),
            types: BTreeMap::new(),
            histogram: Histogram::new(options.now_ms),
            tree: Tree::new(options.tree.clone()),
            top: Top::new(options.top),
        }
    }

    fn model(&self, options: &AnalyzeOptions) -> MemoryModel {
        self.saved_by.model(options.server, options.allocator)
    }

    fn add(&mut self, facts: &KeyFacts<'_>) {
        let sums = Sums::of(facts);
        self.totals += sums;
        *self.dbs.entry(facts.db).or_default() += sums;
        let of_type = (facts.key_type, facts.encoding);
        *self.types.entry(of_type).or_default() += sums;
        self.histogram.add(facts);
        self.tree.add(facts);
        self.top.add(facts);
    }

    fn report(self, model: &MemoryModel, options: &AnalyzeOptions) -> Report {
        let dbs = self.dbs.iter().map(|(db, sums)| DbSums {
            db: *db,
            table_bytes: model.db_bytes(sums.keys, sums.expiring_keys),
            sums: *sums,
        });
        let dbs: Vec<_> = dbs.collect();
        let types = self.types.iter();
        Report {
            format: report::FORMAT,
            input: String::new(),
            rdb_bytes: 0,
            keys_not_selected: 0,
            saved_by: self.saved_by,
            model: report::Model::of(model),
            now_ms: self.histogram.now_ms(),
            totals: self.totals,
            table_bytes: dbs.iter().map(|db| db.table_bytes).sum(),
            dbs,
            types: types
                .map(|((key_type, encoding), sums)| TypeSums {
                    key_type: key_type.name(),
                    encoding,
                    sums: *sums,
                })
                .collect(),
            ttl: self.histogram.buckets(),
            prefixes: report::Prefixes::of(&options.tree, self.tree.folded()),
            tree: self.tree.dbs(),
            top: self.top.into_sorted(),
        }
    }
}

/// Reads the value of a key and says what both take in memory.
async fn measure(
    reader: &mut Reader,
    model: &MemoryModel,
    key: &Key,
) -> Result<memory::Measured, Error> {
    let from = reader.position();
    reader.choose(match key.value_type.is_opaque() {
        true => Altitude::Skip,
        false => Altitude::Encoded,
    });
    let key_len = key.key.len() as u64;
    let expires = key.expire_at_ms.is_some();
    let mut value = ValueMemory::new(model, key.value_type, key_len, expires);
    while let Some(event) = reader.next().await? {
        match event {
            Event::Blob { encoding, bytes } => value.blob(encoding, &bytes),
            Event::Part(part) => value.part(&part),
            Event::ValueEnd => break,
            _ => {}
        }
    }
    Ok(value.finish(reader.position().saturating_sub(from)))
}

#[cfg(test)]
impl<'a> KeyFacts<'a> {
    /// Test support: a string of 100 bytes.
    fn example(key: &'a [u8]) -> Self {
        KeyFacts {
            db: Db(0),
            key,
            key_type: KeyType::String,
            encoding: "raw",
            expire_at_ms: None,
            elements: 1,
            memory_bytes: 200,
            serialized_bytes: 100,
        }
    }
}
