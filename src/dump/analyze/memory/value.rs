//! Adds up what one value takes, from its packed blobs and its parts.

use bytes::Bytes;

use crate::{
    dump::encoding::{encoding_name, integer},
    keyspace::UnixMs,
    rdb::{Element, Encoding, Family, KeyType, Part, ValueType},
};

use super::{
    MemoryModel, Shape, WORD_BYTES,
    stream::StreamMemory,
    strings::{listpack_element, sds, sds_from_8},
};

/// `quicklist` and `quicklistNode`.
const QUICKLIST_BYTES: u64 = 40;
const QUICKLIST_NODE_BYTES: u64 = 32;
/// How large a quicklist lets its nodes become (`list-max-listpack-size -2`).
const QUICKLIST_NODE_MAX: u64 = 8192;
/// `zset`, `zskiplist`, and the head of the skiplist, which has all 32 levels.
const ZSET_BYTES: u64 = 16;
const SKIPLIST_BYTES: u64 = 32;
const SKIPLIST_HEAD_BYTES: u64 = 24 + 32 * SKIPLIST_LEVEL_BYTES;
/// Forward pointer and span.
const SKIPLIST_LEVEL_BYTES: u64 = 16;
/// Levels above these have less than one node of ten thousand.
const SKIPLIST_LEVELS: u64 = 8;
/// `listpackEx`, a packed hash with expiring fields.
const PACKED_EXPIRES_BYTES: u64 = 32;
/// `redis 7.4`: the metadata of a field that expires (`ExpireMeta` and flags), and its share of
/// the buckets it hangs in.
const REDIS_FIELD_EXPIRY_BYTES: u64 = 18;
const REDIS_FIELD_BUCKET_BYTES: u64 = 8;
/// `valkey 9.0 entry.c`: the time and a larger header.
const VALKEY_FIELD_EXPIRY_BYTES: u64 = 10;
/// `valkey 9.0 vset.c`: the fields that expire stand in one vector up to so many, beyond in a tree
/// of vectors for windows of time.
const VALKEY_VECTOR_MAX: u64 = 127;
const VALKEY_WINDOW_MS: f64 = 8192.0;
/// A window in the tree: two nodes, and its share of the node where it parts from others.
const VALKEY_WINDOW_NODE_BYTES: u64 = 16;
const VALKEY_WINDOW_SHARE_BYTES: u64 = 9;
/// A field and its value share an allocation up to this size: `valkey 9.0 entry.c`.
const HASH_ENTRY_BYTES_MAX: u64 = 128;

/// What a whole value takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dump::analyze) struct Measured {
    /// What it takes in memory with its key, in bytes.
    pub(in crate::dump::analyze) bytes: u64,
    /// Elements, fields, members or entries; 1 for a string and the value of a module.
    pub(in crate::dump::analyze) elements: u64,
    /// How it is encoded, as `OBJECT ENCODING` names it.
    pub(in crate::dump::analyze) encoding: &'static str,
}

/// Adds up one value as it is read.
#[derive(Debug)]
pub(in crate::dump::analyze) struct ValueMemory<'a> {
    model: &'a MemoryModel,
    key_type: KeyType,
    value_type: ValueType,
    key_len: u64,
    expires: bool,
    shape: Shape,
    /// What the object points to.
    bytes: u64,
    /// The part of it that is only known on average.
    expected_bytes: f64,
    elements: u64,
    nodes: u64,
    blob: Option<Encoding>,
    expiring_fields: u64,
    /// The first and the last time that a field expires at.
    expires_within: Option<(UnixMs, UnixMs)>,
    stream: Option<StreamMemory<'a>>,
}

impl<'a> ValueMemory<'a> {
    /// Begins a value whose key has this length and may expire.
    pub(in crate::dump::analyze) fn new(
        model: &'a MemoryModel,
        value_type: ValueType,
        key_len: u64,
        expires: bool,
    ) -> Self {
        Self {
            model,
            key_type: KeyType::of(value_type),
            value_type,
            key_len,
            expires,
            shape: Shape::Pointer,
            bytes: 0,
            expected_bytes: 0.0,
            elements: 0,
            nodes: 0,
            blob: None,
            expiring_fields: 0,
            expires_within: None,
            stream: value_type.is_stream().then(|| StreamMemory::new(model)),
        }
    }

