//! Reads again what differed, until it is known to differ or not to.
//!
//! ```text
//!  source read ─► source's offset ─► the sync has applied it ─► both compared ─► source read
//!      └───────────────────────────── the same? ──────────────────────────────────┘
//! ```
//!
//! A difference counts only when the source had the same before and after, and a sync that follows
//! had applied at least the first of these readings. It has to be there in every round.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::{keyspace::Db, sink::Hold};

use super::{
    Difference, Error, First, Held, Kind, Place, Reason, Undecided,
    peer::Peer,
    plan::Plan,
    reading::{Dbs, Examined, Fingerprint, Readers, describe},
    report::Suspect,
    server,
    sync_status::SyncStatus,
};

/// Keys that are read again at a time.
const BATCH_KEYS: usize = 64;
/// How often a key that keeps changing is read in the last round.
const TRIES_ALONE: u32 = 20;
/// How often the sync is asked how far it has come.
const ASK_PERIOD: Duration = Duration::from_millis(5);

/// How keys are read again.
#[derive(Debug, Clone)]
pub(super) struct Rounds {
    pub(super) rounds: u64,
    pub(super) delay: Duration,
    pub(super) sync_status: Option<SyncStatus>,
    /// How long it is waited for the sync.
    pub(super) patience: Duration,
}

/// What became of a key that differed at first.
#[derive(Debug)]
pub enum Settled {
    /// It does not differ.
    Equal(Suspect),
    /// It does.
    Different(Suspect, Vec<Difference>),
    /// Nothing can be said about it.
    Undecided(Undecided),
}

impl Settled {
    /// The key, where a report names it.
    pub(super) fn named(&self) -> Option<Suspect> {
        match self {
            Settled::Equal(_) => None,
            Settled::Different(suspect, _) => Some(suspect.clone()),
            Settled::Undecided(undecided) => Some(Suspect {
                db: undecided.db,
                key: undecided.key.clone(),
            }),
        }
    }
}

/// One look at a key.
#[derive(Debug)]
enum Look {
    Equal,
    /// It differs, and the source stood still meanwhile.
    Different(Vec<Difference>),
    /// It differs, and the source has changed it meanwhile.
    Changing,
    Unreadable(String),
}

/// Whether each side evicts keys, and had evicted some when it was asked last.
#[derive(Debug, Clone, Copy, Default)]
struct Evicted {
    source: bool,
    target: bool,
}

/// Reads suspects again.
#[derive(Debug)]
pub(super) struct Rechecker {
    plan: Arc<Plan>,
    readers: Readers,
    /// Where each side is asked about itself.
    source: Peer,
    target: Peer,
    evicted: Evicted,
    rounds: Rounds,
    /// Rounds that were done.
    pub(super) rounds_done: u64,
}

impl Rechecker {
    /// Nothing is connected yet.
    pub(super) fn new(plan: &Arc<Plan>, rounds: Rounds) -> Rechecker {
        Rechecker {
            plan: Arc::clone(plan),
            readers: Readers::new(plan),
            source: plan.source.peer(),
            target: plan.target.peer(),
            evicted: Evicted::default(),
            rounds,
            rounds_done: 0,
        }
    }

    /// Compares keys as they are at this moment.
    ///
    /// # Errors
    /// A side cannot be asked any more.
    pub(super) async fn examine(
        &mut self,
        dbs: Dbs,
        keys: &[Bytes],
    ) -> Result<Vec<Examined>, Error> {
        self.readers.examine(dbs, keys).await
    }

