//! What travels to a lane: many commands in one piece, and what their replies must be.
//!
//! ```text
//!  Batch    bytes  |MSET ...|SET ...|MULTI ... EXEC|RESTORE ...|
//!           requests    0       1         2              3        each knows where its bytes end
//! ```

use std::ops::Deref;

use bytes::{Buf, Bytes};

use crate::{
    keyspace::{Db, Escaped},
    rdb::ValueType,
    resp::Command,
};

use super::translate::keys;

/// Commands for one lane, in order.
#[derive(Debug)]
pub struct Batch {
    pub(super) segments: Vec<Bytes>,
    pub(super) requests: Vec<Request>,
    /// The db its commands are for; `None` when they select it themselves.
    pub(super) db: Option<Db>,
    /// Is sent only when everything before it in the lane is confirmed.
    pub(super) after_confirmed: bool,
    /// The stream offset that is applied once this batch is confirmed.
    pub(super) applied_offset: Option<u64>,
}

impl Batch {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.requests.last().map_or(0, |request| request.end)
    }

    /// How many keys of the snapshot and commands of the stream it has.
    pub(super) fn keys(&self) -> u64 {
        let keys = self.requests.iter().map(|request| match request.writes {
            Writes::Part => 0,
            Writes::Keys { count, .. } | Writes::Commands(count) => count,
            Writes::Function => 1,
        });
        keys.sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// One thing asked of the target, sent again as a whole or not at all.
#[derive(Debug)]
pub(super) struct Request {
    /// Where its bytes end, counted from the start of the batch.
    pub(super) end: usize,
    pub(super) shape: Shape,
    pub(super) commands: Commands,
    pub(super) writes: Writes,
    /// The db it is for; of the stream's, the one that is selected behind it.
    pub(super) db: Db,
    /// What the target's mark says once it is executed, if it is one that leaves a mark.
    pub(super) mark: Option<u64>,
    /// It ends with the checkpoint, and finds the one that was written before.
    pub(super) finds_checkpoint: bool,
}

/// The commands of a request, by name. Most have one, which then needs no room of its own.
#[derive(Debug)]
pub(super) enum Commands {
    One(Named),
    Many(Vec<Named>),
}

impl Commands {
    /// Takes them out.
    pub(super) fn take(&mut self) -> Commands {
        std::mem::replace(self, Commands::Many(Vec::new()))
    }
}

impl Deref for Commands {
    type Target = [Named];

    fn deref(&self) -> &[Named] {
        match self {
            Commands::One(named) => std::slice::from_ref(named),
            Commands::Many(named) => named,
        }
    }
}

/// How many replies a request gets, and what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One command; any reply that is not an error is right.
    Plain,
    /// One command that leaves an existing key alone and says so: a null, 0 or BUSYKEY.
    IfAbsent,
    /// MULTI, the named commands, EXEC.
    Transaction,
    /// The same; its last but one command is a RENAMENX that says 0 when the key exists.
    TransactionIfAbsent,
    /// As [`Shape::Transaction`], of a value whose fields may all have expired before it gets its
    /// name.
    ExpiringTransaction,
    /// As [`Shape::TransactionIfAbsent`], of such a value.
    ExpiringTransactionIfAbsent,
}

impl Shape {
    /// The shape of a single command that writes a key.
    pub(super) fn single(replaces: bool) -> Shape {
        match replaces {
            true => Shape::Plain,
            false => Shape::IfAbsent,
        }
    }

    /// The shape of a transaction that ends in giving a key its name.
    pub(super) fn transaction(replaces: bool) -> Shape {
        match replaces {
            true => Shape::Transaction,
            false => Shape::TransactionIfAbsent,
        }
    }

    /// The same for a value that may have expired by then, if it `expires`.
    pub(super) fn expiring(self, expires: bool) -> Shape {
        match self {
            Shape::Transaction if expires => Shape::ExpiringTransaction,
            Shape::TransactionIfAbsent if expires => Shape::ExpiringTransactionIfAbsent,
            shape => shape,
        }
    }
}

/// A command as an error message names it.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its name.
    pub command: Bytes,
    /// Its first key; empty when it has none.
    pub key: Bytes,
    /// Where it ends in the replication stream, if it comes from there.
    pub offset: Option<u64>,
}

impl Named {
    /// Names a command of the stream that ends at `offset`, or another one.
    pub fn of(command: &Command, offset: Option<u64>) -> Named {
        let key = keys(command).of(command).next().cloned();
        Named {
            command: command.args().first().cloned().unwrap_or_default(),
            key: key.unwrap_or_default(),
            offset,
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.command.escape_ascii())?;
        if !self.key.is_empty() {
            write!(f, " {}", Escaped(&self.key))?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        Ok(())
    }
}

/// What a request completes once it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// A part of something; nothing to count.
    Part,
    /// This many keys with values of this type.
    Keys { value_type: ValueType, count: u64 },
    /// A function library.
    Function,
    /// This many commands of the stream.
    Commands(u64),
}

impl Request {
    /// How many replies it gets.
    pub(super) fn replies(&self) -> usize {
        match self.shape {
            Shape::Plain | Shape::IfAbsent => 1,
            Shape::Transaction
            | Shape::TransactionIfAbsent
            | Shape::ExpiringTransaction
            | Shape::ExpiringTransactionIfAbsent => self.commands.len() + 2,
        }
    }
}

/// Returns the bytes from `start` to `end` of what `segments` hold together, without copying.
pub(super) fn slice(segments: &[Bytes], start: usize, end: usize) -> Vec<Bytes> {
    let mut skip = start;
    let mut left = end.saturating_sub(start);
    let mut found = Vec::new();
    for segment in segments {
        if left == 0 {
            break;
        }
        let mut piece = segment.clone();
        let skipped = skip.min(piece.len());
        piece.advance(skipped);
        skip -= skipped;
        piece.truncate(left);
        left -= piece.len();
        if !piece.is_empty() {
            found.push(piece);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_across_segments() {
        let segments = [Bytes::from("abc"), Bytes::from(""), Bytes::from("defg")];
        for start in 0..=7 {
            for end in start..=7 {
                let whole = &b"abcdefg"[start..end];
                assert_eq!(
                    slice(&segments, start, end).concat(),
                    whole,
                    "{start}..{end}"
                );
            }
        }
    }
}
