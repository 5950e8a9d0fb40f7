//! What the parser makes of an RDB: the events it emits and the words they are made of.

use bytes::Bytes;

use crate::keyspace::{Db, StreamId, UnixMs};

use super::loss::Loss;
use super::packed::Encoding;

/// How deep the parser looks into a value; chosen per key, paid for only where asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Altitude {
    /// The body as it stands in the file, for RESTORE: one [`Event::Body`] and nothing else.
    ///
    /// A body longer than `bytes_max` is delivered as [`Altitude::Elements`] from its first
    /// element on, except for values without elements ([`ValueType::is_opaque`]): those are
    /// delivered whole up to `Limits::module_body_max`, beyond which they are an error. A body
    /// that says nothing by itself ([`ValueType::needs_template`]) always comes as elements.
    /// What is inside packed or compressed blobs is not looked at.
    Raw {
        /// The longest body, in bytes, that is delivered in one piece.
        bytes_max: usize,
    },
    /// The body as it stands in the file, however long: [`Event::BodyPiece`]s as its bytes
    /// arrive, closed by [`Event::ValueEnd`]. Nothing is gathered; where the pieces end depends on
    /// how the input was cut. What is inside packed or compressed blobs is not looked at. A body
    /// that says nothing by itself ([`ValueType::needs_template`]) comes as elements.
    Pieces,
    /// What is stored: [`Event::Blob`]s where a collection is kept packed, inflated but not
    /// walked, and [`Event::Part`]s of everything else, closed by [`Event::ValueEnd`].
    ///
    /// The nodes of a stream, which say nothing without each other, come as parts. What has no
    /// elements has neither: an error.
    Encoded,
    /// The logical content: [`Event::Part`]s, closed by [`Event::ValueEnd`]. The value of a
    /// module (vector sets excepted) and some of Dragonfly's have none: an error.
    Elements,
    /// Whatever can be said: [`Altitude::Elements`], or [`Altitude::Pieces`] of a value that has
    /// none.
    Content,
    /// How long the body is: one [`Event::Measured`], after which the value is still to be read,
    /// at an altitude that is chosen then.
    ///
    /// The body is held until its end is found, or until it is known to be longer.
    Measure {
        /// The longest body, in bytes, that is measured.
        bytes_max: usize,
    },
    /// The body written as another type: [`Event::BodyPiece`]s, then [`Event::Lost`] for each
    /// kind of thing that type has no place for, closed by [`Event::ValueEnd`].
    ///
    /// [`ServerVersion::type_for`](super::ServerVersion::type_for) says which type a server takes.
    /// A body that has the type is delivered as it is, with two exceptions: a stream gets its
    /// number of entries put right, as some old servers wrote one too high, and a vector set has
    /// the form that every server with vector sets reads. An error where there is no way from one
    /// type to the other.
    Converted {
        /// The type to write.
        to: ValueType,
        /// Strings that are written anew are compressed as servers do it; those that are copied
        /// stay as they are.
        compress: bool,
    },
    /// Nothing: the next event is [`Event::ValueEnd`].
    Skip,
}

