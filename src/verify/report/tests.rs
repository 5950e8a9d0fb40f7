use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use rusqlite::Connection;
use serde_json::Value;

use super::*;
use crate::{
    rdb::KeyType,
    verify::{Counts, First, Held, Kind, Place, Reason, Verdict, summary::none_undecided},
};

pub(super) fn head() -> Head {
    Head {
        version: SCHEMA_VERSION,
        source: "127.0.0.1:6379".into(),
        target: "[::1]:6380".into(),
        source_run_id: Some("a1".into()),
        target_run_id: None,
        method: "scan".into(),
        depth: "full".into(),
        sample: 1,
        selection: "--key '<user>:*'".into(),
        ttl_tolerance_ms: 1000,
        started_at: "2026-05-01T10:00:00Z".into(),
    }
}

/// Bytes that a format may stumble over.
pub(super) fn hostile() -> Vec<Bytes> {
    let long = "x".repeat(5000);
    [
        &b"user:1"[..],
        b"",
        b"=1+1",
        b"a,\"b\"\r\nc",
        b"</script><script>alert(1)</script>",
        b"<img src=x onerror=alert(1)>'&quot;",
        b"\x00\xff\xfe\\N",
        b"{{data}}",
        "F\u{e4}hre \u{2028}\u{202e}".as_bytes(),
        b"'); DROP TABLE differences; --",
        long.as_bytes(),
    ]
    .into_iter()
    .map(Bytes::copy_from_slice)
    .collect()
}

pub(super) fn difference(key: &Bytes, kind: Kind) -> Difference {
    let held = Held {
        value_type: Some(KeyType::Hash),
        memory_bytes: Some(1 << 40),
        len: Some(3),
        expire_at_ms: Some(-5),
    };
    Difference {
        db: Db(7),
        key: key.clone(),
        kind,
        source: held,
        target: Held {
            expire_at_ms: None,
            memory_bytes: Some(u64::MAX),
            ..held
        },
        first: Some(First {
            place: Place::Field(key.clone()),
            source: Some(key.clone()),
            target: None,
        }),
    }
}

pub(super) fn summary(counts: Counts) -> Summary {
    Summary {
        result: Verdict::Different,
        source: head().source,
        target: head().target,
        method: "scan",
        depth: "full",
        sample: 1,
        duration_ms: 61_005,
        resumed: false,
        keys_compared: 1000,
        keys_looked_up: 999,
        bytes_read: 1 << 40,
        large_keys: 1,
        functions: 2,
        rounds: 3,
        settled: 4,
        differences: counts,
        undecided: none_undecided(),
        not_looked_at: BTreeMap::from([("filtered", 5)]),
        expiries_held: 6,
        repair: None,
    }
}

/// What is written into a report.
#[derive(Clone)]
enum Op {
    Differences(Vec<Difference>),
    Undecided(Undecided),
    Suspects(Vec<Suspect>),
    Settled(Db, Bytes),
    Bookmark(Bookmark),
    Repaired(Repaired),
}

impl Op {
    fn write(&self, report: &mut Report) {
        match self {
            Op::Differences(of_key) => report.differences(of_key),
            Op::Undecided(undecided) => report.undecided(undecided),
            Op::Suspects(suspects) => report.suspects(suspects),
            Op::Settled(db, key) => report.settled(*db, key),
            Op::Bookmark(bookmark) => report.bookmark(bookmark),
            Op::Repaired(repaired) => report.repaired(repaired),
        }
        .unwrap();
    }

    /// How many lines of JSON it makes.
    fn lines(&self) -> usize {
        match self {
            Op::Differences(of_key) => of_key.len(),
            Op::Suspects(suspects) => suspects.len(),
            Op::Undecided(_) | Op::Settled(..) | Op::Bookmark(_) | Op::Repaired(_) => 1,
        }
    }
}

fn suspect(key: &Bytes) -> Suspect {
    Suspect {
        db: Db(7),
        key: key.clone(),
    }
}

fn bookmark(cursor: u64) -> Bookmark {
    Bookmark {
        pass: Pass::Reverse,
        db: Db(7),
        cursor,
        dbs_done: vec![Db(0), Db(3)],
        tallies: Tallies {
            keys_compared: cursor.min(1000),
            elapsed_ms: 5,
            ..Tallies::default()
        },
    }
}

