//! What a running `keyferry sync` shows: over HTTP, as metrics, to systemd.

use std::{
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    client::{bytes, number},
    http::Site,
    keyferry::Keyferry,
    proxy::{Fault, Proxy},
    server::{Server, signal, wait_for},
    writer::Load,
};

const SOON: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-the-tests-0123456789";

fn sync(source: &str, target: &str, args: &[&str]) -> Keyferry {
    let mut all = vec!["sync", "--source", source, "--target", target];
    all.extend(["--status-listen", "127.0.0.1:0", "--ready-hold", "1s"]);
    all.extend(args);
    Keyferry::start(&all, &[])
}

fn wait_for_status(site: &Site, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_for(what, SOON, || {
        last = site.json("/status");
        wanted(&last)
    });
    last
}

fn offset(status: &Value, name: &str) -> u64 {
    let offset = &status[format!("{name}_offset")];
    offset
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {status}"))
}

#[test]
fn status_is_true_while_copying_and_while_following() {
    let source = Server::start("redis-7.0");
    let target = Server::start("valkey-8.1");
    let mut client = source.client();
    let fill: Vec<_> = (0..40)
        .map(|n| command!["SET", format!("large:{n}"), incompressible(n)])
        .collect();
    client.pipeline(&fill);
    let proxy = Proxy::before(&source);
    proxy.set_after(b"REDIS00", Fault::Delay(Duration::from_millis(30)));
    let mut keyferry = sync(&proxy.url(), &target.url(), &["--name", "orders"]);
    let site = Site::of(&mut keyferry);

    let copying = wait_for_status(&site, "the snapshot", |s| {
        s["phase"] == "snapshot" && s["counts"]["snapshot_bytes"].as_u64() > Some(0)
    });
    assert_eq!(copying["name"], "orders");
    assert_eq!(copying["mode"], "full+incremental");
    assert_eq!(copying["ready"], false);
    assert_eq!(copying["not_ready_because"], "the stream is not followed");
    assert_eq!(copying["applied_offset"], Value::Null);
    assert_eq!(copying["snapshot_channel"], false);
    assert_eq!(copying["replid"].as_str().map(str::len), Some(40));
    let version = copying["source"]["version"].as_str().unwrap();
    assert!(version.starts_with("Redis 7.0."), "{copying}");
    let version = copying["target"]["version"].as_str().unwrap();
    assert!(version.starts_with("Valkey 8.1."), "{copying}");
    assert_eq!(copying["target"]["endpoint"], target.address());

    let mut load = Load::seeded(3).for_target(target.version());
    // The proxy slows down the stream as well.
    load.operations_per_second = Some(500);
    let writer = load.start(&source);
    let following = wait_for_status(&site, "ready under load", |s| s["ready"] == true);
    assert_eq!(following["phase"], "following");
    assert!(following["ready_since"].is_string());
    assert!(following["counts"]["commands"].as_u64() > Some(0));
    assert_eq!(following["counts"]["keys_read"], 40);
    let [received, parsed, applied, acked] =
        ["received", "parsed", "applied", "acked"].map(|name| offset(&following, name));
    assert!(
        received >= parsed && parsed >= applied && applied >= acked,
        "{following}"
    );
    writer.stop();

    client.run(command!["SET", "last", "word"]);
    assert_eq!(number(&client.run(command!["WAIT", "1", "60000"])), 1);
    assert_eq!(
        bytes(&target.client().run(command!["GET", "last"])),
        b"word"
    );
    let still = wait_for_status(&site, "no lag", |s| s["lag_bytes"] == 0);
    assert_eq!(still["lag_seconds"], 0.0);
    assert_eq!(still["window"]["bytes"], 0, "{still}");
    assert_eq!(site.json("/status/orders")["name"], "orders");
    assert_eq!(site.get("/status/other").status, 404);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

/// 128 KiB that LZF makes no shorter.
fn incompressible(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..16 * 1024).flat_map(word).collect()
}

