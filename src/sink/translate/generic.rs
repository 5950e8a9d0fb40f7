//! Commands on keys of any type, and on whole dbs.

use bytes::Bytes;

use crate::{
    resp::Command,
    sink::{Loss, line::Line},
};

use super::{
    DropReason,
    scene::{Outcome, Scene, eval, is},
};

/// Copies a key with its expiry, also into another db, for servers without COPY (before 6.2).
const COPY: &str = include_str!("lua/copy.lua");

/// `COPY source destination [DB db] [REPLACE]` (6.2).
pub(super) fn copy(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, from, onto, options @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    if scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    let db = options
        .windows(2)
        .find_map(|pair| match pair {
            [word, db] if is(word, "DB") => Some(db.clone()),
            _ => None,
        })
        .unwrap_or_else(|| Bytes::from(scene.db.to_string()));
    let own_db = Bytes::from(scene.db.to_string());
    // Staying in the db needs no SELECT, which a cluster refuses.
    let db = if db == own_db { Bytes::new() } else { db };
    out.push(eval(COPY, [from, onto], [&db]));
    Outcome::Rewritten
}

/// DELEX, DELIFEQ and GETDEL, all of which stand in the stream because the key was deleted.
pub(super) fn conditional_delete(
    _: &Scene<'_>,
    command: &Command,
    out: &mut Vec<Command>,
) -> Outcome {
    let [_, key, ..] = command.args() else {
        return Outcome::Unchanged;
    };
    out.push(Line::new("DEL").arg(key).done());
    Outcome::Rewritten
}

/// `FLUSHALL|FLUSHDB [ASYNC | SYNC (6.2)]`.
pub(super) fn flush(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [name, mode] = command.args() else {
        return Outcome::Unchanged;
    };
    if !is(mode, "SYNC") || scene.target.has_common(6, 2) {
        return Outcome::Unchanged;
    }
    out.push(Command::new(vec![name.clone()]));
    Outcome::Rewritten
}

/// VADD, VREM and VSETATTR (Redis 8.0).
///
/// A target without vector sets never got the key; removing from it is not another loss.
pub(super) fn vector_set(scene: &Scene<'_>, command: &Command, _: &mut Vec<Command>) -> Outcome {
    if scene.target.is_redis_from(8, 0) {
        Outcome::Unchanged
    } else if command.is("VREM") {
        Outcome::Dropped(DropReason::NothingToDo)
    } else {
        Outcome::Lossy(Loss::VectorSet)
    }
}
