//! What a later run finds.

use std::{fs, sync::Arc};

use keyferry::spool::{Budget, Directory, ErrorKind, Survived, resume, spool};

use super::{Numbers, bounded, open, origin, push, read_to, segments};

/// Fills a directory with some segments of this origin and those behind it; gives all bytes.
async fn filled(directory: &Directory, origins: &[&str]) -> Vec<u8> {
    let budget = Arc::new(Budget::new(16 << 10, 256 << 10));
    let (mut writer, _reader) =
        spool(Some(directory.clone()), budget, 500, origin(origins[0])).unwrap();
    let mut all = Vec::new();
    for (seed, name) in origins.iter().enumerate() {
        writer.set_origin(origin(name));
        let mut numbers = Numbers::new(seed as u64 + 10);
        for _ in 0..10 {
            let bytes = numbers.noise(4000);
            push(&mut writer, &bytes).await;
            all.extend_from_slice(&bytes);
        }
    }
    assert!(writer.persist().await.unwrap());
    all
}

fn found(directory: &Directory) -> Survived {
    directory.survivors(None).unwrap().unwrap()
}

async fn check(directory: &Directory, all: &[u8]) {
    let survived = found(directory);
    let (first, end) = (survived.first, survived.end);
    let budget = Arc::new(Budget::default());
    let (_writer, mut reader) = resume(directory.clone(), budget, survived).unwrap();
    let held = &all[(first - 500) as usize..(end - 500) as usize];
    assert_eq!(read_to(&mut reader, end).await, held);
}

#[tokio::test]
async fn a_later_run_goes_on_where_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    assert_eq!(directory.survivors(None).unwrap(), None);
    let mut all = filled(&directory, &["a"]).await;
    drop(directory);
    let directory = open(root.path());
    let survived = found(&directory);
    assert_eq!((survived.first, survived.end), (500, 40_500));
    let budget = Arc::new(Budget::new(16 << 10, 256 << 10));
    let (mut writer, mut reader) =
        resume(directory.clone(), Arc::clone(&budget), survived).unwrap();
    let on_disk: u64 = segments(directory.path()).iter().map(|(_, len)| len).sum();
    assert_eq!(budget.disk_bytes(), on_disk);
    reader.rewind(30_001).unwrap();
    for n in 0..20 {
        push(&mut writer, &[n; 2000]).await;
        all.extend_from_slice(&[n; 2000]);
    }
    assert_eq!(read_to(&mut reader, 80_500).await, all[29_501..]);
    reader.release(70_000);
    writer.persist().await.unwrap();
    drop((writer, reader));
    let survived = found(&directory);
    assert!(survived.first > 40_500 && survived.first <= 70_000);
    assert_eq!(survived.end, 80_500);
    check(&directory, &all).await;
}

#[tokio::test]
async fn a_sequence_is_one_across_its_origins() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let all = filled(&directory, &["a", "b", "c"]).await;
    let survived = found(&directory);
    assert_eq!((survived.origin.as_str(), survived.end), ("c", 120_500));
    for (asked, is_found) in [("a", true), ("b", true), ("c", true), ("d", false)] {
        let found = directory.survivors(Some(&origin(asked))).unwrap();
        assert_eq!(found.is_some(), is_found, "{asked}");
    }
    check(&directory, &all).await;
}

#[tokio::test]
async fn an_origin_without_bytes_is_remembered() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let (_, mut writer, reader) = bounded(&directory, 1 << 20, 1 << 20);
    push(&mut writer, b"bytes of a").await;
    writer.persist().await.unwrap();
    writer.set_origin(origin("b"));
    writer.persist().await.unwrap();
    drop((writer, reader));
    let survived = found(&directory);
    assert_eq!(
        (survived.origin.as_str(), survived.first, survived.end),
        ("b", 0, 10)
    );
}

/// Every byte of every file, changed: what survives ends there and is right up to there.
#[tokio::test]
async fn damage_ends_what_survives() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let all = filled(&directory, &["a", "b"]).await;
    let files = segments(directory.path());
    assert!(files.len() > 3);
    let whole: Vec<_> = files
        .iter()
        .map(|(path, _)| fs::read(path).unwrap())
        .collect();
    let mut ends = Vec::new();
    for ((path, len), sound) in files.iter().zip(&whole) {
        for at in (0..*len as usize).step_by(97) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            fs::write(path, bytes).unwrap();
            let survived = directory.survivors(None).unwrap();
            assert!(
                survived.is_some() || *path == files[0].0,
                "only the first can lose all"
            );
            ends.push(survived.map_or(500, |survived| survived.end));
            assert!(*ends.last().unwrap() < 80_500, "{} {at}", path.display());
        }
        fs::write(path, sound).unwrap();
    }
    assert!(
        ends.is_sorted(),
        "what stands before the damage is not lost"
    );
    fs::remove_file(&files[1].0).unwrap();
    check(&directory, &all).await;
    assert_eq!(
        segments(directory.path()).len(),
        1,
        "what cannot be reached is removed"
    );
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    let all = filled(&directory, &["a"]).await;
    let (path, len) = segments(directory.path()).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    for cut in (0..len as usize).rev().step_by(61) {
        fs::write(&path, &sound[..cut]).unwrap();
        let survived = found(&directory);
        assert!(survived.end < 40_500 && survived.end >= 500);
    }
    fs::write(&path, &sound[..len as usize - 1]).unwrap();
    check(&directory, &all).await;
}

#[tokio::test]
async fn a_new_spool_removes_what_was_left_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let directory = open(root.path());
    filled(&directory, &["a"]).await;
    let foreign = directory.path().join("notes.spool");
    fs::write(&foreign, "mine").unwrap();
    let (_, writer, reader) = bounded(&directory, 1 << 20, 1 << 20);
    assert_eq!(segments(directory.path()).len(), 1);
    let budget = Arc::new(Budget::default());
    let second = spool(Some(directory.clone()), budget, 0, origin("b")).unwrap_err();
    assert!(matches!(second.kind, ErrorKind::InUse), "{second}");
    assert!(matches!(
        directory.clear().unwrap_err().kind,
        ErrorKind::InUse
    ));
    drop((writer, reader));
    directory.clear().unwrap();
    assert_eq!(fs::read(&foreign).unwrap(), b"mine");
}
