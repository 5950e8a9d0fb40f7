//! Hashes: by pages of fields, each looked up on the other side, with the expiries of both.
//!
//! What servers answer does not have fields that have expired, but HLEN counts those that are not
//! removed yet.

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    resp::Reply,
    verify::{
        Kind,
        compare::{
            Finds, Rules,
            hash::{Held, field},
        },
        pages::{
            PageSize, Scan, ValueError,
            hash::{self, Field, expiries, held},
        },
        peer::Request,
    },
};

use super::Pair;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let seen = fields_of_source(pair, key, rules, finds).await?;
    let (ours, theirs) = pair.ask_ints(&[b"HLEN", key]).await?;
    let has_expired = pair.source_can.field_expiry && seen != ours.unsigned_abs();
    // As many fields, and none of them missing: there are no others.
    if ours == theirs && !has_expired && !finds.has(Kind::Value) {
        return Ok(());
    }
    fields_of_target(pair, key, rules, finds).await
}

/// Compares the fields that the source has, and says how many that were.
async fn fields_of_source(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<u64, ValueError> {
    let (mut seen, mut size) = (0, PageSize::new());
    let mut scan = Scan::new(b"HSCAN", key);
    loop {
        let (mut source, mut target) = pair.split();
        let Some((names, values)) = hash::page(&mut scan, &mut source).await? else {
            return Ok(seen);
        };
        seen += names.len() as u64;
        let (mut rest, mut differing) = (&names[..], Vec::new());
        while !rest.is_empty() {
            let (some, after) = rest.split_at(rest.len().min(size.count() as usize));
            let (expiries, theirs) = tokio::join!(
                expiries(&mut source, key, some),
                held(&mut target, key, some, size.reply_bytes_max()),
            );
            let (expiries, Some(theirs)) = (expiries?, theirs?) else {
                size.shrink();
                continue;
            };
            learn(&mut size, &theirs);
            let first = names.len() - rest.len();
            let ours = values.iter().skip(first).zip(expiries);
            for ((name, (value, expiry)), theirs) in some.iter().zip(ours).zip(&theirs) {
                let ours = Held {
                    value,
                    expire_at_ms: expiry.flatten(),
                };
                let mut trial = Finds::default();
                field(
                    &mut trial,
                    name,
                    Some(ours),
                    theirs.as_ref().map(as_held),
                    rules,
                );
                if !trial.is_empty() {
                    differing.push(name.clone());
                }
            }
            rest = after;
        }
        look_again(pair, key, &differing, rules, finds).await?;
    }
}

/// Compares the fields that only the target has.
async fn fields_of_target(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let mut scan = Scan::new(b"HSCAN", key);
    loop {
        let (mut source, mut target) = pair.split();
        let Some((names, _)) = hash::page(&mut scan, &mut target).await? else {
            return Ok(());
        };
        let mut request = Request::default();
        for name in &names {
            request.add(&[b"HEXISTS", key, name]);
        }
        let found = source.ask(request).await?;
        let missing = names.into_iter().zip(found);
        let missing = missing.filter(|(_, found)| *found == Reply::Int(0));
        let missing: Vec<Bytes> = missing.map(|(name, _)| name).collect();
        look_again(pair, key, &missing, rules, finds).await?;
    }
}

/// Compares these fields as both sides have them now: one that differed has perhaps expired between
/// one look and the other.
async fn look_again(
    pair: &mut Pair<'_>,
    key: &Bytes,
    names: &[Bytes],
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let (mut source, mut target) = pair.split();
    let (mut rest, mut size) = (names, PageSize::new());
    while !rest.is_empty() {
        let (some, after) = rest.split_at(rest.len().min(size.count() as usize));
        let (ours, theirs) = tokio::join!(
            held(&mut source, key, some, size.reply_bytes_max()),
            held(&mut target, key, some, size.reply_bytes_max()),
        );
        let (Some(ours), Some(theirs)) = (ours?, theirs?) else {
            size.shrink();
            continue;
        };
        for ((name, ours), theirs) in some.iter().zip(&ours).zip(&theirs) {
            let [ours, theirs] = [ours, theirs].map(|of| of.as_ref().map(as_held));
            field(finds, name, ours, theirs, rules);
        }
        learn(&mut size, &theirs);
        rest = after;
    }
    Ok(())
}

fn as_held((value, expire_at_ms): &(Bytes, Option<UnixMs>)) -> Held<'_> {
    Held {
        value,
        expire_at_ms: *expire_at_ms,
    }
}

fn learn(size: &mut PageSize, fields: &[Field]) {
    let bytes = fields.iter().flatten().map(|(value, _)| value.len()).sum();
    size.learn(fields.len(), bytes);
}
