//! A whole migration between two real servers under a live writer, judged by the oracle.

use std::time::{Duration, Instant};

use super::{
    dataset::Dataset,
    keyferry::{Finished, Keyferry},
    oracle::Oracle,
    random::Random,
    server::{Server, wait_for},
    verification::Verify,
    version::Version,
    writer::{Load, Written},
};

/// How one pair of servers is tried.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) seed: u64,
    /// How long the writer goes on after the source's snapshot was asked for.
    pub(crate) written_for: Duration,
    /// Further arguments of `keyferry sync`.
    pub(crate) args: Vec<String>,
    /// Further lines of the source's and the target's configuration.
    pub(crate) source_config: Vec<String>,
    pub(crate) target_config: Vec<String>,
}

impl Trial {
    pub(crate) fn new() -> Trial {
        Trial {
            seed: Random::seed_of_this_run(),
            written_for: Duration::from_secs(4),
            args: Vec::new(),
            source_config: Vec::new(),
            target_config: Vec::new(),
        }
    }
}

/// Data set and writer on the source, `keyferry sync` to the target, writer stopped, target
/// caught up, SIGTERM, oracle, `keyferry verify`.
///
/// # Panics
/// When keyferry does not end with 0 or the two sides differ.
pub(crate) fn run_pair(source: Version, target: Version, trial: &Trial) -> (Finished, Written) {
    eprintln!("--- {source} to {target}");
    let [source, target] = [
        (source, &trial.source_config),
        (target, &trial.target_config),
    ]
    .map(|(version, config)| {
        let setup = config
            .iter()
            .fold(Server::of(version), |s, line| s.config(line));
        setup.start()
    });
    let theirs = target.version();
    Dataset::seeded(trial.seed).for_target(theirs).load(&source);
    let writer = Load::seeded(trial.seed).for_target(theirs).start(&source);

    let mut args = vec!["sync".to_owned(), "--source".to_owned(), source.url()];
    args.extend(["--target".to_owned(), target.url()]);
    args.extend(["--mode".to_owned(), "full+incremental".to_owned()]);
    args.push("--json".to_owned());
    args.extend(trial.args.iter().cloned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let began = Instant::now();
    let mut keyferry = Keyferry::start(&args, &[]);

    std::thread::sleep(trial.written_for);
    assert!(
        keyferry.running(),
        "keyferry ended early:\n{}",
        keyferry.stderr()
    );
    let written = writer.stop();
    wait_until_confirmed(&source, &mut keyferry);
    keyferry.signal("TERM");
    let finished = keyferry.wait(Duration::from_secs(60));
    finished.assert_code(0);
    let oracle = Oracle::after(&source, &target, began.elapsed());
    oracle.assert_equal(&source, &target);
    // What every client sees as equal, the verifier has to call so, too.
    let tolerance = format!("{}ms", oracle.expiry_tolerance_ms.max(1000));
    Verify::of(&source, &target)
        .with(&["--ttl-tolerance", &tolerance])
        .run()
        .assert_equal();
    (finished, written)
}

/// Waits until the replica that keyferry is to the source has acknowledged all of it.
pub(crate) fn wait_until_confirmed(source: &Server, keyferry: &mut Keyferry) {
    let mut client = source.client();
    let written: i64 = client
        .info("replication", "master_repl_offset")
        .and_then(|offset| offset.trim().parse().ok())
        .unwrap();
    wait_for(
        "the confirmation of the target",
        Duration::from_secs(120),
        || {
            assert!(
                keyferry.running(),
                "keyferry ended early:\n{}",
                keyferry.stderr()
            );
            let replica = client.info("replication", "slave0").unwrap_or_default();
            let online = replica.contains("state=online");
            let offset = replica
                .split(',')
                .find_map(|part| part.strip_prefix("offset="));
            online && offset.and_then(|o| o.trim().parse::<i64>().ok()) >= Some(written)
        },
    );
}
