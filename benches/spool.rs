//! How fast bytes go through a spool: a writer and a reader at the same time, in memory, over the
//! disk, and the writing and reading of the disk each on its own.
//!
//!     cargo bench --bench spool
//!     TMPDIR=/dev/shm cargo bench --bench spool -- disk      # without the disk itself

#![allow(clippy::unwrap_used, reason = "a bench has nobody to report to")]

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keyferry::spool::{Budget, Directory, Origin, Reader, Writer, spool};

/// What one run moves.
const BYTES: u64 = 256 << 20;

/// How far the reader has read what it has not released.
const UNRELEASED_BYTES: u64 = 4 << 20;

/// What the stream looks like: commands with values that hardly become smaller.
fn pieces(piece_bytes: usize) -> Vec<Bytes> {
    let mut number = 1_u64;
    let mut piece = || {
        let mut bytes = Vec::with_capacity(piece_bytes + 200);
        while bytes.len() < piece_bytes {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (key, value) = (number >> 40, number);
            let command =
                format!("*3\r\n$3\r\nSET\r\n$14\r\nuser:{key:09}\r\n$80\r\n{value:080x}\r\n");
            bytes.extend_from_slice(command.as_bytes());
        }
        bytes.truncate(piece_bytes);
        Bytes::from(bytes)
    };
    (0..64).map(|_| piece()).collect()
}

fn open(directory: Option<Directory>, memory_bytes_max: u64) -> (Writer, Reader) {
    let budget = Arc::new(Budget::new(memory_bytes_max, u64::MAX));
    spool(directory, budget, 0, Origin::new("bench").unwrap()).unwrap()
}

async fn fill(writer: &mut Writer, pieces: &[Bytes]) {
    for piece in pieces.iter().cycle() {
        if writer.position() >= BYTES {
            break;
        }
        writer.push(piece.clone(), 1).await.unwrap();
    }
}

async fn empty(reader: &mut Reader) {
    while let Some(piece) = reader.next().await.unwrap() {
        let end = black_box(piece).end();
        reader.release(end.saturating_sub(UNRELEASED_BYTES));
    }
}

/// Writer and reader at the same time.
async fn through(mut writer: Writer, mut reader: Reader, pieces: Arc<Vec<Bytes>>) {
    let filling = tokio::spawn(async move { fill(&mut writer, &pieces).await });
    empty(&mut reader).await;
    filling.await.unwrap();
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let directory = || Some(Directory::open(root.path(), "bench").unwrap());
    let mut group = criterion.benchmark_group("spool");
    group.throughput(Throughput::Bytes(BYTES));
    for (name, piece_bytes) in [("64KiB", 64 << 10), ("1KiB", 1 << 10)] {
        let pieces = Arc::new(pieces(piece_bytes));
        group.bench_function(format!("memory/{name}"), |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let (writer, reader) = open(None, 128 << 20);
                through(writer, reader, Arc::clone(&pieces))
            });
        });
        group.bench_function(format!("disk/through/{name}"), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                // All of it is pushed before anything is read.
                let (mut writer, mut reader) = open(directory(), 8 << 20);
                fill(&mut writer, &pieces).await;
                drop(writer);
                empty(&mut reader).await;
            });
        });
        group.bench_function(format!("disk/write/{name}"), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let (mut writer, _reader) = open(directory(), 8 << 20);
                fill(&mut writer, &pieces).await;
                writer.persist().await.unwrap();
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3));
    targets = bench
}
criterion_main!(benches);
