//! The one-way doors of the house: which room of `src/` may import which.
//!
//! ```text
//! keyspace, net <- rdb, resp, spool <- sync, sink <- dump <- pipeline, verify <- status
//! <- daemon <- cli <- main
//! ```
//!
//! Paths are read from the source text: `use crate::...` with its braces, `super::` that leaves a
//! room, and `crate::` or a forbidden crate anywhere in the code. What stands in a comment or in
//! a string is no import. When this test fails, talk about the design before the test.

#![allow(
    clippy::unwrap_used,
    reason = "an unreadable source file fails the test"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A room, and the rooms it may import beside itself.
const DOORS: [(&str, &[&str]); 15] = [
    ("keyspace", &[]),
    ("net", &["keyspace", "telemetry"]),
    ("telemetry", &["keyspace"]),
    ("rdb", &["keyspace"]),
    ("resp", &["keyspace"]),
    ("spool", &["keyspace"]),
    ("sync", &["keyspace", "net", "rdb", "resp", "telemetry"]),
    ("sink", &["keyspace", "net", "rdb", "resp", "telemetry"]),
    (
        "dump",
        &[
            "keyspace",
            "net",
            "rdb",
            "resp",
            "sync",
            "sink",
            "telemetry",
        ],
    ),
    ("config", &["keyspace", "net", "sync", "sink"]),
    (
        "pipeline",
        &[
            "keyspace",
            "net",
            "rdb",
            "resp",
            "spool",
            "sync",
            "sink",
            "dump",
            "config",
            "telemetry",
        ],
    ),
    (
        "verify",
        &["keyspace", "net", "rdb", "resp", "config", "telemetry"],
    ),
    (
        "status",
        &["keyspace", "net", "config", "pipeline", "telemetry"],
    ),
    (
        "daemon",
        &[
            "keyspace",
            "net",
            "spool",
            "sync",
            "sink",
            "pipeline",
            "verify",
            "status",
            "config",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "keyspace",
            "net",
            "rdb",
            "spool",
            "sync",
            "sink",
            "dump",
            "pipeline",
            "verify",
            "status",
            "daemon",
            "config",
            "telemetry",
        ],
    ),
];

/// Paths that the code of a room may not name, with the files that are excepted.
const FORBIDDEN: [(&str, &[&str], &[&str]); 6] = [
    (
        "rdb",
        &[
            "tokio",
            "std::net",
            "std::fs",
            "std::time",
            "metrics",
            "tracing",
        ],
        &[],
    ),
    (
        "resp",
        &[
            "tokio",
            "std::net",
            "std::fs",
            "std::time",
            "metrics",
            "tracing",
        ],
        &[],
    ),
    ("keyspace", &["tokio", "std::net", "std::fs"], &[]),
    ("config", &["tokio"], &[]),
    // The formats and the books of the spool are pure; its other files are the edge.
    (
        "spool",
        &["tokio", "std::net", "std::fs", "std::time", "tracing"],
        &[
            "budget.rs",
            "directory.rs",
            "disk.rs",
            "journal.rs",
            "reader.rs",
            "segment_file.rs",
            "shared.rs",
            "survived.rs",
            "writer.rs",
        ],
    ),
    // The edge of the room; everything else in it takes bytes and times as arguments.
    (
        "sync",
        &[
            "tokio",
            "std::net",
            "std::time::Instant::now",
            "std::time::SystemTime",
        ],
        &["link.rs", "link/tests.rs", "link/wire.rs"],
    ),
];

