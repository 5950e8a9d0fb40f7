//! Which verification a report is of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a report begins with: which verification it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION).
    pub version: u32,
    /// The address of the source.
    pub source: String,
    /// The address of the target.
    pub target: String,
    /// The run id of the source, which changes when it is started again.
    pub source_run_id: Option<String>,
    /// The run id of the target.
    pub target_run_id: Option<String>,
    /// `scan` or `snapshot`.
    pub method: String,
    /// `full`, `metadata` or `existence`.
    pub depth: String,
    /// One of so many keys is looked at.
    pub sample: u64,
    /// The selection as text; `""` is all.
    pub selection: String,
    /// How far apart expiries may be.
    pub ttl_tolerance_ms: i64,
    /// When it began, as RFC 3339 has it.
    pub started_at: String,
}

impl Head {
    /// In what another verification differs from this one, so that its report is none of this.
    pub(super) fn difference(&self, theirs: &Head) -> Option<String> {
        let of = |name: &str, ours: &dyn fmt::Display, theirs: &dyn fmt::Display| {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            (ours != theirs)
                .then(|| format!("its {name} is {theirs:?}, that of this one is {ours:?}"))
        };
        of("schema version", &self.version, &theirs.version)
            .or_else(|| of("source", &self.source, &theirs.source))
            .or_else(|| of("target", &self.target, &theirs.target))
            .or_else(|| of("method", &self.method, &theirs.method))
            .or_else(|| of("depth", &self.depth, &theirs.depth))
            .or_else(|| of("sample", &self.sample, &theirs.sample))
            .or_else(|| of("selection", &self.selection, &theirs.selection))
            .or_else(|| {
                let (ours, theirs) = (&self.ttl_tolerance_ms, &theirs.ttl_tolerance_ms);
                of("tolerance of expiries in ms", ours, theirs)
            })
    }
}
