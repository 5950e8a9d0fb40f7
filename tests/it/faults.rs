//! What an operator sees when something breaks: the exit code, the error, what to do next.

use std::{thread, time::Duration};

use crate::support::{
    dataset::Dataset,
    keyferry::{Finished, Keyferry},
    oracle::Oracle,
    proxy::{Fault, Proxy},
    random::Random,
    server::{Server, free_port, wait_for},
    version::Version,
    writer::Load,
};

const SOON: Duration = Duration::from_secs(30);

/// Runs `keyferry sync` between two URLs to its end.
fn sync(source: &str, target: &str, args: &[&str]) -> Finished {
    let mut all = vec!["sync", "--source", source, "--target", target, "--json"];
    all.extend(args);
    Keyferry::run(&all, SOON)
}

/// Starts `keyferry sync` between two URLs.
fn start(source: &str, target: &str) -> Keyferry {
    start_with(source, target, &[])
}

/// The same with further arguments.
fn start_with(source: &str, target: &str, args: &[&str]) -> Keyferry {
    let mut all = vec!["sync", "--source", source, "--target", target, "--json"];
    all.extend(args);
    Keyferry::start(&all, &[])
}

/// Checks code, side, and that error, cause and advice say what they should.
fn assert_failed(finished: &Finished, code: i32, side: &str, said: &[&str]) {
    finished.assert_code(code);
    let summary = finished.json();
    assert_eq!(summary["result"], "failed", "{summary}");
    assert_eq!(summary["error"]["side"], side, "{summary}");
    for text in said {
        assert!(
            finished.stderr.contains(text),
            "{text}\n{}",
            finished.stderr
        );
    }
    for label in ["error: ", "  next: "] {
        assert!(finished.stderr.contains(label), "{}", finished.stderr);
    }
}

fn filled_source() -> Server {
    let source = Server::start("redis-7.0");
    Dataset::seeded(Random::seed_of_this_run()).load(&source);
    source
}

#[test]
fn a_refused_port_names_the_side() {
    let server = Server::start("redis-7.0");
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let here = server.url();
    assert_failed(
        &sync(&nobody, &here, &[]),
        3,
        "source",
        &["source 127.0.0.1:"],
    );
    assert_failed(
        &sync(&here, &nobody, &[]),
        4,
        "target",
        &["target 127.0.0.1:", "cannot be reached"],
    );
}

#[test]
fn a_wrong_password_names_the_side_and_is_never_shown() {
    let locked = Server::of(Version::named("redis-7.0"))
        .password("s3cret")
        .start();
    let open = Server::start("redis-8.0");
    let wrong = format!("redis://:guess123@{}", locked.address());
    let none = locked.url_without_login();
    for (finished, code, side) in [
        (sync(&wrong, &open.url(), &[]), 3, "source"),
        (sync(&none, &open.url(), &[]), 3, "source"),
        (sync(&open.url(), &wrong, &[]), 4, "target"),
        (sync(&open.url(), &none, &[]), 4, "target"),
    ] {
        assert_failed(&finished, code, side, &["password"]);
        for output in [&finished.stdout, &finished.stderr] {
            assert!(!output.contains("guess123") && !output.contains("s3cret"));
        }
    }
}

#[test]
fn a_user_without_the_right_to_replicate_is_told_which_one() {
    let source = Server::of(Version::named("redis-7.0"))
        .user("reader", "pw", "~* +@read +info +time")
        .start();
    let target = Server::start("redis-7.0");
    let url = format!("redis://reader:pw@{}", source.address());
    assert_failed(&sync(&url, &target.url(), &[]), 3, "source", &["+psync"]);
}

