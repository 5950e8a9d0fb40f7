//! What verifying finds: differences, and keys that nothing can be said about.

use std::fmt;

use bytes::Bytes;

use crate::{
    keyspace::{Db, StreamId, UnixMs},
    rdb::KeyType,
};

/// In what the two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The target does not have the key.
    Missing,
    /// Only the target has the key.
    OnlyOnTarget,
    /// The target has the key in another db.
    WrongDb,
    /// Another type of value.
    Type,
    /// Another content.
    Value,
    /// Another expiry, or none.
    Expiry,
    /// Another expiry of a field of a hash.
    FieldExpiry,
    /// Another last id, or another count, of a stream.
    StreamCounters,
    /// Another consumer group, or one that one side does not have.
    Group,
    /// A consumer that one side does not have.
    Consumer,
    /// Another pending entry, or another owner of it.
    Pending,
    /// Another function library, or one that one side does not have.
    Function,
}

impl Kind {
    /// All of them, in the order they are shown.
    pub const ALL: [Kind; 12] = [
        Kind::Missing,
        Kind::OnlyOnTarget,
        Kind::WrongDb,
        Kind::Type,
        Kind::Value,
        Kind::Expiry,
        Kind::FieldExpiry,
        Kind::StreamCounters,
        Kind::Group,
        Kind::Consumer,
        Kind::Pending,
        Kind::Function,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::OnlyOnTarget => "only_on_target",
            Kind::WrongDb => "wrong_db",
            Kind::Type => "type",
            Kind::Value => "value",
            Kind::Expiry => "expiry",
            Kind::FieldExpiry => "field_expiry",
            Kind::StreamCounters => "stream_counters",
            Kind::Group => "group",
            Kind::Consumer => "consumer",
            Kind::Pending => "pending",
            Kind::Function => "function",
        }
    }
}

/// Why nothing can be said about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is written so often that no two readings of it were of the same moment.
    Changing,
    /// It expired while it was compared.
    Expired,
    /// The side that does not have it evicts keys, and has evicted some.
    Evicted,
    /// A server refuses to read it.
    Unreadable,
}

impl Reason {
    /// All of them, in the order they are shown.
    pub const ALL: [Reason; 4] = [
        Reason::Changing,
        Reason::Expired,
        Reason::Evicted,
        Reason::Unreadable,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Changing => "changing",
            Reason::Expired => "expired",
            Reason::Evicted => "evicted",
            Reason::Unreadable => "unreadable",
        }
    }
}

/// One difference. A key can have several: its value and its expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The db on the source; that of the target where only the target has the key.
    pub db: Db,
    /// The key; the name of a function library.
    pub key: Bytes,
    /// In what they differ.
    pub kind: Kind,
    /// What the source has.
    pub source: Held,
    /// What the target has.
    pub target: Held,
    /// Where they differ first, within a value.
    pub first: Option<First>,
}

/// What one side has under a key, as far as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// `None` when the key is not there.
    pub value_type: Option<KeyType>,
    /// The memory it takes as the server estimates it, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many elements it has; the length of a string in bytes.
    pub len: Option<u64>,
    /// When it expires.
    pub expire_at_ms: Option<UnixMs>,
}

/// The first place in which two values differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Where.
    pub place: Place,
    /// What the source has there, cut to [`SHOWN_BYTES_MAX`]; `None` is nothing.
    pub source: Option<Bytes>,
    /// What the target has there.
    pub target: Option<Bytes>,
}

/// The most bytes of a value that are kept for a report.
pub const SHOWN_BYTES_MAX: usize = 256;

impl First {
    /// The values at `place`, cut and copied: a small slice would keep a large payload alive.
    pub fn at(place: Place, source: Option<&[u8]>, target: Option<&[u8]>) -> First {
        let cut =
            |bytes: &[u8]| Bytes::copy_from_slice(bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes));
        First {
            place,
            source: source.map(cut),
            target: target.map(cut),
        }
    }
}

/// A place in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The byte of a string, counted from 0; the values are what stands from there on.
    Offset(u64),
    /// The element of a list or array, counted from 0.
    Index(u64),
    /// A member of a set.
    Member(Bytes),
    /// The score of a member of a sorted set.
    Score(Bytes),
    /// A field of a hash.
    Field(Bytes),
    /// The expiry of a field of a hash, in ms since 1970.
    FieldExpiry(Bytes),
    /// An element of a vector set.
    Vector(Bytes),
    /// An entry of a stream.
    Entry(StreamId),
    /// A counter of a stream: `last-id`, `entries-added`, `max-deleted-id`, `length`,
    /// `idmp-duration`, `idmp-maxsize`. A setting of a vector set, as VINFO names it. Of an array
    /// `insert-cursor`.
    Counter(&'static str),
    /// A consumer group.
    Group(Bytes),
    /// A counter of a group: `last-delivered-id`, `entries-read`.
    GroupCounter {
        /// The group.
        group: Bytes,
        /// The counter.
        counter: &'static str,
    },
    /// A consumer.
    Consumer {
        /// Its group.
        group: Bytes,
        /// Its name.
        consumer: Bytes,
    },
    /// A pending entry; the values are its consumer, or what else differs.
    Pending {
        /// Its group.
        group: Bytes,
        /// The entry.
        id: StreamId,
    },
    /// Bytes of a payload that cannot be read, such as that of a module.
    Payload,
    /// The source code of a function library.
    Code,
    /// The db that has the key.
    OtherDb,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::keyspace::Escaped;
        match self {
            Place::Offset(offset) => write!(f, "offset {offset}"),
            Place::Index(index) => write!(f, "index {index}"),
            Place::Member(member) => write!(f, "member {}", Escaped(member)),
            Place::Score(member) => write!(f, "score of {}", Escaped(member)),
            Place::Field(field) => write!(f, "field {}", Escaped(field)),
            Place::FieldExpiry(field) => write!(f, "expiry of field {}", Escaped(field)),
            Place::Vector(element) => write!(f, "element {}", Escaped(element)),
            Place::Entry(id) => write!(f, "entry {id}"),
            Place::Counter(counter) => f.write_str(counter),
            Place::Group(group) => write!(f, "group {}", Escaped(group)),
            Place::GroupCounter { group, counter } => {
                write!(f, "{counter} of group {}", Escaped(group))
            }
            Place::Consumer { group, consumer } => {
                write!(
                    f,
                    "consumer {} of group {}",
                    Escaped(consumer),
                    Escaped(group)
                )
            }
            Place::Pending { group, id } => {
                write!(f, "pending entry {id} of group {}", Escaped(group))
            }
            Place::Payload => f.write_str("payload"),
            Place::Code => f.write_str("code"),
            Place::OtherDb => f.write_str("db"),
        }
    }
}

/// A key that nothing can be said about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// Its db.
    pub db: Db,
    /// Its name.
    pub key: Bytes,
    /// Why.
    pub reason: Reason,
    /// What there is to say about it, such as a server's refusal.
    pub detail: Option<String>,
}
