//! `rdb dump` without a server; with servers see `tests/it/backup.rs`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use crate::run::{Directory, TINY, rdb};

#[test]
fn a_dump_needs_a_source_and_a_file() {
    let directory = Directory::new();
    let file = directory.path("out");
    let existing = directory.write("existing", b"mine");
    let source = "redis://127.0.0.1:1";
    for (name, args, code, said) in [
        ("no file", &["dump", "--source", source][..], 2, "--output"),
        ("no source", &["dump", "-o", &file], 2, "no source is given"),
        (
            "existing",
            &["dump", "--source", source, "-o", &existing],
            2,
            "--overwrite",
        ),
        (
            "two data",
            &["dump", "--source", source, "-o", "-", "--json"],
            2,
            "contradict",
        ),
        (
            "filters",
            &["dump", "--source", source, "-o", &file, "--db", "1"],
            2,
            "--db",
        ),
        (
            "nobody there",
            &["dump", "--source", source, "-o", &file],
            3,
            "cannot be reached",
        ),
        (
            "no directory",
            &["dump", "--source", source, "-o", "/none/out"],
            5,
            "cannot be created",
        ),
    ] {
        let shown = rdb(args);
        shown.assert_code(code, name);
        assert!(shown.stderr.contains(said), "{name}: {}", shown.stderr);
    }
    assert_eq!(
        directory.names(),
        ["existing"].map(std::path::PathBuf::from)
    );
    assert_eq!(fs::read(existing).unwrap(), b"mine");
}

/// A peer that speaks as much of a source as is needed, and sends `snapshot`.
fn source(snapshot: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        let mut replies = 0;
        let mut piece = [0; 4096];
        while !heard.ends_with(b"\r\n$2\r\n-1\r\n") {
            let read = peer.read(&mut piece).unwrap();
            heard.extend_from_slice(&piece[..read]);
            let commands = heard.windows(8).filter(|word| word == b"REPLCONF").count();
            let asked_all = heard.windows(8).any(|word| word == b"rdb-only");
            if asked_all && replies == 0 {
                replies = commands;
                peer.write_all("+OK\r\n".repeat(commands).as_bytes())
                    .unwrap();
            }
        }
        let replid = "f1201b72a276aa8b04f1f574320a89b9e3b67da5";
        peer.write_all(format!("+FULLRESYNC {replid} 7\r\n").as_bytes())
            .unwrap();
        // The other side may have seen enough.
        let _ = peer.write_all(&snapshot);
    });
    url
}

#[test]
fn only_a_whole_snapshot_becomes_a_file() {
    let mark = "0123456789".repeat(4);
    let framed = |rdb: &[u8], end: &str| {
        [format!("$EOF:{mark}\r\n").as_bytes(), rdb, end.as_bytes()].concat()
    };
    let lengthy = |len: usize, rdb: &[u8]| {
        [format!("$1{len:04}\r\n").replace("$1", "$").as_bytes(), rdb].concat()
    };
    let cut = &TINY[..TINY.len() - 3];
    let mut wrong = TINY.to_vec();
    wrong[8] = b'9';
    wrong.extend_from_slice(&[1; 8]);
    let other = "x".repeat(40);
    for (name, snapshot, code, said) in [
        ("whole", framed(TINY, &mark), 0, ""),
        ("whole by length", lengthy(TINY.len(), TINY), 0, ""),
        ("another mark", framed(TINY, &other), 3, ""),
        ("cut", framed(cut, ""), 3, ""),
        ("a mark too early", framed(cut, &mark), 3, ""),
        (
            "another length",
            lengthy(TINY.len() + 5, &[TINY, b"12345"].concat()),
            3,
            "",
        ),
        ("wrong checksum", framed(&wrong, &mark), 3, "wrong checksum"),
        ("nothing", b"".to_vec(), 3, ""),
    ] {
        let directory = Directory::new();
        let file = directory.path("out");
        let shown = rdb(&["dump", "--source", &source(snapshot), "-o", &file, "--json"]);
        shown.assert_code(code, name);
        assert!(shown.stderr.contains(said), "{name}: {}", shown.stderr);
        if code > 0 {
            assert!(
                directory.names().is_empty(),
                "{name}: {:?}",
                directory.names()
            );
            assert!(shown.stderr.contains("next: "), "{name}: {}", shown.stderr);
            continue;
        }
        assert_eq!(fs::read(&file).unwrap(), TINY, "{name}");
        let summary = shown.json();
        assert_eq!(
            (&summary["keys"], &summary["offset"]),
            (&4.into(), &7.into())
        );
        assert_eq!(summary["bytes"], TINY.len());
        assert_eq!(summary["checksum"], "absent");
    }
}
