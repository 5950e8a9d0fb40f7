//! The lines of keys, and their way out.

use bytes::{Bytes, BytesMut};

use crate::{
    dump::{
        Output, OutputError,
        byte_string::{push_bytes, push_text},
        encoding::{Encodings, Holder, encoding_name},
    },
    keyspace::Db,
    rdb::{Element, Event, Key, KeyType, MetadataClass, Part, module_name},
};

use super::{
    nest::{Bracket, Nest, ScopeKind},
    string::Cuts,
    value::{push_element, push_int, push_part, push_vector, push_vector_set},
};

/// So many bytes are gathered before they are passed on.
const GATHERED_BYTES: usize = 256 << 10;

/// The shortest part that is made: it holds what a module's value says first, its name.
const CHUNK_BYTES_MIN: usize = 16;

/// Text on its way out.
pub(super) struct Lines<'a> {
    output: &'a mut Output,
    text: Vec<u8>,
    passed_bytes: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(output: &'a mut Output) -> Lines<'a> {
        Lines {
            output,
            text: Vec::new(),
            passed_bytes: 0,
        }
    }

    /// Where to append.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// How many bytes were appended, from the first on.
    fn position(&self) -> usize {
        self.passed_bytes.wrapping_add(self.text.len())
    }

    /// Passes on what was gathered, once it is enough.
    pub(super) fn relieve(&mut self) -> Result<(), OutputError> {
        match self.text.len() >= GATHERED_BYTES {
            true => self.finish(),
            false => Ok(()),
        }
    }

    /// Passes on what was gathered.
    pub(super) fn finish(&mut self) -> Result<(), OutputError> {
        self.output.put(&self.text)?;
        self.passed_bytes = self.passed_bytes.wrapping_add(self.text.len());
        self.text.clear();
        // One long element is no reason to keep its room.
        self.text.shrink_to(2 * GATHERED_BYTES);
        Ok(())
    }
}

/// Writes the lines of one key after the other.
pub(super) struct KeyLines {
    chunk_bytes: usize,
    written: u64,
    /// What every line of the key begins with.
    head: Vec<u8>,
    /// What the first line has beside it.
    attributes: Vec<u8>,
    /// What stood before the key and goes there too.
    before: Vec<u8>,
    key_type: KeyType,
    holder: Holder,
    encodings: Encodings,
    /// The value comes as its body.
    is_opaque: bool,
    /// Components of the vectors in a vector set.
    dimensions: usize,
    part: u64,
    /// Where the value in the line begins, while a line is open.
    value_start: Option<usize>,
    nest: Nest,
    cuts: Cuts,
    /// Bytes of a long string that are still to come.
    string_left: u64,
    is_module: bool,
    /// Bytes of a value that has no parts, up to a line of them.
    body: BytesMut,
}

impl KeyLines {
    pub(super) fn new(chunk_bytes: usize) -> KeyLines {
        KeyLines {
            chunk_bytes: chunk_bytes.max(CHUNK_BYTES_MIN),
            written: 0,
            head: Vec::new(),
            attributes: Vec::new(),
            before: Vec::new(),
            key_type: KeyType::String,
            holder: Holder::default(),
            encodings: Encodings::default(),
            is_opaque: false,
            dimensions: 0,
            part: 0,
            value_start: None,
            nest: Nest::default(),
            cuts: Cuts::default(),
            string_left: 0,
            is_module: false,
            body: BytesMut::new(),
        }
    }

    /// How many keys were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes note of what is said about the server that wrote the RDB.
    pub(super) fn note(&mut self, event: &Event) {
        self.encodings.event(event);
    }