    /// Takes a packed blob, which stands in memory as it is here.
    pub(in crate::dump::analyze) fn blob(&mut self, encoding: Encoding, blob: &Bytes) {
        self.blob = Some(encoding);
        self.nodes += 1;
        self.bytes += self.usable(blob.len() as u64);
        let per_element = match self.value_type.byte {
            23 | 25 => 3,
            _ if matches!(self.key_type, KeyType::Hash | KeyType::Zset) => 2,
            _ => 1,
        };
        self.elements += counted(encoding, blob) / per_element;
    }

    /// Takes a part.
    pub(in crate::dump::analyze) fn part(&mut self, part: &Part) {
        match part {
            Part::String(Element::Int(_)) => self.string(Shape::Int),
            Part::String(Element::Bytes(text)) => self.string(match integer(text) {
                Some(_) => Shape::Int,
                None => Shape::Text(text.len() as u64),
            }),
            Part::StringStart { len } => self.string(Shape::Text(*len)),
            Part::StringChunk(_) => {}
            Part::ListElement(element) => self.list_element(element),
            Part::SetMember(member) | Part::ExpiringSetMember { member, .. } => {
                self.elements += 1;
                self.bytes += self.usable(sds(member.len() as u64));
            }
            Part::ArrayElement { .. } => self.elements += 1,
            Part::ZsetMember { member, .. } => self.zset_member(member.len() as u64),
            Part::HashField {
                field,
                value,
                expire_at_ms,
            } => {
                let (field, value) = (field.len() as u64, value.len() as u64);
                self.hash_field(field, value, *expire_at_ms);
            }
            part => {
                if let Some(stream) = &mut self.stream {
                    stream.part(part);
                }
            }
        }
    }

    /// Ends the value; `serialized_bytes` is how long it is in the RDB, which is all that is
    /// known of what modules and forks keep.
    pub(in crate::dump::analyze) fn finish(mut self, serialized_bytes: u64) -> Measured {
        let encoding = self.encoding();
        if let Some(stream) = self.stream.take() {
            let (entries, bytes) = stream.finish();
            self.elements += entries;
            self.bytes += bytes;
        }
        let allocator = self.model.allocator;
        let layout = &self.model.layout;
        let header = self.usable(layout.table_header);
        self.bytes += match (self.key_type, self.blob) {
            (KeyType::Set, None) => header + layout.set_table.bytes(self.elements, allocator),
            (KeyType::Hash, None) => {
                header + layout.hash_table.bytes(self.elements, allocator) + self.expiry_tables()
            }
            (KeyType::Zset, None) => {
                header
                    + layout.zset_table.bytes(self.elements, allocator)
                    + self.usable(ZSET_BYTES)
                    + self.usable(SKIPLIST_BYTES)
                    + self.usable(SKIPLIST_HEAD_BYTES)
            }
            (KeyType::Hash, Some(_)) if self.value_type.has_field_expiry() => {
                self.usable(PACKED_EXPIRES_BYTES)
            }
            (KeyType::List, _) if encoding == "quicklist" => {
                self.usable(QUICKLIST_BYTES)
                    + self.quicklist_nodes() * self.usable(QUICKLIST_NODE_BYTES)
            }
            (
                KeyType::Module
                | KeyType::VectorSet
                | KeyType::Array
                | KeyType::Json
                | KeyType::Other,
                _,
            ) => {
                self.elements = self.elements.max(1);
                serialized_bytes
            }
            _ => 0,
        };
        let expected = self.expected_bytes.round() as u64;
        let key = self.model.key_bytes(self.key_len, self.shape, self.expires);
        Measured {
            bytes: key + self.bytes + expected,
            elements: self.elements,
            encoding,
        }
    }

    fn usable(&self, bytes: u64) -> u64 {
        self.model.allocator.usable(bytes)
    }

    fn string(&mut self, shape: Shape) {
        self.shape = shape;
        self.elements = 1;
    }

    fn list_element(&mut self, element: &Element) {
        const TYPE_LIST: u8 = 1;
        self.elements += 1;
        if self.value_type.byte == TYPE_LIST {
            // Older than packed lists, which any server packs them into.
            self.bytes += listpack_element(element);
        } else {
            // Too large for a node with others: the node is the element.
            self.nodes += 1;
            self.bytes += self.usable(element.len() as u64);
        }
    }

    fn quicklist_nodes(&self) -> u64 {
        match self.nodes {
            0 => self.bytes.div_ceil(QUICKLIST_NODE_MAX),
            nodes => nodes,
        }
    }

