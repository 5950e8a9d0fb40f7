//! Compares what both servers send as a snapshot to their replicas: no key is asked for.
//!
//! ```text
//!  source ──snapshot──► digests ──► partitions ─┐
//!                                               ├─► joined ──► keys to be read again
//!  target ──snapshot──► digests ──► partitions ─┘
//! ```
//!
//! Both come at the same time, but never from the same moment, and a digest may differ although
//! nothing does: whatever differs here is a suspect, which is read from both sides by commands. Values
//! are hashed as they come ([`digest`]), so a giant one takes no memory; what is kept of a key is its
//! name and some sixty bytes, beyond some megabytes on the disk ([`partition`]).

pub(super) mod digest;
mod partition;
mod record;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::JoinSet;

use crate::{
    dump::{self, Feed, Filter, Reader},
    keyspace::{Db, UnixMs},
    rdb::{Altitude, Event, Key, KeyType, Limits},
    sink::Hold,
    sync::{self, LinkConfig},
};

use super::{
    Error, ErrorKind, Side,
    compare::Rules,
    plan::{Depth, Plan},
    report::Suspect,
};

use digest::Digester;
use partition::{Bounds, Join, Spread};
use record::Record;

/// How often a snapshot is taken again that broke off.
const ATTEMPTS: usize = 3;

/// The keys that differ between two snapshots, as far as those tell.
pub(super) struct Suspects {
    join: Join,
    dir: PathBuf,
}

impl Suspects {
    /// The next one; `None` behind the last. No key comes twice.
    ///
    /// # Errors
    /// `Spool` when what was kept cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Suspect>, Error> {
        self.join.next().map_err(|error| spool(&self.dir, error))
    }
}