    /// Begins a key; its value follows.
    pub(super) fn begin(&mut self, db: Db, key: Key) {
        self.key_type = KeyType::of(key.value_type);
        self.is_opaque = key.value_type.is_opaque();
        self.part = 0;
        self.is_module = self.key_type == KeyType::Module;
        self.holder = Holder {
            key_len: key.key.len() as u64,
            expires: key.expire_at_ms.is_some(),
        };
        let head = &mut self.head;
        head.clear();
        head.extend_from_slice(b"{\"kind\":\"key\",\"db\":");
        push_int(head, db.0);
        head.extend_from_slice(b",\"key\":");
        push_bytes(head, &key.key);
        head.extend_from_slice(b",\"type\":\"");
        head.extend_from_slice(self.key_type.name().as_bytes());
        head.push(b'"');
        let attributes = &mut self.attributes;
        attributes.clear();
        attributes.extend_from_slice(b",\"rdb_type\":");
        push_int(attributes, key.value_type.byte);
        if let Some(name) = encoding_name(key.value_type) {
            attributes.extend_from_slice(b",\"encoding\":\"");
            attributes.extend_from_slice(name.as_bytes());
            attributes.push(b'"');
        }
        for (name, value) in [
            ("expire_at_ms", key.expire_at_ms),
            ("idle_s", key.idle_s.map(|idle| idle as i64)),
            ("freq", key.freq.map(i64::from)),
        ] {
            if let Some(value) = value {
                attributes.extend_from_slice(b",\"");
                attributes.extend_from_slice(name.as_bytes());
                attributes.extend_from_slice(b"\":");
                push_int(attributes, value);
            }
        }
        attributes.append(&mut self.before);
    }

    /// What modules keep beside the next key.
    pub(super) fn metadata(&mut self, classes: &[MetadataClass]) {
        let names: Vec<_> = classes.iter().map(|class| class.name.as_str()).collect();
        self.before.extend_from_slice(b",\"metadata\":");
        serde_json::to_writer(&mut self.before, &names).expect("a vector takes everything");
    }

    /// How Dragonfly marks the next key.
    pub(super) fn flags(&mut self, sticky: bool, memcached_flags: Option<u32>) {
        if sticky {
            self.before.extend_from_slice(b",\"sticky\":true");
        }
        if let Some(flags) = memcached_flags {
            self.before.extend_from_slice(b",\"memcached_flags\":");
            push_int(&mut self.before, flags);
        }
    }

    /// The next part of the value.
    pub(super) fn part(&mut self, lines: &mut Lines<'_>, part: Part) -> Result<(), OutputError> {
        match part {
            Part::String(element) => {
                let bytes = element.to_bytes();
                let name = self.encodings.string(self.holder, &bytes);
                self.string_encoding(name);
                self.open(lines);
                push_element(&mut lines.text, &Element::Bytes(bytes));
            }
            Part::StringStart { len } => {
                self.string_left = len;
                let name = self.encodings.text(self.holder, len);
                self.string_encoding(name);
            }
            Part::StringChunk(bytes) => {
                self.string_left = self.string_left.saturating_sub(bytes.len() as u64);
                let bytes = self.cuts.next(bytes, self.string_left == 0);
                self.piece(lines, &bytes);
            }
            Part::Json(text) => {
                self.open(lines);
                push_bytes(&mut lines.text, &text);
            }
            Part::VectorSet(set) => {
                self.is_opaque = false;
                push_vector_set(&mut self.attributes, &set);
                self.dimensions = usize::try_from(set.dimensions).unwrap_or(usize::MAX);
            }
            Part::Vector(vector) => {
                self.begin_element(lines);
                push_vector(&mut self.nest, &mut lines.text, &vector, self.dimensions);
            }
            Part::ArrayStart { insert_cursor } => {
                if let Some(index) = insert_cursor {
                    self.attributes.extend_from_slice(b",\"insert_cursor\":");
                    push_int(&mut self.attributes, index);
                }
            }
            part => {
                self.begin_element(lines);
                push_part(&mut self.nest, &mut lines.text, &part);
            }
        }
        lines.relieve()
    }

