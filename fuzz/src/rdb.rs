//! RDB files and RESTORE payloads, whatever they are.

use bytes::Bytes;
use keyferry::rdb::{
    Altitude, Error, ErrorKind, Event, FieldExpiry, Limits, Parser, Part, PlainEncoder,
    StreamConsumer, ValueParser, ValueType, convert_stream, payload,
};

/// Everything a parser made of an input.
#[derive(Debug, PartialEq)]
pub struct Reading {
    /// Its events.
    pub events: Vec<Event>,
    /// How it ended.
    pub end: Result<(), Error>,
    /// How many bytes it made use of.
    pub offset: u64,
    /// What it left over after a good end.
    pub rest: Bytes,
}

/// Reads an input that arrives in pieces, each value at this altitude. Values of modules are read
/// raw at any altitude that shows content.
pub fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    altitude: Altitude,
    limits: Limits,
) -> Reading {
    let mut parser = Parser::new(limits);
    let mut events = Vec::new();
    let mut end = Ok(());
    for piece in pieces {
        parser.feed(piece);
        end = drain(&mut parser, altitude, &mut events);
        if end.is_err() {
            break;
        }
    }
    let end = end.and_then(|()| parser.finish());
    let offset = if end.is_ok() { parser.offset() } else { 0 };
    let rest = if end.is_ok() {
        parser.take_rest()
    } else {
        Bytes::new()
    };
    Reading {
        events,
        end,
        offset,
        rest,
    }
}

fn drain(parser: &mut Parser, altitude: Altitude, events: &mut Vec<Event>) -> Result<(), Error> {
    while let Some(event) = parser.next_event()? {
        if let Event::Key(key) = &event {
            parser.choose(match altitude {
                Altitude::Elements if key.value_type.byte == 7 => Altitude::Raw { bytes_max: 0 },
                altitude => altitude,
            });
        }
        events.push(event);
    }
    Ok(())
}

/// Cuts an input into pieces of these sizes, over and over.
pub fn pieces<'a>(input: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut sizes = sizes.iter().cycle();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .copied()
            .unwrap_or(rest.len())
            .clamp(1, rest.len());
        let (piece, after) = rest.split_at(size);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Small limits, so that every path is taken by small inputs.
pub fn small_limits() -> Limits {
    Limits {
        chunk_bytes_max: 64,
        string_bytes_max: 1 << 20,
        module_body_max: 1 << 12,
        template_bytes_max: 1 << 12,
        section_bytes_max: 1 << 20,
    }
}

/// An RDB reads the same whole and cut, whatever it is; the first three bytes choose the cut and
/// the altitude.
pub fn rdb(data: &[u8]) {
    let Some((&[one, two, altitude], input)) = data.split_first_chunk() else {
        return;
    };
    let altitude = match altitude % 4 {
        0 => Altitude::Elements,
        1 => Altitude::Skip,
        2 => Altitude::Raw { bytes_max: 128 },
        _ => Altitude::Raw {
            bytes_max: usize::MAX,
        },
    };
    whole_is_split(input, &[one.into(), two.into()], altitude);
}

/// An input reads the same whole and in pieces of these sizes.
///
/// # Panics
///
/// If it does not.
pub fn whole_is_split(input: &[u8], sizes: &[usize], altitude: Altitude) {
    let whole = read([input], altitude, small_limits());
    let split = read(pieces(input, sizes), altitude, small_limits());
    // What follows the end may not have arrived in one piece, but all of it is there.
    assert_eq!(whole, split, "sizes {sizes:?}, {altitude:?}");
    if let (
        Ok(()),
        Altitude::Raw {
            bytes_max: usize::MAX,
        },
    ) = (&whole.end, altitude)
    {
        bodies_read_like_values(&whole.events, input);
    }
}

/// Bodies that were delivered raw read like the values they are.
fn bodies_read_like_values(raw: &[Event], input: &[u8]) {
    let elements = read([input], Altitude::Elements, small_limits());
    if elements.end.is_err() {
        return;
    }
    let mut value_type = None;
    let mut read = Vec::new();
    for event in raw {
        match event {
            Event::Key(key) => value_type = Some(key.value_type),
            Event::Body(body) if value_type.is_some_and(|value_type| value_type.byte != 7) => {
                let (Some(value_type), body) = (value_type, body.clone()) else {
                    continue;
                };
                let mut parser = ValueParser::new(value_type, body, small_limits());
                while let Some(event) = parser.next_event().expect("it was read before") {
                    read.push(event);
                }
                continue;
            }
            _ => {}
        }
        read.push(event.clone());
    }
    assert_eq!(read, elements.events);
}

/// A RESTORE payload is checked, read, and where it can be said in another form, that form reads
/// the same. The checksum is put right first, so that it hides nothing.
pub fn payload(data: &[u8]) {
    let summed = match data.split_first() {
        Some((value_type, rest)) if rest.len() >= 2 => {
            let (body, version) = rest.split_at(rest.len() - 2);
            let version = u16::from_le_bytes([version[0], version[1]]);
            [
                &[*value_type],
                body,
                &payload::footer(*value_type, body, version),
            ]
            .concat()
        }
        _ => data.to_vec(),
    };
    let _ = payload::functions(&Bytes::from(summed.clone()));
    let Ok(checked) = payload::check(&Bytes::from(summed)) else {
        return;
    };
    let Ok(parts) = parts(checked.value_type, checked.body.clone()) else {
        return;
    };
    match checked.value_type.byte {
        15 | 19 | 21 | 26 | 27 => stream_converts(checked.value_type, &checked.body, &parts),
        // Arrays and jobs have no other form.
        28 | 64 => {}
        _ => plain_reads_back(&parts),
    }
}