/// Suspects end in each of the ways a suspect can end, and some stay open.
fn story() -> Vec<Op> {
    let mut keys = hostile();
    keys.retain(|key| key.len() < 100);
    let undecided = |key: &Bytes, detail: Option<&str>| Undecided {
        db: Db(7),
        key: key.clone(),
        reason: Reason::Changing,
        detail: detail.map(str::to_owned),
    };
    let first: Vec<Suspect> = keys[..6].iter().map(suspect).collect();
    let rest: Vec<Suspect> = keys[6..].iter().map(suspect).collect();
    let two = [Kind::Value, Kind::Expiry].map(|kind| difference(&keys[1], kind));
    let library = Difference {
        source: Held::default(),
        first: None,
        ..difference(&keys[3], Kind::Function)
    };
    vec![
        Op::Suspects(first),
        Op::Bookmark(bookmark(1)),
        Op::Differences(vec![difference(&keys[0], Kind::Missing)]),
        Op::Differences(two.to_vec()),
        Op::Undecided(undecided(&keys[2], None)),
        Op::Suspects(rest),
        Op::Suspects(vec![suspect(&keys[0]), suspect(&keys[6])]),
        Op::Bookmark(bookmark(u64::MAX)),
        Op::Settled(Db(7), keys[4].clone()),
        Op::Suspects(vec![suspect(&keys[4])]),
        Op::Settled(Db(7), keys[5].clone()),
        Op::Undecided(undecided(&keys[7], Some("=refused, \"now\""))),
        Op::Differences(vec![library]),
        Op::Repaired(Repaired {
            db: Db(7),
            key: keys[0].clone(),
            action: RepairAction::Failed("-OOM, <now>".into()),
        }),
    ]
}

/// What is to be known of these operations, in a form that compares.
#[derive(Debug, Default, PartialEq)]
struct Known {
    bookmark: Option<Bookmark>,
    suspects: Vec<Suspect>,
    decided: BTreeSet<Suspect>,
    counts: Counts,
    undecided: u64,
}

fn known<'a>(ops: impl Iterator<Item = &'a Op>) -> Known {
    let mut known = Known::default();
    let mut decided = Vec::new();
    for op in ops {
        let mut verdict = |suspects: &mut Vec<Suspect>, db: Db, key: &Bytes| {
            let key = key.clone();
            decided.push(Suspect { db, key });
            suspects.retain(|suspect| Some(suspect) != decided.last());
        };
        match op {
            Op::Differences(of_key) => {
                known.counts.add(of_key);
                verdict(&mut known.suspects, of_key[0].db, &of_key[0].key);
            }
            Op::Undecided(undecided) => {
                known.undecided += 1;
                verdict(&mut known.suspects, undecided.db, &undecided.key);
            }
            Op::Suspects(suspects) => {
                for suspect in suspects {
                    if !known.suspects.contains(suspect) && !decided.contains(suspect) {
                        known.suspects.push(suspect.clone());
                    }
                }
            }
            Op::Settled(db, key) => {
                let settled = Suspect {
                    db: *db,
                    key: key.clone(),
                };
                known.suspects.retain(|suspect| *suspect != settled);
            }
            Op::Bookmark(bookmark) => known.bookmark = Some(bookmark.clone()),
            Op::Repaired(_) => {}
        }
    }
    known.decided.extend(decided);
    known
}

fn found(resumed: Resumed) -> Known {
    assert_eq!(resumed.head, head());
    Known {
        bookmark: resumed.bookmark,
        suspects: resumed.suspects,
        decided: resumed.decided.into_iter().collect(),
        counts: resumed.counts,
        undecided: resumed.undecided.values().sum(),
    }
}

fn written(path: &Path) -> Vec<Op> {
    let ops = story();
    let mut report = Report::create(path, &head(), false).unwrap();
    ops.iter().for_each(|op| op.write(&mut report));
    report.finish(&summary(known(ops.iter()).counts)).unwrap();
    ops
}