    fn zset_member(&mut self, len: u64) {
        self.elements += 1;
        let member = sds(len);
        // Score, backward pointer, and the member or a pointer to it.
        let mut node = 2 * WORD_BYTES;
        if self.model.layout.zset_member_embedded {
            node += 1 + member;
        } else {
            node += WORD_BYTES;
            self.bytes += self.usable(member);
        }
        // Every fourth node of a level also has the next: `redis 7.2 t_zset.c zslRandomLevel`.
        let mut share = 0.75;
        for level in 1..=SKIPLIST_LEVELS {
            self.expected_bytes += share * self.usable(node + level * SKIPLIST_LEVEL_BYTES) as f64;
            share /= 4.0;
        }
    }

    fn hash_field(&mut self, field: u64, value: u64, expire_at_ms: Option<UnixMs>) {
        self.elements += 1;
        let mut extra = 0;
        if let Some(at) = expire_at_ms {
            self.expiring_fields += 1;
            let (first, last) = self.expires_within.unwrap_or((at, at));
            self.expires_within = Some((first.min(at), last.max(at)));
            extra = match self.is_valkeys() {
                true => VALKEY_FIELD_EXPIRY_BYTES,
                false => REDIS_FIELD_EXPIRY_BYTES,
            };
        }
        let together = sds(field) + extra + sds_from_8(value);
        self.bytes += if !self.model.layout.hash_entry_embedded {
            self.usable(sds(field) + extra) + self.usable(sds(value))
        } else if together <= HASH_ENTRY_BYTES_MAX {
            self.usable(together)
        } else {
            self.usable(WORD_BYTES + sds_from_8(field) + extra) + self.usable(sds(value))
        };
    }

    /// Where the fields that expire are sorted by time.
    fn expiry_tables(&self) -> u64 {
        let fields = self.expiring_fields;
        let vector = |fields: u64| self.usable((fields + 1) * WORD_BYTES);
        match (self.is_valkeys(), self.expires_within) {
            (_, None) => 0,
            (false, _) => fields * REDIS_FIELD_BUCKET_BYTES,
            (true, _) if fields <= VALKEY_VECTOR_MAX => vector(fields),
            (true, Some((first, last))) => {
                // Times are taken to be spread evenly, so some windows have none.
                let all = last.saturating_sub(first) as f64 / VALKEY_WINDOW_MS + 1.0;
                let windows = all * (1.0 - (-(fields as f64) / all).exp());
                let windows = (windows.ceil() as u64).clamp(1, fields);
                let node = 2 * self.usable(VALKEY_WINDOW_NODE_BYTES) + VALKEY_WINDOW_SHARE_BYTES;
                let each = match (fields + windows / 2) / windows {
                    // A single field stands in the tree itself.
                    ..=1 => 0,
                    fields => vector(fields),
                };
                windows * (node + each)
            }
        }
    }

    fn encoding(&self) -> &'static str {
        let packed = match self.blob {
            Some(Encoding::Intset) => "intset",
            Some(Encoding::Listpack) => "listpack",
            Some(Encoding::Ziplist) => "ziplist",
            Some(Encoding::Zipmap) => "zipmap",
            None => "",
        };
        match self.key_type {
            KeyType::String => match self.shape {
                Shape::Text(len) => self.model.text_encoding(self.key_len, len, self.expires),
                Shape::Int | Shape::Pointer => "int",
            },
            KeyType::List if self.is_one_packed_node() => self.model.packed_list_encoding(),
            KeyType::List => "quicklist",
            KeyType::Stream => "stream",
            KeyType::Module
            | KeyType::VectorSet
            | KeyType::Array
            | KeyType::Json
            | KeyType::Other => encoding_name(self.value_type).unwrap_or_default(),
            KeyType::Hash if self.blob.is_some() && self.value_type.has_field_expiry() => {
                "listpackex"
            }
            KeyType::Set | KeyType::Hash if self.blob.is_none() => "hashtable",
            KeyType::Zset if self.blob.is_none() => "skiplist",
            KeyType::Set | KeyType::Hash | KeyType::Zset => packed,
        }
    }

    fn is_valkeys(&self) -> bool {
        self.value_type.family == Family::Valkey
    }

    fn is_one_packed_node(&self) -> bool {
        self.nodes == 1 && self.blob.is_some()
    }
}

/// How many elements the header of a blob counts. Those of a list too long for its header are not
/// counted further than that.
fn counted(encoding: Encoding, blob: &[u8]) -> u64 {
    let at = |pos: usize| u64::from(blob.get(pos).copied().unwrap_or(0));
    match encoding {
        Encoding::Intset => at(4) | at(5) << 8 | at(6) << 16 | at(7) << 24,
        Encoding::Listpack => at(4) | at(5) << 8,
        Encoding::Ziplist => at(8) | at(9) << 8,
        Encoding::Zipmap => 2 * at(0),
    }
}
