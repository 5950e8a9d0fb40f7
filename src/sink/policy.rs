//! What the operator decides about the write path.

/// What to do with a key that exists on the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The source's value replaces it.
    Replace,
    /// The target's value stays; the key is counted as skipped.
    Skip,
    /// The run stops and names the key.
    Fail,
}

impl Conflict {
    /// Whether the source's value goes over the target's.
    pub fn replaces(self) -> bool {
        self == Conflict::Replace
    }
}

/// What to do with what cannot be said on the target, such as a field's expiry on an old server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLossy {
    /// The run stops and names the key.
    Fail,
    /// It is left out, counted and named.
    Drop,
}

/// What to do with PUBLISH and SPUBLISH in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// They are sent to the target, as the source would send them to a replica.
    Forward,
    /// They are left out and counted.
    Drop,
}

/// Where the values come from, and so how far their bodies are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// A server that serves them itself at this time.
    Server,
    /// Anybody: a file, whose every element is looked at.
    Anybody,
}

/// What to do with keys, and fields of hashes, that have expired before they could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// They are left out and counted, unless expiries are held.
    LeaveOut,
    /// They are written without their expiry.
    Persist,
}
