//! What a server says about keys before their values are read: whether they are there, what they take,
//! when they expire; or, where values are not read at all, their types and numbers of elements.

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::KeyType,
    resp::{Reply, ReplyError, ReplyErrorKind},
};

use super::{
    Error, ErrorKind, Held,
    abilities::Abilities,
    pages::replies,
    peer::{Peer, Request},
    plan::Depth,
    server::{Server, is_lasting},
};

/// What one side says about a key before its value is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Probe {
    pub(super) exists: bool,
    pub(super) memory_bytes: Option<u64>,
    pub(super) expire_at_ms: Option<UnixMs>,
    pub(super) value_type: Option<KeyType>,
    pub(super) len: Option<u64>,
    pub(super) refused: Option<ReplyError>,
}

impl Probe {
    /// The same in the words of a report.
    pub(super) fn held(&self) -> Held {
        Held {
            value_type: self.value_type,
            memory_bytes: self.memory_bytes,
            len: self.len,
            expire_at_ms: self.expire_at_ms,
        }
    }
}

/// What is asked of every key, up to the key.
const MEMORY_USAGE: &[u8] = b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n";
const PEXPIRETIME: &[u8] = b"*2\r\n$11\r\nPEXPIRETIME\r\n";

/// How it is found out when keys expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiries {
    /// It is of no interest.
    Unasked,
    /// Only if the db has any key that expires: it had none a while ago.
    IfAny,
    /// Each key is asked.
    OfEach,
}

/// Asks one side about keys before their values are read.
///
/// # Errors
/// It cannot be asked any more.
pub(super) async fn probe(
    peer: &mut Peer,
    server: &Server,
    db: Db,
    keys: &[Bytes],
    depth: Depth,
) -> Result<Vec<Probe>, Error> {
    let abilities = server.abilities;
    let expiries = match depth {
        Depth::Existence => Expiries::Unasked,
        Depth::Full | Depth::Metadata if server.was_lasting(db) => Expiries::IfAny,
        Depth::Full | Depth::Metadata => Expiries::OfEach,
    };
    let mut request = Request::default();
    if expiries == Expiries::IfAny {
        request.add(&[b"INFO", b"keyspace"]);
    }
    let of_each = expiries == Expiries::OfEach;
    if of_each {
        ask_time(&mut request, abilities);
    }
    // One key after the other: what the server had to fetch for the first question is still in its
    // cache for the second.
    for key in keys {
        match depth {
            Depth::Existence => request.add(&[b"EXISTS", key]),
            Depth::Full if abilities.memory_usage => request.add_encoded(MEMORY_USAGE, key),
            _ => request.add(&[b"TYPE", key]),
        }
        if of_each {
            ask_expiry(&mut request, abilities, key);
        }
    }
    let replies = match peer.ask(db, request).await {
        Ok(replies) => replies,
        // A server with fewer dbs has none of these keys.
        Err(error) if has_no_such_db(&error) => return Ok(vec![Probe::default(); keys.len()]),
        Err(error) => return Err(error),
    };
    let mut replies = replies.into_iter();
    let may_expire = match expiries {
        Expiries::IfAny => !replies.next().is_some_and(|reply| is_lasting(&reply, db)),
        Expiries::Unasked | Expiries::OfEach => false,
    };
    let now_ms = match of_each {
        true => take_time(&mut replies, abilities),
        false => None,
    };
    let mut probes = Vec::with_capacity(keys.len());
    while let Some(reply) = replies.next() {
        let mut probe = probed(reply);
        if of_each && let Some(reply) = replies.next() {
            note_expiry(&mut probe, reply, now_ms);
        }
        probes.push(probe);
    }
    if may_expire {
        expiries_of(peer, abilities, (db, keys), &mut probes).await?;
    }
    let wants_len = depth == Depth::Metadata || (depth == Depth::Full && !abilities.memory_usage);
    if wants_len {
        measure(peer, db, keys, &mut probes).await?;
    }
    Ok(probes)
}

/// Asks when each of these keys expires.
async fn expiries_of(
    peer: &mut Peer,
    abilities: Abilities,
    (db, keys): (Db, &[Bytes]),
    probes: &mut [Probe],
) -> Result<(), Error> {
    let mut request = Request::default();
    ask_time(&mut request, abilities);
    for key in keys {
        ask_expiry(&mut request, abilities, key);
    }
    let mut replies = peer.ask(db, request).await?.into_iter();
    let now_ms = take_time(&mut replies, abilities);
    for (probe, reply) in probes.iter_mut().zip(replies) {
        note_expiry(probe, reply, now_ms);
    }
    Ok(())
}

