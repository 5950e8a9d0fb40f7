//! Hashes whose fields may get expiries behind their value, as KeyDB writes them.
//!
//! On KeyDB a field can expire, and that stands behind the record of its key. A key that is there
//! already could be overwritten, or must be left alone, so nothing may be added to it afterwards:
//! a hash that can have such expiries is not written before it is known what follows it.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{
    keyspace::{Db, Loss, UnixMs},
    rdb::{Family, Part},
    sink::{Error, Expired},
};

use super::{Value, ValueWriter, Way};

/// A hash that has come to its end.
#[derive(Debug)]
pub(super) struct HeldHash {
    value: Value,
    /// Its body, as long as nothing in it was changed.
    body: Option<Bytes>,
    /// Where its fields are among the parts, once one of them got an expiry.
    places: HashMap<Bytes, usize>,
}

impl ValueWriter {
    /// Whether fields of a value may get expiries behind it that the target can hold: KeyDB writes
    /// hashes as these types.
    pub(super) fn holds_back(&self, value: &Value) -> bool {
        let value_type = value.key.value_type;
        matches!(
            (value_type.byte, value_type.family),
            (4 | 9 | 13, Family::Redis)
        ) && self.target.has_field_expiry()
            && !matches!(value.way, Way::Ignored)
    }

    /// Holds a value that has come to its end, all of it or with the body that it is.
    pub(super) fn hold_back(&mut self, value: Value, body: Option<Bytes>) {
        let places = HashMap::new();
        self.held = Some(HeldHash {
            value,
            body,
            places,
        });
    }

    /// Writes the hash that is held: no expiry of its fields follows any more.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let mut value = held.value;
        if let Some(body) = held.body {
            self.body(&mut value, &body)?;
        } else if !held.places.is_empty()
            && let Way::Gathered { parts, .. } = std::mem::replace(&mut value.way, Way::gathered())
        {
            // Taken once more, so that what has expired goes the way it always does.
            for part in parts {
                self.part(&mut value, part)?;
            }
        }
        self.end(value)
    }

    /// Gives a member or field of the last key an expiry of its own, `(name, time)`, that stands
    /// behind the value. A field of a hash gets it where the target has such expiries; any other
    /// is counted as lost. Nothing is lost with a key that is left out.
    ///
    /// # Errors
    /// `Lossy`, `Value`.
    pub fn member_expiry(
        &mut self,
        db: Db,
        key: &Bytes,
        (member, expire_at_ms): (Bytes, UnixMs),
    ) -> Result<(), Error> {
        match self.held.take() {
            Some(mut held) => {
                let given = self.expire_field(&mut held, member, expire_at_ms);
                self.held = Some(held);
                given
            }
            None if self.writes_key => self.losses.lose(Loss::MemberExpiry, db, key),
            None => Ok(()),
        }
    }

    fn expire_field(
        &mut self,
        held: &mut HeldHash,
        name: Bytes,
        expire_at_ms: UnixMs,
    ) -> Result<(), Error> {
        if let Some(body) = held.body.take() {
            self.parts_of(&mut held.value, &body)?;
        }
        match &mut held.value.way {
            Way::Gathered { parts, .. } => {
                if held.places.is_empty() {
                    held.places = places(parts);
                }
                let place = held.places.get(&name);
                if let Some(Part::HashField {
                    expire_at_ms: at, ..
                }) = place.and_then(|place| parts.get_mut(*place))
                {
                    *at = Some(expire_at_ms);
                }
            }
            Way::Staged(_) => self.expire_staged(&mut held.value, name, expire_at_ms),
            _ => {}
        }
        Ok(())
    }

    fn expire_staged(&mut self, value: &mut Value, field: Bytes, expire_at_ms: UnixMs) {
        let hold = self.config.hold;
        let expired = !hold.is_on() && expire_at_ms <= self.now_ms;
        if expired && self.config.expired == Expired::Persist {
            return;
        }
        value.expired += u64::from(expired);
        self.held_fields |= hold.is_on();
        if let Way::Staged(staged) = &mut value.way {
            staged.expire_field(field, expire_at_ms);
        }
        self.pass_on(value);
    }
}

/// Where each field is.
fn places(parts: &[Part]) -> HashMap<Bytes, usize> {
    let names = parts.iter().enumerate().map(|(place, part)| match part {
        Part::HashField { field, .. } => (field.to_bytes(), place),
        _ => (Bytes::new(), place),
    });
    names.collect()
}
