//! Hostile input: one row for each way in which a file can lie about itself, and what must become
//! of it. The text of an error says which check it was that noticed; every check has its row.

mod forks;
mod packed;
mod streams;
mod strings;
mod values;
mod vectors;

use std::{fs, path::Path};

use keyferry::rdb::{Altitude, Error, ErrorKind, Event, Limits, Parser};

use crate::fuzz::{read, small_limits, whole_is_split};

/// A way to lie by name, the file that does, and what must become of it.
type Trap = (&'static str, Vec<u8>, Fate);

/// What must become of a trap.
enum Fate {
    /// Noticed by the check of this text.
    Corrupt(&'static str),
    /// Refused for its size.
    TooLarge,
    /// Believed until the input ends.
    Truncated,
    /// Not known, at this offset.
    Unknown(u64),
    /// Passed over: servers write or load such a thing.
    Passes,
}
use Fate::{Corrupt, Passes, TooLarge, Truncated, Unknown};

/// A file of these records.
fn file(records: &[u8]) -> Vec<u8> {
    [b"REDIS0015", records, b"\xff", &[0; 8]].concat()
}

/// A file of one value.
fn value(value_type: u8, body: &[u8]) -> Vec<u8> {
    file(&[&[value_type], &b"\x01k"[..], body].concat())
}

/// A file that ends in the middle of one value.
fn cut(value_type: u8, body: &[u8]) -> Vec<u8> {
    [b"REDIS0015", &[value_type][..], b"\x01k", body].concat()
}

/// A file of one hash of Valkey with expiring fields.
fn valkey_hash(body: &[u8]) -> Vec<u8> {
    [b"VALKEY080\x16\x01k", body, b"\xff", &[0; 8]].concat()
}

fn listpack(count: u16, elements: &[u8]) -> Vec<u8> {
    let size = (elements.len() as u32 + 7).to_le_bytes();
    [&size[..], &count.to_le_bytes(), elements, b"\xff"].concat()
}

/// All of them.
fn traps() -> Vec<Trap> {
    let rows = [
        strings::traps(),
        packed::traps(),
        values::traps(),
        vectors::traps(),
        streams::traps(),
        forks::traps(),
    ];
    rows.into_iter().flatten().collect()
}

/// 2^64-1 as a length.
const MOST: &[u8] = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
/// 2^62 as a length.
const MUCH: &[u8] = b"\x81\x40\0\0\0\0\0\0\0";
/// Reads by element, and what has no elements raw.
fn end(file: &[u8]) -> Result<(), Error> {
    let raw = Altitude::Raw {
        bytes_max: usize::MAX,
    };
    match end_at(file, Altitude::Elements) {
        Err(error) if matches!(error.kind, ErrorKind::NoElements(_)) => end_at(file, raw),
        end => end,
    }
}

fn end_at(file: &[u8], altitude: Altitude) -> Result<(), Error> {
    let mut parser = Parser::new(Limits {
        section_bytes_max: 10_000,
        ..small_limits()
    });
    parser.feed(file);
    while let Some(event) = parser.next_event()? {
        if matches!(event, Event::Key(_)) {
            parser.choose(altitude);
        }
    }
    parser.finish()
}

#[test]
fn every_trap_is_noticed_for_what_it_is() {
    let mut wrong = Vec::new();
    for (name, file, fate) in traps() {
        let end = end(&file);
        let kind = end.as_ref().map_err(|error| &error.kind).err();
        let right = match (&fate, kind) {
            (Corrupt(what), Some(ErrorKind::Corrupt(found))) => found == what,
            (TooLarge, Some(ErrorKind::Limit { .. })) => true,
            (Truncated, Some(ErrorKind::Truncated)) => true,
            (
                Unknown(offset),
                Some(ErrorKind::UnsupportedType { .. } | ErrorKind::UnsupportedOpcode { .. }),
            ) => end.as_ref().is_err_and(|error| error.offset == *offset),
            (Passes, None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {end:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_trap_is_the_same_in_pieces() {
    for (_, file, _) in traps() {
        for sizes in [&[1][..], &[7], &[13, 1]] {
            whole_is_split(&file, sizes, Altitude::Elements);
        }
    }
}

/// The limits let lies up to 512 MiB pass; nothing is taken for them all the same, but what the
/// decoder of a section takes for itself.
#[test]
fn no_trap_takes_memory() {
    let limits = Limits {
        section_bytes_max: 100,
        ..Limits::default()
    };
    for (name, file, _) in traps() {
        let held = allocation_counter::measure(|| {
            let mut parser = Parser::new(limits);
            parser.feed(&file);
            while let Ok(Some(_)) = parser.next_event() {}
        });
        let decoder = if name.contains("section") {
            DECODER_BYTES
        } else {
            0
        };
        let most = 4000 + 3 * file.len() as u64 + decoder;
        assert!(held.bytes_max < most, "{name}: {} bytes", held.bytes_max);
    }
}

/// What the decoders of Zstandard and of LZ4 take for a section of any size.
const DECODER_BYTES: u64 = 200_000;

/// An expiry is what the file says, whenever that is.
#[test]
fn the_ends_of_time_are_times() {
    for (bytes, expected) in [
        ([b"\xfc", &i64::MIN.to_le_bytes()[..]].concat(), i64::MIN),
        ([b"\xfc", &i64::MAX.to_le_bytes()[..]].concat(), i64::MAX),
        ([b"\xfc", &(-1_i64).to_le_bytes()[..]].concat(), -1),
        (
            [b"\xfd", &i32::MIN.to_le_bytes()[..]].concat(),
            i64::from(i32::MIN) * 1000,
        ),
    ] {
        let file = file(&[&bytes[..], b"\0\x01k\0"].concat());
        let events = read([&file[..]], Altitude::Skip, small_limits()).events;
        let expiry = events.iter().find_map(|event| match event {
            Event::Key(key) => Some(key.expire_at_ms),
            _ => None,
        });
        assert_eq!(expiry, Some(Some(expected)));
    }
}

/// Each text that a check of the parser gives has its row: a check without one could be taken away
/// and no test would notice.
#[test]
fn every_check_has_a_trap() {
    let tested: Vec<_> = traps()
        .into_iter()
        .filter_map(|(_, _, fate)| match fate {
            Corrupt(what) => Some(what),
            _ => None,
        })
        .collect();
    let mut checks = Vec::new();
    checks_in(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rdb"),
        &mut checks,
    );
    assert!(checks.len() > 50, "only {} checks were found", checks.len());
    let missing: Vec<_> = checks
        .iter()
        .filter(|what| !tested.contains(&what.as_str()) && !ELSEWHERE.contains(&what.as_str()))
        .collect();
    assert!(missing.is_empty(), "no trap for {missing:?}");
}

/// Checks of what is no file, or that no file gets to.
const ELSEWHERE: [&str; 4] = [
    // Of what is at hand as a whole: `rdb/value/mod.rs`.
    "the body goes on behind its value",
    "no value of this type is packed",
    // Of payloads: `rdb/value/template_hash.rs`.
    "undefined form of a hash's field names",
    // Of the first nine bytes: `rdb/header.rs`.
    "impossible RDB version",
];

/// The texts of the errors in the source, without that of tests and of conversions, which read
/// nothing that was not read before.
fn checks_in(folder: &Path, checks: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("convert") {
                checks_in(&path, checks);
            }
            continue;
        }
        let source = fs::read_to_string(&path).unwrap().replace("(\n", "(");
        let code = source
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        for call in [
            "Flaw(\"",
            "corrupt(\"",
            "flaw(\"",
            "Corrupt(\"",
            "&str = \"",
        ] {
            let after = code.split(call).skip(1);
            checks.extend(after.filter_map(|text| Some(text.split_once('"')?.0.to_owned())));
        }
    }
}
