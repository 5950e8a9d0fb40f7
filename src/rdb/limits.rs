//! How large things may get before the parser gives up on them.

/// Caps on what is held in one piece, in bytes.
///
/// Whatever they are, memory is only taken for bytes that have arrived: a length that lies costs
/// nothing but the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest string value that is delivered in one piece; longer ones come in chunks of
    /// exactly this size, the last one excepted.
    pub chunk_bytes_max: usize,
    /// The longest string: a key, a value, an element or a packed blob. Elements and blobs are
    /// held whole, and so are the fields of one entry of a stream, which may take as much as that
    /// once they are told apart. Servers hold up to 512 MiB unless `proto-max-bulk-len` says
    /// otherwise.
    pub string_bytes_max: u64,
    /// The field names of all hash templates together, which are kept to the end of the file.
    pub template_bytes_max: u64,
    /// The longest compressed section of a Dragonfly file, inflated. Dragonfly writes up to about
    /// 1 MiB; a section is held whole.
    pub section_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chunk_bytes_max: 1 << 20,
            string_bytes_max: 512 << 20,
            template_bytes_max: 256 << 20,
            section_bytes_max: 8 << 20,
        }
    }
}
