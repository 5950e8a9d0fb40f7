//! Reads keys from both sides and compares them.
//!
//! ```text
//!  both sides at once:  MEMORY USAGE, PEXPIRETIME ──► missing, large, or small
//!  small:   MGET ──► strings ──► DUMP of what is no string ──► compare
//!  large:   TYPE ──► page by page
//! ```
//!
//! MGET answers strings at a fraction of what DUMP costs a server, and nil for other types. No value
//! is asked for before its size is known, and never more than a few MiB of values at a time.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::KeyType,
    resp::{Reply, ReplyError},
};

use super::{
    Difference, Error, ErrorKind, First, Kind, Place, Side,
    compare::{self, Found, Rules},
    large,
    pages::{self, ValueError},
    peer::{Peer, Request},
    plan::{Depth, Plan, crc_of},
    probe::{Probe, described, probe, type_of},
    server::Server,
};

/// Values that are asked for in one go, in bytes of memory they take.
const BATCH_BYTES: u64 = 4 << 20;

/// The db of a key on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dbs {
    pub(super) source: Db,
    pub(super) target: Db,
}

impl Dbs {
    /// The same db on both sides.
    pub(super) fn same(db: Db) -> Dbs {
        Dbs {
            source: db,
            target: db,
        }
    }
}

/// What reading a key on both sides has shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Examined {
    /// Both have the same.
    Equal,
    /// Neither has it.
    Gone,
    /// They differ.
    Different(Vec<Difference>),
    /// A side refuses to read it.
    Unreadable {
        /// Which.
        side: Side,
        /// Its refusal.
        why: String,
    },
}

/// Connections to both sides, over which keys are compared.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) source: Peer,
    pub(super) target: Peer,
    plan: Arc<Plan>,
}

/// A key that is being compared.
struct Comparison<'k> {
    key: &'k Bytes,
    source: Probe,
    target: Probe,
    found: Vec<Found>,
    /// Its value vanished while it was read.
    moved: bool,
    unreadable: Option<(Side, String)>,
}

impl Comparison<'_> {
    fn find(&mut self, kind: Kind, place: Place) {
        let first = First::at(place, None, None);
        self.found.push(Found { kind, first });
    }

    /// What it takes to read the larger of both values.
    fn bytes(&self) -> u64 {
        let bytes = |probe: &Probe| probe.memory_bytes.unwrap_or(0);
        bytes(&self.source).max(bytes(&self.target))
    }

    fn is_on_both(&self) -> bool {
        self.source.exists && self.target.exists && self.unreadable.is_none()
    }
}

impl Readers {
    /// Connections that are opened when they are used first.
    pub(super) fn new(plan: &Arc<Plan>) -> Readers {
        Readers {
            source: plan.source.peer(),
            target: plan.target.peer(),
            plan: Arc::clone(plan),
        }
    }

