//! `keyferry rdb commands` as its users see it: what is written for files of every server.

// In a test a panic with the line is the report.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use keyferry::resp::{CommandDecoder, Limits};

struct Shown {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

/// Runs `keyferry rdb commands` with nothing in its environment.
fn commands(file: &Path, args: &[&str]) -> Shown {
    let output = Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .args(["rdb", "commands"])
        .arg(file)
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Shown {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/rdb").join(name)
}

fn of_resp(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut decoder = CommandDecoder::new(Limits::default());
    decoder.feed(bytes.to_vec().into());
    let mut commands = Vec::new();
    while let Some(decoded) = decoder.next().unwrap() {
        let args = decoded.command.into_args();
        commands.push(args.iter().map(|arg| arg.to_vec()).collect());
    }
    commands
}

/// The commands of lines, unquoted as redis-cli does it.
fn of_lines(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(args_of).collect()
}

fn args_of(line: &[u8]) -> Vec<Vec<u8>> {
    let mut args = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        let mut arg = Vec::new();
        if rest.next_if_eq(&b'"').is_some() {
            loop {
                match rest.next().expect("a quote is closed") {
                    b'"' => break,
                    b'\\' => arg.push(unescaped(&mut rest)),
                    byte => arg.push(byte),
                }
            }
        } else {
            while let Some(byte) = rest.next_if(|byte| *byte != b' ') {
                assert!(byte.is_ascii_graphic() && !b"\"'\\".contains(&byte));
                arg.push(byte);
            }
            assert!(!arg.is_empty(), "an empty argument is quoted");
        }
        args.push(arg);
        match rest.next() {
            None => return args,
            Some(byte) => assert_eq!(byte, b' ', "between two arguments"),
        }
    }
}

fn unescaped(rest: &mut impl Iterator<Item = u8>) -> u8 {
    match rest.next().unwrap() {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
        }
        byte => byte,
    }
}

fn summary(shown: &Shown) -> serde_json::Value {
    let line = shown.stderr.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no summary in\n{}", shown.stderr))).unwrap()
}

#[test]
fn both_formats_say_the_same_for_every_server() {
    let mut files = 0;
    for entry in fs::read_dir(fixture("generated")).unwrap() {
        let file = entry.unwrap().path().join("all.rdb");
        if !file.exists() {
            continue;
        }
        files += 1;
        for version in ["redis-6.0", "valkey-9.1"] {
            let named = format!("{} for {version}", file.display());
            let args = ["--target-version", version, "--on-lossy", "drop", "--json"];
            let resp = commands(&file, &args);
            let cli = commands(&file, &[&args[..], &["--format", "cli"]].concat());
            assert_eq!(resp.code, Some(0), "{named}\n{}", resp.stderr);
            let said = of_resp(&resp.stdout);
            assert!(said == of_lines(&cli.stdout), "{named}");
            let (told, told_again) = (summary(&resp), summary(&cli));
            assert_eq!(told["commands"], said.len(), "{named}");
            assert_eq!(told["bytes"], resp.stdout.len(), "{named}");
            assert_eq!(told["keys"], told_again["keys"], "{named}");
            assert!(told["keys"]["total"].as_u64() > Some(0), "{named}");
            assert!(
                said.iter().all(|command| command[0] != b"UNLINK"),
                "{named}"
            );
        }
    }
    assert!(files >= 10, "{files} files");
}

#[test]
fn only_what_is_selected_is_written() {
    let file = fixture("generated/redis-7.0/all.rdb");
    let args = ["--target-version", "redis-7.0", "--json", "--type", "hash"];
    let shown = commands(&file, &args);
    let told = summary(&shown);
    let said = of_resp(&shown.stdout);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert_eq!(told["keys"]["total"], told["keys"]["hash"]);
    assert_eq!(told["functions"], 0);
    let others = ["HSET", "HPEXPIREAT", "PEXPIREAT", "SELECT"].map(str::as_bytes);
    for command in &said {
        assert!(
            others.contains(&&command[0][..]),
            "{}",
            command[0].escape_ascii()
        );
    }
    let with_functions = commands(&file, &[&args[..], &["--functions", "--replace"]].concat());
    let told = summary(&with_functions);
    assert!(told["functions"].as_u64() > Some(0), "{told}");
    let said = of_resp(&with_functions.stdout);
    let loads = said.iter().filter(|command| command[0] == b"FUNCTION");
    assert!(loads.clone().all(|command| command[2] == b"REPLACE"));
    assert_eq!(told["functions"], loads.count());
    let unlinks = said.iter().filter(|command| command[0] == b"UNLINK");
    assert_eq!(told["keys"]["total"], unlinks.count());
}

#[test]
fn errors_have_their_exit_code() {
    let whole = fixture("generated/redis-8.6/all.rdb");
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.rdb");
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let there = dir.path().join("there");
    fs::write(&there, "precious").unwrap();
    let there = there.to_str().unwrap();
    let modern = ["--target-version", "redis-8.6"];
    for (name, file, args, code, said) in [
        ("no version", &whole, &[][..], 2, "--target-version"),
        (
            "no server",
            &whole,
            &["--target-version", "keydb-6.3"],
            2,
            "not a server such as",
        ),
        (
            "too old",
            &whole,
            &["--target-version", "redis-5.0"],
            2,
            "older than Redis 6.0",
        ),
        (
            "an output that exists",
            &whole,
            &["--target-version", "redis-8.6", "-o", there],
            2,
            "--overwrite",
        ),
        ("a cut file", &cut, &modern, 3, "RDB at offset"),
        (
            "what cannot be said",
            &whole,
            &["--target-version", "redis-6.0"],
            4,
            "cannot be told",
        ),
    ] {
        let shown = commands(file, args);
        assert_eq!(shown.code, Some(code), "{name}\n{}", shown.stderr);
        assert!(shown.stderr.contains(said), "{name}\n{}", shown.stderr);
    }
    assert_eq!(fs::read_to_string(there).unwrap(), "precious");
}

#[test]
fn the_summary_goes_where_the_commands_do_not() {
    let file = fixture("generated/redis-7.0/all.rdb");
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("commands");
    let args = ["--target-version", "redis-7.0", "--type", "list", "-o"];
    let shown = commands(&file, &[&args[..], &[output.to_str().unwrap()]].concat());
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(table.starts_with("for        Redis 7.0\n"), "{table}");
    assert!(!of_resp(&fs::read(&output).unwrap()).is_empty());
    let shown = commands(&file, &args[..4]);
    assert!(
        shown.stderr.contains("for        Redis 7.0\n"),
        "{}",
        shown.stderr
    );
}
