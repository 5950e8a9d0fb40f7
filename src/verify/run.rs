//! A verification from its beginning to its end.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use crate::keyspace::Db;

use super::{
    Differing, Error, Kind, Phase, Progress, Summary, Verification,
    examiner::Examiner,
    ledger::Ledger,
    libraries::Libraries,
    pace::Pace,
    plan::{Method, Plan},
    recheck::{Rechecker, Rounds, Settled},
    report::{Head, Pass, Report, Resumed, SCHEMA_VERSION, Suspect},
    snapshot,
    walk::Walk,
};

/// Suspects that are held until they are read again.
const SUSPECTS_MAX: usize = 50_000;
/// The bytes of their names.
const SUSPECTS_BYTES_MAX: usize = 64 << 20;
/// Keys that were named in this run and are held, so that none is named twice.
const DECIDED_MAX: usize = 1_000_000;
/// How often it is written down how far the walk has come.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(1);

/// What a verification leaves.
#[derive(Debug)]
pub struct Outcome {
    /// What there is to tell.
    pub summary: Summary,
    /// The keys that differ; `None` where there are more than memory is spent on.
    pub differing: Option<Vec<Differing>>,
    /// The report, to be finished with the summary.
    pub report: Option<Report>,
    /// Whoever puts right what differs reads keys again by this.
    pub examiner: Examiner,
}

/// Compares both sides. May be dropped midway: nothing is changed anywhere, and the report says how
/// far it has come.
///
/// # Errors
/// A side, the status of a sync, or the report fails.
pub async fn verify(
    verification: &Verification,
    progress: Arc<Progress>,
) -> Result<Outcome, Error> {
    if let Some(report) = &verification.report {
        Report::may_be_at(&report.path, report.overwrite, report.resume)?;
    }
    let plan = Arc::new(Plan::of(verification, &progress).await?);
    if plan.source.run_id.is_some() && plan.source.run_id == plan.target.run_id {
        return Err(Error::SameServer);
    }
    let head = head(verification, &plan);
    let (ledger, resumed) = Ledger::open(verification, &head)?;
    // All of them are noted at once, at the end.
    let libraries_are_noted = resumed
        .as_ref()
        .is_some_and(|of| of.counts.by_kind.contains_key(Kind::Function.name()));
    let rounds = Rounds {
        rounds: verification.rounds,
        delay: verification.round_delay,
        sync_status: verification.sync_status.clone(),
        patience: verification.source.retry_for,
    };
    let mut run = Run {
        verification,
        recheck: Rechecker::new(&plan, rounds),
        plan,
        progress,
        ledger,
        suspects: Vec::new(),
        suspects_bytes: 0,
        decided: HashSet::new(),
        bookmark_at: Instant::now(),
    };
    match &verification.method {
        _ if resumed.as_ref().is_some_and(|of| of.finished) => {}
        Method::Scan => run.scan(resumed, &head).await?,
        Method::Snapshot { .. } => run.snapshots(resumed).await?,
    }
    run.settle().await?;
    let functions = run.functions(libraries_are_noted).await?;
    let rounds = run.recheck.rounds_done;
    let mut ledger = run.ledger;
    let summary = ledger.sum_up(&head, verification, &run.progress, (functions, rounds));
    Ok(Outcome {
        summary,
        differing: ledger.take_differing(),
        report: ledger.into_report(),
        examiner: Examiner::new(run.plan, run.recheck),
    })
}

fn head(verification: &Verification, plan: &Plan) -> Head {
    Head {
        version: SCHEMA_VERSION,
        source: plan.source.address(),
        target: plan.target.address(),
        source_run_id: plan.source.run_id.clone(),
        target_run_id: plan.target.run_id.clone(),
        method: verification.method.name().to_owned(),
        depth: verification.depth.name().to_owned(),
        sample: plan.sample,
        selection: verification.selection.clone(),
        ttl_tolerance_ms: plan.ttl_tolerance_ms,
        started_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
    }
}

struct Run<'a> {
    verification: &'a Verification,
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    ledger: Ledger,
    recheck: Rechecker,
    suspects: Vec<Suspect>,
    suspects_bytes: usize,
    /// What was named already, by an earlier run or in an earlier settling.
    decided: HashSet<Suspect>,
    bookmark_at: Instant,
}

