//! What can be wrong with an RDB or a payload, and where.

use std::fmt;

use bytes::Bytes;

use crate::keyspace::{Db, Escaped};

use super::event::Header;
use super::opcode::OPCODE_MIN;

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
    #[error("value type {byte} is not supported ({header})")]
    UnsupportedType {
        /// The type byte.
        byte: u8,
        /// Under which magic and version it was met.
        header: Header,
    },
    /// An opcode that is not known, so its end cannot be found.
    #[error("opcode {byte} is not supported ({header})")]
    UnsupportedOpcode {
        /// The opcode.
        byte: u8,
        /// Under which magic and version it was met.
        header: Header,
    },
    /// An AUX field that carries a part of the data which cannot be carried on.
    #[error("{0} is not supported")]
    UnsupportedAux(&'static str),
    /// The logical content was asked for of a value that only its module understands.
    #[error("a value of module {module} has no elements, only a body")]
    NoElements {
        /// The nine characters of the module's name.
        module: String,
    },
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
    NotRdb(&'static str),
    /// Written by a server newer than this reader.
    #[error("unknown RDB version ({0})")]
    UnknownVersion(Header),
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
                if byte >= OPCODE_MIN {
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
            version: 81,
        };
        assert_eq!(
            Error::at(ErrorKind::UnknownVersion(header), 9).to_string(),
            "RDB at offset 9: unknown RDB version (VALKEY version 81)"
        );
    }
}
