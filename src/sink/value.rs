//! How a value is written, chosen per key from what the target takes.
//!
//! ```text
//!  string, no expiry, may replace ──► gathered into MSET
//!  string otherwise               ──► SET with its expiry in the same command
//!  body that RESTORE takes        ──► RESTORE of the body as it stands
//!  stream of a newer type         ──► RESTORE of the body in an older type
//!  small value of another type    ──► RESTORE in the plain encoding that every server takes
//!  everything larger              ──► chunks under a staging name, then RENAME
//! ```
//!
//! All but the last are one command, so readers of the target never see half a value. The staging
//! name belongs to the lane, so one lane stages one value at a time.

mod held_hash;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    keyspace::{Db, Loss, UnixMs},
    net::Endpoint,
    rdb::{self, Altitude, Element, Event, Part, PlainEncoder, ValueParser, ValueType},
    resp::Command,
};

use super::{
    batch::{Batch, Shape, Writes},
    error::{Error, ErrorKind},
    gather::Restore,
    hold::Hold,
    inspection::stands_as_is,
    loss_log::LossLog,
    mset::Mset,
    outbox::Outbox,
    policy::{Conflict, Expired, MadeBy, OnLossy},
    repeats::{Repeat, Repeats},
    staging::{Staged, staging_key},
    target::{MODULE_BYTES_MAX, Target},
    window::Window,
};
use held_hash::HeldHash;

/// Parts that are gathered for one RESTORE: each takes memory beside its content, however small.
const GATHERED_PARTS_MAX: usize = 64 * 1024;
/// The RDB type of a plain string.
const STRING: u8 = 0;

/// The lane of a key, and its db.
type Place = (usize, Db);

/// How values are written.
#[derive(Debug, Clone)]
pub struct ValueConfig {
    /// Where errors say they happened.
    pub endpoint: Endpoint,
    /// What to do with keys that exist.
    pub conflict: Conflict,
    /// What to do with what the target cannot hold.
    pub on_lossy: OnLossy,
    /// Whether expiries are held.
    pub hold: Hold,
    /// What becomes of what has expired, where expiries are not held.
    pub expired: Expired,
    /// Where the values come from.
    pub made_by: MadeBy,
    /// The longest value written by one RESTORE, in bytes.
    pub restore_bytes_max: usize,
    /// How many lanes the keys are spread over.
    pub lanes: usize,
    /// What says how much is gathered for a batch.
    pub window: Arc<Window>,
}

/// What was left out, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Keys, and fields of hashes, that had expired before they could be written.
    pub expired: u64,
    /// Keys without a single element, which no server can hold.
    pub empty: u64,
}

/// Turns keys and their values into batches for the lanes.
#[derive(Debug)]
pub struct ValueWriter {
    target: Arc<Target>,
    config: ValueConfig,
    outbox: Outbox,
    value: Option<Value>,
    /// A hash that waits for what follows it.
    held: Option<HeldHash>,
    /// Whether the key that was begun last is written at all.
    writes_key: bool,
    left_out: LeftOut,
    losses: LossLog,
    /// The time by which fields have expired that are not held.
    now_ms: UnixMs,
    held_keys: u64,
    held_fields: bool,
}

/// The key whose value is being read.
#[derive(Debug)]
struct Value {
    key: rdb::Key,
    db: Db,
    lane: usize,
    way: Way,
    /// How many of its fields or members were left out because they had expired.
    expired: u64,
}

/// How the value being read is written.
#[derive(Debug)]
enum Way {
    /// It is not.
    Ignored,
    /// It is not, since the target has no such thing.
    Lost(Loss),
    /// As one string.
    String,
    /// By RESTORE from its body; nothing has come yet.
    Restore,
    /// Its parts are gathered until they are known to be few or many.
    Gathered {
        parts: Vec<Part>,
        bytes: usize,
        repeats: Repeats,
    },
    /// By commands under the staging name.
    Staged(Box<Staged>),
    /// It is complete.
    Written,
}

impl Way {
    fn gathered() -> Way {
        Way::Gathered {
            parts: Vec::new(),
            bytes: 0,
            repeats: Repeats::default(),
        }
    }
}

impl ValueWriter {
    /// Makes a writer for `target`.
    pub fn new(target: Arc<Target>, config: ValueConfig) -> ValueWriter {
        let losses = LossLog::new(config.endpoint.clone(), config.on_lossy);
        ValueWriter {
            target,
            outbox: Outbox::new(config.lanes, Arc::clone(&config.window)),
            config,
            value: None,
            held: None,
            writes_key: false,
            left_out: LeftOut::default(),
            losses,
            now_ms: UnixMs::MIN,
            held_keys: 0,
            held_fields: false,
        }
    }

