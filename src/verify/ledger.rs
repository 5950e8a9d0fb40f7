//! Keeps what a verification has found: counted, and written to the report.

use std::{path::Path, time::Instant};

use crate::keyspace::Db;

use super::{
    Counts, Difference, Error, First, Kind, Place, Progress, Summary, Undecided, UndecidedCounts,
    Verdict,
    plan::Verification,
    recheck::Settled,
    report::{Bookmark, Head, Pass, Report, Resumed, Suspect, Tallies},
    summary::none_undecided,
};

/// Memory that the names of keys that differ may take: a repair wants them.
const NAMES_BYTES_MAX: usize = 256 << 20;
/// What a name costs beside its bytes.
const NAME_OVERHEAD_BYTES: usize = 96;

/// A key that differs, and in what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// Its db; on the target where only the target has it.
    pub db: Db,
    /// Its name.
    pub key: bytes::Bytes,
    /// In what it differs.
    pub kinds: Vec<Kind>,
    /// The db of the target that has it in its place.
    pub other_db: Option<Db>,
}

impl Differing {
    /// What differs by these differences of one key.
    pub fn of(found: &[Difference]) -> Differing {
        let first = found.first();
        let other_db = found.iter().find_map(|one| match &one.first {
            Some(First {
                place: Place::OtherDb,
                target: Some(db),
                ..
            }) => std::str::from_utf8(db).ok()?.parse().ok().map(Db),
            _ => None,
        });
        Differing {
            db: first.map_or(Db(0), |one| one.db),
            key: first.map_or_else(bytes::Bytes::new, |one| one.key.clone()),
            kinds: found.iter().map(|one| one.kind).collect(),
            other_db,
        }
    }
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Ledger {
    report: Option<Report>,
    counts: Counts,
    undecided: UndecidedCounts,
    differing: Vec<Differing>,
    differing_bytes: usize,
    settled: u64,
    /// What earlier runs of a resumed verification have done.
    earlier: Tallies,
    is_resumed: bool,
    started: Instant,
}

impl Ledger {
    /// Opens the report, and finds what an earlier run has left in it.
    ///
    /// # Errors
    /// Those of the report.
    pub(super) fn open(
        verification: &Verification,
        head: &Head,
    ) -> Result<(Ledger, Option<Resumed>), Error> {
        let (report, resumed) = match &verification.report {
            None => (None, None),
            Some(config) => {
                let path: &Path = &config.path;
                match config.resume && path.exists() {
                    true => {
                        let (report, resumed) = Report::resume(path, head)?;
                        (Some(report), Some(resumed))
                    }
                    false => (Some(Report::create(path, head, config.overwrite)?), None),
                }
            }
        };
        let mut ledger = Ledger {
            report,
            counts: Counts::default(),
            undecided: none_undecided(),
            differing: Vec::new(),
            differing_bytes: 0,
            settled: 0,
            earlier: Tallies::default(),
            is_resumed: resumed.is_some(),
            started: Instant::now(),
        };
        if let Some(resumed) = &resumed {
            ledger.counts.clone_from(&resumed.counts);
            for (reason, count) in &resumed.undecided {
                ledger.undecided.insert(reason, *count);
            }
            if let Some(bookmark) = &resumed.bookmark {
                ledger.earlier = bookmark.tallies;
            }
        }
        Ok((ledger, resumed))
    }

    /// Notes what became of a suspect.
    ///
    /// # Errors
    /// The report's.
    pub(super) fn note(&mut self, settled: Settled, progress: &Progress) -> Result<(), Error> {
        match settled {
            Settled::Equal(suspect) => {
                self.settled += 1;
                self.write(|report| report.settled(suspect.db, &suspect.key))
            }
            Settled::Different(_, found) => self.differences(&found, progress),
            Settled::Undecided(undecided) => self.undecided(&undecided),
        }
    }

    /// Notes the differences of one key or function library.
    ///
    /// # Errors
    /// The report's.
    pub(super) fn differences(
        &mut self,
        found: &[Difference],
        progress: &Progress,
    ) -> Result<(), Error> {
        progress.differences.add(found.len() as u64);
        self.differ(found);
        self.counts.add(found);
        self.write(|report| report.differences(found))
    }

