//! The incremental parser: bytes in, events out, whatever the cut of the bytes.
//!
//! [`Input`] holds the bytes that have arrived and not been taken over, and sums those that have;
//! [`Core`] is the state machine over them. A step of the core reads through a [`Cursor`]: it
//! yields an event, changes state, or finds that bytes are missing, in which case the next one
//! resumes at the cursor's last commit. So every step may be repeated until it succeeds, and
//! costs no more than the item it reads.

use bytes::Bytes;

use crate::keyspace::Db;

use super::cursor::{Cursor, Stop};
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Event, Header, Key, ValueType};
use super::header;
use super::input::Input;
use super::limits::Limits;
use super::opcode;
use super::reading::Reading;
use super::value::function::PreGaFunction;
use super::value::module;
use super::walk::{Op, Walk};

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
                    self.input.take_over(pos);
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Err(Stop::More) => {
                    self.input.take_over(committed);
                    return Ok(None);
                }
                Err(Stop::Bad { kind, offset }) => return Err(self.fail(kind, offset)),
            }
        }
    }

    /// Chooses how deep to look into the value of the key that was the last event, or whose
    /// [`Event::Measured`] was.
    ///
    /// Without a choice it is [`Altitude::Elements`]. At any other time this does nothing.
    pub fn choose(&mut self, altitude: Altitude) {
        if let State::Value(reading) = &mut self.core.state {
            reading.choose(altitude);
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
        self.input.offset()
    }

    /// Takes what was fed behind [`Event::End`]: these bytes belong to whoever reads next, a mark
    /// or a stream of commands. Before the end there is nothing to take.
    pub fn take_rest(&mut self) -> Bytes {
        match self.core.state {
            State::Done => self.input.take_rest(),
            _ => Bytes::new(),
        }
    }

    fn fail(&mut self, kind: ErrorKind, offset: u64) -> Error {
        let error = self.core.error(kind, offset);
        self.core.state = State::Failed(Box::new(error.clone()));
        error
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
    Value(Reading),
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
            State::Value(reading) => {
                let event = reading.next(cursor, &limits)?;
                if event.ends_value() {
                    self.key = None;
                    self.state = State::Record;
                }
                return Ok(Some(event));
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
        self.state = State::Value(Reading::new(value_type));
        Ok(Event::Key(Key {
            key,
            value_type,
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Checksum, Element, Part};

    /// Two AUX fields, hints, a string that expires, a list.
    const FILE: &[u8] = b"REDIS0009\xfa\x09redis-ver\x056.2.0\xfa\x0aredis-bits\xc0\x40\
        \xfe\x00\xfb\x02\x01\xfc\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x00\x01a\xc1\x39\x30\
        \x01\x01l\x02\x01x\x02yy\xff\xb7\x3e\x73\x3e\xf3\x0c\x34\x43";

    fn events(file: &[u8]) -> (Vec<Event>, Result<(), Error>) {
        let mut parser = Parser::new(Limits::default());
        parser.feed(file);
        let mut events = Vec::new();
        loop {
            match parser.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, parser.finish()),
                Err(error) => {
                    assert_eq!(parser.next_event(), Err(error.clone()), "the error stays");
                    assert_eq!(parser.finish(), Err(error.clone()));
                    return (events, Err(error));
                }
            }
        }
    }

    /// A file of version 4, which has no checksum.
    fn records(records: &[u8]) -> Vec<u8> {
        [b"REDIS0004", records].concat()
    }

    fn key(key: &'static str, byte: u8, expire_at_ms: Option<i64>) -> Event {
        let value_type = ValueType {
            byte,
            valkey: false,
        };
        let key = Bytes::from(key);
        let (idle_s, freq, has_metadata) = (None, None, false);
        Event::Key(Key {
            key,
            value_type,
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        })
    }

    #[test]
    fn reads_a_whole_file() {
        let aux = |name: &'static str, value: &'static str| Event::Aux {
            name: name.into(),
            value: value.into(),
        };
        let element =
            |text: &'static str| Event::Part(Part::ListElement(Element::Bytes(text.into())));
        let expected = [
            Event::Header(Header {
                valkey: false,
                version: 9,
            }),
            aux("redis-ver", "6.2.0"),
            aux("redis-bits", "64"),
            Event::SelectDb(Db(0)),
            Event::ResizeDb {
                keys: 2,
                expires: 1,
            },
            key("a", 0, Some(4_102_444_800_000)),
            Event::Part(Part::String(Element::Int(12345))),
            Event::ValueEnd,
            key("l", 1, None),
            element("x"),
            element("yy"),
            Event::ValueEnd,
            Event::End(Checksum::Verified),
        ];
        assert_eq!(events(FILE), (expected.to_vec(), Ok(())));
    }

    #[test]
    fn every_cut_off_file_is_truncated_where_it_ends() {
        for cut in 0..FILE.len() {
            let error = events(FILE.get(..cut).unwrap()).1.unwrap_err();
            assert_eq!(
                (error.kind, error.offset),
                (ErrorKind::Truncated, cut as u64)
            );
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        for at in 0..FILE.len() {
            let mut file = FILE.to_vec();
            file.get_mut(at).into_iter().for_each(|byte| *byte ^= 0x40);
            assert!(events(&file).1.is_err(), "byte {at}");
        }
    }

    #[test]
    fn attributes_belong_to_the_next_key_and_the_last_one_counts() {
        let seconds = b"\xfd\xff\xff\xff\xff\xfd\x05\0\0\0\x00\x01a\xc0\x01\x00\x01b\xc0\x01\xff";
        let (events, end) = events(&records(seconds));
        assert_eq!(end, Ok(()));
        let keys: Vec<_> = events
            .into_iter()
            .filter(|event| matches!(event, Event::Key(_)))
            .collect();
        assert_eq!(keys, [key("a", 0, Some(5000)), key("b", 0, None)]);
    }

    #[test]
    fn errors_say_where_they_are() {
        let header = Header {
            valkey: false,
            version: 4,
        };
        for (name, file, kind, offset, byte, in_key) in [
            (
                "type",
                &b"\x63\x01k"[..],
                unsupported(99, header),
                9,
                99,
                false,
            ),
            (
                "release candidate's module",
                b"\x06\x01k",
                unsupported(6, header),
                9,
                6,
                false,
            ),
            (
                "newer type",
                b"\x1b\x01k",
                unsupported(27, header),
                9,
                27,
                false,
            ),
            (
                "opcode",
                b"\xf2\x01",
                unsupported(242, header),
                9,
                242,
                false,
            ),
            (
                "db",
                b"\xfe\x81\x01\0\0\0\0\0\0\0",
                ErrorKind::Corrupt("impossible db"),
                19,
                254,
                false,
            ),
            (
                "in a value",
                b"\xfe\x03\x00\x01k\xc5",
                ErrorKind::Corrupt("no string begins with this byte"),
                14,
                0,
                true,
            ),
        ] {
            let error = events(&records(file)).1.unwrap_err();
            let place = (error.offset, error.byte, error.key.is_some());
            assert_eq!(
                (error.kind, place),
                (kind, (offset, Some(byte), in_key)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_follows_the_end_is_left() {
        let mut parser = Parser::new(Limits::default());
        parser.feed(FILE);
        parser.feed(b"mark");
        while parser.next_event().unwrap().is_some() {}
        parser.feed(b" and more");
        assert_eq!(parser.next_event(), Ok(None));
        assert_eq!(parser.offset(), FILE.len() as u64);
        assert_eq!(parser.take_rest(), &b"mark and more"[..]);
    }
}
