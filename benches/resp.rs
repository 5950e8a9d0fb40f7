//! How fast commands and replies are read and written, checksums and slots are computed: the pure
//! parts beside the RDB parser (`parse.rs`) that each key or command goes through.
//!
//!     cargo bench --bench resp

#![allow(clippy::unwrap_used, reason = "a bench has nobody to report to")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keyferry::{
    keyspace::Slot,
    rdb::payload,
    resp::{Command, CommandDecoder, Encoder, Limits, ReplyDecoder},
};

/// What a read from a socket brings.
const PIECE_BYTES: usize = 64 << 10;
const COMMANDS: u64 = 100_000;

fn set(n: u64) -> Command {
    let key = format!("key:{n:012}");
    Command::of([&b"SET"[..], key.as_bytes(), &[b'x'; 64]])
}

fn commands(criterion: &mut Criterion) {
    let mut stream = BytesMut::new();
    let commands: Vec<Command> = (0..COMMANDS).map(set).collect();
    commands.iter().for_each(|it| it.encode(&mut stream));
    let pieces: Vec<_> = stream
        .chunks(PIECE_BYTES)
        .map(Bytes::copy_from_slice)
        .collect();
    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::ElementsAndBytes {
        elements: COMMANDS,
        bytes: stream.len() as u64,
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut decoder = CommandDecoder::new(Limits::default());
            let mut read = 0;
            for piece in &pieces {
                decoder.feed(piece.clone());
                while let Some(decoded) = decoder.next().unwrap() {
                    black_box(&decoded);
                    read += 1;
                }
            }
            assert_eq!(read, COMMANDS);
        });
    });
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            let mut encoder = Encoder::default();
            let mut bytes = 0;
            for command in &commands {
                encoder.command(command);
                if encoder.len() >= 2 * PIECE_BYTES {
                    bytes += encoder.len();
                    black_box(encoder.take());
                }
            }
            assert_eq!(bytes + encoder.len(), stream.len());
        });
    });
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let transaction = format!(
        "+OK\r\n{}*1000\r\n{}",
        "+QUEUED\r\n".repeat(1000),
        "+OK\r\n".repeat(1000)
    );
    for (name, once, replies) in [("ok", "+OK\r\n", 1), ("transaction", &transaction, 2001)] {
        let times = (100_000 / replies) as usize;
        let bytes = Bytes::from(once.repeat(times));
        let mut group = criterion.benchmark_group("replies");
        group.throughput(Throughput::Elements(times as u64 * replies));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut decoder = ReplyDecoder::new(Limits::default());
                decoder.feed(bytes.clone());
                while let Some(reply) = decoder.next().unwrap() {
                    black_box(reply);
                }
            });
        });
        group.finish();
    }
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload");
    for len in [16, 200, 4096, 1 << 20] {
        let body = vec![b'x'; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |bencher| {
            bencher.iter(|| payload::footer(0, black_box(&body), 11));
        });
    }
    group.finish();
}

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slot");
    for key in ["key:000000000042", "{user:1234}:basket"] {
        group.bench_function(key, |bencher| {
            bencher.iter(|| Slot::of(black_box(key.as_bytes())));
        });
    }
    group.finish();
}

criterion_group!(benches, commands, replies, checksums, slots);
criterion_main!(benches);
