//! Puts right what `verify` has found: copies what differs from the source to the target.
//!
//! ```text
//!  differing keys ──► read again on both sides ──► equal: left alone
//!                                              ├─► value: source ──pages──► write path of a sync
//!                                              ├─► expiry only: PEXPIREAT, PERSIST
//!                                              └─► only on the target: UNLINK, if that is wanted
//!                     then all of them are read again, in rounds
//! ```
//!
//! A key that does not differ is never touched. Values are written as those of a snapshot: large ones
//! in chunks under a staging name, which then gets the name of the key. So of a value that goes away
//! while it is read nothing is seen: it is abandoned, and read again from its beginning.

mod error;
mod plan;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    config::TargetConfig,
    keyspace::Db,
    pipeline::{self, KeyCopy},
    rdb::Event,
    verify::{
        Counts, Differing, Examined, Examiner, Phase, RepairSummary, Settled, Side, ValueError,
        report::{RepairAction, Repaired, Report, Suspect},
    },
};

pub use error::Error;
pub use plan::{Action, Step, plan};

/// Keys that are read again at a time before they are written.
const BATCH_KEYS: usize = 64;

/// How often a key is read that is another one before it was read to its end.
const TRIES: u32 = 3;

/// What became of a key that was to be handed over.
enum Handed {
    /// All of it was.
    Whole,
    /// The source does not have it.
    Gone,
    /// It cannot be read to its end.
    Not(ValueError),
}

/// Repairs a target.
pub struct Repair<'a> {
    examiner: &'a mut Examiner,
    copy: KeyCopy<'a>,
    report: &'a mut Option<Report>,
    deletes: bool,
    done: RepairSummary,
}

/// Does what `steps` say, as far as it is still to be done, and verifies those keys again.
///
/// May be dropped midway: what was confirmed stays, and of the rest nothing is seen.
///
/// # Errors
/// A side fails, or the report.
pub async fn repair(
    target: &TargetConfig,
    deletes: bool,
    steps: &[Step],
    examiner: &mut Examiner,
    report: &mut Option<Report>,
) -> Result<RepairSummary, Error> {
    let progress = Arc::new(pipeline::Progress::default());
    examiner
        .progress()
        .enter(Phase::Repairing, steps.len() as u64);
    let mut repair = Repair {
        examiner,
        copy: KeyCopy::open(target, &progress).await?,
        report,
        deletes,
        done: RepairSummary::default(),
    };
    for of_db in steps.chunk_by(|one, next| one.db == next.db && one.is_key() == next.is_key()) {
        for batch in of_db.chunks(BATCH_KEYS) {
            match batch.first() {
                Some(step) if step.is_key() => repair.keys(step.db, batch).await?,
                _ => repair.functions(batch).await?,
            }
        }
    }
    repair.verify_again(steps).await?;
    Ok(repair.done)
}

