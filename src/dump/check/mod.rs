//! `rdb check`: an RDB read down to its last element.
//!
//! Damage is where reading ends: the records of an RDB have no lengths, so behind what cannot be
//! understood nothing tells where the next key begins. A [`Remark`] is what can be read although
//! a server would leave it out, correct it, or refuse the file for it.

mod remark;
mod seen;
mod value;

use std::{collections::BTreeMap, io};

use serde::Serialize;

use crate::{
    keyspace::Db,
    rdb::{self, Altitude, Checksum, Event, Header},
};

use super::{ByteString, Error, ErrorKind, Reader};

pub use remark::{Place, Remark, RemarkKind};

use remark::Remarks;
use seen::{Known, Seen};
use value::ValueCheck;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Keys that are in a db twice. Takes 10 to 30 bytes of memory for every key.
    pub duplicate_keys: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The first nine bytes, if they could be read.
    pub header: Option<Header>,
    /// How many bytes of the RDB could be read.
    pub bytes: u64,
    /// How many keys that were selected could be read.
    pub keys: u64,
    /// The last of them.
    pub last_key: Option<Place>,
    /// What the checksum said, if the end was reached.
    pub checksum: Option<Checksum>,
    /// How many bytes follow the RDB.
    pub bytes_behind: u64,
    /// Why not everything could be read.
    pub damage: Option<Damage>,
    /// Members and fields with an expiry of their own, as KeyDB writes them.
    pub member_expiries: u64,
    /// What is odd, the graver first.
    pub remarks: Vec<Remark>,
    /// Values with so many elements that not all were compared with each other.
    pub values_unsure: u64,
}

/// Where reading ended, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// Where the reader stood, in bytes from the beginning of the RDB; behind a packed value
    /// whose inside is wrong.
    pub offset: u64,
    /// The db that was being read.
    pub db: u32,
    /// The key that was being read.
    pub key: Option<ByteString>,
    /// The opcode or the type of the value that was being read.
    pub byte: Option<u8>,
    /// What kind of damage it is.
    pub kind: DamageKind,
}

/// What kind of damage ended the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// The input ends too early.
    Truncated,
    /// The bytes contradict the format.
    Corrupt,
    /// Everything could be read, and some byte of it is not the one that was written.
    Checksum,
    /// A type or an opcode that is not known here: damage, or the work of another server.
    Unsupported,
    /// Something is larger than any server makes it.
    Limit,
}

/// Reads the keys that `reader` selects, and everything between them.
///
/// # Errors
/// Those of reading, and `Rdb` for what is no RDB at all or has a version that is not known: of
/// those it cannot be said whether they are damaged. Anything else that is wrong is what is found.
pub async fn check(reader: &mut Reader, options: CheckOptions) -> Result<Checked, Error> {
    let mut checking = Checking::new(options, reader.filter().selects_all());
    let damage = loop {
        match reader.next().await {
            Ok(Some(event)) => checking.event(reader, event),
            Ok(None) => break None,
            Err(error) => break Some(damage(reader, error)?),
        }
    };
    let bytes = reader.offset();
    let (bytes_behind, damage) = match damage {
        Some(damage) => (0, Some(damage)),
        None => match reader.finish().await {
            Ok(bytes_behind) => (bytes_behind, None),
            Err(error) => (0, Some(self::damage(reader, error)?)),
        },
    };
    checking.end(bytes_behind, damage.is_some());
    Ok(Checked {
        header: checking.header,
        bytes,
        keys: checking.keys,
        last_key: checking.last_key,
        checksum: checking.checksum,
        bytes_behind,
        damage,
        values_unsure: checking.value.values_unsure(),
        member_expiries: checking.member_expiries,
        remarks: checking.remarks.into_list(),
    })
}

/// The damage that an error is; the error itself if it is none.
fn damage(reader: &Reader, error: Error) -> Result<Damage, Error> {
    let found = match &error.kind {
        ErrorKind::Rdb(found) => found,
        ErrorKind::Packed(found) => return Ok(packed_damage(reader, found)),
        _ => return Err(error),
    };
    let Some(kind) = damage_kind(&found.kind) else {
        return Err(error);
    };
    Ok(Damage {
        kind,
        what: found.kind.to_string(),
        offset: found.offset,
        db: found.db.0,
        key: found.key.clone().map(ByteString),
        byte: found.byte,
    })
}

/// Damage of what the RDB is compressed with, which lies behind what was read of the RDB.
fn packed_damage(reader: &Reader, found: &io::Error) -> Damage {
    Damage {
        kind: match ends_early(found) {
            true => DamageKind::Truncated,
            false => DamageKind::Corrupt,
        },
        what: format!("the compression around the RDB: {found}"),
        offset: reader.offset(),
        db: reader.db().0,
        key: None,
        byte: None,
    }
}

