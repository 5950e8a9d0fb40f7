//! The incremental parser: bytes in, events out, whatever the cut of the bytes.
//!
//! [`Input`] holds the bytes that have arrived and not been taken over, and sums those that have;
//! [`Core`] is the state machine over them. A step of the core reads through a [`Cursor`]: it
//! yields an event, changes state, or finds that bytes are missing, in which case the next one
//! resumes at the cursor's last commit. So every step may be repeated until it succeeds, and
//! costs no more than the item it reads.

use bytes::{Bytes, BytesMut};

use crate::keyspace::Db;

use super::crc64::Crc64;
use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Checksum, Event, Header, Key, ValueType};
use super::header;
use super::limits::Limits;
use super::opcode;
use super::value::function::PreGaFunction;
use super::value::{Value, module};
use super::walk::{Op, Walk, Walked};

/// Reads an RDB as it arrives.
///
/// ```
/// use keyferry::rdb::{Event, Limits, Parser};
///
/// let mut parser = Parser::new(Limits::default());
/// let mut events = 0;
/// for bytes in [&b"REDIS00"[..], b"04\xfe\x00\x00\x01", b"a\x02hi\xff"] {
///     parser.feed(bytes);
///     while let Some(event) = parser.next_event()? {
///         if let Event::Key(key) = &event {
///             assert_eq!(key.key, "a");
///         }
///         events += 1;
///     }
/// }
/// parser.finish()?;
/// assert_eq!(events, 6); // header, db, key, string, end of the value, end
/// # Ok::<(), keyferry::rdb::Error>(())
/// ```
#[derive(Debug)]
pub struct Parser {
    input: Input,
    core: Core,
}

impl Parser {
    /// Begins before the first byte of an RDB.
    pub fn new(limits: Limits) -> Self {
        Self {
            input: Input::new(),
            core: Core::new(limits),
        }
    }

    /// Appends bytes, which are copied. Those that no event has made use of are kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.append(bytes);
    }

    /// The next event; `None` asks for more bytes, or follows [`Event::End`].
    ///
    /// Events share the buffer they were fed in: keeping a small slice keeps all that was fed
    /// with it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the bytes, see [`ErrorKind`]; never `Truncated`, which only
    /// [`Parser::finish`] can know. The same error is given from then on.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let stepped;
            let mut cursor;
            match &self.core.state {
                State::Done => return Ok(None),
                State::Failed(error) => return Err(error.as_ref().clone()),
                State::Trailer { checksum } => {
                    // Everything up to here is covered by the checksum, what follows is not.
                    self.input.sum();
                    cursor = self.input.cursor();
                    stepped = self.input.check(*checksum, &mut cursor).map(|checksum| {
                        self.core.state = State::Done;
                        Some(Event::End(checksum))
                    });
                }
                _ => {
                    cursor = self.input.cursor();
                    stepped = self.core.step(&mut cursor);
                }
            }
            let (pos, committed) = (cursor.pos(), cursor.committed());
            match stepped {
                Ok(event) => {
                    self.input.pos = pos;
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Err(Stop::More) => {
                    self.input.pos = committed;
                    return Ok(None);
                }
                Err(Stop::Bad { kind, offset }) => return Err(self.fail(kind, offset)),
            }
        }
    }

    /// Chooses how deep to look into the value of the key that was the last event.
    ///
    /// Without a choice it is [`Altitude::Elements`]. At any other time this does nothing.
    pub fn choose(&mut self, altitude: Altitude) {
        if let State::Value {
            altitude: chosen, ..
        } = &mut self.core.state
        {
            *chosen = altitude;
        }
    }

    /// Says whether the input may end here: only after [`Event::End`].
    ///
    /// # Errors
    ///
    /// `Truncated` with the number of bytes that were fed; an earlier error, if there was one.
    pub fn finish(&self) -> Result<(), Error> {
        match &self.core.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error.as_ref().clone()),
            _ => Err(self.core.error(ErrorKind::Truncated, self.input.end())),
        }
    }

    /// How many bytes were made use of, from the first byte of the RDB.
    pub fn offset(&self) -> u64 {
        self.input.base + self.input.pos as u64
    }

    /// Takes what was fed and not made use of. After [`Event::End`] these bytes belong to
    /// whoever reads next: a mark, a stream of commands.
    pub fn take_rest(&mut self) -> Bytes {
        self.input.take_rest()
    }

    fn fail(&mut self, kind: ErrorKind, offset: u64) -> Error {
        let error = self.core.error(kind, offset);
        self.core.state = State::Failed(Box::new(error.clone()));
        error
    }
}

