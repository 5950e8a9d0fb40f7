//! Runs of `keyferry verify`, and what their reports say.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    client::shown,
    keyferry::{Finished, Keyferry},
    mutation::Planted,
    server::Server,
};

/// How long a verification may take.
const WITHIN: Duration = Duration::from_secs(300);

/// A run of `keyferry verify` that is made up.
pub(crate) struct Verify {
    args: Vec<String>,
    dir: TempDir,
}

impl Verify {
    /// Compares two servers, and reads again what differs without long pauses.
    pub(crate) fn of(source: &Server, target: &Server) -> Verify {
        Verify::between(&source.url(), &target.url())
    }

    /// The same by their URLs.
    pub(crate) fn between(source: &str, target: &str) -> Verify {
        Verify::reporting(source, target, "jsonl")
    }

    /// The same with a report of this ending.
    pub(crate) fn reporting(source: &str, target: &str, ending: &str) -> Verify {
        let verify = Verify {
            args: vec!["verify".to_owned()],
            dir: TempDir::new().unwrap(),
        };
        let report = verify.report_of(ending);
        verify
            .with(&["--source", source, "--target", target, "--json"])
            .with(&["--report", &report, "--round-delay", "50ms"])
    }

    /// With further arguments.
    pub(crate) fn with(mut self, args: &[&str]) -> Verify {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Where its report is.
    pub(crate) fn report(&self) -> String {
        self.report_of("jsonl")
    }

    /// Where a report with this ending would be.
    pub(crate) fn report_of(&self, ending: &str) -> String {
        let path = self.dir.path().join(format!("report.{ending}"));
        path.to_str().unwrap().to_owned()
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Keyferry {
        self.start_with(&[])
    }

    /// Starts it with some more arguments.
    pub(crate) fn start_with(&self, more: &[&str]) -> Keyferry {
        let args = self.args.iter().map(String::as_str);
        let args: Vec<&str> = args.chain(more.iter().copied()).collect();
        Keyferry::start(&args, &[])
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Verified {
        self.finish(self.start())
    }

    /// Waits for the end of a run, and reads its report.
    pub(crate) fn finish(&self, keyferry: Keyferry) -> Verified {
        let finished = keyferry.wait(WITHIN);
        let report = std::fs::read_to_string(self.report()).unwrap_or_default();
        Verified::of(finished, &report)
    }
}

/// How a verification ended.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) finished: Finished,
    /// What `--json` printed; null when that is nothing.
    pub(crate) summary: Value,
    /// The differences of the report.
    pub(crate) differences: Vec<Reported>,
    /// The undecided keys of the report: db, key, reason, detail.
    pub(crate) undecided: Vec<(u64, Vec<u8>, String, String)>,
}

/// A difference as a report names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reported {
    pub(crate) db: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) kind: String,
    pub(crate) place: Option<String>,
    /// What both sides have there.
    pub(crate) values: [Option<Vec<u8>>; 2],
    pub(crate) types: [Option<String>; 2],
    pub(crate) lens: [Option<u64>; 2],
    pub(crate) expire_at_ms: [Option<i64>; 2],
}

impl Reported {
    fn of(line: &Value) -> Reported {
        let sides = [&line["source"], &line["target"]];
        let first = &line["first"];
        Reported {
            db: line["db"].as_u64().unwrap(),
            key: byte_string(&line["key"]).unwrap(),
            kind: line["kind"].as_str().unwrap().to_owned(),
            place: first["place"]["text"].as_str().map(str::to_owned),
            values: [byte_string(&first["source"]), byte_string(&first["target"])],
            types: sides.map(|side| side["type"].as_str().map(str::to_owned)),
            lens: sides.map(|side| side["len"].as_u64()),
            expire_at_ms: sides.map(|side| side["expire_at_ms"].as_i64()),
        }
    }
}

impl Verified {
    fn of(finished: Finished, report: &str) -> Verified {
        let lines = report
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (mut differences, mut undecided) = (Vec::new(), Vec::new());
        for line in lines {
            match line["record"].as_str() {
                Some("difference") => differences.push(Reported::of(&line)),
                Some("undecided") => undecided.push((
                    line["db"].as_u64().unwrap(),
                    byte_string(&line["key"]).unwrap(),
                    line["reason"].as_str().unwrap().to_owned(),
                    line["detail"].as_str().unwrap_or_default().to_owned(),
                )),
                _ => {}
            }
        }
        Verified {
            summary: serde_json::from_str(&finished.stdout).unwrap_or_default(),
            finished,
            differences,
            undecided,
        }
    }

    /// Fails the test when anything was found, or anything is open.
    pub(crate) fn assert_equal(&self) -> &Verified {
        self.assert_planted(&[]);
        self.finished.assert_code(0);
        assert_eq!(self.summary["result"], "equal", "{}", self.summary);
        self
    }

    /// Fails the test when not exactly these differences were found, each of them once.
    pub(crate) fn assert_planted(&self, planted: &[Planted]) -> &Verified {
        let wrong = self.wrong(planted);
        assert!(
            wrong.is_empty(),
            "{} wrong of {} planted:\n{}\n{}",
            wrong.len(),
            planted.len(),
            wrong.join("\n"),
            self.summary
        );
        let counts = &self.summary["differences"];
        assert_eq!(counts["total"], planted.len(), "{}", self.summary);
        if !planted.is_empty() {
            self.finished.assert_code(1);
            assert_eq!(self.summary["result"], "different", "{}", self.summary);
        }
        self
    }

    /// In what the report is not the list of what was planted, for people.
    pub(crate) fn wrong(&self, planted: &[Planted]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut reported = self.differences.clone();
        for planted in planted {
            let found = reported.iter().position(|found| planted.names(found));
            match found.map(|at| reported.swap_remove(at)) {
                None => wrong.push(format!("not found: {planted}")),
                Some(found) => {
                    let why = planted.unlike(&found);
                    wrong.extend(why.map(|why| format!("{planted}: {why}")));
                }
            }
        }
        for found in reported {
            let key = shown(&found.key);
            wrong.push(format!("not planted: {} of {key}: {found:?}", found.kind));
        }
        wrong
    }

    /// How many undecided keys have this reason.
    pub(crate) fn undecided(&self, reason: &str) -> u64 {
        self.summary["undecided"][reason].as_u64().unwrap()
    }

    /// A number of the summary.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.summary[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {}\n{}", self.summary, self.finished.stderr))
    }
}

/// A string of a report: text, or base64 of what is no UTF-8.
fn byte_string(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(STANDARD.decode(other["base64"].as_str().unwrap()).unwrap()),
    }
}
