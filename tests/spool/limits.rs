//! A full quota, and writes that fail.

use std::{io, process::Command, sync::Arc};

use keyferry::spool::{DiskTrouble, ErrorKind, WaitingBecause};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Numbers, bounded, open, origin, push, read_to, until};

#[tokio::test]
async fn a_full_quota_makes_a_push_wait_until_something_is_released() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (budget, mut writer, mut reader) = bounded(&directory, 32 << 10, 256 << 10);
    let gauge = writer.gauge();
    let all = Numbers::new(5).noise(1 << 20);
    let pushed = all.clone();
    let pushing = tokio::spawn(async move {
        for piece in pushed.chunks(4 << 10) {
            push(&mut writer, piece).await;
        }
        writer
    });
    let full = WaitingBecause::Disk(DiskTrouble::QuotaFull);
    let is_full = || gauge.usage().unwrap().waiting_because == Some(full);
    until("the quota is full", is_full).await;
    let held = gauge.usage().unwrap();
    assert!(
        held.disk_bytes > 200 << 10 && held.disk_bytes <= 256 << 10,
        "{held:?}"
    );
    assert!(held.held_bytes < 300 << 10, "{held:?}");
    let mut read = Vec::new();
    while read.len() < all.len() {
        let end = read.len() as u64 + 1;
        read.extend(read_to(&mut reader, end).await);
        reader.release(read.len() as u64);
    }
    assert_eq!(read, all);
    let writer = pushing.await.unwrap();
    assert!(budget.disk_bytes_peak() <= 256 << 10);
    assert_eq!(writer.usage().waiting_because, None);
}

#[tokio::test]
async fn what_does_not_fit_the_quota_is_not_brought_to_disk() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (_, mut writer, mut reader) = bounded(&directory, 1 << 20, 1000);
    push(&mut writer, b"small").await;
    assert!(writer.persist().await.unwrap());
    push(&mut writer, &Numbers::new(7).noise(100_000)).await;
    let full = reader.persist().await.unwrap_err();
    assert!(
        matches!(
            full.kind,
            ErrorKind::QuotaFull {
                disk_bytes_max: 1000
            }
        ),
        "{full}"
    );
    assert_eq!(read_to(&mut reader, 5).await, b"small");
    read_to(&mut reader, 100_005).await;
    reader.release(100_005);
    assert!(reader.persist().await.unwrap(), "there is nothing to bring");
}

/// The system refuses to let files grow beyond a limit, as it refuses when a disk is full: in the
/// middle of a write. The limit is of a process, so this is one of its own.
#[test]
fn writes_that_fail_are_tried_again() {
    for child in ["files_of_limited_size", "files_that_cannot_be_written"] {
        let program = std::env::current_exe().unwrap();
        let child = Command::new("sh")
            // The signal that comes with the refusal would end the process.
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(program)
            .args(["--ignored", "--exact", &format!("limits::{child}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
    }
}

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = bytes;
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "limits the process; run by writes_that_fail_are_tried_again"]
async fn files_of_limited_size() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (budget, mut writer, mut reader) = bounded(&directory, 32 << 10, u64::MAX);
    let gauge = writer.gauge();
    let all = Numbers::new(8).noise(400 << 10);
    limit_files(Some(100_000));
    for piece in all.chunks(4 << 10) {
        push(&mut writer, piece).await;
    }
    assert!(writer.persist().await.is_ok() || writer.persist().await.is_ok());
    assert!(gauge.usage().unwrap().disk_trouble.is_none());
    assert_eq!(read_to(&mut reader, 400 << 10).await, all);
    let on_disk: u64 = super::segments(directory.path())
        .iter()
        .map(|(_, len)| len)
        .sum();
    assert_eq!(budget.disk_bytes(), on_disk, "what failed takes no room");
    drop((writer, reader));
    let survived = directory.survivors(None).unwrap().unwrap();
    assert_eq!((survived.first, survived.end), (0, 400 << 10));
    let budget = Arc::new(keyferry::spool::Budget::default());
    let (_writer, mut reader) = keyferry::spool::resume(directory, budget, survived).unwrap();
    assert_eq!(read_to(&mut reader, 400 << 10).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "limits the process; run by writes_that_fail_are_tried_again"]
async fn files_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (budget, mut writer, mut reader) = bounded(&directory, 8 << 10, u64::MAX);
    let gauge = writer.gauge();
    writer.set_origin(origin("b"));
    let all = Numbers::new(9).noise(64 << 10);
    limit_files(Some(50));
    push(&mut writer, &all[..4096]).await;
    let failed = writer.persist().await.unwrap_err();
    assert!(matches!(failed.kind, ErrorKind::Write(_)), "{failed}");
    let rest = all.slice(4096..);
    let pushing = tokio::spawn(async move {
        for piece in rest.chunks(4 << 10) {
            push(&mut writer, piece).await;
        }
        writer
    });
    let trouble = DiskTrouble::WriteFailed(io::ErrorKind::FileTooLarge);
    let reason = || gauge.usage().unwrap().waiting_because;
    until("it waits", || {
        reason() == Some(WaitingBecause::Disk(trouble))
    })
    .await;
    assert_eq!(
        read_to(&mut reader, 4096).await,
        all[..4096],
        "reading goes on"
    );
    assert_eq!(
        (super::segments(directory.path()), budget.disk_bytes()),
        (vec![], 0)
    );
    limit_files(None);
    let writer = pushing.await.unwrap();
    assert_eq!(writer.usage().disk_trouble, None);
    assert_eq!(read_to(&mut reader, 64 << 10).await, all[4096..]);
}
