//! `keyferry daemon`: many migrations in one process.

use std::{
    fmt::Write,
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    client::{bytes, number},
    http::Site,
    keyferry::Keyferry,
    oracle::Oracle,
    server::{Server, wait_for},
    version::Version,
    writer::Load,
};

const SOON: Duration = Duration::from_secs(60);
const LATER: Duration = Duration::from_secs(180);
const TOKEN: &str = "a-token-of-the-tests-0123456789";

/// The file of a daemon, in a folder of its own.
struct File {
    folder: TempDir,
}

impl File {
    fn new() -> File {
        File {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keyferry.toml")
    }

    /// Declares these migrations: name, source, target, further lines.
    fn declare(&self, migrations: &[(&str, &Server, &Server, &str)]) {
        let mut text = String::from("ready-hold = \"1s\"\n");
        for (name, source, target, more) in migrations {
            let (source, target) = (source.url(), target.url());
            writeln!(
                text,
                "[[migration]]\nname = \"{name}\"\nsource = \"{source}\"\ntarget = \"{target}\"\n{more}"
            )
            .unwrap();
        }
        self.write(&text);
    }

    /// Replaces the file in one step, as an editor does.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.path()).unwrap();
    }

    fn daemon(&self, args: &[&str]) -> Keyferry {
        self.daemon_in(args, &[])
    }

    fn daemon_in(&self, args: &[&str], environment: &[(&str, &str)]) -> Keyferry {
        let path = self.path();
        let mut all = vec!["daemon", "--config", path.to_str().unwrap()];
        all.extend(args);
        Keyferry::start(&all, environment)
    }

    /// A daemon that serves on loopback, and where.
    fn served(&self) -> (Keyferry, Site) {
        let mut keyferry = self.daemon(&["--listen", "127.0.0.1:0"]);
        let site = Site::of(&mut keyferry);
        (keyferry, site)
    }
}

fn wait_for_job(site: &Site, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/status/{name}");
    let mut last = Value::Null;
    wait_for(&format!("{name}: {what}"), LATER, || {
        last = site.json(&path);
        wanted(&last)
    });
    last
}

fn is_ready(job: &Value) -> bool {
    job["ready"] == true
}

fn names(status: &Value) -> Vec<&str> {
    let migrations = status["migrations"].as_array().unwrap();
    migrations
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect()
}

#[test]
fn five_migrations_under_load_and_two_that_cannot_start() {
    let pairs: Vec<(Server, Server)> = (0..5)
        .map(|_| (Server::start("redis-7.0"), Server::start("valkey-8.1")))
        .collect();
    let loads: Vec<_> = pairs
        .iter()
        .zip(1..)
        .map(|((source, target), seed)| {
            let mut load = Load::seeded(seed).for_target(target.version());
            load.threads = 1;
            load.operations_per_second = Some(200);
            load.start(source)
        })
        .collect();
    let full = Server::start("redis-7.0");
    full.client().run(command!["SET", "k", "v"]);
    let mut gone = Server::start("redis-7.0");
    gone.kill();

    let file = File::new();
    let numbers: Vec<String> = (0..5).map(|n| format!("m{n}")).collect();
    let mut migrations: Vec<_> = pairs
        .iter()
        .zip(&numbers)
        .map(|((source, target), name)| (name.as_str(), source, target, ""))
        .collect();
    let spare = Server::start("redis-7.0");
    migrations.push(("occupied", &pairs[0].0, &full, ""));
    migrations.push(("absent", &gone, &spare, "retry-for = \"0\""));
    file.declare(&migrations);
    let (keyferry, site) = file.served();

    for name in &numbers {
        let job = wait_for_job(&site, name, "ready", is_ready);
        assert_eq!(job["state"], "running");
        assert_eq!(job["error"], Value::Null);
    }
    let occupied = wait_for_job(&site, "occupied", "failed", |j| j["state"] == "failed");
    assert_eq!(occupied["error"]["side"], "usage", "{occupied}");
    assert_eq!(occupied["restarts"], 0);
    let absent = wait_for_job(&site, "absent", "begun again", |j| {
        j["state"] == "waiting to retry" && j["restarts"].as_u64() > Some(0)
    });
    assert_eq!(absent["error"]["side"], "source", "{absent}");
    assert!(absent["retry_at"].is_string());
    let all = site.json("/status");
    assert_eq!(all["states"]["running"], 5, "{all}");
    assert_eq!(names(&all).len(), 7);
    for name in &numbers {
        let metric = format!("keyferry_ready{{migration=\"{name}\"}}");
        wait_for(&metric, SOON, || site.metric(&metric) == Some(1.0));
        let state = format!("keyferry_migration_state{{migration=\"{name}\",state=\"running\"}}");
        assert_eq!(site.metric(&state), Some(1.0), "{state}");
    }
    assert!(site.metric("keyferry_restarts_total{migration=\"absent\"}") > Some(0.0));

    for load in loads {
        load.stop();
    }
    for (source, _) in &pairs {
        let mut client = source.client();
        client.run(command!["SET", "the", "end"]);
        assert_eq!(number(&client.run(command!["WAIT", "1", "120000"])), 1);
    }
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
    for (source, target) in &pairs {
        Oracle::between(source, target).assert_equal(source, target);
    }
}

