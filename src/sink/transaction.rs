//! Commands gathered into one transaction on the target.
//!
//! The stream is applied one transaction at a time, each sent only when the one before it is
//! confirmed. So a refused block is sent again before anything behind it was executed, and what
//! the source did atomically is atomic on the target. The checkpoint is a part of it.
//!
//! SETs without options that follow each other become one MSET, which does the same: a target
//! queues, executes and answers one command then.

use bytes::Bytes;

use crate::{
    keyspace::Db,
    resp::{Command, Encoder},
};

use super::{
    BatchMax, Checkpoint, Claim,
    batch::{Batch, Commands, Named, Request, Shape, Writes},
    checkpoint,
    mset::Mset,
};

/// A transaction takes no more commands from this size on, in bytes.
const BYTES_MAX: usize = 1024 * 1024;
/// A transaction takes no more commands from this number on, each SET counted.
const COMMANDS_MAX: usize = 4096;

/// Gathers commands, with the db each is meant for, into one MULTI ... EXEC that ends with the
/// checkpoint.
#[derive(Debug)]
pub struct TransactionBuilder {
    encoder: Encoder,
    commands: Vec<Named>,
    /// SETs behind those, the last of which ends at this offset.
    strings: Mset,
    strings_offset: u64,
    /// How many commands were gathered, each SET counted.
    gathered: usize,
    /// How many commands of the source they come from.
    sourced: u64,
    /// The db that is selected on the connection once all that was gathered is executed.
    db: Option<Db>,
    applied_offset: Option<u64>,
    checkpoint: Option<(Bytes, Checkpoint)>,
    /// One of the commands takes the checkpoint away, with all that is in its db.
    empties: bool,
}

impl TransactionBuilder {
    /// Makes a builder whose transactions carry `checkpoint`, if there is one to keep.
    pub fn new(checkpoint: Option<(Claim, Checkpoint)>) -> TransactionBuilder {
        TransactionBuilder {
            encoder: Encoder::default(),
            commands: Vec::new(),
            strings: Mset::default(),
            strings_offset: 0,
            gathered: 0,
            sourced: 0,
            db: None,
            applied_offset: None,
            checkpoint: checkpoint.map(|(claim, checkpoint)| (claim.key(), checkpoint)),
            empties: false,
        }
    }

    /// Forgets what was gathered, and what is selected on the connection: it will be another.
    pub fn clear(&mut self) {
        let checkpoint = self.checkpoint.take();
        *self = TransactionBuilder {
            checkpoint,
            ..TransactionBuilder::new(None)
        };
    }

    /// Appends what became of one command of the source, for `db`, that ends at `offset`.
    pub fn push(&mut self, db: Db, commands: &[Command], offset: u64) {
        self.sourced += u64::from(!commands.is_empty());
        for command in commands {
            self.push_one(db, command, offset);
            self.empties |= may_empty(db, command);
            if let Some(swapped) = swapped_with_checkpoints(command) {
                self.drop_checkpoint(swapped, offset);
            }
        }
    }

    fn push_one(&mut self, db: Db, command: &Command, offset: u64) {
        if self.is_empty() {
            self.encoder.words(&[b"MULTI"]);
        }
        if self.db != Some(db) {
            let select = Command::new(vec!["SELECT".into(), db.to_string().into()]);
            self.append(&select, offset);
            self.db = Some(db);
        }
        self.gathered += 1;
        match plain_set(command) {
            Some((key, string)) => {
                self.strings_offset = offset;
                if self.strings.push(key, string) {
                    self.close_strings();
                }
            }
            None => self.append(command, offset),
        }
    }

    fn append(&mut self, command: &Command, offset: u64) {
        self.close_strings();
        self.encoder.command(command);
        self.commands.push(Named::of(command, Some(offset)));
    }

    fn close_strings(&mut self) {
        if let Some(written) = self.strings.write(&mut self.encoder) {
            self.commands.push(Named {
                command: written.command,
                key: written.key,
                offset: Some(self.strings_offset),
            });
        }
    }

    /// The checkpoint has gone to `db` with everything else; a new one is written where it belongs.
    fn drop_checkpoint(&mut self, db: Db, offset: u64) {
        if let Some((key, _)) = &self.checkpoint {
            let del = Command::new(vec!["DEL".into(), key.clone()]);
            self.push_one(db, &del, offset);
        }
    }

    /// Says that everything up to `offset` is applied once this transaction is confirmed, and
    /// which database the stream has selected there.
    pub fn covers(&mut self, offset: u64, db: Db) {
        self.applied_offset = Some(offset);
        if let Some((_, checkpoint)) = &mut self.checkpoint {
            (checkpoint.offset, checkpoint.db) = (offset, db);
        }
    }