    /// The next bytes of a value that has no parts. They are gathered, so that the parts are the
    /// same however the input was cut.
    pub(super) fn body_piece(
        &mut self,
        lines: &mut Lines<'_>,
        bytes: &[u8],
    ) -> Result<(), OutputError> {
        self.body.extend_from_slice(bytes);
        while self.body.len() > self.chunk_bytes {
            let part = self.body.split_to(self.chunk_bytes).freeze();
            self.body_part(lines, part);
            lines.relieve()?;
        }
        Ok(())
    }

    fn body_part(&mut self, lines: &mut Lines<'_>, part: Bytes) {
        if let (true, Some(name)) = (self.is_module && self.part == 0, module_name(&part)) {
            self.attributes.extend_from_slice(b",\"module\":");
            push_text(&mut self.attributes, &name);
        }
        self.piece(lines, &part);
    }

    /// Ends the value.
    pub(super) fn end(&mut self, lines: &mut Lines<'_>) -> Result<(), OutputError> {
        if !self.body.is_empty() {
            let part = self.body.split().freeze();
            self.body_part(lines, part);
        }
        if self.value_start.is_none() {
            self.open(lines);
            if self.is_text() {
                lines.text.extend_from_slice(b"\"\"");
            }
        }
        self.nest.close(&mut lines.text);
        self.nest = Nest::default();
        self.end_line(lines, true);
        self.written += 1;
        lines.relieve()
    }

    /// Goes to where the next element stands, in a new line where the last one is long enough.
    fn begin_element(&mut self, lines: &mut Lines<'_>) {
        if self.is_full(lines) {
            self.split(lines);
        } else if self.value_start.is_none() {
            self.open(lines);
        }
    }

    fn string_encoding(&mut self, name: &str) {
        self.attributes.extend_from_slice(b",\"encoding\":\"");
        self.attributes.extend_from_slice(name.as_bytes());
        self.attributes.push(b'"');
    }

    /// Writes a piece of a string as a part of its own.
    fn piece(&mut self, lines: &mut Lines<'_>, bytes: &[u8]) {
        if self.value_start.is_some() {
            self.end_line(lines, false);
        }
        self.open(lines);
        push_bytes(&mut lines.text, bytes);
    }

    /// Whether the value is a byte string.
    fn is_text(&self) -> bool {
        self.is_opaque || matches!(self.key_type, KeyType::String | KeyType::Json)
    }

    fn is_full(&self, lines: &Lines<'_>) -> bool {
        let start = self.value_start;
        start.is_some_and(|start| lines.position().wrapping_sub(start) >= self.chunk_bytes)
    }

    /// Begins a line, with the brackets of the value.
    fn open(&mut self, lines: &mut Lines<'_>) {
        lines.text.extend_from_slice(&self.head);
        if self.part == 0 {
            lines.text.extend_from_slice(&self.attributes);
        }
        lines.text.extend_from_slice(b",\"value\":");
        self.value_start = Some(lines.position());
        let text = &mut lines.text;
        match self.key_type {
            _ if self.is_text() => {}
            KeyType::Other if self.part == 0 => self.nest.begin(text, Bracket::Object),
            _ if self.part > 0 => self.nest.reopen(text),
            KeyType::Stream => {
                self.nest.begin(text, Bracket::Object);
                let (kind, open) = (ScopeKind::Entries, Bracket::Array);
                self.nest.open(text, kind, open, "entries");
            }
            _ => self.nest.begin(text, Bracket::Array),
        }
    }

    fn split(&mut self, lines: &mut Lines<'_>) {
        self.nest.close(&mut lines.text);
        self.end_line(lines, false);
        self.open(lines);
    }

    fn end_line(&mut self, lines: &mut Lines<'_>, is_last: bool) {
        lines.text.extend_from_slice(b",\"part\":");
        push_int(&mut lines.text, self.part);
        let last: &[u8] = if is_last {
            b",\"last\":true}\n"
        } else {
            b",\"last\":false}\n"
        };
        lines.text.extend_from_slice(last);
        self.part += 1;
        self.value_start = None;
    }
}