/// The parts of a value.
///
/// # Errors
///
/// Those of the parser.
pub fn parts(value_type: ValueType, body: Bytes) -> Result<Vec<Part>, Error> {
    let mut parser = ValueParser::new(value_type, body, small_limits());
    let mut parts = Vec::new();
    while let Some(event) = parser.next_event()? {
        if let Event::Part(part) = event {
            parts.push(part);
        }
    }
    Ok(parts)
}

/// A stream converts to every older type, and keeps what that has a place for.
///
/// # Panics
///
/// If it does not.
pub fn stream_converts(value_type: ValueType, body: &Bytes, expected: &[Part]) {
    let limits = small_limits();
    let entries = |parts: &[Part]| {
        parts
            .iter()
            .filter(|part| matches!(part, Part::StreamEntry { .. }))
            .count() as u64
    };
    for to in [15, 19, 21, 26, 27] {
        let converted = convert_stream(body, value_type, to, &limits);
        if to > value_type.byte {
            let error = converted.expect_err("only older types can be written");
            assert!(matches!(error.kind, ErrorKind::NotConvertible { .. }));
            continue;
        }
        let converted = converted.expect("what can be read can be converted");
        let to_type = ValueType::of(to, value_type.family);
        let mut read = parts(to_type, converted.into()).expect("converted streams are valid");
        if to < 27 && expected.iter().any(is_contested) {
            // Who gets an entry that several claim is another matter when one more claims it.
            continue;
        }
        let expected = if to < 27 {
            with_owners(expected)
        } else {
            expected.to_vec()
        };
        let mut kept: Vec<_> = expected
            .iter()
            .filter_map(|part| kept(part, to, entries(&expected)))
            .collect();
        // The order is the same; sorting out the counters of older types is done by `kept`.
        assert_eq!(read.len(), kept.len(), "to {to}");
        for (read, kept) in read.drain(..).zip(kept.drain(..)) {
            assert_eq!(read, kept, "to {to}");
        }
    }
}

fn is_contested(part: &Part) -> bool {
    matches!(part, Part::StreamGroupEnd(end) if end.pending_contested > 0)
}

/// The same parts with every entry that was given back owned by the first consumer of its group.
fn with_owners(parts: &[Part]) -> Vec<Part> {
    let mut owned: Vec<Part> = Vec::new();
    // Where the pending entries of the first consumer of the group end.
    let mut first: Option<usize> = None;
    let mut consumers = 0;
    for part in parts {
        match part {
            Part::StreamGroup(_) => (first, consumers) = (None, 0),
            Part::StreamConsumer(_) => {
                consumers += 1;
                if consumers == 1 {
                    first = Some(owned.len() + 1);
                }
            }
            Part::StreamPending(_) if consumers == 1 => first = first.map(|at| at + 1),
            Part::StreamNacked(pending) => {
                let at = first.unwrap_or_else(|| {
                    owned.push(Part::StreamConsumer(StreamConsumer {
                        name: "keyferry".into(),
                        seen_at_ms: 0,
                        active_at_ms: None,
                    }));
                    owned.len()
                });
                owned.insert(at, Part::StreamPending(*pending));
                first = Some(at + 1);
                continue;
            }
            _ => {}
        }
        owned.push(part.clone());
    }
    owned
}

/// What is left of a part of a stream in an older type.
fn kept(part: &Part, to: u8, entries: u64) -> Option<Part> {
    let mut part = part.clone();
    match &mut part {
        Part::StreamMeta(meta) => {
            meta.length = entries;
            if to < 19 {
                meta.max_deleted_id = None;
                meta.entries_added = None;
            }
        }
        Part::StreamGroup(group) if to < 19 => group.entries_read = None,
        Part::StreamConsumer(consumer) if to < 21 => consumer.active_at_ms = None,
        Part::StreamIdempotency(_)
        | Part::StreamIdempotentId { .. }
        | Part::StreamIdempotencyEnd { .. }
            if to < 26 =>
        {
            return None;
        }
        _ => {}
    }
    Some(part)
}

/// A value in a plain encoding reads back as it was.
///
/// # Panics
///
/// If it does not.
pub fn plain_reads_back(expected: &[Part]) {
    for field_expiry in [FieldExpiry::Redis, FieldExpiry::Valkey] {
        let mut encoder = PlainEncoder::new(field_expiry);
        for part in expected {
            encoder.push(part).expect("this is no stream");
        }
        let Some((value_type, body)) = encoder.finish() else {
            assert!(expected.is_empty());
            continue;
        };
        let read = parts(value_type, body.into()).expect("plain encodings are valid");
        let text = |parts: &[Part]| parts.iter().map(as_text).collect::<Vec<_>>();
        assert_eq!(text(&read), text(expected));
    }
}

/// The same part with integers as the text they stand for.
fn as_text(part: &Part) -> Part {
    use keyferry::rdb::Element;
    let text = |element: &Element| Element::Bytes(element.to_bytes());
    match part {
        Part::String(element) => Part::String(text(element)),
        Part::ListElement(element) => Part::ListElement(text(element)),
        Part::SetMember(element) => Part::SetMember(text(element)),
        Part::ZsetMember { member, score } => Part::ZsetMember {
            member: text(member),
            score: *score,
        },
        Part::HashField {
            field,
            value,
            expire_at_ms,
        } => Part::HashField {
            field: text(field),
            value: text(value),
            expire_at_ms: *expire_at_ms,
        },
        part => part.clone(),
    }
}