#[test]
fn the_least_rights_on_the_source_are_enough() {
    let source = Server::of(Version::named("redis-7.0"))
        .user("keyferry", "pw", "+psync +replconf")
        .start();
    let target = Server::start("redis-8.0");
    Dataset::seeded(1).load(&source);
    let url = format!("redis://keyferry:pw@{}", source.address());
    let finished = sync(&url, &target.url(), &["--until-caught-up"]);
    finished.assert_code(0);
    assert!(
        finished.stderr.contains("lag is estimated"),
        "{}",
        finished.stderr
    );
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let source = filled_source();
    let target = Server::start("redis-7.0");
    target.client().run(command!["SET", "mine", "1"]);
    let finished = sync(&source.url(), &target.url(), &[]);
    assert_failed(
        &finished,
        2,
        "usage",
        &["is not empty: it has 1 key", "--on-conflict"],
    );
    assert_eq!(
        target.client().run(command!["DBSIZE"]),
        redis::Value::Int(1)
    );
}

#[test]
fn flushing_needs_a_yes_and_then_empties_every_database() {
    let source = filled_source();
    let target = Server::start("valkey-8.1");
    let mut client = target.client();
    client.select(5);
    client.run(command!["SET", "mine", "1"]);
    let refused = sync(&source.url(), &target.url(), &["--flush-target"]);
    refused.assert_code(2);
    let finished = sync(
        &source.url(),
        &target.url(),
        &["--flush-target", "--yes", "--mode", "full"],
    );
    finished.assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn a_target_that_dies_ends_the_run_with_4() {
    let source = filled_source();
    let mut target = Server::start("redis-7.0");
    let writer = Load::seeded(1).start(&source);
    let mut keyferry = start_with(&source.url(), &target.url(), &["--retry-for", "1s"]);
    keyferry.wait_for_stderr("following", SOON);
    target.kill();
    let finished = keyferry.wait(SOON);
    writer.stop();
    assert_failed(&finished, 4, "target", &["target 127.0.0.1:"]);
}

#[test]
fn a_source_that_dies_ends_the_run_with_3() {
    let mut source = filled_source();
    let target = Server::start("redis-7.0");
    let mut keyferry = start_with(&source.url(), &target.url(), &["--retry-for", "1s"]);
    keyferry.wait_for_stderr("following", SOON);
    source.kill();
    let finished = keyferry.wait(SOON);
    assert_failed(&finished, 3, "source", &["source 127.0.0.1:"]);
}

#[test]
fn a_full_target_is_waited_for_and_then_ends_the_run_with_4() {
    let source = filled_source();
    let target = Server::of(Version::named("redis-7.0"))
        .config("maxmemory 3mb")
        .config("maxmemory-policy noeviction")
        .start();
    let finished = sync(&source.url(), &target.url(), &["--retry-for", "1s"]);
    assert_failed(
        &finished,
        4,
        "target",
        &[
            "waiting because the target refuses",
            "OOM",
            "maxmemory",
            " in db ",
        ],
    );
    assert!(finished.json()["retries"].as_u64() > Some(0));
}

#[test]
fn a_full_target_that_gets_room_goes_on_and_loses_nothing() {
    let source = filled_source();
    let target = Server::of(Version::named("redis-7.0"))
        .config("maxmemory 3mb")
        .config("maxmemory-policy noeviction")
        .start();
    let writer = Load::seeded(3).start(&source);
    let mut keyferry = start(&source.url(), &target.url());
    keyferry.wait_for_stderr("waiting because the target refuses", SOON);
    thread::sleep(Duration::from_secs(1));
    target
        .client()
        .run(command!["CONFIG", "SET", "maxmemory", "0"]);
    keyferry.wait_for_stderr("takes commands again", SOON);
    keyferry.wait_for_stderr("following", SOON);
    // Full again in the stream: whole transactions are refused and sent again.
    target
        .client()
        .run(command!["CONFIG", "SET", "maxmemory", "1mb"]);
    thread::sleep(Duration::from_secs(2));
    target
        .client()
        .run(command!["CONFIG", "SET", "maxmemory", "0"]);
    thread::sleep(Duration::from_secs(1));
    writer.stop();
    crate::support::migration::wait_until_confirmed(&source, &mut keyferry);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn a_truncated_snapshot_stops_the_run_with_offset_and_key() {
    for framing in ["yes", "no"] {
        let source = Server::of(Version::named("redis-7.0"))
            .config(format!("repl-diskless-sync {framing}"))
            .start();
        Dataset::seeded(1).load(&source);
        let target = Server::start("redis-7.0");
        let proxy = Proxy::before(&source);
        proxy.set_after(b"REDIS00", Fault::CutAt(300_000));
        let finished = sync(&proxy.url(), &target.url(), &["--retry-for", "0"]);
        assert_failed(
            &finished,
            3,
            "source",
            &["snapshot", "offset 300000", "key \"", "the link ended"],
        );
    }
}

#[test]
fn a_flipped_bit_in_the_snapshot_stops_the_run() {
    let source = filled_source();
    let target = Server::start("redis-7.0");
    let proxy = Proxy::before(&source);
    for at in [200_000, 250_001, 300_002] {
        proxy.set_after(b"REDIS00", Fault::FlipBitAt(at));
        let args = ["--mode", "full", "--on-conflict", "replace"];
        let finished = sync(&proxy.url(), &target.url(), &args);
        // Where the bit lies decides who notices: the parser, the target that is given the value,
        // or at last the checksum.
        assert_failed(&finished, 3, "source", &[]);
        let noticed = [
            "sent a snapshot that cannot be used",
            "its value cannot be read",
        ];
        let said = |text: &&str| finished.stderr.contains(*text);
        assert!(noticed.iter().any(said), "{}", finished.stderr);
    }
}

#[test]
fn a_stop_before_the_snapshot_is_complete_is_no_success() {
    let source = filled_source();
    let target = Server::start("redis-7.0");
    let proxy = Proxy::before(&source);
    proxy.set_after(b"REDIS00", Fault::Delay(Duration::from_millis(500)));
    let mut keyferry = start(&proxy.url(), &target.url());
    keyferry.wait_for_stderr("snapshot: ", SOON);
    keyferry.signal("TERM");
    let finished = keyferry.wait(SOON);
    assert_failed(
        &finished,
        5,
        "local",
        &["only a part", "run the same command again"],
    );
}

#[test]
fn a_second_signal_aborts() {
    let source = filled_source();
    let target = Server::start("redis-7.0");
    let mut keyferry = start(&source.url(), &target.url());
    keyferry.wait_for_stderr("following", SOON);
    target.freeze();
    // Something has to be under way, or the first signal is enough.
    source.client().run(command!["SET", "late", "1"]);
    thread::sleep(Duration::from_millis(500));
    keyferry.signal("INT");
    keyferry.wait_for_stderr("second signal aborts", SOON);
    assert!(keyferry.running());
    keyferry.signal("INT");
    let finished = keyferry.wait(SOON);
    target.thaw();
    assert_failed(&finished, 5, "local", &["aborted by a second signal"]);
}

#[test]
fn a_source_that_loads_is_waited_for() {
    let mut source = Server::of(Version::named("redis-7.0"))
        .config("key-load-delay 300")
        .config("loading-process-events-interval-bytes 1024")
        .start();
    let fill = "for i=1,6000 do redis.call('SET','key:'..i,i) end";
    source.client().run(command!["EVAL", fill, "0"]);
    source.client().run(command!["SAVE"]);
    source.kill();
    let target = Server::start("redis-7.0");
    let url = source.url();
    let args = [
        "sync",
        "--source",
        &url,
        "--target",
        &target.url(),
        "--mode",
        "full",
        "--json",
    ];
    thread::scope(|scope| {
        scope.spawn(|| source.start_again());
        wait_for("the source to listen", SOON, || {
            std::net::TcpStream::connect(url.trim_start_matches("redis://")).is_ok()
        });
        let finished = Keyferry::run(&args, SOON);
        finished.assert_code(0);
        assert_eq!(finished.json()["keys"]["string"], 6000);
    });
}
