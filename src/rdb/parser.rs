//! The incremental parser: bytes in, events out, whatever the cut of the bytes.
//!
//! [`Input`] holds the bytes that have arrived and not been taken over, and sums those that have;
//! [`Records`] is the state machine over them. A step of it reads through a cursor: it yields an
//! event, changes state, or finds that bytes are missing, in which case the next one resumes at the
//! cursor's last commit. So every step may be repeated until it succeeds, and costs no more than
//! the item it reads.

use bytes::Bytes;

use super::cursor::Stop;
use super::error::{Error, ErrorKind};
use super::event::{Altitude, Event};
use super::input::Input;
use super::limits::Limits;
use super::records::{Records, State};
use super::section::Section;

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
    records: Records,
}

impl Parser {
    /// Begins before the first byte of an RDB.
    pub fn new(limits: Limits) -> Self {
        Self {
            input: Input::new(),
            section: None,
            inflated_by: 0,
            records: Records::new(limits),
        }
    }

    /// Reads also what is written with a version newer than those that are known, up to a byte
    /// that is not: what newer servers write is mostly what older ones do.
    #[must_use]
    pub fn with_newer_versions(mut self) -> Self {
        self.records.newer_versions = true;
        self
    }

    /// Delivers a string that fits one piece together with its key, as one [`Event::String`]. For
    /// whoever reads all strings as elements: one event costs less than three.
    #[must_use]
    pub fn joining_strings(mut self) -> Self {
        self.records.joins_strings = true;
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
            match &self.records.state {
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
            let stepped = self.records.step(&mut cursor);
            let (pos, committed) = (cursor.pos(), cursor.committed());
            match stepped {
                Ok(event) => {
                    let offset = self.input.offset();
                    self.take_over(pos);
                    if event.is_some() {
                        return Ok(event);
                    }
                    if let Some(section) = self.records.section.take() {
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
                self.records.state = State::Done;
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
            && matches!(self.records.state, State::Record)
        {
            self.section = None;
            self.records.in_section = false;
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
        match &mut self.records.state {
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
        match &self.records.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error.as_ref().clone()),
            _ => Err(self.records.error(ErrorKind::Truncated, self.input.end())),
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
        match self.records.state {
            State::Done => self.input.take_rest(),
            _ => Bytes::new(),
        }
    }

    #[cold]
    fn fail(&mut self, kind: ErrorKind, offset: u64) -> Error {
        let error = self.records.error(kind, offset);
        self.records.state = State::Failed(Box::new(error.clone()));
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Db;
    use crate::rdb::{Checksum, Element, Header, Key, Part, ValueType};

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
    fn strings_come_with_their_keys_where_that_is_asked_for() {
        let limits = Limits {
            chunk_bytes_max: 5,
            ..Limits::default()
        };
        let file = records(
            b"\xfc\x05\0\0\0\0\0\0\0\x00\x01a\x05short\x00\x01b\xc1\x39\x30\
              \x00\x01c\x06longer\x00\x00\x00\x01\x01l\x01\x01x\xff",
        );
        let string = |name, expire_at_ms, value| {
            let Event::Key(key) = key(name, 0, expire_at_ms) else {
                unreachable!("it makes keys");
            };
            Event::String { key, value }
        };
        let bytes = |text: &'static str| Element::Bytes(text.into());
        let expected = [
            string("a", Some(5), bytes("short")),
            string("b", None, Element::Int(12345)),
            key("c", 0, None),
            Event::Part(Part::StringStart { len: 6 }),
            Event::Part(Part::StringChunk("longe".into())),
            Event::Part(Part::StringChunk("r".into())),
            Event::ValueEnd,
            string("", None, bytes("")),
            key("l", 1, None),
            Event::Part(Part::ListElement(bytes("x"))),
            Event::ValueEnd,
            Event::End(Checksum::Absent),
        ];
        for cut in 0..=file.len() {
            let mut parser = Parser::new(limits).joining_strings();
            let mut found = Vec::new();
            let (left, right) = file.split_at(cut);
            for piece in [left, right] {
                parser.feed(piece);
                while let Some(event) = parser.next_event().unwrap() {
                    found.push(event);
                }
            }
            assert_eq!(found.get(1..), Some(&expected[..]), "cut at {cut}");
        }
    }

    #[test]
    fn a_string_that_is_wrong_is_named_as_ever() {
        let file = records(b"\x00\x01k\xc5");
        let errors = [false, true].map(|joins| {
            let parser = Parser::new(Limits::default());
            let mut parser = match joins {
                true => parser.joining_strings(),
                false => parser,
            };
            parser.feed(&file);
            loop {
                if let Err(error) = parser.next_event() {
                    return error;
                }
            }
        });
        let [apart, joined] = errors;
        assert_eq!(apart.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(joined, apart);

        let mut parser = Parser::new(Limits::default()).joining_strings();
        for (piece, key) in [
            (&b"REDIS0004\x00\x01k"[..], Some("k")),
            (b"\x05val", Some("k")),
            (b"ue", None),
            (b"\x00\x01l\x01", Some("l")),
        ] {
            parser.feed(piece);
            while parser.next_event().unwrap().is_some() {}
            let truncated = parser.finish().unwrap_err();
            assert_eq!(
                truncated.key.as_deref(),
                key.map(str::as_bytes),
                "{piece:?}"
            );
        }
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
                ErrorKind::unsupported(99, header),
                9,
                99,
                false,
            ),
            (
                "release candidate's module",
                b"\x06\x01k",
                ErrorKind::unsupported(6, header),
                9,
                6,
                false,
            ),
            (
                "a type of payloads",
                b"\x1d\x01k",
                ErrorKind::unsupported(29, header),
                9,
                29,
                false,
            ),
            (
                "newer type",
                b"\x21\x01k",
                ErrorKind::unsupported(33, header),
                9,
                33,
                false,
            ),
            (
                "opcode",
                b"\xf1\x01",
                ErrorKind::unsupported(241, header),
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
                ErrorKind::unsupported(242, header),
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
