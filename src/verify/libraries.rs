//! Compares the function libraries of both sides, as often as keys that differ are read again.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::keyspace::Db;

use super::{
    Difference, Error, First, Held, Kind, Place, Reason, Undecided,
    plan::Plan,
    recheck::{Rechecker, Settled},
    report::Suspect,
    server::libraries,
};

/// What comparing libraries has shown.
#[derive(Debug)]
pub(super) struct Libraries {
    /// How many there are on either side.
    pub(super) count: u64,
    /// What became of those that differ.
    pub(super) settled: Vec<Settled>,
}

/// The code of a library on both sides.
type Codes = (Option<Bytes>, Option<Bytes>);

impl Libraries {
    /// Compares all libraries. One that differs is read again in rounds; it differs when it has the
    /// same code each time.
    ///
    /// # Errors
    /// A side, or the status of a sync, cannot be asked any more.
    pub(super) async fn compare(plan: &Plan, recheck: &mut Rechecker) -> Result<Libraries, Error> {
        let (count, mut apart) = read(plan, recheck).await?;
        let mut changing = Vec::new();
        for _ in 0..recheck.rounds() {
            if apart.is_empty() {
                break;
            }
            recheck.pause().await;
            let (_, again) = read(plan, recheck).await?;
            changing.clear();
            apart = again
                .into_iter()
                .filter(|(name, codes)| {
                    let before = apart.get(name);
                    if before.is_some_and(|before| before != codes) {
                        changing.push(name.clone());
                    }
                    before.is_some()
                })
                .collect();
        }
        let settled = apart
            .into_iter()
            .map(|(name, codes)| match changing.contains(&name) {
                true => Settled::Undecided(Undecided {
                    db: Db(0),
                    key: name,
                    reason: Reason::Changing,
                    detail: Some("a function library".to_owned()),
                }),
                false => different(name, codes),
            });
        Ok(Libraries {
            count,
            settled: settled.collect(),
        })
    }
}

/// How many libraries there are, and those that differ. The target is read once a sync that follows
/// has brought it what the source had.
async fn read(
    plan: &Plan,
    recheck: &mut Rechecker,
) -> Result<(u64, BTreeMap<Bytes, Codes>), Error> {
    let source = libraries(&mut plan.source.peer(), plan.source.abilities).await?;
    recheck.wait_for_sync().await?;
    let target = libraries(&mut plan.target.peer(), plan.target.abilities).await?;
    let mut all: BTreeMap<Bytes, Codes> = BTreeMap::new();
    for (name, code) in source {
        all.entry(name).or_default().0 = Some(code);
    }
    for (name, code) in target {
        all.entry(name).or_default().1 = Some(code);
    }
    let count = all.len() as u64;
    all.retain(|_, (source, target)| source != target);
    Ok((count, all))
}

fn different(name: Bytes, (source, target): Codes) -> Settled {
    let first = First::at(Place::Code, source.as_deref(), target.as_deref());
    let difference = Difference {
        db: Db(0),
        key: name.clone(),
        kind: Kind::Function,
        source: Held::default(),
        target: Held::default(),
        first: Some(first),
    };
    let suspect = Suspect {
        db: Db(0),
        key: name,
    };
    Settled::Different(suspect, vec![difference])
}
