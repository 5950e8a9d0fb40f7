//! The spool with real files: against a model, with a full quota, failing writes, damaged files
//! and after a crash.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic with the line is the report, and stderr says for which seed"
)]

#[path = "spool/journal.rs"]
mod journal;
#[path = "spool/limits.rs"]
mod limits;
#[path = "spool/model.rs"]
mod model;
#[path = "spool/survivors.rs"]
mod survivors;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use keyferry::spool::{Budget, Directory, Origin, Piece, Reader, Writer, spool};

/// Numbers that a seed repeats.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }

    /// Bytes that do not become smaller.
    fn noise(&mut self, len: usize) -> Bytes {
        let bytes = (0..len).map(|_| self.below(256) as u8);
        bytes.collect::<Vec<_>>().into()
    }

    /// Bytes; every other time some that become smaller.
    fn bytes(&mut self, len: usize) -> Bytes {
        if self.below(2) == 0 {
            return self.noise(len);
        }
        let bytes = (0..len).map(|at| at as u8 & 7);
        bytes.collect::<Vec<_>>().into()
    }
}

fn origin(text: &str) -> Origin {
    Origin::new(text).unwrap()
}

fn open(root: &Path) -> Directory {
    Directory::open(root, "stream").unwrap()
}

/// A spool at position 0 with these bounds, in a directory.
fn bounded(directory: &Directory, memory: u64, disk: u64) -> (Arc<Budget>, Writer, Reader) {
    let budget = Arc::new(Budget::new(memory, disk));
    let parts = spool(Some(directory.clone()), Arc::clone(&budget), 0, origin("a"));
    let (writer, reader) = parts.unwrap();
    (budget, writer, reader)
}

async fn push(writer: &mut Writer, bytes: &[u8]) {
    writer.push(Bytes::copy_from_slice(bytes), 7).await.unwrap();
}

/// Reads up to this position.
async fn read_to(reader: &mut Reader, end: u64) -> Vec<u8> {
    let mut read = Vec::new();
    while reader.position() < end {
        let Piece {
            position, bytes, ..
        } = reader.next().await.unwrap().unwrap();
        assert_eq!(position + bytes.len() as u64, reader.position());
        read.extend_from_slice(&bytes);
    }
    read
}

/// The segments in a directory, in order, with their sizes.
fn segments(directory: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|it| it == "spool" || it == "journal")
        })
        // One may be deleted at this moment.
        .filter_map(|path| Some((path.clone(), fs::metadata(&path).ok()?.len())))
        .collect();
    found.sort();
    found
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_reader_that_keeps_up_never_touches_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (budget, mut writer, mut reader) = bounded(&directory, 64 << 10, u64::MAX);
    for n in 0..2000_u64 {
        push(&mut writer, &[n as u8; 100]).await;
        assert_eq!(read_to(&mut reader, (n + 1) * 100).await, [n as u8; 100]);
        reader.release((n + 1) * 100 - 50);
    }
    assert_eq!(budget.disk_bytes_peak(), 0);
    assert_eq!(segments(directory.path()), []);
    drop(writer);
    assert_eq!(reader.next().await.unwrap(), None);
    assert_eq!(reader.first(), 199_950);
    reader.rewind(199_950).unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().bytes, [207; 50][..]);
}

#[tokio::test]
async fn what_does_not_fit_memory_goes_to_disk_and_comes_back_in_order() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (budget, mut writer, mut reader) = bounded(&directory, 256 << 10, 8 << 20);
    let all = Numbers::new(1).noise(3 << 20);
    for piece in all.chunks(5000) {
        push(&mut writer, piece).await;
    }
    assert!(budget.memory_bytes_peak() <= 256 << 10, "memory is bounded");
    let usage = writer.usage();
    assert_eq!((usage.unread_bytes, usage.waiting_because), (3 << 20, None));
    let found = segments(directory.path());
    assert!(found.len() > 1, "several segments");
    for (path, _) in &found {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(read_to(&mut reader, 3 << 20).await, all);
    assert_eq!(reader.usage().unread_bytes, 0);
    reader.rewind(1_000_001).unwrap();
    assert_eq!(read_to(&mut reader, 3 << 20).await, all[1_000_001..]);
    reader.release(3 << 20);
    until("the disk is empty", || budget.disk_bytes() == 0).await;
    assert_eq!(segments(directory.path()), []);
    assert_eq!((budget.memory_bytes(), reader.usage().held_bytes), (0, 0));
}

#[tokio::test]
async fn bytes_of_any_size_are_taken() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (_, mut writer, mut reader) = bounded(&directory, 64 << 10, 8 << 20);
    push(&mut writer, b"").await;
    let large = Numbers::new(2).bytes(1 << 20);
    push(&mut writer, &large).await;
    push(&mut writer, b"small").await;
    assert_eq!(read_to(&mut reader, 1 << 20).await, large);
    assert_eq!(read_to(&mut reader, (1 << 20) + 5).await, b"small");
}