/// One thing the parser found.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The first nine bytes.
    Header(Header),
    /// An AUX field, e.g. `redis-ver`, `repl-stream-db`, `lua`.
    Aux {
        /// Its name, as written.
        name: Bytes,
        /// Its value as text.
        value: Bytes,
    },
    /// The keys that follow belong to this db.
    SelectDb(Db),
    /// How many keys the db holds: a hint, never to be trusted.
    ResizeDb {
        /// Keys in the db.
        keys: u64,
        /// Keys with an expiry.
        expires: u64,
    },
    /// The source of one function library, with its `#!` line.
    Function {
        /// What FUNCTION LOAD takes.
        code: Bytes,
    },
    /// The expiry of one member or field of a key that went before, as KeyDB writes it; the key
    /// need not have been delivered with its content.
    MemberExpiry {
        /// The last key before it, in the db it is in.
        key: Bytes,
        /// The member of a set or sorted set, or the field of a hash.
        member: Bytes,
        /// When it expires; may lie in the past.
        expire_at_ms: UnixMs,
    },
    /// How many keys a slot holds: a hint, never to be trusted (Redis 7.4+).
    SlotInfo {
        /// The slot.
        slot: u64,
        /// Keys in it.
        keys: u64,
        /// Keys with an expiry.
        expires: u64,
    },
    /// Slots that the server was importing when it wrote the file (Valkey 9.0+).
    SlotImport {
        /// The name of the import, 40 bytes.
        job: Bytes,
        /// The first and the last slot of each range.
        ranges: Vec<(u16, u16)>,
    },
    /// Marks of Dragonfly on the key that follows.
    KeyFlags {
        /// It is never evicted.
        sticky: bool,
        /// What memcached clients gave with it.
        memcached_flags: Option<u32>,
    },
    /// An index of Dragonfly over keys of this db; its content is skipped.
    SearchIndex {
        /// Its name.
        name: Bytes,
    },
    /// What modules keep beside the key that follows; the content is skipped (Redis 8.6+).
    KeyMeta {
        /// One to seven classes.
        classes: Vec<MetadataClass>,
    },
    /// Data that a module keeps beside the keys; its content is skipped.
    ModuleAux {
        /// The nine characters of the module's name.
        module: String,
    },
    /// A key. The value follows at the altitude then chosen.
    Key(Key),
    /// The whole body of a value as it stands in the file, without its type byte. Nothing else
    /// of this value follows.
    Body(Bytes),
    /// The next bytes of the body, at least one. [`Event::ValueEnd`] follows the last.
    BodyPiece(Bytes),
    /// A packed blob: all elements of a small collection, or those of one node of a list.
    Blob {
        /// How its elements are packed.
        encoding: Encoding,
        /// The blob, inflated; nothing in it was verified.
        bytes: Bytes,
    },
    /// How long the body of the value is, which is still to come.
    Measured {
        /// Bytes from behind the key to the end of the value; `None` where that is over the limit.
        bytes: Option<u64>,
    },
    /// Something that the type which was asked for has no place for.
    Lost {
        /// What it is.
        loss: Loss,
        /// How often the value has it.
        count: u64,
    },
    /// One piece of a value's logical content.
    Part(Part),
    /// The value of the last [`Event::Key`] is complete.
    ValueEnd,
    /// The snapshot is complete and its checksum is right, if it has one.
    End(Checksum),
}

impl Event {
    /// Whether nothing of the value follows.
    pub(crate) fn ends_value(&self) -> bool {
        matches!(self, Self::Body(_) | Self::ValueEnd)
    }
}

/// The first nine bytes of an RDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Written with the `VALKEY` magic; type 22 and opcode 243 mean other things then.
    pub valkey: bool,
    /// The RDB version.
    pub version: u16,
}

impl Header {
    /// The letters it begins with.
    pub fn magic(self) -> &'static str {
        if self.valkey { "VALKEY" } else { "REDIS" }
    }
}

/// What an RDB says about a key before its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub key: Bytes,
    /// The type and encoding of its value.
    pub value_type: ValueType,
    /// Absolute expiry; may lie in the past.
    pub expire_at_ms: Option<UnixMs>,
    /// LRU: seconds since the last access, at the time of writing.
    pub idle_s: Option<u64>,
    /// LFU: the logarithmic access counter.
    pub freq: Option<u8>,
    /// Carries metadata of modules (KEY_META), which is skipped.
    pub has_metadata: bool,
}

/// A kind of metadata that a module keeps beside keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataClass {
    /// Its name, four characters.
    pub name: String,
    /// The version of its encoding.
    pub version: u8,
}

/// Whose type bytes those of an RDB are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Redis's, and what all others took over from it.
    Redis,
    /// Valkey's: the `VALKEY` magic, or a payload version from 80 on.
    Valkey,
    /// Dragonfly's: the AUX field `df-ver` and a version up to 9.
    Dragonfly,
    /// That of the module for vector sets, which Redis brings along from 8.0 on: their type byte is
    /// the one of all modules, the id behind it is their own.
    VectorSets,
}