#[test]
fn a_report_in_json_lines_is_gone_on_with_from_every_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.jsonl");
    let ops = written(&path);
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        // A file that is emptied and written again is brought to the disk by some file systems.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut report, resumed) = Report::resume(&path, &head()).unwrap();
        assert_eq!(resumed.finished, cut == whole.len());
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        // One line is the head; an operation of which some lines are missing has not happened,
        // except that each suspect is one.
        let mut left = lines.saturating_sub(1);
        let mut done = Vec::new();
        for op in &ops {
            let lines = op.lines();
            if left >= lines {
                left -= lines;
                done.push(op.clone());
                continue;
            }
            if let Op::Suspects(suspects) = op {
                done.push(Op::Suspects(suspects[..left].to_vec()));
            }
            break;
        }
        assert_eq!(found(resumed), known(done.iter()), "cut at {cut}");

        // What is written from there on is read with what was there. (Not after every cut: slow.)
        if cut % 13 != 0 && whole.get(cut.wrapping_sub(1)) != Some(&b'\n') {
            continue;
        }
        let last = Op::Bookmark(bookmark(99));
        last.write(&mut report);
        drop(report);
        let (_, resumed) = Report::resume(&path, &head()).unwrap();
        assert_eq!(
            found(resumed),
            known(done.iter().chain([&last])),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_database_is_gone_on_with_from_the_last_bookmark_on() {
    let directory = tempfile::tempdir().unwrap();
    for kept in 0..=story().len() {
        let path = directory.path().join(format!("{kept}.sqlite"));
        let ops = &story()[..kept];
        let mut report = Report::create(&path, &head(), false).unwrap();
        ops.iter().for_each(|op| op.write(&mut report));
        // As when the process is killed: nothing is committed.
        drop(report);
        let is_bookmark = |op: &Op| matches!(op, Op::Bookmark(_));
        let durable = ops.iter().rposition(is_bookmark).map_or(0, |at| at + 1);
        let (mut report, resumed) = Report::resume(&path, &head()).unwrap();
        assert!(!resumed.finished);
        assert_eq!(found(resumed), known(ops[..durable].iter()), "{kept}");

        let last = Op::Bookmark(bookmark(99));
        last.write(&mut report);
        drop(report);
        let (report, resumed) = Report::resume(&path, &head()).unwrap();
        let counts = resumed.counts.clone();
        assert_eq!(found(resumed), known(ops[..durable].iter().chain([&last])));
        report.finish(&summary(counts)).unwrap();
        assert!(Report::resume(&path, &head()).unwrap().1.finished);
    }
}

#[test]
fn the_report_of_another_verification_is_not_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    for ending in ["jsonl", "sqlite", "db"] {
        let path = directory.path().join("report").with_extension(ending);
        drop(Report::create(&path, &head(), true).unwrap());
        let before = fs::read(&path).unwrap();
        let change = |change: fn(&mut Head)| {
            let mut other = head();
            change(&mut other);
            match Report::resume(&path, &other) {
                Ok(_) => None,
                Err(Error::OtherReport { why, .. }) => Some(why),
                Err(error) => panic!("{error}"),
            }
        };
        for (changed, expected) in [
            (change(|head| head.version = 2), "schema version"),
            (change(|head| head.source = "b:1".into()), "source"),
            (change(|head| head.target = "b:1".into()), "target"),
            (change(|head| head.method = "snapshot".into()), "method"),
            (change(|head| head.depth = "existence".into()), "depth"),
            (change(|head| head.sample = 100), "sample"),
            (change(|head| head.selection = String::new()), "selection"),
            (change(|head| head.ttl_tolerance_ms = 0), "tolerance"),
        ] {
            let why = changed.unwrap_or_default();
            assert!(why.contains(expected), "{ending} {expected}: {why}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(change(|head| head.started_at = "later".into()), None);
    }
}

#[test]
fn a_cursor_is_of_one_life_of_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let run = |source: &str, target: &str| Head {
        source_run_id: Some(source.into()),
        target_run_id: Some(target.into()),
        ..head()
    };
    for (name, pass, runs, cursor) in [
        ("the same", Pass::Forward, vec![run("a", "b")], 7),
        ("another source", Pass::Forward, vec![run("x", "b")], 0),
        ("another target", Pass::Forward, vec![run("a", "x")], 7),
        (
            "the source matters not",
            Pass::Reverse,
            vec![run("x", "b")],
            7,
        ),
        ("the target matters", Pass::Reverse, vec![run("a", "x")], 0),
        (
            "one that came back",
            Pass::Forward,
            vec![run("x", "b"), run("a", "b")],
            0,
        ),
        (
            "one that came back",
            Pass::Reverse,
            vec![run("a", "x"), run("a", "b")],
            0,
        ),
    ] {
        for ending in ["jsonl", "sqlite"] {
            let path = directory.path().join("report").with_extension(ending);
            let mut report = Report::create(&path, &run("a", "b"), true).unwrap();
            let written = Bookmark {
                pass,
                ..bookmark(7)
            };
            report.bookmark(&written).unwrap();
            drop(report);
            let mut last = run("a", "b");
            for head in &runs {
                let (_, resumed) = Report::resume(&path, head).unwrap();
                assert_eq!(resumed.head, last, "{name}");
                last = head.clone();
            }
            let (_, resumed) = Report::resume(&path, runs.last().unwrap()).unwrap();
            let bookmark = resumed.bookmark.unwrap();
            assert_eq!(bookmark.cursor, cursor, "{name}, {ending}");
            assert_eq!(bookmark.dbs_done, written.dbs_done);
        }
    }
}

#[test]
fn what_is_no_report_is_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let other_database = directory.path().join("other.sqlite");
    let database = Connection::open(&other_database).unwrap();
    database.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(database);
    for (name, ending, content) in [
        ("text", "jsonl", &b"my notes"[..]),
        ("lines of text", "jsonl", b"my\nnotes\n"),
        ("other JSON", "jsonl", b"{\"a\":1}\n"),
        ("no head", "jsonl", b"{\"record\":\"summary\"}\n"),
        ("text", "sqlite", &[b'x'; 4096]),
        (
            "another database",
            "sqlite",
            &fs::read(&other_database).unwrap(),
        ),
    ] {
        let path = directory.path().join("file").with_extension(ending);
        fs::write(&path, content).unwrap();
        let error = Report::resume(&path, &head()).unwrap_err();
        assert!(
            matches!(error, Error::OtherReport { .. }),
            "{name}: {error}"
        );
        assert!(!error.why().is_empty() && !error.next().is_empty());
        assert_eq!(fs::read(&path).unwrap(), content, "{name}");
    }
    let missing = Report::resume(&directory.path().join("none.jsonl"), &head());
    assert!(matches!(missing, Err(Error::Report { done: "read", .. })));
    let missing = Report::resume(&directory.path().join("none.sqlite"), &head());
    assert!(matches!(missing, Err(Error::Report { done: "read", .. })));
}

