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

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    net::Endpoint,
    rdb::{self, Altitude, Event, Part, PlainEncoder, ValueParser, ValueType},
    resp::Command,
};

use super::{
    batch::{Batch, Shape, Writes},
    error::{Error, ErrorKind},
    gather::{BATCH_BYTES, LaneBuffer},
    hold::Hold,
    inspection::stands_as_is,
    loss_log::LossLog,
    lossy::Loss,
    policy::{Conflict, Expired, OnLossy},
    rebuild::{CHUNK, Rebuild},
    staging::{finish_staging, staging_key, transaction},
    target::Target,
};
use held_hash::HeldHash;

/// Strings from here on get a SET of their own.
const MSET_VALUE_BYTES_MAX: usize = 16 * 1024;
/// Parts that are gathered for one RESTORE: each takes memory beside its content, however small.
const GATHERED_PARTS_MAX: usize = 64 * 1024;
/// The RDB type of a plain string.
const STRING: u8 = 0;

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
    /// The longest value written by one RESTORE, in bytes.
    pub restore_bytes_max: usize,
    /// How many lanes the keys are spread over.
    pub lanes: usize,
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
    lanes: Vec<LaneBuffer>,
    ready: VecDeque<(usize, Batch)>,
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
    Gathered { parts: Vec<Part>, bytes: usize },
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
        }
    }
}

/// A value that is built under the staging name of its lane.
#[derive(Debug)]
struct Staged {
    rebuild: Rebuild,
    commands: Vec<Command>,
    /// How many of the commands are counted in `bytes`.
    counted: usize,
    bytes: usize,
}

impl ValueWriter {
    /// Makes a writer for `target`.
    pub fn new(target: Arc<Target>, config: ValueConfig) -> ValueWriter {
        let losses = LossLog::new(config.endpoint.clone(), config.on_lossy);
        ValueWriter {
            target,
            lanes: (0..config.lanes).map(|_| LaneBuffer::default()).collect(),
            config,
            ready: VecDeque::new(),
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
        self.settle()?;
        if db.0 >= self.target.databases {
            let databases = self.target.databases;
            return Err(ErrorKind::NoSuchDb { db, databases }.at(&self.config.endpoint));
        }
        let expired = key.expire_at_ms.is_some_and(|at| at <= now_ms) && !self.config.hold.is_on();
        let (way, altitude) = match self.config.expired {
            Expired::LeaveOut if expired => {
                self.left_out.expired += 1;
                (Way::Ignored, Altitude::Skip)
            }
            Expired::Persist if expired => {
                key.expire_at_ms = None;
                self.choose(&key)
            }
            _ => self.choose(&key),
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
        let lane = lane_of(&key.key, self.lanes.len());
        self.value = Some(Value {
            key,
            db,
            lane,
            way,
            expired: 0,
        });
        Ok(altitude)
    }

    fn choose(&self, key: &rdb::Key) -> (Way, Altitude) {
        let raw = Altitude::Raw {
            bytes_max: self.config.restore_bytes_max,
        };
        let value_type = key.value_type;
        if let Some(loss) = self.target.loses(value_type) {
            return (Way::Lost(loss), Altitude::Skip);
        }
        let set_takes_expiry = key.expire_at_ms.is_none() || self.target.has_common(6, 2);
        if value_type.byte == STRING && set_takes_expiry {
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
            Event::Part(part) => self.part(&mut value, part)?,
            Event::ValueEnd if self.holds_back(&value) => {
                self.hold_back(value, None);
                return Ok(());
            }
            Event::ValueEnd => return self.end(value),
            // Only those three belong to a value.
            _ => {}
        }
        self.value = Some(value);
        Ok(())
    }

    fn body(&mut self, value: &mut Value, body: &Bytes) -> Result<(), Error> {
        let value_type = value.key.value_type;
        if !stands_as_is(&self.target, value_type, body, self.now_ms)
            .map_err(|source| self.unreadable(value, source))?
        {
            return self.parts_of(value, body);
        }
        value.way = Way::Written;
        if value_type.is_module() {
            return self.module(value, body);
        }
        if self.target.restores(value_type) {
            self.restore(value, value_type, body);
            return Ok(());
        }
        self.older_stream(value, body)
    }

    /// Writes the parts of a body that the target may not be given as it stands.
    fn parts_of(&mut self, value: &mut Value, body: &Bytes) -> Result<(), Error> {
        let value_type = value.key.value_type;
        if !value_type.is_stream() {
            value.way = Way::gathered();
        }
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
            self.restore(value, value.key.value_type, &body);
            return Ok(());
        }
        let loss = Loss::of_module(&name);
        self.losses.lose(loss, value.db, &value.key.key)
    }

    fn older_stream(&mut self, value: &Value, body: &Bytes) -> Result<(), Error> {
        let to = ValueType::common(self.target.newest_stream());
        let from = value.key.value_type;
        let converted = rdb::convert(body.clone(), from, to, &rdb::Limits::default())
            .map_err(|source| self.unreadable(value, source))?;
        for (loss, count) in &converted.losses {
            for _ in 0..*count {
                if let Some(loss) = Loss::of_stream(*loss) {
                    self.losses.lose(loss, value.db, &value.key.key)?;
                }
            }
        }
        self.restore(value, to, &converted.body.into());
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
                    self.string(value, &string.to_bytes());
                    return Ok(());
                }
            }
            Way::Gathered { parts, bytes } => {
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
        value.way = Way::Staged(Box::new(Staged {
            rebuild: Rebuild::new(
                staging_key(value.lane),
                &self.target,
                self.config.hold,
                CHUNK,
            ),
            commands: vec![Command::new(vec!["UNLINK".into(), staging_key(value.lane)])],
            counted: 0,
            bytes: 0,
        }));
    }

