//! Values that take more than one command: the names they are built under, the transactions that
//! build them, and how they get their own name.

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::Part,
    resp::{Command, Encoder},
};

use super::{
    Hold, Lossy, Target,
    batch::{Commands, Named, Request, Shape, Writes},
    gather::BATCH_BYTES,
    rebuild::{CHUNK, Rebuild},
};

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
        commands: Commands::Many(named.collect()),
        writes,
        db,
        mark: None,
        finds_checkpoint: false,
    };
    (encoder.take(), request)
}

/// A value that is built under a staging name, in transactions of a bounded size. Each may only be
/// sent when the one before it is confirmed.
#[derive(Debug)]
pub(super) struct Staged {
    staging: Bytes,
    rebuild: Rebuild,
    commands: Vec<Command>,
    /// How many of the commands are counted in `bytes`.
    counted: usize,
    bytes: usize,
}

impl Staged {
    /// Begins with nothing under the name.
    pub(super) fn new(staging: Bytes, target: &Target, hold: Hold) -> Staged {
        Staged {
            rebuild: Rebuild::new(staging.clone(), target, hold, CHUNK),
            commands: vec![Command::new(vec!["UNLINK".into(), staging.clone()])],
            staging,
            counted: 0,
            bytes: 0,
        }
    }

    /// Takes the next part of the value.
    ///
    /// # Errors
    /// As [`Rebuild::part`].
    pub(super) fn part(&mut self, part: Part) -> Result<(), Lossy> {
        let lossy = self.rebuild.part(part, &mut self.commands);
        self.count();
        lossy
    }

    /// Gives a field that was taken an expiry afterwards.
    pub(super) fn expire_field(&mut self, field: Bytes, expire_at_ms: UnixMs) {
        let commands = &mut self.commands;
        self.rebuild.expire_field(field, expire_at_ms, commands);
        self.count();
    }

    fn count(&mut self) {
        let new = self.commands.get(self.counted..).unwrap_or_default();
        self.bytes += new.iter().map(Command::encoded_len_max).sum::<usize>();
        self.counted = self.commands.len();
    }

    /// The commands of the next transaction, as soon as they are enough for one.
    pub(super) fn take_full(&mut self) -> Option<Vec<Command>> {
        if self.bytes < BATCH_BYTES {
            return None;
        }
        (self.counted, self.bytes) = (0, 0);
        Some(std::mem::take(&mut self.commands))
    }

    /// The commands of the last transaction, which gives the value its name, and its shape.
    pub(super) fn finish(
        mut self,
        key: Bytes,
        expire_at: Option<Bytes>,
        replaces: bool,
    ) -> (Vec<Command>, Shape) {
        let mut commands = self.commands;
        self.rebuild.finish(&mut commands);
        let may_vanish = self.rebuild.may_vanish();
        let shape = Shape::transaction(replaces).expiring(may_vanish);
        let staging = &self.staging;
        finish_staging(&mut commands, staging, key, expire_at, replaces, may_vanish);
        (commands, shape)
    }
}

/// Appends what gives a complete value its own name and its expiry.
///
/// A value that `may_vanish`, since all its fields may expire before it has its name, replaces
/// nothing by RENAME then: what it replaces is deleted first.
///
/// An expiry that has passed meanwhile deletes the key. So it comes last, where nothing needs the
/// key any more; but where the key may be another's, it must come before the name.
fn finish_staging(
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