/// The type byte of a value, told apart by the family that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// The type byte, as in rdb.h (`RDB_TYPE_...`).
    pub byte: u8,
    /// Whose type it is: 22 of Valkey is none of Redis.
    pub family: Family,
}

impl ValueType {
    /// A type of Redis, which most of Valkey's and Dragonfly's are.
    pub const fn common(byte: u8) -> ValueType {
        ValueType::of(byte, Family::Redis)
    }

    /// A type of a family.
    pub const fn of(byte: u8, family: Family) -> ValueType {
        ValueType { byte, family }
    }

    /// Whether it is a stream of any version.
    pub fn is_stream(self) -> bool {
        matches!(self.byte, 15 | 19 | 21 | 26 | 27)
    }

    /// Whether it has no content that can be said, only a body: the value of a module, or a filter
    /// or sketch of Dragonfly. (Some of the former have: vector sets.)
    pub fn is_opaque(self) -> bool {
        self.is_module() || (self.family == Family::Dragonfly && matches!(self.byte, 33..=37))
    }

    /// Whether it is a document in JSON, which only Dragonfly keeps without a module.
    pub fn is_json(self) -> bool {
        self.family == Family::Dragonfly && matches!(self.byte, 20 | 30)
    }

    /// Whether it is a hash whose field names stand in a template outside the value, so that its
    /// body says nothing by itself (Redis 8.10+).
    pub fn needs_template(self) -> bool {
        self.family == Family::Redis && matches!(self.byte, 30 | 32)
    }

    /// Whether it is the value of a module, vector sets included.
    pub fn is_module(self) -> bool {
        self.byte == 7
    }

    /// Whether it is a hash whose fields can have their own expiry.
    pub fn has_field_expiry(self) -> bool {
        matches!(self.byte, 22..=25) || (self.byte == 31 && self.family == Family::Dragonfly)
    }
}

/// A byte string that may be stored as an integer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Element {
    /// As bytes.
    Bytes(Bytes),
    /// As an integer, which stands for its shortest decimal text.
    Int(i64),
}

impl Element {
    /// The length of the byte string, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(value) => itoa::Buffer::new().format(*value).len(),
        }
    }

    /// Whether the byte string is empty.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    /// The byte string: shared where it is one, written where it is an integer.
    pub fn to_bytes(&self) -> Bytes {
        self.clone().into_bytes()
    }

    /// The byte string, see [`Element::to_bytes`].
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Int(value) => {
                Bytes::copy_from_slice(itoa::Buffer::new().format(value).as_bytes())
            }
        }
    }

    /// The integer it is or spells out, as servers read integers in packed encodings.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            Self::Int(value) => Some(*value),
        }
    }
}

