//! `keyferry rdb` as its users see it: stdout, stderr, files and exit code of the built binary.

// In a test a panic with the line is the report.
#![allow(clippy::unwrap_used)]

// Shared with the tests of the parser, which use more of them.
#[allow(dead_code)]
#[path = "../rdb/fixture.rs"]
mod fixture;
#[path = "../rdb/sha256.rs"]
mod sha256;

mod check;
mod docs;
mod dump;
mod info;
mod inputs;
mod json;
mod run;
mod written;
