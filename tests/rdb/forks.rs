//! Files of KeyDB, Dragonfly and Redis Enterprise, and hash templates: put together by hand from
//! what is reported of them, good and hostile.

use std::io::Write as _;

use keyferry::rdb::{Altitude, Error, ErrorKind, Event, Limits, Opaque};

use crate::fuzz::{Reading, altitudes_agree, read, whole_is_split};

const DRAGONFLY: &[u8] = b"REDIS0009\xfa\x06df-ver\x01x";
const TEMPLATES: &[u8] = b"REDIS0015\xf2\x07\x02\x01a\x01b";
const END: &[u8] = b"\xff\0\0\0\0\0\0\0\0";

const ALTITUDES: [Altitude; 5] = [
    Altitude::Elements,
    Altitude::Skip,
    Altitude::Pieces,
    Altitude::Encoded,
    Altitude::Raw {
        bytes_max: usize::MAX,
    },
];

fn file(parts: &[&[u8]]) -> Vec<u8> {
    [&parts.concat()[..], END].concat()
}

/// Reads a file, and checks that it reads the same in pieces.
fn reading(file: &[u8], altitude: Altitude) -> Reading {
    for sizes in [&[1][..], &[5, 1, 40]] {
        whole_is_split(file, sizes, altitude);
    }
    read([file], altitude, Limits::default())
}

fn error(file: &[u8]) -> Error {
    reading(file, Altitude::Elements).end.unwrap_err()
}

/// A string that holds these bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u32).to_be_bytes();
    [&[0x80], &len[..], bytes].concat()
}

/// A compressed section of these records.
fn lz4(records: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_size(Some(records.len() as u64));
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(records).unwrap();
    [&[202], &string(&encoder.finish().unwrap())[..]].concat()
}

fn zstandard(records: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let frame = ruzstd::encoding::compress_to_vec(records, level);
    [&[201], &string(&frame)[..]].concat()
}

/// The records of Dragonfly that stand beside the data are passed over, or named.
#[test]
fn dragonflys_records_are_passed_over() {
    let index = b"\xde\x02ix\x05\x02\
        \x01\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x07\0\0\0\x08\0\0\0\0\0\0\0\
        \x02\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (name, record, expected) in [
        ("the end of a full sync", &b"\xc8abcdefgh"[..], None),
        ("an offset in the journal", b"\xd3abcdefgh", None),
        (
            "a sticky key",
            b"\xdc\x01\0\0\0",
            Some(Event::KeyFlags {
                sticky: true,
                memcached_flags: None,
            }),
        ),
        (
            "flags of memcached",
            b"\xdc\x02\0\0\0\x05\0\0\0",
            Some(Event::KeyFlags {
                sticky: false,
                memcached_flags: Some(5),
            }),
        ),
        (
            "an index over vectors",
            index,
            Some(Event::SearchIndex { name: "ix".into() }),
        ),
        (
            "an index over documents",
            b"\xdf\x03\x02ix\x02\x01a\x05\x01b\x06",
            Some(Event::SearchIndex { name: "ix".into() }),
        ),
    ] {
        let file = file(&[DRAGONFLY, record, b"\x00\x01k\x01v"]);
        let mut found = reading(&file, Altitude::Elements);
        assert_eq!(found.end, Ok(()), "{name}");
        // The header, the AUX field; the key, its value, the ends.
        let events: Vec<_> = found.events.drain(2..found.events.len() - 4).collect();
        assert_eq!(events, Vec::from_iter(expected), "{name}");
    }
}

