//! The logical content of values, piece by piece, and the words the pieces are made of.

use bytes::Bytes;

use crate::keyspace::{StreamId, UnixMs};

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
    /// An entry that is pending in the last group, that no consumer claims and none gave back: a
    /// bug of the server that wrote it. These follow all others of the group.
    StreamUnowned(StreamPending),
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
            | Part::StreamUnowned(_)
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
/// The first consumer that claims an entry has it. One that nobody claims came as
/// [`Part::StreamUnowned`].
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
