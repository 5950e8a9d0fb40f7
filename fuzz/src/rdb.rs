//! RDB files and RESTORE payloads, whatever they are.

use bytes::Bytes;
use keyferry::rdb::{
    Altitude, Error, Event, Family, FieldExpiry, KeyType, Limits, Parser, Part, PlainEncoder,
    ValueParser, ValueType, payload,
};

use super::convert::{converts, module_converts};

/// Every body whole.
const ALL_RAW: Altitude = Altitude::Raw {
    bytes_max: usize::MAX,
};

/// Every altitude, with limits that some values are over.
pub const ALTITUDES: [Altitude; 8] = [
    Altitude::Elements,
    Altitude::Skip,
    Altitude::Raw { bytes_max: 128 },
    ALL_RAW,
    Altitude::Pieces,
    Altitude::Encoded,
    Altitude::Measure { bytes_max: 128 },
    Altitude::Measure {
        bytes_max: usize::MAX,
    },
];

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
/// raw at any altitude that shows content; measured values are read raw, too, and those that are
/// too long for that by element. Pieces of a body are put together.
pub fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    altitude: Altitude,
    limits: Limits,
) -> Reading {
    read_with(Parser::new(limits), pieces, altitude)
}

/// The same with a parser of one's own.
pub fn read_with<'a>(
    mut parser: Parser,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    altitude: Altitude,
) -> Reading {
    let mut events = Vec::new();
    let mut end = Ok(());
    for piece in pieces {
        parser.feed(piece);
        end = drain(&mut parser, altitude, &mut events);
        if end.is_err() {
            break;
        }
    }
    let events = joined(events);
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
        match (&event, altitude) {
            (Event::Key(key), Altitude::Elements | Altitude::Encoded)
                if key.value_type.byte == 7 =>
            {
                parser.choose(ALL_RAW);
            }
            (Event::Key(_), altitude) => parser.choose(altitude),
            (Event::Measured { bytes: Some(_) }, _) => parser.choose(ALL_RAW),
            (Event::Measured { bytes: None }, _) => parser.choose(Altitude::Raw { bytes_max: 0 }),
            _ => {}
        }
        events.push(event);
    }
    Ok(())
}

/// Puts the pieces of each body together.
pub(crate) fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut joined = Vec::with_capacity(events.len());
    let mut pieces = Vec::new();
    for event in events {
        if let Event::BodyPiece(piece) = &event {
            assert!(!piece.is_empty());
            pieces.extend_from_slice(piece);
            continue;
        }
        if !pieces.is_empty() {
            joined.push(Event::BodyPiece(std::mem::take(&mut pieces).into()));
        }
        joined.push(event);
    }
    if !pieces.is_empty() {
        joined.push(Event::BodyPiece(pieces.into()));
    }
    joined
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
    let altitude = ALTITUDES[usize::from(altitude) % ALTITUDES.len()];
    whole_is_split(input, &[one.into(), two.into()], altitude);
    altitudes_agree(input);
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
}

/// An input says the same at every altitude.
///
/// # Panics
///
/// If it does not.
pub fn altitudes_agree(input: &[u8]) {
    let raw = read([input], ALL_RAW, small_limits());
    if raw.end.is_err() {
        return;
    }
    let measure = Altitude::Measure {
        bytes_max: usize::MAX,
    };
    let pieces = read([input], Altitude::Pieces, small_limits());
    assert_eq!(pieces.events, each(&raw.events, piece_of_body));
    let measured = read([input], measure, small_limits());
    assert_eq!(
        each(&measured.events, nothing_of_template),
        each(&raw.events, measure_of_body)
    );
    let elements = read([input], Altitude::Elements, small_limits());
    if elements.end.is_err() || !modules_have_content(&raw.events) {
        return;
    }
    assert_eq!(elements.events, each(&raw.events, elements_of_body));
    let encoded = read([input], Altitude::Encoded, small_limits());
    assert_eq!(elements.events, each(&encoded.events, elements_of_blob));
    for altitude in ALTITUDES {
        let ends = read([input], altitude, small_limits());
        assert_eq!(
            (&ends.end, ends.offset),
            (&raw.end, raw.offset),
            "{altitude:?}"
        );
    }
}

