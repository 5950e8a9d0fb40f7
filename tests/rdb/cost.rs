//! Memory grows with the input and the limits, never with what the input says about itself: of
//! every fixture, broken ones and damaged ones, at every altitude, whole and in pieces.

use keyferry::rdb::{Altitude, Event, Limits, Parser};
use proptest::prelude::*;

use crate::damage::{self, Damage};
use crate::fixture::{self, Fixture};
use crate::fuzz::ALTITUDES;

/// How many bytes are held at most while a file is read, and nothing of it is kept.
fn held(file: &[u8], piece: usize, altitude: Altitude) -> u64 {
    let read = || {
        let mut parser = Parser::new(Limits::default());
        for piece in file.chunks(piece) {
            parser.feed(piece);
            while let Ok(Some(event)) = parser.next_event() {
                match event {
                    Event::Key(_) => parser.choose(altitude),
                    Event::Measured { .. } => parser.choose(Altitude::Elements),
                    _ => {}
                }
            }
        }
    };
    allocation_counter::measure(read).bytes_max
}

/// The file itself twice, as it grows; what the best ratio of compression makes of all of it, in
/// the largest form that elements take; and little else.
fn held_max(file: &[u8]) -> u64 {
    20_000 + 100 * file.len() as u64
}

#[test]
fn no_file_takes_more_memory_than_its_size_gives_reason_for() {
    for Fixture { name, bytes, .. } in fixture::rdbs() {
        for altitude in ALTITUDES {
            let pieces: &[usize] = if bytes.len() < 5_000 {
                &[1, 1000]
            } else {
                &[1000, 65_536]
            };
            for piece in pieces {
                let held = held(&bytes, *piece, altitude);
                assert!(
                    held <= held_max(&bytes),
                    "{name}, {altitude:?}: {held} bytes"
                );
            }
        }
    }
}

/// A file is read in the memory that its largest value takes, not in that of the file.
#[test]
fn a_long_file_of_small_values_takes_as_much_memory_as_a_short_one() {
    let record = b"\0\x03key\x05value\x01\x04list\x02\x01a\x01b\x10\x04hash\x0d\x0d\0\0\0\x02\0\x81f\x02\x81v\x02\xff";
    for altitude in ALTITUDES {
        let file = |records| [b"REDIS0011", &record.repeat(records)[..], b"\xff", &[0; 8]].concat();
        let held = [100, 100_000].map(|records| held(&file(records), 1000, altitude));
        assert!(held[1] <= held[0] + 100, "{altitude:?}: {held:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_damage_makes_a_file_take_more_memory(
        choice in any::<prop::sample::Index>(),
        damage in prop::collection::vec(damage::any(), 1..6),
        piece in 1_usize..2000,
        altitude in prop::sample::select(&ALTITUDES[..]),
    ) {
        let fixtures = damage::fixtures(20_000);
        let file = Damage::all(&damage, &choice.get(fixtures).bytes);
        let held = held(&file, piece, altitude);
        prop_assert!(held <= held_max(&file), "{} bytes of {}", held, file.len());
    }
}
