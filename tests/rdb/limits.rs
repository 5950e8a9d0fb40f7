//! Limits: long strings come in chunks, long bodies as elements, and nothing is held for a length
//! that lies.

use bytes::Bytes;
use keyferry::rdb::{Altitude, Element, Encoding, ErrorKind, Event, Limits, Opaque, Parser, Part};

use crate::fuzz::{pieces, read};

/// A file of one record: its type, the key `k`, this body.
fn file(value_type: u8, body: &[u8]) -> Vec<u8> {
    [b"REDIS0004", &[value_type][..], b"\x01k", body, b"\xff"].concat()
}

fn limits() -> Limits {
    Limits {
        chunk_bytes_max: 100,
        string_bytes_max: 1000,
        ..Limits::default()
    }
}

fn values(file: &[u8], altitude: Altitude) -> Vec<Event> {
    let reading = read(pieces(file, &[7]), altitude, limits());
    assert_eq!(reading.end, Ok(()));
    let events = reading.events.into_iter();
    events
        .filter(|event| !matches!(event, Event::Header(_) | Event::Key(_) | Event::End(_)))
        .collect()
}

fn kind(file: &[u8], altitude: Altitude) -> ErrorKind {
    read(pieces(file, &[7]), altitude, limits())
        .end
        .unwrap_err()
        .kind
}

