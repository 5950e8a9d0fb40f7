//! How large things may get before they are refused.

/// Caps on what a peer may announce or send.
///
/// They guard memory, not the protocol: nothing is reserved by an announced size, so what a peer
/// costs us is what it really sends, up to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument or bulk reply, in bytes. A server's own cap is `proto-max-bulk-len`,
    /// 512 MB unless it was raised.
    pub bulk_bytes_max: usize,
    /// The most arguments of one command, its name included, or elements of one array reply.
    pub args_max: usize,
    /// The longest command or reply in bytes, all its arguments together. A server closes clients
    /// at `client-query-buffer-limit`, 1 GB unless it was changed.
    pub total_bytes_max: usize,
    /// The longest line (simple string or error) in bytes.
    pub line_bytes_max: usize,
    /// How deep array replies may nest.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bulk_bytes_max: 512 << 20,
            args_max: 16 << 20,
            total_bytes_max: 1 << 30,
            line_bytes_max: 1 << 20,
            depth_max: 32,
        }
    }
}
