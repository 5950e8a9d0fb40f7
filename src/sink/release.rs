//! Releasing held expiries: every key's shifted expiry becomes its true one (see `hold.rs`).
//!
//! The keyspace is paged through by SCAN, and the shift is read from the expiry itself, so
//! nothing has to be remembered and a release can be done again at any time. The caller keeps
//! all other writes away while a page is worked on.
//!
//! While the stream is followed, keys that expire soon stay held: the source may have renewed one
//! a moment ago and that command may still be under way. It is gone, or has another expiry, soon.

use std::collections::BTreeMap;

use redis::{FromRedisValue, Pipeline, Value};

use crate::keyspace::{Db, UnixMs, unix_ms};

use super::{admin::Admin, error::Error, hold::Hold, target::Target};

/// Keys asked for by one SCAN.
const PAGE_KEYS: usize = 1000;
/// Fields asked for by one HSCAN.
const PAGE_FIELDS: usize = 1000;

/// Which keys to release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Those that do not expire within this time, in milliseconds.
    Later(UnixMs),
    /// All of them: nothing is under way any more.
    All,
}

/// How far a release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseStep {
    /// There is more to do.
    More,
    /// All keys were seen; this many are still held because they expire soon.
    Done {
        /// Keys still held.
        left: u64,
    },
}

/// Pages through the keyspace and releases what is held.
#[derive(Debug)]
pub struct Release {
    has_expiretime: bool,
    fields: bool,
    /// Databases still to be seen; the last one is being seen.
    dbs: Option<Vec<Db>>,
    cursor: u64,
    left: u64,
    released: u64,
}

impl Release {
    /// Prepares a release; `fields` says whether fields of hashes may be held as well.
    pub fn new(target: &Target, fields: bool) -> Release {
        Release {
            has_expiretime: target.has_common(7, 0),
            fields: fields && target.has_field_expiry(),
            dbs: None,
            cursor: 0,
            left: 0,
            released: 0,
        }
    }

    /// How many keys and fields were released so far.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Works on the next page. After [`ReleaseStep::Done`] the next call begins anew.
    ///
    /// # Errors
    /// [`super::ErrorKind::Admin`].
    pub async fn page(&mut self, admin: &mut Admin, due: Due) -> Result<ReleaseStep, Error> {
        let Some(db) = self.db(admin).await? else {
            self.dbs = None;
            let left = std::mem::take(&mut self.left);
            return Ok(ReleaseStep::Done { left });
        };
        let mut scan = redis::pipe();
        scan.cmd("SELECT").arg(db.0).ignore();
        let command = scan.cmd("SCAN").arg(self.cursor);
        command.arg("COUNT").arg(PAGE_KEYS);
        let ((cursor, keys),): ((u64, Vec<Vec<u8>>),) = query(admin, &scan).await?;
        self.cursor = cursor;
        let now_ms = admin.time().await?;
        let latest_ms = match due {
            Due::All => UnixMs::MIN,
            Due::Later(within_ms) => now_ms.saturating_add(within_ms),
        };
        self.release_keys(admin, &keys, latest_ms).await?;
        if self.fields {
            self.release_fields(admin, &keys, latest_ms).await?;
        }
        if self.cursor == 0
            && let Some(dbs) = &mut self.dbs
        {
            dbs.pop();
        }
        Ok(ReleaseStep::More)
    }

    /// The db to work on; `None` when all were seen.
    async fn db(&mut self, admin: &mut Admin) -> Result<Option<Db>, Error> {
        if self.dbs.is_none() {
            let keyspace = admin.keyspace().await?;
            self.dbs = Some(keyspace.into_iter().map(|(db, _)| db).collect());
        }
        Ok(self.dbs.as_ref().and_then(|dbs| dbs.last().copied()))
    }

