//! Where differences are written: a file that names all of them.
//!
//! ```text
//!  .jsonl   one object a line: head, difference, undecided, suspect, progress, repair, summary
//!  .csv     one difference a row
//!  .sqlite  tables, see docs/verify.md
//!  .html    one page with a grid of slots
//! ```
//!
//! JSON Lines and SQLite also keep how far the verification has come, so that it can be resumed.
