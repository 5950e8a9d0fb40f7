//! What a command of the replication stream becomes on the target.
//!
//! Most commands are forwarded as they are. This room knows the others: those that an older or
//! another server does not know, those that a server accepts only from its primary, those whose
//! meaning depends on when they are executed (relative expiries), and those that are not data.
//!
//! ```text
//!   Command ──► table (by name) ──► rule of its data type ──► Outcome ──► Verdict + commands
//!               keys (by name)  ──► which arguments are keys
//! ```
//!
//! - A rule rewrites only a syntax that it understands in full; everything else passes unchanged,
//!   and the target's error reply stops the run with the command's name.
//! - A command stands in the stream because it was performed. Its conditions (NX, XX, GT, LT, IFEQ,
//!   FNX, FXX) are therefore dropped wherever they spoke of the command as a whole, and kept
//!   where they speak of each member or field.
//! - The commands appended for one command of the source belong into one transaction.
//! - Lua is used where no plain command says the same. It declares its keys and runs on Redis 6.0,
//!   the oldest target there is.
//! - Bookkeeping that the target has no notion of is left out without being a loss: the counters
//!   of streams before 7.0, duplicate detection of XADD elsewhere than on Redis 8.6.
//!
//! SELECT, MULTI, EXEC, PING and REPLCONF are the frame of the stream and never arrive here.

mod bitmap;
mod error;
mod expiry;
mod function;
mod generic;
mod geo;
mod hash;
mod keys;
mod list;
mod payload;
mod pubsub;
mod scene;
mod script;
mod stream;
mod stream_add;
mod string;
mod table;
#[cfg(test)]
mod tests;
mod zset;

use bytes::Bytes;

pub use error::Untranslatable;
pub use keys::{Keys, keys};
pub(in crate::sink) use stream::create_consumer_by_reading;

use crate::{
    keyspace::{Db, UnixMs},
    resp::Command,
    sink::{Hold, Loss, Lossy, OnLossy, Publish, Target},
};
use scene::{Outcome, Scene};

/// What is known of a command besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The db it belongs to.
    pub db: Db,
    /// When it was received, by the source's clock; relative expiries count from here.
    pub received_at_ms: UnixMs,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The commands that say it were appended, unchanged or rewritten.
    Forwarded,
    /// Nothing was appended, and nothing is missing on the target.
    Dropped(DropReason),
    /// Something is lost, which the policy allows; what can be said of the rest was appended.
    Lossy(Lossy),
}

/// Why a command was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// A Sentinel's announcement of itself, which would mislead the target's own Sentinels.
    SentinelHello,
    /// PUBLISH or SPUBLISH, which the policy leaves out.
    PublishPolicy,
    /// SPUBLISH, on a target without shard channels (before 7.0).
    NobodyListens,
    /// SCRIPT FLUSH: the target's scripts may belong to others, and a stale one does no harm.
    ScriptFlush,
    /// An XADD that the source recognized as a duplicate, and that added nothing there either.
    DuplicateEntry,
    /// Settings and records of duplicate detection, which the target does not have.
    DuplicateDetection,
    /// It takes away what nothing on the target has, such as a field's expiry on an old server.
    NothingToDo,
}

/// Turns commands of the source into commands for one target.
#[derive(Debug)]
pub struct Translator {
    target: Target,
    hold: Hold,
    publish: Publish,
    on_lossy: OnLossy,
}

impl Translator {
    /// Makes a translator for a target.
    pub fn new(target: Target, hold: Hold, publish: Publish, on_lossy: OnLossy) -> Translator {
        Translator {
            target,
            hold,
            publish,
            on_lossy,
        }
    }

    /// Writes expiries held or true from the next command on.
    pub fn set_hold(&mut self, hold: Hold) {
        self.hold = hold;
    }