    /// Begins a key and says how its value is wanted. `now_ms` is the time by which keys have
    /// expired.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchDb`], [`ErrorKind::Lossy`]; [`ErrorKind::Value`] of the key before.
    pub fn begin(&mut self, db: Db, mut key: rdb::Key, now_ms: UnixMs) -> Result<Altitude, Error> {
        let (way, altitude) = match self.takes(db, &mut key, now_ms)? {
            true => self.choose(&key),
            false => (Way::Ignored, Altitude::Skip),
        };
        match way {
            Way::Ignored => {}
            Way::Lost(loss) => self.losses.lose(loss, db, &key.key)?,
            _ if key.has_metadata => self.losses.lose(Loss::ModuleMetadata, db, &key.key)?,
            _ => {}
        }
        self.writes_key = !matches!(way, Way::Ignored | Way::Lost(_));
        self.now_ms = now_ms;
        self.held_keys += u64::from(key.expire_at_ms.is_some() && self.config.hold.is_on());
        let lane = self.outbox.lane_of(&key.key);
        self.value = Some(Value {
            key,
            db,
            lane,
            way,
            expired: 0,
        });
        Ok(altitude)
    }

    /// Writes a key whose value is this string, as [`ValueWriter::begin`] and
    /// [`ValueWriter::take`] do it for longer ones.
    ///
    /// # Errors
    /// As those.
    pub fn string(
        &mut self,
        db: Db,
        key: &mut rdb::Key,
        string: Element,
        now_ms: UnixMs,
    ) -> Result<(), Error> {
        self.writes_key = self.takes(db, key, now_ms)?;
        if !self.writes_key {
            return Ok(());
        }
        if key.has_metadata {
            self.losses.lose(Loss::ModuleMetadata, db, &key.key)?;
        }
        self.held_keys += u64::from(key.expire_at_ms.is_some() && self.config.hold.is_on());
        let lane = self.outbox.lane_of(&key.key);
        let place = (lane, db);
        if self.set_says(key) {
            self.set(place, key, &string.into_bytes());
        } else {
            self.restore_plain(place, key, [Part::String(string)]);
        }
        Ok(())
    }

    /// Whether a key is written, by the time at which keys have expired. What the key before waits
    /// for has come.
    fn takes(&mut self, db: Db, key: &mut rdb::Key, now_ms: UnixMs) -> Result<bool, Error> {
        self.settle()?;
        let databases = self.target.databases;
        if db.0 >= databases {
            return Err(ErrorKind::NoSuchDb { db, databases }.at(&self.config.endpoint));
        }
        if self.config.hold.is_on() || key.expire_at_ms.is_none_or(|at| at > now_ms) {
            return Ok(true);
        }
        match self.config.expired {
            Expired::LeaveOut => {
                self.left_out.expired += 1;
                Ok(false)
            }
            Expired::Persist => {
                key.expire_at_ms = None;
                Ok(true)
            }
        }
    }

    /// Whether one SET says all of a key with a string.
    fn set_says(&self, key: &rdb::Key) -> bool {
        key.expire_at_ms.is_none() || self.target.has_common(6, 2)
    }

    fn choose(&self, key: &rdb::Key) -> (Way, Altitude) {
        let value_type = key.value_type;
        let raw = Altitude::Raw {
            bytes_max: match value_type.is_module() {
                // Only RESTORE can write it, so it is held as long as the target takes it.
                true => self.target.payload_bytes_max(MODULE_BYTES_MAX),
                false => self.config.restore_bytes_max,
            },
        };
        if let Some(loss) = self.target.loses(value_type) {
            return (Way::Lost(loss), Altitude::Skip);
        }
        if value_type.byte == STRING && self.set_says(key) {
            return (Way::String, Altitude::Elements);
        }
        // Their expiries may have to be written otherwise than they stand.
        let changes_fields = value_type.has_field_expiry()
            && (self.config.hold.is_on() || self.config.expired == Expired::Persist);
        let restores = self.target.restores(value_type) && !changes_fields;
        if restores || value_type.is_stream() || value_type.is_module() {
            return (Way::Restore, raw);
        }
        if value_type.is_json() {
            // Written by a command, as are bodies that are too long.
            return (Way::Restore, Altitude::Elements);
        }
        (Way::gathered(), Altitude::Elements)
    }

    /// Whether the key that was begun last is written, as far as that is known.
    pub fn writes_key(&self) -> bool {
        self.writes_key
    }