#[test]
fn ready_ends_when_the_target_stops_and_comes_back_with_it() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let mut keyferry = sync(&source.url(), &target.url(), &[]);
    let site = Site::of(&mut keyferry);
    wait_for_status(&site, "ready", |s| s["ready"] == true);
    wait_for("the metric", SOON, || {
        site.metric("keyferry_ready ") == Some(1.0)
    });

    signal(target.pid(), "STOP");
    source.client().run(command!["SET", "k", "v"]);
    let late = wait_for_status(&site, "not ready", |s| s["ready"] == false);
    assert!(late["lag_bytes"].as_u64() > Some(0), "{late}");
    assert!(late["window"]["requests"].as_u64() > Some(0), "{late}");
    assert!(late["not_ready_because"].is_string(), "{late}");
    wait_for("the metric", SOON, || {
        site.metric("keyferry_ready ") == Some(0.0)
    });

    signal(target.pid(), "CONT");
    let again = wait_for_status(&site, "ready again", |s| s["ready"] == true);
    assert_eq!(again["waiting_because"], Value::Null);
    assert_eq!(bytes(&target.client().run(command!["GET", "k"])), b"v");
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn metrics_have_help_and_numbers() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    source.client().run(command!["SET", "k", "v"]);
    let mut keyferry = sync(&source.url(), &target.url(), &["--name", "m"]);
    let site = Site::of(&mut keyferry);
    wait_for("the metrics", SOON, || {
        site.metric("keyferry_keys_written_total{migration=\"m\",type=\"string\"}") == Some(1.0)
            && site.metric("keyferry_applied_offset_bytes{migration=\"m\"}") > Some(0.0)
    });
    let answer = site.get("/metrics");
    assert!(
        answer.head.contains("text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    for name in [
        "keyferry_lag_bytes",
        "keyferry_lag_seconds",
        "keyferry_source_offset_bytes",
        "keyferry_received_offset_bytes",
        "keyferry_parsed_offset_bytes",
        "keyferry_acked_offset_bytes",
        "keyferry_spool_memory_bytes",
        "keyferry_spool_disk_bytes",
        "keyferry_window_bytes",
        "keyferry_expiries_held",
        "keyferry_retries_total",
        "keyferry_reconnects_total",
        "keyferry_ready",
    ] {
        let help = format!("# HELP {name} ");
        assert!(answer.body.contains(&help), "{name}\n{}", answer.body);
        let value = format!("\n{name}{{migration=\"m\"}} ");
        assert!(answer.body.contains(&value), "{name}\n{}", answer.body);
    }
}

#[test]
fn off_loopback_only_the_token_opens() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    let file = path.to_str().unwrap();
    let (from, to) = (source.url(), target.url());
    let run = |args: &[&str]| {
        let mut all = vec!["sync", "--source", &from, "--target", &to];
        all.extend(["--status-listen", "0.0.0.0:0"]);
        all.extend(args);
        Keyferry::start(&all, &[])
    };

    let finished = run(&[]).wait(SOON);
    finished.assert_code(2);
    assert!(
        finished.stderr.contains("needs --status-token-file"),
        "{}",
        finished.stderr
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let finished = run(&["--status-token-file", file]).wait(SOON);
    finished.assert_code(2);
    assert!(finished.stderr.contains("chmod 600"), "{}", finished.stderr);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut keyferry = run(&["--status-token-file", file]);
    let site = Site::of(&mut keyferry);
    for path in ["/status", "/status/x", "/metrics"] {
        let refused = site.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(
            refused
                .head
                .to_lowercase()
                .contains("www-authenticate: bearer")
        );
        assert!(!refused.body.contains("applied"), "{}", refused.body);
        assert_eq!(site.with_token("another-token-123").get(path).status, 401);
    }
    let site = site.with_token(TOKEN);
    assert_eq!(site.get("/status").status, 200);
    assert_eq!(site.get("/metrics").status, 200);
    assert_eq!(site.get("/status/x").status, 404);
    assert_eq!(site.get("/elsewhere").status, 404);
    let health = Site::of(&mut keyferry).get("/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert!(!keyferry.stderr().contains(TOKEN));
}

#[test]
fn an_address_in_use_is_told_before_anything_is_moved() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let args = ["--status-listen", &target.address()];
    let (from, to) = (source.url(), target.url());
    let mut all = vec!["sync", "--source", &from, "--target", &to];
    all.extend(args);
    let finished = Keyferry::run(&all, SOON);
    finished.assert_code(5);
    assert!(
        finished.stderr.contains("cannot be listened on"),
        "{}",
        finished.stderr
    );
}

/// What systemd would hear, until `last` is among it.
fn heard(socket: &UnixDatagram, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let mut datagram = [0; 4096];
        let length = socket.recv(&mut datagram).expect(last);
        let lines = String::from_utf8(datagram[..length].to_vec()).unwrap();
        heard.extend(lines.lines().map(str::to_owned));
        if heard.iter().any(|line| line == last) {
            return heard;
        }
    }
}

#[test]
fn systemd_hears_of_readiness_of_life_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let (from, to) = (source.url(), target.url());
    let keyferry = Keyferry::start(
        &["sync", "--source", &from, "--target", &to],
        &[
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "400000"),
        ],
    );
    let starting = heard(&socket, "READY=1");
    let among = |heard: &[String], start: &str| heard.iter().any(|l| l.starts_with(start));
    assert!(among(&starting, "EXTEND_TIMEOUT_USEC="), "{starting:?}");
    assert!(among(&starting, "STATUS="), "{starting:?}");
    assert!(!among(&starting, "STOPPING=1"), "{starting:?}");
    let living = heard(&socket, "WATCHDOG=1");
    assert!(!among(&living, "READY=1"), "{living:?}");
    keyferry.signal("TERM");
    heard(&socket, "STOPPING=1");
    keyferry.wait(SOON).assert_code(0);
}
