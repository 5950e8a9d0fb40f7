//! What a key takes in the memory of a server, estimated from what an RDB says about it.
//!
//! A [`MemoryModel`] is one generation of servers on one allocator. It knows the allocations that
//! such a server makes for a key and adds up their size classes, so it estimates what
//! `used_memory` grows by. That is what `MEMORY USAGE key SAMPLES 0` answers where the server
//! counts allocations, and differs where the server takes a formula; `docs/rdb.md` has the list.
//!
//! Memory for a value is constant: sums, and the first entry of the last node of a stream.

mod allocator;
mod layout;
mod stream;
mod strings;
mod tables;
mod value;

use crate::rdb::ServerVersion;

pub use allocator::Allocator;
pub(super) use value::{Measured, ValueMemory};

use layout::{Generation, KeyPlace, Layout};

/// The size of `robj`.
const OBJECT_BYTES: u64 = 16;
/// The size of a pointer, of a time, and of a double.
const WORD_BYTES: u64 = 8;
/// The longest text that Redis keeps in its object where the key has a place of its own.
const EMBEDDED_LEN_MAX: u64 = 44;
/// Keys from this length on have a place for an expiry in their object, whether they expire or not.
const EXPIRY_RESERVED_FROM: u64 = 128;

/// Estimates the memory of keys as servers of one generation take it on one allocator.
#[derive(Debug, Clone, Copy)]
pub struct MemoryModel {
    server: ServerVersion,
    layout: Layout,
    allocator: Allocator,
}

/// What a value is, as far as it decides how its object is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An integer, which stands in the pointer.
    Int,
    /// A text of this length in bytes.
    Text(u64),
    /// Anything else, behind a pointer.
    Pointer,
}

impl MemoryModel {
    /// The model of a server. A release that is unknown is taken for the newest before it.
    pub fn new(server: ServerVersion, allocator: Allocator) -> MemoryModel {
        MemoryModel {
            server,
            layout: Generation::of(server).layout(),
            allocator,
        }
    }

    /// The server whose memory is meant.
    pub fn server(&self) -> ServerVersion {
        self.server
    }

    /// The allocator it is thought to use.
    pub fn allocator(&self) -> Allocator {
        self.allocator
    }

    /// What a db takes beside its keys: the arrays of its tables, in bytes.
    pub(super) fn db_bytes(&self, keys: u64, expiring: u64) -> u64 {
        let keys = self.layout.db_table.array_bytes(keys, self.allocator);
        let expires = self.layout.expires_table;
        keys.saturating_add(expires.array_bytes(expiring, self.allocator))
    }

    /// What a key takes without what its object points to: name, object, entries, in bytes.
    pub(super) fn key_bytes(&self, key_len: u64, shape: Shape, expires: bool) -> u64 {
        let usable = |bytes| self.allocator.usable(bytes);
        let name = strings::sds(key_len);
        let beside = match self.layout.key {
            KeyPlace::Own => usable(name),
            // Value and next entry, the length of the header, the name.
            KeyPlace::Entry => usable(2 * WORD_BYTES + 1 + name),
            KeyPlace::Object { .. } => 0,
        };
        let embedded = match shape {
            Shape::Text(len) => self.embedded_bytes(key_len, len, expires),
            Shape::Int | Shape::Pointer => None,
        };
        let object = embedded.map_or_else(|| self.object_bytes(key_len, shape, expires), usable);
        let mut entries = 0;
        if self.layout.key != KeyPlace::Entry {
            entries += self.layout.db_table.entry_bytes(self.allocator);
        }
        if expires {
            entries += self.layout.expires_table.entry_bytes(self.allocator);
        }
        beside + object + entries
    }

    /// How a server calls the encoding of a text.
    pub(in crate::dump) fn text_encoding(
        &self,
        key_len: u64,
        len: u64,
        expires: bool,
    ) -> &'static str {
        match self.embedded_bytes(key_len, len, expires) {
            Some(_) => "embstr",
            None => "raw",
        }
    }

    /// How a server calls the encoding of a list of one packed node.
    pub(in crate::dump) fn packed_list_encoding(&self) -> &'static str {
        match self.layout.list_packed {
            true => "listpack",
            false => "quicklist",
        }
    }

    /// The size of an object that holds a text, where it is small enough for that.
    fn embedded_bytes(&self, key_len: u64, len: u64, expires: bool) -> Option<u64> {
        let text = strings::sds_from_8(len);
        match self.layout.key {
            KeyPlace::Own | KeyPlace::Entry => {
                (len <= EMBEDDED_LEN_MAX).then_some(OBJECT_BYTES + text)
            }
            KeyPlace::Object {
                embedded_bytes_max,
                saves_pointer,
            } => {
                let saved = if saves_pointer { WORD_BYTES } else { 0 };
                let bytes = object_with_key(key_len, expires) - saved + text;
                (bytes <= embedded_bytes_max).then_some(bytes)
            }
        }
    }

    /// The object of a value that is not embedded, and the text it may point to.
    fn object_bytes(&self, key_len: u64, shape: Shape, expires: bool) -> u64 {
        let usable = |bytes| self.allocator.usable(bytes);
        let object = match self.layout.key {
            KeyPlace::Own | KeyPlace::Entry => OBJECT_BYTES,
            KeyPlace::Object { .. } => {
                object_with_key(key_len, expires || key_len >= EXPIRY_RESERVED_FROM)
            }
        };
        match shape {
            Shape::Text(len) => usable(object) + usable(strings::sds(len)),
            Shape::Int | Shape::Pointer => usable(object),
        }
    }
}

/// An object with the name of its key: the length of the header, the name, perhaps an expiry.
fn object_with_key(key_len: u64, expires: bool) -> u64 {
    let expiry = if expires { WORD_BYTES } else { 0 };
    OBJECT_BYTES + expiry + 1 + strings::sds(key_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `used_memory` of real servers grew by, without their tables: see `docs/rdb.md`.
    #[test]
    fn keys_take_what_was_measured() {
        use Allocator::{Libc, SystemJemalloc};
        let text = Shape::Text;
        for (server, allocator, key_len, shape, expires, bytes) in [
            ("redis-6.0", SystemJemalloc, 8, text(5), false, 80),
            ("redis-6.0", SystemJemalloc, 8, text(45), false, 128),
            ("redis-6.0", SystemJemalloc, 8, text(20), true, 128),
            ("redis-6.2", Libc, 8, text(5), false, 88),
            ("redis-7.0", SystemJemalloc, 20, text(300), false, 400),
            ("redis-8.0", SystemJemalloc, 8, Shape::Int, false, 64),
            ("redis-8.6", SystemJemalloc, 8, text(20), false, 64),
            ("redis-8.6", SystemJemalloc, 8, text(44), false, 80),
            ("redis-8.6", SystemJemalloc, 140, text(20), false, 224),
            ("valkey-8.1", SystemJemalloc, 8, text(20), true, 64),
            ("valkey-8.1", SystemJemalloc, 8, text(44), false, 80),
            ("valkey-9.1", SystemJemalloc, 8, text(20), false, 48),
            ("valkey-9.1", SystemJemalloc, 8, text(100), false, 128),
            ("valkey-9.1", SystemJemalloc, 20, text(100), false, 160),
            ("valkey-9.1", SystemJemalloc, 8, Shape::Int, false, 32),
        ] {
            let model = MemoryModel::new(server.parse().unwrap(), allocator);
            assert_eq!(
                model.key_bytes(key_len, shape, expires),
                bytes,
                "{server}: key of {key_len}, {shape:?}"
            );
        }
    }
}
