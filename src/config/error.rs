//! What is wrong with the settings.

/// A setting that cannot be used, or settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{what}: {why}")]
pub struct ConfigError {
    /// What failed, in one line.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub next: String,
}

impl ConfigError {
    /// Makes an error of its three texts.
    pub fn new(
        what: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            what: what.into(),
            why: why.into(),
            next: next.into(),
        }
    }
}
