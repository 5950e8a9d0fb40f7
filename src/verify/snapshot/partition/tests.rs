use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    keyspace::UnixMs,
    rdb::KeyType,
    sink::Hold,
    verify::{compare::tests::rules, snapshot::digest::Digest},
};

/// All that is kept of a key.
type Kept = (KeyType, Option<UnixMs>, Digest);
type Side = BTreeMap<(u32, Vec<u8>), Kept>;

fn bounds(held_bytes_max: u64) -> Bounds {
    Bounds {
        first_bits: 2,
        more_bits: 3,
        buffer_bytes: 300,
        held_bytes_max,
        held_records_min: 0,
        ..Bounds::new(std::env::temp_dir(), 1)
    }
}

fn spread_all(side: &Side, bounds: &Bounds) -> Spread {
    let mut spread = Spread::new(bounds);
    for ((db, key), (key_type, expire_at_ms, digest)) in side {
        spread
            .add(&Record {
                db: Db(*db),
                key,
                key_type: *key_type,
                expire_at_ms: *expire_at_ms,
                digest: *digest,
            })
            .unwrap();
    }
    spread
}

/// The suspects in the order they come, and the most bytes of a side that were held at a time.
fn joined(source: &Side, target: &Side, bounds: &Bounds) -> (Vec<(u32, Vec<u8>)>, usize) {
    let (source, target) = (spread_all(source, bounds), spread_all(target, bounds));
    let mut join = Join::new(source, target, rules());
    let (mut suspects, mut held_bytes) = (Vec::new(), 0);
    while let Some(suspect) = join.next().unwrap() {
        suspects.push((suspect.db.0, suspect.key.to_vec()));
        let held = join.current.as_ref().map_or(0, |of| of.held.bytes.len());
        held_bytes = held_bytes.max(held);
    }
    (suspects, held_bytes)
}

/// What differs, by looking at each key.
fn differing(source: &Side, target: &Side) -> BTreeSet<(u32, Vec<u8>)> {
    let keys = source.keys().chain(target.keys());
    let differs = |key: &(u32, Vec<u8>)| match (source.get(key), target.get(key)) {
        (Some(ours), Some(theirs)) => {
            ours.0 != theirs.0
                || ours.2.content != theirs.2.content
                || ours.1.is_some() != theirs.1.is_some()
                || ours.1.unwrap_or(0).abs_diff(theirs.1.unwrap_or(0)) > 1000
        }
        _ => true,
    };
    keys.filter(|key| differs(key)).cloned().collect()
}

fn digest(content: u128) -> Digest {
    Digest {
        content,
        partial: [None; 3],
    }
}

fn kept() -> impl Strategy<Value = Kept> {
    let types = prop_oneof![Just(KeyType::String), Just(KeyType::Hash)];
    (types, option::of(0..3_i64), 0..3_u128).prop_map(|(key_type, expiry, content)| {
        (key_type, expiry.map(|n| n * 700), digest(content))
    })
}

fn key() -> impl Strategy<Value = (u32, Vec<u8>)> {
    (
        0..2_u32,
        prop_oneof![vec(0..4_u8, 0..3), vec(any::<u8>(), 0..40)],
    )
}

proptest! {
    #[test]
    fn the_same_is_found_as_by_looking_at_each_key(
        source in vec((key(), kept()), 0..60),
        target in vec((key(), kept()), 0..60),
        held_bytes_max in 0..3000_u64,
    ) {
        let sides = [source, target].map(|side| side.into_iter().collect());
        let [source, mut target]: [Side; 2] = sides;
        // Most keys of a real target are those of the source.
        for (n, (key, kept)) in source.iter().enumerate() {
            if n % 3 > 0 {
                target.insert(key.clone(), *kept);
            }
        }
        let bounds = bounds(held_bytes_max);
        let (suspects, _) = joined(&source, &target, &bounds);
        let found: BTreeSet<_> = suspects.iter().cloned().collect();
        prop_assert_eq!(suspects.len(), found.len(), "each once");
        prop_assert_eq!(found, differing(&source, &target));
    }
}

