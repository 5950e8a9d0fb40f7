//! What a value says in 128 bits, whatever server wrote it and however it is stored.
//!
//! ```text
//!  strings, lists, entries of streams ──► hashed in their order ────────┐
//!  members, fields, groups, consumers ──► each hashed, and added up ────┼──► hashed together
//!                                         how many there are, what type ┘
//! ```
//!
//! Two values that count as different ([`compare`](crate::verify::compare)) have different digests,
//! chance apart. Two that count as the same have the same one, with exceptions that
//! `docs/verify.md` lists: such a key is read again, and found to be equal. Whoever knows the seed
//! could make two values of one digest, so it is drawn anew for each verification.
//!
//! What not every server knows, counters of streams for one, stands beside the digest: it counts
//! where both sides know it.

use bytes::BytesMut;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128_with_seed};

use crate::{
    keyspace::{StreamId, UnixMs},
    rdb::{
        Element, Event, Header, KeyType, Limits, ModuleItem, ModuleItems, Part, Quantization,
        StreamGroup, StreamMeta, StreamPending, ValueType, Vector, VectorSet,
    },
    sink::Hold,
    verify::{
        Side,
        compare::{Rules, registers, stream::ENTRIES_READ_VERSION_MIN},
        plan::Depth,
    },
};

/// The value of a module is taken apart up to this length; a longer one counts by its bytes.
const MODULE_BYTES_MAX: usize = 1 << 20;

/// The most words that are hashed together.
const WORDS_MAX: usize = 8;

/// How many things there are that not every server knows.
pub(super) const PARTIAL: usize = 3;
/// Entries ever added, greatest id deleted (7.0).
const COUNTERS: usize = 0;
/// Entries read by the groups.
const ENTRIES_READ: usize = 1;
/// How repetitions are recognised (Redis 8.6).
const IDEMPOTENCY: usize = 2;

/// What a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    /// All that every server knows.
    pub(super) content: u128,
    /// `None` where the server does not know it, or the value has no such thing.
    pub(super) partial: [Option<u64>; PARTIAL],
}

impl Digest {
    /// Whether two values say the same, as far as both sides know it.
    pub(super) fn is_same(&self, other: &Digest) -> bool {
        let differs = |(one, other): (&Option<u64>, &Option<u64>)| match (one, other) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        };
        self.content == other.content && !self.partial.iter().zip(&other.partial).any(differs)
    }
}

/// Tells what is hashed from other things of the same words.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Tag {
    Value,
    Member,
    Score,
    Field,
    Group,
    Consumer,
    Pending,
    GivenBack,
    Lost,
    ArrayElement,
    Vector,
    Item,
    Settings,
}

/// Takes the content of values and makes digests of them.
pub(super) struct Digester {
    side: Side,
    rules: Rules,
    depth: Depth,
    seed: u64,
    /// Whether what the server says of entries read is up to date everywhere.
    knows_entries_read: bool,
    value: Value,
    ordered: Xxh3,
}

/// The value that is being read, beside what was hashed in order.
#[derive(Debug)]
struct Value {
    key_type: KeyType,
    /// What of a type of others tells it from the rest: its type byte.
    byte: u8,
    sum: u128,
    count: u64,
    /// Whatever the other side has, this one has to be looked at.
    is_odd: bool,
    is_hyperloglog: bool,
    partial: [Option<u64>; PARTIAL],
    /// Of a stream: the last group and consumer.
    group: u128,
    consumer: u128,
    /// Of a module, or of Dragonfly: the body as far as it was gathered.
    body: BytesMut,
    body_is_long: bool,
}

impl Value {
    fn new(value_type: ValueType) -> Value {
        Value {
            key_type: KeyType::of(value_type),
            byte: value_type.byte,
            sum: 0,
            count: 0,
            is_odd: false,
            is_hyperloglog: false,
            partial: [None; PARTIAL],
            group: 0,
            consumer: 0,
            body: BytesMut::new(),
            body_is_long: false,
        }
    }
}

impl Digester {
    pub(super) fn new(side: Side, rules: Rules, depth: Depth, seed: u64) -> Digester {
        Digester {
            side,
            rules,
            depth,
            seed,
            knows_entries_read: false,
            value: Value::new(ValueType::common(0)),
            ordered: Xxh3::with_seed(seed),
        }
    }