#[test]
fn a_reload_adds_removes_and_changes_and_a_bad_file_does_nothing() {
    let [a, b, c] = [(); 3].map(|()| (Server::start("redis-7.0"), Server::start("redis-7.0")));
    let file = File::new();
    file.declare(&[("a", &a.0, &a.1, "")]);
    let (keyferry, site) = file.served();
    wait_for_job(&site, "a", "ready", is_ready);

    file.declare(&[("a", &a.0, &a.1, ""), ("b", &b.0, &b.1, "")]);
    keyferry.signal("HUP");
    wait_for("b", SOON, || names(&site.json("/status")) == ["a", "b"]);
    let first_b = wait_for_job(&site, "b", "ready", is_ready);
    let first_a = site.json("/status/a");

    file.write("[[migration]]\nname = 'b'\nsauce = 'redis://x'\n");
    keyferry.signal("HUP");
    wait_for("the error", SOON, || {
        site.json("/status")["config_error"].is_object()
    });
    let all = site.json("/status");
    let what = all["config_error"]["what"].as_str().unwrap();
    assert!(what.contains("line 3: unknown key `sauce`"), "{what}");
    assert_eq!(names(&all), ["a", "b"]);
    assert_eq!(all["states"]["running"], 2, "{all}");

    a.0.client().run(command!["SET", "last", "of a"]);
    file.declare(&[
        ("b", &b.0, &b.1, "on-conflict = \"replace\""),
        ("c", &c.0, &c.1, ""),
    ]);
    keyferry.signal("HUP");
    wait_for("a gone, c there", SOON, || {
        names(&site.json("/status")) == ["b", "c"]
    });
    assert_eq!(site.json("/status")["config_error"], Value::Null);
    assert_eq!(site.get("/status/a").status, 404);
    // What was removed has drained: the target has what the source had.
    assert_eq!(bytes(&a.1.client().run(command!["GET", "last"])), b"of a");
    wait_for_job(&site, "c", "ready", is_ready);
    let second_b = wait_for_job(&site, "b", "started anew", |j| {
        is_ready(j) && j["started_at"] != first_b["started_at"]
    });
    assert_eq!(second_b["restarts"], 0);
    assert_eq!(first_a["restarts"], 0);

    // The same file again: nothing is disturbed.
    keyferry.signal("HUP");
    let read_at = site.json("/status")["config_read_at"].clone();
    keyferry.signal("HUP");
    wait_for("the file read again", SOON, || {
        site.json("/status")["config_read_at"] != read_at
    });
    let third_b = site.json("/status/b");
    assert_eq!(third_b["started_at"], second_b["started_at"]);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn a_source_that_comes_up_later_is_copied_then_and_the_end_is_kept() {
    let mut source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    source.client().run(command!["SET", "k", "v"]);
    source.shutdown_with_save();
    let file = File::new();
    let more = "retry-for = \"0\"\nmode = \"full\"";
    file.declare(&[("late", &source, &target, more)]);
    let (keyferry, site) = file.served();
    wait_for_job(&site, "late", "a pause", |j| {
        j["state"] == "waiting to retry"
    });
    source.start_again();
    let job = wait_for_job(&site, "late", "its end", |j| j["state"] == "finished");
    assert_eq!(job["phase"], "done");
    assert_eq!(job["error"], Value::Null);
    assert_eq!(job["counts"]["keys"]["string"], 1);
    assert_eq!(bytes(&target.client().run(command!["GET", "k"])), b"v");
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn what_failed_is_tried_again_when_the_file_is_read_again() {
    let source = Server::start("redis-7.0");
    let target = Server::of(Version::named("redis-7.0")).start();
    target.client().run(command!["SET", "in", "the way"]);
    let file = File::new();
    file.declare(&[("m", &source, &target, "")]);
    let (keyferry, site) = file.served();
    wait_for_job(&site, "m", "failed", |j| j["state"] == "failed");
    target.client().run(command!["FLUSHALL"]);
    keyferry.signal("HUP");
    wait_for_job(&site, "m", "ready", is_ready);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn off_loopback_a_daemon_demands_a_token() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let file = File::new();
    file.declare(&[("m", &source, &target, "")]);
    let token = file.folder.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let everywhere = ["--listen", "0.0.0.0:0"];

    let refused = file.daemon(&everywhere).wait(SOON);
    refused.assert_code(2);
    assert!(
        refused.stderr.contains("needs --token-file"),
        "{}",
        refused.stderr
    );

    let with_token = [&everywhere[..], &["--token-file", token.to_str().unwrap()]].concat();
    let mut keyferry = file.daemon(&with_token);
    let site = Site::of(&mut keyferry);
    for path in ["/status", "/status/m", "/metrics"] {
        assert_eq!(site.get(path).status, 401, "{path}");
        assert_eq!(site.with_token(&TOKEN[1..]).get(path).status, 401, "{path}");
        assert_eq!(site.with_token(TOKEN).get(path).status, 200, "{path}");
    }
    assert_eq!(site.get("/healthz").status, 200);
    keyferry.signal("TERM");
    keyferry.wait(SOON).assert_code(0);
}

#[test]
fn a_daemon_that_cannot_run_says_why() {
    let file = File::new();
    let declared = "[[migration]]\nname = 'm'\nsource = 'redis://a'\ntarget = 'redis://b'\n";
    for (text, said) in [
        ("", "declares no migration"),
        (&format!("{declared}flush-target = true"), "add yes = true"),
        (&format!("{declared}{declared}"), "two migrations `m`"),
        (
            &format!("{declared}progress = 'never'"),
            "line 5: `progress`",
        ),
    ] {
        file.write(text);
        let finished = file.daemon(&[]).wait(SOON);
        finished.assert_code(2);
        assert!(
            finished.stderr.contains(said),
            "{said}\n{}",
            finished.stderr
        );
    }
    let finished = Keyferry::run(&["daemon"], SOON);
    finished.assert_code(2);
    assert!(finished.stderr.contains("add --config FILE"));
}

#[test]
fn systemd_hears_when_a_daemon_has_started_and_stops() {
    let source = Server::start("redis-7.0");
    let target = Server::start("redis-7.0");
    let file = File::new();
    file.declare(&[("m", &source, &target, "")]);
    let path = file.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let keyferry = file.daemon_in(&[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let hear = |wanted: &str| {
        loop {
            let mut datagram = [0; 4096];
            let length = socket.recv(&mut datagram).expect(wanted);
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    };
    hear("READY=1");
    hear("STATUS=1 running");
    keyferry.signal("TERM");
    hear("STOPPING=1");
    keyferry.wait(SOON).assert_code(0);
}