#[test]
fn a_line_that_makes_no_sense_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.jsonl");
    let whole = {
        drop(Report::create(&path, &head(), false).unwrap());
        fs::read(&path).unwrap()
    };
    for (name, line) in [
        ("no JSON", "{"),
        ("no record", "{}"),
        ("another record", "{\"record\":\"news\"}"),
        ("a second head", &String::from_utf8_lossy(&whole)),
        (
            "another reason",
            "{\"record\":\"undecided\",\"db\":0,\"key\":\"a\",\"reason\":\"mood\"}",
        ),
    ] {
        let content = [&whole, line.trim().as_bytes(), b"\n"].concat();
        fs::write(&path, &content).unwrap();
        let error = Report::resume(&path, &head()).unwrap_err();
        assert!(error.why().contains("line 2"), "{name}: {}", error.why());
        assert_eq!(fs::read(&path).unwrap(), content, "{name}");
    }
}

#[test]
fn two_processes_do_not_write_one_report() {
    let directory = tempfile::tempdir().unwrap();
    for ending in ["jsonl", "sqlite"] {
        let path = directory.path().join("report").with_extension(ending);
        let report = Report::create(&path, &head(), false).unwrap();
        let error = Report::resume(&path, &head()).unwrap_err();
        assert!(matches!(error, Error::Report { .. }), "{ending}: {error}");
        drop(report);
        Report::resume(&path, &head()).unwrap();
    }
}

