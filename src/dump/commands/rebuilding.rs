//! Keys and their values as commands. Pure: events in, commands out.
//!
//! ```text
//!  string, no expiry or from 6.2 on ──► SET, with its expiry
//!  value of a module, or --restore  ──► RESTORE of the body, which is rewritten where the server
//!                                       does not take it as it stands
//!  everything else                  ──► RPUSH, SADD, ZADD, HSET, XADD ... in bounded chunks,
//!                                       then PEXPIREAT
//! ```

use bytes::Bytes;

use crate::{
    keyspace::{Db, Loss, UnixMs},
    rdb::{self, Altitude, Event, Key, KeyType, Limits, Part, ValueType},
    resp::Command,
    sink::{
        Hold, MODULE_BYTES_MAX, Target,
        rebuild::{CHUNK, Rebuild},
    },
};

/// The longest value that is said by one RESTORE where commands say it, too.
const RESTORE_BYTES_MAX: usize = 1 << 20;
/// A string.
const STRING: u8 = 0;

/// How keys are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways {
    /// What is there is replaced.
    pub(super) replace: bool,
    /// By RESTORE where the server takes the payload.
    pub(super) restore: bool,
}

/// Turns events into commands.
#[derive(Debug)]
pub(super) struct Rebuilding {
    target: Target,
    ways: Ways,
    /// The db that is selected in what was written.
    selected: Option<Db>,
    /// The key whose value is being read.
    key: Option<(Db, Key)>,
    value: Value,
    /// The key whose value came last, if it was said.
    said: Option<Key>,
    /// What was lost since it was last looked at.
    lost: Vec<(Loss, u64)>,
}

/// What has come of the value.
#[derive(Debug)]
enum Value {
    /// Nothing yet.
    Awaited,
    /// All that is said of it.
    Written,
    /// Some parts.
    Rebuilt(Box<Rebuild>),
    /// The server has no such thing.
    Lost,
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It is complete.
    Written,
    /// It has no element.
    Empty,
    /// The server cannot hold it.
    Lost,
}

impl Rebuilding {
    pub(super) fn new(target: Target, ways: Ways) -> Rebuilding {
        Rebuilding {
            target,
            ways,
            selected: None,
            key: None,
            value: Value::Awaited,
            said: None,
            lost: Vec::new(),
        }
    }

    /// Begins a key and says how its value is wanted.
    pub(super) fn begin(&mut self, db: Db, key: Key) -> Altitude {
        if key.has_metadata {
            self.lost.push((Loss::ModuleMetadata, 1));
        }
        let is_module = key.value_type.is_module();
        let by_payload = self.is_said_by_payload(key.value_type);
        self.said = None;
        self.value = Value::Awaited;
        let loss = self.target.loses(key.value_type);
        self.key = Some((db, key));
        if let Some(loss) = loss {
            self.lost.push((loss, 1));
            self.value = Value::Lost;
            return Altitude::Skip;
        }
        match by_payload {
            // Modules have nothing but their body.
            true if is_module => Altitude::Raw {
                bytes_max: self.target.payload_bytes_max(MODULE_BYTES_MAX),
            },
            true => Altitude::Raw {
                bytes_max: RESTORE_BYTES_MAX,
            },
            false => Altitude::Elements,
        }
    }

    /// Takes the next event of the value that was begun. At its end, says what became of it.
    ///
    /// # Errors
    /// What is wrong with a body that is to be rewritten.
    pub(super) fn take(
        &mut self,
        event: Event,
        out: &mut Vec<Command>,
    ) -> Result<Option<Said>, rdb::Error> {
        let Some((db, key)) = self.key.take() else {
            return Ok(None);
        };
        let said = match event {
            Event::Body(body) => {
                self.body(db, &key, &body, out)?;
                Some(Said::Written)
            }
            Event::ValueEnd => Some(self.end(&key, out)),
            // It is longer than the server takes.
            Event::Part(_) | Event::BodyPiece(_) if key.value_type.is_module() => {
                if !matches!(self.value, Value::Lost) {
                    self.lost.push((Loss::LongModuleValue, 1));
                    self.value = Value::Lost;
                }
                None
            }
            Event::Part(part) => {
                self.part(db, &key, part, out);
                None
            }
            // Nothing else belongs to a value at these altitudes.
            _ => None,
        };
        match said {
            None => self.key = Some((db, key)),
            Some(Said::Written) => self.said = Some(key),
            Some(Said::Empty | Said::Lost) => {}
        }
        Ok(said)
    }

    /// Gives a member or field of the value that came last an expiry of its own, as KeyDB does.
    pub(super) fn expire_member(&mut self, member: Bytes, at: UnixMs, out: &mut Vec<Command>) {
        let Some(key) = &self.said else {
            return;
        };
        if KeyType::of(key.value_type) != KeyType::Hash || !self.target.has_field_expiry() {
            self.lost.push((Loss::MemberExpiry, 1));
            return;
        }
        let at = self.target.field_expiry().nearest(at).to_string();
        let words = [&b"HPEXPIREAT"[..], &key.key, at.as_bytes(), b"FIELDS", b"1"];
        out.push(Command::of(words.into_iter().chain([&member[..]])));
    }

