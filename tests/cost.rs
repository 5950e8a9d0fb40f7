//! What moving a key costs, in what does not depend on the machine: allocations, and bytes of
//! memory taken. `tests/it/cost.rs` counts instructions and system calls of the whole command.
//!
//! The bounds are somewhat above what was measured: who passes them has added a cost for each key,
//! or should say here why it is worth it.

#![allow(clippy::unwrap_used, reason = "a broken expectation fails the test")]

use std::{hint::black_box, path::PathBuf, sync::Arc};

use bytes::{Bytes, BytesMut};
use keyferry::{
    keyspace::Db,
    net::Endpoint,
    rdb::{Event, Flavor, Limits, Parser, ServerVersion},
    resp::{self, Command, CommandDecoder, ReplyDecoder},
    sink::{
        Conflict, Expired, Hold, MadeBy, OnLossy, Publish, Target, TransactionBuilder, Translator,
        ValueConfig, ValueWriter, Window, translate,
    },
};

/// What a read from a socket brings.
const PIECE_BYTES: usize = 64 << 10;

/// What was allocated, for each of so many.
#[derive(Debug)]
struct Cost {
    allocations: f64,
    bytes: f64,
}

fn cost(count: usize, work: impl FnOnce()) -> Cost {
    let measured = allocation_counter::measure(work);
    Cost {
        allocations: measured.count_total as f64 / count as f64,
        bytes: measured.bytes_total as f64 / count as f64,
    }
}

fn target() -> Target {
    Target::of_version(ServerVersion::new(Flavor::Redis, 8, 0))
}

/// An RDB with these values of one type, under names of 16 bytes.
fn rdb(value_type: u8, count: usize, value: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut file = b"REDIS0011\xfe\x00".to_vec();
    for n in 0..count {
        let value = value(n);
        file.push(value_type);
        file.push(16);
        file.extend_from_slice(format!("key:{n:012}").as_bytes());
        file.push(0x80);
        file.extend_from_slice(&(value.len() as u32).to_be_bytes());
        file.extend_from_slice(&value);
    }
    file.push(255);
    file.extend_from_slice(&[0; 8]);
    file
}

/// Moves all keys of an RDB into batches, as a full sync does it.
fn write(file: &[u8]) -> usize {
    let config = ValueConfig {
        endpoint: Endpoint::Unix(PathBuf::from("t")),
        conflict: Conflict::Replace,
        on_lossy: OnLossy::Fail,
        hold: Hold::Released,
        expired: Expired::LeaveOut,
        made_by: MadeBy::Server,
        restore_bytes_max: 1 << 20,
        lanes: 2,
        window: Arc::default(),
    };
    let mut writer = ValueWriter::new(Arc::new(target()), config);
    let mut parser = Parser::new(Limits::default()).joining_strings();
    let mut batches = 0;
    for piece in file.chunks(PIECE_BYTES) {
        parser.feed(piece);
        while let Some(event) = parser.next_event().unwrap() {
            match event {
                Event::String { mut key, value } => {
                    writer.string(Db(0), &mut key, value, 0).unwrap();
                }
                Event::Key(key) => parser.choose(writer.begin(Db(0), key, 0).unwrap()),
                Event::Header(_) | Event::SelectDb(_) | Event::End(_) => {}
                event => writer.take(event).unwrap(),
            }
            while let Some((_, batch)) = writer.ready() {
                batches += 1;
                drop(black_box(batch));
            }
        }
    }
    parser.finish().unwrap();
    batches
}

#[test]
fn a_small_string_is_moved_without_an_allocation_of_its_own() {
    let count = 50_000;
    let file = rdb(0, count, |n| format!("{n:064}").into_bytes());
    let cost = cost(count, || assert!(write(&file) > 10));
    assert!(cost.allocations < 0.1, "{cost:?}");
    // The input, the pairs and the batch.
    assert!(cost.bytes < 500.0, "{cost:?}");
}

#[test]
fn a_small_packed_hash_is_moved_without_an_allocation_of_its_own() {
    let count = 20_000;
    // A listpack of one field.
    let listpack = b"\x0f\0\0\0\x02\0\x81f\x02\x83val\x04\xff";
    let file = rdb(16, count, |_| listpack.to_vec());
    let cost = cost(count, || assert!(write(&file) > 1));
    assert!(cost.allocations < 0.1, "{cost:?}");
}

#[test]
fn a_large_string_is_copied_once() {
    let (count, len) = (20, 1_000_000);
    let file = rdb(0, count, |_| vec![b'x'; len]);
    let cost = cost(count, || assert!(write(&file) > 1));
    // It is gathered from pieces, in room that doubles; nothing behind the parser copies it.
    assert!(cost.bytes < 3.5 * len as f64, "{cost:?}");
    assert!(cost.allocations < 60.0, "{cost:?}");
}

#[test]
fn replies_are_read_without_allocating() {
    let replies: Bytes = b"+OK\r\n+QUEUED\r\n:1\r\n".repeat(10_000).into();
    let cost = cost(30_000, || {
        let mut decoder = ReplyDecoder::new(resp::Limits::default());
        decoder.feed(replies.clone());
        while let Some(reply) = decoder.next().unwrap() {
            black_box(reply);
        }
    });
    assert!(cost.allocations < 0.001, "{cost:?}");
}

#[test]
fn a_command_of_the_stream_takes_one_list_of_arguments() {
    let count = 20_000;
    let mut stream = BytesMut::new();
    for n in 0..count {
        let key = format!("key:{n:012}");
        Command::of([&b"SET"[..], key.as_bytes(), &[b'x'; 64]]).encode(&mut stream);
    }
    let stream = stream.freeze();
    let translator = Translator::new(target(), Hold::Released, Publish::Forward, OnLossy::Fail);
    let context = translate::Context {
        db: Db(0),
        received_at_ms: 0,
    };
    let batch_max = Window::default().batch_max();
    let cost = cost(count, || {
        let mut decoder = CommandDecoder::new(resp::Limits::default());
        let mut transaction = TransactionBuilder::new(None);
        let mut translated = Vec::new();
        decoder.feed(stream.clone());
        while let Some(decoded) = decoder.next().unwrap() {
            let command = decoded.command;
            translator
                .translate(command, &context, &mut translated)
                .unwrap();
            transaction.push(Db(0), &translated, decoded.end);
            translated.clear();
            if transaction.is_full(batch_max) {
                drop(black_box(transaction.take()));
            }
        }
    });
    assert!(cost.allocations < 2.2, "{cost:?}");
}