impl Run<'_> {
    /// Walks through both keyspaces, from where an earlier run has come to.
    async fn scan(&mut self, resumed: Option<Resumed>, head: &Head) -> Result<(), Error> {
        let place = match resumed {
            Some(resumed) => self.go_on(resumed, head),
            None => Beginning::default(),
        };
        let pace = Pace::new(
            self.verification.keys_per_s,
            self.verification.bytes_per_s,
            Instant::now(),
        );
        let mut walk = Walk::new(&self.plan, self.verification.lanes, pace);
        for pass in [Pass::Forward, Pass::Reverse] {
            if pass < place.pass {
                continue;
            }
            let here = pass == place.pass;
            let mut done = if here {
                place.dbs_done.clone()
            } else {
                Vec::new()
            };
            self.enter(pass, &done);
            for db in self.plan.dbs() {
                if done.contains(&db) {
                    continue;
                }
                let cursor = match here && place.db == Some(db) {
                    true => place.cursor,
                    false => 0,
                };
                self.walk(&mut walk, (pass, db, cursor), &done).await?;
                done.push(db);
                self.ledger.bookmark((pass, db, 0), &done, &self.progress)?;
            }
        }
        Ok(())
    }

    fn enter(&self, pass: Pass, done: &[Db]) {
        let (phase, server) = match pass {
            Pass::Forward => (Phase::Comparing, &self.plan.source),
            Pass::Reverse => (Phase::LookingUp, &self.plan.target),
        };
        let dbs = self.plan.dbs();
        let open = dbs.iter().filter(|db| !done.contains(db));
        self.progress
            .enter(phase, open.map(|db| server.keys_in(*db)).sum());
    }

    async fn walk(
        &mut self,
        walk: &mut Walk,
        (pass, db, cursor): (Pass, Db, u64),
        done: &[Db],
    ) -> Result<(), Error> {
        let mut reached = cursor;
        let mut walking = walk.begin(pass, db, cursor);
        while let Some(step) = walking.next().await? {
            self.suspect(db, step.suspects)?;
            reached = step.cursor.unwrap_or(reached);
            let is_due = self.bookmark_at.elapsed() >= BOOKMARK_PERIOD;
            if is_due && reached != 0 {
                self.bookmark_at = Instant::now();
                self.ledger
                    .bookmark((pass, db, reached), done, &self.progress)?;
            }
            if self.suspects.len() >= SUSPECTS_MAX || self.suspects_bytes >= SUSPECTS_BYTES_MAX {
                self.settle().await?;
            }
        }
        Ok(())
    }

    /// Takes over what an earlier run has left.
    fn go_on(&mut self, resumed: Resumed, head: &Head) -> Beginning {
        self.decided = resumed.decided;
        self.suspects = resumed.suspects;
        self.suspects_bytes = self.suspects.iter().map(|one| one.key.len()).sum();
        let Some(bookmark) = resumed.bookmark else {
            return Beginning::default();
        };
        // A cursor means nothing to a server that has been started again: its tables have
        // another order.
        let same_source = resumed.head.source_run_id == head.source_run_id;
        let same_target = resumed.head.target_run_id == head.target_run_id;
        let is_valid = match bookmark.pass {
            Pass::Forward => same_source,
            Pass::Reverse => same_target,
        };
        tracing::info!(
            keys = bookmark.tallies.keys_compared,
            "an earlier run has compared so many keys; it goes on from there"
        );
        Beginning {
            pass: bookmark.pass,
            db: Some(bookmark.db),
            cursor: if is_valid { bookmark.cursor } else { 0 },
            dbs_done: bookmark.dbs_done,
        }
    }

    /// Compares snapshots of both sides.
    async fn snapshots(&mut self, resumed: Option<Resumed>) -> Result<(), Error> {
        // Both are taken anew, whatever an earlier run has come to.
        self.decided = resumed.map(|of| of.decided).unwrap_or_default();
        let Method::Snapshot {
            source,
            target,
            dir,
        } = &self.verification.method
        else {
            return Ok(());
        };
        self.progress.enter(Phase::Snapshots, 0);
        let suspects = snapshot::suspects(
            (**source).clone(),
            (**target).clone(),
            &self.plan,
            dir.as_deref(),
        );
        let mut suspects = suspects.await?;
        while let Some(suspect) = suspects.next()? {
            self.suspect(suspect.db, vec![suspect.key])?;
            if self.suspects.len() >= SUSPECTS_MAX {
                self.settle().await?;
            }
        }
        Ok(())
    }

    fn suspect(&mut self, db: Db, keys: Vec<Bytes>) -> Result<(), Error> {
        let new = keys.into_iter().map(|key| Suspect { db, key });
        let new: Vec<Suspect> = new.filter(|one| !self.decided.contains(one)).collect();
        self.ledger.suspects(&new)?;
        self.suspects_bytes += new.iter().map(|one| one.key.len()).sum::<usize>();
        self.suspects.extend(new);
        self.progress.suspects.set(self.suspects.len() as u64);
        Ok(())
    }

    /// Reads again what differed.
    async fn settle(&mut self) -> Result<(), Error> {
        let suspects = std::mem::take(&mut self.suspects);
        self.suspects_bytes = 0;
        if suspects.is_empty() {
            return Ok(());
        }
        let (phase, total, done) = (
            self.progress.phase(),
            self.progress.keys_total.get(),
            self.progress.keys_done.get(),
        );
        self.progress
            .enter(Phase::Rechecking, suspects.len() as u64);
        let (ledger, progress) = (&mut self.ledger, &self.progress);
        let decided = &mut self.decided;
        let mut tell = |settled: Settled| {
            // A page that SCAN repeats while a table grows must not name a key once more.
            if let (Some(suspect), true) = (settled.named(), decided.len() < DECIDED_MAX) {
                decided.insert(suspect);
            }
            ledger.note(settled, progress)
        };
        self.recheck.settle(suspects, &mut tell).await?;
        self.progress.suspects.set(0);
        self.progress.enter(phase, total);
        self.progress.keys_done.set(done);
        Ok(())
    }

    /// Compares function libraries; returns how many there are.
    async fn functions(&mut self, are_noted: bool) -> Result<u64, Error> {
        if !self.plan.filter.selects_functions() {
            return Ok(0);
        }
        let libraries = Libraries::compare(&self.plan, &mut self.recheck).await?;
        for settled in libraries.settled.into_iter().filter(|_| !are_noted) {
            self.ledger.note(settled, &self.progress)?;
        }
        Ok(libraries.count)
    }
}

/// Where a walk begins.
#[derive(Debug, Default)]
struct Beginning {
    pass: Pass,
    db: Option<Db>,
    cursor: u64,
    dbs_done: Vec<Db>,
}