    /// Takes the next event of the value that was begun: a body, a part, or its end.
    ///
    /// # Errors
    /// [`ErrorKind::Lossy`], [`ErrorKind::Value`].
    pub fn take(&mut self, event: Event) -> Result<(), Error> {
        let Some(mut value) = self.value.take() else {
            return Ok(());
        };
        match event {
            Event::Body(body) if self.holds_back(&value) => {
                self.hold_back(value, Some(body));
                return Ok(());
            }
            Event::Body(body) => {
                self.body(&mut value, &body)?;
                return self.end(value);
            }
            // It is longer than the target takes.
            Event::Part(_) | Event::BodyPiece(_) if value.key.value_type.is_module() => {
                self.long_module(&mut value)?;
            }
            Event::Part(part) => self.part(&mut value, part)?,
            Event::ValueEnd if self.holds_back(&value) => {
                self.hold_back(value, None);
                return Ok(());
            }
            Event::ValueEnd => return self.end(value),
            // Nothing else belongs to a value.
            _ => {}
        }
        self.value = Some(value);
        Ok(())
    }

    /// Forgets a value that was begun and has not come to its end. What is written of it stands
    /// under a staging name, which the next value there takes over; its key is as it was.
    pub fn abandon(&mut self) {
        self.value = None;
    }

    fn body(&mut self, value: &mut Value, body: &Bytes) -> Result<(), Error> {
        let value_type = value.key.value_type;
        let stands = stands_as_is(
            &self.target,
            value_type,
            body,
            self.now_ms,
            self.config.made_by,
        )
        .map_err(|source| self.unreadable(value, source))?;
        if !stands && !value_type.is_stream() {
            return self.parts_of(value, body);
        }
        value.way = Way::Written;
        if value_type.is_module() {
            return self.module(value, body);
        }
        if stands && self.target.restores(value_type) {
            self.restore((value.lane, value.db), &value.key, value_type, body);
            return Ok(());
        }
        self.converted_stream(value, body)
    }

    /// Writes the parts of a body that the target may not be given as it stands.
    fn parts_of(&mut self, value: &mut Value, body: &Bytes) -> Result<(), Error> {
        let value_type = value.key.value_type;
        value.way = Way::gathered();
        let mut parser = ValueParser::new(value_type, body.clone(), rdb::Limits::default());
        while let Some(event) = parser
            .next_event()
            .map_err(|source| self.unreadable(value, source))?
        {
            if let Event::Part(part) = event {
                self.part(value, part)?;
            }
        }
        Ok(())
    }

    fn module(&mut self, value: &Value, body: &Bytes) -> Result<(), Error> {
        let name = rdb::module_name(body).unwrap_or_default();
        if self.target.restores_module(&name) {
            let body = self.target.module_body(&name, body);
            self.restore(
                (value.lane, value.db),
                &value.key,
                value.key.value_type,
                &body,
            );
            return Ok(());
        }
        let loss = Loss::of_module(&name);
        self.losses.lose(loss, value.db, &value.key.key)
    }

    /// Counts a module's value of which more has come than can be written, once.
    fn long_module(&mut self, value: &mut Value) -> Result<(), Error> {
        if matches!(value.way, Way::Lost(_)) {
            return Ok(());
        }
        self.writes_key = false;
        value.way = Way::Lost(Loss::LongModuleValue);
        let key = &value.key.key;
        self.losses.lose(Loss::LongModuleValue, value.db, key)
    }

    /// Writes a stream that the target may not be given as it stands, in a type that it takes.
    fn converted_stream(&mut self, value: &Value, body: &Bytes) -> Result<(), Error> {
        let from = value.key.value_type;
        let to = self.target.stream_type_for(from);
        let converted = rdb::convert(body.clone(), from, to, &rdb::Limits::default())
            .map_err(|source| self.unreadable(value, source))?;
        for (loss, count) in &converted.losses {
            for _ in 0..*count {
                self.losses.lose(*loss, value.db, &value.key.key)?;
            }
        }
        self.restore(
            (value.lane, value.db),
            &value.key,
            to,
            &converted.body.into(),
        );
        Ok(())
    }

    fn unreadable(&self, value: &Value, source: rdb::Error) -> Error {
        let key = value.key.key.clone();
        ErrorKind::Value { key, source }.at(&self.config.endpoint)
    }