    /// Appends what the target is to execute for `command`, in order.
    ///
    /// All of it belongs into one transaction. A command that passes unchanged is moved to `out`
    /// without being copied.
    ///
    /// # Errors
    ///
    /// When something would be lost and the policy is to stop, or a value cannot be read; `out` is
    /// left as it was.
    pub fn translate(
        &self,
        command: Command,
        context: &Context,
        out: &mut Vec<Command>,
    ) -> Result<Verdict, Untranslatable> {
        let Some(rule) = table::rule(command.name()) else {
            out.push(command);
            return Ok(Verdict::Forwarded);
        };
        let scene = Scene {
            target: &self.target,
            hold: self.hold,
            publish: self.publish,
            received_at_ms: context.received_at_ms,
            db: context.db,
        };
        let len = out.len();
        match rule(&scene, &command, out) {
            Outcome::Unchanged => {
                out.push(command);
                Ok(Verdict::Forwarded)
            }
            Outcome::Rewritten => Ok(Verdict::Forwarded),
            Outcome::Dropped(reason) => Ok(Verdict::Dropped(reason)),
            Outcome::Lossy(loss) => {
                let key = shown_key(&command);
                if self.on_lossy == OnLossy::Fail {
                    out.truncate(len);
                    return Err(self.untranslatable(&command, key, loss));
                }
                Ok(Verdict::Lossy(Lossy { loss, key }))
            }
            Outcome::Unreadable(source) => {
                out.truncate(len);
                Err(Untranslatable::Unreadable {
                    command: shown_name(&command),
                    key: shown_key(&command),
                    source: Box::new(source),
                })
            }
        }
    }

    fn untranslatable(&self, command: &Command, key: Bytes, loss: Loss) -> Untranslatable {
        Untranslatable::Lossy {
            command: shown_name(command),
            key,
            loss,
            target: self.target.to_string(),
        }
    }
}

/// Whether the command may give fields of a hash their own expiry.
pub fn may_expire_fields(command: &Command) -> bool {
    [
        "HPEXPIREAT",
        "HEXPIREAT",
        "HPEXPIRE",
        "HEXPIRE",
        "HSETEX",
        "HGETEX",
        "RESTORE",
        "RESTORE-ASKING",
    ]
    .iter()
    .any(|name| command.is(name))
}

/// The key in another database that MOVE or COPY ... DB writes.
pub fn other_db(command: &Command) -> Option<(Db, &Bytes)> {
    let args = command.args();
    let (key, db) = if command.is("MOVE") {
        (args.get(1)?, args.get(2)?)
    } else if command.is("COPY") {
        let at = args.iter().skip(3).position(|arg| scene::is(arg, "DB"))? + 3;
        (args.get(2)?, args.get(at + 1)?)
    } else {
        return None;
    };
    let db = std::str::from_utf8(db).ok()?.parse().ok()?;
    Some((Db(db), key))
}

/// Whether the command may carry an expiry over to another key or database.
pub fn moves_keys(command: &Command) -> bool {
    [
        "RENAME", "RENAMENX", "COPY", "MOVE", "SWAPDB", "EVAL", "EVALSHA",
    ]
    .iter()
    .any(|name| command.is(name))
}

/// Whether the command writes an expiry that is held, or something that looks like one.
pub fn carries_held_expiry(command: &Command) -> bool {
    let held = |arg: &Bytes| {
        let digits = matches!(arg.len(), 14 | 15).then(|| std::str::from_utf8(arg).ok());
        let at_ms = digits.flatten().and_then(|digits| digits.parse().ok());
        at_ms.is_some_and(|at_ms: UnixMs| {
            Hold::release(at_ms).is_some() || Hold::release_field(at_ms).is_some()
        })
    };
    command.args().iter().any(held)
}

fn shown_name(command: &Command) -> String {
    String::from_utf8_lossy(command.name()).to_ascii_uppercase()
}

/// What a message about a command names: its first key, its library, or else its first argument.
fn shown_key(command: &Command) -> Bytes {
    if command.is("FUNCTION") {
        return function::library_name(command).unwrap_or_default();
    }
    let first = keys(command).of(command).next();
    first
        .or_else(|| command.args().get(1))
        .cloned()
        .unwrap_or_default()
}
