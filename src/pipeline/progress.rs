//! What was done so far: counters that many tasks bump and one display reads.
//!
//! Every number only says what happened; nothing in a migration depends on it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::{rdb::KeyType, sink::Window, telemetry::Counter};

use super::Lag;

/// Where a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Both servers are being connected and looked at.
    Connecting,
    /// The source prepares its snapshot.
    WaitingForSnapshot,
    /// The snapshot comes in and is written.
    Snapshot,
    /// The stream that piled up during the snapshot is applied.
    CatchingUp,
    /// Held expiries are shifted back.
    Releasing,
    /// The stream is applied as it comes.
    Following,
    /// Nothing more is read; what was read is confirmed by the target.
    Draining,
    /// All is over.
    Done,
}

impl Phase {
    /// Its name, as logs show it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::WaitingForSnapshot => "waiting for the snapshot",
            Phase::Snapshot => "snapshot",
            Phase::CatchingUp => "catching up",
            Phase::Releasing => "releasing expiries",
            Phase::Following => "following",
            Phase::Draining => "draining",
            Phase::Done => "done",
        }
    }
}

/// Why a key or a command was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The filter does not select the key.
    NotSelected,
    /// The key exists on the target and `on-conflict` is `skip`.
    Conflict,
    /// The same of a function library.
    ConflictFunctions,
    /// The key had expired already.
    Expired,
    /// The key has no element; no server keeps such a key.
    Empty,
    /// The target cannot hold it and `on-lossy` is `drop`.
    Lossy,
    /// A PUBLISH or SPUBLISH and `publish` is `drop`.
    Publish,
    /// A greeting among sentinels; it must never reach those of the target.
    SentinelHello,
}

impl SkipReason {
    /// All of them, in the order they are shown.
    pub const ALL: [SkipReason; 8] = [
        SkipReason::NotSelected,
        SkipReason::Conflict,
        SkipReason::ConflictFunctions,
        SkipReason::Expired,
        SkipReason::Empty,
        SkipReason::Lossy,
        SkipReason::Publish,
        SkipReason::SentinelHello,
    ];

    /// Its name, as logs and the summary show it.
    pub fn name(self) -> &'static str {
        match self {
            SkipReason::NotSelected => "not_selected",
            SkipReason::Conflict => "conflict",
            SkipReason::ConflictFunctions => "conflict_functions",
            SkipReason::Expired => "expired",
            SkipReason::Empty => "empty",
            SkipReason::Lossy => "lossy",
            SkipReason::Publish => "publish",
            SkipReason::SentinelHello => "sentinel_hello",
        }
    }
}

/// A replication offset that may not be known yet.
#[derive(Debug)]
pub struct OffsetGauge(AtomicI64);

impl Default for OffsetGauge {
    fn default() -> OffsetGauge {
        OffsetGauge(AtomicI64::new(-1))
    }
}

impl OffsetGauge {
    /// Replaces the offset. Offsets of servers fit 63 bits.
    pub fn set(&self, offset: u64) {
        self.0
            .store(i64::try_from(offset).unwrap_or(i64::MAX), Relaxed);
    }

    /// The offset, if it is known.
    pub fn get(&self) -> Option<u64> {
        u64::try_from(self.0.load(Relaxed)).ok()
    }
}

/// What a migration may have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Awaited {
    /// The source, or the link to it.
    Source,
    /// The target, or the connection to it.
    Target,
    /// Room for what the source sends.
    Spool,
}

/// What both servers said they are, as far as they did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Servers {
    /// Such as `Redis 7.0.15`.
    pub source_version: Option<String>,
    /// The history of the source that is read.
    pub replid: Option<String>,
    /// Whether the snapshot comes over a connection of its own; `None` before one comes.
    pub snapshot_channel: Option<bool>,
    /// Such as `Valkey 8.1.1`.
    pub target_version: Option<String>,
}