/// Reads what the first question about a key was answered: EXISTS, MEMORY USAGE, or TYPE.
fn probed(reply: Reply) -> Probe {
    match reply {
        Reply::Int(0) | Reply::Bulk(None) => Probe::default(),
        Reply::Int(number) => Probe {
            exists: true,
            memory_bytes: u64::try_from(number).ok(),
            ..Probe::default()
        },
        Reply::Simple(name) => Probe {
            exists: name != "none",
            value_type: replies::named_type(&name),
            ..Probe::default()
        },
        Reply::Error(refused) => Probe {
            refused: Some(refused),
            ..Probe::default()
        },
        Reply::Bulk(Some(_)) | Reply::Array(_) => Probe::default(),
    }
}

/// Asks for the time that PTTL is counted from, where there is no PEXPIRETIME.
fn ask_time(request: &mut Request, abilities: Abilities) {
    if !abilities.expire_time {
        request.add(&[b"TIME"]);
    }
}

/// Reads what [`ask_time`] was answered.
fn take_time(replies: &mut impl Iterator<Item = Reply>, abilities: Abilities) -> Option<UnixMs> {
    match abilities.expire_time {
        true => None,
        false => replies.next().and_then(replies::time),
    }
}

/// Asks when a key expires.
fn ask_expiry(request: &mut Request, abilities: Abilities, key: &Bytes) {
    match abilities.expire_time {
        true => request.add_encoded(PEXPIRETIME, key),
        false => request.add(&[b"PTTL", key]),
    }
}

/// Reads what PEXPIRETIME answered, or PTTL at `now_ms`.
fn note_expiry(probe: &mut Probe, reply: Reply, now_ms: Option<UnixMs>) {
    match reply {
        Reply::Int(-2) => probe.exists = false,
        Reply::Int(ms) if ms >= 0 => {
            probe.expire_at_ms = Some(now_ms.map_or(ms, |now_ms| now_ms.saturating_add(ms)));
        }
        Reply::Error(refused) => probe.refused = Some(refused),
        _ => {}
    }
}

/// Asks for the number of elements, and the length of strings.
async fn measure(
    peer: &mut Peer,
    db: Db,
    keys: &[Bytes],
    probes: &mut [Probe],
) -> Result<(), Error> {
    let mut request = Request::default();
    let mut asked = Vec::new();
    for (key, probe) in keys.iter().zip(probes) {
        if let Some(command) = probe.value_type.and_then(length_command) {
            request.add(&[command, key]);
            asked.push(probe);
        }
    }
    for (probe, reply) in asked.into_iter().zip(peer.ask(db, request).await?) {
        if let Reply::Int(len) = reply {
            probe.len = u64::try_from(len).ok();
            // Where the server does not estimate it: an element takes some dozen bytes at least.
            let each = match probe.value_type {
                Some(KeyType::String) => 1,
                _ => 64,
            };
            probe.memory_bytes = probe.len.map(|len| len.saturating_mul(each));
        }
    }
    Ok(())
}

/// The type of a key's value and how many elements it has.
///
/// # Errors
/// The server cannot be asked any more.
pub(super) async fn described(peer: &mut Peer, db: Db, key: &Bytes) -> Result<Probe, Error> {
    let mut probe = Probe {
        value_type: type_of(peer, db, key).await?,
        ..Probe::default()
    };
    measure(
        peer,
        db,
        std::slice::from_ref(key),
        std::slice::from_mut(&mut probe),
    )
    .await?;
    Ok(probe)
}

/// The type of a key's value; `None` when it is not there.
///
/// # Errors
/// The server cannot be asked any more.
pub(super) async fn type_of(
    peer: &mut Peer,
    db: Db,
    key: &Bytes,
) -> Result<Option<KeyType>, Error> {
    let mut request = Request::default();
    request.add(&[b"TYPE", key]);
    match peer.ask(db, request).await {
        Ok(mut replies) => Ok(match replies.pop() {
            Some(Reply::Simple(name)) => replies::named_type(&name),
            _ => None,
        }),
        Err(error) if has_no_such_db(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn length_command(value_type: KeyType) -> Option<&'static [u8]> {
    match value_type {
        KeyType::String => Some(b"STRLEN"),
        KeyType::List => Some(b"LLEN"),
        KeyType::Set => Some(b"SCARD"),
        KeyType::Zset => Some(b"ZCARD"),
        KeyType::Hash => Some(b"HLEN"),
        KeyType::Stream => Some(b"XLEN"),
        KeyType::VectorSet => Some(b"VCARD"),
        KeyType::Array => Some(b"ARLEN"),
        KeyType::Module | KeyType::Json | KeyType::Other => None,
    }
}

/// A server that has not so many dbs refuses to select one of them.
pub(super) fn has_no_such_db(error: &Error) -> bool {
    let Error::Server {
        kind: ErrorKind::Refused { reply, .. },
        ..
    } = error
    else {
        return false;
    };
    reply.kind == ReplyErrorKind::Other && reply.text.contains("out of range")
}
