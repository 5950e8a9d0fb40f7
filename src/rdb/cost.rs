//! What reading costs, counted: inputs that are made to cost much are read in a number of steps,
//! and with a number of bytes copied, that grows like the input.

use std::cell::Cell;

use bytes::BufMut;

use super::length::{put_length, put_string};
use super::{Altitude, Event, Limits, Parser};

thread_local! {
    /// How many reads this thread made, see [`count_read`](super::cursor::count_read).
    pub(crate) static READS: Cell<u64> = const { Cell::new(0) };
}

/// What it took to read a file.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Reads and events.
    steps: u64,
    /// Bytes that were ever allocated, which those that are copied are among.
    allocated: u64,
    /// Bytes that were held at a time.
    held: u64,
}

/// Reads a whole file in pieces of this size. Nothing of it is kept but the last event.
fn cost(file: &[u8], piece: usize, altitude: Altitude, limits: Limits) -> Cost {
    let mut events = 0;
    READS.set(0);
    let allocations = allocation_counter::measure(|| {
        let mut parser = Parser::new(limits);
        let mut last = None;
        for piece in file.chunks(piece) {
            parser.feed(piece);
            while let Some(event) = parser.next_event().unwrap() {
                events += 1;
                match event {
                    Event::Key(_) => parser.choose(altitude),
                    Event::Measured { .. } => parser.choose(Altitude::Skip),
                    _ => {}
                }
                last = Some(event);
            }
        }
        drop(last);
        parser.finish().unwrap();
    });
    Cost {
        steps: READS.get() + events,
        allocated: allocations.bytes_total,
        held: allocations.bytes_max,
    }
}

/// A file of records.
fn file(records: &[u8]) -> Vec<u8> {
    [b"REDIS0013", records, b"\xff", &[0; 8]].concat()
}

/// A file of one value.
fn value(value_type: u8, body: &[u8]) -> Vec<u8> {
    file(&[&[value_type], &b"\x01k"[..], body].concat())
}

fn counted(count: usize, each: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    put_length(&mut out, count as u64);
    (0..count).for_each(|n| out.extend(each(n)));
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, bytes);
    out
}

/// A string of one literal and copies that make 264 bytes out of three.
fn bomb(copies: usize) -> Vec<u8> {
    let compressed = [b"\0a", &b"\xe0\xff\0".repeat(copies)[..]].concat();
    let mut out = vec![0xc3];
    put_length(&mut out, compressed.len() as u64);
    put_length(&mut out, 1 + 264 * copies as u64);
    out.extend(compressed);
    out
}

/// A string of literals: there is a step for every two bytes.
fn literals(count: usize) -> Vec<u8> {
    let mut out = vec![0xc3];
    put_length(&mut out, 2 * count as u64);
    put_length(&mut out, count as u64);
    out.extend(b"\0a".repeat(count));
    out
}

fn listpack(elements: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    blob.put_u32_le(elements.len() as u32 + 7);
    blob.put_u16_le(u16::MAX);
    blob.put_slice(elements);
    blob.put_u8(0xff);
    blob
}

fn ziplist(entries: &[u8], last: usize) -> Vec<u8> {
    let mut blob = Vec::new();
    blob.put_u32_le(entries.len() as u32 + 11);
    blob.put_u32_le(last as u32 + 10);
    blob.put_u16_le(u16::MAX);
    blob.put_slice(entries);
    blob.put_u8(0xff);
    blob
}

fn intset(members: usize) -> Vec<u8> {
    let mut blob = Vec::new();
    blob.put_u32_le(2);
    blob.put_u32_le(members as u32);
    (0..members).for_each(|n| blob.put_i16_le(n as i16));
    blob
}

/// A node of a stream: its id, and its listpack without an entry but the master entry.
fn empty_node(n: usize) -> Vec<u8> {
    let id = (n as u128 + 1).to_be_bytes();
    let master = b"\0\x01\0\x01\0\x01\0\x01";
    [string(&id), string(&listpack(master))].concat()
}

