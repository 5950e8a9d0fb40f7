//! The RDB parser against files that real servers wrote, broken files, and every cut of both.

// In a test a panic with the line is the report.
#![allow(clippy::unwrap_used)]

// Public for the fuzz targets, which have it as a library.
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/convert.rs"]
mod convert;
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/rdb.rs"]
mod rdb;

mod content;
mod cost;
mod cuts;
mod damage;
mod fixture;
mod forks;
mod keyspace;
mod limits;
mod payloads;
mod sha256;
mod traps;
mod vectors;
mod writer;

use rdb as fuzz;