#[test]
fn a_name_says_the_form_and_replaces_nothing_unasked() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["report", "report.txt", "jsonl", ".html"] {
        let error = Report::create(&directory.path().join(name), &head(), true).unwrap_err();
        assert!(error.next().contains(".jsonl, .csv, .sqlite"), "{name}");
        assert!(matches!(error, Error::UnusableReport { .. }), "{name}");
    }
    for ending in ["jsonl", "csv", "sqlite", "db", "html"] {
        let path = directory.path().join("old").with_extension(ending);
        fs::write(&path, "old").unwrap();
        let error = Report::create(&path, &head(), false).unwrap_err();
        assert!(matches!(error, Error::UnusableReport { .. }), "{ending}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let report = Report::create(&path, &head(), true).unwrap();
        report.finish(&summary(Counts::default())).unwrap();
        assert_ne!(fs::read(&path).unwrap(), b"old");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{ending}");

        let folder = directory.path().join("folder").with_extension(ending);
        fs::create_dir(&folder).unwrap();
        let error = Report::create(&folder, &head(), true).unwrap_err();
        assert!(matches!(error, Error::UnusableReport { .. }), "{ending}");
    }
    for ending in ["csv", "html"] {
        let path = directory.path().join("report").with_extension(ending);
        let error = Report::resume(&path, &head()).unwrap_err();
        assert!(error.next().contains("only .jsonl and .sqlite"));
        // They appear when they are complete.
        drop(Report::create(&path, &head(), false).unwrap());
        assert!(!path.exists());
    }
    let names = fs::read_dir(directory.path()).unwrap();
    assert_eq!(names.count(), 10, "nothing temporary is left");
}

#[test]
fn an_old_journal_is_not_rolled_back_into_a_new_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.sqlite");
    let journal = directory.path().join("report.sqlite-journal");
    fs::write(&journal, "what a killed process left").unwrap();
    drop(Report::create(&path, &head(), false).unwrap());
    Report::resume(&path, &head()).unwrap();
}

#[test]
fn lines_of_json_say_all_there_is_to_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.jsonl");
    written(&path);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let records: Vec<&str> = lines
        .iter()
        .map(|line| line["record"].as_str().unwrap())
        .collect();
    assert_eq!(records.first(), Some(&"head"));
    assert_eq!(records.last(), Some(&"summary"));
    let of = |record: &str| -> Vec<&Value> {
        lines
            .iter()
            .filter(|line| line["record"] == record)
            .collect()
    };
    let expected = serde_json::json!({
        "record": "difference", "db": 7, "key": "user:1", "slot": Slot::of(b"user:1").0,
        "kind": "missing", "number": 1, "of": 1,
        "source": {"type": "hash", "memory_bytes": 1_u64 << 40, "len": 3, "expire_at_ms": -5},
        "target": {"type": "hash", "memory_bytes": u64::MAX, "len": 3, "expire_at_ms": null},
        "first": {
            "place": {"text": "field \"user:1\"", "what": "field", "name": "user:1"},
            "source": "user:1", "target": null,
        },
    });
    assert_eq!(*of("difference")[0], expected);
    assert_eq!(of("difference")[2]["number"], 2);
    assert_eq!(of("difference")[3]["slot"], Value::Null);
    assert_eq!(of("suspect")[6]["key"]["base64"], "AP/+XE4=");
    assert_eq!(of("progress")[1]["cursor"], u64::MAX);
    assert_eq!(of("repair")[0]["action"], "failed");
    assert_eq!(of("undecided")[1]["detail"], "=refused, \"now\"");
    assert_eq!(of("summary")[0]["differences"]["by_kind"]["expiry"], 1);
}

/// The rows of a CSV file, as RFC 4180 has them.
fn rows_of(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        let row = rows.last_mut().unwrap();
        let cell = row.last_mut().unwrap();
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            char if quoted => cell.push(char),
            ',' => row.push(String::new()),
            '\r' => {
                assert_eq!(chars.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            char => cell.push(char),
        }
    }
    assert!(!quoted);
    assert_eq!(rows.pop(), Some(vec![String::new()]), "the last line ends");
    rows
}

/// The bytes that escaped text stands for.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, false) => bytes.push(u8::try_from(char).unwrap()),
            _ => match chars.next().unwrap() {
                'n' => bytes.push(b'\n'),
                'r' => bytes.push(b'\r'),
                't' => bytes.push(b'\t'),
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => bytes.push(u8::try_from(other).unwrap()),
            },
        }
    }
    bytes
}