fn many(keys: u32, key_bytes: usize) -> Side {
    let key = |n: u32| (0, format!("{n:0key_bytes$}").into_bytes());
    (0..keys)
        .map(|n| (key(n), (KeyType::String, None, digest(n.into()))))
        .collect()
}

#[test]
fn memory_is_bounded_however_many_keys_there_are() {
    let source = many(30_000, 20);
    let mut target = source.clone();
    for n in (0..30_000).step_by(1000) {
        target.remove(&(0, format!("{n:020}").into_bytes()));
    }
    let bounds = bounds(20_000);
    let (suspects, held_bytes) = joined(&source, &target, &bounds);
    assert_eq!(suspects.len(), 30);
    assert!(0 < held_bytes && held_bytes <= 20_000, "{held_bytes}");

    // Nothing of the larger side is held.
    let (suspects, held_bytes) = joined(&source, &Side::new(), &bounds);
    assert_eq!((suspects.len(), held_bytes), (30_000, 0));
    let (suspects, held_bytes) = joined(&Side::new(), &source, &bounds);
    assert_eq!((suspects.len(), held_bytes), (30_000, 0));
}

#[test]
fn small_snapshots_do_not_touch_the_disk() {
    let bounds = Bounds::new("/nowhere".into(), 1);
    let side = many(1000, 20);
    assert_eq!(spread_all(&side, &bounds).file_bytes(), 0);
    assert!(joined(&side, &side, &bounds).0.is_empty());
    let mut spread = Spread::new(&bounds);
    let key = vec![b'x'; 100_000];
    let record = Record {
        db: Db(0),
        key: &key,
        key_type: KeyType::String,
        expire_at_ms: None,
        digest: digest(0),
    };
    assert!(spread.add(&record).is_err());
}

#[test]
fn a_name_that_is_too_large_to_be_held_is_held_all_the_same() {
    let source = many(3, 50_000);
    let mut target = source.clone();
    target.pop_first();
    for held_records_min in [0, 64] {
        let bounds = Bounds {
            held_records_min,
            ..bounds(1000)
        };
        let (suspects, _) = joined(&source, &target, &bounds);
        assert_eq!(suspects.len(), 1);
    }
}

#[test]
fn what_one_side_does_not_know_makes_no_suspect() {
    let one = |partial| {
        let digest = Digest {
            content: 1,
            partial,
        };
        Side::from([((0, b"a".to_vec()), (KeyType::Stream, None, digest))])
    };
    for (name, source, target, expected) in [
        ("nothing known", [None; 3], [None; 3], 0),
        ("one side", [Some(1), None, None], [None, Some(2), None], 0),
        (
            "the same",
            [Some(1), None, Some(3)],
            [Some(1), Some(2), Some(3)],
            0,
        ),
        ("the first", [Some(1), None, None], [Some(2), None, None], 1),
        (
            "the last",
            [Some(1), Some(2), Some(3)],
            [Some(1), Some(2), Some(4)],
            1,
        ),
    ] {
        let (suspects, _) = joined(&one(source), &one(target), &bounds(1000));
        assert_eq!(suspects.len(), expected, "{name}");
    }
}

#[test]
fn expiries_are_compared_by_the_rules() {
    let true_ms = rules().source_now_ms + 100_000;
    let held = Hold::Held.apply(true_ms);
    let one = |expire_at_ms| {
        Side::from([(
            (0, b"a".to_vec()),
            (KeyType::String, expire_at_ms, digest(1)),
        )])
    };
    for (name, target, releases_held, expected) in [
        ("the same", Some(true_ms), false, 0),
        ("within the tolerance", Some(true_ms + 1000), false, 0),
        ("beyond it", Some(true_ms - 1001), false, 1),
        ("missing", None, false, 1),
        ("held", Some(held), true, 0),
        ("held, and no sync follows", Some(held), false, 1),
    ] {
        let bounds = bounds(1000);
        let rules = Rules {
            releases_held,
            ..rules()
        };
        let source = spread_all(&one(Some(true_ms)), &bounds);
        let mut join = Join::new(source, spread_all(&one(target), &bounds), rules);
        let found = join.next().unwrap();
        assert_eq!(found.is_some(), expected > 0, "{name}");
    }
}
