//! The records of an RDB one after the other: opcodes, keys and their values, up to the end.

use bytes::Bytes;

use crate::keyspace::Db;

use super::cursor::{Cursor, Stop};
use super::dragonfly::{Found, Record};
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Event, Header, Key};
use super::header;
use super::keydb::MemberExpiry;
use super::limits::Limits;
use super::metadata::KeyMeta;
use super::opcode;
use super::part::Element;
use super::reading::Reading;
use super::section::Section;
use super::slots::SlotImport;
use super::template::{Definition, Templates};
use super::value::function::PreGaFunction;
use super::value::module;
use super::value::template_hash::template_id;
use super::value_type::{Family, ValueType};
use super::walk::{Op, Walk};

/// The state machine over the records.
#[derive(Debug)]
pub(super) struct Records {
    limits: Limits,
    pub(super) state: State,
    header: Header,
    db: Db,
    /// The key whose record is being read, for errors.
    key: Option<Bytes>,
    /// The opcode or value type that is being read, for errors.
    byte: Option<u8>,
    attributes: Attributes,
    /// Whether versions newer than those that are known are read.
    pub(super) newer_versions: bool,
    /// Whether a string comes together with its key.
    pub(super) joins_strings: bool,
    /// Whose type bytes these are.
    family: Family,
    templates: Templates,
    member_expiry: MemberExpiry,
    /// A section that was inflated and is to be read next.
    pub(super) section: Option<Section>,
    pub(super) in_section: bool,
}

/// What was said about the next key.
#[derive(Debug, Default)]
struct Attributes {
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    has_metadata: bool,
}

/// Where the reading stands.
#[derive(Debug)]
pub(super) enum State {
    Header,
    Record,
    AuxValue {
        name: Bytes,
    },
    PreGaFunction(PreGaFunction),
    ModuleAux {
        module: String,
        walk: Walk,
    },
    KeyMeta(KeyMeta),
    SlotImport(SlotImport),
    Template(Definition),
    Dragonfly(Record),
    KeyName(ValueType),
    /// Before the id of the template that a hash refers to.
    TemplateHash {
        value_type: ValueType,
        altitude: Altitude,
    },
    Value(Reading),
    /// Behind the EOF opcode; whether a checksum follows.
    Trailer {
        checksum: bool,
    },
    Done,
    Failed(Box<Error>),
}

/// The AUX field that only Dragonfly writes.
const DRAGONFLY_VERSION: &[u8] = b"df-ver";
/// The items of a module.
const ITEMS: &[Op] = &[Op::Items];