/// What a running migration has done so far. Share it in an `Arc`; every method takes `&self`.
#[derive(Debug)]
pub struct Progress {
    name: Option<String>,
    started: Instant,
    started_at: SystemTime,
    servers: Mutex<Servers>,
    phases: Mutex<Vec<(Phase, Duration)>>,
    waiting: Mutex<BTreeMap<Awaited, String>>,
    lag: Mutex<Lag>,
    keys_written: [Counter; KeyType::ALL.len()],
    skipped: [Counter; SkipReason::ALL.len()],
    /// Bytes of the snapshot received.
    pub rdb_bytes: Counter,
    /// Length of the snapshot, from its `$<length>`; nil when the source does not say.
    pub rdb_bytes_total: Counter,
    /// Keys the snapshot is expected to hold, from DBSIZE or RESIZEDB; nil when unknown.
    pub keys_total: Counter,
    /// Keys read from the snapshot, whatever became of them.
    pub keys_read: Counter,
    /// Function libraries confirmed by the target.
    pub functions: Counter,
    /// Commands of the stream confirmed by the target; not PING, SELECT, MULTI, EXEC.
    pub commands: Counter,
    /// Bytes received from the source, snapshot and stream.
    pub bytes_read: Counter,
    /// Bytes sent to the target.
    pub bytes_written: Counter,
    /// Error replies of the target, retried ones included.
    pub errors: Counter,
    /// Commands sent again after a passing error.
    pub retries: Counter,
    /// Connections to the source or the target that were lost and opened again.
    pub reconnects: Counter,
    /// Commands of the stream that found another state on the target than on the source.
    pub diverged: Counter,
    /// Expiries written held and not released yet.
    pub expiries_held: Counter,
    /// Memory that bytes of the stream take which wait to be applied.
    pub spool_memory_bytes: Counter,
    /// Disk space that such bytes take.
    pub spool_disk_bytes: Counter,
    /// What is in flight to the target.
    pub window: Arc<Window>,
    /// The stream was received up to here.
    pub received_offset: OffsetGauge,
    /// The stream was parsed up to here.
    pub parsed_offset: OffsetGauge,
    /// The target has confirmed the stream up to here. Set it once the snapshot is in, not before.
    pub applied_offset: OffsetGauge,
    /// The source was told this offset.
    pub acked_offset: OffsetGauge,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            name: None,
            started: Instant::now(),
            started_at: SystemTime::now(),
            servers: Mutex::default(),
            phases: Mutex::new(vec![(Phase::Connecting, Duration::ZERO)]),
            waiting: Mutex::default(),
            lag: Mutex::default(),
            keys_written: Default::default(),
            skipped: Default::default(),
            rdb_bytes: Counter::default(),
            rdb_bytes_total: Counter::default(),
            keys_total: Counter::default(),
            keys_read: Counter::default(),
            functions: Counter::default(),
            commands: Counter::default(),
            bytes_read: Counter::default(),
            bytes_written: Counter::default(),
            errors: Counter::default(),
            retries: Counter::default(),
            reconnects: Counter::default(),
            diverged: Counter::default(),
            expiries_held: Counter::default(),
            spool_memory_bytes: Counter::default(),
            spool_disk_bytes: Counter::default(),
            window: Arc::default(),
            received_offset: OffsetGauge::default(),
            parsed_offset: OffsetGauge::default(),
            applied_offset: OffsetGauge::default(),
            acked_offset: OffsetGauge::default(),
        }
    }
}

impl Progress {
    /// Writes in the window of an earlier run, with the limits that it was given meanwhile.
    #[must_use]
    pub fn in_window(self, window: Arc<Window>) -> Progress {
        Progress { window, ..self }
    }

    /// The progress of a migration that is one of several, or is called something.
    pub fn named(name: Option<&str>) -> Progress {
        Progress {
            name: name.map(str::to_owned),
            ..Progress::default()
        }
    }

    /// What the migration is called; the label `migration` of its metrics.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Notes what a server said it is.
    pub fn learn(&self, note: impl FnOnce(&mut Servers)) {
        note(&mut locked(&self.servers));
    }

    /// Begins a phase; a phase that is begun again goes on.
    pub fn enter(&self, phase: Phase) {
        let mut phases = locked(&self.phases);
        if phases.last().is_none_or(|(last, _)| *last != phase) {
            phases.push((phase, self.started.elapsed()));
        }
    }

    /// Shows why `awaited` holds everything up: `waiting because <reason>`. `None` when it no longer
    /// does.
    pub fn wait_because(&self, awaited: Awaited, reason: Option<String>) {
        let mut waiting = locked(&self.waiting);
        match reason {
            Some(reason) => waiting.insert(awaited, reason),
            None => waiting.remove(&awaited),
        };
    }

