//! The checkpoint: how far a migration has come, kept on the target beside the data.
//!
//! It is one hash in db 0. Every transaction of the stream sets its fields, so they are true
//! whatever happens to keyferry, to the connection or to the target: they went with the data, or
//! stayed away with it.
//!
//! ```text
//!  keyferry:checkpoint:<name>
//!    owner    which process writes; set when a process takes the migration over, never by a batch
//!    phase    snapshot | stream
//!    replid   40 digits, or empty after SYNC
//!    offset   the last byte of the stream that is applied, at a border of commands
//!    db       the database that the stream has selected there
//!    held     1 while expiries may be held
//!    import   1 while the target may be in import mode for this migration
//!    empty    1 when the target had no keys of its own at the beginning
//!    source   where it came from, for people
//!    version  of this format
//! ```

use std::{collections::HashMap, fmt};

use bytes::Bytes;

use crate::{keyspace::Db, resp::Command};

/// What all checkpoints are called by.
pub(super) const PREFIX: &str = "keyferry:checkpoint:";
/// The version of the format.
const VERSION: &str = "1";
/// How many fields a checkpoint has without its owner.
pub(super) const FIELDS: usize = 9;
/// The field that says which process writes.
pub(super) const OWNER: &str = "owner";

/// The field that says whether the target may be in import mode.
pub(super) const IMPORT: &str = "import";

/// The db that checkpoints are in.
pub(super) const DB: Db = Db(0);

/// The name of the key that holds the checkpoint called `name`.
pub(super) fn key(name: &str) -> Bytes {
    format!("{PREFIX}{name}").into()
}

/// How far a migration has come, by its kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPhase {
    /// A snapshot is being written; it is not complete.
    Snapshot,
    /// The snapshot is complete, and the stream up to the offset.
    Stream,
}

impl CheckpointPhase {
    fn word(self) -> &'static str {
        match self {
            CheckpointPhase::Snapshot => "snapshot",
            CheckpointPhase::Stream => "stream",
        }
    }
}

impl fmt::Display for CheckpointPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far a migration has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What is under way.
    pub phase: CheckpointPhase,
    /// The replication history; empty when the source has none that could be continued.
    pub replid: String,
    /// The last byte of it that is applied.
    pub offset: u64,
    /// The database that the stream has selected there.
    pub db: Db,
    /// Whether expiries may be held.
    pub held: bool,
    /// Whether the target may be in import mode for this migration.
    pub import_mode: bool,
    /// Whether the target had no keys of its own at the beginning.
    pub began_empty: bool,
    /// Where it came from, for people.
    pub source: String,
}

/// A field of a checkpoint is missing or makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{0}` is missing or cannot be read")]
pub struct CheckpointError(pub &'static str);

impl Checkpoint {
    /// The command that writes it, for a connection that has selected db 0.
    pub(super) fn write(&self, key: &Bytes) -> Command {
        let mut args: Vec<Bytes> = vec!["HSET".into(), key.clone()];
        for (field, value) in self.fields() {
            args.push(field.into());
            args.push(value.into());
        }
        Command::new(args)
    }

    /// Its fields without the owner.
    pub fn fields(&self) -> [(&'static str, String); FIELDS] {
        let bit = |is: bool| u8::from(is).to_string();
        [
            ("phase", self.phase.to_string()),
            ("replid", self.replid.clone()),
            ("offset", self.offset.to_string()),
            ("db", self.db.to_string()),
            ("held", bit(self.held)),
            (IMPORT, bit(self.import_mode)),
            ("empty", bit(self.began_empty)),
            ("source", self.source.clone()),
            ("version", VERSION.into()),
        ]
    }

    /// Reads the fields; `None` when there are none but the owner.
    ///
    /// # Errors
    /// The first field that is missing or cannot be read.
    pub fn read(fields: &HashMap<String, String>) -> Result<Option<Checkpoint>, CheckpointError> {
        if fields.keys().all(|field| field == OWNER) {
            return Ok(None);
        }
        let field = |name: &'static str| fields.get(name).ok_or(CheckpointError(name));
        let bit = |name: &'static str| Ok(field(name)? == "1");
        if field("version")? != VERSION {
            return Err(CheckpointError("version"));
        }
        Ok(Some(Checkpoint {
            phase: match field("phase")?.as_str() {
                "snapshot" => CheckpointPhase::Snapshot,
                "stream" => CheckpointPhase::Stream,
                _ => return Err(CheckpointError("phase")),
            },
            replid: field("replid")?.clone(),
            offset: number(field("offset")?).ok_or(CheckpointError("offset"))?,
            db: number(field("db")?).map(Db).ok_or(CheckpointError("db"))?,
            held: bit("held")?,
            import_mode: bit(IMPORT)?,
            began_empty: bit("empty")?,
            source: field("source")?.clone(),
        }))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            phase: CheckpointPhase::Stream,
            replid: "f1201b72a276aa8b04f1f574320a89b9e3b67da5".into(),
            offset: 1234,
            db: Db(3),
            held: true,
            import_mode: true,
            began_empty: false,
            source: "127.0.0.1:6379".into(),
        }
    }

    fn fields(checkpoint: &Checkpoint) -> HashMap<String, String> {
        let fields = checkpoint.fields();
        fields.into_iter().map(|(f, v)| (f.into(), v)).collect()
    }

    #[test]
    fn reads_what_it_writes() {
        for phase in [CheckpointPhase::Snapshot, CheckpointPhase::Stream] {
            let written = Checkpoint {
                phase,
                ..checkpoint()
            };
            assert_eq!(Checkpoint::read(&fields(&written)), Ok(Some(written)));
        }
    }

    #[test]
    fn an_owner_alone_is_no_checkpoint() {
        let mut fields = HashMap::new();
        assert_eq!(Checkpoint::read(&fields), Ok(None));
        fields.insert(OWNER.into(), "somebody".into());
        assert_eq!(Checkpoint::read(&fields), Ok(None));
    }

    #[test]
    fn what_is_missing_or_unreadable_is_named() {
        for (name, _) in checkpoint().fields() {
            let mut fields = fields(&checkpoint());
            fields.remove(name);
            assert_eq!(Checkpoint::read(&fields), Err(CheckpointError(name)));
        }
        for (name, bad) in [
            ("version", "2"),
            ("phase", "verify"),
            ("offset", "-1"),
            ("offset", "+1"),
            ("offset", "99999999999999999999"),
            ("db", "x"),
        ] {
            let mut fields = fields(&checkpoint());
            fields.insert(name.into(), bad.into());
            let read = Checkpoint::read(&fields);
            assert_eq!(read, Err(CheckpointError(name)), "{name} {bad}");
        }
    }
}
