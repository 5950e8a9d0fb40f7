//! What the fuzz targets check. The tests replay it over fixtures and seeds: `tests/rdb`,
//! `tests/seeds.rs`.

pub mod convert;
pub mod lzf;
pub mod packed;
pub mod rdb;
pub mod spool;
pub mod value;
pub mod wire;