    fn staged(&mut self, value: &mut Value, part: Part) -> Result<(), Error> {
        let Way::Staged(staged) = &mut value.way else {
            return Ok(());
        };
        let lossy = staged.rebuild.part(part, &mut staged.commands);
        self.pass_on(value);
        match lossy {
            Ok(()) => Ok(()),
            Err(lossy) => self.losses.lose(lossy.loss, value.db, &value.key.key),
        }
    }

    /// Hands over the commands that are staged when they are enough.
    fn pass_on(&mut self, value: &mut Value) {
        let Way::Staged(staged) = &mut value.way else {
            return;
        };
        let new = staged.commands.get(staged.counted..).unwrap_or_default();
        staged.bytes += new.iter().map(Command::encoded_len_max).sum::<usize>();
        staged.counted = staged.commands.len();
        if staged.bytes >= BATCH_BYTES {
            let commands = std::mem::take(&mut staged.commands);
            (staged.counted, staged.bytes) = (0, 0);
            self.transaction(value, &commands, Shape::Transaction, Writes::Part);
        }
    }

    fn end(&mut self, mut value: Value) -> Result<(), Error> {
        match std::mem::replace(&mut value.way, Way::Written) {
            Way::Ignored | Way::Lost(_) | Way::Written => {}
            Way::String | Way::Restore => self.leave_out(&value),
            Way::Gathered { parts, .. } if parts.is_empty() => self.leave_out(&value),
            Way::Gathered { parts, .. } => {
                self.left_out.expired += value.expired;
                self.restore_plain(&value, parts);
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
    fn written_expiry(&self, value: &Value) -> Option<UnixMs> {
        let expire_at_ms = value.key.expire_at_ms?;
        Some(self.config.hold.apply(expire_at_ms))
    }

    fn restore_plain(&mut self, value: &Value, parts: Vec<Part>) {
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
            self.restore(value, value_type, &body.into());
        }
    }

    fn finish_staged(&mut self, value: &Value, mut staged: Staged) {
        staged.rebuild.finish(&mut staged.commands);
        let mut commands = staged.commands;
        let staging = staging_key(value.lane);
        let key = value.key.key.clone();
        let expire_at = self.written_expiry(value).map(|at| at.to_string().into());
        let replaces = self.config.conflict.replaces();
        let may_vanish = staged.rebuild.may_vanish();
        finish_staging(
            &mut commands,
            &staging,
            key,
            expire_at,
            replaces,
            may_vanish,
        );
        let shape = Shape::transaction(replaces).expiring(may_vanish);
        let writes = Writes::Keys {
            value_type: value.key.value_type,
            count: 1,
        };
        self.transaction(value, &commands, shape, writes);
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
        self.single(&Command::new(args), name, shape, Writes::Function);
        Ok(())
    }

    /// Loads the text of a script that clients of old servers call by its digest.
    pub fn script(&mut self, text: &Bytes) {
        let args = vec!["SCRIPT".into(), "LOAD".into(), text.clone()];
        self.single(
            &Command::new(args),
            Bytes::new(),
            Shape::Plain,
            Writes::Part,
        );
    }

    /// Appends a command without a db to the first lane; errors name it with what it writes.
    fn single(&mut self, command: &Command, name: Bytes, shape: Shape, writes: Writes) {
        if let Some(buffer) = self.lanes.first_mut() {
            buffer.flush_mset();
            buffer.encoder.command(command);
            buffer.close(
                shape,
                command.args().first().cloned().unwrap_or_default(),
                name,
                writes,
            );
        }
        self.hand_over_if_full(0);
    }

    fn string(&mut self, value: &Value, string: &Bytes) {
        let replaces = self.config.conflict.replaces();
        let gathers = string.len() < MSET_VALUE_BYTES_MAX;
        let expire_at_ms = self.written_expiry(value);
        let key = &value.key.key;
        let buffer = self.buffer(value);
        match expire_at_ms {
            None if replaces && gathers => buffer.mset(key, string, value.key.value_type),
            _ => buffer.set(key, string, expire_at_ms, replaces, value.key.value_type),
        }
        self.hand_over_if_full(value.lane);
    }

    fn restore(&mut self, value: &Value, value_type: ValueType, body: &Bytes) {
        let version = self.target.payload_version(value_type);
        let replaces = self.config.conflict.replaces();
        let expire_at_ms = self.written_expiry(value);
        let key = &value.key;
        let args = 4
            + usize::from(replaces)
            + usize::from(expire_at_ms.is_some())
            + 2 * usize::from(key.idle_s.is_some() || key.freq.is_some());
        let head = Bytes::copy_from_slice(&[value_type.byte]);
        let footer = rdb::payload::footer(value_type.byte, body, version);

        let buffer = self.buffer(value);
        let encoder = &mut buffer.encoder;
        encoder.begin(args);
        encoder.arg(b"RESTORE");
        encoder.arg_of(&[&key.key]);
        encoder.int_arg(expire_at_ms.unwrap_or(0));
        encoder.arg_of(&[&head, body, &Bytes::copy_from_slice(&footer)]);
        if replaces {
            encoder.arg(b"REPLACE");
        }
        if expire_at_ms.is_some() {
            encoder.arg(b"ABSTTL");
        }
        if let Some(idle_s) = key.idle_s {
            encoder.arg(b"IDLETIME");
            encoder.int_arg(i64::try_from(idle_s).unwrap_or(i64::MAX));
        } else if let Some(freq) = key.freq {
            encoder.arg(b"FREQ");
            encoder.int_arg(freq.into());
        }
        let shape = Shape::single(replaces);
        let writes = Writes::Keys {
            value_type: key.value_type,
            count: 1,
        };
        buffer.close(
            shape,
            Bytes::from_static(b"RESTORE"),
            key.key.clone(),
            writes,
        );
        self.hand_over_if_full(value.lane);
    }

    /// Hands over what the lane has gathered, then `commands` as one transaction that waits
    /// until everything before it is confirmed: nothing may be executed out of its order when
    /// a chunk is refused.
    fn transaction(&mut self, value: &Value, commands: &[Command], shape: Shape, writes: Writes) {
        self.hand_over(value.lane);
        let (segments, request) = transaction(commands, value.db, &value.key.key, shape, writes);
        let batch = Batch {
            segments,
            requests: vec![request],
            db: Some(value.db),
            after_confirmed: true,
            applied_offset: None,
        };
        self.ready.push_back((value.lane, batch));
    }

    /// The buffer of the value's lane, with the value's db selected.
    fn buffer(&mut self, value: &Value) -> &mut LaneBuffer {
        if self
            .lanes
            .get(value.lane)
            .is_some_and(|buffer| buffer.db != value.db)
        {
            self.hand_over(value.lane);
        }
        let buffer = self
            .lanes
            .get_mut(value.lane)
            .expect("lane_of stays below the number of lanes");
        buffer.db = value.db;
        buffer
    }

    fn hand_over_if_full(&mut self, lane: usize) {
        if self.lanes.get(lane).is_some_and(LaneBuffer::is_full) {
            self.hand_over(lane);
        }
    }

    fn hand_over(&mut self, lane: usize) {
        let batch = self.lanes.get_mut(lane).and_then(|buffer| buffer.take());
        self.ready.extend(batch.map(|batch| (lane, batch)));
    }

    /// Hands over everything that was gathered, however little.
    ///
    /// # Errors
    /// [`ErrorKind::Lossy`], [`ErrorKind::Value`] of the last key.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.settle()?;
        for lane in 0..self.lanes.len() {
            self.hand_over(lane);
        }
        Ok(())
    }

    /// Takes the next batch that is ready, and the lane it is for.
    pub fn ready(&mut self) -> Option<(usize, Batch)> {
        self.ready.pop_front()
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

/// Spreads keys over lanes: FNV-1a, which is cheap for short keys.
fn lane_of(key: &[u8], lanes: usize) -> usize {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash >> 32) as usize).checked_rem(lanes).unwrap_or(0)
}

#[cfg(test)]
mod tests;