/// The bytes that have arrived.
#[derive(Debug)]
struct Input {
    bytes: Bytes,
    /// The absolute offset of the first of `bytes`.
    base: u64,
    /// Up to here they were taken over.
    pos: usize,
    /// Up to here they are part of the checksum.
    summed: usize,
    crc: Crc64,
}

impl Input {
    fn new() -> Self {
        Self {
            bytes: Bytes::new(),
            base: 0,
            pos: 0,
            summed: 0,
            crc: Crc64::new(),
        }
    }

    fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.bytes, self.base, self.pos)
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Puts `more` behind what is left.
    ///
    /// A short rest moves to a new buffer of the right size: what grew for a large value is
    /// given up with it, and a slice that is kept pins no more than about one piece of input. A
    /// long rest, of a value that is still arriving, grows in place, moving at most once to part
    /// from slices that share its buffer. Either way the cost is that of the bytes fed.
    fn append(&mut self, more: &[u8]) {
        let rest = self.take_rest();
        let own = |rest: &[u8]| {
            let mut own = BytesMut::with_capacity(rest.len() + more.len());
            own.extend_from_slice(rest);
            own
        };
        let mut grown = match rest {
            rest if rest.len() <= more.len() => own(&rest),
            rest => rest.try_into_mut().unwrap_or_else(|shared| own(&shared)),
        };
        grown.extend_from_slice(more);
        self.bytes = grown.freeze();
    }

    fn take_rest(&mut self) -> Bytes {
        self.sum();
        let rest = self.bytes.split_off(self.pos);
        self.bytes = Bytes::new();
        self.base += self.pos as u64;
        self.pos = 0;
        self.summed = 0;
        rest
    }

    /// Sums what was taken over since the last time, in one go: summing item by item is slow.
    fn sum(&mut self) {
        if let Some(taken) = self.bytes.get(self.summed..self.pos) {
            self.crc.update(taken);
            self.summed = self.pos;
        }
    }

    /// Reads the stored checksum, if there is one, and compares it.
    fn check(&self, present: bool, cursor: &mut Cursor<'_>) -> Result<Checksum, Stop> {
        if !present {
            return Ok(Checksum::Absent);
        }
        let computed = self.crc.value();
        match cursor.array().map(u64::from_le_bytes)? {
            0 => Ok(Checksum::Disabled),
            stored if stored == computed => Ok(Checksum::Verified),
            stored => Err(cursor.bad(ErrorKind::Checksum { stored, computed })),
        }
    }
}

/// The state machine over the records.
#[derive(Debug)]
struct Core {
    limits: Limits,
    state: State,
    header: Header,
    db: Db,
    /// The key whose record is being read, for errors.
    key: Option<Bytes>,
    /// The opcode or value type that is being read, for errors.
    byte: Option<u8>,
    attributes: Attributes,
}

/// What was said about the next key.
#[derive(Debug, Default)]
struct Attributes {
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    has_metadata: bool,
}

#[derive(Debug)]
enum State {
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
    KeyMeta(Walk),
    SlotImport(Walk),
    KeyName(ValueType),
    Value {
        value_type: ValueType,
        altitude: Altitude,
    },
    Raw {
        value_type: ValueType,
        walk: Walk,
        walked: usize,
        bytes_max: u64,
    },
    Skip(Walk),
    Elements(Value),
    /// Behind the EOF opcode; whether a checksum follows.
    Trailer {
        checksum: bool,
    },
    Done,
    Failed(Box<Error>),
}

