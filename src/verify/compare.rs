//! Whether two values are the same, and where they first differ. Pure.
//!
//! ```text
//!  DUMP payloads ──► equal bytes? ──► type and body equal? ──► both decoded, compared by content
//! ```
//!
//! What is compared is what clients can tell apart. The encoding, the compression and the order in
//! which sets, hashes and sorted sets are stored mean nothing. `docs/verify.md` says what else is
//! left out, and why.
//!
//! Each kind of difference is told once for a value, at its first place: the first in the order of
//! lists and streams, else the smallest name by its bytes, so that two runs say the same.

mod array;
mod finds;
pub(super) mod hash;
mod hyperloglog;
mod json;
mod list;
mod merge;
mod opaque;
mod parts;
pub(super) mod set;
pub(super) mod stream;
mod string;
mod text;
pub(super) mod vector_set;
pub(super) mod zset;

#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    rdb::{
        Error, KeyType,
        payload::{self, FOOTER_BYTES},
    },
    sink::Hold,
};

use super::{First, Kind, Place};

pub(super) use finds::{Finds, first_shown, name};
pub(super) use hyperloglog::registers;
pub(super) use string::{first_apart, strings};

/// How strictly values are compared, and by which times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How far apart two expiries, or the times of two deliveries, may be.
    pub(super) ttl_tolerance_ms: i64,
    /// The clock of each side, by which hash fields have expired already.
    pub(super) source_now_ms: UnixMs,
    pub(super) target_now_ms: UnixMs,
    /// A sync follows and may hold expiries of the target: [`Hold`] says the true ones.
    pub(super) releases_held: bool,
}

/// One difference within a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) first: First,
}

impl Rules {
    /// Whether two times count as the same.
    fn near(&self, source: UnixMs, target: UnixMs) -> bool {
        source.abs_diff(target) <= self.ttl_tolerance_ms.unsigned_abs()
    }

    /// Whether two expiries count as the same, the second of which may be held.
    fn same_expiry(
        &self,
        source: Option<UnixMs>,
        target: Option<UnixMs>,
        release: fn(UnixMs) -> Option<UnixMs>,
    ) -> bool {
        match (source, target) {
            (None, None) => true,
            (Some(source), Some(target)) => {
                let released = release(target).filter(|_| self.releases_held);
                // What looks like a held time may be a true one.
                self.near(source, target) || released.is_some_and(|time| self.near(source, time))
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether two expiries of a hash field count as the same.
    fn same_field_expiry(&self, source: Option<UnixMs>, target: Option<UnixMs>) -> bool {
        self.same_expiry(source, target, Hold::release_field)
    }

    /// Whether a field of the source has expired, so that clients do not see it (redis 7.4 t_hash.c
    /// hashTypeIsExpired).
    pub(super) fn source_field_is_past(&self, expire_at_ms: Option<UnixMs>) -> bool {
        expire_at_ms.is_some_and(|time| time < self.source_now_ms)
    }

    /// Whether a field of the target has expired, or would have if it were not held.
    pub(super) fn target_field_is_past(&self, expire_at_ms: Option<UnixMs>) -> bool {
        let released = expire_at_ms
            .and_then(Hold::release_field)
            .filter(|_| self.releases_held);
        released
            .or(expire_at_ms)
            .is_some_and(|time| time < self.target_now_ms)
    }
}

/// Whether the expiries of a key on both sides are the same: within the tolerance, and that of the
/// target by its true time where a sync holds it. One that is missing on one side only differs.
pub(super) fn expiries(source: Option<UnixMs>, target: Option<UnixMs>, rules: &Rules) -> bool {
    rules.same_expiry(source, target, Hold::release)
}

/// The logical type of the value in a DUMP payload; `None` for what is no payload, or of a type
/// that cannot be read.
pub(super) fn key_type(payload: &Bytes) -> Option<KeyType> {
    payload::value_type(payload).ok().map(KeyType::of)
}

/// The differences between two values, as DUMP answers them: at most one of each kind, in the
/// order of kinds.
///
/// # Errors
///
/// One of the two is no payload, or of a type that cannot be read, or damaged; not when the bytes
/// of both are the same.
pub(super) fn payloads(source: &Bytes, target: &Bytes, rules: &Rules) -> Result<Vec<Found>, Error> {
    if source == target || content_is_same(source, target) {
        return Ok(Vec::new());
    }
    let types = [payload::value_type(source)?, payload::value_type(target)?].map(KeyType::of);
    let (source, target) = (payload::check(source)?, payload::check(target)?);
    let [key_type, other] = types;
    let mut finds = Finds::default();
    if key_type != other {
        let [source, target] = types.map(|of| of.name().as_bytes());
        finds.add(Kind::Type, || {
            First::at(Place::Payload, Some(source), Some(target))
        });
        return Ok(finds.into_found());
    }
    match key_type {
        KeyType::String => string::compare(&source, &target, &mut finds)?,
        KeyType::List => list::compare(&source, &target, &mut finds)?,
        KeyType::Set => set::compare(&source, &target, rules, &mut finds)?,
        KeyType::Zset => zset::compare(&source, &target, &mut finds)?,
        KeyType::Hash => hash::compare(&source, &target, rules, &mut finds)?,
        KeyType::Stream => stream::compare(&source, &target, rules, &mut finds)?,
        KeyType::VectorSet => vector_set::compare(&source, &target, &mut finds)?,
        KeyType::Array => array::compare(&source, &target, &mut finds)?,
        KeyType::Json => json::compare(&source, &target, &mut finds)?,
        KeyType::Module | KeyType::Other => opaque::compare(&source, &target, &mut finds),
    }
    Ok(finds.into_found())
}

/// Whether all but the footers is the same, and means the same: the version in a footer decides
/// whose type some of the type bytes are.
fn content_is_same(source: &Bytes, target: &Bytes) -> bool {
    let contents = content(source).zip(content(target));
    let types = || (payload::value_type(source), payload::value_type(target));
    contents.is_some_and(|(source, target)| source == target)
        && matches!(types(), (Ok(source), Ok(target)) if source == target)
}

/// What stands before the footer.
fn content(payload: &Bytes) -> Option<Bytes> {
    let len = payload.len().checked_sub(FOOTER_BYTES)?;
    Some(payload.slice(..len))
}