/// A node with one entry of so many fields, which the master entry names, and a second one.
fn wide_node(fields: usize) -> Vec<u8> {
    // 64 bits, and the length to walk backwards by.
    let int = |n: usize| [&[0xf4][..], &(n as u64).to_le_bytes(), &[9]].concat();
    let mut elements = b"\x02\x01\0\x01".to_vec();
    elements.extend(int(fields));
    elements.extend(b"\x80\x01".repeat(fields));
    elements.extend(b"\0\x01");
    for seq in 1..=2 {
        // The same fields, as the flags say.
        elements.extend([2, 1, 0, 1, seq, 1]);
        elements.extend(b"\x80\x01".repeat(fields));
        elements.extend(int(fields + 3));
    }
    [string(&[0; 16]), string(&listpack(&elements))].concat()
}

fn stream_id(n: usize) -> [u8; 16] {
    (n as u128).to_be_bytes()
}

/// A stream with one group, in which so many entries are pending in descending order, all of them
/// claimed by each of two consumers.
fn pending(entries: usize) -> Vec<u8> {
    let mut body = b"\0\0\0\0\x01\x01g\0\0".to_vec();
    body.extend(counted(entries, |n| {
        [&stream_id(entries - n)[..], &[0; 8], &[1]].concat()
    }));
    body.extend(counted(2, |_| {
        let owned = counted(entries, |n| stream_id(n + 1).to_vec());
        [&b"\x01c"[..], &[0; 8], &owned].concat()
    }));
    body
}

/// A stream with so many groups of so many consumers that have nothing.
fn groups(count: usize) -> Vec<u8> {
    let each = |_| {
        [
            b"\x01g\0\0\0",
            &counted(3, |_| b"\x01c\0\0\0\0\0\0\0\0\0".to_vec())[..],
        ]
        .concat()
    };
    [b"\0\0\0\0", &counted(count, each)[..]].concat()
}

/// The inputs by name, of so many items each.
fn floods(n: usize) -> Vec<(&'static str, Vec<u8>)> {
    let zeros = vec![0; n];
    let empty_ziplist = string(&ziplist(b"", 0));
    let empty_listpack = [&[2][..], &string(&listpack(b""))].concat();
    let pairs = |_| b"\x01f\x01v".to_vec();
    vec![
        ("tiny records", file(&b"\0\x01k\xc0\x01".repeat(n))),
        (
            "expiries of no key",
            file(&[&b"\xfd\0\0\0\0".repeat(n)[..], b"\0\x01k\0"].concat()),
        ),
        ("AUX fields", file(&b"\xfa\x01a\x01b".repeat(n))),
        ("databases", file(&b"\xfe\x01\xfb\x01\0".repeat(n))),
        ("functions", file(&b"\xf5\x01f".repeat(n))),
        (
            "functions in parts",
            file(&b"\xf6\x01l\x03LUA\0\x01c".repeat(n)),
        ),
        ("slot hints", file(&b"\xf4\x01\x01\0".repeat(n))),
        (
            "module data",
            file(&[b"\xf7\x01\x02\x01", &b"\x02\x07".repeat(n)[..], b"\0"].concat()),
        ),
        (
            "key metadata",
            file(&b"\xf3\x01ABCD\x02\x07\0\0\x01k\0".repeat(n)),
        ),
        ("a string", value(0, &string(&zeros))),
        (
            "an element",
            value(1, &[&[1], &string(&zeros)[..]].concat()),
        ),
        ("an LZF string", value(0, &literals(n))),
        (
            "an LZF element",
            value(1, &[&[1], &literals(n)[..]].concat()),
        ),
        ("a bomb in a string", value(0, &bomb(n / 10))),
        (
            "a bomb in an element",
            value(1, &[&[1], &bomb(n / 10)[..]].concat()),
        ),
        ("elements", value(2, &counted(n, |_| b"\0".to_vec()))),
        (
            "scores as text",
            value(3, &counted(n, |_| b"\x01m\x031.5".to_vec())),
        ),
        ("fields", value(4, &counted(n, pairs))),
        (
            "items of a module",
            value(7, &[b"\x01", &b"\x05\x01x".repeat(n)[..], b"\0"].concat()),
        ),
        ("a ziplist", value(10, &string(&one_ziplist(n)))),
        ("an intset", value(11, &string(&intset(n)))),
        (
            "a listpack",
            value(20, &string(&listpack(&b"\x01\x01".repeat(n)))),
        ),
        (
            "a zipmap",
            value(
                9,
                &string(&[b"\xfe", &b"\0\0\0".repeat(n)[..], b"\xff"].concat()),
            ),
        ),
        (
            "empty ziplists",
            value(14, &counted(n, |_| empty_ziplist.clone())),
        ),
        (
            "empty listpacks",
            value(18, &counted(n, |_| empty_listpack.clone())),
        ),
        (
            "empty nodes",
            value(15, &[&counted(n, empty_node)[..], b"\0\0\0\0"].concat()),
        ),
        (
            "wide entries",
            value(
                15,
                &[&counted(1, |_| wide_node(n))[..], b"\0\0\0\0"].concat(),
            ),
        ),
        ("pending entries", value(15, &pending(n))),
        ("groups", value(15, &groups(n))),
    ]
}

