//! A migration under load that something is going to happen to.

use std::time::Duration;

use super::{
    dataset::Dataset,
    keyferry::{Finished, Keyferry},
    migration::wait_until_confirmed,
    oracle::Oracle,
    random::Random,
    server::Server,
    version::Version,
    writer::{Load, Writer},
};

const SOON: Duration = Duration::from_secs(60);

/// A source that keeps what is written while nobody reads, and one seed for everything.
pub(crate) struct Scene {
    pub(crate) source: Server,
    pub(crate) target: Server,
    pub(crate) seed: u64,
}

impl Scene {
    /// Both servers, and the data set on the source.
    pub(crate) fn between(source: &str, target: &str) -> Scene {
        let seed = Random::seed_of_this_run();
        let source = Server::of(Version::named(source))
            .config("repl-backlog-size 128mb")
            .config("repl-diskless-sync-delay 0")
            .start();
        let target = Server::of(Version::named(target)).start();
        let scene = Scene {
            source,
            target,
            seed,
        };
        let theirs = scene.target.version();
        Dataset::seeded(seed).for_target(theirs).load(&scene.source);
        scene
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
        self.end(keyferry)
    }

    /// Waits until all that was written is on the target, stops, and compares.
    pub(crate) fn end(&self, mut keyferry: Keyferry) -> Finished {
        wait_until_confirmed(&self.source, &mut keyferry);
        keyferry.signal("TERM");
        let finished = keyferry.wait(SOON);
        finished.assert_code(0);
        Oracle::between(&self.source, &self.target).assert_equal(&self.source, &self.target);
        finished
    }
}

/// Starts `keyferry sync` between these URLs.
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