    /// Both sides, for values that are read page by page.
    fn pair(&mut self, dbs: Dbs) -> large::Pair<'_> {
        large::Pair {
            source: &mut self.source,
            target: &mut self.target,
            source_db: dbs.source,
            target_db: dbs.target,
            source_can: self.plan.source.abilities,
            target_can: self.plan.target.abilities,
        }
    }

    /// Compares keys; one result for each.
    ///
    /// # Errors
    /// A side cannot be asked any more.
    pub(super) async fn examine(
        &mut self,
        dbs: Dbs,
        keys: &[Bytes],
    ) -> Result<Vec<Examined>, Error> {
        let plan = Arc::clone(&self.plan);
        let (sources, targets) = tokio::try_join!(
            probe(&mut self.source, &plan.source, dbs.source, keys, plan.depth),
            probe(&mut self.target, &plan.target, dbs.target, keys, plan.depth),
        )?;
        let probes = sources.into_iter().zip(targets);
        let mut comparisons: Vec<Comparison<'_>> = keys
            .iter()
            .zip(probes)
            .map(|(key, (source, target))| Comparison {
                key,
                unreadable: refused(&source, &target),
                source,
                target,
                found: Vec::new(),
                moved: false,
            })
            .collect();
        let rules = plan.rules();
        match plan.depth {
            Depth::Existence => {}
            Depth::Metadata => {
                self.count_fields(dbs, &mut comparisons).await?;
                comparisons.iter_mut().for_each(compare_metadata);
            }
            Depth::Full => self.compare_values(dbs, &mut comparisons, &rules).await?,
        }
        Ok(comparisons
            .into_iter()
            .map(|comparison| judge(dbs, comparison, &rules))
            .collect())
    }

    /// Counts the fields of hashes whose HLEN differ, which counts fields that have expired until the
    /// server comes across them.
    async fn count_fields(
        &mut self,
        dbs: Dbs,
        comparisons: &mut [Comparison<'_>],
    ) -> Result<(), Error> {
        let sides = [&self.plan.source, &self.plan.target];
        if !sides.iter().any(|side| side.abilities.field_expiry) {
            return Ok(());
        }
        let hash = Some(KeyType::Hash);
        for one in comparisons.iter_mut().filter(|one| one.is_on_both()) {
            let types = [one.source.value_type, one.target.value_type];
            if types != [hash, hash] || one.source.len == one.target.len {
                continue;
            }
            let mut pair = self.pair(dbs);
            let (mut source, mut target) = pair.split();
            let counts = tokio::try_join!(
                pages::hash::count(&mut source, one.key),
                pages::hash::count(&mut target, one.key),
            );
            match counts {
                Ok((ours, theirs)) => {
                    (one.source.len, one.target.len) = (Some(ours), Some(theirs));
                }
                // What HLEN said stands.
                Err(ValueError::Moved | ValueError::Unreadable(..)) => {}
                Err(ValueError::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn compare_values(
        &mut self,
        dbs: Dbs,
        comparisons: &mut [Comparison<'_>],
        rules: &Rules,
    ) -> Result<(), Error> {
        let large_bytes = self.plan.large_key_bytes;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for comparison in comparisons.iter_mut().filter(|one| one.is_on_both()) {
            match comparison.bytes() >= large_bytes {
                true => large.push(comparison),
                false => small.push(comparison),
            }
        }
        let mut rest = &mut small[..];
        while !rest.is_empty() {
            let batch = batch_len(rest);
            let (now, later) = rest.split_at_mut(batch);
            self.compare_small(dbs, now, rules).await?;
            rest = later;
        }
        for comparison in large {
            self.compare_large(dbs, comparison, rules).await?;
        }
        Ok(())
    }

    async fn compare_small(
        &mut self,
        dbs: Dbs,
        batch: &mut [&mut Comparison<'_>],
        rules: &Rules,
    ) -> Result<(), Error> {
        let keys: Vec<&Bytes> = batch.iter().map(|one| one.key).collect();
        let (sources, targets) = tokio::try_join!(
            strings(&mut self.source, &self.plan.source, dbs.source, &keys),
            strings(&mut self.target, &self.plan.target, dbs.target, &keys),
        )?;
        let mut others = Vec::new();
        for (comparison, pair) in batch.iter_mut().zip(sources.into_iter().zip(targets)) {
            match pair {
                (Some(source), Some(target)) => {
                    comparison.source.value_type = Some(KeyType::String);
                    comparison.target.value_type = Some(KeyType::String);
                    comparison.source.len = Some(source.len() as u64);
                    comparison.target.len = Some(target.len() as u64);
                    comparison.found.extend(compare::strings(&source, &target));
                }
                // No string on one side at least, or gone.
                _ => others.push(&mut **comparison),
            }
        }
        self.compare_payloads(dbs, &mut others, rules).await
    }

    async fn compare_payloads(
        &mut self,
        dbs: Dbs,
        batch: &mut [&mut Comparison<'_>],
        rules: &Rules,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let keys: Vec<&Bytes> = batch.iter().map(|one| one.key).collect();
        let (sources, targets) = tokio::try_join!(
            payloads(&mut self.source, dbs.source, &keys),
            payloads(&mut self.target, dbs.target, &keys),
        )?;
        for (comparison, pair) in batch.iter_mut().zip(sources.into_iter().zip(targets)) {
            let (source, target) = match pair {
                (Ok(Some(source)), Ok(Some(target))) => (source, target),
                (Err(reply), _) => {
                    comparison.unreadable = Some((Side::Source, reply.to_string()));
                    continue;
                }
                (_, Err(reply)) => {
                    comparison.unreadable = Some((Side::Target, reply.to_string()));
                    continue;
                }
                _ => {
                    comparison.moved = true;
                    continue;
                }
            };
            comparison.source.value_type = compare::key_type(&source);
            comparison.target.value_type = compare::key_type(&target);
            match compare::payloads(&source, &target, rules) {
                Ok(found) => comparison.found.extend(found),
                Err(error) => {
                    let why = format!("the value cannot be decoded: {error}");
                    comparison.unreadable = Some((Side::Source, why));
                }
            }
        }
        Ok(())
    }

    async fn compare_large(
        &mut self,
        dbs: Dbs,
        comparison: &mut Comparison<'_>,
        rules: &Rules,
    ) -> Result<(), Error> {
        let key = comparison.key;
        let (source, target) = tokio::try_join!(
            type_of(&mut self.source, dbs.source, key),
            type_of(&mut self.target, dbs.target, key),
        )?;
        (comparison.source.value_type, comparison.target.value_type) = (source, target);
        let value_type = match (source, target) {
            (Some(source), Some(target)) if source == target => source,
            (Some(_), Some(_)) => {
                comparison.find(Kind::Type, Place::Payload);
                return Ok(());
            }
            _ => {
                comparison.moved = true;
                return Ok(());
            }
        };
        self.plan.progress.large_keys.add(1);
        let mut pair = self.pair(dbs);
        match large::compare(&mut pair, key, value_type, rules).await {
            Ok(found) => comparison.found.extend(found),
            Err(ValueError::Moved) => comparison.moved = true,
            Err(ValueError::Unreadable(side, why)) => comparison.unreadable = Some((side, why)),
            Err(ValueError::Failed(error)) => return Err(error),
        }
        Ok(())
    }

    /// Which of these keys of the target the source does not have.
    ///
    /// # Errors
    /// The source cannot be asked any more.
    pub(super) async fn missing_on_source(
        &mut self,
        db: Db,
        keys: &[Bytes],
    ) -> Result<Vec<Bytes>, Error> {
        if !self.plan.source.is_cluster {
            let mut request = Request::default();
            request.add_many(&[b"EXISTS"], keys.iter());
            let found = self.source.ask(db, request).await?.pop();
            if found == Some(Reply::Int(keys.len() as i64)) {
                return Ok(Vec::new());
            }
        }
        let mut request = Request::default();
        for key in keys {
            request.add(&[b"EXISTS", key]);
        }
        let replies = self.source.ask(db, request).await?;
        let missing = keys.iter().zip(&replies);
        Ok(missing
            // What is refused is looked at again, by name.
            .filter(|(_, reply)| **reply != Reply::Int(1))
            .map(|(key, _)| key.clone())
            .collect())
    }
}

/// How many of these are asked for in one go.
fn batch_len(rest: &[&mut Comparison<'_>]) -> usize {
    let mut bytes = 0;
    let fits = rest.iter().take_while(|one| {
        bytes += one.bytes();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

fn refused(source: &Probe, target: &Probe) -> Option<(Side, String)> {
    let of = |side, probe: &Probe| Some((side, probe.refused.as_ref()?.to_string()));
    of(Side::Source, source).or_else(|| of(Side::Target, target))
}

fn compare_metadata(comparison: &mut Comparison<'_>) {
    if !comparison.is_on_both() {
        return;
    }
    if comparison.source.value_type != comparison.target.value_type {
        return comparison.find(Kind::Type, Place::Payload);
    }
    let (source, target) = (comparison.source.len, comparison.target.len);
    if source != target {
        let text = |len: Option<u64>| len.map(|len| len.to_string());
        let (source, target) = (text(source), text(target));
        let first = First::at(
            Place::Counter("length"),
            source.as_ref().map(String::as_bytes),
            target.as_ref().map(String::as_bytes),
        );
        let kind = Kind::Value;
        comparison.found.push(Found { kind, first });
    }
}

/// What was found about a key, in the words of a report.
fn judge(dbs: Dbs, comparison: Comparison<'_>, rules: &Rules) -> Examined {
    let Comparison {
        key,
        source,
        target,
        found,
        moved,
        unreadable,
    } = comparison;
    if let Some((side, why)) = unreadable {
        return Examined::Unreadable { side, why };
    }
    let db = match source.exists {
        true => dbs.source,
        false => dbs.target,
    };
    let difference = |kind, first| Difference {
        db,
        // Its bytes are a slice of a page of keys.
        key: Bytes::copy_from_slice(key),
        kind,
        source: source.held(),
        target: target.held(),
        first,
    };
    match (source.exists, target.exists) {
        (false, false) => return Examined::Gone,
        (true, false) => return Examined::Different(vec![difference(Kind::Missing, None)]),
        (false, true) => return Examined::Different(vec![difference(Kind::OnlyOnTarget, None)]),
        (true, true) => {}
    }
    let mut differences: Vec<Difference> = found
        .into_iter()
        .map(|found| difference(found.kind, Some(found.first)))
        .collect();
    if moved && differences.is_empty() {
        differences.push(difference(Kind::Value, None));
    }
    if !compare::expiries(source.expire_at_ms, target.expire_at_ms, rules) {
        differences.push(difference(Kind::Expiry, None));
    }
    match differences.is_empty() {
        true => Examined::Equal,
        false => Examined::Different(differences),
    }
}

/// Completes what differences say of both sides: types, and numbers of elements.
///
/// # Errors
/// A side cannot be asked any more.
pub(super) async fn describe(
    readers: &mut Readers,
    dbs: Dbs,
    differences: &mut [Difference],
) -> Result<(), Error> {
    let Some(key) = differences.first().map(|one| one.key.clone()) else {
        return Ok(());
    };
    let (source, target) = tokio::try_join!(
        described(&mut readers.source, dbs.source, &key),
        described(&mut readers.target, dbs.target, &key),
    )?;
    for difference in differences {
        for (held, found) in [
            (&mut difference.source, &source),
            (&mut difference.target, &target),
        ] {
            held.value_type = held.value_type.or(found.value_type);
            held.len = held.len.or(found.len);
        }
    }
    Ok(())
}

/// The strings among these keys; `None` for what is none, or refused.
async fn strings(
    peer: &mut Peer,
    server: &Server,
    db: Db,
    keys: &[&Bytes],
) -> Result<Vec<Option<Bytes>>, Error> {
    let string = |reply| match reply {
        Reply::Bulk(string) => string,
        _ => None,
    };
    let mut request = Request::default();
    if server.is_cluster {
        for key in keys {
            request.add(&[b"GET", key]);
        }
        let replies = peer.ask(db, request).await?;
        return Ok(replies.into_iter().map(string).collect());
    }
    request.add_many(&[b"MGET"], keys.iter().copied());
    match peer.ask(db, request).await?.pop() {
        Some(Reply::Array(Some(values))) if values.len() == keys.len() => {
            Ok(values.into_iter().map(string).collect())
        }
        // It may be that only some of them may be read: DUMP says which.
        Some(Reply::Error(_)) => Ok(vec![None; keys.len()]),
        _ => Err(peer.error(ErrorKind::Answer("MGET"))),
    }
}

/// The payloads of these keys.
async fn payloads(
    peer: &mut Peer,
    db: Db,
    keys: &[&Bytes],
) -> Result<Vec<Result<Option<Bytes>, ReplyError>>, Error> {
    let mut request = Request::default();
    for key in keys {
        request.add(&[b"DUMP", key]);
    }
    let replies = peer.ask(db, request).await?;
    let payload = |reply| match reply {
        Reply::Bulk(payload) => Ok(payload),
        Reply::Error(refused) => Err(refused),
        _ => Ok(None),
    };
    Ok(replies.into_iter().map(payload).collect())
}

/// What the source has under a key at a moment, as far as it takes to see that it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fingerprint {
    /// Nothing.
    Missing,
    /// A value with these bytes, and its expiry.
    Value {
        crc: u64,
        expire_at_ms: Option<UnixMs>,
    },
    /// More than may be read for that.
    Large,
}

impl Readers {
    /// What the source has under these keys.
    ///
    /// # Errors
    /// The source cannot be asked any more.
    pub(super) async fn fingerprints(
        &mut self,
        db: Db,
        keys: &[Bytes],
    ) -> Result<Vec<Fingerprint>, Error> {
        let plan = Arc::clone(&self.plan);
        let probes = probe(&mut self.source, &plan.source, db, keys, plan.depth).await?;
        let mut prints = Vec::with_capacity(keys.len());
        for (key, probe) in keys.iter().zip(probes) {
            let is_large = probe.memory_bytes.unwrap_or(0) >= plan.large_key_bytes;
            prints.push(match (probe.exists, plan.depth) {
                (false, _) => Fingerprint::Missing,
                (true, Depth::Full) if is_large => Fingerprint::Large,
                (true, Depth::Full) => {
                    let payload = payloads(&mut self.source, db, &[key]).await?.pop();
                    match payload {
                        Some(Ok(Some(payload))) => Fingerprint::Value {
                            crc: crc_of(&payload),
                            expire_at_ms: probe.expire_at_ms,
                        },
                        _ => Fingerprint::Missing,
                    }
                }
                (true, Depth::Metadata | Depth::Existence) => Fingerprint::Value {
                    crc: probe.len.unwrap_or(0),
                    expire_at_ms: probe.expire_at_ms,
                },
            });
        }
        Ok(prints)
    }

    /// What is compared, and how.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }
}