/// The classes of a KEY_META: four bytes of name and version, then a module's items.
pub(crate) const KEY_META_CLASS: &[Op] = &[Op::Fixed(4), Op::Items];
/// Ranges of slots.
const SLOT_RANGES: &[Op] = &[Op::Repeat(&[Op::Len, Op::Len])];
/// The items of a module.
const ITEMS: &[Op] = &[Op::Items];
/// Behind a key: one of its members expires. AUX fields are else no part of the data.
const KEYDB_MEMBER_EXPIRY: &[u8] = b"keydb-subexpire-key";
/// The length of the name of a slot import job.
const JOB_NAME_BYTES: usize = 40;

impl Core {
    fn new(limits: Limits) -> Self {
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
        }
    }

    fn error(&self, kind: ErrorKind, offset: u64) -> Error {
        Error {
            kind,
            offset,
            db: self.db,
            key: self.key.clone(),
            byte: self.byte,
        }
    }

    /// Takes one step, which may or may not make an event.
    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        let limits = self.limits;
        match &mut self.state {
            State::Header => {
                self.header = header::read(cursor)?;
                self.state = State::Record;
                return Ok(Some(Event::Header(self.header)));
            }
            State::Record => return self.record(cursor),
            State::KeyName(value_type) => {
                let value_type = *value_type;
                return self.key(value_type, cursor).map(Some);
            }
            State::AuxValue { name } => {
                let value = cursor.text(&limits)?;
                let name = std::mem::take(name);
                self.state = State::Record;
                return Ok(Some(Event::Aux { name, value }));
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
            State::KeyMeta(walk) => {
                walk.run(cursor, u64::MAX)?;
                self.attributes.has_metadata = true;
                self.state = State::Record;
            }
            State::SlotImport(walk) => {
                walk.run(cursor, u64::MAX)?;
                self.state = State::Record;
            }
            State::Value {
                value_type,
                altitude,
            } => {
                self.state = begin_value(*value_type, *altitude, &limits, cursor)?;
            }
            State::Raw { .. } => return self.raw(cursor),
            State::Skip(walk) => {
                walk.run(cursor, u64::MAX)?;
                return Ok(Some(self.value_end()));
            }
            State::Elements(value) => {
                return match value.next(cursor, &limits)? {
                    Some(part) => Ok(Some(Event::Part(part))),
                    None => Ok(Some(self.value_end())),
                };
            }
            State::Trailer { .. } | State::Done | State::Failed(_) => {}
        }
        Ok(None)
    }

    /// Reads an opcode with what belongs to it, or the type of a value.
    fn record(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        self.byte = None;
        let offset = cursor.offset();
        let byte = cursor.u8()?;
        self.byte = Some(byte);
        let valkey = self.header.valkey;
        match byte {
            opcode::SELECT_DB => {
                let db = cursor.length()?;
                let db = u32::try_from(db).map_err(|_| cursor.corrupt("impossible db"))?;
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
                if name.eq_ignore_ascii_case(KEYDB_MEMBER_EXPIRY) {
                    let what = "expiry of single members, as KeyDB writes it,";
                    return Err(cursor.bad(ErrorKind::UnsupportedAux(what)));
                }
                self.state = State::AuxValue { name };
            }
            opcode::FUNCTION2 => {
                let code = cursor.text(&self.limits)?;
                return Ok(Some(Event::Function { code }));
            }
            opcode::FUNCTION_PRE_GA => self.state = State::PreGaFunction(Default::default()),
            opcode::MODULE_AUX => self.state = begin_module_aux(cursor)?,
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    cursor.length()?;
                }
            }
            opcode::SLOT_IMPORT if valkey => {
                if cursor.text(&self.limits)?.len() != JOB_NAME_BYTES {
                    return Err(cursor.corrupt("the name of a slot import is not 40 bytes long"));
                }
                self.state = State::SlotImport(Walk::new(SLOT_RANGES));
            }
            opcode::KEY_META => self.state = State::KeyMeta(begin_key_meta(cursor)?),
            opcode::EOF => {
                let checksum = self.header.version >= opcode::CHECKSUM_VERSION_MIN;
                self.state = State::Trailer { checksum };
            }
            byte => {
                let value_type = ValueType { byte, valkey };
                if !opcode::type_is_known(value_type, self.header.version) {
                    return Err(Stop::Bad {
                        kind: unsupported(byte, self.header),
                        offset,
                    });
                }
                self.state = State::KeyName(value_type);
            }
        }
        Ok(None)
    }

    fn key(&mut self, value_type: ValueType, cursor: &mut Cursor<'_>) -> Result<Event, Stop> {
        let key = cursor.text(&self.limits)?;
        let Attributes {
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        } = std::mem::take(&mut self.attributes);
        self.key = Some(key.clone());
        self.state = State::Value {
            value_type,
            altitude: Altitude::Elements,
        };
        Ok(Event::Key(Key {
            key,
            value_type,
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        }))
    }

    /// Walks ahead to the end of the value, which stays in the input until it is found.
    fn raw(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        let State::Raw {
            value_type,
            walk,
            walked,
            bytes_max,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let mut ahead = cursor.ahead(*walked);
        let end_max = cursor.offset().saturating_add(*bytes_max);
        let run = walk.run(&mut ahead, end_max);
        *walked = ahead.committed() - cursor.pos();
        match run? {
            Walked::All => {
                let body = cursor.slice(ahead.pos() - cursor.pos())?;
                self.value_end();
                Ok(Some(Event::Body(body)))
            }
            Walked::TooFar if value_type.byte == opcode::TYPE_MODULE => {
                let (size, limit) = (bytes_max.saturating_add(1), *bytes_max);
                Err(cursor.bad(ErrorKind::Limit {
                    what: "the value of a module",
                    size,
                    limit,
                }))
            }
            Walked::TooFar => {
                self.state = State::Elements(Value::new(*value_type));
                Ok(None)
            }
        }
    }

    fn value_end(&mut self) -> Event {
        self.key = None;
        self.state = State::Record;
        Event::ValueEnd
    }
}

