//! Values that take more than one command: the names they are built under, the transactions that
//! build them, and how they get their own name.

use bytes::Bytes;

use crate::{
    keyspace::Db,
    resp::{Command, Encoder},
};

use super::batch::{Named, Request, Shape, Writes};

/// The name under which `lane` builds values that take more than one command.
pub(super) fn staging_key(lane: usize) -> Bytes {
    format!("__keyferry:staging:{lane}").into()
}

/// The name under which `lane` rebuilds values whose payload was refused. Another one: a value
/// may be half built under the first.
pub(super) fn rebuild_key(lane: usize) -> Bytes {
    format!("__keyferry:rebuild:{lane}").into()
}

/// The name under which `lane` marks which of its transactions were executed last.
pub(super) fn mark_key(lane: usize) -> Bytes {
    format!("__keyferry:mark:{lane}").into()
}

/// Puts `commands`, all of which serve `key`, into one transaction.
pub(super) fn transaction(
    commands: &[Command],
    db: Db,
    key: &Bytes,
    shape: Shape,
    writes: Writes,
) -> (Vec<Bytes>, Request) {
    let mut encoder = Encoder::default();
    encoder.words(&[b"MULTI"]);
    for command in commands {
        encoder.command(command);
    }
    encoder.words(&[b"EXEC"]);
    let named = commands.iter().map(|command| Named {
        command: command.args().first().cloned().unwrap_or_default(),
        key: key.clone(),
        offset: None,
    });
    let request = Request {
        end: encoder.len(),
        shape,
        commands: named.collect(),
        writes,
        db,
        mark: None,
    };
    (encoder.take(), request)
}

/// Appends what gives a complete value its own name and its expiry.
///
/// A value that `may_vanish`, since all its fields may expire before it has its name, replaces
/// nothing by RENAME then: what it replaces is deleted first.
///
/// An expiry that has passed meanwhile deletes the key. So it comes last, where nothing needs the
/// key any more; but where the key may be another's, it must come before the name.
pub(super) fn finish_staging(
    commands: &mut Vec<Command>,
    staging: &Bytes,
    key: Bytes,
    expire_at: Option<Bytes>,
    replaces: bool,
    may_vanish: bool,
) {
    let staging = || staging.clone();
    let expire = |key, at| Command::new(vec!["PEXPIREAT".into(), key, at]);
    if replaces {
        if may_vanish {
            commands.push(Command::new(vec!["UNLINK".into(), key.clone()]));
        }
        commands.push(Command::new(vec!["RENAME".into(), staging(), key.clone()]));
        commands.extend(expire_at.map(|at| expire(key, at)));
    } else {
        commands.extend(expire_at.map(|at| expire(staging(), at)));
        // `judge` looks at these two replies by their place.
        commands.push(Command::new(vec!["RENAMENX".into(), staging(), key]));
        commands.push(Command::new(vec!["UNLINK".into(), staging()]));
    }
}
