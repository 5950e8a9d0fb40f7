//! Reading keys again, for whoever puts right what differs.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::keyspace::Db;

use super::{
    Error, Examined, Progress, Settled, ValueError, fetch::Fetched, peer::Peer, plan::Plan,
    reading::Dbs, recheck::Rechecker, report::Suspect, server::libraries,
};

/// Reads keys of both sides.
#[derive(Debug)]
pub struct Examiner {
    plan: Arc<Plan>,
    recheck: Rechecker,
    source: Peer,
}

impl Examiner {
    pub(super) fn new(plan: Arc<Plan>, recheck: Rechecker) -> Examiner {
        Examiner {
            source: plan.source.peer(),
            plan,
            recheck,
        }
    }

    /// Where it is shown what is done.
    pub fn progress(&self) -> &Progress {
        &self.plan.progress
    }

    /// Compares keys of one db as they are at this moment; one result for each.
    ///
    /// # Errors
    /// A side cannot be asked any more.
    pub async fn examine(&mut self, db: Db, keys: &[Bytes]) -> Result<Vec<Examined>, Error> {
        self.recheck.examine(Dbs::same(db), keys).await
    }

    /// Reads keys again in rounds, as a verification does, and tells what became of each.
    ///
    /// # Errors
    /// A side, or the status of a sync, cannot be asked any more; those of `tell`.
    pub async fn settle(
        &mut self,
        suspects: Vec<Suspect>,
        tell: &mut (dyn FnMut(Settled) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        self.recheck.settle(suspects, tell).await
    }

    /// Begins to read a key of the source; `None` when it does not have it.
    ///
    /// # Errors
    /// As [`ValueError`].
    pub async fn fetch(&mut self, db: Db, key: &Bytes) -> Result<Option<Fetched<'_>>, ValueError> {
        Fetched::begin(&mut self.source, &self.plan, db, key).await
    }

    /// The function libraries of the source and of the target: code by name.
    ///
    /// # Errors
    /// A side cannot be asked any more.
    pub async fn libraries(&mut self) -> Result<[BTreeMap<Bytes, Bytes>; 2], Error> {
        let mut target = self.plan.target.peer();
        let (sources, targets) = tokio::try_join!(
            libraries(&mut self.source, self.plan.source.abilities),
            libraries(&mut target, self.plan.target.abilities),
        )?;
        Ok([sources, targets])
    }
}
