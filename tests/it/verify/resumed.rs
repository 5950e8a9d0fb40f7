//! A verification that was killed goes on where it was, and finds what it would have found at once.

use super::SOON;
use crate::support::{
    client::{Client, Command},
    server::{Server, wait_for},
    verification::{Verified, Verify},
    version::Version,
};

const KEYS: usize = 20_000;
/// Keys of which the target has another value, and keys that only it has.
const SPOILT: usize = 50;

struct Scene {
    source: Server,
    target: Server,
}

impl Scene {
    fn new() -> Scene {
        let start = || Server::of(Version::named("redis-7.0")).start();
        let (source, target) = (start(), start());
        // No strings: every value is one DUMP, so they can be counted.
        let fill: Vec<Command> = (0..KEYS)
            .map(|n| command!["HSET", format!("key:{n}"), "a", n])
            .collect();
        for server in [&source, &target] {
            server.client().pipeline(&fill);
        }
        let change = |n| {
            [
                command!["HSET", format!("key:{}", n * (KEYS / SPOILT)), "a", "other"],
                command!["HSET", format!("only:{n}"), "a", "b"],
            ]
        };
        let change: Vec<Command> = (0..SPOILT).flat_map(change).collect();
        target.client().pipeline(&change);
        let library =
            "#!lua name=only_there\nredis.register_function('f', function() return 1 end)";
        target.client().run(command!["FUNCTION", "LOAD", library]);
        Scene { source, target }
    }

    fn dumps(&self) -> u64 {
        calls(&mut self.source.client(), "dump")
    }

    /// Kills a run once this many values were read.
    fn kill_after(&self, verify: &Verify, dumps: u64) {
        let before = self.dumps();
        let mut keyferry = verify.start_with(&["--max-keys-per-second", "5000"]);
        wait_for("some values", SOON, || {
            assert!(keyferry.running(), "{}", keyferry.stderr());
            self.dumps() >= before + dumps
        });
        keyferry.kill();
    }
}

fn calls(client: &mut Client, command: &str) -> u64 {
    let line = client.info("commandstats", &format!("cmdstat_{command}"));
    let calls = line.as_deref().and_then(|line| {
        let (_, rest) = line.split_once("calls=")?;
        rest.split(',').next()?.parse().ok()
    });
    calls.unwrap_or(0)
}

fn assert_all_found(verified: &Verified) {
    verified.finished.assert_code(1);
    let mut found: Vec<_> = verified
        .differences
        .iter()
        .map(|one| {
            (
                one.kind.clone(),
                String::from_utf8_lossy(&one.key).into_owned(),
            )
        })
        .collect();
    found.sort();
    let planted = |n| {
        [
            ("value".to_owned(), format!("key:{}", n * (KEYS / SPOILT))),
            ("only_on_target".to_owned(), format!("only:{n}")),
        ]
    };
    let mut expected: Vec<_> = (0..SPOILT).flat_map(planted).collect();
    expected.push(("function".to_owned(), "only_there".to_owned()));
    expected.sort();
    assert_eq!(found, expected);
    let counts = &verified.summary["differences"];
    assert_eq!(counts["total"], 2 * SPOILT + 1, "{}", verified.summary);
    assert_eq!(counts["by_kind"]["value"], SPOILT, "{}", verified.summary);
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let scene = Scene::new();
    let verify = Verify::of(&scene.source, &scene.target);
    scene.kill_after(&verify, 12_000);
    let read = scene.dumps();
    let verified = verify.finish(verify.start_with(&["--resume"]));
    assert_all_found(&verified);
    assert_eq!(verified.summary["resumed"], true);
    // What was read since the last bookmark, a second at most, is read again; what differs as well.
    let again = read + (scene.dumps() - read);
    assert!(
        again < KEYS as u64 + 8_000,
        "{again} values of {KEYS} were read"
    );
    let compared = verified.count("keys_compared");
    assert!(
        (KEYS as u64..KEYS as u64 + 8_000).contains(&compared),
        "{compared}"
    );
}