    /// Counts keys of the snapshot that the target has confirmed.
    pub fn count_keys_written(&self, key_type: KeyType, keys: u64) {
        if let Some(counter) = self.keys_written.get(key_type as usize) {
            counter.add(keys);
        }
    }

    /// Counts keys or commands that were left out.
    pub fn count_skipped(&self, reason: SkipReason, n: u64) {
        if let Some(counter) = self.skipped.get(reason as usize) {
            counter.add(n);
        }
    }

    /// Notes the offset of the source, from what it sent or from what it says in INFO.
    pub fn observe_source_offset(&self, offset: u64) {
        locked(&self.lag).observe(self.started.elapsed(), offset);
    }

    /// Says that the source has another history now, whose offsets may be smaller.
    pub fn forget_source_offset(&self) {
        *locked(&self.lag) = Lag::default();
    }

    /// What was done until this moment.
    pub fn sample(&self) -> Sample {
        let elapsed = self.started.elapsed();
        let phases = locked(&self.phases).clone();
        let (phase, entered) = phases
            .last()
            .copied()
            .unwrap_or((Phase::Connecting, Duration::ZERO));
        let applied_offset = self.applied_offset.get();
        let mut lag = locked(&self.lag);
        Sample {
            started_at: self.started_at,
            elapsed,
            servers: locked(&self.servers).clone(),
            phase,
            phase_elapsed: elapsed.saturating_sub(entered),
            durations: durations(&phases, elapsed),
            waiting: reasons(&locked(&self.waiting)),
            keys_written: by_name(KeyType::ALL, KeyType::name, &self.keys_written),
            skipped: by_name(SkipReason::ALL, SkipReason::name, &self.skipped),
            rdb_bytes: self.rdb_bytes.get(),
            rdb_bytes_total: self.rdb_bytes_total.get(),
            keys_total: self.keys_total.get(),
            keys_read: self.keys_read.get(),
            functions: self.functions.get(),
            commands: self.commands.get(),
            bytes_read: self.bytes_read.get(),
            bytes_written: self.bytes_written.get(),
            errors: self.errors.get(),
            retries: self.retries.get(),
            reconnects: self.reconnects.get(),
            diverged: self.diverged.get(),
            expiries_held: self.expiries_held.get(),
            spool_memory_bytes: self.spool_memory_bytes.get(),
            spool_disk_bytes: self.spool_disk_bytes.get(),
            window_bytes: self.window.bytes(),
            window_requests: self.window.requests(),
            source_offset: lag.source_offset(),
            source_offset_age: lag.silent_for(elapsed),
            received_offset: self.received_offset.get(),
            parsed_offset: self.parsed_offset.get(),
            applied_offset,
            acked_offset: self.acked_offset.get(),
            lag_bytes: applied_offset.and_then(|applied| lag.bytes(applied)),
            lag: applied_offset.and_then(|applied| lag.age(elapsed, applied)),
        }
    }
}

