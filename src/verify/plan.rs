//! What is compared, and how: fixed from the beginning of a verification to its end.

use std::{num::NonZeroU64, path::PathBuf, sync::Arc, time::Duration};

use crate::{dump::Filter, keyspace::Db, sync::LinkConfig};

use super::{
    PeerConfig, Progress, Side, compare::Rules, own_keys::is_of_keyferry, server::Server,
    sync_status::SyncStatus,
};

/// How deep values are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything.
    Full,
    /// Type, number of elements, expiry.
    Metadata,
    /// Whether the key is there.
    Existence,
}

impl Depth {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Depth::Full => "full",
            Depth::Metadata => "metadata",
            Depth::Existence => "existence",
        }
    }
}

/// How the keys that differ are found.
#[derive(Debug, Clone)]
pub enum Method {
    /// By paging through both keyspaces.
    Scan,
    /// By comparing snapshots of both sides.
    Snapshot {
        /// How the source is joined.
        source: Box<LinkConfig>,
        /// How the target is joined.
        target: Box<LinkConfig>,
        /// Where digests are kept; `None` is the system's place for temporary files.
        dir: Option<PathBuf>,
    },
}

impl Method {
    /// Its name on the command line and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Scan => "scan",
            Method::Snapshot { .. } => "snapshot",
        }
    }
}

/// The file that names what was found.
#[derive(Debug, Clone)]
pub struct ReportConfig {
    /// Where it is.
    pub path: PathBuf,
    /// It may replace another file.
    pub overwrite: bool,
    /// It is gone on with.
    pub resume: bool,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The server that is the truth.
    pub source: PeerConfig,
    /// The server that is compared with it.
    pub target: PeerConfig,
    /// How keys that differ are found.
    pub method: Method,
    /// How deep values are looked into.
    pub depth: Depth,
    /// One of so many keys is looked at.
    pub sample: u64,
    /// Which keys are looked at.
    pub filter: Filter,
    /// The selection as text, for reports.
    pub selection: String,
    /// How far apart expiries may be.
    pub ttl_tolerance: Duration,
    /// Values from here on are compared page by page, in bytes of memory they take.
    pub large_key_bytes: u64,
    /// Pairs of connections.
    pub lanes: usize,
    /// Keys that are read in a second, at the most.
    pub keys_per_s: Option<NonZeroU64>,
    /// Bytes that are read in a second, at the most.
    pub bytes_per_s: Option<NonZeroU64>,
    /// How often keys that differ are read again.
    pub rounds: u64,
    /// The pause before each round.
    pub round_delay: Duration,
    /// The status of a sync that follows.
    pub sync_status: Option<SyncStatus>,
    /// Where differences are written to.
    pub report: Option<ReportConfig>,
}

/// A verification and the servers it is about.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Server,
    pub(super) target: Server,
    pub(super) depth: Depth,
    pub(super) sample: u64,
    pub(super) filter: Filter,
    pub(super) large_key_bytes: u64,
    pub(super) ttl_tolerance_ms: i64,
    /// A sync follows, which may hold expiries.
    pub(super) follows_sync: bool,
    pub(super) progress: Arc<Progress>,
}

impl Plan {
    /// Looks at both sides.
    ///
    /// # Errors
    /// One of them cannot be asked.
    pub(super) async fn of(
        verification: &Verification,
        progress: &Arc<Progress>,
    ) -> Result<Plan, super::Error> {
        let configs = [&verification.source, &verification.target];
        let [source, target] = configs.map(|config| Arc::new(config.clone()));
        debug_assert!(source.side == Side::Source && target.side == Side::Target);
        let (source, target) = tokio::try_join!(
            Server::look(&source, progress),
            Server::look(&target, progress)
        )?;
        Ok(Plan {
            source,
            target,
            depth: verification.depth,
            sample: verification.sample.max(1),
            filter: verification.filter.clone(),
            large_key_bytes: verification.large_key_bytes,
            ttl_tolerance_ms: i64::try_from(verification.ttl_tolerance.as_millis())
                .unwrap_or(i64::MAX),
            follows_sync: verification.sync_status.is_some(),
            progress: Arc::clone(progress),
        })
    }

    /// How values are compared at this moment.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            ttl_tolerance_ms: self.ttl_tolerance_ms,
            source_now_ms: self.source.now_ms(),
            target_now_ms: self.target.now_ms(),
            releases_held: self.follows_sync,
        }
    }

    /// Whether a key is compared. One that is not is counted.
    pub(super) fn selects(&self, db: Db, key: &[u8]) -> bool {
        if is_of_keyferry(key) || !self.filter.selects_name(db, key) {
            self.progress.filtered.add(1);
            return false;
        }
        // The same keys on both sides, and in every run.
        if self.sample > 1 && !crc_of(key).is_multiple_of(self.sample) {
            self.progress.not_sampled.add(1);
            return false;
        }
        true
    }

    /// The dbs that either side has and that are selected, with the keys of the source and of the
    /// target.
    pub(super) fn dbs(&self) -> Vec<Db> {
        let all = [&self.source.dbs, &self.target.dbs];
        let mut dbs: Vec<Db> = all.into_iter().flatten().map(|(db, _)| *db).collect();
        dbs.sort_unstable();
        dbs.dedup();
        dbs.retain(|db| self.filter.dbs.as_ref().is_none_or(|dbs| dbs.contains(db)));
        dbs
    }
}

pub(super) fn crc_of(key: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, key)
}
