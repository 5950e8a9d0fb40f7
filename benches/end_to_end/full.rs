//! Full syncs: everything that a source has, to an empty target.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    arguments::Arguments,
    support::{
        client::text,
        server::{Server, Setup},
        version::{Family, Version},
    },
    table::{Measure, Round},
    usage::{Usage, run, server_cpu_s},
    works::Work,
};

/// Who moves the data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Method<'a> {
    Keyferry(&'a Path),
    /// Another build of it.
    Baseline(&'a Path),
    /// REPLICAOF; the replica writes the snapshot to disk first, which is the default.
    NativeByDisk,
    /// REPLICAOF; the replica loads the snapshot as it arrives.
    NativeDiskless,
    RedisShake(&'a Path),
}

impl Method<'_> {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Keyferry(_) => "keyferry",
            Method::Baseline(_) => "baseline",
            Method::NativeByDisk => "native, by disk",
            Method::NativeDiskless => "native, diskless",
            Method::RedisShake(_) => "RedisShake",
        }
    }
}

/// This build of keyferry.
pub(crate) fn keyferry() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_keyferry"))
}

/// All methods that were asked for.
fn methods(arguments: &Arguments) -> Vec<Method<'_>> {
    let mut methods = vec![
        Method::Keyferry(keyferry()),
        Method::NativeByDisk,
        Method::NativeDiskless,
    ];
    methods.extend(arguments.baseline.as_deref().map(Method::Baseline));
    methods.extend(arguments.redis_shake.as_deref().map(Method::RedisShake));
    methods
}

/// A server as the benches want it: nothing is cut off, and `DEBUG DIGEST` is allowed.
pub(crate) fn server(version: Version) -> Setup {
    let setup = Server::of(version)
        .config("client-output-buffer-limit replica 0 0 0")
        .config("repl-backlog-size 1gb");
    match version {
        Version {
            family: Family::Redis,
            release: (..7, _),
            ..
        } => setup,
        _ => setup.config("enable-debug-command yes"),
    }
}

/// A data set in all rounds, by all methods.
pub(crate) fn full_syncs(work: &Work, arguments: &Arguments) -> Vec<Round> {
    let (source_version, target_version) = work.versions(arguments);
    let source = server(source_version).start();
    work.fill(&source, arguments, 0);
    let items = work.items(arguments);
    let bytes = snapshot_bytes(&source);
    let digest = digest(&source);
    let methods = methods(arguments);
    rounds(arguments, &methods, |method| {
        let target = server(target_version).start();
        let (source_cpu, target_cpu) = (server_cpu_s(&source), server_cpu_s(&target));
        let usage = full_sync(method, &[(&source, &target)]);
        let measure = Measure {
            usage,
            items,
            bytes,
            servers_cpu_s: server_cpu_s(&source) + server_cpu_s(&target) - source_cpu - target_cpu,
            ..Measure::of(method.name())
        };
        assert_eq!(digest, self::digest(&target), "{}", method.name());
        measure
    })
}

/// Runs the methods in turns, each round beginning with another one.
pub(crate) fn rounds<M: Copy>(
    arguments: &Arguments,
    methods: &[M],
    mut run: impl FnMut(M) -> Measure,
) -> Vec<Round> {
    let round = |round: usize| {
        let first = round % methods.len();
        let (before, behind) = methods.split_at(first);
        let mut measures: Vec<Measure> = behind.iter().chain(before).map(|it| run(*it)).collect();
        measures.rotate_right(first);
        Round(measures)
    };
    (0..arguments.rounds).map(round).collect()
}

/// Moves all data of each source to its target, at once.
pub(crate) fn full_sync(method: Method<'_>, pairs: &[(&Server, &Server)]) -> Usage {
    let scratch = TempDir::new().unwrap();
    let command = |index: usize, (source, target): &(&Server, &Server), program: &Path| {
        let mut command = Command::new(program);
        let log = File::create(scratch.path().join(format!("log-{index}"))).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        match method {
            Method::RedisShake(_) => {
                let directory = scratch.path().join(format!("shake-{index}"));
                std::fs::create_dir(&directory).unwrap();
                let config = directory.join("shake.toml");
                std::fs::write(&config, redis_shake_config(source, target, &directory)).unwrap();
                command.arg(config).current_dir(&directory);
            }
            _ => {
                command.args(["sync", "--mode", "full", "--progress", "never"]);
                command.args(["--source", &source.url(), "--target", &target.url()]);
                command
                    .arg("--spool-dir")
                    .arg(scratch.path().join(format!("spool-{index}")));
            }
        }
        command
    };
    match method {
        Method::NativeByDisk | Method::NativeDiskless => native(method, pairs),
        Method::Keyferry(program) | Method::Baseline(program) | Method::RedisShake(program) => {
            let commands = pairs.iter().enumerate();
            let mut commands: Vec<Command> = commands
                .map(|(index, pair)| command(index, pair, program))
                .collect();
            run(&mut commands)
        }
    }
}

