//! Strings.
//!
//! Every SET becomes `SET key value [PXAT ms | KEEPTTL]`, without conditions and without GET.

use bytes::Bytes;

use crate::{keyspace::UnixMs, resp::Command, sink::line::Line};

use super::{
    expiry::expire_key_at,
    scene::{Outcome, Scene, is, is_any, number},
};

/// What becomes of the expiry of a key that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Forever,
    Kept,
    Until(UnixMs),
}

/// `SET key value [NX | XX | IFEQ value | ...] [GET] [EX | PX | EXAT | PXAT time | KEEPTTL]`.
pub(super) fn set(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, key, value, options @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    if options.is_empty() {
        return Outcome::Unchanged;
    }
    let Some(life) = options_of_set(scene, options) else {
        return Outcome::Unchanged;
    };
    write(scene, key, value, life, out);
    Outcome::Rewritten
}

/// `SETEX key seconds value`, of sources up to 6.0.
pub(super) fn setex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    set_for(scene, command, out, 1000)
}

/// `PSETEX key milliseconds value`, of sources up to 6.0.
pub(super) fn psetex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    set_for(scene, command, out, 1)
}

/// `MSETEX numkeys key value ... [NX | XX] [EX | PX | EXAT | PXAT time | KEEPTTL]`.
///
/// Redis has it from 8.4 on; up to 8.6 the SETs that it stands for are sent.
pub(super) fn msetex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let Some((pairs, options)) = pairs_of_msetex(command) else {
        return Outcome::Unchanged;
    };
    let Some(life) = options_of_set(scene, options) else {
        return Outcome::Unchanged;
    };
    if scene.target.is_redis_from(8, 6) || scene.target.is_valkey_from(9, 1) {
        let line = Line::new("MSETEX").text(pairs.len() / 2).args(pairs);
        out.push(match life {
            Life::Forever => Line::new("MSET").args(pairs).done(),
            Life::Kept => line.word("KEEPTTL").done(),
            Life::Until(ms) => line.word("PXAT").text(scene.written(ms)).done(),
        });
    } else if life == Life::Forever {
        out.push(Line::new("MSET").args(pairs).done());
    } else {
        for pair in pairs.chunks_exact(2) {
            if let [key, value] = pair {
                write(scene, key, value, life, out);
            }
        }
    }
    Outcome::Rewritten
}

fn set_for(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>, unit_ms: i64) -> Outcome {
    let [_, key, time, value] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some(time) = number(time) else {
        return Outcome::Unchanged;
    };
    let life = Life::Until(scene.after(time.saturating_mul(unit_ms)));
    write(scene, key, value, life, out);
    Outcome::Rewritten
}

fn pairs_of_msetex(command: &Command) -> Option<(&[Bytes], &[Bytes])> {
    let [_, count, rest @ ..] = command.args() else {
        return None;
    };
    let pairs = usize::try_from(number(count)?).ok()?.checked_mul(2)?;
    rest.split_at_checked(pairs)
}

/// `None` when there is an option that is not known.
fn options_of_set(scene: &Scene<'_>, mut options: &[Bytes]) -> Option<Life> {
    let mut life = Life::Forever;
    loop {
        options = match options {
            [] => return Some(life),
            [word, rest @ ..] if is_any(word, &["NX", "XX", "GET"]) => rest,
            [word, _, rest @ ..] if is_any(word, &["IFEQ", "IFNE", "IFDEQ", "IFDNE"]) => rest,
            [word, rest @ ..] if is(word, "KEEPTTL") => {
                life = Life::Kept;
                rest
            }
            [word, time, rest @ ..] => {
                life = Life::Until(scene.expiry_option(word, time)?);
                rest
            }
            [_] => return None,
        };
    }
}

fn write(scene: &Scene<'_>, key: &Bytes, value: &Bytes, life: Life, out: &mut Vec<Command>) {
    let set = Line::new("SET").arg(key).arg(value);
    match life {
        Life::Forever => out.push(set.done()),
        Life::Kept => out.push(set.word("KEEPTTL").done()),
        Life::Until(ms) if scene.target.has_common(6, 2) => {
            out.push(set.word("PXAT").text(scene.written(ms)).done());
        }
        Life::Until(ms) => {
            out.push(set.done());
            out.push(expire_key_at(scene, key, ms));
        }
    }
}
