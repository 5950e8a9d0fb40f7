//! A live writer: threads that hammer a server with every kind of write while a migration runs.
//!
//! Each thread draws operations from its own seed. Keys are shared by all of them and few, so
//! that an order that is lost or a command applied twice shows. What a replica by nature does
//! not get to know is left out: consumers made by an XREADGROUP that found nothing, delivery
//! counters of history reads (measured on Redis 6.0 to 8.6).
//!
//! Databases: 0 to 3 are written by everybody, 5 and 6 are swapped, 7 is flushed, 8 takes what
//! MOVE and COPY bring.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use redis::Value;

use super::{
    client::{Client, Command, bytes, text},
    oracle::MERGED_HLL,
    random::Random,
    server::Server,
    version::Version,
};

mod operations;

use operations::Operations;

/// Consumers of every group; they exist on each stream from its first moment.
const CONSUMERS: [&str; 3] = ["anna", "bert", "cleo"];

/// How the writer writes.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    /// Operations a second over all threads; `None` for as many as the server takes.
    pub(crate) operations_per_second: Option<u32>,
    /// Leaves out what an older target has no word for.
    pub(crate) field_ttls: bool,
    pub(crate) functions: bool,
    pub(crate) vector_sets: bool,
    /// XADD IDMP: the snapshot of a stream has its ids, which only Redis 8.6 can hold.
    pub(crate) idmp: bool,
    /// XADD IDMPAUTO: only a primary can hand on the digest that makes its id.
    pub(crate) idmp_auto: bool,
    /// RESTORE of payloads that the source dumped itself.
    pub(crate) restore: bool,
    /// PUBLISH among the writes.
    pub(crate) publish: bool,
}

impl Load {
    pub(crate) fn seeded(seed: u64) -> Load {
        Load {
            seed,
            threads: 3,
            operations_per_second: Some(6000),
            field_ttls: true,
            functions: true,
            vector_sets: true,
            idmp: true,
            idmp_auto: true,
            restore: true,
            publish: true,
        }
    }

    /// Without what the target has no word for.
    pub(crate) fn for_target(mut self, target: Version) -> Load {
        self.field_ttls &= target.has_field_ttls();
        self.functions &= target.has_functions();
        self.idmp &= target.is_redis_from(8, 6);
        self.idmp_auto = false;
        self.vector_sets &= target.has_vector_sets();
        self
    }

    /// Starts writing.
    pub(crate) fn start(self, server: &Server) -> Writer {
        self.start_at(&server.url(), server.version())
    }

    /// Starts writing to the server of this URL.
    pub(crate) fn start_at(self, url: &str, version: Version) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let url = url.to_owned();
        Operations::prepare(&mut Client::open(&url).unwrap());
        let mut threads: Vec<JoinHandle<Written>> = (0..self.threads)
            .map(|number| {
                let (load, stop, url) = (self.clone(), stop.clone(), url.clone());
                thread::spawn(move || write(&load, number as u64, version, &url, &stop))
            })
            .collect();
        for number in 0..2 {
            let (stop, url) = (stop.clone(), url.clone());
            threads.push(thread::spawn(move || wait_in_line(number, &url, &stop)));
        }
        Writer { stop, threads }
    }
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Replies that are no error, by command.
    pub(crate) done: BTreeMap<String, u64>,
    /// Error replies, by command and text.
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Written {
    pub(crate) fn total(&self) -> u64 {
        self.done.values().sum()
    }

    fn count(&mut self, command: &Command, reply: &Value) {
        let name = String::from_utf8_lossy(&command[0]).to_uppercase();
        match reply {
            Value::ServerError(error) => {
                let text = format!("{name}: {error:?}");
                *self.refused.entry(text).or_default() += 1;
            }
            _ => *self.done.entry(name).or_default() += 1,
        }
    }

    fn add(&mut self, other: Written) {
        for (name, count) in other.done {
            *self.done.entry(name).or_default() += count;
        }
        for (name, count) in other.refused {
            *self.refused.entry(name).or_default() += count;
        }
    }
}

/// The running threads.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Written>>,
}

impl Writer {
    /// Stops, and waits until the last reply is in.
    pub(crate) fn stop(mut self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut written = Written::default();
        for thread in self.threads.drain(..) {
            written.add(thread.join().expect("a writer thread failed"));
        }
        eprintln!("the writer did {} commands", written.total());
        written
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(load: &Load, number: u64, version: Version, url: &str, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    let mut client = Client::open(url).unwrap();
    let random = Random::seeded(load.seed ^ (number << 32));
    let mut operations = Operations::new(load.clone(), random, version, &mut client);
    let rate = load
        .operations_per_second
        .map(|n| f64::from(n) / load.threads as f64);
    let started = Instant::now();
    let mut done = 0u32;
    while !stop.load(Ordering::Relaxed) {
        let mut batch = vec![operations.select()];
        for _ in 0..16 {
            batch.extend(operations.next());
        }
        done += 16;
        let Ok(replies) = client.try_pipeline(&batch) else {
            // The server was killed by the test; what it took is what it will tell.
            break;
        };
        for (command, reply) in batch.iter().zip(&replies) {
            written.count(command, reply);
        }
        if operations.dumps() && copy_by_dump(&mut client, &mut operations, &mut written).is_err() {
            break;
        }
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(f64::from(done) / rate);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    written
}

/// DUMP needs a round trip before its RESTORE.
fn copy_by_dump(
    client: &mut Client,
    operations: &mut Operations,
    written: &mut Written,
) -> redis::RedisResult<()> {
    let payload = client.try_run(&command!["DUMP", operations.dumped_key()])?;
    if matches!(payload, Value::BulkString(_)) {
        let restore = operations.restore(bytes(&payload));
        let reply = client.try_run(&restore)?;
        written.count(&restore, &reply);
    }
    Ok(())
}

/// A client that is blocked most of the time, and is served by what the others push.
fn wait_in_line(number: u64, url: &str, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    let mut client = Client::open(url).unwrap();
    client.select(number as u32);
    let pops = [
        command!["BLPOP", "list:line", "1"],
        command!["BRPOP", "list:line", "1"],
        command!["BRPOPLPUSH", "list:line", "list:0", "1"],
        command!["BLMOVE", "list:line", "list:1", "LEFT", "RIGHT", "1"],
        command!["BZPOPMIN", "zset:line", "1"],
        command!["BZPOPMAX", "zset:line", "1"],
        command!["BLMPOP", "1", "1", "list:line", "LEFT", "COUNT", "2"],
        command!["BZMPOP", "1", "1", "zset:line", "MIN", "COUNT", "2"],
    ];
    let pops: Vec<Command> = pops
        .into_iter()
        .filter(|pop| client.knows(&text(&Value::BulkString(pop[0].clone()))))
        .collect();
    for pop in pops.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Ok(reply) = client.try_run(pop) else {
            break;
        };
        written.count(pop, &reply);
    }
    written
}