/// Values that only Dragonfly understands come as their body, and have no elements.
#[test]
fn dragonflys_filters_are_bodies() {
    let bloom_head = b"\0ggggggggeeeeeeee\x01\x02\x03";
    let bodies: [(u8, Vec<u8>, &str); 5] = [
        (
            33,
            [&bloom_head[..], b"\x02\x03\x04bits\x05\x02bi"].concat(),
            "a Bloom filter",
        ),
        (
            34,
            [&bloom_head[..], b"\x02\x03\x05\x02bi\x03tss\x05\0"].concat(),
            "a Bloom filter",
        ),
        (
            35,
            [&b"\x02\x01\x09"[..], &[7; 16]].concat(),
            "a count-min sketch",
        ),
        (
            36,
            b"\0\x02\x01\x01ddddddddd"[..12].to_vec(),
            "a list of top elements",
        ),
        (
            37,
            b"\x01\x02\x03\x04\x05\x06\x01\x04\x01a\x03bcd".to_vec(),
            "a cuckoo filter",
        ),
    ];
    for (byte, mut body, name) in bodies {
        if byte == 36 {
            body.extend(b"\x01\x02hi\x05\x04cccc");
        }
        let file = file(&[DRAGONFLY, &[byte], b"\x01k", &body, b"\x00\x01z\x01v"]);
        let raw = reading(&file, ALTITUDES[4]);
        assert_eq!(raw.end, Ok(()), "{byte}");
        let is_body = |event: &Event| matches!(event, Event::Body(found) if found == &body[..]);
        assert!(raw.events.iter().any(is_body), "{byte}: {:?}", raw.events);
        // As those of modules, they come in pieces where they are longer than what was asked for.
        let short = reading(&file, Altitude::Raw { bytes_max: 5 });
        let is_piece =
            |event: &Event| matches!(event, Event::BodyPiece(found) if found == &body[..]);
        assert!(short.events.iter().any(is_piece), "{byte}: {short:?}");
        assert_eq!(short.end, Ok(()), "{byte}");
        altitudes_agree(&file);
        let opaque = Opaque::Dragonfly(name);
        assert_eq!(error(&file).kind, ErrorKind::NoElements(opaque), "{byte}");
    }
}

/// Found by mutation: after a piece that is too long, the walk went on behind it.
#[test]
fn pieces_of_filters_that_lie_have_one_place() {
    let head = b"\x22\x01k\0ggggggggeeeeeeee\x01\x02\x03\x01\x03\x05";
    for (name, chunks) in [("too long", &b"\x02bi\x3ftss"[..]), ("empty", b"\x02bi\0")] {
        let file = file(&[DRAGONFLY, head, chunks]);
        for altitude in [Altitude::Skip, Altitude::Pieces, ALTITUDES[4]] {
            let error = reading(&file, altitude).end.unwrap_err();
            let what = "pieces of a filter differ from its size";
            assert_eq!(error.kind, ErrorKind::Corrupt(what), "{name}, {altitude:?}");
        }
    }
}

/// Records in compressed sections read as if they stood in the file.
#[test]
fn sections_read_like_what_is_in_them() {
    let records: [&[u8]; 3] = [
        b"\xfe\x01\x00\x01a\x01v\x01\x01l\x02\x01x\x01y",
        b"\xfc\0\xd8\xc3\x2c\xbb\x03\0\0\xdc\x01\0\0\0",
        b"\x1f\x01h\x01\x01f\x01v\xc0\x05\xfe\x00",
    ];
    let plain = file(&[DRAGONFLY, &records.concat(), b"\x00\x01z\x01v"]);
    let whole = zstandard(&records.concat());
    let apart = [lz4(records[0]), zstandard(records[1]), lz4(records[2])].concat();
    for (name, sections) in [("one", whole), ("one after the other", apart)] {
        let packed = file(&[DRAGONFLY, &sections, b"\x00\x01z\x01v"]);
        for altitude in ALTITUDES {
            let (plain, packed) = (reading(&plain, altitude), reading(&packed, altitude));
            assert_eq!(plain.end, Ok(()));
            assert_eq!(
                (packed.events, packed.end),
                (plain.events, Ok(())),
                "{name}"
            );
        }
    }
}