    /// Takes the first bytes of the RDB that values come from.
    pub(super) fn header(&mut self, header: Header) {
        // Whether the target's are up to date does not matter if the source's are.
        self.knows_entries_read =
            self.side == Side::Target || header.version >= ENTRIES_READ_VERSION_MIN;
    }

    /// Begins a value.
    pub(super) fn begin(&mut self, value_type: ValueType) {
        self.value = Value::new(value_type);
        self.ordered.reset();
    }

    /// Takes the next of the events of the value.
    pub(super) fn feed(&mut self, event: Event) {
        match event {
            Event::Part(part) => self.part(part),
            Event::BodyPiece(piece) => self.body(&piece),
            _ => {}
        }
    }

    /// The digest of the value, which is complete.
    pub(super) fn end(&mut self) -> Digest {
        if matches!(self.value.key_type, KeyType::Module | KeyType::Other) {
            self.opaque();
        }
        let value = &self.value;
        let byte = match value.key_type {
            KeyType::Other => value.byte,
            _ => 0,
        };
        let flags = u128::from(value.is_hyperloglog) | u128::from(byte) << 8;
        let odd = match value.is_odd {
            true => u128::MAX,
            false => 0,
        };
        let head = [value.key_type as u128, flags, value.count.into()];
        let [key_type, flags, count] = head;
        let words = match self.depth {
            Depth::Full => [
                key_type,
                flags,
                count,
                self.ordered.digest128(),
                value.sum,
                odd,
            ],
            Depth::Metadata => [key_type, 0, count, 0, 0, 0],
            Depth::Existence => [0; 6],
        };
        Digest {
            content: self.words(Tag::Value, &words),
            partial: match self.depth {
                Depth::Full => value.partial,
                Depth::Metadata | Depth::Existence => [None; PARTIAL],
            },
        }
    }

    fn part(&mut self, part: Part) {
        match part {
            Part::String(element) => self.string(&element),
            Part::StringStart { .. } => {}
            Part::StringChunk(bytes) => {
                self.value.count += bytes.len() as u64;
                self.ordered.update(&bytes);
            }
            Part::ListElement(element) => {
                let hash = self.element(&element);
                self.value.count += 1;
                self.in_order(&[hash]);
            }
            Part::SetMember(member) => {
                let hash = self.element(&member);
                self.add(hash);
            }
            Part::ExpiringSetMember {
                member,
                expire_at_ms,
            } => self.member(Tag::Member, &[&member], Some(expire_at_ms)),
            Part::ZsetMember { member, score } => {
                // Servers drop the sign of -0 when they pack a sorted set.
                let score = if score == 0.0 { 0.0 } else { score };
                let words = [self.element(&member), score.to_bits().into()];
                self.add(self.words(Tag::Score, &words));
            }
            Part::HashField {
                field,
                value,
                expire_at_ms,
            } => self.member(Tag::Field, &[&field, &value], expire_at_ms),
            Part::ArrayStart { insert_cursor } => self.in_order(&[optional(insert_cursor)]),
            Part::ArrayElement { index, value } => {
                let words = [index.into(), self.element(&value)];
                self.add(self.words(Tag::ArrayElement, &words));
            }
            Part::VectorSet(settings) => self.vector_set(&settings),
            Part::Vector(vector) => self.vector(&vector),
            Part::Json(document) => self.json(&document),
            Part::CronJob {
                script,
                start_at_ms,
                interval_ms,
            } => {
                let words = [
                    self.bytes(&script),
                    signed(start_at_ms),
                    signed(interval_ms),
                ];
                self.in_order(&words);
            }
            Part::CronKey(bytes) => {
                let words = [0, self.bytes(&bytes)];
                self.in_order(&words);
            }
            Part::CronArgument(bytes) => {
                let words = [1, self.bytes(&bytes)];
                self.in_order(&words);
            }
            part => self.stream(part),
        }
    }

    fn string(&mut self, element: &Element) {
        let mut digits = itoa::Buffer::new();
        let bytes = match element {
            Element::Bytes(bytes) => &bytes[..],
            Element::Int(value) => digits.format(*value).as_bytes(),
        };
        match registers(bytes) {
            Some(registers) => {
                self.value.is_hyperloglog = true;
                self.ordered.update(bytes.get(5..8).unwrap_or_default());
                self.ordered.update(&registers);
            }
            None => {
                self.value.count = bytes.len() as u64;
                self.ordered.update(bytes);
            }
        }
    }