#[test]
fn every_door_opens_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 10, "only {} files in src/", files.len());
    let mut found = Vec::new();
    for file in files {
        let name = file
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        found.extend(violations(&name, &fs::read_to_string(&file).unwrap()));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_door_opened_the_wrong_way_is_seen() {
    for (name, file, code, seen) in [
        (
            "a neighbour",
            "rdb/a.rs",
            "use crate::resp::Frame;",
            "rdb may not import resp",
        ),
        (
            "a room to the right",
            "sync/a.rs",
            "use crate::{\n keyspace::Db,\n sink::{Target, Hold},\n};",
            "sync may not import sink",
        ),
        (
            "a path in the code",
            "resp/a.rs",
            "fn f() { crate::pipeline::run(); }",
            "resp may not import pipeline",
        ),
        (
            "by super",
            "rdb/a.rs",
            "use super::super::sync::Position;",
            "rdb may not import sync",
        ),
        (
            "by super in a module file",
            "rdb/mod.rs",
            "use super::cli;",
            "rdb may not import cli",
        ),
        (
            "a file that is a room",
            "telemetry.rs",
            "use crate::cli;",
            "telemetry may not import cli",
        ),
        (
            "config in a left room",
            "sink/a.rs",
            "use crate::config::Migration;",
            "sink may not import config",
        ),
        (
            "tokio in a parser",
            "rdb/a/b.rs",
            "use tokio::io::AsyncRead;",
            "rdb may not name tokio",
        ),
        (
            "a clock in a parser",
            "resp/a.rs",
            "use std::{fmt, time::Instant};",
            "resp may not name std::time",
        ),
        (
            "tokio in a pure file",
            "sync/stream.rs",
            "async fn f() { tokio::task::yield_now().await }",
            "sync may not name tokio",
        ),
        ("an unknown room", "utils/a.rs", "", "utils is no room"),
        (
            "the whole crate",
            "net/a.rs",
            "use crate::*;",
            "net may not import *",
        ),
        (
            "main takes from cli only",
            "main.rs",
            "use keyferry::pipeline;",
            "main may not import pipeline",
        ),
    ] {
        let found = violations(file, code);
        assert!(found.iter().any(|v| v.contains(seen)), "{name}: {found:?}");
    }
    for (name, file, code) in [
        (
            "a room to the left",
            "pipeline/a.rs",
            "use crate::{sync::Link, sink};",
        ),
        (
            "the room itself",
            "rdb/a.rs",
            "use super::error::Error; use crate::rdb::Event;",
        ),
        (
            "a comment",
            "rdb/a.rs",
            "//! Neither tokio nor [`crate::sync`].\n/* use crate::cli; */",
        ),
        (
            "a string",
            "rdb/a.rs",
            "const A: &str = \"use crate::cli; \\\" tokio\"; const B: char = '\"';",
        ),
        (
            "a word with the same letters",
            "rdb/a.rs",
            "let metrics_like = my_tokio;",
        ),
        ("the edge", "sync/link.rs", "use tokio::net::TcpStream;"),
        ("main", "main.rs", "fn main() { keyferry::cli::run() }"),
        ("the map", "lib.rs", "pub mod rdb; pub use crate::sync::X;"),
        (
            "tests inside a room",
            "rdb/a.rs",
            "#[cfg(test)] mod tests { use super::*; use super::super::length; }",
        ),
        ("a visibility", "rdb/a.rs", "pub(crate) fn f() {}"),
    ] {
        let found = violations(file, code);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

/// What is wrong with the file of this path below `src/`.
fn violations(file: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let room = file.split('/').next().unwrap().trim_end_matches(".rs");
    let imports = imports(file, &code);
    let mut found = Vec::new();
    match room {
        "lib" => return found,
        "main" => found.extend(
            paths_after(&code, "keyferry")
                .iter()
                .map(|path| path.split("::").next().unwrap_or_default())
                .filter(|room| *room != "cli")
                .map(|room| format!("src/{file}: main may not import {room}; it may import cli")),
        ),
        _ => match DOORS.iter().find(|(name, _)| *name == room) {
            None => found.push(format!("src/{file}: {room} is no room of the house")),
            Some((_, open)) => found.extend(
                imports
                    .iter()
                    .filter(|other| *other != room && !open.contains(&other.as_str()))
                    .map(|other| {
                        let open = open.join(", ");
                        format!("src/{file}: {room} may not import {other}; it may import {open}")
                    }),
            ),
        },
    }
    found.extend(forbidden(file, room, &code));
    found
}

fn forbidden(file: &str, room: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (_, paths, but) in FORBIDDEN.iter().filter(|(name, ..)| *name == room) {
        if but.iter().any(|but| file.ends_with(&format!("/{but}"))) {
            continue;
        }
        for path in *paths {
            let (first, rest) = path.split_once("::").unwrap_or((path, ""));
            let named = paths_after(code, first).iter().any(|named| {
                rest.is_empty() || named == rest || named.starts_with(&format!("{rest}::"))
            });
            if named {
                found.push(format!("src/{file}: {room} may not name {path}"));
            }
        }
    }
    found
}

/// The first names after `crate::`, or after as many `super::` as lead to the root.
fn imports(file: &str, code: &str) -> BTreeSet<String> {
    let first = |path: &String| path.split("::").next().unwrap_or_default().to_owned();
    let mut rooms: BTreeSet<String> = paths_after(code, "crate").iter().map(first).collect();
    // `rdb/mod.rs` is one step below the root, `rdb/a.rs` two, `rdb/a/b.rs` three.
    let parts = file.trim_end_matches("mod.rs").trim_end_matches(".rs");
    let depth = parts.split('/').filter(|part| !part.is_empty()).count();
    for path in paths_after(code, "super") {
        let names: Vec<&str> = path.split("::").collect();
        let supers = 1 + names.iter().take_while(|name| **name == "super").count();
        if supers == depth {
            // In a test module inside a file the same number of steps ends in the room itself.
            let reached = names.get(supers - 1);
            let room = reached.filter(|name| DOORS.iter().any(|(room, _)| room == *name));
            rooms.extend(room.map(|name| (*name).to_owned()));
        }
    }
    rooms
}

/// Every path that follows this first name, with braces multiplied out.
///
/// `std` in `use std::{fmt, time::Instant};` gives `fmt` and `time::Instant`.
fn paths_after(code: &str, first: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(first) {
        let before = code[..at].chars().next_back();
        let inside = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let goes_on = code[..at].ends_with("::");
        if let Some(rest) = code[at + first.len()..].strip_prefix("::")
            && !inside
            && !goes_on
        {
            paths.extend(expand(rest));
        }
    }
    paths
}

/// The paths at the start of this text: one, or one for each branch of its braces.
fn expand(text: &str) -> Vec<String> {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':' || c == '*'))
        .unwrap_or(text.len());
    let head = &text[..end];
    let Some(body) = text[end..]
        .strip_prefix('{')
        .filter(|_| head.is_empty() || head.ends_with("::"))
    else {
        return vec![head.trim_end_matches(':').to_owned()];
    };
    branches(body)
        .iter()
        .flat_map(|branch| expand(branch.trim()))
        .map(|path| format!("{head}{path}"))
        .collect()
}

/// What stands between the commas of an opened brace, up to its end.
fn branches(body: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&body[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&body[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|branch| !branch.trim().is_empty());
    found
}

/// The text without comments and without what strings and characters hold.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if c == '"' {
            string_len(rest)
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |at| at + 5)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escape) = rest.strip_prefix("'\\") {
            escape.find('\'').map_or(rest.len(), |at| at + 3)
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skipped.min(rest.len())..];
    }
    code
}

/// The length of a string literal with both its quotes.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}
