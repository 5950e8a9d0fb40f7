//! The command line as its users see it: stdout, stderr and exit code of the built binary.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

const PASSWORD: &str = "hunter2";
const SERVERS: [&str; 4] = [
    "--source",
    "redis://127.0.0.1:1",
    "--target",
    "redis://127.0.0.1:2",
];

struct Shown {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs keyferry with nothing in its environment but `env`, and no terminal.
fn keyferry(args: &[&str], env: &[(&str, &str)]) -> Shown {
    let output = Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("keyferry runs");
    let shown = Shown {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    };
    for text in [&shown.stdout, &shown.stderr] {
        assert!(
            !text.contains(PASSWORD),
            "{args:?} shows a password:\n{text}"
        );
    }
    shown
}

fn with_servers<'a>(verb: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&[verb], &SERVERS[..], args].concat()
}

/// The line of `keyferry config` for a setting, without the padding before the comment.
fn line(toml: &str, setting: &str) -> String {
    let starts =
        |line: &&str| line.trim_start_matches("# ").split([' ', '=']).next() == Some(setting);
    let line = toml.lines().find(starts);
    let line = line.unwrap_or_else(|| panic!("no line for {setting} in\n{toml}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).expect("a file can be written");
    path.to_str().expect("the path is UTF-8").to_owned()
}

#[test]
fn usage_errors_exit_2_and_leave_stdout_alone() {
    let url = &format!("redis://u:{PASSWORD}@127.0.0.1:1");
    let tls = &format!("rediss://u:{PASSWORD}@127.0.0.1:1");
    let db = &format!("redis://u:{PASSWORD}@127.0.0.1:1/0");
    let masked = [
        "sync",
        "--source",
        "redis://:***@127.0.0.1:1",
        "--target",
        "redis://127.0.0.1:2",
    ];
    for (name, args, error, next) in [
        ("no verb", vec![], "Usage: keyferry <COMMAND>", "Commands:"),
        (
            "unknown verb",
            vec!["move"],
            "unrecognized subcommand 'move'",
            "--help",
        ),
        (
            "unknown flag",
            vec!["sync", "--sauce", "x"],
            "unexpected argument '--sauce'",
            "--source",
        ),
        (
            "URL without flag",
            vec!["sync", url],
            "unexpected argument",
            "--help",
        ),
        (
            "no source",
            vec!["sync"],
            "no source is given",
            "--source redis://host:port",
        ),
        (
            "no target",
            vec!["sync", "--source", url],
            "no target is given",
            "--target redis://host:port",
        ),
        (
            "TLS",
            vec!["sync", "--source", tls],
            "rediss:// (TLS) is not supported",
            "correct --source",
        ),
        (
            "database",
            vec!["sync", "--source", db],
            "all databases are moved",
            "correct --source",
        ),
        (
            "same server",
            vec!["sync", "--source", url, "--target", "valkey://127.0.0.1:1"],
            "source and target are the same server",
            "check --source and --target",
        ),
        (
            "flush and conflict",
            with_servers(
                "sync",
                &["--flush-target", "--yes", "--on-conflict", "skip"],
            ),
            "--flush-target and --on-conflict contradict",
            "give one of them",
        ),
        (
            "caught up in full",
            with_servers("sync", &["--mode", "full", "--until-caught-up"]),
            "--until-caught-up and --mode full contradict",
            "leave one of them out",
        ),
        (
            "flush off a terminal",
            with_servers("sync", &["--flush-target"]),
            "--flush-target needs --yes",
            "add --yes",
        ),
        (
            "mode",
            with_servers("sync", &["--mode", "half"]),
            "invalid value 'half'",
            "full+incremental",
        ),
        (
            "zero size",
            with_servers("sync", &["--spool-memory", "0"]),
            "0 is out of range",
            "give 65536 to",
        ),
        (
            "size",
            with_servers("sync", &["--max-inflight-bytes", "4x"]),
            "a size is",
            "give 65536 to",
        ),
        (
            "duration",
            with_servers("sync", &["--retry-for", "60"]),
            "a duration is",
            "30s",
        ),
        (
            "lanes",
            with_servers("sync", &["--lanes", "two"]),
            "not a whole number",
            "give 1 to 64",
        ),
        (
            "-v and level",
            with_servers("sync", &["-v", "--log-level", "info"]),
            "cannot be used with",
            "--help",
        ),
        (
            "no file",
            with_servers("sync", &["--config", "/nonexistent/k.toml"]),
            "/nonexistent/k.toml cannot be read",
            "check --config",
        ),
        (
            "no password file",
            with_servers("sync", &["--source-password-file", "/nonexistent/p"]),
            "source-password-file /nonexistent/p cannot be used",
            "give a file that can be read",
        ),
        (
            "masked password",
            masked.to_vec(),
            "the password of the source is ***",
            "set KEYFERRY_SOURCE_PASSWORD",
        ),
    ] {
        let shown = keyferry(&args, &[]);
        assert_eq!(shown.code, Some(2), "{name}: {}", shown.stderr);
        assert_eq!(shown.stdout, "", "{name}");
        for text in [error, next] {
            assert!(
                shown.stderr.contains(text),
                "{name} lacks {text}:\n{}",
                shown.stderr
            );
        }
    }
}

#[test]
fn errors_are_log_lines_where_logs_are_json() {
    let args = with_servers("sync", &["--log-format", "json", "--flush-target"]);
    let shown = keyferry(&args, &[]);
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(2), ""));
    let line: serde_json::Value = serde_json::from_str(&shown.stderr).expect("one JSON object");
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["exit_code"], 2);
    assert_eq!(line["message"], "--flush-target needs --yes");
    assert_eq!(line["next"], "add --yes if that is meant");
}