    /// What was lost since this was last asked, and how often.
    pub(super) fn lost(&mut self) -> Vec<(Loss, u64)> {
        std::mem::take(&mut self.lost)
    }

    /// Whether RESTORE says a value of this type: streams in an older type, too, which has a place
    /// for what no command says.
    fn is_said_by_payload(&self, value_type: ValueType) -> bool {
        let restores = self.target.restores(value_type) || value_type.is_stream();
        value_type.is_module() || (self.ways.restore && restores)
    }

    fn body(
        &mut self,
        db: Db,
        key: &Key,
        body: &Bytes,
        out: &mut Vec<Command>,
    ) -> Result<(), rdb::Error> {
        let (value_type, body) = self.rewritten(key.value_type, body)?;
        self.select(db, out);
        out.push(self.restore(key, value_type, &body));
        Ok(())
    }

    /// The type and body that the server takes, by the code that converts files.
    fn rewritten(
        &mut self,
        from: ValueType,
        body: &Bytes,
    ) -> Result<(ValueType, Bytes), rdb::Error> {
        if let Some(name) = rdb::module_name(body).filter(|_| from.is_module()) {
            return Ok((from, self.target.module_body(&name, body)));
        }
        if !from.is_stream() {
            return Ok((from, body.clone()));
        }
        let to = self.target.stream_type_for(from);
        let converted = rdb::convert(body.clone(), from, to, &Limits::default())?;
        self.lost.extend(converted.losses);
        Ok((to, converted.body.into()))
    }

    fn restore(&self, key: &Key, value_type: ValueType, body: &Bytes) -> Command {
        let byte = value_type.byte;
        let version = self.target.payload_version(value_type);
        let footer = rdb::payload::footer(byte, body, version);
        let payload = [&[byte][..], body, &footer].concat();
        let expire_at_ms = key.expire_at_ms.map(|at| at.max(1));
        let mut args: Vec<Bytes> = vec!["RESTORE".into(), key.key.clone()];
        args.push(expire_at_ms.unwrap_or(0).to_string().into());
        args.push(payload.into());
        if self.ways.replace {
            args.push("REPLACE".into());
        }
        if expire_at_ms.is_some() {
            args.push("ABSTTL".into());
        }
        if let Some(idle_s) = key.idle_s {
            args.extend(["IDLETIME".into(), idle_s.to_string().into()]);
        } else if let Some(freq) = key.freq {
            args.extend(["FREQ".into(), freq.to_string().into()]);
        }
        Command::new(args)
    }

    fn part(&mut self, db: Db, key: &Key, part: Part, out: &mut Vec<Command>) {
        let value = std::mem::replace(&mut self.value, Value::Written);
        let (mut rebuild, part) = match (value, part) {
            (Value::Awaited, Part::String(string)) if self.sets_expiry(key) => {
                self.select(db, out);
                out.push(set(key, string.into_bytes()));
                return;
            }
            (Value::Awaited, part) => {
                self.select(db, out);
                if self.ways.replace {
                    out.push(Command::new(vec!["UNLINK".into(), key.key.clone()]));
                }
                let rebuild = Rebuild::new(key.key.clone(), &self.target, Hold::Released, CHUNK);
                (Box::new(rebuild), part)
            }
            (Value::Rebuilt(rebuild), part) => (rebuild, part),
            (Value::Written | Value::Lost, _) => return,
        };
        if let Err(lossy) = rebuild.part(part, out) {
            self.lost.push((lossy.loss, 1));
        }
        self.value = Value::Rebuilt(rebuild);
    }

    /// Whether one SET says all of a string.
    fn sets_expiry(&self, key: &Key) -> bool {
        key.value_type.byte == STRING
            && (key.expire_at_ms.is_none() || self.target.has_common(6, 2))
    }

    fn end(&mut self, key: &Key, out: &mut Vec<Command>) -> Said {
        match std::mem::replace(&mut self.value, Value::Awaited) {
            Value::Awaited => Said::Empty,
            Value::Lost => Said::Lost,
            Value::Written => Said::Written,
            Value::Rebuilt(mut rebuild) => {
                rebuild.finish(out);
                let expire_at = key.expire_at_ms.map(|at| Bytes::from(at.to_string()));
                let expire = |at| Command::new(vec!["PEXPIREAT".into(), key.key.clone(), at]);
                out.extend(expire_at.map(expire));
                Said::Written
            }
        }
    }

    fn select(&mut self, db: Db, out: &mut Vec<Command>) {
        if self.selected != Some(db) {
            self.selected = Some(db);
            out.push(Command::new(vec!["SELECT".into(), db.to_string().into()]));
        }
    }
}

fn set(key: &Key, string: Bytes) -> Command {
    let mut args = vec!["SET".into(), key.key.clone(), string];
    if let Some(at) = key.expire_at_ms {
        // Servers refuse what is not after the epoch; 1 is as much in the past.
        args.extend(["PXAT".into(), at.max(1).to_string().into()]);
    }
    Command::new(args)
}