#[test]
fn errors_in_sections_say_where_the_section_ends() {
    let bomb = zstandard(&vec![0; (64 << 20) + 1]);
    for (name, section, what) in [
        (
            "a cut record",
            lz4(b"\x00\x01k\x05v"),
            "a record leaves its compressed section",
        ),
        (
            "a cut key",
            zstandard(b"\x00\x05k"),
            "a record leaves its compressed section",
        ),
        (
            "the end of the file",
            lz4(b"\xff"),
            "the file ends inside a compressed section",
        ),
        (
            "a section",
            lz4(&lz4(b"\xfe\x00")),
            "compressed sections do not nest",
        ),
        ("a corrupt value", lz4(b"\x0b\x01k\x02ab"), ""),
        (
            "no frame",
            [&b"\xca"[..], &string(b"frame")].concat(),
            "a compressed section does not inflate",
        ),
        (
            "no frame at all",
            b"\xc9\0".to_vec(),
            "a compressed section does not inflate",
        ),
        (
            "an integer",
            b"\xc9\xc0\x05".to_vec(),
            "an integer stands in the place of a compressed section",
        ),
        ("too much", bomb, ""),
    ] {
        let file = file(&[DRAGONFLY, &section, b"\x00\x01z\x01v"]);
        let error = error(&file);
        let end = (DRAGONFLY.len() + section.len()) as u64;
        assert_eq!(error.offset, end, "{name}: {error}");
        match error.kind {
            ErrorKind::Corrupt(found) if !what.is_empty() => assert_eq!(found, what, "{name}"),
            ErrorKind::Corrupt(_) | ErrorKind::Limit { .. } if what.is_empty() => {}
            other => panic!("{name}: {other}"),
        }
    }
    // Its end may only stand inside.
    let kind = error(&file(&[DRAGONFLY, b"\xcb"])).kind;
    assert_eq!(kind, ErrorKind::Corrupt("compressed sections do not nest"));
}

/// What only forks write is refused where they did not write it, and what cannot be read by name.
#[test]
fn bytes_of_forks_are_refused_elsewhere() {
    let no_dragonfly: &[u8] = b"REDIS0009";
    let newer: &[u8] = b"REDIS0012\xfa\x06df-ver\x01x";
    for (name, head, byte, words) in [
        ("JSON", no_dragonfly, 20, "value type 20 is not supported"),
        ("JSON", no_dragonfly, 30, "value type 30 is not supported"),
        ("a filter", newer, 34, "value type 34 is not supported"),
        (
            "a section",
            no_dragonfly,
            201,
            "opcode 201 is not supported",
        ),
        ("a section", newer, 202, "opcode 202 is not supported"),
        (
            "a piece",
            DRAGONFLY,
            224,
            "opcode 224 (interleaved pieces of Dragonfly's values)",
        ),
        (
            "the journal",
            DRAGONFLY,
            210,
            "opcode 210 (a part of Dragonfly's journal)",
        ),
        ("a template", DRAGONFLY, 242, "opcode 242 is not supported"),
        (
            "a cron job",
            b"VALKEY080",
            64,
            "value type 64 is not supported",
        ),
        ("an LRU", b"VALKEY080", 107, "opcode 107 is not supported"),
        (
            "old Enterprise",
            no_dragonfly,
            101,
            "opcode 101 (written by old versions of Redis Enterprise)",
        ),
        (
            "old Enterprise",
            no_dragonfly,
            102,
            "opcode 102 (written by old versions of Redis Enterprise)",
        ),
        (
            "a module",
            no_dragonfly,
            6,
            "value type 6 (a module's value as release candidates",
        ),
        (
            "a rate limiter",
            b"REDIS0015",
            33,
            "value type 33 (the state of a rate limiter)",
        ),
        (
            "a payload's hash",
            b"REDIS0015",
            31,
            "value type 31 (a hash as only DUMP writes it)",
        ),
        (
            "templates",
            b"REDIS0014",
            242,
            "opcode 242 is not supported",
        ),
    ] {
        let error = error(&file(&[head, &[byte], b"\x01k\x01v"]));
        assert_eq!(error.offset, head.len() as u64, "{name}: {error}");
        assert!(error.kind.to_string().starts_with(words), "{name}: {error}");
    }
    let old = error(&file(&[no_dragonfly, b"\x00\x01k\xc4\x01"]));
    assert!(old.to_string().contains("string encoding 4"), "{old}");
}