#[tokio::test]
async fn without_a_directory_a_push_waits_for_a_release() {
    let budget = Arc::new(Budget::new(1000, u64::MAX));
    let (mut writer, mut reader) = spool(None, Arc::clone(&budget), 5, origin("")).unwrap();
    let gauge = writer.gauge();
    push(&mut writer, &[1; 600]).await;
    let pushing = tokio::spawn(async move {
        push(&mut writer, &[2; 600]).await;
        writer
    });
    let reason = || gauge.usage().unwrap().waiting_because;
    until("it waits", || {
        reason() == Some(keyferry::spool::WaitingBecause::MemoryFull)
    })
    .await;
    assert_eq!(read_to(&mut reader, 605).await, [1; 600]);
    assert!(!pushing.is_finished(), "what was read is kept");
    reader.release(605);
    let mut writer = pushing.await.unwrap();
    assert_eq!(reason(), None);
    assert_eq!(read_to(&mut reader, 1205).await, [2; 600]);
    assert!(!writer.persist().await.unwrap(), "there is no disk");
    drop((writer, reader));
    assert_eq!(gauge.usage(), None);
    assert_eq!(budget.memory_bytes(), 0);
}

#[tokio::test]
async fn a_push_ends_when_the_reader_is_gone() {
    let budget = Arc::new(Budget::new(1000, 0));
    let (mut writer, reader) = spool(None, budget, 0, origin("")).unwrap();
    push(&mut writer, &[1; 900]).await;
    let waits = writer.push(Bytes::from_static(&[1; 900]), 0);
    tokio::pin!(waits);
    tokio::select! {
        biased;
        _ = &mut waits => panic!("there is no room"),
        () = std::future::ready(()) => drop(reader),
    }
    assert_eq!(waits.await, Err(keyferry::spool::Closed));
}

/// Both halves at once, on threads of their own, while memory goes to disk and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn both_halves_work_at_the_same_time() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (budget, mut writer, mut reader) = bounded(&directory, 128 << 10, 2 << 20);
    let all = Numbers::new(11).noise(8 << 20);
    let pushed = all.clone();
    let pushing = tokio::spawn(async move {
        let (mut numbers, mut rest) = (Numbers::new(12), pushed);
        while !rest.is_empty() {
            let len = numbers.below(20_000).min(rest.len() as u64) as usize;
            writer.push(rest.split_to(len), 7).await.unwrap();
        }
    });
    let mut numbers = Numbers::new(13);
    while let Some(piece) = reader.next().await.unwrap() {
        let at = piece.position as usize;
        assert_eq!(piece.bytes, all[at..at + piece.bytes.len()]);
        let held = reader.position() - reader.first();
        match numbers.below(10) {
            0 => reader.rewind(reader.first() + numbers.below(held)).unwrap(),
            1..6 => reader.release(reader.first() + held / 2),
            _ => {}
        }
        if held > 200 << 10 {
            reader.release(reader.position() - 10);
        }
    }
    pushing.await.unwrap();
    assert_eq!(reader.position(), all.len() as u64);
    assert!(budget.disk_bytes_peak() > 0 && budget.disk_bytes_peak() <= 2 << 20);
    assert!(budget.memory_bytes_peak() <= 128 << 10);
}

/// Two spools of one budget: the one that fills memory does not stop the other.
#[tokio::test]
async fn a_spool_is_not_stopped_by_another_that_took_all_memory() {
    let root = tempfile::tempdir().unwrap();
    let first = Directory::open(root.path(), "1").unwrap();
    let second = Directory::open(root.path(), "2").unwrap();
    let (budget, mut writer, _reader) = bounded(&first, 80_000, 8 << 20);
    push(&mut writer, &[0; 75_000]).await;
    let (mut writer, mut reader) =
        spool(Some(second), Arc::clone(&budget), 0, origin("b")).unwrap();
    let all = Numbers::new(3).noise(1 << 20);
    for piece in all.chunks(3000) {
        push(&mut writer, piece).await;
    }
    assert_eq!(read_to(&mut reader, 1 << 20).await, all);
    assert!(budget.memory_bytes_peak() <= 80_000 + 10_000 + 3128);
}

/// All that is held was read, nothing of it is released, and the reader needs more: the end of one
/// thing that is larger than all bounds.
#[tokio::test]
async fn what_was_read_is_given_up_when_more_is_needed_than_fits() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (_, mut writer, mut reader) = bounded(&directory, 32 << 10, 100 << 10);
    let all = Numbers::new(4).noise(300 << 10);
    let pushed = all.clone();
    let pushing = tokio::spawn(async move {
        for piece in pushed.chunks(4 << 10) {
            push(&mut writer, piece).await;
        }
    });
    assert_eq!(read_to(&mut reader, 300 << 10).await, all);
    pushing.await.unwrap();
    let first = reader.first();
    assert!(first > 0);
    assert_eq!(reader.rewind(0).unwrap_err().first, first);
    reader.rewind(first).unwrap();
    assert_eq!(read_to(&mut reader, 300 << 10).await, all[first as usize..]);
}
