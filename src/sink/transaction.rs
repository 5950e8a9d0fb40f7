//! Commands gathered into one transaction on the target.
//!
//! The stream is applied one transaction at a time, each sent only when the one before it is
//! confirmed. So a refused block is sent again before anything behind it was executed, and what
//! the source did atomically is atomic on the target.

use crate::{
    keyspace::Db,
    resp::{Command, Encoder},
};

use super::batch::{Batch, Named, Request, Shape, Writes};

/// A transaction takes no more commands from this size on, in bytes.
const BYTES_MAX: usize = 1024 * 1024;
/// A transaction takes no more commands from this number on.
const COMMANDS_MAX: usize = 4096;

/// Gathers commands, with the db each is meant for, into one MULTI ... EXEC.
#[derive(Debug, Default)]
pub struct TransactionBuilder {
    encoder: Encoder,
    commands: Vec<Named>,
    /// How many commands of the source they come from.
    sourced: u64,
    /// The db that is selected on the connection once all that was gathered is executed.
    db: Option<Db>,
    applied_offset: Option<u64>,
}

impl TransactionBuilder {
    /// Appends what became of one command of the source, for `db`, that ends at `offset`.
    pub fn push(&mut self, db: Db, commands: &[Command], offset: u64) {
        self.sourced += u64::from(!commands.is_empty());
        for command in commands {
            self.push_one(db, command, offset);
        }
    }

    fn push_one(&mut self, db: Db, command: &Command, offset: u64) {
        if self.commands.is_empty() {
            self.encoder.words(&[b"MULTI"]);
        }
        if self.db != Some(db) {
            let select = Command::new(vec!["SELECT".into(), db.to_string().into()]);
            self.append(&select, offset);
            self.db = Some(db);
        }
        self.append(command, offset);
    }

    fn append(&mut self, command: &Command, offset: u64) {
        self.encoder.command(command);
        self.commands.push(Named::of(command, Some(offset)));
    }

    /// Says that everything up to `offset` is applied once this transaction is confirmed.
    pub fn covers(&mut self, offset: u64) {
        self.applied_offset = Some(offset);
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether it is time to send what was gathered before more is added.
    pub fn is_full(&self) -> bool {
        self.encoder.len() >= BYTES_MAX || self.commands.len() >= COMMANDS_MAX
    }

    /// Takes the transaction and leaves the builder empty.
    pub fn take(&mut self) -> Option<Batch> {
        if self.commands.is_empty() {
            return None;
        }
        self.encoder.words(&[b"EXEC"]);
        let request = Request {
            end: self.encoder.len(),
            shape: Shape::Transaction,
            commands: std::mem::take(&mut self.commands),
            writes: Writes::Commands(std::mem::take(&mut self.sourced)),
            db: self.db.unwrap_or_default(),
        };
        Some(Batch {
            segments: self.encoder.take(),
            requests: vec![request],
            db: None,
            after_confirmed: true,
            applied_offset: self.applied_offset.take(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_inside_and_remembers_where_it_was() {
        let mut builder = TransactionBuilder::default();
        builder.push(Db(3), &[Command::of([&b"DEL"[..], b"a"])], 10);
        builder.push(Db(0), &[Command::of([&b"DEL"[..], b"b"])], 20);
        builder.covers(25);
        let batch = builder.take().unwrap();
        assert_eq!(
            batch.segments.concat(),
            b"*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n\
              *2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n"
        );
        assert_eq!(batch.applied_offset, Some(25));
        assert_eq!(batch.requests[0].replies(), 6);
        assert_eq!(batch.requests[0].writes, Writes::Commands(2));
        assert!(builder.take().is_none());
        builder.push(Db(0), &[Command::of([&b"DEL"[..], b"c"])], 30);
        assert_eq!(
            builder.take().unwrap().segments.concat(),
            b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\nc\r\n*1\r\n$4\r\nEXEC\r\n"
        );
    }
}