/// Hashes with a template: what is wrong with them, and that they read alike at every altitude.
#[test]
fn hashes_need_their_template() {
    let packed = b"\x1e\x01k\x0e\x0e\0\0\0\x03\0\x07\x01\x81v\x02\x05\x01\xff";
    let plain = b"\x20\x01k\x07\x01v\xc0\x05";
    for record in [&packed[..], plain] {
        let file = file(&[TEMPLATES, record, b"\x00\x01z\x01v"]);
        altitudes_agree(&file);
        for altitude in ALTITUDES {
            assert_eq!(reading(&file, altitude).end, Ok(()), "{altitude:?}");
        }
    }
    let undefined = "a hash refers to a template that is not defined";
    for (name, record, what) in [
        ("undefined", &b"\x20\x01k\x06\x01v\x01w"[..], undefined),
        (
            "undefined, packed",
            b"\x1e\x01k\x0b\x0b\0\0\0\x02\0\x06\x01\x05\x01\xff",
            undefined,
        ),
        (
            "negative",
            b"\x1e\x01k\x0a\x0a\0\0\0\x01\0\xdf\xff\x02\xff",
            "impossible id of a hash template",
        ),
        (
            "a value too few",
            b"\x1e\x01k\x0b\x0b\0\0\0\x02\0\x07\x01\x05\x01\xff",
            "a packed blob ends in the middle of a pair",
        ),
        (
            "a value too many",
            b"\x1e\x01k\x0f\x0f\0\0\0\x04\0\x07\x01\x05\x01\x05\x01\x05\x01\xff",
            "a hash has more values than its template has fields",
        ),
        (
            "defined twice",
            b"\xf2\x07\x01\x01c",
            "a hash template is defined twice",
        ),
        ("no fields", b"\xf2\x08\0", "a hash template without fields"),
        (
            "not ascending",
            b"\xf2\x08\x02\x02aa\x01b",
            "the fields of a hash template do not ascend",
        ),
    ] {
        let error = error(&file(&[TEMPLATES, record]));
        assert_eq!(error.kind, ErrorKind::Corrupt(what), "{name}");
    }
    // The limit of the splitter is 4 KiB.
    let names: Vec<u8> = (0..100).flat_map(|n: u8| [1, n].to_vec()).collect();
    let many = file(&[b"REDIS0015\xf2\x01\x40\x64", &names]);
    let limits = Limits {
        template_bytes_max: 1000,
        ..Limits::default()
    };
    let refused = read([&many[..]], Altitude::Skip, limits).end.unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Limit { .. }), "{refused}");
}

#[test]
fn members_of_keydb_expire_behind_their_key() {
    let key = b"\x02\x01s\x02\x01a\x01b";
    let member = b"\xfa\x13keydb-subexpire-key\x01b";
    let time = b"\xfa\x14KEYDB-subexpire-when\x0241";
    let other = b"\xfa\x0bmvcc-tstamp\x015";
    let file = file(&[b"REDIS0009", key, member, other, time, b"\x00\x01z\x01v"]);
    for altitude in ALTITUDES {
        let found = reading(&file, altitude);
        assert_eq!(found.end, Ok(()));
        let expected = Event::MemberExpiry {
            key: "s".into(),
            member: "b".into(),
            expire_at_ms: 41,
        };
        let expiries = found.events.iter().filter(|event| **event == expected);
        assert_eq!(expiries.count(), 1, "{altitude:?}");
    }
}
