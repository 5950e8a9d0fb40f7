//! Expiries of keys.
//!
//! Every form becomes PEXPIREAT with an absolute time, which every server has. Its conditions
//! are dropped: they were met on the source, and on the target they would be compared with a
//! stored expiry that may be held while the new one is not, or the other way round.

use bytes::Bytes;

use crate::{keyspace::UnixMs, resp::Command, sink::line::Line};

use super::scene::{Outcome, Scene, is, number};

/// `EXPIRE key seconds [condition]`, of sources up to 6.2.
pub(super) fn expire(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    rewrite(scene, command, out, |s| scene.after(s.saturating_mul(1000)))
}

/// `PEXPIRE key milliseconds [condition]`, of sources up to 6.2.
pub(super) fn pexpire(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    rewrite(scene, command, out, |ms| scene.after(ms))
}

/// `EXPIREAT key unix-seconds [condition]`, of sources up to 6.2.
pub(super) fn expireat(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    rewrite(scene, command, out, |s| s.saturating_mul(1000))
}

/// `PEXPIREAT key unix-milliseconds [condition]`.
pub(super) fn pexpireat(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    rewrite(scene, command, out, |ms| ms)
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`; servers send what it does instead.
pub(super) fn getex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    match command.args() {
        [_, key, word] if is(word, "PERSIST") => {
            out.push(Line::new("PERSIST").arg(key).done());
            Outcome::Rewritten
        }
        [_, key, option, time] => match scene.expiry_option(option, time) {
            Some(true_ms) => {
                out.push(expire_key_at(scene, key, true_ms));
                Outcome::Rewritten
            }
            None => Outcome::Unchanged,
        },
        _ => Outcome::Unchanged,
    }
}

/// Gives a key its expiry, held or true. A true one in the past deletes the key.
pub(super) fn expire_key_at(scene: &Scene<'_>, key: &Bytes, true_ms: UnixMs) -> Command {
    Line::new("PEXPIREAT")
        .arg(key)
        .text(scene.hold.apply(true_ms))
        .done()
}

fn rewrite(
    scene: &Scene<'_>,
    command: &Command,
    out: &mut Vec<Command>,
    true_ms: impl Fn(i64) -> UnixMs,
) -> Outcome {
    let [_, key, time, ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some(time) = number(time) else {
        return Outcome::Unchanged;
    };
    out.push(expire_key_at(scene, key, true_ms(time)));
    Outcome::Rewritten
}
