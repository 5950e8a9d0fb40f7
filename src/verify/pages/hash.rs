//! Hashes: fields, and the expiries that they have of their own.

use bytes::Bytes;

use crate::{keyspace::UnixMs, rdb::KeyType, resp::Reply, verify::peer::Request};

use super::{One, Scan, ValueError, replies};

/// The value of a field and its expiry; `None` when it is not there.
pub(in crate::verify) type Field = Option<(Bytes, Option<UnixMs>)>;

/// The expiry of a field, if it has one; `None` when it is not there.
pub(in crate::verify) type FieldExpiry = Option<Option<UnixMs>>;

/// The next fields of a hash, and their values; `None` behind the last page.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn page(
    scan: &mut Scan,
    one: &mut One<'_>,
) -> Result<Option<(Vec<Bytes>, Vec<Bytes>)>, ValueError> {
    let Some(flat) = scan.next(one).await? else {
        return Ok(None);
    };
    let (mut flat, mut names, mut values) = (flat.into_iter(), Vec::new(), Vec::new());
    while let Some(name) = flat.next() {
        names.push(name);
        values.push(flat.next().ok_or_else(|| one.odd("HSCAN"))?);
    }
    Ok(Some((names, values)))
}

/// How many fields a hash has that have not expired.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn count(one: &mut One<'_>, key: &Bytes) -> Result<u64, ValueError> {
    let (mut scan, mut fields) = (Scan::new(b"HSCAN", key), 0);
    while let Some((names, _)) = page(&mut scan, one).await? {
        fields += names.len() as u64;
    }
    one.still_has(key, KeyType::Hash).await?;
    Ok(fields)
}

/// The expiries of these fields; on a server whose fields have none, all of them are there without.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn expiries(
    one: &mut One<'_>,
    key: &Bytes,
    names: &[Bytes],
) -> Result<Vec<FieldExpiry>, ValueError> {
    let mut request = Request::default();
    add_expiries(&mut request, one, key, names);
    let reply = one.ask(request).await?.pop();
    read_expiries(reply, names).ok_or_else(|| one.odd("HPEXPIRETIME"))
}

/// What a side has of these fields; `None` when that is longer than this many bytes.
///
/// # Errors
/// As [`ValueError`].
pub(in crate::verify) async fn held(
    one: &mut One<'_>,
    key: &Bytes,
    names: &[Bytes],
    reply_bytes_max: usize,
) -> Result<Option<Vec<Field>>, ValueError> {
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
        // One that is there no more has expired between both questions.
        Some(replies::nullable(value)?.zip(expiry))
    });
    let fields: Option<Vec<Field>> = fields.collect();
    fields.map(Some).ok_or_else(|| one.odd("HMGET"))
}

fn add_expiries(request: &mut Request, one: &One<'_>, key: &Bytes, names: &[Bytes]) {
    if one.can.field_expiry && !names.is_empty() {
        let count = names.len().to_string();
        let words: [&[u8]; 4] = [b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        request.add_many(&words, names.iter());
    }
}

fn read_expiries(reply: Option<Reply>, names: &[Bytes]) -> Option<Vec<FieldExpiry>> {
    let Some(reply) = reply else {
        return Some(vec![Some(None); names.len()]);
    };
    let expiries = replies::list(reply)?.into_iter().map(|reply| match reply {
        Reply::Int(-2) => Some(None),
        Reply::Int(at_ms) => Some(Some(Some(at_ms).filter(|at_ms| *at_ms >= 0))),
        _ => None,
    });
    let expiries: Option<Vec<FieldExpiry>> = expiries.collect();
    expiries.filter(|expiries| expiries.len() == names.len())
}
