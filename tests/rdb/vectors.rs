//! Vector sets and other values of modules: content against what servers say.

use bytes::Bytes;
use keyferry::rdb::{
    Altitude, Event, Limits, ModuleItem, ModuleItems, Parser, Part, Quantization, ValueParser,
    ValueType, module_name,
};
use serde_json::{Value, json};

use crate::fixture::{self, Fixture};
use crate::fuzz::{joined, pieces, read};
use crate::keyspace::encoded;

const MODULE: ValueType = ValueType::common(7);

/// The bodies of modules' values with what is expected of them.
fn modules(kind: &str) -> Vec<(Fixture, Vec<(Bytes, Value)>)> {
    let mut all = Vec::new();
    for fixture in fixture::rdbs() {
        let keys = fixture.json["keys"].as_array().cloned().unwrap_or_default();
        let of_kind = |key: &&Value| key["type"] == kind && key["value"].is_object();
        let expected: Vec<_> = keys.iter().filter(of_kind).collect();
        if expected.is_empty() {
            continue;
        }
        let reading = read([&fixture.bytes[..]], Altitude::Elements, Limits::default());
        let (mut db, mut name, mut values) = (0, String::new(), Vec::new());
        for event in reading.events {
            match event {
                Event::SelectDb(selected) => db = selected.0,
                Event::Key(key) => name = encoded(&key.key),
                Event::Body(body) => {
                    let same = |key: &&&Value| key["db"] == db && key["key"] == name[..];
                    if let Some(key) = expected.iter().find(same) {
                        values.push((body, key["value"].clone()));
                    }
                }
                _ => {}
            }
        }
        all.push((fixture, values));
    }
    all
}

fn parts(body: Bytes) -> Vec<Part> {
    let mut parser = ValueParser::new(MODULE, body, Limits::default());
    let mut parts = Vec::new();
    while let Some(event) = parser.next_event().unwrap() {
        if let Event::Part(part) = event {
            parts.push(part);
        }
    }
    parts
}

#[test]
fn vector_sets_hold_what_servers_say() {
    let (mut sets, mut vectors) = (0, 0);
    for (fixture, values) in modules("vectorset") {
        for (body, expected) in values {
            let parts = parts(body);
            let Some(Part::VectorSet(set)) = parts.first() else {
                panic!("{}: {parts:?}", fixture.name);
            };
            let quantization = match set.quantization {
                Quantization::None => "f32",
                Quantization::Int8 => "int8",
                Quantization::Binary => "bin",
            };
            // Servers store 0 for the default in some releases.
            let links = if set.links_max == 0 {
                16
            } else {
                set.links_max
            };
            for (name, found) in [
                ("dim", json!(set.dimensions)),
                ("quantization", json!(quantization)),
                ("hnsw_m", json!(links)),
                (
                    "projection_input_dim",
                    json!(set.input_dimensions.unwrap_or(0)),
                ),
            ] {
                assert_eq!(expected[name], found, "{}: {name}", fixture.name);
            }
            let expected = expected["elements"].as_array().unwrap();
            assert_eq!(set.elements as usize, expected.len());
            assert_eq!(parts.len(), expected.len() + 1, "{}", fixture.name);
            for expected in expected {
                let same = |part: &&Part| matches!(part, Part::Vector(vector) if expected["element"] == encoded(&vector.element)[..]);
                let found = parts.iter().find(same).expect("its element");
                vector_is(found, expected, set.dimensions as usize);
                vectors += 1;
            }
            sets += 1;
        }
    }
    assert!(sets > 8 && vectors > 60, "{sets} sets, {vectors} vectors");
}

fn vector_is(part: &Part, expected: &Value, dimensions: usize) {
    let Part::Vector(vector) = part else {
        unreachable!("it was found among vectors")
    };
    let name = &expected["element"];
    let attributes = vector.attributes.as_ref().map(|text| encoded(text));
    assert_eq!(expected["attributes"], json!(attributes), "{name}");
    let close = |text: &Value, found: f32| {
        let expected: f32 = text.as_str().unwrap().parse().unwrap();
        let difference = (expected - found).abs();
        assert!(
            difference <= 1e-5 * expected.abs().max(1.0),
            "{name}: {expected} expected, {found} found"
        );
    };
    let raw = &expected["raw"];
    if let Some(blob) = raw["blob"].as_str() {
        assert_eq!(blob, encoded(&vector.blob), "{name}");
    }
    close(&raw["l2"], vector.norm);
    if raw["range"].is_string() {
        close(&raw["range"], vector.range);
    }
    let components: Vec<_> = vector.components(dimensions).collect();
    let expected = expected["vector"].as_array().unwrap();
    assert_eq!(components.len(), expected.len(), "{name}");
    for (expected, found) in expected.iter().zip(components) {
        close(expected, found);
    }
}

/// A set reads the same in pieces, and a damaged one fails at the same place.
#[test]
fn vector_sets_read_the_same_in_pieces() {
    let mut sets = 0;
    for (fixture, values) in modules("vectorset") {
        for (body, _) in values.iter().filter(|(body, _)| body.len() < 3000) {
            let mut bodies = vec![body.to_vec()];
            for at in (0..body.len()).step_by(body.len() / 40 + 1) {
                let mut damaged = body.to_vec();
                damaged[at] ^= 0x41;
                bodies.push(damaged);
            }
            for body in bodies {
                let file = [b"REDIS0013\x07\x01k", &body[..], b"\xff", &[0; 8]].concat();
                let whole = elements(&file, &[usize::MAX]);
                for sizes in [&[1][..], &[7, 1, 100]] {
                    assert_eq!(elements(&file, sizes), whole, "{}", fixture.name);
                }
            }
            sets += 1;
        }
    }
    assert!(sets > 5, "{sets} sets");
}

fn elements(file: &[u8], sizes: &[usize]) -> (Vec<Event>, Option<String>) {
    let mut parser = Parser::new(Limits::default());
    let mut events = Vec::new();
    for piece in pieces(file, sizes) {
        parser.feed(piece);
        loop {
            match parser.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (joined(events), Some(error.to_string())),
            }
        }
    }
    let end = parser.finish().err().map(|error| error.to_string());
    (joined(events), end)
}

#[test]
fn items_of_modules_are_those_that_were_written() {
    let mut items = 0;
    for (fixture, values) in modules("module") {
        for (body, expected) in values {
            assert_eq!(expected["module"], module_name(&body).unwrap()[..]);
            let Some(expected) = expected["items"].as_array() else {
                continue;
            };
            let mut found = ModuleItems::new(body, Limits::default()).unwrap();
            for expected in expected {
                let item = found.next_item().unwrap().expect("one more");
                item_is(&item, expected, &fixture.name);
                items += 1;
            }
            assert_eq!(found.next_item(), Ok(None), "{}", fixture.name);
        }
    }
    assert!(items > 30, "{items} items");
}

fn item_is(item: &ModuleItem, expected: &Value, name: &str) {
    let (kind, found) = match item {
        ModuleItem::Signed(value) => ("int", json!(value)),
        ModuleItem::Unsigned(value) => ("uint", json!(value)),
        ModuleItem::Float(value) => ("float", json!(value.to_string())),
        ModuleItem::Double(value) => ("double", json!(value.to_string())),
        ModuleItem::String(bytes) => ("string", json!(encoded(bytes))),
    };
    assert_eq!(expected[0], kind, "{name}");
    if !expected[1].is_null() {
        assert_eq!(expected[1], found, "{name}");
    }
}