fn begin_value(
    value_type: ValueType,
    altitude: Altitude,
    limits: &Limits,
    cursor: &Cursor<'_>,
) -> Result<State, Stop> {
    let Some(layout) = opcode::layout(value_type) else {
        let header = Header {
            valkey: value_type.valkey,
            version: 0,
        };
        return Err(cursor.bad(unsupported(value_type.byte, header)));
    };
    let bytes_max = match altitude {
        Altitude::Elements => return Ok(State::Elements(Value::new(value_type))),
        Altitude::Skip => return Ok(State::Skip(Walk::new(layout))),
        Altitude::Raw { .. } if value_type.byte == opcode::TYPE_MODULE => limits.module_body_max,
        Altitude::Raw { bytes_max } => bytes_max as u64,
    };
    Ok(State::Raw {
        value_type,
        walk: Walk::new(layout),
        walked: 0,
        bytes_max,
    })
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

/// Reads how many classes of metadata follow, and walks through them.
pub(crate) fn begin_key_meta(cursor: &mut Cursor<'_>) -> Result<Walk, Stop> {
    match cursor.length()? {
        classes @ 1..=7 => Ok(Walk::times(KEY_META_CLASS, classes)),
        _ => Err(cursor.corrupt("impossible number of metadata classes")),
    }
}

pub(crate) fn unsupported(byte: u8, header: Header) -> ErrorKind {
    if byte >= opcode::OPCODE_MIN {
        ErrorKind::UnsupportedOpcode { byte, header }
    } else {
        ErrorKind::UnsupportedType { byte, header }
    }
}
