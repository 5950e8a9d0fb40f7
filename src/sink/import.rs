//! Import mode, in which Valkey (8.1 and later) expires and evicts nothing by itself, like a replica.
//!
//! ```text
//!  CONFIG SET import-mode yes    nothing is deleted for its expiry; to others it reads as gone
//!  CLIENT IMPORT-SOURCE ON       a connection that sees and changes it all the same
//! ```
//!
//! It is a setting of the server, not of a connection: it ends with the process of the server, and
//! not with ours. So the checkpoint remembers that it was turned on here, before it is.

use super::{Admin, Error};

/// Whether the target is in import mode for a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// It is not, or it has none.
    Off,
    /// It was before we came, and will be when we go.
    Theirs,
    /// For as long as the migration runs.
    Ours,
}

impl ImportMode {
    /// Whether connections that write say that they import.
    pub(super) fn is_on(self) -> bool {
        self != ImportMode::Off
    }
}

impl Admin {
    /// Whether the target is in import mode; `None` when it does not tell.
    pub async fn import_mode(&mut self) -> Option<bool> {
        let mode: String = self.setting("import-mode").await?;
        Some(mode == "yes")
    }

    /// Turns import mode on or off; whether that could be done.
    ///
    /// # Errors
    /// [`super::ErrorKind::Admin`].
    pub async fn set_import_mode(&mut self, on: bool) -> Result<bool, Error> {
        let set: redis::RedisResult<()> = redis::cmd("CONFIG")
            .arg(&["SET", "import-mode", if on { "yes" } else { "no" }])
            .query_async(self.connection())
            .await;
        match set {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some("NOPERM") => Ok(false),
            Err(error) => Err(self.refused("change its import mode", error)),
        }
    }
}
