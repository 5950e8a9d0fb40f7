//! An RDB as the commands that rebuild its content on a server.
//!
//! Memory is bounded as it is where values are rebuilt on a target: commands are chunks, and each
//! is written before the next event is read.

mod format;
mod rebuilding;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::{
    keyspace::{Db, Escaped},
    rdb::{Event, KeyType, ServerVersion},
    resp::Command,
    sink::{Loss, LossNames, OnLossy, Target},
};

pub use format::CommandFormat;
use rebuilding::{Rebuilding, Said, Ways};

use super::{CopyError, Output, Reader};

/// What was written is handed on when it has this many bytes.
const FLUSH_BYTES: usize = 256 << 10;

/// For whom commands are written, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandsConfig {
    /// The server that shall execute them.
    pub server: ServerVersion,
    /// How they are written.
    pub format: CommandFormat,
    /// What is there under the name of a key is replaced.
    pub replace: bool,
    /// Values are said by RESTORE where the server takes the payload.
    pub restore: bool,
    /// What to do with what that server cannot hold.
    pub on_lossy: OnLossy,
}

/// What was written, and what was not. Serialises to the object `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CommandsSummary {
    /// Keys written, by type, and their `total`.
    pub keys: BTreeMap<&'static str, u64>,
    /// Keys that were not selected.
    pub keys_not_selected: u64,
    /// Keys without a single element, which no server can hold.
    pub keys_empty: u64,
    /// Function libraries written.
    pub functions: u64,
    /// Scripts written.
    pub scripts: u64,
    /// What the server cannot hold, by kind.
    pub losses: BTreeMap<&'static str, u64>,
    /// Records left out that modules keep beside the keys.
    pub module_aux_left_out: u64,
    /// Commands written.
    pub commands: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Why the commands could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CommandsError {
    /// Reading or writing failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The server cannot hold something, and that was not to be left out.
    #[error("{server} cannot be told {loss} (db {db}, {})", Escaped(.key))]
    Lossy {
        /// For whom the commands were written.
        server: ServerVersion,
        /// What it cannot be told.
        loss: Loss,
        /// Where that stands.
        db: Db,
        /// The key it belongs to; the first line of a function library.
        key: Bytes,
        /// Values are said by payloads already, where they can be.
        by_payload: bool,
    },
}

impl CommandsError {
    /// What to do next about this loss, where payloads were or were not written already.
    pub fn next_of(loss: Loss, by_payload: bool) -> &'static str {
        match loss {
            Loss::PendingOfDeletedEntry if !by_payload => {
                "run again with --restore, since a payload says what commands cannot, or with \
                 --on-lossy drop to leave that out and have it counted"
            }
            _ => "run again with --on-lossy drop to leave that out and have it counted",
        }
    }
}

/// Writes the commands that rebuild on a server what a reader brings. The caller finishes the
/// output.
///
/// # Errors
/// `Lossy` for the first thing that the server cannot be told, if that is the policy; what
/// reading and writing give.
pub async fn commands(
    reader: &mut Reader,
    config: CommandsConfig,
    output: &mut Output,
) -> Result<CommandsSummary, CommandsError> {
    let mut writing = Writing::new(config);
    while let Some(event) = reader.next().await.map_err(CopyError::from)? {
        let key = match event {
            Event::Key(key) => key,
            event => {
                writing.take(event, reader)?;
                writing.hand_on(output, FLUSH_BYTES)?;
                continue;
            }
        };
        writing.db = reader.db();
        writing.name = key.key.clone();
        writing.key_type = KeyType::of(key.value_type);
        reader.choose(writing.rebuilding.begin(reader.db(), key));
        writing.count_losses()?;
    }
    reader.finish().await.map_err(CopyError::from)?;
    writing.hand_on(output, 0)?;
    let mut summary = writing.summary;
    let losses = writing.losses.counts();
    summary.losses = losses.map(|(loss, n)| (loss.name(), n)).collect();
    summary.keys_not_selected = reader.keys_not_selected();
    summary.bytes = output.bytes();
    Ok(summary)
}