    /// Says in which history the offsets are.
    pub fn set_replid(&mut self, replid: &str) {
        if let Some((_, checkpoint)) = &mut self.checkpoint
            && checkpoint.replid != replid
        {
            replid.clone_into(&mut checkpoint.replid);
        }
    }

    /// Says whether expiries may be held once this transaction is confirmed.
    pub fn set_held(&mut self, held: bool) {
        if let Some((_, checkpoint)) = &mut self.checkpoint {
            checkpoint.held = held;
        }
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.strings.count() == 0
    }

    /// Whether it is time to send what was gathered before more is added.
    pub fn is_full(&self, max: BatchMax) -> bool {
        self.encoder.len() + self.strings.len() >= max.bytes.min(BYTES_MAX)
            || self.gathered >= COMMANDS_MAX
            || self.sourced >= max.keys as u64
    }

    /// Takes the transaction and leaves the builder empty.
    pub fn take(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        self.take_with_checkpoint()
    }

    /// Takes the transaction, though nothing but the checkpoint may be in it; `None` when there is
    /// no checkpoint either.
    pub fn take_with_checkpoint(&mut self) -> Option<Batch> {
        let offset = self.applied_offset.take();
        if let Some((key, checkpoint)) = &self.checkpoint {
            let write = checkpoint.write(key);
            self.push_one(checkpoint::DB, &write, offset.unwrap_or_default());
        } else if self.is_empty() {
            return None;
        }
        self.close_strings();
        self.encoder.words(&[b"EXEC"]);
        let request = Request {
            end: self.encoder.len(),
            shape: Shape::Transaction,
            commands: Commands::Many(std::mem::take(&mut self.commands)),
            writes: Writes::Commands(std::mem::take(&mut self.sourced)),
            db: self.db.unwrap_or_default(),
            mark: offset.filter(|_| self.checkpoint.is_some()),
            finds_checkpoint: self.checkpoint.is_some() && !self.empties,
        };
        (self.empties, self.gathered) = (false, 0);
        Some(Batch {
            segments: self.encoder.take(),
            requests: vec![request],
            db: None,
            after_confirmed: true,
            applied_offset: offset,
        })
    }
}

/// The key and the string of a SET without options, if it may go with others.
fn plain_set(command: &Command) -> Option<(&Bytes, &Bytes)> {
    match command.args() {
        [_, key, string] if command.is("SET") && Mset::takes(key, string) => Some((key, string)),
        _ => None,
    }
}

/// Whether a command for `db` may take the checkpoint away. Old sources send scripts as they are,
/// and nobody knows what those do.
fn may_empty(db: Db, command: &Command) -> bool {
    let anywhere = ["FLUSHALL", "EVAL", "EVALSHA"];
    anywhere.iter().any(|name| command.is(name))
        || (command.is("FLUSHDB") && db == checkpoint::DB)
        || swapped_with_checkpoints(command).is_some()
}