    fn part(&mut self, value: &mut Value, mut part: Part) -> Result<(), Error> {
        if self.is_expired(&part) {
            match self.config.expired {
                Expired::LeaveOut => {
                    value.expired += 1;
                    return Ok(());
                }
                Expired::Persist => part = persist(part),
            }
        }
        let part = self.without_expiry(value, part)?;
        match &mut value.way {
            Way::String => {
                if let Part::String(string) = part {
                    value.way = Way::Written;
                    self.set((value.lane, value.db), &value.key, &string.into_bytes());
                    return Ok(());
                }
            }
            Way::Gathered {
                parts,
                bytes,
                repeats,
            } => {
                match repeats.see(&part) {
                    Repeat::No => {}
                    Repeat::Same => return Ok(()),
                    Repeat::Differs => {
                        let key = &value.key.key;
                        return self.losses.lose(Loss::RepeatedElement, value.db, key);
                    }
                }
                *bytes += part.content_bytes();
                parts.push(part);
                if *bytes > self.config.restore_bytes_max || parts.len() > GATHERED_PARTS_MAX {
                    let parts = std::mem::take(parts);
                    self.stage(value);
                    for part in parts {
                        self.staged(value, part)?;
                    }
                }
                return Ok(());
            }
            Way::Staged(_) => return self.staged(value, part),
            Way::Ignored | Way::Lost(_) | Way::Written => return Ok(()),
            Way::Restore => {}
        }
        // A string in chunks, or a body too long for one RESTORE.
        self.stage(value);
        self.staged(value, part)
    }

    /// Whether it is a field or a member that has expired, and that is not held.
    fn is_expired(&self, part: &Part) -> bool {
        let expire_at_ms = match part {
            Part::HashField { expire_at_ms, .. } => *expire_at_ms,
            Part::ExpiringSetMember { expire_at_ms, .. } => Some(*expire_at_ms),
            _ => None,
        };
        !self.config.hold.is_on() && expire_at_ms.is_some_and(|at| at <= self.now_ms)
    }

    /// Takes the expiry of a field or a member away where the target cannot hold one.
    fn without_expiry(&mut self, value: &Value, mut part: Part) -> Result<Part, Error> {
        if let Part::ExpiringSetMember { member, .. } = part {
            let key = &value.key.key;
            self.losses.lose(Loss::MemberExpiry, value.db, key)?;
            return Ok(Part::SetMember(member));
        }
        if let Part::HashField { expire_at_ms, .. } = &mut part
            && expire_at_ms.is_some()
        {
            if self.target.has_field_expiry() {
                self.held_fields |= self.config.hold.is_on();
            } else {
                *expire_at_ms = None;
                self.losses
                    .lose(Loss::FieldExpiry, value.db, &value.key.key)?;
            }
        }
        Ok(part)
    }

    fn stage(&mut self, value: &mut Value) {
        let staging = staging_key(value.lane);
        let staged = Staged::new(staging, &self.target, self.config.hold);
        value.way = Way::Staged(Box::new(staged));
    }

    fn staged(&mut self, value: &mut Value, part: Part) -> Result<(), Error> {
        let Way::Staged(staged) = &mut value.way else {
            return Ok(());
        };
        let lossy = staged.part(part);
        self.pass_on(value);
        match lossy {
            Ok(()) => Ok(()),
            Err(lossy) => self.losses.lose(lossy.loss, value.db, &value.key.key),
        }
    }

    /// Hands over what is staged once it is enough for a transaction.
    fn pass_on(&mut self, value: &mut Value) {
        let Way::Staged(staged) = &mut value.way else {
            return;
        };
        if let Some(commands) = staged.take_full() {
            let (db, key) = (value.db, &value.key.key);
            let (shape, writes) = (Shape::Transaction, Writes::Part);
            self.outbox
                .transaction(value.lane, (db, key), commands, shape, writes);
        }
    }

    fn end(&mut self, mut value: Value) -> Result<(), Error> {
        match std::mem::replace(&mut value.way, Way::Written) {
            Way::Ignored | Way::Lost(_) | Way::Written => {}
            Way::String | Way::Restore => self.leave_out(&value),
            Way::Gathered { parts, .. } if parts.is_empty() => self.leave_out(&value),
            Way::Gathered { parts, .. } => {
                self.left_out.expired += value.expired;
                self.restore_plain((value.lane, value.db), &value.key, parts);
            }
            Way::Staged(staged) => {
                self.left_out.expired += value.expired;
                self.finish_staged(&value, *staged);
            }
        }
        Ok(())
    }

    /// Counts a key of which nothing is left, once.
    fn leave_out(&mut self, value: &Value) {
        match value.expired {
            0 => self.left_out.empty += 1,
            _ => self.left_out.expired += 1,
        }
    }

    /// The key's expiry as it is to be written, held or true.
    fn written_expiry(&self, key: &rdb::Key) -> Option<UnixMs> {
        let expire_at_ms = key.expire_at_ms?;
        Some(self.config.hold.apply(expire_at_ms))
    }