    /// Adds a member or field, unless it has expired.
    fn member(&mut self, tag: Tag, elements: &[&Element], expire_at_ms: Option<UnixMs>) {
        let is_gone = match self.side {
            Side::Source => self.rules.source_field_is_past(expire_at_ms),
            Side::Target => self.rules.target_field_is_past(expire_at_ms),
        };
        if is_gone {
            return;
        }
        let is_held = self.side == Side::Target && self.rules.releases_held;
        let released = expire_at_ms.and_then(Hold::release_field);
        let expire_at_ms = released.filter(|_| is_held).or(expire_at_ms);
        let expiry = optional(expire_at_ms.map(i64::cast_unsigned));
        let mut words = [0, 0, expiry];
        let hashes = elements.iter().map(|element| self.element(element));
        for (word, hash) in words.iter_mut().zip(hashes.take(2)) {
            *word = hash;
        }
        self.add(self.words(tag, &words));
    }

    fn stream(&mut self, part: Part) {
        match part {
            Part::StreamEntry { id, fields } => {
                self.value.count += 1;
                self.in_order(&[of_id(id), fields.len() as u128]);
                for (field, value) in &fields {
                    let words = [self.element(field), self.element(value)];
                    self.in_order(&words);
                }
            }
            Part::StreamMeta(meta) => self.counters(&meta),
            Part::StreamGroup(group) => self.group(&group),
            Part::StreamConsumer(consumer) => {
                self.value.consumer = self.bytes(&consumer.name);
                let words = [self.value.group, self.value.consumer];
                self.add_up(self.words(Tag::Consumer, &words));
            }
            Part::StreamPending(pending) => self.pending(Tag::Pending, &pending),
            Part::StreamNacked(pending) => self.pending(Tag::GivenBack, &pending),
            Part::StreamUnowned(pending) => self.pending(Tag::Lost, &pending),
            Part::StreamIdempotency(settings) => {
                let words = [settings.duration_s.into(), settings.entries_max.into()];
                let settings = self.words(Tag::Settings, &words) as u64;
                self.put(IDEMPOTENCY, settings);
            }
            // What servers forget by themselves, and bugs of the server that wrote it.
            _ => {}
        }
    }

    fn counters(&mut self, meta: &StreamMeta) {
        self.in_order(&[of_id(meta.last_id)]);
        // Old servers count wrongly by a bug. A target that counts rightly is no worse.
        self.value.is_odd = self.side == Side::Target && meta.length != self.value.count;
        if let (Some(added), Some(deleted)) = (meta.entries_added, meta.max_deleted_id) {
            let words = [added.into(), of_id(deleted)];
            let counters = self.words(Tag::Settings, &words) as u64;
            self.put(COUNTERS, counters);
            if self.knows_entries_read {
                self.put(ENTRIES_READ, 0);
            }
        }
    }

    fn group(&mut self, group: &StreamGroup) {
        let name = self.bytes(&group.name);
        self.value.group = name;
        self.add_up(self.words(Tag::Group, &[name, of_id(group.last_id)]));
        let read = self.words(Tag::Settings, &[name, optional(group.entries_read)]) as u64;
        if let Some(sum) = self
            .value
            .partial
            .get_mut(ENTRIES_READ)
            .and_then(Option::as_mut)
        {
            *sum = sum.wrapping_add(read);
        }
    }

    fn pending(&mut self, tag: Tag, pending: &StreamPending) {
        let owner = match tag {
            Tag::Pending => self.value.consumer,
            _ => 0,
        };
        let words = [
            self.value.group,
            owner,
            of_id(pending.id),
            signed(pending.delivered_at_ms),
            pending.delivery_count.into(),
        ];
        self.add_up(self.words(tag, &words));
    }

    fn vector_set(&mut self, settings: &VectorSet) {
        let quantization = match settings.quantization {
            Quantization::None => 0,
            Quantization::Int8 => 1,
            Quantization::Binary => 2,
        };
        self.in_order(&[
            settings.dimensions.into(),
            quantization,
            settings.links_max.into(),
            optional(settings.input_dimensions),
        ]);
    }

    fn vector(&mut self, vector: &Vector) {
        let attributes = vector.attributes.as_ref();
        let words = [
            self.bytes(&vector.element),
            u128::from(attributes.is_some()),
            attributes.map_or(0, |text| self.bytes(text)),
            self.bytes(&vector.blob),
            vector.norm.to_bits().into(),
            vector.range.to_bits().into(),
        ];
        self.add(self.words(Tag::Vector, &words));
    }

