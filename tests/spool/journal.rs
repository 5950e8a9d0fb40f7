//! The list of entries.

use std::{fs, sync::Arc};

use bytes::Bytes;
use keyferry::spool::{Budget, Damage, Directory, ErrorKind, Journal};

use super::{Numbers, open, origin, segments};

fn journal(directory: &Directory, disk: u64) -> Journal {
    Journal::open(directory, Arc::new(Budget::new(0, disk)), origin("a")).unwrap()
}

fn entries(journal: &Journal) -> Vec<Bytes> {
    journal.read().unwrap().map(Result::unwrap).collect()
}

fn batches() -> Vec<Vec<Bytes>> {
    let mut numbers = Numbers::new(1);
    let mut batch = |count: u64, len: u64| -> Vec<_> {
        let entries = 0..count;
        entries
            .map(|_| {
                let len = numbers.below(len + 1);
                numbers.bytes(len as usize)
            })
            .collect()
    };
    vec![
        batch(100, 50),
        vec![],
        batch(1, 0),
        batch(3, 400_000),
        vec![Bytes::from(vec![0; 700_000])],
        batch(2000, 20),
    ]
}

#[test]
fn entries_of_any_size_read_back_and_outlive_the_process() {
    let root = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (run, batch) in batches().into_iter().enumerate() {
        let directory = open(root.path());
        let mut journal = journal(&directory, u64::MAX);
        assert_eq!(entries(&journal), expected, "run {run}");
        journal.append(&batch).unwrap();
        journal.append(&[b"one more"]).unwrap();
        expected.extend(batch);
        expected.push(Bytes::from_static(b"one more"));
        assert_eq!(entries(&journal), expected, "run {run}");
    }
    let directory = open(root.path());
    let foreign = directory.path().join("notes.journal");
    fs::write(&foreign, "mine").unwrap();
    journal(&directory, u64::MAX).remove().unwrap();
    assert_eq!(entries(&journal(&directory, u64::MAX)), Vec::<Bytes>::new());
    assert!(foreign.exists());
}

#[test]
fn an_end_that_was_not_written_whole_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let all = Numbers::new(2).noise(300_000);
    let batch: Vec<_> = all.chunks(1000).map(Bytes::copy_from_slice).collect();
    journal(&directory, u64::MAX).append(&batch).unwrap();
    let (path, len) = segments(directory.path()).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    let mut counts = Vec::new();
    for cut in (0..=len as usize).step_by(len as usize / 50) {
        fs::write(&path, &sound[..cut]).unwrap();
        let found = entries(&journal(&directory, u64::MAX));
        assert_eq!(found, batch[..found.len()], "{cut}");
        counts.push(found.len());
    }
    assert!(
        counts.is_sorted() && counts[0] == 0 && counts[49] > 200,
        "{counts:?}"
    );
    // What follows in another run is not taken for the rest of it.
    fs::write(&path, &sound[..sound.len() - 1]).unwrap();
    let mut journal = journal(&directory, u64::MAX);
    let before = entries(&journal).len();
    journal.append(&[b"next"]).unwrap();
    let found = entries(&journal);
    assert_eq!(
        (found.len(), &found[before][..]),
        (before + 1, &b"next"[..])
    );
}

#[test]
fn damage_is_an_error_and_other_segments_are_still_read() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    for text in [b"first", b"other"] {
        journal(&directory, u64::MAX).append(&[text]).unwrap();
    }
    let (path, len) = segments(directory.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[len as usize - 9] ^= 1;
    fs::write(&path, bytes).unwrap();
    let journal = journal(&directory, u64::MAX);
    let mut found = journal.read().unwrap();
    let damaged = found.next().unwrap().unwrap_err();
    let what = Damage::Checksum;
    assert!(
        matches!(damaged.kind, ErrorKind::Damaged { segment: 1, position: 0, what: w } if w == what),
        "{damaged}"
    );
    assert_eq!(found.next().unwrap().unwrap(), b"other"[..]);
    assert!(found.next().is_none());
}

#[test]
fn the_quota_counts_and_is_given_back() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let budget = Arc::new(Budget::new(0, 10_000));
    let mut journal = Journal::open(&directory, Arc::clone(&budget), origin("a")).unwrap();
    let entry = Numbers::new(3).noise(2000);
    let mut appended = 0;
    let full = loop {
        match journal.append(&[&entry]) {
            Ok(()) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full.kind, ErrorKind::QuotaFull { .. }), "{full}");
    assert_eq!((appended, entries(&journal).len()), (4, 4));
    journal.append(&[b"small"]).unwrap();
    let on_disk: u64 = segments(directory.path()).iter().map(|(_, len)| len).sum();
    assert_eq!(budget.disk_bytes(), on_disk);
    drop(journal);
    assert_eq!(budget.disk_bytes(), 0);
    let journal = Journal::open(&directory, Arc::clone(&budget), origin("a")).unwrap();
    assert_eq!(
        budget.disk_bytes(),
        on_disk,
        "what was there before counts too"
    );
    journal.remove().unwrap();
    assert_eq!(budget.disk_bytes(), 0);
}