    /// Reads suspects again in rounds; tells what became of each as soon as that is known.
    ///
    /// # Errors
    /// A side, or the status of the sync, cannot be asked any more; those of `tell`.
    pub(super) async fn settle(
        &mut self,
        mut suspects: Vec<Suspect>,
        tell: &mut (dyn FnMut(Settled) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        suspects.sort_unstable();
        suspects.dedup();
        let rounds = self.rounds();
        for round in 1..=rounds {
            if suspects.is_empty() {
                return Ok(());
            }
            self.pause().await;
            self.rounds_done += 1;
            tracing::debug!(round, keys = suspects.len(), "reading again what differed");
            suspects = self.round(suspects, round == rounds, tell).await?;
        }
        Ok(())
    }

    /// One round; returns what has to be read again.
    async fn round(
        &mut self,
        suspects: Vec<Suspect>,
        is_last: bool,
        tell: &mut (dyn FnMut(Settled) -> Result<(), Error> + Send),
    ) -> Result<Vec<Suspect>, Error> {
        let mut again = Vec::new();
        for of_db in suspects.chunk_by(|one, next| one.db == next.db) {
            for batch in of_db.chunks(BATCH_KEYS) {
                let looks = self.look(batch).await?;
                if is_last {
                    // A key that is missing in these looks may have been evicted just before.
                    self.ask_for_evictions(&looks).await?;
                }
                for (suspect, look) in batch.iter().zip(looks) {
                    self.plan.progress.keys_done.add(u64::from(is_last));
                    match look {
                        Look::Equal => tell(Settled::Equal(suspect.clone()))?,
                        _ if !is_last => again.push(suspect.clone()),
                        look => tell(self.decide(suspect, look).await?)?,
                    }
                }
            }
        }
        Ok(again)
    }

    async fn ask_for_evictions(&mut self, looks: &[Look]) -> Result<(), Error> {
        let is_missing = |look: &Look, kind| match look {
            Look::Different(found) => found.first().is_some_and(|one| one.kind == kind),
            // It is looked at once more.
            Look::Changing => true,
            Look::Equal | Look::Unreadable(_) => false,
        };
        if looks.iter().any(|look| is_missing(look, Kind::Missing)) {
            self.evicted.target = server::has_evicted(&mut self.target).await?;
        }
        if looks
            .iter()
            .any(|look| is_missing(look, Kind::OnlyOnTarget))
        {
            self.evicted.source = server::has_evicted(&mut self.source).await?;
        }
        Ok(())
    }

    /// Looks at keys of one db, once.
    async fn look(&mut self, suspects: &[Suspect]) -> Result<Vec<Look>, Error> {
        let Some(db) = suspects.first().map(|suspect| suspect.db) else {
            return Ok(Vec::new());
        };
        let keys: Vec<Bytes> = suspects.iter().map(|suspect| suspect.key.clone()).collect();
        let before = self.readers.fingerprints(db, &keys).await?;
        let is_applied = self.wait_for_sync().await?;
        let examined = self.readers.examine(Dbs::same(db), &keys).await?;
        let mut looks = Vec::with_capacity(keys.len());
        for ((key, examined), before) in keys.iter().zip(examined).zip(before) {
            looks.push(match examined {
                Examined::Equal | Examined::Gone => Look::Equal,
                Examined::Unreadable { side, why } => Look::Unreadable(format!("{side}: {why}")),
                Examined::Different(_) if !is_applied => Look::Changing,
                Examined::Different(found) => self.stood_still(db, key, before, found).await?,
            });
        }
        Ok(looks)
    }

    /// Whether the source has not changed a key that differs.
    async fn stood_still(
        &mut self,
        db: Db,
        key: &Bytes,
        before: Fingerprint,
        found: Vec<Difference>,
    ) -> Result<Look, Error> {
        let key = std::slice::from_ref(key);
        let stands = match before {
            // What differs in the same place with the same values is no change under way.
            Fingerprint::Large => {
                self.wait_for_sync().await?;
                let again = self.readers.examine(Dbs::same(db), key).await?;
                again.first() == Some(&Examined::Different(found.clone()))
            }
            before => self.readers.fingerprints(db, key).await?.first() == Some(&before),
        };
        Ok(match stands {
            true => Look::Different(found),
            false => Look::Changing,
        })
    }

    /// How often what differs is read again.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.rounds.max(1)
    }

    /// The pause before each round.
    pub(super) async fn pause(&self) {
        sleep(self.rounds.delay).await;
    }