    fn restore_plain(
        &mut self,
        place: Place,
        key: &rdb::Key,
        parts: impl IntoIterator<Item = Part>,
    ) {
        let mut encoder = PlainEncoder::new(self.target.field_expiry());
        for mut part in parts {
            if let Part::HashField {
                expire_at_ms: Some(at),
                ..
            } = &mut part
            {
                let written_ms = self.config.hold.apply_field(*at);
                *at = self.target.field_expiry_within(written_ms);
            }
            // Streams, which have no plain encoding, are never gathered.
            if encoder.push(&part).is_err() {
                return;
            }
        }
        if let Some((value_type, body)) = encoder.finish() {
            self.restore(place, key, value_type, &body.into());
        }
    }

    fn finish_staged(&mut self, value: &Value, staged: Staged) {
        let (db, key) = (value.db, &value.key.key);
        let expire_at = self
            .written_expiry(&value.key)
            .map(|at| at.to_string().into());
        let replaces = self.config.conflict.replaces();
        let (commands, shape) = staged.finish(key.clone(), expire_at, replaces);
        let writes = Writes::Keys {
            value_type: value.key.value_type,
            count: 1,
        };
        self.outbox
            .transaction(value.lane, (db, key), commands, shape, writes);
    }

    /// Writes a function library.
    ///
    /// # Errors
    /// [`ErrorKind::Lossy`].
    pub fn function(&mut self, code: &Bytes) -> Result<(), Error> {
        if !self.target.has_functions() {
            let name = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let name = code.slice_ref(name);
            return self.losses.lose(Loss::Function, Db(0), &name);
        }
        let replaces = self.config.conflict.replaces();
        let shape = Shape::single(replaces);
        let mut args: Vec<Bytes> = vec!["FUNCTION".into(), "LOAD".into()];
        if replaces {
            args.push("REPLACE".into());
        }
        args.push(code.clone());
        let name = rdb::LibraryHead::of(code).name.unwrap_or_default();
        let name = Bytes::copy_from_slice(name.as_bytes());
        self.outbox
            .single(&Command::new(args), name, shape, Writes::Function);
        Ok(())
    }

    /// Loads the text of a script that clients of old servers call by its digest.
    pub fn script(&mut self, text: &Bytes) {
        let args = vec!["SCRIPT".into(), "LOAD".into(), text.clone()];
        let command = Command::new(args);
        self.outbox
            .single(&command, Bytes::new(), Shape::Plain, Writes::Part);
    }

    fn set(&mut self, (lane, db): Place, key: &rdb::Key, string: &Bytes) {
        let replaces = self.config.conflict.replaces();
        let gathers = Mset::takes(&key.key, string);
        let expire_at_ms = self.written_expiry(key);
        let key = &key.key;
        self.outbox.append(lane, db, |buffer| match expire_at_ms {
            None if replaces && gathers => buffer.mset(key, string),
            _ => buffer.set(key, string, expire_at_ms, replaces),
        });
    }

    fn restore(&mut self, (lane, db): Place, key: &rdb::Key, value_type: ValueType, body: &Bytes) {
        let restore = Restore {
            key,
            value_type,
            body,
            version: self.target.payload_version(value_type),
            expire_at_ms: self.written_expiry(key),
            replaces: self.config.conflict.replaces(),
        };
        self.outbox
            .append(lane, db, |buffer| buffer.restore(&restore));
    }

    /// Hands over everything that was gathered, however little.
    ///
    /// # Errors
    /// [`ErrorKind::Lossy`], [`ErrorKind::Value`] of the last key.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.settle()?;
        self.outbox.flush();
        Ok(())
    }

    /// Whether a batch is ready.
    pub fn is_ready(&self) -> bool {
        self.outbox.is_ready()
    }

    /// Takes the next batch that is ready, and the lane it is for.
    pub fn ready(&mut self) -> Option<(usize, Batch)> {
        self.outbox.ready()
    }

    /// What was left out so far.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// What could not be said on the target so far.
    pub fn losses(&self) -> &LossLog {
        &self.losses
    }

    /// How many keys were written with a held expiry.
    pub fn held_keys(&self) -> u64 {
        self.held_keys
    }

    /// Whether any field's expiry was held.
    pub fn held_fields(&self) -> bool {
        self.held_fields
    }
}

/// Takes the expiry of a field or a member away.
fn persist(part: Part) -> Part {
    match part {
        Part::HashField { field, value, .. } => Part::HashField {
            field,
            value,
            expire_at_ms: None,
        },
        Part::ExpiringSetMember { member, .. } => Part::SetMember(member),
        part => part,
    }
}

#[cfg(test)]
mod tests;
