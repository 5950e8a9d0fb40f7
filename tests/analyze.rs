//! `keyferry rdb analyze` as its users see it: text, JSON, CSV, the page, exit codes.

#![allow(clippy::unwrap_used, reason = "a broken expectation fails the test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// 2024-11-02 10:22:33 UTC, in seconds.
const SAVED_AT_S: u64 = 1_730_542_953;

struct Shown {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Shown {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs `keyferry rdb analyze` in a directory.
fn analyze(directory: &Path, args: &[&str]) -> Shown {
    let output = Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .args(["rdb", "analyze"])
        .args(args)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Shown {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An RDB of strings, written byte by byte.
struct Rdb(Vec<u8>);

impl Rdb {
    fn saved_by(server: &str) -> Rdb {
        let (name, version) = server.split_once('-').unwrap();
        let mut rdb = Rdb(b"REDIS0011".to_vec());
        rdb.aux(&format!("{name}-ver"), version);
        rdb.aux("ctime", &SAVED_AT_S.to_string());
        rdb.aux("used-mem", "1048576");
        rdb
    }

    fn aux(&mut self, name: &str, value: &str) {
        self.0.push(0xfa);
        self.text(name.as_bytes());
        self.text(value.as_bytes());
    }

    fn db(&mut self, db: u8) {
        self.0.extend([0xfe, db]);
    }

    fn string(&mut self, key: &[u8], value_len: usize) {
        self.0.push(0);
        self.text(key);
        self.text(&vec![b'v'; value_len]);
    }

    fn expiring(&mut self, key: &[u8], value_len: usize, ttl_s: u64) {
        self.0.push(0xfc);
        let at_ms = (SAVED_AT_S + ttl_s) * 1000;
        self.0.extend(at_ms.to_le_bytes());
        self.string(key, value_len);
    }

    fn text(&mut self, text: &[u8]) {
        let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
        assert!(high < 0x40);
        self.0.extend([0x40 | high, low]);
        self.0.extend_from_slice(text);
    }

    /// Ends it and writes it as `dump.rdb` into a directory of its own.
    fn write(mut self) -> TempDir {
        // A checksum of zero says that there is none.
        self.0.extend([0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("dump.rdb"), self.0).unwrap();
        directory
    }
}

/// A small shop: sessions that expire, users with fields, one large key, another db.
fn shop() -> TempDir {
    let mut rdb = Rdb::saved_by("redis-7.2.6");
    rdb.db(0);
    for n in 0..20u64 {
        let session = format!(
            "session:{:016x}",
            0x9e37_79b9_7f4a_7c15u64.wrapping_mul(n + 1)
        );
        rdb.expiring(session.as_bytes(), 200, 60 * n);
        rdb.string(format!("user:{n}:name").as_bytes(), 20);
        rdb.string(format!("user:{n}:mail").as_bytes(), 30);
    }
    rdb.string(b"catalogue", 9000);
    rdb.db(2);
    rdb.string(b"user:1:name", 20);
    rdb.write()
}

#[test]
fn the_report_is_a_page_of_tables() {
    let shown = analyze(shop().path(), &["dump.rdb", "--top", "3"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let expected = "\
input      dump.rdb
saved      by redis-7.2.6 at 2024-11-02 10:22:33 UTC, 15.19 KiB of RDB version 11
keys       62 in 2 dbs
expiring   32.3% of the keys; times count from 2024-11-02 10:22:33 UTC
memory     19.82 KiB in keys and 800 B in tables, estimated for Redis 7.2 on jemalloc
used       1.00 MiB, all that the server had in use when it saved

By db
  keys  expiring     memory      %  per key  serialized  tables  db
    61     32.8%  19.74 KiB  99.6%    331 B   15.07 KiB   768 B  0
     1      0.0%       80 B   0.4%     80 B        36 B    32 B  2

By type
  keys  expiring     memory      %  per key  serialized  type and encoding
    21     95.2%  16.30 KiB  82.3%    795 B   13.45 KiB  string raw
    41      0.0%   3.52 KiB  17.7%     87 B    1.66 KiB  string embstr

By time to live
  keys  expiring     memory      %  per key  serialized  time left
     1    100.0%      320 B   1.6%    320 B       238 B  expired
    19    100.0%   5.94 KiB  30.0%    320 B    4.42 KiB  <1h
    42      0.0%  13.57 KiB  68.5%    330 B   10.46 KiB  never

By prefix, from 1% of the memory on
  keys  expiring     memory      %    per key  serialized  prefix
    61     32.8%  19.74 KiB  99.6%      331 B   15.07 KiB  db 0
     1      0.0%  10.05 KiB  50.7%  10.05 KiB    8.80 KiB    catalogue
    20    100.0%   6.25 KiB  31.5%      320 B    4.65 KiB    session:*
    40      0.0%   3.44 KiB  17.3%       88 B    1.62 KiB    user:*:
    20      0.0%   1.88 KiB   9.5%       96 B       930 B      mail
    20      0.0%   1.56 KiB   7.9%       80 B       730 B      name

Largest keys
     memory      %  serialized  elements  time left  db  key
  10.05 KiB  50.7%    8.80 KiB         1          -   0  catalogue  (string raw)
      320 B   1.6%       238 B         1        12m   0  session:08d12e6b76c84d11  (string raw)
      320 B   1.6%       238 B         1         4m   0  session:1715609f7c746c69  (string raw)
";
    assert_eq!(shown.stdout, expected);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let shop = shop();
    for form in ["--json", "--csv", "--progress=never"] {
        let args = ["dump.rdb", form];
        let first = analyze(shop.path(), &args);
        assert_eq!(first.code, Some(0), "{}", first.stderr);
        assert_eq!(first.stdout, analyze(shop.path(), &args).stdout, "{form}");
    }
}

#[test]
fn options_decide_how_keys_are_cut() {
    let shop = shop();
    let names = |args: &[&str]| -> Vec<String> {
        let args = [&["dump.rdb", "--json", "--db", "0"], args].concat();
        let report = analyze(shop.path(), &args).json();
        let mut names = Vec::new();
        paths(&report["tree"][0], "", &mut names);
        names.sort();
        names
    };
    let all = [
        "catalogue",
        "session:",
        "session:*",
        "user:",
        "user:*:",
        "user:*:mail",
        "user:*:name",
    ];
    for (args, expected) in [
        (&[][..], &all[..]),
        (&["--depth", "1"], &["catalogue", "session:", "user:"]),
        (&["--separator", ""], &[]),
        (
            &["--not-key", "user:*", "--depth", "1"],
            &["catalogue", "session:"],
        ),
    ] {
        let mut found = names(args);
        if args.contains(&"--separator") {
            // Whole keys, of which none is an id.
            assert_eq!(found.len(), 61);
            found.clear();
        }
        assert_eq!(found, expected, "{args:?}");
    }
    assert_eq!(names(&["--keep-ids"]).len(), 1 + 1 + 20 + 1 + 20 + 40);
}

/// The whole prefix of each branch.
fn paths(branch: &Value, prefix: &str, found: &mut Vec<String>) {
    for child in branch["children"].as_array().into_iter().flatten() {
        let path = format!("{prefix}{}", child["name"].as_str().unwrap());
        paths(child, &path, found);
        found.push(path);
    }
}

#[test]
fn the_server_and_the_filter_can_be_chosen() {
    let shop = shop();
    let report = |args: &[&str]| {
        let args = [&["dump.rdb", "--json"], args].concat();
        analyze(shop.path(), &args).json()
    };
    let own = report(&[]);
    assert_eq!(own["model"]["server"], "Redis 7.2");
    assert_eq!(own["saved_by"]["server"], "redis-7.2.6");
    assert_eq!(own["saved_by"]["used_memory_bytes"], 1_048_576);
    assert_eq!(own["now_ms"], SAVED_AT_S * 1000);
    assert_eq!(own["keys_not_selected"], 0);
    let valkey = report(&["--target-version", "valkey-9.0", "--allocator", "libc"]);
    assert_eq!(valkey["model"]["server"], "Valkey 9.0");
    assert_eq!(valkey["model"]["allocator"], "libc");
    let memory = |report: &Value| report["totals"]["memory_bytes"].as_u64().unwrap();
    assert!(memory(&valkey) < memory(&own));
    let filtered = report(&["--key", "session:*", "--top", "0"]);
    assert_eq!(filtered["totals"]["keys"], 20);
    assert_eq!(filtered["totals"]["expiring_keys"], 20);
    assert_eq!(filtered["keys_not_selected"], 42);
    assert_eq!(filtered["top"].as_array().unwrap().len(), 0);
}

#[test]
fn a_tree_that_is_too_large_is_folded_and_says_so() {
    let mut rdb = Rdb::saved_by("valkey-8.1.1");
    rdb.db(0);
    let keys = 130_000u32;
    for n in 0..keys {
        // No ids, so that every key is a prefix of its own.
        let name: String = n
            .to_string()
            .bytes()
            .map(|digit| (digit + 49) as char)
            .collect();
        rdb.string(format!("name:{name}").as_bytes(), 3);
    }
    rdb.string(b"large", 16_000);
    let directory = rdb.write();
    let report = analyze(directory.path(), &["dump.rdb", "--json"]).json();
    let root = &report["tree"][0];
    assert_eq!(root["keys"], keys + 1);
    let kept = |branch: &Value| branch["children"].as_array().map_or(0, Vec::len) as u64;
    let names = root["children"].as_array().unwrap();
    let names = names.iter().find(|child| child["name"] == "name:").unwrap();
    assert_eq!(names["keys"], keys);
    assert!(kept(names) < 100_000, "{} prefixes", kept(names));
    let folded = names["other"]["keys"].as_u64().unwrap();
    assert_eq!(folded + kept(names), u64::from(keys));
    assert_eq!(report["prefixes"]["folded"].as_u64(), Some(folded));
    let text = analyze(directory.path(), &["dump.rdb"]).stdout;
    assert!(
        text.contains("small prefixes were counted under shorter ones, as (other)"),
        "{text}"
    );
    assert!(text.contains("(other: "), "{text}");
}

#[test]
fn csv_has_a_row_for_each_prefix() {
    let mut rdb = Rdb::saved_by("redis-7.2.6");
    rdb.db(0);
    rdb.string(b"=1+1:a", 10);
    rdb.string(b"a,\"b\":c", 10);
    rdb.string(b"a:b:c", 10);
    let directory = rdb.write();
    let shown = analyze(directory.path(), &["dump.rdb", "--csv", "--depth", "2"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let rows: Vec<_> = shown.stdout.split("\r\n").collect();
    let expected = [
        "db,depth,kind,prefix,keys,expiring_keys,elements,memory_bytes,serialized_bytes,memory_percent",
        "0,0,prefix,,3,0,3,200,63,100.00",
    ];
    assert_eq!(rows[..2], expected, "{}", shown.stdout);
    for row in [
        "0,1,prefix,\\x3d1+1:,1,",
        "0,2,prefix,\\x3d1+1:a,1,",
        "0,1,prefix,\"a,\"\"b\"\":\",1,",
        "0,2,other,a:b:,1,",
    ] {
        assert!(
            rows.iter().any(|found| found.starts_with(row)),
            "{row}: {}",
            shown.stdout
        );
    }
}

#[test]
fn the_page_has_the_same_data_and_no_name_gets_out_of_it() {
    let mut rdb = Rdb::saved_by("redis-7.2.6");
    rdb.db(0);
    let names: [&[u8]; 7] = [
        b"</script><script>alert(1)</script>:x",
        b"<!--<script>:y",
        b"<img src=x onerror=alert(1)>",
        b"&quot;'\"`${1}",
        b"{{data}}:z",
        b"\xff\x00\x1b[31m",
        "\u{202e}\u{2028}turned".as_bytes(),
    ];
    for name in names {
        rdb.string(name, 50);
    }
    let directory = rdb.write();
    let args = ["dump.rdb", "--json", "--html", "report.html"];
    let report = analyze(directory.path(), &args).json();
    let page = fs::read_to_string(directory.path().join("report.html")).unwrap();
    let (_, data) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let (data, rest) = data.split_once("</script>").unwrap();
    assert!(
        !data.contains(['<', '>', '&', '\u{2028}', '\u{202e}']),
        "{data}"
    );
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), report);
    assert_eq!(report["totals"]["keys"], names.len());
    // What follows is the page's own script, and that is all.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(rest.matches("</script>").count(), 1);

    let again = analyze(directory.path(), &args);
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    assert!(
        again.stderr.contains("report.html exists"),
        "{}",
        again.stderr
    );
    assert!(again.stderr.contains("next: "), "{}", again.stderr);
    let again = analyze(directory.path(), &[&args[..], &["--overwrite"]].concat());
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let shop = shop();
    for (name, args, code, said) in [
        (
            "no server",
            &["dump.rdb", "--target-version", "7.2"][..],
            2,
            "--target-version",
        ),
        (
            "no allocator",
            &["dump.rdb", "--allocator", "malloc"],
            2,
            "--allocator",
        ),
        ("no depth", &["dump.rdb", "--depth", "0"], 2, "--depth"),
        (
            "two forms",
            &["dump.rdb", "--json", "--csv"],
            2,
            "cannot be used with",
        ),
        ("no file", &["none.rdb"], 3, "none.rdb cannot be opened"),
        (
            "no directory",
            &["dump.rdb", "--html", "none/out.html"],
            5,
            "cannot be created",
        ),
    ] {
        let shown = analyze(shop.path(), args);
        assert_eq!(shown.code, Some(code), "{name}: {}", shown.stderr);
        assert!(shown.stderr.contains(said), "{name}: {}", shown.stderr);
        assert_eq!(shown.stdout, "", "{name}");
    }
}

/// Every fixture is summed up to what it holds, or refused as a source that failed.
#[test]
fn sums_of_all_fixtures_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let (mut read, mut refused) = (0, 0);
    for file in files {
        let expected: Value =
            serde_json::from_str(&fs::read_to_string(file.with_extension("json")).unwrap())
                .unwrap();
        let path = file.to_str().unwrap();
        let shown = analyze(&root, &[path, "--json"]);
        let expect = expected["expect"].as_str().unwrap();
        match shown.code {
            Some(0) => {
                read += 1;
                let report = shown.json();
                assert_consistent(path, &report);
                if expect == "ok" {
                    assert_expected(path, &report, &expected);
                }
            }
            Some(3) => {
                refused += 1;
                assert_ne!(expect, "ok", "{path}: {}", shown.stderr);
            }
            code => panic!("{path}: {code:?} {}", shown.stderr),
        }
    }
    assert!(read > 100 && refused > 10, "{read} read, {refused} refused");
}

/// Records in a section are as large as anywhere else.
#[test]
fn values_in_compressed_sections_of_dragonfly_are_counted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rdb/synthetic");
    let by_key = |file: &str| -> Vec<(String, u64, u64)> {
        let report = analyze(&root, &[file, "--json"]).json();
        let top = report["top"].as_array().unwrap().iter();
        let number = |key: &Value, field: &str| key[field].as_u64().unwrap();
        let sizes = top.map(|key| {
            let name = key["key"].as_str().unwrap().to_owned();
            (
                name,
                number(key, "serialized_bytes"),
                number(key, "memory_bytes"),
            )
        });
        sizes.collect()
    };
    for file in ["dragonfly-lz4.rdb", "dragonfly-zstd.rdb"] {
        let keys = by_key(file);
        assert!(!keys.is_empty(), "{file}");
        for (key, serialized, memory) in keys {
            // Opcode, key and value.
            assert!(
                serialized > key.len() as u64 + 1,
                "{file}: {key}: {serialized}"
            );
            assert!(memory > 0, "{file}: {key}");
        }
    }
}

/// What must be true of any report.
fn assert_consistent(path: &str, report: &Value) {
    for field in [
        "keys",
        "expiring_keys",
        "elements",
        "memory_bytes",
        "serialized_bytes",
    ] {
        let total = &report["totals"][field];
        for part in ["dbs", "types", "ttl", "tree"] {
            let parts = report[part].as_array().unwrap().iter();
            let sum: u64 = parts.map(|of| of[field].as_u64().unwrap()).sum();
            assert_eq!(total.as_u64(), Some(sum), "{path}: {field} of {part}");
        }
        for db in report["tree"].as_array().unwrap() {
            assert_inside(path, db, field);
        }
    }
    let bytes = |value: &Value| value.as_u64().unwrap();
    let (all, keys) = (
        bytes(&report["rdb_bytes"]),
        bytes(&report["totals"]["serialized_bytes"]),
    );
    // What stands in compressed sections counts as it is inflated.
    let has_sections = path.contains("dragonfly");
    assert!(
        keys < all || has_sections,
        "{path}: {keys} bytes of keys in {all}"
    );
    let top = report["top"].as_array().unwrap().iter();
    let top: Vec<_> = top.map(|key| bytes(&key["memory_bytes"])).collect();
    assert!(top.is_sorted_by(|a, b| a >= b), "{path}: {top:?}");
}

/// No branch has more below it than it has itself.
fn assert_inside(path: &str, branch: &Value, field: &str) {
    let of = |branch: &Value| branch[field].as_u64().unwrap_or(0);
    let children = branch["children"].as_array().into_iter().flatten();
    let below: u64 = children.clone().map(of).sum::<u64>() + of(&branch["other"]);
    assert!(
        below <= of(branch),
        "{path}: {below} of {field} in {}",
        branch["name"]
    );
    children.for_each(|child| assert_inside(path, child, field));
}

/// Keys, types and expiries are those that a server has read from the file.
fn assert_expected(path: &str, report: &Value, expected: &Value) {
    let Some(keys) = expected["keys"].as_array() else {
        return;
    };
    // A field of a hash whose time had passed is in the file, but no server shows it.
    let count = |of: &dyn Fn(&Value) -> bool| keys.iter().filter(|key| of(key)).count() as u64;
    let expiring = count(&|key| !key["pexpireat"].is_null());
    let read = report["totals"]["keys"].as_u64().unwrap();
    if read != keys.len() as u64 {
        let duplicates = expected["duplicates"] == "last";
        // Servers drop what has expired and collections without elements while they load.
        let dropped = path.contains("expired") || path.contains("empty_keys");
        assert!(
            duplicates || dropped,
            "{path}: {read} keys, not {}",
            keys.len()
        );
        return;
    }
    assert_eq!(report["totals"]["expiring_keys"], expiring, "{path}");
    for name in ["string", "list", "set", "zset", "hash", "stream"] {
        let types = report["types"].as_array().unwrap().iter();
        let sum: u64 = types
            .filter(|of| of["type"] == name)
            .map(|of| of["keys"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, count(&|key| key["type"] == name), "{path}: {name}");
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rdb") {
            files.push(path);
        }
    }
    files.sort();
}