    /// Waits until a sync that follows has applied what the source has at this moment; whether it
    /// has.
    ///
    /// # Errors
    /// The source, or the status of the sync, cannot be asked any more.
    pub(super) async fn wait_for_sync(&mut self) -> Result<bool, Error> {
        let Some(status) = &self.rounds.sync_status else {
            return Ok(true);
        };
        let Some(wanted) = server::offset(&mut self.source).await? else {
            return Ok(true);
        };
        let deadline = Instant::now() + self.rounds.patience;
        let mut pause = ASK_PERIOD;
        loop {
            if status.applied_offset().await? >= Some(wanted) {
                self.plan.progress.wait_because(None);
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            if pause >= Duration::from_secs(1) {
                let why = format!("sync has not applied offset {wanted} yet");
                self.plan.progress.wait_because(Some(why));
            }
        }
    }

    /// Says what a key is that differed to the end.
    async fn decide(&mut self, suspect: &Suspect, mut look: Look) -> Result<Settled, Error> {
        for _ in 0..TRIES_ALONE {
            if !matches!(look, Look::Changing) {
                break;
            }
            let looks = self.look(std::slice::from_ref(suspect)).await?;
            look = looks.into_iter().next().unwrap_or(Look::Changing);
        }
        let undecided = |reason, detail| {
            Settled::Undecided(Undecided {
                db: suspect.db,
                key: suspect.key.clone(),
                reason,
                detail,
            })
        };
        let mut found = match look {
            Look::Equal => return Ok(Settled::Equal(suspect.clone())),
            Look::Changing => return Ok(undecided(Reason::Changing, None)),
            Look::Unreadable(why) => return Ok(undecided(Reason::Unreadable, Some(why))),
            Look::Different(found) => found,
        };
        if let Some(one) = found.first() {
            if self.has_expired(one) {
                return Ok(undecided(Reason::Expired, None));
            }
            let evicts = match one.kind {
                Kind::Missing => self.evicted.target,
                Kind::OnlyOnTarget => self.evicted.source,
                _ => false,
            };
            if evicts {
                return Ok(undecided(Reason::Evicted, None));
            }
        }
        match found.first().map(|one| one.kind) {
            Some(Kind::Missing) => {
                if let Some(elsewhere) = self.on_another_db(suspect).await? {
                    return Ok(Settled::Different(suspect.clone(), vec![elsewhere]));
                }
            }
            Some(Kind::OnlyOnTarget) if self.belongs_to_another_db(suspect).await? => {
                return Ok(Settled::Equal(suspect.clone()));
            }
            _ => {}
        }
        describe(&mut self.readers, Dbs::same(suspect.db), &mut found).await?;
        Ok(Settled::Different(suspect.clone(), found))
    }

    /// Whether only the side that still has a key has not noticed that it has expired.
    fn has_expired(&self, one: &Difference) -> bool {
        let (held, now_ms) = match one.kind {
            Kind::Missing => (one.source, self.plan.source.now_ms()),
            Kind::OnlyOnTarget => (one.target, self.plan.target.now_ms()),
            _ => return false,
        };
        held.expire_at_ms.is_some_and(|at| {
            let at = match self.plan.follows_sync {
                true => Hold::release(at).unwrap_or(at),
                false => at,
            };
            at <= now_ms.saturating_add(self.plan.ttl_tolerance_ms)
        })
    }

    /// The difference that a key which is missing in its db stands, equal, in another one where the
    /// source does not have it.
    async fn on_another_db(&mut self, suspect: &Suspect) -> Result<Option<Difference>, Error> {
        for db in self.plan.dbs() {
            let dbs = Dbs {
                source: suspect.db,
                target: db,
            };
            if db != suspect.db
                && !self.source_has(db, &suspect.key).await?
                && self.is_equal(dbs, &suspect.key).await?
            {
                let text = |db: Db| db.to_string().into_bytes();
                let (here, there) = (text(suspect.db), text(db));
                let first = First::at(Place::OtherDb, Some(&here), Some(&there));
                let mut found = vec![Difference {
                    db: suspect.db,
                    key: suspect.key.clone(),
                    kind: Kind::WrongDb,
                    source: Held::default(),
                    target: Held::default(),
                    first: Some(first),
                }];
                describe(&mut self.readers, dbs, &mut found).await?;
                return Ok(found.pop());
            }
        }
        Ok(None)
    }

    /// Whether a key that only the target has is one that [`Rechecker::on_another_db`] finds.
    async fn belongs_to_another_db(&mut self, suspect: &Suspect) -> Result<bool, Error> {
        for db in self.plan.dbs() {
            let dbs = Dbs {
                source: db,
                target: suspect.db,
            };
            if db != suspect.db
                && self.plan.filter.selects_name(db, &suspect.key)
                && !self.target_has(db, &suspect.key).await?
                && self.is_equal(dbs, &suspect.key).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn source_has(&mut self, db: Db, key: &Bytes) -> Result<bool, Error> {
        let missing = self
            .readers
            .missing_on_source(db, std::slice::from_ref(key));
        Ok(missing.await?.is_empty())
    }

    async fn target_has(&mut self, db: Db, key: &Bytes) -> Result<bool, Error> {
        let examined = self
            .readers
            .examine(Dbs::same(db), std::slice::from_ref(key));
        Ok(match examined.await?.pop() {
            Some(Examined::Different(found)) => {
                found.first().is_some_and(|one| one.kind != Kind::Missing)
            }
            Some(Examined::Equal) => true,
            _ => false,
        })
    }

    async fn is_equal(&mut self, dbs: Dbs, key: &Bytes) -> Result<bool, Error> {
        let examined = self.readers.examine(dbs, std::slice::from_ref(key));
        Ok(examined.await?.pop() == Some(Examined::Equal))
    }
}