#[test]
fn help_and_version_go_to_stdout() {
    for (args, text) in [
        (&["--help"][..], "Usage: keyferry <COMMAND>"),
        (&["sync", "--help"], "Usage: keyferry sync [OPTIONS]"),
        (&["config", "-h"], "Usage: keyferry config [OPTIONS]"),
        (&["daemon", "--help"], "Usage: keyferry daemon [OPTIONS]"),
        (
            &["--version"],
            concat!("keyferry ", env!("CARGO_PKG_VERSION")),
        ),
        (&["completions", "bash"], "_keyferry()"),
    ] {
        let shown = keyferry(args, &[]);
        assert_eq!(
            (shown.code, shown.stderr.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
        assert!(shown.stdout.contains(text), "{args:?}:\n{}", shown.stdout);
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = write(
        dir.path(),
        "keyferry.toml",
        "lanes = 5\npublish = \"drop\"\n\nretry-for = \"1s\"\njson = true\nlog-level = \"warn\"\n",
    );
    let args = with_servers(
        "config",
        &["--config", &path, "--lanes", "7", "--json=false", "-v"],
    );
    let env = [
        ("KEYFERRY_LANES", "6"),
        ("KEYFERRY_RETRY_FOR", "2s"),
        ("KEYFERRY_PUBLISH", ""),
    ];
    let shown = keyferry(&args, &env);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    for (setting, expected) in [
        ("lanes", "lanes = 7 # flag --lanes"),
        ("json", "json = false # flag --json"),
        ("log-level", "log-level = \"debug\" # flag --log-level"),
        (
            "retry-for",
            "retry-for = \"2s\" # environment KEYFERRY_RETRY_FOR",
        ),
        ("publish", "publish = \"drop\" # file, line 2"),
        ("mode", "mode = \"full+incremental\" # default"),
        (
            "announce-ip",
            "# announce-ip # the address the connection comes from",
        ),
    ] {
        assert_eq!(line(&shown.stdout, setting), expected);
    }
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = write(dir.path(), "k.toml", "lanes = 5\n");
    let shown = keyferry(&with_servers("config", &[]), &[("KEYFERRY_CONFIG", &path)]);
    assert_eq!(line(&shown.stdout, "lanes"), "lanes = 5 # file, line 1");
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_key_and_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, text, errors) in [
        (
            "unknown key",
            "lanes = 1\nspool_memory = 1\n",
            ["line 2: unknown key `spool_memory`", "`spool-memory`"],
        ),
        (
            "wrong type",
            "\n\nmode = true\n",
            ["line 3: `mode` has a wrong type", "text in quotes"],
        ),
        (
            "bad value",
            "lanes = 0\n",
            [
                "`lanes` (configuration file, line 1) cannot be used",
                "give 1 to 64",
            ],
        ),
        (
            "no TOML",
            "source-password = \"hunter2\n",
            ["line 1 is not TOML", "next:"],
        ),
    ] {
        let path = write(dir.path(), "k.toml", text);
        let shown = keyferry(&with_servers("config", &["--config", &path]), &[]);
        assert_eq!((shown.code, shown.stdout.as_str()), (Some(2), ""), "{name}");
        for error in errors {
            assert!(
                shown.stderr.contains(error),
                "{name} lacks {error}:\n{}",
                shown.stderr
            );
        }
    }
}

#[test]
fn config_can_be_fed_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let source = format!("redis://us%3Aer:{PASSWORD}@127.0.0.1:1");
    let servers = [
        "config",
        "--source",
        &source,
        "--target",
        "unix:///run/a%3Fb",
    ];
    let others = [
        "--on-conflict",
        "replace",
        "--restore-bytes-max",
        "512",
        "--announce-ip",
        "::1",
    ];
    let args = [&servers[..], &others].concat();
    let first = keyferry(&args, &[("KEYFERRY_TARGET_PASSWORD", PASSWORD)]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_eq!(
        line(&first.stdout, "source"),
        "source = \"redis://us%3Aer:***@127.0.0.1:1\" # flag --source"
    );
    assert_eq!(
        line(&first.stdout, "target-password"),
        "target-password = \"***\" # environment KEYFERRY_TARGET_PASSWORD"
    );
    let path = write(dir.path(), "1.toml", &first.stdout);
    let second = keyferry(&["config", "--config", &path], &[]);
    let path = write(dir.path(), "2.toml", &second.stdout);
    let third = keyferry(&["config", "--config", &path], &[]);
    assert_eq!(second.stdout, third.stdout);
    assert_eq!(values(&first.stdout), values(&second.stdout));

    let run = keyferry(&["sync", "--config", &path], &[]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("the password of the source is ***"),
        "{}",
        run.stderr
    );
}

/// The lines of `keyferry config` without what they say about origins.
fn values(toml: &str) -> Vec<String> {
    toml.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            line.split(" # ")
                .next()
                .unwrap_or_default()
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[test]
fn passwords_are_shown_nowhere() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write(dir.path(), "password", "hunter2\n");
    let toml = write(dir.path(), "k.toml", "source-password = \"hunter2\"\n");
    let url = format!("redis://u:{PASSWORD}@127.0.0.1:1");
    let broken = format!("redis://u:{PASSWORD}/@127.0.0.1:1");
    let target = ["--target", "redis://127.0.0.1:2"];
    for (args, env) in [
        (
            with_servers(
                "sync",
                &["--log-level", "trace", "--source-password-file", &file],
            ),
            vec![],
        ),
        (
            with_servers("sync", &["--log-level", "trace", "--config", &toml]),
            vec![],
        ),
        (
            with_servers("sync", &["-vv"]),
            vec![("KEYFERRY_TARGET_PASSWORD", PASSWORD)],
        ),
        (
            [&["sync", "--source", &url, "--json", "-vv"], &target[..]].concat(),
            vec![],
        ),
        (vec!["sync", "--source", &broken], vec![]),
        (vec!["sync"], vec![("KEYFERRY_SOURCE", broken.as_str())]),
        (
            [&["config"], &target[..]].concat(),
            vec![("KEYFERRY_SOURCE", url.as_str())],
        ),
        (with_servers("config", &["--config", &toml]), vec![]),
    ] {
        // `keyferry` checks both streams for the password.
        let shown = keyferry(&args, &env);
        assert!(
            !(shown.stdout + &shown.stderr).is_empty(),
            "{args:?} showed nothing"
        );
    }
}

/// `script` (util-linux, or of the BSDs with other flags) gives the process a terminal.
#[test]
#[cfg(target_os = "linux")]
fn a_terminal_is_no_surprise() {
    let sync = [env!("CARGO_BIN_EXE_keyferry"), "sync", &SERVERS.join(" ")].join(" ");
    for (name, flags, text) in [
        ("log lines in colour", "-v", "error: "),
        ("the question can be asked", "--flush-target", "error: "),
    ] {
        let output = Command::new("script")
            .args(["-qec", &format!("{sync} {flags}"), "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .expect("`script` of util-linux runs");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains(text), "{name}:\n{shown}");
        assert!(!shown.contains("has a bug"), "{name}:\n{shown}");
        assert!(!shown.contains("needs --yes"), "{name}:\n{shown}");
    }
}

#[test]
fn every_setting_is_documented() {
    let docs = include_str!("../docs/cli.md");
    for setting in keyferry::config::SETTINGS {
        let named = match setting.on_command_line {
            true => format!("`--{}`", setting.name),
            false => setting.variable(),
        };
        assert!(docs.contains(&named), "docs/cli.md lacks {named}");
    }
}

#[test]
fn every_field_of_the_status_is_documented() {
    use keyferry::{pipeline, status};
    let route = pipeline::Route {
        source: "a".into(),
        target: "b".into(),
        mode: "full",
    };
    let sample = pipeline::Progress::default().sample();
    let verdict = status::Verdict::NotReady(status::Obstacle::NotFollowing);
    let status = status::Status::of(None, &route, &sample, verdict).to_json();
    let status: serde_json::Value = serde_json::from_str(&status).expect("an object");
    let docs = include_str!("../docs/status.md");
    let mut fields = Vec::new();
    for (name, value) in status.as_object().expect("an object") {
        match value.as_object() {
            Some(inner) => fields.extend(inner.keys().map(|field| format!("`{name}.{field}`"))),
            None => fields.push(format!("`{name}`")),
        }
    }
    assert!(fields.len() > 30, "{fields:?}");
    for field in fields {
        assert!(docs.contains(&field), "docs/status.md lacks {field}");
    }
}
