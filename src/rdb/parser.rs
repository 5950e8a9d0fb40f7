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
use super::dragonfly::{Found, Record};
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Event, Family, Header, Key, ValueType};
use super::header;
use super::input::Input;
use super::keydb::MemberExpiry;
use super::limits::Limits;
use super::metadata::KeyMeta;
use super::opcode;
use super::reading::Reading;
use super::section::Section;
use super::slots::SlotImport;
use super::template::{Definition, Templates};
use super::value::function::PreGaFunction;
use super::value::module;
use super::value::template_hash::template_id;
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
    /// Read before the input goes on.
    section: Option<Section>,
    /// By how much the records that were read are longer than their place in the input: what stood
    /// in sections is.
    inflated_by: i64,
    core: Core,
}

impl Parser {
    /// Begins before the first byte of an RDB.
    pub fn new(limits: Limits) -> Self {
        Self {
            input: Input::new(),
            section: None,
            inflated_by: 0,
            core: Core::new(limits),
        }
    }

    /// Reads also what is written with a version newer than those that are known, up to a byte
    /// that is not: what newer servers write is mostly what older ones do.
    #[must_use]
    pub fn with_newer_versions(mut self) -> Self {
        self.core.newer_versions = true;
        self
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
            self.leave_section();
            match &self.core.state {
                State::Done => return Ok(None),
                State::Failed(error) => return Err(error.as_ref().clone()),
                State::Trailer { checksum } => {
                    let checksum = *checksum;
                    return self.trailer(checksum);
                }
                _ => {}
            }
            let mut cursor = match &self.section {
                None => self.input.cursor(),
                Some(section) => section.cursor(),
            };
            let stepped = self.core.step(&mut cursor);
            let (pos, committed) = (cursor.pos(), cursor.committed());
            match stepped {
                Ok(event) => {
                    let offset = self.input.offset();
                    self.take_over(pos);
                    if event.is_some() {
                        return Ok(event);
                    }
                    if let Some(section) = self.core.section.take() {
                        self.inflated_by -= (self.input.offset() - offset).cast_signed();
                        self.section = Some(section);
                    }
                }
                Err(stop) => match self.section_stop(stop) {
                    Stop::More => {
                        self.input.take_over(committed);
                        return Ok(None);
                    }
                    Stop::Bad { kind, offset } => return Err(self.fail(kind, offset)),
                },
            }
        }
    }

    /// Compares the checksum, if there is one.
    fn trailer(&mut self, present: bool) -> Result<Option<Event>, Error> {
        // Everything up to here is covered by the checksum, what follows is not.
        self.input.sum();
        let mut cursor = self.input.cursor();
        match self.input.check(present, &mut cursor) {
            Ok(checksum) => {
                let pos = cursor.pos();
                self.input.take_over(pos);
                self.core.state = State::Done;
                Ok(Some(Event::End(checksum)))
            }
            Err(Stop::More) => Ok(None),
            Err(Stop::Bad { kind, offset }) => Err(self.fail(kind, offset)),
        }
    }

    fn take_over(&mut self, pos: usize) {
        match &mut self.section {
            None => self.input.take_over(pos),
            Some(section) => self.inflated_by += section.take_over(pos) as i64,
        }
    }

    /// Goes on behind a section whose records were all read.
    fn leave_section(&mut self) {
        if let Some(section) = &self.section
            && section.is_over()
            && matches!(self.core.state, State::Record)
        {
            self.section = None;
            self.core.in_section = false;
        }
    }

    fn section_stop(&self, stop: Stop) -> Stop {
        match &self.section {
            None => stop,
            Some(section) => section.stop(stop),
        }
    }

    /// Chooses how deep to look into the value of the key that was the last event, or whose
    /// [`Event::Measured`] was.
    ///
    /// Without a choice it is [`Altitude::Elements`]. At any other time this does nothing.
    pub fn choose(&mut self, altitude: Altitude) {
        match &mut self.core.state {
            State::Value(reading) => reading.choose(altitude),
            State::TemplateHash {
                altitude: chosen, ..
            } => *chosen = altitude,
            _ => {}
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

    /// How many bytes the records that were read have, with those of compressed sections counted as
    /// they are inflated: a distance between two records is their size wherever they stand.
    pub fn position(&self) -> u64 {
        self.input.offset().saturating_add_signed(self.inflated_by)
    }

    /// Takes what was fed behind [`Event::End`]: these bytes belong to whoever reads next, a mark
    /// or a stream of commands. Before the end there is nothing to take.
    pub fn take_rest(&mut self) -> Bytes {
        match self.core.state {
            State::Done => self.input.take_rest(),
            _ => Bytes::new(),
        }
    }

    #[cold]
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
    /// Whether versions newer than those that are known are read.
    newer_versions: bool,
    /// Whose type bytes these are.
    family: Family,
    templates: Templates,
    member_expiry: MemberExpiry,
    /// A section that was inflated and is to be read next.
    section: Option<Section>,
    in_section: bool,
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
            newer_versions: false,
            family: Family::Redis,
            templates: Templates::default(),
            member_expiry: MemberExpiry::default(),
            section: None,
            in_section: false,
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
    #[inline]
    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
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
                        kind: unsupported(byte, self.header),
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
        let Attributes {
            expire_at_ms,
            idle_s,
            freq,
            has_metadata,
        } = std::mem::take(&mut self.attributes);
        self.key = Some(key.clone());
        self.state = match value_type.needs_template() {
            false => State::Value(Reading::new(value_type)),
            true => State::TemplateHash {
                value_type,
                altitude: Altitude::Elements,
            },
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

pub(crate) fn unsupported(byte: u8, header: Header) -> ErrorKind {
    if opcode::is_opcode(byte) {
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
        let value_type = ValueType::common(byte);
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
                "a type of payloads",
                b"\x1d\x01k",
                unsupported(29, header),
                9,
                29,
                false,
            ),
            (
                "newer type",
                b"\x21\x01k",
                unsupported(33, header),
                9,
                33,
                false,
            ),
            (
                "opcode",
                b"\xf1\x01",
                unsupported(241, header),
                9,
                241,
                false,
            ),
            (
                "opcode of a fork",
                b"\x65\x01",
                ErrorKind::UnsupportedOpcode { byte: 101, header },
                9,
                101,
                false,
            ),
            (
                "template before its time",
                b"\xf2\x01",
                unsupported(242, header),
                9,
                242,
                false,
            ),
            (
                "member without a key",
                b"\xfa\x14keydb-subexpire-when\x015",
                ErrorKind::Corrupt("the expiry of a member names no member of a key"),
                33,
                250,
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
