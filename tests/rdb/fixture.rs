//! The files under `tests/fixtures/rdb` with what they must decode to.
//!
//! `KEYFERRY_RDB_FIXTURES` names another folder of the same layout, such as the full collection
//! of which the repository holds a part.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One file and its expectation.
pub(crate) struct Fixture {
    /// Its path below the folder, without the extension.
    pub(crate) name: String,
    /// Its bytes; for a capture of a full sync from the first byte of the RDB on.
    pub(crate) bytes: Vec<u8>,
    /// The expectation as it stands.
    pub(crate) json: Value,
}

impl Fixture {
    pub(crate) fn expect(&self) -> &str {
        self.json["expect"].as_str().unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.json["kind"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_payload(&self) -> bool {
        self.kind() == "dump-payload"
    }
}

/// All fixtures, in the order of their names.
pub(crate) fn all() -> Vec<Fixture> {
    let root = root();
    let mut files = Vec::new();
    list(&root, &mut files);
    files.sort();
    let fixtures: Vec<_> = files.iter().filter_map(|file| load(&root, file)).collect();
    assert!(
        fixtures.len() > 150,
        "only {} fixtures in {}",
        fixtures.len(),
        root.display()
    );
    fixtures
}

/// All fixtures that are an RDB, whatever stands around it.
pub(crate) fn rdbs() -> Vec<Fixture> {
    all()
        .into_iter()
        .filter(|fixture| !fixture.is_payload())
        .collect()
}

/// Every `dump-payloads.json` with the name of its folder.
pub(crate) fn dump_payloads() -> Vec<(String, Value)> {
    let root = root().join("generated");
    let mut servers: Vec<_> = fs::read_dir(&root)
        .expect("the folder of the fixtures")
        .filter_map(|entry| {
            let folder = entry.expect("a readable folder").path();
            let text = fs::read_to_string(folder.join("dump-payloads.json")).ok()?;
            let name = folder.file_name()?.to_string_lossy().into_owned();
            Some((name, serde_json::from_str(&text).expect("valid JSON")))
        })
        .collect();
    servers.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(servers.len() > 5, "payloads of {} servers", servers.len());
    servers
}

fn root() -> PathBuf {
    match std::env::var_os("KEYFERRY_RDB_FIXTURES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb"),
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of the fixtures") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            list(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
}

fn load(root: &Path, path: &Path) -> Option<Fixture> {
    let text = fs::read_to_string(path).expect("a readable expectation");
    let json: Value = serde_json::from_str(&text).expect("valid JSON");
    // `dump-payloads.json` has no file of its own.
    let file = json["file"].as_str()?;
    let mut bytes = fs::read(path.with_file_name(file)).expect("a file for every expectation");
    let start = json["outline"]["rdb_offset"].as_u64().unwrap_or(0) as usize;
    bytes.drain(..start);
    let name = path
        .strip_prefix(root)
        .expect("below the root")
        .with_extension("");
    Some(Fixture {
        name: name.display().to_string(),
        bytes,
        json,
    })
}

/// The bytes that hex digits stand for.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).expect("hex digits"))
        .collect()
}
