//! A value that is not written yet: of which too little has come to say that it has elements, or
//! behind which expiries of its fields may stand.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{
        Error, Event, Family, FieldExpiry, Key, KeyType, Limits, Part, PlainEncoder, ServerVersion,
        ValueParser, ValueType,
    },
};

/// No body without elements is longer.
const EMPTY_BYTES_MAX: usize = 32;
/// Longer hashes are written as they come, without what may be said about their fields behind them.
const HASH_BYTES_MAX: usize = 64 << 20;

/// The beginning of a value, or all of it.
#[derive(Debug)]
pub(super) struct Held {
    /// The db it is in.
    pub(super) db: Db,
    /// The type that it is written as.
    pub(super) to: ValueType,
    /// What has come of it.
    pub(super) body: Vec<u8>,
    /// It is complete.
    pub(super) has_ended: bool,
    /// How the server has expiries of fields, if some may follow.
    field_expiry: Option<FieldExpiry>,
    /// Expiries of fields that stood behind it.
    expiries: HashMap<Bytes, UnixMs>,
}

impl Held {
    pub(super) fn new(db: Db, key: &Key, to: ValueType, server: ServerVersion) -> Held {
        let may_expire = is_keydbs_hash(key.value_type) && server.has_field_expiry();
        Held {
            db,
            to,
            body: Vec::new(),
            has_ended: false,
            field_expiry: may_expire.then(|| server.field_expiry()),
            expiries: HashMap::new(),
        }
    }

    /// Whether so much has come that it has to be written.
    pub(super) fn is_full(&self) -> bool {
        self.body.len()
            > match self.field_expiry {
                Some(_) => HASH_BYTES_MAX,
                None => EMPTY_BYTES_MAX,
            }
    }

    /// Whether it waits for what follows, now that it has ended.
    pub(super) fn waits(&self) -> bool {
        self.field_expiry.is_some()
    }

    /// Gives a field an expiry.
    pub(super) fn expire(&mut self, field: Bytes, at: UnixMs) {
        self.expiries.insert(field, at);
    }

    /// How many fields have got an expiry.
    pub(super) fn expiring(&self) -> u64 {
        self.expiries.len() as u64
    }

    /// The hash with the expiries of its fields; `None` if none of them has one.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub(super) fn with_expiries(
        &self,
        compress: bool,
    ) -> Result<Option<(ValueType, Vec<u8>)>, Error> {
        let Some(field_expiry) = self.field_expiry.filter(|_| !self.expiries.is_empty()) else {
            return Ok(None);
        };
        let mut encoder = PlainEncoder::new(field_expiry).compressing(compress);
        let body = Bytes::copy_from_slice(&self.body);
        let mut parser = ValueParser::new(self.to, body, Limits::default());
        while let Some(event) = parser.next_event()? {
            let Event::Part(mut part) = event else {
                continue;
            };
            if let Part::HashField {
                field,
                expire_at_ms,
                ..
            } = &mut part
            {
                *expire_at_ms = self.expiries.get(&field.to_bytes()).copied();
            }
            // It is a hash, which has a plain encoding.
            let pushed = encoder.push(&part);
            debug_assert!(pushed.is_ok(), "{part:?}");
        }
        Ok(encoder.finish())
    }
}

/// Whether it is a hash of one of the types that KeyDB writes.
fn is_keydbs_hash(value_type: ValueType) -> bool {
    KeyType::of(value_type) == KeyType::Hash
        && value_type.family == Family::Redis
        && matches!(value_type.byte, 4 | 9 | 13)
}

/// Whether the body of a value of this type has no elements. Servers keep such keys only if they
/// are streams or of types that count as empty otherwise.
pub(super) fn is_empty(value_type: ValueType, body: &[u8]) -> bool {
    let packed: &[u8] = match (value_type.byte, value_type.family) {
        (1..=5 | 14 | 18, _) | (22, Family::Valkey) => return body == [0],
        (24, Family::Redis) => return body.get(8..) == Some(&[0]),
        (9, _) => b"\x02\0\xff",
        (10 | 12 | 13, _) => b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff",
        (11, _) => return body.len() == 9 && body.get(5..) == Some(&[0; 4]),
        (16 | 17 | 20, _) => b"\x07\x07\0\0\0\0\0\xff",
        _ => return false,
    };
    body == packed
}
