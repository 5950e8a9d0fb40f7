//! What can be wrong with RESP bytes.

/// Why bytes are not RESP, or more than we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Something else stands where `*<count>` or `$<length>` must.
    #[error("expected '{}', found byte {found:#04x}", *expected as char)]
    Unexpected {
        /// The byte that must stand here.
        expected: u8,
        /// The byte that does.
        found: u8,
    },
    /// An empty line stands where a command or a reply must begin.
    #[error("expected a command or a reply, found an empty line")]
    EmptyLine,
    /// A reply begins with a byte that RESP2 does not have.
    #[error("no reply begins with byte {found:#04x}")]
    UnknownReply {
        /// The byte it begins with.
        found: u8,
    },
    /// A length, a count or an integer reply is not a decimal number in its range.
    #[error("not a valid number")]
    BadNumber,
    /// A command of no arguments.
    #[error("a command without a name")]
    EmptyCommand,
    /// A line goes on beyond its cap.
    #[error("a line of more than {max} bytes")]
    LineTooLong {
        /// The cap.
        max: usize,
    },
    /// A line or an argument does not end in CR LF.
    #[error("not ended by CR LF")]
    NoTerminator,
    /// An argument or a bulk reply is announced to be longer than the cap.
    #[error("a bulk string of {length} bytes; the limit is {max}")]
    BulkTooLong {
        /// The announced length.
        length: u64,
        /// The cap.
        max: usize,
    },
    /// More arguments or elements are announced than the cap.
    #[error("{count} arguments or elements; the limit is {max}")]
    TooMany {
        /// The announced number.
        count: u64,
        /// The cap.
        max: usize,
    },
    /// All arguments or elements together are longer than the cap.
    #[error("a command or reply of more than {max} bytes")]
    TooLong {
        /// The cap.
        max: usize,
    },
    /// Arrays nest deeper than the cap.
    #[error("arrays nested more than {max} deep")]
    TooDeep {
        /// The cap.
        max: usize,
    },
}

/// Bytes that are not RESP, and where.
///
/// A decoder that returned one is of no further use: where the next command begins is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid RESP at byte {offset}: {kind}")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where the bad line or argument begins, in bytes since the decoder's first.
    pub offset: u64,
}
