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
        peer::Request,
    },
};

use super::{LargeError, Pair, one::One, pace::Pace, replies, scan::Scan};

/// The value of a field and its expiry; `None` when it is not there.
type Field = Option<(Bytes, Option<UnixMs>)>;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), LargeError> {
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
) -> Result<u64, LargeError> {
    let (mut seen, mut pace) = (0, Pace::new());
    let mut scan = Scan::new(b"HSCAN", key);
    loop {
        let (mut source, mut target) = pair.split();
        let Some(flat) = scan.next(&mut source).await? else {
            return Ok(seen);
        };
        let (names, values) = in_turns(flat).ok_or_else(|| source.odd("HSCAN"))?;
        seen += names.len() as u64;
        let (mut rest, mut differing) = (&names[..], Vec::new());
        while !rest.is_empty() {
            let (some, after) = rest.split_at(rest.len().min(pace.count() as usize));
            let (expiries, theirs) = tokio::join!(
                expiries(&mut source, key, some),
                held(&mut target, key, some, pace.reply_bytes_max()),
            );
            let (expiries, Some(theirs)) = (expiries?, theirs?) else {
                pace.shrink();
                continue;
            };
            learn(&mut pace, &theirs);
            let first = names.len() - rest.len();
            let ours = values.iter().skip(first).zip(expiries);
            for ((name, (value, expire_at_ms)), theirs) in some.iter().zip(ours).zip(&theirs) {
                let ours = Held {
                    value,
                    expire_at_ms,
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
) -> Result<(), LargeError> {
    let mut scan = Scan::new(b"HSCAN", key);
    loop {
        let (mut source, mut target) = pair.split();
        let Some(flat) = scan.next(&mut target).await? else {
            return Ok(());
        };
        let (names, _) = in_turns(flat).ok_or_else(|| target.odd("HSCAN"))?;
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
) -> Result<(), LargeError> {
    let (mut source, mut target) = pair.split();
    let (mut rest, mut pace) = (names, Pace::new());
    while !rest.is_empty() {
        let (some, after) = rest.split_at(rest.len().min(pace.count() as usize));
        let (ours, theirs) = tokio::join!(
            held(&mut source, key, some, pace.reply_bytes_max()),
            held(&mut target, key, some, pace.reply_bytes_max()),
        );
        let (Some(ours), Some(theirs)) = (ours?, theirs?) else {
            pace.shrink();
            continue;
        };
        for ((name, ours), theirs) in some.iter().zip(&ours).zip(&theirs) {
            let [ours, theirs] = [ours, theirs].map(|of| of.as_ref().map(as_held));
            field(finds, name, ours, theirs, rules);
        }
        learn(&mut pace, &theirs);
        rest = after;
    }
    Ok(())
}

/// What a side has of these fields; `None` when that is longer than this many bytes.
async fn held(
    one: &mut One<'_>,
    key: &Bytes,
    names: &[Bytes],
    reply_bytes_max: usize,
) -> Result<Option<Vec<Field>>, LargeError> {
    let mut request = Request::default();
    request.add_many(&[b"HMGET", key], names.iter());
    add_expiries(&mut request, one, key, names);
    let Some(replies) = one.ask_within(request, reply_bytes_max).await? else {
        return Ok(None);
    };
    let mut replies = replies.into_iter();
    let values = replies.next().and_then(replies::list);
    let values = values.filter(|values| values.len() == names.len());
    let values = values.ok_or_else(|| one.odd("HMGET"))?;
    let expiries = read_expiries(replies.next(), names).ok_or_else(|| one.odd("HPEXPIRETIME"))?;
    let fields = values.into_iter().zip(expiries).map(|(value, expiry)| {
        let value = replies::nullable(value)?;
        Some(value.map(|value| (value, expiry)))
    });
    let fields: Option<Vec<Field>> = fields.collect();
    fields.map(Some).ok_or_else(|| one.odd("HMGET"))
}

/// The expiries of these fields; none on a server whose fields have none.
async fn expiries(
    one: &mut One<'_>,
    key: &Bytes,
    names: &[Bytes],
) -> Result<Vec<Option<UnixMs>>, LargeError> {
    let mut request = Request::default();
    add_expiries(&mut request, one, key, names);
    let reply = one.ask(request).await?.pop();
    read_expiries(reply, names).ok_or_else(|| one.odd("HPEXPIRETIME"))
}

fn add_expiries(request: &mut Request, one: &One<'_>, key: &Bytes, names: &[Bytes]) {
    if one.can.field_expiry {
        let count = names.len().to_string();
        let words: [&[u8]; 4] = [b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        request.add_many(&words, names.iter());
    }
}

fn read_expiries(reply: Option<Reply>, names: &[Bytes]) -> Option<Vec<Option<UnixMs>>> {
    let Some(reply) = reply else {
        return Some(vec![None; names.len()]);
    };
    let expiries = replies::list(reply)?.into_iter().map(|reply| match reply {
        // -1 is none, -2 is no such field.
        Reply::Int(at_ms) => Some(Some(at_ms).filter(|at_ms| *at_ms >= 0)),
        _ => None,
    });
    let expiries: Option<Vec<Option<UnixMs>>> = expiries.collect();
    expiries.filter(|expiries| expiries.len() == names.len())
}

fn as_held((value, expire_at_ms): &(Bytes, Option<UnixMs>)) -> Held<'_> {
    Held {
        value,
        expire_at_ms: *expire_at_ms,
    }
}

fn learn(pace: &mut Pace, fields: &[Field]) {
    let bytes = fields.iter().flatten().map(|(value, _)| value.len()).sum();
    pace.learn(fields.len(), bytes);
}

/// Fields, and their values.
fn in_turns(flat: Vec<Bytes>) -> Option<(Vec<Bytes>, Vec<Bytes>)> {
    let (mut flat, mut names, mut values) = (flat.into_iter(), Vec::new(), Vec::new());
    while let Some(name) = flat.next() {
        names.push(name);
        values.push(flat.next()?);
    }
    Some((names, values))
}