    /// Whatever the order of its members and the blanks between them.
    fn json(&mut self, document: &[u8]) {
        match serde_json::from_slice::<serde_json::Value>(document) {
            Ok(value) => self.ordered.update(value.to_string().as_bytes()),
            Err(_) => self.ordered.update(document),
        }
    }

    /// Gathers the body of a value that may be taken apart at its end.
    fn body(&mut self, piece: &[u8]) {
        let value = &mut self.value;
        if !value.body_is_long && value.body.len() + piece.len() <= MODULE_BYTES_MAX {
            value.body.extend_from_slice(piece);
            return;
        }
        value.body_is_long = true;
        self.ordered.update(&value.body.split());
        self.ordered.update(piece);
    }

    /// By the items of a module, since servers compress the strings among them or do not.
    fn opaque(&mut self) {
        let body = self.value.body.split().freeze();
        if self.value.body_is_long || body.is_empty() {
            return;
        }
        let items = || -> Option<Vec<ModuleItem>> {
            let mut items = ModuleItems::new(body.clone(), Limits::default()).ok()?;
            let mut found = Vec::new();
            while let Some(item) = items.next_item().ok()? {
                found.push(item);
            }
            Some(found)
        };
        match items().filter(|_| self.value.key_type == KeyType::Module) {
            None => self.ordered.update(&body),
            Some(items) => {
                // The id, which is always a length of 64 bits.
                self.ordered.update(body.get(..9).unwrap_or_default());
                for item in &items {
                    let word = self.item(item);
                    self.in_order(&[word]);
                }
            }
        }
    }

    fn item(&self, item: &ModuleItem) -> u128 {
        let (kind, word) = match item {
            // Servers write signed integers as unsigned ones, too.
            ModuleItem::Signed(number) => (0, number.cast_unsigned().into()),
            ModuleItem::Unsigned(number) => (0, (*number).into()),
            ModuleItem::Float(number) => (1, number.to_bits().into()),
            ModuleItem::Double(number) => (2, number.to_bits().into()),
            ModuleItem::String(bytes) => (3, self.bytes(bytes)),
        };
        self.words(Tag::Item, &[kind, word])
    }

    /// Adds one of the things that the value has so many of.
    fn add(&mut self, hash: u128) {
        self.value.count += 1;
        self.add_up(hash);
    }

    fn add_up(&mut self, hash: u128) {
        self.value.sum = self.value.sum.wrapping_add(hash);
    }

    fn put(&mut self, at: usize, digest: u64) {
        if let Some(partial) = self.value.partial.get_mut(at) {
            *partial = Some(digest);
        }
    }

    fn in_order(&mut self, words: &[u128]) {
        for word in words {
            self.ordered.update(&word.to_le_bytes());
        }
    }

    fn element(&self, element: &Element) -> u128 {
        match element {
            Element::Bytes(bytes) => self.bytes(bytes),
            Element::Int(value) => self.bytes(itoa::Buffer::new().format(*value).as_bytes()),
        }
    }

    fn bytes(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.seed)
    }

    fn words(&self, tag: Tag, words: &[u128]) -> u128 {
        debug_assert!(words.len() <= WORDS_MAX);
        let mut buffer = [0; 16 * WORDS_MAX + 1];
        let (rooms, _) = buffer.as_chunks_mut::<16>();
        for (room, word) in rooms.iter_mut().zip(words) {
            *room = word.to_le_bytes();
        }
        let len = 16 * words.len();
        if let Some(last) = buffer.get_mut(len) {
            *last = tag as u8;
        }
        self.bytes(buffer.get(..=len).unwrap_or(&buffer))
    }
}

/// 64 bits of a key's name: where its records are kept, and what it is known by.
pub(in crate::verify) fn spread(seed: u64, db: u32, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed ^ u64::from(db).rotate_left(32))
}

fn of_id(id: StreamId) -> u128 {
    u128::from(id.ms) << 64 | u128::from(id.seq)
}

fn signed(number: i64) -> u128 {
    number.cast_unsigned().into()
}

/// A number that may be missing: none of 64 bits is what nothing is.
fn optional(number: Option<u64>) -> u128 {
    number.map_or(u128::MAX, u128::from)
}

#[cfg(test)]
mod tests;