/// The db that a SWAPDB gives the content of the checkpoints' db.
fn swapped_with_checkpoints(command: &Command) -> Option<Db> {
    if !command.is("SWAPDB") {
        return None;
    }
    let db = |index| {
        let text = std::str::from_utf8(command.arg(index)).ok()?;
        text.parse().ok().map(Db)
    };
    match (db(1)?, db(2)?) {
        (checkpoint::DB, checkpoint::DB) => None,
        (checkpoint::DB, other) | (other, checkpoint::DB) => Some(other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::CheckpointPhase;

    fn bytes(batch: &Batch) -> String {
        let bytes = batch.segments.concat();
        let mut text = Vec::new();
        for word in bytes.split(|byte| *byte == b'\n').skip(1) {
            if !word.starts_with(b"$") && !word.starts_with(b"*") && !word.is_empty() {
                text.push(word.trim_ascii_end().escape_ascii().to_string());
            }
        }
        text.join(" ")
    }

    #[test]
    fn selects_inside_and_remembers_where_it_was() {
        let mut builder = TransactionBuilder::new(None);
        builder.push(Db(3), &[Command::of([&b"DEL"[..], b"a"])], 10);
        builder.push(Db(0), &[Command::of([&b"DEL"[..], b"b"])], 20);
        builder.covers(25, Db(0));
        let batch = builder.take().unwrap();
        assert_eq!(
            batch.segments.concat(),
            b"*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n\
              *2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n"
        );
        assert_eq!(batch.applied_offset, Some(25));
        assert_eq!(batch.requests[0].mark, None);
        assert_eq!(batch.requests[0].replies(), 6);
        assert_eq!(batch.requests[0].writes, Writes::Commands(2));
        assert!(builder.take().is_none());
        assert!(builder.take_with_checkpoint().is_none());
        builder.push(Db(0), &[Command::of([&b"DEL"[..], b"c"])], 30);
        assert_eq!(bytes(&builder.take().unwrap()), "MULTI DEL c EXEC");
    }

    #[test]
    fn sets_that_follow_each_other_become_one_command() {
        let mut builder = TransactionBuilder::new(None);
        let mut push = |db, words: &str, offset| {
            let command = Command::of(words.split(' ').map(str::as_bytes));
            builder.push(Db(db), &[command], offset);
        };
        push(0, "SET a 1", 10);
        push(0, "set b 2", 20);
        push(0, "SET a 3", 30);
        push(0, "INCR a", 40);
        push(0, "SET a 4", 50);
        push(0, "SET c 1 KEEPTTL", 60);
        push(1, "SET a 5", 70);
        push(2, "SET a 6", 80);
        builder.covers(80, Db(2));
        let batch = builder.take().unwrap();
        assert_eq!(
            bytes(&batch),
            "MULTI SELECT 0 MSET a 1 b 2 a 3 INCR a SET a 4 SET c 1 KEEPTTL SELECT 1 SET a 5 \
             SELECT 2 SET a 6 EXEC"
        );
        let named = |named: &Named| named.to_string();
        let names: Vec<String> = batch.requests[0].commands.iter().map(named).collect();
        assert_eq!(names[1], "MSET \"a\" at offset 30");
        assert_eq!(names.len() + 2, batch.requests[0].replies());
        assert_eq!(batch.requests[0].writes, Writes::Commands(8));
        assert!(builder.is_empty());
    }

    #[test]
    fn each_set_counts_for_the_size_of_a_transaction() {
        let mut builder = TransactionBuilder::new(None);
        let max = BatchMax {
            bytes: usize::MAX,
            keys: usize::MAX,
        };
        let set = Command::of([&b"SET"[..], b"a", b"1"]);
        let until_full = (1..).find(|_| {
            builder.push(Db(0), std::slice::from_ref(&set), 1);
            builder.is_full(max)
        });
        assert_eq!(until_full, Some(COMMANDS_MAX));
        builder.take().unwrap();
        assert!(!builder.is_full(max));
    }

    #[test]
    fn the_checkpoint_goes_with_the_data_and_stays_in_its_db() {
        let checkpoint = Checkpoint {
            phase: CheckpointPhase::Stream,
            replid: "r".into(),
            offset: 0,
            db: Db(0),
            held: true,
            import_mode: false,
            began_empty: true,
            source: "s".into(),
        };
        let mut builder = TransactionBuilder::new(Some((Claim::new("m"), checkpoint)));
        let written = |offset, db, held| {
            format!(
                "HSET keyferry:checkpoint:m phase stream replid r offset {offset} db {db} \
                 held {held} import 0 empty 1 source s version 1 EXEC"
            )
        };
        builder.push(Db(3), &[Command::of([&b"DEL"[..], b"a"])], 10);
        builder.covers(25, Db(3));
        let batch = builder.take().unwrap();
        assert_eq!(batch.requests[0].mark, Some(25));
        assert!(batch.requests[0].finds_checkpoint);
        let expected = format!("MULTI SELECT 3 DEL a SELECT 0 {}", written(25, 3, 1));
        assert_eq!(bytes(&batch), expected);
        assert!(builder.take().is_none());

        builder.set_held(false);
        builder.covers(30, Db(3));
        let batch = builder.take_with_checkpoint().unwrap();
        assert_eq!(bytes(&batch), format!("MULTI {}", written(30, 3, 0)));

        let swap = Command::of([&b"SWAPDB"[..], b"2", b"0"]);
        builder.push(Db(3), &[swap], 40);
        builder.covers(40, Db(3));
        let expected = format!(
            "MULTI SELECT 3 SWAPDB 2 0 SELECT 2 DEL keyferry:checkpoint:m SELECT 0 {}",
            written(40, 3, 0)
        );
        let batch = builder.take().unwrap();
        assert_eq!(bytes(&batch), expected);
        assert!(!batch.requests[0].finds_checkpoint);
    }

    #[test]
    fn what_empties_its_db_takes_the_checkpoint_away() {
        for (db, command, finds) in [
            (0, &["FLUSHDB"][..], false),
            (1, &["FLUSHDB"], true),
            (1, &["FLUSHALL"], false),
            (1, &["SWAPDB", "1", "2"], true),
            (1, &["SWAPDB", "0", "2"], false),
            (1, &["EVAL", "return 1", "0"], false),
            (0, &["DEL", "a"], true),
        ] {
            let words = command.iter().map(|word| word.as_bytes());
            let command = Command::of(words);
            assert_eq!(!may_empty(Db(db), &command), finds, "{command:?}");
        }
    }
}
