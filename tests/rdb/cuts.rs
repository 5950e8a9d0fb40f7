//! Whole = split: any cut of the input gives the same events, or the same error at the same
//! offset.

use keyferry::rdb::Altitude;
use proptest::prelude::*;

use crate::fixture::{self, Fixture};
use crate::fuzz::{self, ALTITUDES, altitudes_agree, whole_is_split};

fn up_to(bytes_max: usize) -> impl Iterator<Item = Fixture> {
    fixture::rdbs()
        .into_iter()
        .filter(move |fixture| fixture.bytes.len() <= bytes_max)
}

#[test]
fn files_say_the_same_at_every_altitude() {
    for fixture in up_to(usize::MAX) {
        altitudes_agree(&fixture.bytes);
    }
}

#[test]
fn small_files_at_every_cut() {
    for fixture in up_to(400) {
        for cut in 1..fixture.bytes.len() {
            for altitude in ALTITUDES {
                whole_is_split(&fixture.bytes, &[cut, usize::MAX], altitude);
            }
        }
    }
}

#[test]
fn files_byte_by_byte() {
    for fixture in up_to(8_000) {
        for altitude in ALTITUDES {
            whole_is_split(&fixture.bytes, &[1], altitude);
        }
    }
}

#[test]
fn large_files_in_odd_pieces() {
    for fixture in up_to(300_000).filter(|fixture| fixture.bytes.len() > 8_000) {
        for altitude in ALTITUDES {
            whole_is_split(&fixture.bytes, &[1, 997, 64, 4096, 3], altitude);
        }
    }
}

/// Found by mutation: a string inflated as it arrives, whose flaw was placed where the piece began.
#[test]
fn a_flaw_in_a_streamed_string_has_one_place() {
    let literals: Vec<u8> = (0..10)
        .flat_map(|_| [&[31][..], &[b'x'; 32]].concat())
        .collect();
    let compressed = [&literals[..], b"\x3f\xff"].concat();
    let sizes = [&b"\xc3\x41\x4c\x41\x43"[..], &compressed].concat();
    let file = [b"REDIS0004\x00\x01k", &sizes[..], b"\xff"].concat();
    let whole = fuzz::read([&file[..]], Altitude::Elements, fuzz::small_limits());
    let error = whole.end.clone().unwrap_err();
    assert_eq!(error.offset, (file.len() - 3) as u64, "{error}");
    for cut in 1..file.len() {
        whole_is_split(&file, &[cut, usize::MAX], Altitude::Elements);
    }
}

/// The corpus that the fuzz targets start from goes through them as it is.
#[test]
fn the_corpus_replays() {
    for fixture in fixture::all()
        .iter()
        .filter(|fixture| fixture.bytes.len() < 20_000)
    {
        if fixture.is_payload() {
            fuzz::payload(&fixture.bytes[..fixture.bytes.len() - 8]);
            continue;
        }
        for choice in 0..ALTITUDES.len() as u8 {
            fuzz::rdb(&[&[7, 100, choice], &fixture.bytes[..]].concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_cuts_of_any_file(
        choice in any::<prop::sample::Index>(),
        sizes in prop::collection::vec(1_usize..5000, 1..20),
        altitude in prop::sample::select(&ALTITUDES[..]),
    ) {
        let fixtures: Vec<_> = up_to(60_000).collect();
        whole_is_split(&choice.get(&fixtures).bytes, &sizes, altitude);
    }

    /// A flipped byte may give any error, but the same one for every cut, and no panic.
    #[test]
    fn random_cuts_of_damaged_files(
        choice in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in prop::collection::vec(1_usize..300, 1..20),
        altitude in prop::sample::select(&ALTITUDES[..]),
    ) {
        let fixtures: Vec<_> = up_to(8_000).filter(|fixture| fixture.bytes.len() > 20).collect();
        let mut bytes = choice.get(&fixtures).bytes.clone();
        for (at, byte) in damage {
            let at = 9 + at.index(bytes.len() - 9);
            bytes[at] = byte;
        }
        whole_is_split(&bytes, &sizes, altitude);
        altitudes_agree(&bytes);
    }
}
