//! Where an RDB can come from, and what is said when it cannot be read.

use std::io::Write;

use flate2::write::GzEncoder;
use serde_json::json;

use crate::run::{Directory, TINY, rdb, rdb_with_stdin, small};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress_to_vec(bytes, level)
}

#[test]
fn every_verb_reads_what_it_is_wrapped_in() {
    let directory = Directory::new();
    let plain = small();
    let path = directory.write("plain", &plain);
    for verb in ["info", "json", "check"] {
        let args = |file: &'static str| match verb {
            "json" => vec![verb, file],
            _ => vec![verb, file, "--json"],
        };
        let without_input = |stdout: &str| -> Vec<_> {
            let lines = stdout
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            let strip = |mut line: serde_json::Value| {
                let object = line.as_object_mut().unwrap();
                object.remove("input");
                object.remove("input_bytes");
                line
            };
            lines.map(strip).collect()
        };
        let mut plain_args = args("");
        plain_args[1] = &path;
        let expected = rdb(&plain_args);
        expected.assert_code(0, verb);
        for (name, bytes) in [
            ("plain", plain.clone()),
            ("gzip", gzip(&plain)),
            ("lz4", lz4(&plain)),
            ("zstd", zstd(&plain)),
            ("VCS", [b"VCS\x01\x01\x00\x01", &lz4(&plain)[..]].concat()),
        ] {
            let shown = rdb_with_stdin(&args("-"), &bytes);
            shown.assert_code(0, name);
            let same = without_input(&shown.stdout) == without_input(&expected.stdout);
            assert!(same, "{verb} {name}:\n{}", shown.stdout);
            let file = directory.write(name, &bytes);
            let mut file_args = args("");
            file_args[1] = &file;
            let shown = rdb(&file_args);
            assert_eq!(
                without_input(&shown.stdout),
                without_input(&expected.stdout)
            );
        }
    }
    let info = rdb_with_stdin(&["info", "-", "--json"], &gzip(&plain)).json();
    assert_eq!(info["input_bytes"], json!(gzip(&plain).len()));
}

#[test]
fn what_cannot_be_read_is_exit_3_with_a_way_out() {
    let directory = Directory::new();
    let missing = directory.path("missing");
    let inside = directory.path("");
    let cut_gzip = directory.write("cut.gz", &gzip(&small())[..40]);
    let aof = directory.write("aof", b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    let newer = directory.write("newer", b"REDIS0099\xff\0\0\0\0\0\0\0\0");
    for verb in ["info", "json", "check"] {
        for (name, file, said) in [
            ("missing", &missing, "cannot be opened"),
            ("a directory", &inside, "cannot be opened"),
            ("cut gzip", &cut_gzip, "cannot be read"),
            ("commands", &aof, "not an RDB"),
            ("newer", &newer, "unknown RDB version"),
        ] {
            let shown = rdb(&[verb, file]);
            shown.assert_code(3, &format!("{verb} {name}"));
            for part in ["error: ", said, "next: "] {
                assert!(
                    shown.stderr.contains(part),
                    "{verb} {name}: {}",
                    shown.stderr
                );
            }
        }
        let cut = directory.write("cut", &TINY[..TINY.len() - 1]);
        let code = if verb == "check" { 1 } else { 3 };
        rdb(&[verb, &cut]).assert_code(code, verb);
    }
}

#[test]
fn a_newer_version_is_read_where_that_is_asked_for() {
    let directory = Directory::new();
    let newer = b"REDIS0099\0\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    let file = directory.write("newer", newer);
    let unknown = directory.write("unknown", b"REDIS0099\x63\x01k\x01v\xff\0\0\0\0\0\0\0\0");
    let out = directory.path("out");
    for (verb, more) in [
        ("info", &[][..]),
        ("json", &[]),
        ("check", &[]),
        ("analyze", &[]),
        ("commands", &["--target-version", "redis-7.0"]),
        ("convert", &["--to", "redis-7.0", "-o", &out, "--overwrite"]),
    ] {
        let refused = rdb(&[&[verb, &file], more].concat());
        refused.assert_code(3, verb);
        let next = refused.stderr.split("next: ").nth(1).unwrap_or_default();
        assert!(
            next.contains("--newer-versions"),
            "{verb}: {}",
            refused.stderr
        );
        let args = [&[verb, "--newer-versions", &file], more].concat();
        rdb(&args).assert_code(0, verb);
        let args = [&[verb, "--newer-versions", &unknown], more].concat();
        let code = if verb == "check" { 1 } else { 3 };
        rdb(&args).assert_code(code, verb);
    }
    assert_eq!(rdb(&["json", &out]).lines().len(), 3);
}

#[test]
fn usage_errors_are_exit_2() {
    let directory = Directory::new();
    let file = directory.write("file", TINY);
    for (name, args, said) in [
        ("no verb", &[][..], "Usage: keyferry rdb"),
        ("no input", &["info"], "no input is given"),
        ("no input for several", &["check"], "no input is given"),
        (
            "file and source",
            &["json", &file, "--source", "redis://h"],
            "cannot be used with",
        ),
        (
            "a source that is none",
            &["info", "--source", "http://h"],
            "--source",
        ),
        (
            "regex",
            &["info", &file, "--key-regex", "("],
            "--key-regex cannot be used",
        ),
        ("type", &["info", &file, "--type", "strin"], "strin"),
        (
            "ttl",
            &["info", &file, "--ttl-max", "soon"],
            "--ttl-max cannot be used",
        ),
        (
            "size",
            &["check", &file, "--size-min", "big"],
            "--size-min cannot be used",
        ),
        (
            "chunk",
            &["json", &file, "--chunk-bytes", "1"],
            "--chunk-bytes cannot be used",
        ),
        ("top", &["info", &file, "--top=-1"], "-1"),
        (
            "overwrite what",
            &["json", &file, "-o", "/dev/null", "--overwrite"],
            "not a regular file",
        ),
    ] {
        let shown = rdb(args);
        shown.assert_code(2, name);
        assert_eq!(shown.stdout, "", "{name}");
        assert!(shown.stderr.contains(said), "{name}: {}", shown.stderr);
    }
}
