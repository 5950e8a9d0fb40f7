//! The parts of `make demo` that are not keyferry: data, clients that write, and the comparison.
//!
//! ```text
//! demo load    SOURCE_URL SOURCE TARGET               loads every type of value
//! demo write   SOURCE_URL SOURCE TARGET               writes until it is killed
//! demo compare SOURCE_URL SOURCE TARGET_URL TARGET    exits 1 when the two differ
//! ```
//!
//! SOURCE and TARGET are names of `.servers/`, such as redis-7.0: they say what both can hold.
//! It is the data set, the writer and the oracle of the tests.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the demo talks to a person, and ends when something is wrong"
)]

use std::{collections::BTreeMap, process::ExitCode, thread, time::Duration};

use support::{
    client::{Client, items, text},
    dataset::Dataset,
    oracle::Oracle,
    version::Version,
    writer::Load,
};

#[macro_use]
mod support;

const SEED: u64 = 1;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["load", url, source, target] => load(url, Version::named(source), Version::named(target)),
        ["write", url, source, target] => {
            write(url, Version::named(source), Version::named(target))
        }
        ["compare", source_url, source, target_url, target] => {
            let oracle = Oracle::of(Version::named(source), Version::named(target));
            return compare(&oracle, source_url, target_url);
        }
        _ => {
            eprintln!("usage: demo load|write|compare ...");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn load(url: &str, source: Version, target: Version) {
    let mut dataset = Dataset::seeded(SEED).for_target(target);
    dataset.small_keys = 100_000;
    dataset.load_by(&mut Client::open(url).unwrap(), source);
}

fn write(url: &str, source: Version, target: Version) {
    let _writer = Load::seeded(SEED).for_target(target).start_at(url, source);
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn compare(oracle: &Oracle, source_url: &str, target_url: &str) -> ExitCode {
    let open = || [source_url, target_url].map(|url| Client::open(url).unwrap());
    let differences = oracle.differences_between(open());
    let [ours, theirs] = open().map(counted);
    println!(
        "{:<4} {:<10} {:>10} {:>10}",
        "db", "type", "source", "target"
    );
    for ((db, value_type), count) in &ours {
        let there = theirs.get(&(*db, value_type.clone())).copied().unwrap_or(0);
        println!("{db:<4} {value_type:<10} {count:>10} {there:>10}");
    }
    for difference in differences.iter().take(20) {
        println!("{difference}");
    }
    println!("{} differences", differences.len());
    ExitCode::from(u8::from(!differences.is_empty()))
}

/// How many keys of each type each database has.
fn counted(mut client: Client) -> BTreeMap<(u32, String), u64> {
    let mut counts = BTreeMap::new();
    for db in 0..16 {
        client.select(db);
        let mut cursor = "0".to_owned();
        loop {
            let page = client.run(command!["SCAN", cursor, "COUNT", "2000"]);
            let keys = items(&items(&page)[1]).iter();
            let types: Vec<_> = keys
                .map(|key| command!["TYPE", support::client::bytes(key)])
                .collect();
            for value_type in client.pipeline(&types) {
                *counts.entry((db, text(&value_type))).or_default() += 1;
            }
            cursor = text(&items(&page)[0]);
            if cursor == "0" {
                break;
            }
        }
    }
    counts.remove(&(0, "none".to_owned()));
    counts
}