/// One piece of a value's logical content.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A whole string.
    String(Element),
    /// A string too long for one piece begins; chunks follow.
    StringStart {
        /// Its length in bytes.
        len: u64,
    },
    /// The next bytes of the string: `Limits::chunk_bytes_max` of them, the last chunk excepted.
    StringChunk(Bytes),
    /// The next element of a list.
    ListElement(Element),
    /// A member of a set.
    SetMember(Element),
    /// A member of a set with an expiry of its own (Dragonfly).
    ExpiringSetMember {
        /// The member.
        member: Element,
        /// Its own absolute expiry.
        expire_at_ms: UnixMs,
    },
    /// A member of a sorted set.
    ZsetMember {
        /// The member.
        member: Element,
        /// Its score; never NaN.
        score: f64,
    },
    /// A field of a hash.
    HashField {
        /// The field.
        field: Element,
        /// Its value.
        value: Element,
        /// The field's own absolute expiry.
        expire_at_ms: Option<UnixMs>,
    },
    /// A live entry of a stream, in ascending order.
    StreamEntry {
        /// Its id.
        id: StreamId,
        /// Field and value pairs in order; a field may repeat.
        fields: Vec<(Element, Element)>,
    },
    /// The counters of a stream, after its entries.
    StreamMeta(StreamMeta),
    /// A consumer group begins; its consumers follow.
    StreamGroup(StreamGroup),
    /// A consumer of the last group. Its pending entries follow it.
    StreamConsumer(StreamConsumer),
    /// An entry delivered to the last consumer and not acknowledged yet.
    StreamPending(StreamPending),
    /// An entry that a consumer of the last group gave back: delivered, not acknowledged, and
    /// owned by nobody (8.8+). These follow the consumers, in the order they were given back.
    StreamNacked(StreamPending),
    /// The last group is complete.
    StreamGroupEnd(StreamGroupEnd),
    /// How the stream recognises repeated XADDs of the same producer (8.6+), after its groups.
    /// Present for every stream of such a server, also when nothing uses it.
    StreamIdempotency(StreamIdempotency),
    /// An XADD that the stream would recognise if it were repeated.
    StreamIdempotentId {
        /// Who added it.
        producer: Bytes,
        /// How the producer named it.
        idempotent_id: Bytes,
        /// The entry it made.
        id: StreamId,
    },
    /// The lifetime counters of the recognition; the last part of such a stream.
    StreamIdempotencyEnd {
        /// How many idempotent ids were ever added.
        ids_added: u64,
        /// How many repetitions were recognised.
        duplicates: u64,
    },
    /// A sparse array begins (Redis 8.8+); its elements follow.
    ArrayStart {
        /// Where the next element is inserted, if that was ever set.
        insert_cursor: Option<u64>,
    },
    /// An element of an array.
    ArrayElement {
        /// Where it stands.
        index: u64,
        /// What stands there: integers and floats as the text they are read as.
        value: Element,
    },
    /// A vector set begins (Redis 8.0+); its elements follow.
    VectorSet(VectorSet),
    /// An element of a vector set.
    Vector(Vector),
    /// A JSON document as text (Dragonfly).
    Json(Bytes),
    /// A job of KeyDB's `KEYDB.CRON`; its keys and then its arguments follow.
    CronJob {
        /// What it runs.
        script: Bytes,
        /// When it first runs.
        start_at_ms: UnixMs,
        /// After which time it runs again.
        interval_ms: i64,
    },
    /// A key that the job is given.
    CronKey(Bytes),
    /// An argument that the job is given.
    CronArgument(Bytes),
}

impl Part {
    /// How many bytes of content it carries, about.
    pub fn content_bytes(&self) -> usize {
        match self {
            Part::String(element) | Part::ListElement(element) | Part::SetMember(element) => {
                element.len()
            }
            Part::ZsetMember { member, .. } => member.len() + 8,
            Part::HashField { field, value, .. } => field.len() + value.len(),
            Part::StringChunk(bytes) => bytes.len(),
            Part::ArrayElement { value, .. } => value.len() + 8,
            Part::CronJob { script, .. } => script.len() + 16,
            Part::CronKey(bytes) | Part::CronArgument(bytes) | Part::Json(bytes) => bytes.len(),
            Part::ExpiringSetMember { member, .. } => member.len() + 8,
            Part::Vector(vector) => vector.element.len() + vector.blob.len(),
            Part::StreamEntry { fields, .. } => fields
                .iter()
                .map(|(field, value)| field.len() + value.len())
                .sum(),
            Part::StringStart { .. }
            | Part::StreamMeta(_)
            | Part::StreamGroup(_)
            | Part::StreamConsumer(_)
            | Part::StreamPending(_)
            | Part::StreamNacked(_)
            | Part::StreamGroupEnd(_)
            | Part::StreamIdempotency(_)
            | Part::StreamIdempotentId { .. }
            | Part::StreamIdempotencyEnd { .. }
            | Part::ArrayStart { .. }
            | Part::VectorSet(_) => 0,
        }
    }
}

