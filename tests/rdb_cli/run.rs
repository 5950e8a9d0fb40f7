//! Running the binary.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

/// What a run has shown.
pub(crate) struct Shown {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shown {
    /// Fails the test when the exit code is another one.
    pub(crate) fn assert_code(&self, code: i32, what: &str) -> &Shown {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        assert_eq!(self.code, Some(code), "{what}\n{stdout}\n{stderr}");
        self
    }

    /// The one object on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// The objects on stdout, one a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

/// Runs `keyferry rdb` with nothing in its environment and nothing on standard input.
pub(crate) fn rdb(args: &[&str]) -> Shown {
    rdb_with_stdin(args, &[])
}

/// Runs `keyferry rdb` with these bytes on standard input.
pub(crate) fn rdb_with_stdin(args: &[&str], stdin: &[u8]) -> Shown {
    let mut process = Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .arg("rdb")
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = process.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // A verb that fails early closes its end.
    let feeding = thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = process.wait_with_output().unwrap();
    feeding.join().unwrap();
    Shown {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The path of a fixture.
pub(crate) fn fixture_path(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb");
    root.join(name).to_str().unwrap().to_owned()
}

/// A directory of its own for a test.
pub(crate) struct Directory(tempfile::TempDir);

impl Directory {
    pub(crate) fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What is in it, temporary files too.
    pub(crate) fn names(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| PathBuf::from(entry.unwrap().file_name()))
            .collect();
        names.sort();
        names
    }
}

/// A small file with a value of most types: two dbs, expiries, a function.
pub(crate) fn small() -> Vec<u8> {
    fs::read(fixture_path("generated/redis-8.6/module.rdb")).unwrap()
}

/// Strings of 1, 2 and 3 bytes in db 0, a list of two in db 1; `b` expires in 2100. Version 4,
/// which has no checksum.
pub(crate) const TINY: &[u8] = b"REDIS0004\
    \xfe\x00\x00\x01a\x011\xfc\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x00\x01b\x02\xff\xfe\x00\x02c1\x03333\
    \xfe\x01\x01\x01l\x02\x01x\x02yy\xff";