/// Makes replicas of the targets, until they have loaded the snapshot.
fn native(method: Method<'_>, pairs: &[(&Server, &Server)]) -> Usage {
    let mut targets: Vec<_> = pairs.iter().map(|(_, target)| target.client()).collect();
    if matches!(method, Method::NativeDiskless) {
        for target in &mut targets {
            target.run(command![
                "CONFIG",
                "SET",
                "repl-diskless-load",
                "on-empty-db"
            ]);
        }
    }
    let began = Instant::now();
    for ((source, _), target) in pairs.iter().zip(&mut targets) {
        target.run(command!["REPLICAOF", "127.0.0.1", u64::from(source.port())]);
    }
    for target in &mut targets {
        while target.info("replication", "master_link_status").as_deref() != Some("up") {
            thread::sleep(Duration::from_millis(2));
        }
    }
    Usage {
        wall_s: began.elapsed().as_secs_f64(),
        ..Usage::default()
    }
}

fn redis_shake_config(source: &Server, target: &Server, directory: &Path) -> String {
    format!(
        "[sync_reader]\naddress = \"{}\"\nsync_rdb = true\nsync_aof = false\n\
         [redis_writer]\naddress = \"{}\"\n\
         [advanced]\ndir = \"{}\"\nlog_level = \"warn\"\nstatus_port = 0\n",
        source.address(),
        target.address(),
        directory.display()
    )
}

/// How long the source's RDB file is.
fn snapshot_bytes(source: &Server) -> u64 {
    let file = source.save();
    std::fs::metadata(file).unwrap().len()
}

/// What the server itself thinks that its data sums up to.
fn digest(server: &Server) -> String {
    text(&server.client().run(command!["DEBUG", "DIGEST"]))
}

/// Four sources to four targets at once, beside one of them.
pub(crate) fn four_pairs(work: &Work, arguments: &Arguments) -> Vec<Round> {
    let (source_version, target_version) = work.versions(arguments);
    let sources: Vec<Server> = (0..4).map(|_| server(source_version).start()).collect();
    for (part, source) in sources.iter().enumerate() {
        work.fill(source, arguments, part as u64);
    }
    let bytes = snapshot_bytes(&sources[0]);
    rounds(arguments, &[4, 1], |pairs| {
        let sources = &sources[..pairs];
        let targets: Vec<Server> = sources
            .iter()
            .map(|_| server(target_version).start())
            .collect();
        let both: Vec<_> = sources.iter().zip(&targets).collect();
        let keys: u64 = sources.iter().map(Server::keys).sum();
        let measure = Measure {
            usage: full_sync(Method::Keyferry(keyferry()), &both),
            items: work.items(arguments) * pairs as u64,
            bytes: bytes * pairs as u64,
            ..Measure::of(if pairs == 4 { "four at once" } else { "one" })
        };
        assert_eq!(keys, targets.iter().map(Server::keys).sum::<u64>());
        measure
    })
}

/// A data set of one key, beside small keys of the same number: what is of interest is the memory.
pub(crate) fn memory(work: &Work, arguments: &Arguments) -> Vec<Round> {
    let (source_version, target_version) = work.versions(arguments);
    let strings = crate::works::WORKS.iter().find(|it| it.name == "strings");
    let works = [("one key", work), ("small keys", strings.unwrap())];
    let sources = works.map(|(_, work)| {
        let source = server(source_version).start();
        work.fill(&source, arguments, 0);
        source
    });
    rounds(arguments, &[0, 1], |which: usize| {
        let source = &sources[which];
        let target = server(target_version).start();
        let measure = Measure {
            usage: full_sync(Method::Keyferry(keyferry()), &[(source, &target)]),
            items: work.items(arguments),
            ..Measure::of(works[which].0)
        };
        assert_eq!(digest(source), digest(&target));
        measure
    })
}
