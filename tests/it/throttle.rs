//! How a target is spared, and how that is changed while a migration runs.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    client::number,
    http::Site,
    keyferry::Keyferry,
    oracle::Oracle,
    random::Random,
    server::{Server, wait_for},
};

const SOON: Duration = Duration::from_secs(60);

fn fill(server: &Server, keys: u64, value_bytes: usize) {
    let mut random = Random::seeded(1);
    let commands: Vec<_> = (0..keys)
        .map(|n| command!["SET", format!("key:{n}"), random.bytes(value_bytes)])
        .collect();
    server.client().pipeline(&commands);
}

fn sync(source: &Server, target: &Server, args: &[&str]) -> Keyferry {
    let (from, to) = (source.url(), target.url());
    let mut all = vec!["sync", "--source", &from, "--target", &to, "--json"];
    all.extend(["--status-listen", "127.0.0.1:0"]);
    all.extend(args);
    Keyferry::start(&all, &[])
}

#[test]
fn a_snapshot_is_not_faster_than_it_may_be() {
    let source = Server::start("redis-8.0");
    fill(&source, 1000, 100);
    for (limit, rate) in [
        ("--max-keys-per-second", "500"),
        // About 130 bytes each.
        ("--max-bytes-per-second", "60kb"),
    ] {
        let target = Server::start("valkey-8.1");
        let finished = sync(&source, &target, &["--mode", "full", limit, rate]).wait(SOON);
        finished.assert_code(0);
        let took_ms = finished.json()["snapshot_ms"].as_u64().unwrap();
        // The first tenth of a second's worth, and the last, are not waited for.
        assert!(took_ms >= 1500, "{limit}: {took_ms} ms");
        Oracle::between(&source, &target).assert_equal(&source, &target);
    }
}

#[test]
fn a_stream_is_not_faster_than_it_may_be() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let mut keyferry = sync(&source, &target, &["--max-keys-per-second", "200"]);
    let site = Site::of(&mut keyferry);
    wait_for("following", SOON, || {
        site.json("/status")["phase"] == "following"
    });
    let began = Instant::now();
    fill(&source, 500, 10);
    let mut client = target.client();
    wait_for("the last command", SOON, || {
        number(&client.run(command!["EXISTS", "key:499"])) == 1
    });
    assert!(began.elapsed() >= Duration::from_millis(2000));
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn limits_are_changed_while_a_migration_runs() {
    let source = Server::start("valkey-8.1");
    let target = Server::start("redis-8.0");
    // Ten minutes of it.
    fill(&source, 3000, 100);
    let slow = ["--max-keys-per-second", "5", "--mode", "full"];
    let mut keyferry = sync(&source, &target, &slow);
    let site = Site::of(&mut keyferry);
    let mut client = target.client();
    // The checkpoint is a key, too.
    wait_for("the first key", SOON, || {
        number(&client.run(command!["DBSIZE"])) > 1
    });
    let limits = json!({
        "max_keys_per_second": 5,
        "max_bytes_per_second": null,
        "max_inflight_bytes": 8 << 20,
        "target_latency_max_ms": null,
    });
    assert_eq!(site.json("/limits"), limits);
    for (body, why) in [
        ("{\"max_keys_per_second\": 0}", "nonzero"),
        ("{\"max_keys\": 1}", "unknown field"),
        ("{\"max_inflight_bytes\": 1}", "less than 65536"),
    ] {
        let refused = site.put("/limits", body);
        assert_eq!(refused.status, 400, "{body}");
        let said = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(said.contains(why), "{body}: {said}");
    }
    assert_eq!(site.put("/limits/other", "{}").status, 404);
    assert_eq!(site.json("/limits"), limits, "nothing is changed");
    assert!(keyferry.running());
    let changed = site.put("/limits", "{\"max_keys_per_second\": null}");
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["max_keys_per_second"], json!(null));
    keyferry.wait(SOON).assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn a_target_that_does_not_answer_has_no_more_in_flight_than_it_may() {
    let source = Server::start("redis-8.0");
    let target = Server::start("redis-8.0");
    fill(&source, 3000, 1000);
    let limits = ["--max-inflight-bytes", "256kb", "--lanes", "8"];
    let slow = ["--max-keys-per-second", "10"];
    let args = [&limits[..], &slow, &["--mode", "full"]].concat();
    let mut keyferry = sync(&source, &target, &args);
    let site = Site::of(&mut keyferry);
    let mut client = target.client();
    // The checkpoint is a key, too.
    wait_for("the first key", SOON, || {
        number(&client.run(command!["DBSIZE"])) > 1
    });
    target.freeze();
    site.put("/limits", "{\"max_keys_per_second\": null}");
    let in_flight = || site.json("/status")["window"]["bytes"].as_u64().unwrap();
    let mut most = 0;
    wait_for("as much in flight as may be", SOON, || {
        most = most.max(in_flight());
        // What is gathered for a lane is 128 KiB at the most.
        most > 128 << 10
    });
    let silence = "the target has not answered";
    keyferry.wait_for_stderr(silence, SOON);
    most = most.max(in_flight());
    assert!(most <= 256 << 10, "{most}");
    target.thaw();
    keyferry.wait(SOON).assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}

#[test]
fn an_adaptive_migration_waits_for_a_target_that_is_late() {
    let source = Server::start("redis-8.0");
    let target = Server::start("valkey-8.1");
    fill(&source, 20_000, 100);
    // Nobody answers a batch within a millisecond when others keep the target busy.
    let late = ["--adaptive", "--target-latency-max", "1ms"];
    let finished = sync(
        &source,
        &target,
        &[&late[..], &["--until-caught-up"]].concat(),
    )
    .wait(SOON);
    finished.assert_code(0);
    Oracle::between(&source, &target).assert_equal(&source, &target);
}
