//! What the parser makes of an RDB: the events it emits, and how deep they look.

use bytes::Bytes;

use crate::keyspace::{Db, Loss, UnixMs};

use super::packed::Encoding;
use super::part::{Element, Part};
use super::value_type::ValueType;

/// How deep the parser looks into a value; chosen per key, paid for only where asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Altitude {
    /// The body as it stands in the file, for RESTORE: one [`Event::Body`] and nothing else.
    ///
    /// A body longer than `bytes_max` comes as [`Altitude::Content`], from its first element or, if
    /// it has none, its first byte on: no more than `bytes_max` is held of any value. A body that
    /// says nothing by itself ([`ValueType::needs_template`]) always comes as elements. What is
    /// inside packed or compressed blobs is not looked at.
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
    /// A key whose value is a string that fits one piece, and that string; nothing else of it
    /// follows. Only from a parser that [joins strings](super::Parser::joining_strings).
    String {
        /// The key.
        key: Key,
        /// The string.
        value: Element,
    },
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
