//! What can be wrong with an RDB or a payload, and where.

use std::fmt;

use bytes::Bytes;

use crate::keyspace::{Db, Escaped};

use super::event::Header;
use super::opcode::{is_opcode, name_of_refused};

/// Why bytes could not be read, and where they stood.
///
/// The offset counts from the first byte of the RDB (or of the payload or value body, where only
/// that was given) and is the same however the input was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where the reader stood, in bytes from the start of the input. For what is wrong inside a
    /// packed or compressed blob: where the blob ends.
    pub offset: u64,
    /// The db that was being read.
    pub db: Db,
    /// The key whose record was being read.
    pub key: Option<Bytes>,
    /// The opcode or value type that was being read.
    pub byte: Option<u8>,
}

/// What can be wrong with an RDB or a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The input ended before what it holds did.
    #[error("the input ends too early")]
    Truncated,
    /// The bytes contradict the format.
    #[error("corrupt: {0}")]
    Corrupt(&'static str),
    /// The bytes are not those that the server wrote.
    #[error("wrong checksum: {stored:016x} is stored, {computed:016x} was computed")]
    Checksum {
        /// What the RDB says.
        stored: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// A value type that is not known, so its end cannot be found.
    #[error("value type {byte}{} is not supported ({header})", Named(*byte))]
    UnsupportedType {
        /// The type byte.
        byte: u8,
        /// Under which magic and version it was met.
        header: Header,
    },
    /// An opcode that is not known, so its end cannot be found.
    #[error("opcode {byte}{} is not supported ({header})", Named(*byte))]
    UnsupportedOpcode {
        /// The opcode.
        byte: u8,
        /// Under which magic and version it was met.
        header: Header,
    },
    /// The logical content was asked for of a value that only its server or module understands.
    #[error("{0} has no elements, only a body")]
    NoElements(Opaque),
    /// A value of this type cannot be written as the one that was asked for.
    #[error("value type {from} cannot be written as type {to}")]
    NotConvertible {
        /// The type byte it has.
        from: u8,
        /// The type byte that was asked for.
        to: u8,
    },
    /// Something is larger than it was allowed to be.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes, as far as it is known.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The input does not begin like an RDB.
    #[error("not an RDB: it begins like {0}")]
    NotRdb(Likeness),
    /// Written by a server newer than this reader.
    #[error("unknown RDB version ({0})")]
    UnknownVersion(Header),
}

/// A value whose content is not looked into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Opaque {
    /// Of a module, by the nine characters of its name.
    #[error("a value of module {0}")]
    Module(String),
    /// Of a type that only Dragonfly has.
    #[error("{0} of Dragonfly")]
    Dragonfly(&'static str),
}

/// What bytes that are no RDB begin like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Likeness {
    /// A magic without digits behind it.
    #[error("an RDB without a version")]
    NoVersion,
    /// An RDB in the envelope of Valkey 9.2 (`rdbcompression lz4` or `zstd`).
    #[error("a compressed RDB of Valkey")]
    ValkeyCompressed,
    /// RESP commands.
    #[error("commands, as in an append-only file")]
    Commands,
    /// A RESP reply.
    #[error("the reply of a server")]
    Reply,
    /// gzip.
    #[error("a gzip file")]
    Gzip,
    /// A Zstandard frame.
    #[error("a Zstandard file")]
    Zstandard,
    /// An LZ4 frame.
    #[error("an LZ4 file")]
    Lz4,
    /// Nothing that is known.
    #[error("no format that is known")]
    Unknown,
}

/// What is known about a byte that is refused, in brackets.
struct Named(u8);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name_of_refused(self.0) {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl ErrorKind {
    /// A byte where an opcode or a value type was expected that is neither.
    pub(crate) fn unsupported(byte: u8, header: Header) -> Self {
        match is_opcode(byte) {
            true => Self::UnsupportedOpcode { byte, header },
            false => Self::UnsupportedType { byte, header },
        }
    }
}

impl Error {
    /// An error outside any key.
    pub(crate) fn at(kind: ErrorKind, offset: u64) -> Self {
        Self {
            kind,
            offset,
            db: Db::default(),
            key: None,
            byte: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RDB at offset {}", self.offset)?;
        if let Some(key) = &self.key {
            write!(f, ", db {}, key {}", self.db, Escaped(key))?;
        }
        if let Some(byte) = self.byte {
            write!(
                f,
                ", in {} {byte}",
                if is_opcode(byte) {
                    "opcode"
                } else {
                    "value type"
                }
            )?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.magic(), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_where() {
        let error = Error {
            kind: ErrorKind::Corrupt("the listpack has no end byte"),
            offset: 1234,
            db: Db(3),
            key: Some(Bytes::from_static(b"user:\xff")),
            byte: Some(16),
        };
        assert_eq!(
            error.to_string(),
            "RDB at offset 1234, db 3, key \"user:\\xff\", in value type 16: corrupt: the listpack has no end byte"
        );
        let header = Header {
            valkey: true,
            version: 82,
        };
        assert_eq!(
            Error::at(ErrorKind::UnknownVersion(header), 9).to_string(),
            "RDB at offset 9: unknown RDB version (VALKEY version 82)"
        );
        let kind = ErrorKind::UnsupportedType { byte: 33, header };
        assert_eq!(
            kind.to_string(),
            "value type 33 (the state of a rate limiter) is not supported (VALKEY version 82)"
        );
    }
}