#[test]
fn long_strings_come_in_chunks_of_one_size() {
    let text: Vec<u8> = (0..250).collect();
    let raw = [b"\x40\xfa", &text[..]].concat();
    // The same as LZF literals.
    let literals: Vec<u8> = text
        .chunks(32)
        .flat_map(|run| [&[run.len() as u8 - 1], run].concat())
        .collect();
    let lzf = [&[0xc3, 0x41, 0x02, 0x40, 0xfa], &literals[..]].concat();
    for (name, body) in [("raw", raw), ("LZF", lzf)] {
        let chunk = |range| Event::Part(Part::StringChunk(Bytes::copy_from_slice(&text[range])));
        let expected = [
            Event::Part(Part::StringStart { len: 250 }),
            chunk(0..100),
            chunk(100..200),
            chunk(200..250),
            Event::ValueEnd,
        ];
        assert_eq!(
            values(&file(0, &body), Altitude::Elements),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_body_over_the_limit_comes_as_elements() {
    let body = b"\x02\x01a\x03bcd";
    let raw = |bytes_max| values(&file(1, body), Altitude::Raw { bytes_max });
    assert_eq!(raw(7), [Event::Body(Bytes::from_static(body))]);
    let element = |text| Event::Part(Part::ListElement(Element::Bytes(Bytes::from_static(text))));
    assert_eq!(raw(6), [element(b"a"), element(b"bcd"), Event::ValueEnd]);
    assert_eq!(values(&file(1, body), Altitude::Skip), [Event::ValueEnd]);
}

#[test]
fn what_is_stored_comes_in_blobs_and_single_elements() {
    let listpack = b"\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff";
    let body = [b"\x02\x02\x0c", &listpack[..], b"\x01\x05plain"].concat();
    let expected = [
        Event::Blob {
            encoding: Encoding::Listpack,
            bytes: Bytes::from_static(listpack),
        },
        Event::Part(Part::ListElement(Element::Bytes("plain".into()))),
        Event::ValueEnd,
    ];
    assert_eq!(values(&file(18, &body), Altitude::Encoded), expected);
}

#[test]
fn a_measured_value_is_still_to_come() {
    let body = b"\x02\x01a\x03bcd";
    let measure = |bytes_max| values(&file(1, body), Altitude::Measure { bytes_max });
    let whole = Event::Body(Bytes::from_static(body));
    let measured = |bytes| Event::Measured { bytes };
    assert_eq!(measure(7), [measured(Some(7)), whole]);
    let over = measure(6);
    assert_eq!(over.first(), Some(&measured(None)));
    assert_eq!(
        over.get(1..),
        Some(&values(&file(1, body), Altitude::Elements)[..])
    );
}

#[test]
fn a_body_of_any_length_comes_in_pieces() {
    // Longer than the parser may hold of a string.
    let body = [&b"\x80\0\0\x10\0"[..], &[b'x'; 4096]].concat();
    let pieces = values(&file(0, &body), Altitude::Pieces);
    assert_eq!(pieces, [Event::BodyPiece(body.into()), Event::ValueEnd]);
}

#[test]
fn modules_have_bodies_only() {
    // Not quite that of vector sets.
    let id = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb8\x00";
    let small = [&id[..], b"\x02\x07\x00"].concat();
    let raw = |bytes_max| Altitude::Raw { bytes_max };
    let whole = [Event::Body(small.clone().into())];
    assert_eq!(values(&file(7, &small), raw(small.len())), whole);
    for bytes_max in [0, 5, small.len() - 1] {
        let found = values(&file(7, &small), raw(bytes_max));
        assert_eq!(joined(&found), small, "{bytes_max}");
        assert_eq!(found.last(), Some(&Event::ValueEnd), "{bytes_max}");
    }
    let element = crate::fuzz::parts(keyferry::rdb::ValueType::common(7), small.into());
    let module = Opaque::Module("vectorseu".to_owned());
    assert_eq!(element.unwrap_err().kind, ErrorKind::NoElements(module));
}

/// The bytes of pieces.
fn joined(events: &[Event]) -> Vec<u8> {
    let pieces = events.iter().filter_map(|event| match event {
        Event::BodyPiece(piece) => Some(&piece[..]),
        _ => None,
    });
    pieces.collect::<Vec<_>>().concat()
}

/// However long a value is, no more of it is held than was asked for.
#[test]
fn a_module_over_the_limit_takes_no_memory() {
    let id = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb8\x00";
    let items = b"\x02\x81\0\0\0\0\0\0\0\x07".repeat(200_000);
    let file = file(7, &[&id[..], &items, b"\0"].concat());
    let held = allocation_counter::measure(|| {
        let mut parser = Parser::new(Limits::default());
        let mut bytes = 0;
        for piece in file.chunks(4096) {
            parser.feed(piece);
            while let Some(event) = parser.next_event().unwrap() {
                match event {
                    Event::Key(_) => parser.choose(Altitude::Raw { bytes_max: 10_000 }),
                    Event::BodyPiece(piece) => bytes += piece.len(),
                    _ => {}
                }
            }
        }
        assert_eq!(bytes, id.len() + items.len() + 1);
    });
    assert!(held.bytes_max < 200_000, "{} bytes", held.bytes_max);
}

#[test]
fn a_vector_set_over_the_limit_comes_as_elements() {
    // Two dimensions, one element of 8 bits, three parameters.
    let body = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x02\x02\x02\x01\x02\x50\x01\x02\x00\
        \x05\x01e\x05\x02\x7f\x81\x02\x03\x02\x07\x02\x00\x02\x81\x3f\x80\0\0\x3f\x80\0\0\0";
    let found = values(&file(7, body), Altitude::Raw { bytes_max: 20 });
    let [
        Event::Part(Part::VectorSet(_)),
        Event::Part(Part::Vector(vector)),
        Event::ValueEnd,
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(vector.element, "e");
    let whole = values(
        &file(7, body),
        Altitude::Raw {
            bytes_max: body.len(),
        },
    );
    assert_eq!(whole, [Event::Body(Bytes::from_static(body))]);
}

#[test]
fn strings_over_the_limit_are_refused_before_they_arrive() {
    for (name, value_type, body) in [
        ("a string", 0, &b"\x43\xe9"[..]),
        ("an element", 1, b"\x01\x43\xe9"),
        ("a blob", 16, b"\x80\x7f\xff\xff\xff"),
        ("LZF", 0, b"\xc3\x3f\x43\xe9"),
    ] {
        let kind = kind(&file(value_type, body), Altitude::Elements);
        assert!(
            matches!(kind, ErrorKind::Limit { limit: 1000, .. }),
            "{name}: {kind:?}"
        );
    }
}

/// The best ratio there is: 264 bytes out of 3. As a string it comes in chunks, as an element it
/// is held up to the limit.
#[test]
fn a_compression_bomb_is_bounded_by_the_limits() {
    let compressed = [&b"\x00a"[..], &b"\xe0\xff\x00".repeat(4000)].concat();
    let original = 1 + 264 * 4000_u32;
    let string = [
        &b"\xc3\x80"[..],
        &(compressed.len() as u32).to_be_bytes(),
        &b"\x80"[..],
    ];
    let string = [&string.concat()[..], &original.to_be_bytes(), &compressed].concat();
    let reading = |value_type, body: &[u8], string_bytes_max| {
        let limits = Limits {
            string_bytes_max,
            ..limits()
        };
        read(
            pieces(&file(value_type, body), &[500]),
            Altitude::Elements,
            limits,
        )
    };
    let chunks = reading(0, &string, original.into()).events;
    let len = |event: &Event| match event {
        Event::Part(Part::StringChunk(bytes)) => bytes.len(),
        _ => 0,
    };
    assert_eq!(chunks.iter().map(len).max(), Some(100));
    assert_eq!(chunks.iter().map(len).sum::<usize>(), original as usize);
    let element = [b"\x01", &string[..]].concat();
    assert_eq!(reading(1, &element, original.into()).end, Ok(()));
    let refused = reading(1, &element, u64::from(original) - 1)
        .end
        .unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Limit { .. }), "{refused}");
}

#[test]
fn empty_collections_end_at_once() {
    for value_type in [1, 2, 3, 4, 5, 14, 18] {
        assert_eq!(
            values(&file(value_type, b"\0"), Altitude::Elements),
            [Event::ValueEnd]
        );
    }
}
