//! How fast RDB files are read: inputs made here, read in the pieces that a link delivers, at the
//! raw and at the logical altitude, on one core.
//!
//!     cargo bench --bench parse
//!     cargo bench --bench parse -- raw

#![allow(clippy::unwrap_used, reason = "a bench has nobody to report to")]

#[path = "parse/inputs.rs"]
mod inputs;

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keyferry::rdb::{Altitude, Event, Limits, Parser};

use inputs::{INPUTS, Input};

/// What a read from a socket or a file brings.
const PIECE_BYTES: usize = 256 << 10;

/// What stays of a body in one piece, as a migration asks for.
const BODY_BYTES_MAX: usize = 64 << 20;

const ALTITUDES: [(&str, Altitude); 3] = [
    (
        "raw",
        Altitude::Raw {
            bytes_max: BODY_BYTES_MAX,
        },
    ),
    ("elements", Altitude::Elements),
    ("skip", Altitude::Skip),
];

/// Reads a file, and counts its keys and the parts of their values.
fn read(pieces: &[Bytes], altitude: Altitude) -> (u64, u64) {
    let mut parser = Parser::new(Limits::default());
    let (mut keys, mut parts) = (0, 0);
    for piece in pieces {
        parser.feed(piece);
        while let Some(event) = parser.next_event().unwrap() {
            match black_box(&event) {
                Event::Key(_) => {
                    keys += 1;
                    parser.choose(altitude);
                }
                Event::Part(_) | Event::Body(_) => parts += 1,
                _ => {}
            }
        }
    }
    parser.finish().unwrap();
    (keys, parts)
}

fn parse(criterion: &mut Criterion) {
    for (name, make) in INPUTS {
        let Input {
            file,
            keys,
            elements,
        } = make();
        let pieces: Vec<_> = file
            .chunks(PIECE_BYTES)
            .map(Bytes::copy_from_slice)
            .collect();
        let bytes = file.len() as u64;
        drop(file);
        for (altitude_name, altitude) in ALTITUDES {
            // A file of one key counts by its elements.
            let elements = if keys == 1 { elements } else { keys };
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::ElementsAndBytes { elements, bytes });
            group.bench_function(altitude_name, |bencher| {
                bencher.iter(|| assert_eq!(read(&pieces, altitude).0, keys));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = parse
}
criterion_main!(benches);