    fn undecided(&mut self, undecided: &Undecided) -> Result<(), Error> {
        *self.undecided.entry(undecided.reason.name()).or_default() += 1;
        self.write(|report| report.undecided(undecided))
    }

    fn differ(&mut self, found: &[Difference]) {
        let differing = Differing::of(found);
        self.differing_bytes += differing.key.len() + NAME_OVERHEAD_BYTES;
        if self.differing_bytes <= NAMES_BYTES_MAX {
            self.differing.push(differing);
        }
    }

    /// Notes keys that have to be read again.
    ///
    /// # Errors
    /// The report's.
    pub(super) fn suspects(&mut self, suspects: &[Suspect]) -> Result<(), Error> {
        match suspects.is_empty() {
            true => Ok(()),
            false => self.write(|report| report.suspects(suspects)),
        }
    }

    /// Notes how far the walk has come.
    ///
    /// # Errors
    /// The report's.
    pub(super) fn bookmark(
        &mut self,
        (pass, db, cursor): (Pass, Db, u64),
        dbs_done: &[Db],
        progress: &Progress,
    ) -> Result<(), Error> {
        let bookmark = Bookmark {
            pass,
            db,
            cursor,
            dbs_done: dbs_done.to_vec(),
            tallies: self.tallies(progress),
        };
        self.write(|report| report.bookmark(&bookmark))
    }

    fn tallies(&self, progress: &Progress) -> Tallies {
        let earlier = &self.earlier;
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Tallies {
            keys_compared: earlier.keys_compared + progress.keys_compared.get(),
            keys_looked_up: earlier.keys_looked_up + progress.keys_looked_up.get(),
            large_keys: earlier.large_keys + progress.large_keys.get(),
            filtered: earlier.filtered + progress.filtered.get(),
            not_sampled: earlier.not_sampled + progress.not_sampled.get(),
            settled: earlier.settled + self.settled,
            bytes_read: earlier.bytes_read + progress.bytes_read.get(),
            elapsed_ms: earlier.elapsed_ms + elapsed_ms,
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Report) -> Result<(), Error>) -> Result<(), Error> {
        self.report.as_mut().map_or(Ok(()), write)
    }

    /// Sums up. The names of all keys that differ, unless they are too many.
    pub(super) fn sum_up(
        &mut self,
        head: &Head,
        verification: &Verification,
        progress: &Progress,
        (functions, rounds): (u64, u64),
    ) -> Summary {
        let tallies = self.tallies(progress);
        let open = ["changing", "evicted", "unreadable"];
        let is_open = open.iter().any(|of| self.undecided.get(of) > Some(&0));
        Summary {
            result: match (self.counts.total, is_open) {
                (0, false) => Verdict::Equal,
                (0, true) => Verdict::Incomplete,
                _ => Verdict::Different,
            },
            source: head.source.clone(),
            target: head.target.clone(),
            method: verification.method.name(),
            depth: verification.depth.name(),
            sample: head.sample,
            duration_ms: tallies.elapsed_ms,
            resumed: self.is_resumed,
            keys_compared: tallies.keys_compared,
            keys_looked_up: tallies.keys_looked_up,
            bytes_read: tallies.bytes_read,
            large_keys: tallies.large_keys,
            functions,
            rounds,
            settled: tallies.settled,
            differences: self.counts.clone(),
            undecided: self.undecided.clone(),
            not_looked_at: [
                ("filtered", tallies.filtered),
                ("not_sampled", tallies.not_sampled),
            ]
            .into(),
            expiries_held: progress.expiries_held.get(),
            repair: None,
        }
    }

    /// The names of all keys that differ; `None` where they are too many.
    pub(super) fn take_differing(&mut self) -> Option<Vec<Differing>> {
        let fits = self.differing_bytes <= NAMES_BYTES_MAX;
        fits.then(|| std::mem::take(&mut self.differing))
    }

    /// Takes the report, for whoever has more to write into it.
    pub(super) fn into_report(self) -> Option<Report> {
        self.report
    }
}