/// A ziplist of so many zeros.
fn one_ziplist(entries: usize) -> Vec<u8> {
    let rest = b"\x02\xf1".repeat(entries - 1);
    ziplist(&[b"\0\xf1", &rest[..]].concat(), rest.len())
}

const ALTITUDES: [Altitude; 7] = [
    Altitude::Elements,
    Altitude::Encoded,
    Altitude::Pieces,
    Altitude::Skip,
    Altitude::Raw {
        bytes_max: usize::MAX,
    },
    Altitude::Raw { bytes_max: 30 },
    Altitude::Measure {
        bytes_max: usize::MAX,
    },
];

/// Four times as much of anything costs four times as much, whether it comes whole, in pieces or
/// byte by byte. What is sorted may cost a little more; the square would be 16 times.
#[test]
fn the_cost_of_a_flood_grows_like_the_flood() {
    let small_chunks = Limits {
        chunk_bytes_max: 1,
        ..Limits::default()
    };
    for (one, four) in floods(250).into_iter().zip(floods(1000)) {
        let (name, one) = one;
        for altitude in ALTITUDES {
            if matches!(altitude, Altitude::Elements | Altitude::Encoded)
                && name.ends_with("of a module")
            {
                continue;
            }
            for (piece, limits) in [
                (1, Limits::default()),
                (1, small_chunks),
                (100, Limits::default()),
                (usize::MAX, small_chunks),
            ] {
                let [one, four] = [&one, &four.1].map(|file| cost(file, piece, altitude, limits));
                let case = format!("{name} by {piece}, {altitude:?}: {one:?}, {four:?}");
                assert!(four.steps <= 5 * one.steps + 100, "{case}");
                assert!(four.allocated <= 6 * one.allocated + 10_000, "{case}");
                assert!(four.held <= 5 * one.held + 10_000, "{case}");
            }
        }
    }
}

/// What is held for a value that passes is no more than a piece of the input: nothing gathers.
#[test]
fn what_passes_is_not_held() {
    for (name, file) in floods(10_000) {
        for altitude in [Altitude::Skip, Altitude::Pieces] {
            let held = cost(&file, 1000, altitude, Limits::default()).held;
            assert!(held < 8_000, "{name}, {altitude:?}: {held} bytes");
        }
    }
}

/// A string that stands before something is inflated once, not once for each byte of that.
#[test]
fn a_string_is_inflated_once_however_slowly_the_rest_arrives() {
    let long_score = [&bomb(100)[..], b"\xc8", &b"1".repeat(200)].concat();
    let idempotent = [
        b"\0\0\0\0\0\0\0\0\0\0\x01\x01\x01\x01p\x01",
        &bomb(100)[..],
        b"\x81\0\0\0\0\0\0\0\x01\x81\0\0\0\0\0\0\0\x01\0\0",
    ]
    .concat();
    let group = [
        b"\0\0\0\0\x01",
        &bomb(100)[..],
        b"\x81\0\0\0\0\0\0\0\x01\x81\0\0\0\0\0\0\0\x01\0\x01",
        &bomb(100),
        &[0; 9],
    ]
    .concat();
    for (name, value_type, body, inflated) in [
        ("score", 3, [&[1], &long_score[..]].concat(), 1),
        (
            "binary score",
            5,
            [&[1], &bomb(100)[..], &[0; 8]].concat(),
            1,
        ),
        ("group and consumer", 15, group, 2),
        ("idempotent id", 26, idempotent, 1),
    ] {
        let file = value(value_type, &body);
        let byte_by_byte = cost(&file, 1, Altitude::Elements, Limits::default());
        let once = 264 * 100 * inflated;
        assert!(
            byte_by_byte.allocated < once + 20_000,
            "{name}: {byte_by_byte:?}"
        );
    }
}