/// Takes the snapshots of both sides at once, and says in which keys they differ.
///
/// What does not fit in memory is kept in files without names in `dir`, or where the system has
/// temporary files.
///
/// May be dropped midway: nothing is left of it.
///
/// # Errors
/// `Server` for a side that sends no snapshot, or none that can be read; `Spool`.
pub(super) async fn suspects(
    source: LinkConfig,
    target: LinkConfig,
    plan: &Arc<Plan>,
    dir: Option<&Path>,
) -> Result<Suspects, Error> {
    let dir = dir.map_or_else(std::env::temp_dir, Path::to_owned);
    // Before anybody has to fork.
    tempfile::tempfile_in(&dir).map_err(|error| spool(&dir, error))?;
    let bounds = Bounds::new(dir.clone(), fastrand::u64(..));
    // Each is read by a task of its own: two processors have something to do.
    let mut sides = JoinSet::new();
    for (side, link) in [(Side::Source, source), (Side::Target, target)] {
        let taking = Taking {
            side,
            link,
            plan: Arc::clone(plan),
            bounds: bounds.clone(),
        };
        sides.spawn(async move { (side, taking.take().await) });
    }
    let (mut source, mut target) = (None, None);
    while let Some(taken) = sides.join_next().await {
        match taken {
            Ok((Side::Source, taken)) => source = Some(taken?),
            Ok((Side::Target, taken)) => target = Some(taken?),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    let (Some(source), Some(target)) = (source, target) else {
        unreachable!("both tasks have ended");
    };
    let bytes = source.file_bytes() + target.file_bytes();
    tracing::info!(
        bytes,
        "both snapshots are in; so much of them is on the disk"
    );
    let join = Join::new(source, target, plan.rules());
    Ok(Suspects { join, dir })
}

/// What takes the snapshot of a side.
struct Taking {
    side: Side,
    link: LinkConfig,
    plan: Arc<Plan>,
    bounds: Bounds,
}

/// Why a snapshot was not taken.
enum Failure {
    Dump(dump::Error),
    Disk(io::Error),
}

impl From<dump::Error> for Failure {
    fn from(error: dump::Error) -> Failure {
        Failure::Dump(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Disk(error)
    }
}

impl Taking {
    async fn take(self) -> Result<Spread, Error> {
        let mut attempt = 1;
        loop {
            match self.attempt().await {
                Ok(spread) => return Ok(spread),
                Err(Failure::Disk(error)) => return Err(spool(&self.bounds.dir, error)),
                Err(Failure::Dump(error)) if attempt < ATTEMPTS && broke_off(&error) => {
                    tracing::warn!(
                        "the {error}: its snapshot is taken again",
                        error = self.named(error)
                    );
                    attempt += 1;
                }
                Err(Failure::Dump(error)) => return Err(self.named(error)),
            }
        }
    }

    async fn attempt(&self) -> Result<Spread, Failure> {
        let side = self.side;
        let feed = Feed::source(&self.link, &mut |notice| notice.log(side)).await?;
        let mut reader = Reader::new(feed, Filter::default(), Limits::default());
        let mut spread = Spread::new(&self.bounds);
        let rules = self.plan.rules();
        let mut reading = Reading {
            rules,
            digester: Digester::new(side, rules, self.plan.depth, self.bounds.seed),
            key: None,
            keys: 0,
            bytes_counted: 0,
        };
        while let Some(event) = reader.next().await? {
            match event {
                Event::Header(header) => reading.digester.header(header),
                Event::ResizeDb { keys, .. } => self.plan.progress.keys_total.add(keys),
                Event::Key(key) => {
                    reader.choose(self.begin(&mut reading, reader.db(), key));
                    reading.count(&self.plan, reader.input_bytes());
                }
                Event::ValueEnd => {
                    if let Some((db, key)) = reading.key.take() {
                        let record = self.record(db, &key, reading.digester.end());
                        spread.add(&record)?;
                    }
                }
                event if reading.key.is_some() => reading.digester.feed(event),
                _ => {}
            }
        }
        reader.finish().await?;
        reading.count(&self.plan, reader.input_bytes());
        match side {
            Side::Source => self.plan.progress.keys_compared.add(reading.keys),
            Side::Target => self.plan.progress.keys_looked_up.add(reading.keys),
        }
        Ok(spread)
    }

    /// Begins with a key; returns how deep its value is to be looked into.
    fn begin(&self, reading: &mut Reading, db: Db, key: Key) -> Altitude {
        self.plan.progress.keys_done.add(1);
        let is_gone = is_gone(self.side, key.expire_at_ms, &reading.rules);
        if is_gone || !self.plan.selects(db, &key.key) {
            return Altitude::Skip;
        }
        reading.keys += 1;
        reading.digester.begin(key.value_type);
        reading.key = Some((db, key));
        match self.plan.depth {
            Depth::Full | Depth::Metadata => Altitude::Content,
            Depth::Existence => Altitude::Skip,
        }
    }

    fn record<'k>(&self, db: Db, key: &'k Key, digest: digest::Digest) -> Record<'k> {
        let is_existence = self.plan.depth == Depth::Existence;
        let (key_type, expire_at_ms) = match is_existence {
            true => (KeyType::String, None),
            false => (KeyType::of(key.value_type), key.expire_at_ms),
        };
        Record {
            db,
            key: &key.key,
            key_type,
            expire_at_ms,
            digest,
        }
    }

    fn named(&self, error: dump::Error) -> Error {
        let kind = match error.kind {
            dump::ErrorKind::Source(error) => ErrorKind::Replication(error),
            dump::ErrorKind::Rdb(error) => ErrorKind::Snapshot(error),
            _ => ErrorKind::Snapshot(Box::new(error)),
        };
        Error::Server {
            side: self.side,
            endpoint: self.link.endpoint.clone(),
            kind,
        }
    }
}

/// A snapshot that is being read.
struct Reading {
    rules: Rules,
    digester: Digester,
    /// The key whose value is being read, if that is looked at.
    key: Option<(Db, Key)>,
    /// How many were looked at.
    keys: u64,
    bytes_counted: u64,
}

impl Reading {
    /// Counts the bytes that have come since it was last done.
    fn count(&mut self, plan: &Plan, input_bytes: u64) {
        plan.progress
            .bytes_read
            .add(input_bytes - self.bytes_counted);
        self.bytes_counted = input_bytes;
    }
}

/// Whether a key has expired, so that clients do not see it.
fn is_gone(side: Side, expire_at_ms: Option<UnixMs>, rules: &Rules) -> bool {
    let released = expire_at_ms
        .and_then(Hold::release)
        .filter(|_| rules.releases_held);
    let (at, now_ms) = match side {
        Side::Source => (expire_at_ms, rules.source_now_ms),
        Side::Target => (released.or(expire_at_ms), rules.target_now_ms),
    };
    at.is_some_and(|at| at < now_ms)
}

/// Whether a snapshot ended before its end, so that another one may come to it.
fn broke_off(error: &dump::Error) -> bool {
    match &error.kind {
        dump::ErrorKind::Source(error) => matches!(
            error.kind,
            sync::ErrorKind::Broken
                | sync::ErrorKind::ClosedInSnapshot
                | sync::ErrorKind::ClosedInHandshake
                | sync::ErrorKind::Silent(_)
        ),
        _ => false,
    }
}

fn spool(dir: &Path, source: io::Error) -> Error {
    Error::Spool {
        dir: dir.to_owned(),
        source,
    }
}
