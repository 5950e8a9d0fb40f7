//! A source under load, a target, and keyferry between them.

use std::time::{Duration, Instant};

use super::{
    dataset::Dataset,
    keyferry::{Finished, Keyferry},
    migration::wait_until_confirmed,
    oracle::Oracle,
    random::Random,
    server::{Server, Setup},
    version::Version,
    writer::{Load, Writer},
};

/// How long anything that is waited for may take.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A source that keeps what is written while nobody reads, and one seed for everything.
pub(crate) struct Scene {
    pub(crate) source: Server,
    pub(crate) target: Server,
    pub(crate) seed: u64,
    began: Instant,
}

impl Scene {
    /// Two servers of these names; the source has the data set.
    pub(crate) fn between(source: &str, target: &str) -> Scene {
        Scene::with(Server::of(Version::named(source)), target, |dataset| {
            dataset
        })
    }

    /// The same with a source that is set up further, and another data set.
    pub(crate) fn with(
        source: Setup,
        target: &str,
        dataset: impl FnOnce(Dataset) -> Dataset,
    ) -> Scene {
        let source = source
            .config("repl-backlog-size 128mb")
            .config("repl-diskless-sync-delay 0");
        let (source, target) = (source.start(), Server::start(target));
        let scene = Scene::of(source, target, Random::seed_of_this_run());
        let theirs = scene.target.version();
        dataset(Dataset::seeded(scene.seed).for_target(theirs)).load(&scene.source);
        scene
    }

    /// Two servers as they are.
    pub(crate) fn of(source: Server, target: Server, seed: u64) -> Scene {
        Scene {
            source,
            target,
            seed,
            began: Instant::now(),
        }
    }

    /// Starts writing to the source.
    pub(crate) fn write(&self) -> Writer {
        let mut load = Load::seeded(self.seed).for_target(self.target.version());
        load.operations_per_second = Some(3000);
        load.start(&self.source)
    }

    /// Starts `keyferry sync` between the two.
    pub(crate) fn sync(&self, args: &[&str]) -> Keyferry {
        sync(&self.source.url(), &self.target.url(), args)
    }

    /// How many full resyncs the source has answered.
    pub(crate) fn snapshots(&self) -> u64 {
        snapshots_of(&self.source)
    }

    /// Ends the writing, waits until all of it is on the target, stops, and compares.
    pub(crate) fn finish(&self, writer: Writer, keyferry: Keyferry) -> Finished {
        writer.stop();
        self.finish_written(keyferry)
    }

    /// The same when nobody writes any more.
    pub(crate) fn finish_written(&self, mut keyferry: Keyferry) -> Finished {
        wait_until_confirmed(&self.source, &mut keyferry);
        keyferry.signal("TERM");
        let finished = keyferry.wait(SOON);
        finished.assert_code(0);
        self.assert_equal();
        finished
    }

    /// Compares what both servers have.
    pub(crate) fn assert_equal(&self) {
        let oracle = Oracle::after(&self.source, &self.target, self.began.elapsed());
        oracle.assert_equal(&self.source, &self.target);
    }
}

/// Starts `keyferry sync` between two URLs.
pub(crate) fn sync(source: &str, target: &str, args: &[&str]) -> Keyferry {
    let mut all = vec!["sync", "--source", source, "--target", target, "--json"];
    all.extend(args);
    Keyferry::start(&all, &[])
}

/// How many full resyncs a server has answered.
pub(crate) fn snapshots_of(source: &Server) -> u64 {
    let count = source.client().info("stats", "sync_full").unwrap();
    count.trim().parse().unwrap()
}
