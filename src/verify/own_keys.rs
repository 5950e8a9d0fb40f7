//! The keys that keyferry keeps on a target for itself.

/// What the names of checkpoints and of staged values begin with.
const PREFIXES: [&[u8]; 2] = [b"keyferry:checkpoint:", b"__keyferry:"];

/// Whether a key is none of the user's.
pub(super) fn is_of_keyferry(key: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}