#[test]
fn csv_gives_every_key_and_value_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.csv");
    let mut report = Report::create(&path, &head(), false).unwrap();
    let keys = hostile();
    for key in &keys {
        report.differences(&[difference(key, Kind::Value)]).unwrap();
    }
    story().iter().for_each(|op| op.write(&mut report));
    report.finish(&summary(Counts::default())).unwrap();
    let rows = rows_of(&fs::read_to_string(&path).unwrap());
    let header = &rows[0];
    let column = |name: &str| header.iter().position(|cell| cell == name).unwrap();
    assert!(rows.iter().all(|row| row.len() == header.len()));
    for (row, key) in rows[1..].iter().zip(&keys) {
        assert_eq!(unescaped(&row[column("key")]), key[..]);
        assert_eq!(unescaped(&row[column("source_value")]), key[..]);
        assert_eq!(row[column("target_value")], "\\N");
        assert_eq!(row[column("source_expire_at_ms")], "-5");
        assert_eq!(row[column("target_expire_at_ms")], "");
        assert_eq!(row[column("slot")], Slot::of(key).0.to_string());
        assert!(!row[column("key")].starts_with(['=', '+', '-', '@']));
    }
    let records = |name: &str| rows.iter().filter(|row| row[0] == name).count();
    assert_eq!(records("difference"), keys.len() + 4);
    assert_eq!(records("undecided"), 2);
    let repair = rows.last().unwrap();
    assert_eq!(repair[0], "repair");
    assert_eq!(repair[column("kind")], "failed");
    assert_eq!(repair[column("detail")], "\\x2dOOM, <now>");
}

#[test]
fn a_database_answers_plain_sql() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.sqlite");
    let mut report = Report::create(&path, &head(), false).unwrap();
    let keys = hostile();
    for key in &keys {
        report.differences(&[difference(key, Kind::Value)]).unwrap();
    }
    story().iter().for_each(|op| op.write(&mut report));
    report.finish(&summary(Counts::default())).unwrap();

    let database = Connection::open(&path).unwrap();
    let one = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(one("PRAGMA user_version"), i64::from(SCHEMA_VERSION));
    assert_eq!(
        one("SELECT count(*) FROM differences"),
        keys.len() as i64 + 4
    );
    assert_eq!(
        one("SELECT count(*) FROM differences WHERE slot IS NULL"),
        1
    );
    assert_eq!(one("SELECT source_memory_bytes FROM differences"), 1 << 40);
    assert_eq!(one("SELECT target_memory_bytes FROM differences"), i64::MAX);
    assert_eq!(one("SELECT count(*) FROM undecided"), 2);
    assert_eq!(one("SELECT keys_compared FROM summary"), 1000);
    assert_eq!(
        one("SELECT json_extract(json, '$.settled') FROM summary"),
        4
    );
    assert_eq!(one("SELECT ttl_tolerance_ms FROM run"), 1000);
    let text = |sql: &str| -> String { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(text("SELECT detail FROM repairs"), "-OOM, <now>");
    assert_eq!(text("SELECT cursor FROM progress"), u64::MAX.to_string());
    assert_eq!(text("SELECT selection FROM run"), head().selection);
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    for key in &keys {
        let sql = "SELECT source_value, key_text, place FROM differences \
                   WHERE db = 7 AND key = ?1 AND kind = 'value' ORDER BY id";
        let (value, text, place): (Vec<u8>, String, String) = database
            .query_row(sql, [&key[..]], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(value, key[..]);
        assert_eq!(unescaped(&text), key[..]);
        assert!(place.starts_with("field "));
    }
}

#[test]
fn a_reader_of_the_database_does_not_fail_the_verification() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.sqlite");
    let mut report = Report::create(&path, &head(), false).unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM run").unwrap();
    let key = Bytes::from_static(b"a");
    report
        .differences(&[difference(&key, Kind::Value)])
        .unwrap();
    report.bookmark(&bookmark(1)).unwrap();
    reader.execute_batch("COMMIT").unwrap();
    report.bookmark(&bookmark(2)).unwrap();
    drop(report);
    let (_, resumed) = Report::resume(&path, &head()).unwrap();
    assert_eq!(resumed.bookmark, Some(bookmark(2)));
    assert_eq!(resumed.counts.total, 1);
}