/// Whether an error is, or comes from, an end that was not expected.
fn ends_early(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        // What an `io::Error` holds is not its source, but it itself.
        let held = io.and_then(|error| error.get_ref());
        cause = held.map_or_else(|| error.source(), |held| Some(held));
    }
    false
}

fn damage_kind(kind: &rdb::ErrorKind) -> Option<DamageKind> {
    Some(match kind {
        rdb::ErrorKind::NotRdb(_) | rdb::ErrorKind::UnknownVersion(_) => return None,
        rdb::ErrorKind::Truncated => DamageKind::Truncated,
        rdb::ErrorKind::Checksum { .. } => DamageKind::Checksum,
        rdb::ErrorKind::Limit { .. } => DamageKind::Limit,
        rdb::ErrorKind::Corrupt(_) => DamageKind::Corrupt,
        rdb::ErrorKind::UnsupportedType { .. }
        | rdb::ErrorKind::UnsupportedOpcode { .. }
        | rdb::ErrorKind::NoElements(_)
        | rdb::ErrorKind::NotConvertible { .. } => DamageKind::Unsupported,
    })
}

/// What is known while the check goes on.
struct Checking {
    keys_seen: Option<Seen>,
    /// Hints can be compared, because every key is read.
    counts_keys: bool,
    header: Option<Header>,
    db: Db,
    dbs: BTreeMap<Db, Counted>,
    keys: u64,
    last_key: Option<Place>,
    value: ValueCheck,
    member_expiries: u64,
    checksum: Option<Checksum>,
    /// Commands follow the RDB in an append-only file.
    is_preamble: bool,
    remarks: Remarks,
}

/// How many keys a db has, and says it has.
#[derive(Debug, Default)]
struct Counted {
    keys: u64,
    expires: u64,
    hint: Option<(u64, u64)>,
}

impl Checking {
    fn new(options: CheckOptions, counts_keys: bool) -> Checking {
        Checking {
            keys_seen: options.duplicate_keys.then(|| Seen::up_to(usize::MAX)),
            counts_keys,
            header: None,
            db: Db::default(),
            dbs: BTreeMap::new(),
            keys: 0,
            last_key: None,
            value: ValueCheck::new(),
            member_expiries: 0,
            checksum: None,
            is_preamble: false,
            remarks: Remarks::default(),
        }
    }

    fn event(&mut self, reader: &mut Reader, event: Event) {
        match event {
            Event::Header(header) => self.header = Some(header),
            Event::Aux { name, value } => {
                self.is_preamble |= &name[..] == b"aof-preamble" && &value[..] == b"1";
            }
            Event::SelectDb(db) => self.db = db,
            Event::ResizeDb { keys, expires } => {
                // Dragonfly says it for every part of a db.
                let hint = &mut self.dbs.entry(self.db).or_default().hint;
                let (before, expires_before) = hint.unwrap_or_default();
                let sum = (
                    before.saturating_add(keys),
                    expires_before.saturating_add(expires),
                );
                *hint = Some(sum);
            }
            Event::Key(key) => {
                let counted = self.dbs.entry(self.db).or_default();
                counted.keys += 1;
                counted.expires += u64::from(key.expire_at_ms.is_some());
                let has_elements = !key.value_type.is_opaque();
                if !has_elements {
                    reader.choose(Altitude::Content);
                }
                let seen = self.keys_seen.as_mut();
                let known = seen.map(|seen| seen.see((self.db.0, &key.key[..])));
                self.value
                    .begin(self.db, key, has_elements, &mut self.remarks);
                if known == Some(Known::Before) {
                    let place = || Some(self.value.place());
                    let detail = || "it was there before".into();
                    self.remarks.note(RemarkKind::DuplicateKey, place, detail);
                }
            }
            Event::Part(part) => self.value.part(&part, &mut self.remarks),
            Event::ValueEnd => {
                self.value.end(&mut self.remarks);
                self.keys += 1;
                self.last_key = Some(self.value.place());
            }
            Event::MemberExpiry { expire_at_ms, .. } => {
                self.member_expiries += 1;
                self.value.member_expiry(expire_at_ms, &mut self.remarks);
            }
            Event::End(checksum) => self.checksum = Some(checksum),
            _ => {}
        }
    }

    fn end(&mut self, bytes_behind: u64, is_damaged: bool) {
        if is_damaged {
            return;
        }
        let hints = self.dbs.iter().filter(|_| self.counts_keys);
        for (db, counted) in hints {
            let found = (counted.keys, counted.expires);
            if let Some(hint) = counted.hint.filter(|hint| *hint != found) {
                self.remarks.note(
                    RemarkKind::DbSize,
                    || None,
                    || {
                        format!(
                            "db {db} says {} keys, {} with an expiry, and has {}, {}",
                            hint.0, hint.1, found.0, found.1
                        )
                    },
                );
            }
        }
        if bytes_behind > 0 && !self.is_preamble {
            let detail = || format!("{bytes_behind} bytes follow the end");
            self.remarks.note(RemarkKind::BytesBehind, || None, detail);
        }
    }
}
