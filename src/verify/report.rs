//! stub
#![allow(missing_docs)]
use super::{Counts, Difference, Error, Summary, Undecided, UndecidedCounts};
use crate::keyspace::Db;
use bytes::Bytes;
use std::path::Path;
#[derive(Debug, Clone)]
pub struct Head {
    pub version: u32,
    pub source: String,
    pub target: String,
    pub source_run_id: Option<String>,
    pub target_run_id: Option<String>,
    pub method: String,
    pub depth: String,
    pub sample: u64,
    pub selection: String,
    pub ttl_tolerance_ms: i64,
    pub started_at: String,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pass {
    #[default]
    Forward,
    Reverse,
}
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    pub keys_compared: u64,
    pub keys_looked_up: u64,
    pub large_keys: u64,
    pub filtered: u64,
    pub not_sampled: u64,
    pub settled: u64,
    pub bytes_read: u64,
    pub elapsed_ms: u64,
}
#[derive(Debug, Clone)]
pub struct Bookmark {
    pub pass: Pass,
    pub db: Db,
    pub cursor: u64,
    pub dbs_done: Vec<Db>,
    pub tallies: Tallies,
}
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    pub db: Db,
    pub key: Bytes,
}
#[derive(Debug)]
pub struct Report;
#[derive(Debug)]
pub struct Resumed {
    pub head: Head,
    pub bookmark: Option<Bookmark>,
    pub suspects: Vec<Suspect>,
    pub counts: Counts,
    pub undecided: UndecidedCounts,
    pub finished: bool,
}
impl Report {
    pub fn create(_: &Path, _: &Head, _: bool) -> Result<Report, Error> {
        Ok(Report)
    }
    pub fn resume(_: &Path, h: &Head) -> Result<(Report, Resumed), Error> {
        Ok((
            Report,
            Resumed {
                head: h.clone(),
                bookmark: None,
                suspects: vec![],
                counts: Counts::default(),
                undecided: UndecidedCounts::new(),
                finished: false,
            },
        ))
    }
    pub fn differences(&mut self, _: &[Difference]) -> Result<(), Error> {
        Ok(())
    }
    pub fn undecided(&mut self, _: &Undecided) -> Result<(), Error> {
        Ok(())
    }
    pub fn settled(&mut self, _: Db, _: &Bytes) -> Result<(), Error> {
        Ok(())
    }
    pub fn suspects(&mut self, _: &[Suspect]) -> Result<(), Error> {
        Ok(())
    }
    pub fn bookmark(&mut self, _: &Bookmark) -> Result<(), Error> {
        Ok(())
    }
    pub fn finish(self, _: &Summary) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub enum RepairAction {
    Copied,
    Removed,
    ExpirySet,
    Skipped(String),
    Failed(String),
}
#[derive(Debug, Clone)]
pub struct Repaired {
    pub db: Db,
    pub key: Bytes,
    pub action: RepairAction,
}
impl Report {
    pub fn repaired(&mut self, _: &Repaired) -> Result<(), Error> {
        Ok(())
    }
}