/// Commands on their way to the output.
struct Writing {
    config: CommandsConfig,
    rebuilding: Rebuilding,
    /// What the last key is called, and where it stands.
    name: Bytes,
    db: Db,
    key_type: KeyType,
    commands: Vec<Command>,
    written: BytesMut,
    losses: LossNames<Loss>,
    summary: CommandsSummary,
}

impl Writing {
    fn new(config: CommandsConfig) -> Writing {
        let ways = Ways {
            replace: config.replace,
            restore: config.restore,
        };
        Writing {
            rebuilding: Rebuilding::new(Target::of_version(config.server), ways),
            config,
            name: Bytes::new(),
            db: Db::default(),
            key_type: KeyType::String,
            commands: Vec::new(),
            written: BytesMut::new(),
            losses: LossNames::new(format!("{} cannot be told", config.server)),
            summary: CommandsSummary::default(),
        }
    }

    /// Takes any event but a key.
    fn take(&mut self, event: Event, reader: &Reader) -> Result<(), CommandsError> {
        match event {
            Event::Function { code } => self.function(code)?,
            Event::Aux { name, value } if name == "lua" => {
                self.summary.scripts += 1;
                let args = vec!["SCRIPT".into(), "LOAD".into(), value];
                self.commands.push(Command::new(args));
            }
            Event::ModuleAux { module } => {
                tracing::warn!(
                    module,
                    "data that a module keeps beside the keys is left out"
                );
                self.summary.module_aux_left_out += 1;
            }
            Event::MemberExpiry {
                member,
                expire_at_ms,
                ..
            } => {
                let commands = &mut self.commands;
                self.rebuilding
                    .expire_member(member, expire_at_ms, commands);
                self.count_losses()?;
            }
            event => self.value(event, reader)?,
        }
        for command in self.commands.drain(..) {
            self.summary.commands += 1;
            self.config.format.put(&command, &mut self.written);
        }
        Ok(())
    }

    fn value(&mut self, event: Event, reader: &Reader) -> Result<(), CommandsError> {
        let said = self.rebuilding.take(event, &mut self.commands);
        let said = said.map_err(|error| CopyError::from(reader.unusable(&self.name, error)))?;
        match said {
            Some(Said::Written) => {
                for name in ["total", self.key_type.name()] {
                    *self.summary.keys.entry(name).or_default() += 1;
                }
            }
            Some(Said::Empty) => self.summary.keys_empty += 1,
            Some(Said::Lost) | None => {}
        }
        self.count_losses()
    }

    fn function(&mut self, code: Bytes) -> Result<(), CommandsError> {
        if !self.config.server.has_functions() {
            let first = code.split(|byte| *byte == b'\n').next();
            self.name = code.slice_ref(first.unwrap_or_default());
            self.db = Db::default();
            return self.lose(Loss::Function, 1);
        }
        self.summary.functions += 1;
        let mut args: Vec<Bytes> = vec!["FUNCTION".into(), "LOAD".into()];
        if self.config.replace {
            args.push("REPLACE".into());
        }
        args.push(code);
        self.commands.push(Command::new(args));
        Ok(())
    }

    fn count_losses(&mut self) -> Result<(), CommandsError> {
        for (loss, count) in self.rebuilding.lost() {
            self.lose(loss, count)?;
        }
        Ok(())
    }

    /// Counts what belongs to the last key, or gives up over it.
    fn lose(&mut self, loss: Loss, count: u64) -> Result<(), CommandsError> {
        if self.config.on_lossy == OnLossy::Fail {
            return Err(CommandsError::Lossy {
                server: self.config.server,
                loss,
                db: self.db,
                key: self.name.clone(),
                by_payload: self.config.restore,
            });
        }
        self.losses.lose(loss, count, self.db, &self.name);
        Ok(())
    }

    /// Hands on what was written when it has at least `bytes_min` bytes.
    fn hand_on(&mut self, output: &mut Output, bytes_min: usize) -> Result<(), CommandsError> {
        if self.written.len() >= bytes_min {
            output.put(&self.written).map_err(CopyError::from)?;
            self.written.clear();
        }
        Ok(())
    }
}
