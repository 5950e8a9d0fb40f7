//! Keys and their values as commands. Pure: events in, commands out.
//!
//! ```text
//!  string, no expiry or from 6.2 on ──► SET, with its expiry
//!  value of a module, or --restore  ──► RESTORE of the body as it stands
//!  everything else                  ──► RPUSH, SADD, ZADD, HSET, XADD ... in bounded chunks,
//!                                       then PEXPIREAT
//! ```

use bytes::Bytes;

use crate::{
    keyspace::Db,
    rdb::{self, Altitude, Event, Key, Part, ValueType},
    resp::Command,
    sink::{
        Hold, Loss, MODULE_BYTES_MAX, Target,
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
    /// What was lost since it was last looked at.
    lost: Vec<Loss>,
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
            lost: Vec::new(),
        }
    }

    /// Begins a key and says how its value is wanted.
    pub(super) fn begin(&mut self, db: Db, key: Key) -> Altitude {
        if key.has_metadata {
            self.lost.push(Loss::ModuleMetadata);
        }
        let is_module = key.value_type.is_module();
        let by_payload = is_module || (self.ways.restore && self.target.restores(key.value_type));
        self.value = Value::Awaited;
        let loss = self.target.loses(key.value_type);
        self.key = Some((db, key));
        if let Some(loss) = loss {
            self.lost.push(loss);
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
    pub(super) fn take(&mut self, event: Event, out: &mut Vec<Command>) -> Option<Said> {
        let (db, key) = self.key.take()?;
        let said = match event {
            Event::Body(body) => Some(self.body(db, &key, &body, out)),
            Event::ValueEnd => Some(self.end(&key, out)),
            // It is longer than the server takes.
            Event::Part(_) | Event::BodyPiece(_) if key.value_type.is_module() => {
                if !matches!(self.value, Value::Lost) {
                    self.lost.push(Loss::LongModuleValue);
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
        if said.is_none() {
            self.key = Some((db, key));
        }
        said
    }

    /// What was lost since this was last asked.
    pub(super) fn lost(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.lost)
    }

    fn body(&mut self, db: Db, key: &Key, body: &Bytes, out: &mut Vec<Command>) -> Said {
        let module = rdb::module_name(body).filter(|_| key.value_type.is_module());
        if module.as_deref() == Some("vectorset") && !self.target.restores_module("vectorset") {
            self.lost.push(Loss::VectorSet);
            return Said::Lost;
        }
        self.select(db, out);
        out.push(self.restore(key, body));
        Said::Written
    }

    fn restore(&self, key: &Key, body: &Bytes) -> Command {
        let ValueType { byte, .. } = key.value_type;
        let version = self.target.payload_version(key.value_type);
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
            self.lost.push(lossy.loss);
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