impl Records {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            header: Header {
                valkey: false,
                version: 0,
            },
            db: Db::default(),
            key: None,
            byte: None,
            attributes: Attributes::default(),
            newer_versions: false,
            joins_strings: false,
            family: Family::Redis,
            templates: Templates::default(),
            member_expiry: MemberExpiry::default(),
            section: None,
            in_section: false,
        }
    }

    pub(super) fn error(&self, kind: ErrorKind, offset: u64) -> Error {
        Error {
            kind,
            offset,
            db: self.db,
            key: self.key.clone(),
            byte: self.byte,
        }
    }

    /// Takes one step, which may or may not make an event.
    #[inline]
    pub(super) fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        match &mut self.state {
            State::Value(reading) => {
                let event = reading.next(cursor, &self.limits)?;
                if event.ends_value() {
                    let followed = self.member_expiry.follow(self.key.take());
                    followed.map_err(|flaw| cursor.corrupt(flaw.0))?;
                    self.state = State::Record;
                }
                Ok(Some(event))
            }
            State::Record => self.record(cursor),
            State::KeyName(value_type) => {
                let value_type = *value_type;
                self.key(value_type, cursor).map(Some)
            }
            _ => self.rare_step(cursor),
        }
    }

    /// A step that few are, kept out of the way of the others.
    #[inline(never)]
    fn rare_step(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        let limits = self.limits;
        match &mut self.state {
            State::Header => {
                self.header = header::read(cursor, self.newer_versions)?;
                if self.header.valkey {
                    self.family = Family::Valkey;
                }
                self.state = State::Record;
                return Ok(Some(Event::Header(self.header)));
            }
            State::AuxValue { name } => {
                let value = cursor.text(&limits)?;
                let name = std::mem::take(name);
                self.state = State::Record;
                if name.eq_ignore_ascii_case(DRAGONFLY_VERSION) {
                    self.recognise_dragonfly();
                }
                let event = self.member_expiry.aux(name, value);
                return event.map_err(|flaw| cursor.corrupt(flaw.0));
            }
            State::PreGaFunction(function) => {
                let code = function.next(cursor, &limits)?;
                self.state = State::Record;
                return Ok(Some(Event::Function { code }));
            }
            State::ModuleAux { module, walk } => {
                walk.run(cursor, u64::MAX)?;
                let module = std::mem::take(module);
                self.state = State::Record;
                return Ok(Some(Event::ModuleAux { module }));
            }
            State::KeyMeta(meta) => {
                let classes = meta.next(cursor)?;
                self.attributes.has_metadata = true;
                self.state = State::Record;
                return Ok(Some(Event::KeyMeta { classes }));
            }
            State::SlotImport(import) => {
                let event = import.next(cursor)?;
                self.state = State::Record;
                return Ok(Some(event));
            }
            State::Template(template) => {
                template.define(cursor, &mut self.templates, &limits)?;
                self.state = State::Record;
            }
            State::Dragonfly(record) => {
                let found = record.next(cursor, &limits)?;
                self.state = State::Record;
                match found {
                    Found::Nothing => {}
                    Found::Event(event) => return Ok(Some(event)),
                    Found::Section(section) => {
                        self.section = Some(section);
                        self.in_section = true;
                    }
                }
            }
            State::TemplateHash { .. } => self.template_hash(cursor)?,
            State::Record | State::KeyName(_) | State::Value(_) => {}
            State::Trailer { .. } | State::Done | State::Failed(_) => {}
        }
        Ok(None)
    }

    /// Reads an opcode with what belongs to it, or the type of a value.
    #[inline(never)]
    fn record(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        self.byte = None;
        let offset = cursor.offset();
        let byte = cursor.u8()?;
        self.byte = Some(byte);
        let redis = self.family == Family::Redis;
        match byte {
            opcode::SELECT_DB => {
                let db = cursor.length()?;
                let db = u32::try_from(db).map_err(|_| cursor.corrupt("impossible db"))?;
                let followed = self.member_expiry.follow(None);
                followed.map_err(|flaw| cursor.corrupt(flaw.0))?;
                self.db = Db(db);
                return Ok(Some(Event::SelectDb(self.db)));
            }
            opcode::RESIZE_DB => {
                let (keys, expires) = (cursor.length()?, cursor.length()?);
                return Ok(Some(Event::ResizeDb { keys, expires }));
            }
            opcode::EXPIRE_TIME => {
                let seconds = i32::from_le_bytes(cursor.array()?);
                self.attributes.expire_at_ms = Some(i64::from(seconds) * 1000);
            }
            opcode::EXPIRE_TIME_MS => self.attributes.expire_at_ms = Some(cursor.ms()?),
            opcode::IDLE => self.attributes.idle_s = Some(cursor.length()?),
            opcode::FREQ => self.attributes.freq = Some(cursor.u8()?),
            opcode::AUX => {
                let name = cursor.text(&self.limits)?;
                self.state = State::AuxValue { name };
            }
            opcode::FUNCTION2 => {
                let code = cursor.text(&self.limits)?;
                return Ok(Some(Event::Function { code }));
            }
            opcode::FUNCTION_PRE_GA => self.state = State::PreGaFunction(Default::default()),
            opcode::MODULE_AUX => self.state = begin_module_aux(cursor)?,
            opcode::SLOT_INFO => {
                return Ok(Some(Event::SlotInfo {
                    slot: cursor.length()?,
                    keys: cursor.length()?,
                    expires: cursor.length()?,
                }));
            }
            opcode::SLOT_IMPORT if self.header.valkey => {
                self.state = State::SlotImport(SlotImport::begin(cursor, &self.limits)?);
            }
            opcode::KEY_META => self.state = State::KeyMeta(KeyMeta::begin(cursor)?),
            opcode::HASH_TEMPLATE if redis && self.has_templates() => {
                self.state = State::Template(Definition::begin(cursor)?);
            }
            opcode::TIER_LRU | opcode::KEY_SLOT if redis => drop(cursor.length()?),
            opcode::EOF if self.in_section => {
                return Err(cursor.corrupt("the file ends inside a compressed section"));
            }
            opcode::EOF => {
                let followed = self.member_expiry.follow(None);
                followed.map_err(|flaw| cursor.corrupt(flaw.0))?;
                let checksum = self.header.version >= opcode::CHECKSUM_VERSION_MIN;
                self.state = State::Trailer { checksum };
            }
            byte => {
                if let Some(record) = self.dragonfly_record(byte) {
                    let inside = record.in_section().unwrap_or(self.in_section);
                    if inside != self.in_section {
                        return Err(cursor.corrupt("compressed sections do not nest"));
                    }
                    self.state = State::Dragonfly(record);
                    return Ok(None);
                }
                let value_type = ValueType::of(byte, self.family);
                if !opcode::type_is_known(value_type, self.header.version) {
                    return Err(Stop::Bad {
                        kind: ErrorKind::unsupported(byte, self.header),
                        offset,
                    });
                }
                self.state = State::KeyName(value_type);
                cursor.commit();
                return self.key(value_type, cursor).map(Some);
            }
        }
        Ok(None)
    }

    fn recognise_dragonfly(&mut self) {
        let version = self.header.version;
        if self.family == Family::Redis && version <= opcode::DRAGONFLY_VERSION_MAX {
            self.family = Family::Dragonfly;
        }
    }

    fn dragonfly_record(&self, byte: u8) -> Option<Record> {
        match self.family {
            Family::Dragonfly => Record::of(byte),
            Family::Redis | Family::Valkey | Family::VectorSets => None,
        }
    }

    fn has_templates(&self) -> bool {
        self.header.version >= opcode::TEMPLATE_VERSION_MIN
    }

    fn key(&mut self, value_type: ValueType, cursor: &mut Cursor<'_>) -> Result<Event, Stop> {
        let key = cursor.text(&self.limits)?;
        let value_type = module::told_apart(value_type, cursor)?;
        let value = match self.joins_strings && value_type.byte == opcode::TYPE_STRING {
            true => self.string(&key, cursor)?,
            false => None,
        };
        let Attributes {
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        } = std::mem::take(&mut self.attributes);
        let event = |key| Key {
            key,
            value_type,
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        };
        if let Some(value) = value {
            // A string has no members whose expiry could follow.
            let followed = self.member_expiry.follow(None);
            followed.map_err(|flaw| cursor.corrupt(flaw.0))?;
            self.state = State::Record;
            let key = event(key);
            return Ok(Event::String { key, value });
        }
        self.key = Some(key.clone());
        self.state = match value_type.needs_template() {
            false => State::Value(Reading::new(value_type)),
            true => State::TemplateHash {
                value_type,
                altitude: Altitude::Elements,
            },
        };
        Ok(Event::Key(event(key)))
    }

    /// The string that is the value of `key`, if it fits one piece.
    fn string(&mut self, key: &Bytes, cursor: &mut Cursor<'_>) -> Result<Option<Element>, Stop> {
        let string = cursor.short_string(&self.limits);
        // Errors name it, also that of an input that ends here. A copy: a slice would keep the input
        // from growing in its place, and every piece of a long string would copy it.
        self.key = string.is_err().then(|| Bytes::copy_from_slice(key));
        string
    }

    /// Looks up the template that a hash refers to, without taking anything over.
    fn template_hash(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let State::TemplateHash {
            value_type,
            altitude,
        } = self.state
        else {
            return Ok(());
        };
        let packed = value_type.byte == opcode::TYPE_TEMPLATE_LISTPACK;
        let mut ahead = cursor.ahead(0);
        let id = template_id(packed, &mut ahead, &self.limits)?;
        let Some(names) = self.templates.names(id) else {
            return Err(ahead.corrupt("a hash refers to a template that is not defined"));
        };
        let mut reading = Reading::with_template(value_type, names);
        reading.choose(altitude);
        self.state = State::Value(reading);
        Ok(())
    }
}

fn begin_module_aux(cursor: &mut Cursor<'_>) -> Result<State, Stop> {
    let module = module::type_name(cursor.length()?);
    // An item of its own, an unsigned integer: before (1) or after (2) the keys.
    if cursor.length()? != 2 {
        return Err(cursor.corrupt("the data of a module does not say where it belongs"));
    }
    cursor.length()?;
    Ok(State::ModuleAux {
        module,
        walk: Walk::new(ITEMS),
    })
}
