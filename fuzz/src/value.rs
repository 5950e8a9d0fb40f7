//! Bodies of values, whatever they are: of every type, at every altitude, by themselves and
//! inside an RDB.

use bytes::Bytes;
use keyferry::rdb::{Error, ErrorKind, Event, Family, Limits, Part, ValueParser, ValueType};

use super::convert::converts;
use super::rdb::{
    ALTITUDES, altitudes_agree, has_plain_encoding, header, plain_reads_back, read, small_limits,
    whole_is_split,
};

/// The types of Redis that a body is read as.
const REDIS: [u8; 29] = [
    0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 30, 32,
];
/// Types that mean something else elsewhere, behind those of Redis.
const OTHERS: [ValueType; 11] = [
    ValueType::of(22, Family::Valkey),
    ValueType::of(20, Family::Dragonfly),
    ValueType::of(30, Family::Dragonfly),
    ValueType::of(31, Family::Dragonfly),
    ValueType::of(32, Family::Dragonfly),
    ValueType::of(33, Family::Dragonfly),
    ValueType::of(34, Family::Dragonfly),
    ValueType::of(35, Family::Dragonfly),
    ValueType::of(36, Family::Dragonfly),
    ValueType::of(37, Family::Dragonfly),
    ValueType::of(64, Family::Redis),
];

fn types() -> Vec<ValueType> {
    let redis = REDIS.into_iter().map(ValueType::common);
    redis.chain(OTHERS).collect()
}

/// A value: the first byte chooses its type, the next two how it is cut, the rest is its body.
pub fn value(data: &[u8]) {
    let Some((&[value_type, one, two], body)) = data.split_first_chunk() else {
        return;
    };
    let types = types();
    let value_type = types[usize::from(value_type) % types.len()];
    check(value_type, body, &[one.into(), two.into()]);
}

/// The input that reads a body as a value of this type.
pub fn input(value_type: ValueType, body: &[u8]) -> Vec<u8> {
    let types = types();
    let other = types.iter().position(|other| other.byte == value_type.byte);
    let same = types.iter().position(|known| *known == value_type);
    let choice = same.or(other);
    [&[choice.unwrap_or(0) as u8, 7, 100], body].concat()
}

/// Reads a body in every way there is, cut into pieces of these sizes.
///
/// # Panics
///
/// If two ways differ.
pub fn check(value_type: ValueType, body: &[u8], sizes: &[usize]) {
    let file = file(value_type, body);
    // One altitude of them all, since mutation asks again and again.
    let altitude = ALTITUDES[sizes.iter().sum::<usize>() % ALTITUDES.len()];
    whole_is_split(&file, sizes, altitude);
    // A length that lies is believed up to the limit, but nothing is reserved for it.
    for limits in [small_limits(), Limits::default()] {
        let mut parser = ValueParser::new(value_type, body.to_vec().into(), limits);
        parser.choose(altitude);
        while let Ok(Some(_)) = parser.next_event() {}
    }
    altitudes_agree(&file);
    let alone = alone(value_type, body);
    same_inside(value_type, &file, &alone);
    let (parts, Ok(())) = alone else { return };
    converts(value_type, &Bytes::copy_from_slice(body), &parts);
    if has_plain_encoding(value_type) {
        plain_reads_back(&parts);
    }
}

/// The parts of a value, and how it ended.
type Alone = (Vec<Part>, Result<(), Error>);

fn alone(value_type: ValueType, body: &[u8]) -> Alone {
    let mut parser = ValueParser::new(value_type, body.to_vec().into(), small_limits());
    let mut parts = Vec::new();
    loop {
        match parser.next_event() {
            Ok(Some(Event::Part(part))) => parts.push(part),
            Ok(Some(_)) => {}
            Ok(None) => return (parts, Ok(())),
            Err(error) => return (parts, Err(error)),
        }
    }
}

/// A value reads inside a file as it does alone: the same parts, then the end of the file or the
/// same error as many bytes further on as stand before the value.
fn same_inside(value_type: ValueType, file: &[u8], (parts, end): &Alone) {
    if value_type.is_module() {
        // Inside a file they are read raw here.
        return;
    }
    let inside = read([file], keyferry::rdb::Altitude::Elements, small_limits());
    let events = inside.events.into_iter();
    let found: Vec<_> = events
        .filter_map(|event| match event {
            Event::Part(part) => Some(part),
            _ => None,
        })
        .collect();
    match end {
        Ok(()) => assert_eq!((&found, &inside.end), (parts, &Ok(()))),
        // Inside a file there are bytes behind the body, which are then taken for more of it.
        Err(error) if error.kind == ErrorKind::Truncated => assert!(found.starts_with(parts)),
        Err(error) if error.kind == ErrorKind::Corrupt("the body goes on behind its value") => {
            assert!(found.starts_with(parts));
        }
        Err(error) if matches!(error.kind, ErrorKind::NoElements(_)) => {}
        Err(error) if matches!(error.kind, ErrorKind::UnsupportedType { .. }) => {}
        Err(error) => {
            let start = START_BYTES + header(value_type).len() as u64;
            let other = inside.end.expect_err("it has one by itself");
            assert_eq!(other.kind, error.kind);
            assert_eq!(other.offset, error.offset + start);
            assert_eq!(&found, parts);
        }
    }
}

/// How many bytes stand between the header and the body in a file: the type, the key.
const START_BYTES: u64 = 3;

/// A file of one value.
fn file(value_type: ValueType, body: &[u8]) -> Vec<u8> {
    let header = header(value_type);
    [header, &[value_type.byte], b"\x01k", body, b"\xff", &[0; 8]].concat()
}

/// Writes a length as RDB does.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=63 => out.push(length as u8),
        64..=16_383 => out.extend((0x4000 | length as u16).to_be_bytes()),
        _ => {
            out.push(0x80);
            out.extend((length as u32).to_be_bytes());
        }
    }
}