/// What was done until some moment. Names are those of [`Progress`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "every field is explained at Progress")]
pub struct Sample {
    /// When it started.
    pub started_at: SystemTime,
    /// Since the start.
    pub elapsed: Duration,
    pub servers: Servers,
    pub phase: Phase,
    /// Since the phase began.
    pub phase_elapsed: Duration,
    /// How long each phase took so far.
    pub durations: BTreeMap<Phase, Duration>,
    pub waiting: Option<String>,
    /// By value type, in the order of [`KeyType::ALL`].
    pub keys_written: Vec<(&'static str, u64)>,
    /// By reason, in the order of [`SkipReason::ALL`].
    pub skipped: Vec<(&'static str, u64)>,
    pub rdb_bytes: u64,
    pub rdb_bytes_total: u64,
    pub keys_total: u64,
    pub keys_read: u64,
    pub functions: u64,
    pub commands: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub errors: u64,
    pub retries: u64,
    pub reconnects: u64,
    pub diverged: u64,
    pub expiries_held: u64,
    pub spool_memory_bytes: u64,
    pub spool_disk_bytes: u64,
    pub window_bytes: u64,
    pub window_requests: u64,
    pub source_offset: Option<u64>,
    /// Since the offset of the source was last noted, changed or not.
    pub source_offset_age: Option<Duration>,
    pub received_offset: Option<u64>,
    pub parsed_offset: Option<u64>,
    pub applied_offset: Option<u64>,
    pub acked_offset: Option<u64>,
    /// Offset of the source minus applied offset; `None` until both are known.
    pub lag_bytes: Option<u64>,
    /// Age of the oldest byte not applied ([`Lag::age`]); `None` until it is known.
    pub lag: Option<Duration>,
}

impl Sample {
    /// Keys of the snapshot confirmed by the target, of all types.
    pub fn keys_written_total(&self) -> u64 {
        self.keys_written.iter().map(|(_, keys)| keys).sum()
    }
}

fn durations(phases: &[(Phase, Duration)], now: Duration) -> BTreeMap<Phase, Duration> {
    let mut durations = BTreeMap::new();
    let ends = phases.iter().skip(1).map(|(_, at)| *at).chain([now]);
    for ((phase, at), end) in phases.iter().zip(ends) {
        *durations.entry(*phase).or_insert(Duration::ZERO) += end.saturating_sub(*at);
    }
    durations
}

fn reasons(waiting: &BTreeMap<Awaited, String>) -> Option<String> {
    let reasons: Vec<&str> = waiting.values().map(String::as_str).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn by_name<T: Copy, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
    counters: &[Counter; N],
) -> Vec<(&'static str, u64)> {
    let pairs = all.iter().zip(counters);
    pairs
        .map(|(item, counter)| (name(*item), counter.get()))
        .collect()
}

/// A panic of another task leaves these plain values whole, so they are read on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_shown_until_that_itself_has_come() {
        let progress = Progress::default();
        progress.wait_because(Awaited::Target, Some("the target is loading".into()));
        progress.wait_because(Awaited::Spool, Some("the spool is full".into()));
        let waiting = || progress.sample().waiting;
        let both = "the target is loading; the spool is full";
        assert_eq!(waiting().as_deref(), Some(both));
        progress.wait_because(Awaited::Target, None);
        assert_eq!(waiting().as_deref(), Some("the spool is full"));
        progress.wait_because(Awaited::Source, None);
        progress.wait_because(Awaited::Spool, None);
        assert_eq!(waiting(), None);
    }

    #[test]
    fn counts_land_under_their_name() {
        let progress = Progress::default();
        for (n, key_type) in (1..).zip(KeyType::ALL) {
            progress.count_keys_written(key_type, n);
        }
        for (n, reason) in (10..).zip(SkipReason::ALL) {
            progress.count_skipped(reason, n);
        }
        let sample = progress.sample();
        let keys = [
            ("string", 1),
            ("list", 2),
            ("set", 3),
            ("zset", 4),
            ("hash", 5),
            ("stream", 6),
            ("module", 7),
            ("vectorset", 8),
            ("array", 9),
            ("json", 10),
            ("other", 11),
        ];
        assert_eq!(sample.keys_written, keys);
        assert_eq!(sample.keys_written_total(), 66);
        let skipped = [
            ("not_selected", 10),
            ("conflict", 11),
            ("conflict_functions", 12),
            ("expired", 13),
            ("empty", 14),
            ("lossy", 15),
            ("publish", 16),
            ("sentinel_hello", 17),
        ];
        assert_eq!(sample.skipped, skipped);
    }

    #[test]
    fn lag_is_unknown_until_something_was_applied() {
        let progress = Progress::default();
        progress.observe_source_offset(500);
        let sample = progress.sample();
        assert_eq!(
            (sample.source_offset, sample.lag_bytes, sample.lag),
            (Some(500), None, None)
        );
        progress.applied_offset.set(400);
        assert_eq!(progress.sample().lag_bytes, Some(100));
        assert!(
            progress
                .sample()
                .lag
                .is_some_and(|lag| lag < Duration::from_secs(60))
        );
        progress.applied_offset.set(500);
        assert_eq!(progress.sample().lag, Some(Duration::ZERO));
        assert_eq!(progress.sample().acked_offset, None);
    }

    #[test]
    fn phases_that_come_again_add_up() {
        let s = Duration::from_secs;
        let phases = [
            (Phase::Connecting, s(0)),
            (Phase::Snapshot, s(1)),
            (Phase::Connecting, s(5)),
            (Phase::Snapshot, s(7)),
        ];
        let durations = durations(&phases, s(10));
        assert_eq!(durations.get(&Phase::Connecting), Some(&s(3)));
        assert_eq!(durations.get(&Phase::Snapshot), Some(&s(7)));
        assert_eq!(durations.get(&Phase::Following), None);
    }
}