    async fn release_keys(
        &mut self,
        admin: &mut Admin,
        keys: &[Vec<u8>],
        latest_ms: UnixMs,
    ) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut writes = redis::pipe();
        let expiries = if self.has_expiretime {
            let mut reads = redis::pipe();
            for key in keys {
                reads.cmd("PEXPIRETIME").arg(key);
            }
            query(admin, &reads).await?
        } else {
            expiries_by_ttl(admin, keys).await?
        };
        for (key, expire_at_ms) in keys.iter().zip(expiries) {
            match Hold::release(expire_at_ms) {
                Some(at) if at > latest_ms => {
                    writes.cmd("PEXPIREAT").arg(key).arg(at).ignore();
                    self.released += 1;
                }
                Some(_) => self.left += 1,
                None => {}
            }
        }
        apply(admin, &writes).await
    }

    async fn release_fields(
        &mut self,
        admin: &mut Admin,
        keys: &[Vec<u8>],
        latest_ms: UnixMs,
    ) -> Result<(), Error> {
        let mut types = redis::pipe();
        for key in keys {
            types.cmd("TYPE").arg(key);
        }
        if keys.is_empty() {
            return Ok(());
        }
        let types: Vec<String> = query(admin, &types).await?;
        for (key, _) in keys.iter().zip(types).filter(|(_, name)| name == "hash") {
            self.release_fields_of(admin, key, latest_ms).await?;
        }
        Ok(())
    }

    async fn release_fields_of(
        &mut self,
        admin: &mut Admin,
        key: &[u8],
        latest_ms: UnixMs,
    ) -> Result<(), Error> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::pipe();
            let command = scan.cmd("HSCAN").arg(key).arg(cursor);
            command.arg("COUNT").arg(PAGE_FIELDS).arg("NOVALUES");
            let ((next, fields),): ((u64, Vec<Vec<u8>>),) = query(admin, &scan).await?;
            if !fields.is_empty() {
                self.release_field_page(admin, key, &fields, latest_ms)
                    .await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn release_field_page(
        &mut self,
        admin: &mut Admin,
        key: &[u8],
        fields: &[Vec<u8>],
        latest_ms: UnixMs,
    ) -> Result<(), Error> {
        let mut reads = redis::pipe();
        let read = reads.cmd("HPEXPIRETIME").arg(key);
        read.arg("FIELDS").arg(fields.len()).arg(fields);
        let (expiries,): (Vec<UnixMs>,) = query(admin, &reads).await?;
        let mut due: BTreeMap<UnixMs, Vec<&[u8]>> = BTreeMap::new();
        for (field, expire_at_ms) in fields.iter().zip(expiries) {
            match Hold::release_field(expire_at_ms) {
                Some(at) if at > latest_ms => due.entry(at).or_default().push(field),
                Some(_) => self.left += 1,
                None => {}
            }
        }
        let mut writes = redis::pipe();
        for (at, fields) in due {
            self.released += fields.len() as u64;
            let write = writes.cmd("HPEXPIREAT").arg(key).arg(at);
            write.arg("FIELDS").arg(fields.len()).arg(fields).ignore();
        }
        apply(admin, &writes).await
    }
}

/// Reads absolute expiries on servers that only tell the time left (before 7.0).
///
/// Each PTTL stands between two TIMEs: when both show the same millisecond, that is the one the
/// server counted from. The others are read again.
async fn expiries_by_ttl(admin: &mut Admin, keys: &[Vec<u8>]) -> Result<Vec<UnixMs>, Error> {
    let mut expiries: Vec<Option<UnixMs>> = vec![None; keys.len()];
    loop {
        let open: Vec<usize> = (0..keys.len())
            .filter(|index| expiries.get(*index) == Some(&None))
            .collect();
        if open.is_empty() {
            return Ok(expiries.into_iter().flatten().collect());
        }
        let mut reads = redis::pipe();
        for key in open.iter().filter_map(|index| keys.get(*index)) {
            reads.cmd("TIME").cmd("PTTL").arg(key).cmd("TIME");
        }
        let answers: Vec<Value> = query(admin, &reads).await?;
        for (index, answer) in open.iter().zip(answers.chunks(3)) {
            let expiry = expiry_between(answer).ok_or_else(|| admin.misunderstood("PTTL"))?;
            if let Some(known) = expiries.get_mut(*index) {
                *known = expiry;
            }
        }
    }
}

/// The expiry from TIME, PTTL, TIME: -1 without one, `Some(None)` when the clock moved on
/// meanwhile, `None` when these are other answers.
fn expiry_between(answers: &[Value]) -> Option<Option<UnixMs>> {
    let ms = |answer: &Value| {
        let (seconds, micros) = <(i64, i64)>::from_redis_value(answer.clone()).ok()?;
        Some(unix_ms(seconds, micros))
    };
    let [before, left_ms, after] = answers else {
        return None;
    };
    let left_ms = UnixMs::from_redis_value(left_ms.clone()).ok()?;
    let (before_ms, after_ms) = (ms(before)?, ms(after)?);
    Some(match left_ms {
        left_ms if left_ms < 0 => Some(-1),
        left_ms => (before_ms == after_ms).then(|| before_ms.saturating_add(left_ms)),
    })
}

async fn query<T: FromRedisValue>(admin: &mut Admin, pipe: &Pipeline) -> Result<T, Error> {
    let answer = pipe.query_async(admin.connection()).await;
    answer.map_err(|source| admin.refused("let held expiries be read", source))
}

async fn apply(admin: &mut Admin, pipe: &Pipeline) -> Result<(), Error> {
    if pipe.is_empty() {
        return Ok(());
    }
    let answer: Result<(), _> = pipe.query_async(admin.connection()).await;
    answer.map_err(|source| admin.refused("let held expiries be released", source))
}