#[test]
fn killed_again_and_again_it_comes_to_its_end() {
    let scene = Scene::new();
    let verify = Verify::of(&scene.source, &scene.target).with(&["--resume"]);
    for _ in 0..3 {
        scene.kill_after(&verify, 5_500);
    }
    let verified = verify.finish(verify.start());
    assert_all_found(&verified);
    assert!(scene.dumps() < 2 * KEYS as u64, "{}", scene.dumps());
    // There is nothing left to do then.
    let before = scene.dumps();
    let again = verify.finish(verify.start());
    assert_all_found(&again);
    assert!(scene.dumps() < before + 1000);
}

#[test]
fn a_run_that_is_killed_while_it_looks_up_goes_on_there() {
    let scene = Scene::new();
    let verify = Verify::of(&scene.source, &scene.target);
    let mut keyferry = verify.start_with(&["--max-keys-per-second", "8000"]);
    let mut client = scene.source.client();
    wait_for("keys that are looked up", SOON, || {
        assert!(keyferry.running(), "{}", keyferry.stderr());
        calls(&mut client, "exists") >= 20
    });
    keyferry.kill();
    let before = scene.dumps();
    let verified = verify.finish(verify.start_with(&["--resume"]));
    assert_all_found(&verified);
    assert!(scene.dumps() < before + 5_000, "values were read again");
}

#[test]
fn a_killed_run_with_sqlite_goes_on_where_it_was() {
    let scene = Scene::new();
    let (source, target) = (scene.source.url(), scene.target.url());
    let verify = Verify::reporting(&source, &target, "sqlite");
    scene.kill_after(&verify, 12_000);
    let finished = verify.start_with(&["--resume"]).wait(SOON);
    finished.assert_code(1);
    let summary = finished.json();
    assert_eq!(summary["resumed"], true);
    assert_eq!(summary["differences"]["total"], 2 * SPOILT + 1, "{summary}");
    assert!(scene.dumps() < KEYS as u64 + 8_000, "{}", scene.dumps());
    let database = rusqlite::Connection::open(verify.report_of("sqlite")).unwrap();
    let count = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    let spoilt = SPOILT as i64;
    assert_eq!(count("SELECT count(*) FROM differences"), 2 * spoilt + 1);
    assert_eq!(
        count("SELECT count(DISTINCT key) FROM differences"),
        2 * spoilt + 1
    );
    assert_eq!(
        count("SELECT count(*) FROM differences WHERE kind = 'value'"),
        spoilt
    );
}

#[test]
fn a_source_that_was_started_again_in_between_is_read_to_its_end() {
    let mut scene = Scene::new();
    let verify = Verify::of(&scene.source, &scene.target);
    scene.kill_after(&verify, 12_000);
    scene.source.shutdown_with_save();
    scene.source.start_again();
    let verified = verify.finish(verify.start_with(&["--resume"]));
    assert_all_found(&verified);
}

#[test]
fn the_report_of_another_verification_is_not_gone_on_with() {
    let scene = Scene::new();
    let verify = Verify::of(&scene.source, &scene.target);
    scene.kill_after(&verify, 2_000);
    for other in [
        ["--ttl-tolerance", "3s"],
        ["--db", "0"],
        ["--sample", "1/2"],
        ["--depth", "metadata"],
    ] {
        let refused = verify
            .start_with(&[&["--resume"], &other[..]].concat())
            .wait(SOON);
        refused.assert_code(2);
        assert!(refused.stderr.contains("next: "), "{}", refused.stderr);
    }
    let csv = Verify::reporting(&scene.source.url(), &scene.target.url(), "csv");
    std::fs::write(csv.report_of("csv"), "").unwrap();
    csv.start_with(&["--resume"]).wait(SOON).assert_code(2);
}