impl Repair<'_> {
    /// Repairs keys of one db.
    async fn keys(&mut self, db: Db, batch: &[Step]) -> Result<(), Error> {
        let keys: Vec<Bytes> = batch.iter().map(|step| step.key.clone()).collect();
        let examined = self.examiner.examine(db, &keys).await?;
        let mut copied = Vec::new();
        for (step, examined) in batch.iter().zip(examined) {
            self.examiner.progress().keys_done.add(1);
            let kinds = match examined {
                Examined::Different(found) => found,
                Examined::Equal | Examined::Gone => {
                    self.skip(step, "it does not differ any more")?;
                    continue;
                }
                Examined::Unreadable { side, why } => {
                    self.skip(step, &unreadable(side, &why))?;
                    continue;
                }
            };
            let now = Differing::of(&kinds);
            match plan::action(&now, self.deletes) {
                Action::Copy => match self.copy_key(db, &step.key).await? {
                    Handed::Whole => copied.push(step),
                    Handed::Gone => self.skip(step, "the source has it no more")?,
                    Handed::Not(ValueError::Moved) => {
                        let why = "it gets other types, or comes and goes, while it is read";
                        self.skip(step, why)?;
                    }
                    Handed::Not(ValueError::Unreadable(side, why)) => {
                        self.skip(step, &unreadable(side, &why))?;
                    }
                    Handed::Not(ValueError::Failed(error)) => return Err(error.into()),
                },
                Action::SetExpiry => {
                    let expire_at_ms = kinds.first().and_then(|one| one.source.expire_at_ms);
                    self.copy.expire(db, &step.key, expire_at_ms).await?;
                    self.done.expiries_set += 1;
                    self.note(db, &step.key, RepairAction::ExpirySet)?;
                }
                Action::Remove => {
                    self.copy.remove(db, &step.key).await?;
                    self.done.removed += 1;
                    self.note(db, &step.key, RepairAction::Removed)?;
                }
                Action::Leave => {
                    self.done.left += 1;
                    let why = "only the target has it; --repair-delete removes it".to_owned();
                    self.note(db, &step.key, RepairAction::Skipped(why))?;
                }
            }
        }
        self.copy.confirm().await?;
        for step in copied {
            self.done.copied += 1;
            self.note(db, &step.key, RepairAction::Copied)?;
            if let (Some(other), true) = (step.other_db, self.deletes) {
                self.copy.remove(other, &step.key).await?;
                self.done.removed += 1;
                self.note(other, &step.key, RepairAction::Removed)?;
            }
        }
        Ok(())
    }

    /// Hands a key of the source over, whole, or says why not.
    async fn copy_key(&mut self, db: Db, key: &Bytes) -> Result<Handed, Error> {
        for _ in 0..TRIES {
            match self.try_copy_key(db, key).await? {
                Handed::Not(ValueError::Moved) => self.copy.abandon(),
                Handed::Not(why) => {
                    self.copy.abandon();
                    return Ok(Handed::Not(why));
                }
                handed => return Ok(handed),
            }
        }
        Ok(Handed::Not(ValueError::Moved))
    }

    /// Hands a key of the source over. What was handed over before it stopped is not complete.
    async fn try_copy_key(&mut self, db: Db, key: &Bytes) -> Result<Handed, Error> {
        let mut value = match self.examiner.fetch(db, key).await {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(Handed::Gone),
            Err(why) => return Ok(Handed::Not(why)),
        };
        self.copy.take(Event::SelectDb(db)).await?;
        let key = Event::Key(value.key().clone());
        if let Some(altitude) = self.copy.take(key).await? {
            value.choose(altitude);
        }
        loop {
            match value.next().await {
                Ok(Some(events)) => {
                    for event in events {
                        self.copy.take(event).await?;
                    }
                }
                Ok(None) => return Ok(Handed::Whole),
                Err(why) => return Ok(Handed::Not(why)),
            }
        }
    }

    /// Repairs function libraries.
    async fn functions(&mut self, batch: &[Step]) -> Result<(), Error> {
        let [sources, targets] = self.examiner.libraries().await?;
        for step in batch {
            let name = &step.key;
            match (sources.get(name), targets.get(name)) {
                (source, target) if source == target => {
                    self.skip(step, "it does not differ any more")?;
                }
                (Some(code), _) => {
                    self.copy
                        .take(Event::Function { code: code.clone() })
                        .await?;
                    self.copy.confirm().await?;
                    self.done.functions += 1;
                    self.note(step.db, name, RepairAction::Copied)?;
                }
                (None, _) if self.deletes => {
                    self.copy.remove_function(name).await?;
                    self.done.functions += 1;
                    self.note(step.db, name, RepairAction::Removed)?;
                }
                (None, _) => {
                    self.done.left += 1;
                    let why = "only the target has it; --repair-delete removes it".to_owned();
                    self.note(step.db, name, RepairAction::Skipped(why))?;
                }
            }
        }
        Ok(())
    }

    /// Reads all of it again, and counts what still differs.
    async fn verify_again(&mut self, steps: &[Step]) -> Result<(), Error> {
        let keys = steps.iter().filter(|step| step.is_key());
        let suspects: Vec<Suspect> = keys
            .map(|step| Suspect {
                db: step.db,
                key: step.key.clone(),
            })
            .collect();
        self.examiner
            .progress()
            .enter(Phase::Rechecking, suspects.len() as u64);
        let mut remaining = Counts::default();
        let mut undecided = 0;
        let mut tell = |settled| {
            match settled {
                Settled::Equal(_) => {}
                Settled::Different(_, found) => remaining.add(&found),
                Settled::Undecided(_) => undecided += 1,
            }
            Ok(())
        };
        self.examiner.settle(suspects, &mut tell).await?;
        let [sources, targets] = self.examiner.libraries().await?;
        let libraries = steps.iter().filter(|step| !step.is_key());
        let differ = libraries.filter(|step| sources.get(&step.key) != targets.get(&step.key));
        self.done.remaining = remaining.total + differ.count() as u64;
        self.done.undecided = undecided;
        Ok(())
    }

    fn skip(&mut self, step: &Step, why: &str) -> Result<(), Error> {
        self.done.skipped += 1;
        self.note(step.db, &step.key, RepairAction::Skipped(why.to_owned()))
    }

    fn note(&mut self, db: Db, key: &Bytes, action: RepairAction) -> Result<(), Error> {
        if let Some(report) = self.report {
            let key = key.clone();
            report.repaired(&Repaired { db, key, action })?;
        }
        Ok(())
    }
}

fn unreadable(side: Side, why: &str) -> String {
    format!("the {side} does not let it be read: {why}")
}