/// Whether what modules have to say can be read: the elements of vector sets. It is where their
/// body is longer than was asked for.
fn modules_have_content(raw: &[Event]) -> bool {
    let mut value_type = ValueType::common(0);
    raw.iter().all(|event| match event {
        Event::Key(key) => {
            value_type = key.value_type;
            true
        }
        Event::Body(body) if value_type.is_module() => {
            let mut parser = ValueParser::new(value_type, body.clone(), small_limits());
            parser.choose(Altitude::Content);
            std::iter::from_fn(|| parser.next_event().transpose()).all(|event| event.is_ok())
        }
        _ => true,
    })
}

/// What a function makes of each event, which is given the type of the value it belongs to.
fn each(events: &[Event], to: impl Fn(ValueType, &Event) -> Option<Vec<Event>>) -> Vec<Event> {
    let mut value_type = ValueType::common(0);
    let mut all = Vec::new();
    for event in events {
        if let Event::Key(key) = event {
            value_type = key.value_type;
        }
        match to(value_type, event) {
            Some(events) => all.extend(events),
            None => all.push(event.clone()),
        }
    }
    all
}

fn piece_of_body(_: ValueType, event: &Event) -> Option<Vec<Event>> {
    match event {
        Event::Body(body) => Some(vec![Event::BodyPiece(body.clone()), Event::ValueEnd]),
        _ => None,
    }
}

fn measure_of_body(_: ValueType, event: &Event) -> Option<Vec<Event>> {
    let Event::Body(body) = event else {
        return None;
    };
    let bytes = Some(body.len() as u64);
    Some(vec![Event::Measured { bytes }, event.clone()])
}

/// Hashes with a template are measured, but never delivered as a body.
fn nothing_of_template(value_type: ValueType, event: &Event) -> Option<Vec<Event>> {
    let measured = matches!(event, Event::Measured { .. });
    (measured && value_type.needs_template()).then(Vec::new)
}

fn elements_of_body(value_type: ValueType, event: &Event) -> Option<Vec<Event>> {
    match event {
        Event::Body(body) if value_type.byte != 7 => {
            for altitude in ALTITUDES {
                let mut parser = ValueParser::new(value_type, body.clone(), small_limits());
                parser.choose(altitude);
                while parser.next_event().expect("it was read before").is_some() {}
            }
            let parser = ValueParser::new(value_type, body.clone(), small_limits());
            Some(all_of(parser))
        }
        _ => None,
    }
}

fn elements_of_blob(value_type: ValueType, event: &Event) -> Option<Vec<Event>> {
    let Event::Blob { encoding, bytes } = event else {
        return None;
    };
    let parser = ValueParser::of_blob(value_type, *encoding, bytes.clone(), small_limits());
    let mut events = all_of(parser.expect("it was read before"));
    assert_eq!(events.pop(), Some(Event::ValueEnd));
    Some(events)
}

fn all_of(mut parser: ValueParser) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = parser.next_event().expect("it was read before") {
        events.push(event);
    }
    events
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
    if checked.value_type.is_module() {
        module_converts(&checked.body);
    }
    let Ok(parts) = parts(checked.value_type, checked.body.clone()) else {
        return;
    };
    converts(checked.value_type, &checked.body, &parts);
    if has_plain_encoding(checked.value_type) {
        plain_reads_back(&parts);
    }
}

/// Whether a value can be written in an encoding that every server takes.
pub fn has_plain_encoding(value_type: ValueType) -> bool {
    use KeyType::{Hash, List, Set, String, Zset};
    // Sets of Dragonfly have members that expire.
    let expires = value_type == ValueType::of(32, Family::Dragonfly);
    let plain = [String, List, Set, Zset, Hash];
    plain.contains(&KeyType::of(value_type)) && !expires
}

/// How a file begins in which a value of this type can stand.
pub fn header(value_type: ValueType) -> &'static [u8] {
    match value_type.family {
        Family::Redis | Family::VectorSets => b"REDIS0015",
        Family::Valkey => b"VALKEY080",
        Family::Dragonfly => b"REDIS0009\xfa\x06df-ver\x01x",
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

/// A value in a plain encoding reads back as it was, with the nearest expiries that its fields can
/// have there.
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
        let expected = expected.iter().map(|part| nearest(field_expiry, part));
        assert_eq!(
            read.iter().map(as_text).collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
    }
}

/// The same part as text, with an expiry that such a server can give a field.
fn nearest(field_expiry: FieldExpiry, part: &Part) -> Part {
    let mut part = as_text(part);
    if let Part::HashField { expire_at_ms, .. } = &mut part {
        *expire_at_ms = expire_at_ms.map(|time| field_expiry.nearest(time));
    }
    part
}

/// The same part with integers as the text they stand for.
pub(crate) fn as_text(part: &Part) -> Part {
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
