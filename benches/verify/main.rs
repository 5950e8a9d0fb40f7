//! How fast `keyferry verify` is, beside the floor: reading both sides by SCAN and DUMP over as many
//! connections, and comparing nothing. The same with all questions that a comparison by SCAN has to
//! ask shows what is left to be gained.
//!
//! Both sides hold the same, so everything is compared to its end. The methods take turns, and each
//! round begins with another one; a ratio is that of two runs of the same round, and the median of
//! the rounds is shown with the least and the greatest.
//!
//!     cargo bench --bench verify                             # both works in full size
//!     cargo bench --bench verify -- mixed --rounds 9
//!     cargo bench --bench verify -- --scale 5 --rounds 1     # a try, in 5 percent of the size

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench has nobody to report to but the terminal"
)]

#[macro_use]
#[path = "../../tests/it/support/mod.rs"]
mod support;

#[allow(dead_code, reason = "each bench uses its own part")]
#[path = "../end_to_end/load.rs"]
mod load;
#[allow(dead_code, reason = "each bench uses its own part")]
#[path = "../end_to_end/usage.rs"]
mod usage;

mod data;
mod floor;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use support::{server::Server, version::Version};
use usage::Usage;

/// Pairs of connections, for everybody: as many as `keyferry verify` opens by default.
const LANES: usize = 4;

/// What is compared.
struct Work {
    name: &'static str,
    what: &'static str,
    /// Keys in full size.
    keys: u64,
    fill: fn(&mut load::Load, u64),
    /// Keys that the floor asks for at a time: what waits in the servers' buffers is bounded by it.
    page_keys: usize,
}

const WORKS: [Work; 2] = [
    Work {
        name: "mixed",
        what: "keys of all types, a third of them with a TTL",
        keys: 1_000_000,
        fill: data::mixed,
        page_keys: 512,
    },
    Work {
        name: "large",
        what: "lists, sets, zsets, hashes, streams and strings of more than 1 MiB",
        keys: 1000,
        fill: data::large,
        page_keys: 4,
    },
];

/// What the bench was asked for.
struct Arguments {
    works: Vec<String>,
    scale_percent: u64,
    rounds: usize,
    servers: [Version; 2],
}

impl Arguments {
    fn given() -> Option<Arguments> {
        let mut arguments = Arguments {
            works: Vec::new(),
            scale_percent: 100,
            rounds: 5,
            servers: [Version::named("redis-8.0"); 2],
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--scale" => arguments.scale_percent = words.next()?.parse().ok()?,
                "--rounds" => arguments.rounds = words.next()?.parse().ok().filter(|n| *n > 0)?,
                "--source" => arguments.servers[0] = Version::named(&words.next()?),
                "--target" => arguments.servers[1] = Version::named(&words.next()?),
                name if WORKS.iter().any(|work| work.name == name) => arguments.works.push(word),
                _ => return None,
            }
        }
        Some(arguments)
    }
}

/// Who reads both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Floor,
    Questions,
    Scan,
    Snapshot,
}

const METHODS: [Method; 4] = [
    Method::Floor,
    Method::Questions,
    Method::Scan,
    Method::Snapshot,
];

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Floor => "SCAN and DUMP",
            Method::Questions => "all questions",
            Method::Scan => "verify",
            Method::Snapshot => "by snapshot",
        }
    }
}

/// One run.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    usage: Usage,
    bytes_read: u64,
}

fn main() {
    let Some(arguments) = Arguments::given() else {
        println!(
            "cargo bench --bench verify -- [WORK...] [--scale PERCENT] [--rounds N]\n    \
             [--source SERVER] [--target SERVER]\n"
        );
        for work in &WORKS {
            println!("  {:<8} {} {}", work.name, work.keys, work.what);
        }
        return;
    };
    for work in &WORKS {
        if arguments.works.is_empty() || arguments.works.iter().any(|name| name == work.name) {
            measure(work, &arguments);
        }
    }
}