/// The counters of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamMeta {
    /// How many live entries the stream says it has; old servers may be wrong by a few.
    pub length: u64,
    /// The last id generated.
    pub last_id: StreamId,
    /// The greatest id deleted (7.0+).
    pub max_deleted_id: Option<StreamId>,
    /// Entries ever added (7.0+).
    pub entries_added: Option<u64>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamGroup {
    /// Its name.
    pub name: Bytes,
    /// The last id delivered.
    pub last_id: StreamId,
    /// Entries read (7.0+); `None` when unknown.
    pub entries_read: Option<u64>,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConsumer {
    /// Its name.
    pub name: Bytes,
    /// When it last tried to read.
    pub seen_at_ms: UnixMs,
    /// When it last got something (7.2+); `None` when never or unknown.
    pub active_at_ms: Option<UnixMs>,
}

/// An entry delivered to the last consumer and not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPending {
    /// The entry, which may no longer exist.
    pub id: StreamId,
    /// When it was last delivered.
    pub delivered_at_ms: UnixMs,
    /// How often it was delivered.
    pub delivery_count: u64,
}

/// What was odd about the pending entries of a group, in files of servers with a bug.
///
/// Such entries are not delivered as [`Part::StreamPending`]: the first consumer that claims an
/// entry has it, and an entry that no consumer claims, and none gave back, is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamGroupEnd {
    /// How many entries no consumer claims and none gave back.
    pub pending_unowned: u64,
    /// How often an entry was claimed that an earlier consumer has.
    pub pending_contested: u64,
}

/// How a stream recognises repeated XADDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamIdempotency {
    /// For how many seconds an id is remembered.
    pub duration_s: u64,
    /// How many ids are remembered per producer.
    pub entries_max: u64,
    /// How many producers there are.
    pub producers: u64,
}

/// The settings of a vector set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorSet {
    /// Components of each vector, as it is stored.
    pub dimensions: u64,
    /// How many elements there are.
    pub elements: u64,
    /// How the components are stored.
    pub quantization: Quantization,
    /// The most links of a node on each level of the graph (`M`).
    pub links_max: u64,
    /// Components of each vector as it was given, where they were reduced by a projection.
    pub input_dimensions: Option<u64>,
}

/// How the components of vectors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantization {
    /// As floats (`NOQUANT`).
    None,
    /// As integers of 8 bits (`Q8`).
    Int8,
    /// As signs (`BIN`).
    Binary,
}

/// An element of a vector set.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// Its name.
    pub element: Bytes,
    /// What is said about it, JSON text.
    pub attributes: Option<Bytes>,
    /// How the components are stored.
    pub quantization: Quantization,
    /// The components of the vector, brought to a length of 1: floats LE, signed bytes, or bits.
    pub blob: Bytes,
    /// How long the vector was; infinite where that is too much for a float, never NaN.
    pub norm: f32,
    /// What the largest integer of 8 bits stands for; finite, 0 in other quantizations.
    pub range: f32,
}

impl Vector {
    /// The first so many components, at their true length, as exactly as they were kept: of bits
    /// only the sign.
    pub fn components(&self, dimensions: usize) -> impl Iterator<Item = f32> {
        let (floats, _) = self.blob.as_chunks();
        let float = |n: usize| floats.get(n).map(|bytes| f32::from_le_bytes(*bytes));
        let byte = |n: usize| self.blob.get(n).copied();
        // What was infinitely long has no true length.
        let norm = if self.norm.is_finite() {
            self.norm
        } else {
            1.0
        };
        (0..dimensions).map_while(move |n| match self.quantization {
            Quantization::None => float(n).map(|component| component * norm),
            Quantization::Int8 => {
                let scale = self.range / 127.0 * norm;
                byte(n).map(|component| f32::from(component as i8) * scale)
            }
            Quantization::Binary => {
                let bit = byte(n / 8).map(|byte| byte >> (n % 8) & 1);
                bit.map(|bit| if bit == 1 { 1.0 } else { -1.0 })
            }
        })
    }
}

/// What the end of an RDB said about its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Present and right.
    Verified,
    /// Written as zero: the server was told not to compute it.
    Disabled,
    /// The version is older than the checksum.
    Absent,
}

impl Checksum {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Checksum::Verified => "verified",
            Checksum::Disabled => "disabled",
            Checksum::Absent => "absent",
        }
    }
}
