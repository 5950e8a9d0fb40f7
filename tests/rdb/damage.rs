//! Files that were damaged: whatever is done to them, reading ends, in the same place however the
//! rest arrives.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixture::{self, Fixture};
use crate::fuzz::{self, ALTITUDES, altitudes_agree, whole_is_split};

/// One thing that is done to a file behind its header.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    /// Other bytes in the place of some.
    Overwrite(Index, Vec<u8>),
    /// One bit.
    Flip(Index, u8),
    /// Bytes that were not there.
    Insert(Index, Vec<u8>),
    /// So many bytes are gone.
    Delete(Index, usize),
    /// So many bytes are there twice.
    Repeat(Index, usize),
    /// The end is gone.
    Truncate(Index),
}

/// Any damage; what is written are bytes as they stand in files, and lengths that lie.
pub(crate) fn any() -> impl Strategy<Value = Damage> {
    let bytes = prop_oneof![
        prop::collection::vec(proptest::prelude::any::<u8>(), 1..10),
        prop::sample::select(&LIES[..]).prop_map(<[u8]>::to_vec),
    ];
    let at = proptest::prelude::any::<Index>;
    prop_oneof![
        (at(), bytes.clone()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1..40_usize).prop_map(|(at, len)| Damage::Delete(at, len)),
        (at(), 1..40_usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
        at().prop_map(Damage::Truncate),
    ]
}

/// Lengths, counts, opcodes and ends where there were others.
const LIES: [&[u8]; 14] = [
    b"\0",
    b"\x3f",
    b"\x7f\xff",
    b"\x80\x7f\xff\xff\xff",
    b"\x80\xff\xff\xff\xff",
    b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xc0\x7f",
    b"\xc3\x7f\xff\x7f\xff",
    b"\xc3\x80\0\xff\xff\xff\x80\x1f\xff\xff\xff",
    b"\xf0\xff\xff\xff\xff",
    b"\xfe\xff\xff\xff\xff",
    b"\xff",
    b"\xff\xff\xff\xff",
];

/// The header stays as it is: damage to it says nothing about the rest.
const HEADER_BYTES: usize = 9;

impl Damage {
    /// Does one thing after the other to a file.
    pub(crate) fn all(damage: &[Self], file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        damage.iter().for_each(|damage| damage.to(&mut file));
        file
    }

    fn to(&self, file: &mut Vec<u8>) {
        let place = |at: &Index, file: &[u8]| HEADER_BYTES + at.index(file.len() - HEADER_BYTES);
        if file.len() <= HEADER_BYTES {
            return;
        }
        match self {
            Self::Overwrite(at, bytes) => {
                let at = place(at, file);
                let end = (at + bytes.len()).min(file.len());
                file.splice(at..end, bytes.iter().copied());
            }
            Self::Flip(at, bit) => {
                let at = place(at, file);
                file[at] ^= 1 << bit;
            }
            Self::Insert(at, bytes) => {
                let at = place(at, file);
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Delete(at, len) => {
                let at = place(at, file);
                file.drain(at..(at + len).min(file.len()));
            }
            Self::Repeat(at, len) => {
                let at = place(at, file);
                let end = (at + len).min(file.len());
                file.extend_from_within(at..end);
                // Behind the first time it stands there.
                file[at..].rotate_right(end - at);
            }
            Self::Truncate(at) => file.truncate(place(at, file)),
        }
    }
}

/// The fixtures up to a size that have something behind the header; read once.
pub(crate) fn fixtures(bytes_max: usize) -> &'static [Fixture] {
    static FIXTURES: OnceLock<Vec<Fixture>> = OnceLock::new();
    let fixtures = FIXTURES.get_or_init(|| {
        let mut fixtures = fixture::rdbs();
        fixtures.retain(|fixture| fixture.bytes.len() > 20);
        fixtures.sort_by_key(|fixture| fixture.bytes.len());
        fixtures
    });
    let end = fixtures.partition_point(|fixture| fixture.bytes.len() <= bytes_max);
    &fixtures[..end]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_files_read_the_same_whole_and_cut(
        choice in proptest::prelude::any::<Index>(),
        damage in prop::collection::vec(any(), 1..6),
        sizes in prop::collection::vec(1_usize..300, 1..20),
        altitude in prop::sample::select(&ALTITUDES[..]),
    ) {
        let file = Damage::all(&damage, &choice.get(fixtures(8_000)).bytes);
        whole_is_split(&file, &sizes, altitude);
        altitudes_agree(&file);
    }

    /// Where a file ends too early, reading ends there and says so, unless it had failed before.
    #[test]
    fn truncated_files_end_where_they_end(choice in proptest::prelude::any::<Index>(), at in proptest::prelude::any::<Index>()) {
        let whole = &choice.get(fixtures(20_000)).bytes;
        let cut = at.index(whole.len());
        let altitude = keyferry::rdb::Altitude::Elements;
        let full = fuzz::read([&whole[..]], altitude, fuzz::small_limits());
        let short = fuzz::read([&whole[..cut]], altitude, fuzz::small_limits());
        prop_assert!(full.events.starts_with(&short.events));
        match (short.end, full.end) {
            (Ok(()), full) => prop_assert_eq!(full, Ok(())),
            (Err(error), _) if error.kind == keyferry::rdb::ErrorKind::Truncated => {
                prop_assert_eq!(error.offset, cut as u64);
            }
            (error, full) => prop_assert_eq!(error, full),
        }
    }
}
