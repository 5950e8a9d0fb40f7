//! Following the stream: how fast a backlog is caught up with, and how far the target is behind.

use std::{
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    arguments::Arguments,
    full::{keyferry, rounds, server},
    load::Load,
    support::{
        client::{Client, bytes, items, text},
        random::Random,
        server::{Server, signal},
    },
    table::{Measure, Round},
    usage::{Usage, cpu_s, peak_bytes},
    works::{Work, letters},
};

/// Who follows.
#[derive(Debug, Clone, Copy)]
enum Follower {
    Keyferry,
    Native,
}

/// A target that follows a source.
struct Following {
    source: Server,
    target: Server,
    keyferry: Option<(Child, TempDir)>,
}

impl Following {
    /// Starts both sides, and waits until a write reaches the target.
    fn start(follower: Follower, work: &Work, arguments: &Arguments) -> Following {
        let (source_version, target_version) = work.versions(arguments);
        let source = server(source_version).start();
        let target = server(target_version).start();
        let keyferry = match follower {
            Follower::Native => {
                target.replicate(&source);
                None
            }
            Follower::Keyferry => {
                let scratch = TempDir::new().unwrap();
                let child = Command::new(keyferry())
                    .args(["sync", "--progress", "never", "--log-level", "error"])
                    .args(["--source", &source.url(), "--target", &target.url()])
                    .arg("--spool-dir")
                    .arg(scratch.path())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
                Some((child, scratch))
            }
        };
        let following = Following {
            source,
            target,
            keyferry,
        };
        let mut probe = Probe::open(&following);
        probe.lag();
        // Until expiries are released and the phase is `following`.
        thread::sleep(Duration::from_secs(3));
        following
    }

    /// The process that follows.
    fn pid(&self) -> u32 {
        match &self.keyferry {
            Some((child, _)) => child.id(),
            None => self.target.pid(),
        }
    }

    /// What keyferry has cost since then.
    fn usage(&self, wall_s: f64, cpu_before_s: f64) -> Usage {
        let pid = self.keyferry.as_ref().map(|(child, _)| child.id());
        Usage {
            wall_s,
            cpu_s: pid.map(|pid| cpu_s(pid) - cpu_before_s),
            peak_bytes: pid.and_then(peak_bytes),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.keyferry {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes to the source, and waits until that is on the target. It waits for an entry of a stream,
/// so that nobody has to ask again and again.
struct Probe {
    source: Client,
    target: Client,
    /// The last entry that was written, and the last that was seen.
    written_id: String,
    seen_id: String,
}

impl Probe {
    fn open(following: &Following) -> Probe {
        Probe {
            source: following.source.client(),
            target: following.target.client(),
            written_id: "0".to_owned(),
            seen_id: "0".to_owned(),
        }
    }

    fn write(&mut self) {
        let add = command!["XADD", "probe", "MAXLEN", "10", "*", "n", "1"];
        self.written_id = text(&self.source.run(add));
    }

    /// Waits until the target has the entry that was written last.
    fn wait(&mut self) {
        while self.seen_id != self.written_id {
            let read = command!["XREAD", "BLOCK", "50000", "STREAMS", "probe", self.seen_id];
            let reply = self.target.run(read);
            let entries = &items(&items(&reply)[0])[1];
            let entry = items(entries).last().unwrap();
            self.seen_id = text(&items(entry)[0]);
        }
    }

    /// From before the write to when the target shows it.
    fn lag(&mut self) -> Duration {
        let began = Instant::now();
        self.write();
        self.wait();
        began.elapsed()
    }
}

/// A backlog that piled up while the follower stood still.
pub(crate) fn catch_up(work: &Work, arguments: &Arguments) -> Vec<Round> {
    let writes = work.items(arguments);
    rounds(arguments, &[Follower::Keyferry, Follower::Native], |who| {
        let following = Following::start(who, work, arguments);
        let mut probe = Probe::open(&following);
        probe.lag();
        let cpu_before_s = cpu_s(following.pid());
        let offset = offset(&following.source);
        signal(following.pid(), "STOP");
        let mut load = Load::open(&following.source);
        let mut random = Random::seeded(arguments.seed);
        for _ in 0..writes {
            small_write(&mut load, &mut random);
        }
        load.finish();
        probe.write();
        let bytes = self::offset(&following.source) - offset;
        let began = Instant::now();
        signal(following.pid(), "CONT");
        probe.wait();
        let measure = Measure {
            usage: following.usage(began.elapsed().as_secs_f64(), cpu_before_s),
            items: writes,
            bytes,
            ..Measure::of(who.name())
        };
        assert_eq!(value(&following.source), value(&following.target));
        measure
    })
}

/// Probes while somebody writes.
pub(crate) fn lag(work: &Work, arguments: &Arguments) -> Vec<Round> {
    let probes = work.items(arguments).max(50);
    rounds(arguments, &[Follower::Keyferry, Follower::Native], |who| {
        let following = Following::start(who, work, arguments);
        let mut probe = Probe::open(&following);
        let ends = AtomicBool::new(false);
        let cpu_before_s = cpu_s(following.pid());
        let began = Instant::now();
        let (mut lags, writes) = thread::scope(|scope| {
            let writer = scope.spawn(|| write_steadily(&following.source, &ends));
            thread::sleep(Duration::from_millis(500));
            let lags = (0..probes).map(|_| {
                thread::sleep(Duration::from_millis(10));
                probe.lag()
            });
            let lags: Vec<Duration> = lags.collect();
            ends.store(true, Relaxed);
            (lags, writer.join().unwrap())
        });
        lags.sort_unstable();
        let at = |share: f64| lags[(lags.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        Measure {
            usage: following.usage(began.elapsed().as_secs_f64(), cpu_before_s),
            items: writes,
            lag_p50_ms: Some(at(0.5)),
            lag_p99_ms: Some(at(0.99)),
            ..Measure::of(who.name())
        }
    })
}

impl Follower {
    fn name(self) -> &'static str {
        match self {
            Follower::Keyferry => "keyferry",
            Follower::Native => "native replica",
        }
    }
}

/// How many writes come in each millisecond.
const WRITES_PER_MS: u64 = 20;

/// Writes 20 000 times a second until it is to end; says how often it has.
fn write_steadily(source: &Server, ends: &AtomicBool) -> u64 {
    let mut load = Load::open(source);
    let mut random = Random::seeded(7);
    let began = Instant::now();
    let mut written = 0;
    while !ends.load(Relaxed) {
        let due = began.elapsed().as_millis() as u64 * WRITES_PER_MS;
        while written < due {
            small_write(&mut load, &mut random);
            written += 1;
        }
        load.flush();
        thread::sleep(Duration::from_millis(1));
    }
    load.finish();
    written
}

/// A SET of 64 bytes, of one in 100 000 keys.
fn small_write(load: &mut Load, random: &mut Random) {
    let key = format!("key:{:012}", random.below(100_000));
    let value = letters(random, 64);
    load.command(&[b"SET", key.as_bytes(), &value]);
}

fn offset(server: &Server) -> u64 {
    let offset = server.client().info("replication", "master_repl_offset");
    offset.and_then(|text| text.trim().parse().ok()).unwrap()
}

fn value(server: &Server) -> Vec<u8> {
    bytes(&server.client().run(command!["GET", "key:000000000000"]))
}