fn measure(work: &Work, arguments: &Arguments) {
    let [source, target] = arguments.servers.map(|version| Server::of(version).start());
    let keys = (work.keys * arguments.scale_percent / 100).max(1);
    eprintln!("{}: {keys} {} ...", work.name, work.what);
    let mut load = load::Load::open(&source);
    (work.fill)(&mut load, keys);
    load.finish();
    copy(&source, &target);
    assert_eq!([source.keys(), target.keys()], [keys, keys]);

    let mut runs: Vec<[Run; METHODS.len()]> = Vec::new();
    for round in 0..arguments.rounds {
        let mut of_round = [Run::default(); METHODS.len()];
        for turn in 0..METHODS.len() {
            let at = (turn + round) % METHODS.len();
            of_round[at] = run(METHODS[at], work, &source, &target);
            let (name, took) = (METHODS[at].name(), of_round[at].usage.wall_s);
            eprintln!("  round {}: {name} {took:.2} s", round + 1);
        }
        runs.push(of_round);
    }
    show(work, arguments, keys, &runs);
}

fn keyferry(args: &[&str], servers: [&Server; 2]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command
        .args(args)
        .args(["--source", &servers[0].url(), "--target", &servers[1].url()])
        .args(["--progress", "never", "--log-level", "warn"]);
    command
}

fn copy(source: &Server, target: &Server) {
    let scratch = tempfile::TempDir::new().unwrap();
    let mut copy = keyferry(&["sync", "--mode", "full"], [source, target]);
    copy.arg("--spool-dir").arg(scratch.path().join("spool"));
    let done = copy.stdout(Stdio::null()).status().unwrap();
    assert!(done.success(), "{done}");
}

fn run(method: Method, work: &Work, source: &Server, target: &Server) -> Run {
    match method {
        Method::Floor => read(floor::VALUE, work, [source, target]),
        Method::Questions => read(floor::ALL, work, [source, target]),
        Method::Scan => verify(&["--method", "scan"], [source, target]),
        Method::Snapshot => verify(&["--method", "snapshot"], [source, target]),
    }
}

fn read(questions: floor::Questions, work: &Work, servers: [&Server; 2]) -> Run {
    let began = Instant::now();
    let bytes_read = floor::read(servers, LANES, work.page_keys, questions);
    let wall_s = began.elapsed().as_secs_f64();
    Run {
        usage: Usage {
            wall_s,
            ..Usage::default()
        },
        bytes_read,
    }
}

fn verify(args: &[&str], servers: [&Server; 2]) -> Run {
    let scratch = tempfile::NamedTempFile::new().unwrap();
    let said: &Path = scratch.path();
    let mut command = keyferry(&[&["verify", "--json"], args].concat(), servers);
    command.arg("--lanes").arg(LANES.to_string());
    command.stdout(std::fs::File::create(said).unwrap());
    // Both sides are equal: another exit code fails the bench.
    let usage = usage::run(&mut [command]);
    let summary = std::fs::read_to_string(said).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["result"], "equal", "{summary}");
    Run {
        usage,
        bytes_read: summary["bytes_read"].as_u64().unwrap(),
    }
}

/// The median, the least and the greatest.
fn middle(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    [values[values.len() / 2], values[0], values[last]]
}

fn show(work: &Work, arguments: &Arguments, keys: u64, runs: &[[Run; METHODS.len()]]) {
    let [source, target] = arguments.servers;
    let rounds = runs.len();
    println!(
        "{}: {keys} {} ({source} and {target}, {LANES} pairs of connections, {rounds} rounds)",
        work.name, work.what
    );
    println!(
        "  {:<14} {:>9} {:>10} {:>9} {:>8} {:>10}  ratio to the floor",
        "", "seconds", "keys/s", "MB/s", "cpu s", "peak MiB"
    );
    for (at, method) in METHODS.iter().enumerate() {
        let of =
            |value: fn(&Run) -> f64| middle(runs.iter().map(|round| value(&round[at])).collect());
        let [seconds, ..] = of(|run| run.usage.wall_s);
        let [bytes, ..] = of(|run| run.bytes_read as f64);
        let [cpu, ..] = of(|run| run.usage.cpu_s.unwrap_or(f64::NAN));
        let [.., peak] = of(|run| run.usage.peak_bytes.map_or(f64::NAN, |bytes| bytes as f64));
        let ratios = runs
            .iter()
            .map(|round| round[at].usage.wall_s / round[0].usage.wall_s);
        let [ratio, least, greatest] = middle(ratios.collect());
        println!(
            "  {:<14} {seconds:>9.2} {:>10.0} {:>9.1} {cpu:>8.2} {:>10.0}  {ratio:.2} [{least:.2}, {greatest:.2}]",
            method.name(),
            keys as f64 / seconds,
            bytes / seconds / 1e6,
            peak / f64::from(1 << 20),
        );
    }
}
