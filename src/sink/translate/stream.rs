//! Streams: groups, counters and deletion. XADD and XTRIM are in `stream_add`.

use bytes::Bytes;

use crate::{resp::Command, sink::line::Line};

use super::{
    DropReason,
    scene::{Outcome, Scene, eval, is, is_any},
};

/// Deletes entries with or by their references, for servers without XDELEX (Redis before 8.2).
const DELETE: &str = concat!(
    include_str!("lua/stream_references.lua"),
    include_str!("lua/stream_delete.lua")
);

/// The words that say what a deletion does to the references of consumer groups (Redis 8.2).
pub(super) const REFERENCE_WORDS: [&str; 3] = ["KEEPREF", "DELREF", "ACKED"];

/// `XGROUP CREATE | SETID | CREATECONSUMER | DELCONSUMER | DESTROY key group ...`.
pub(super) fn xgroup(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    match command.args() {
        // ENTRIESREAD is known from 7.0 on; older servers do not count.
        [name, word, key, rest @ ..]
            if is_any(word, &["CREATE", "SETID"]) && !scene.target.has_common(7, 0) =>
        {
            let Some(at) = rest.iter().position(|arg| is(arg, "ENTRIESREAD")) else {
                return Outcome::Unchanged;
            };
            let (before, option) = rest.split_at(at);
            let after = option.get(2..).unwrap_or_default();
            let mut args = vec![name.clone(), word.clone(), key.clone()];
            args.extend(before.iter().chain(after).cloned());
            out.push(Command::new(args));
            Outcome::Rewritten
        }
        [_, word, key, group, consumer]
            if is(word, "CREATECONSUMER") && !scene.target.has_common(6, 2) =>
        {
            out.push(create_consumer_by_reading(key, group, consumer));
            Outcome::Rewritten
        }
        _ => Outcome::Unchanged,
    }
}

/// Reading a consumer's pending entries creates it on servers without CREATECONSUMER (before 6.2).
pub(in crate::sink) fn create_consumer_by_reading(
    key: &Bytes,
    group: &Bytes,
    consumer: &Bytes,
) -> Command {
    Line::new("XREADGROUP")
        .word("GROUP")
        .arg(group)
        .arg(consumer)
        .word("COUNT")
        .word("1")
        .word("STREAMS")
        .arg(key)
        .word("0")
        .done()
}

/// `XSETID key id [ENTRIESADDED n MAXDELETEDID id]`; the options are known from 7.0 on.
pub(super) fn xsetid(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    match command.args() {
        [_, key, id, _, ..] if !scene.target.has_common(7, 0) => {
            out.push(Line::new("XSETID").arg(key).arg(id).done());
            Outcome::Rewritten
        }
        _ => Outcome::Unchanged,
    }
}

/// XCFGSET and XIDMPRECORD (Redis 8.6).
pub(super) fn duplicate_detection(scene: &Scene<'_>, _: &Command, _: &mut Vec<Command>) -> Outcome {
    match scene.target.is_redis_from(8, 6) {
        true => Outcome::Unchanged,
        false => Outcome::Dropped(DropReason::DuplicateDetection),
    }
}

/// `XDELEX key [KEEPREF | DELREF | ACKED] IDS n id ...` (Redis 8.2).
pub(super) fn xdelex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, key, options @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some((mode, ids)) = mode_and_ids(options) else {
        return Outcome::Unchanged;
    };
    if scene.target.is_redis_from(8, 2) {
        return Outcome::Unchanged;
    }
    out.push(if mode == "KEEPREF" {
        Line::new("XDEL").arg(key).args(ids).done()
    } else {
        delete(key, mode, None, ids)
    });
    Outcome::Rewritten
}

/// `XACKDEL key group [KEEPREF | DELREF | ACKED] IDS n id ...` (Redis 8.2).
///
/// Only ids that were pending are deleted, which a script has to find out for each.
pub(super) fn xackdel(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, key, group, options @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some((mode, ids)) = mode_and_ids(options) else {
        return Outcome::Unchanged;
    };
    if scene.target.is_redis_from(8, 2) {
        return Outcome::Unchanged;
    }
    out.push(delete(key, mode, Some(group), ids));
    Outcome::Rewritten
}

/// The word of [`REFERENCE_WORDS`] that `arg` is.
pub(super) fn reference_word(arg: &Bytes) -> Option<&'static str> {
    REFERENCE_WORDS.into_iter().find(|word| is(arg, word))
}

/// With a group, only ids that it acknowledges are deleted.
fn delete(key: &Bytes, mode: &'static str, group: Option<&Bytes>, ids: &[Bytes]) -> Command {
    let mode = Bytes::from_static(mode.as_bytes());
    let acknowledges = Bytes::from_static(if group.is_some() { b"ACK" } else { b"" });
    let none = Bytes::new();
    let args = [&mode, &acknowledges, group.unwrap_or(&none)];
    eval(DELETE, [key], args.into_iter().chain(ids))
}

fn mode_and_ids(options: &[Bytes]) -> Option<(&'static str, &[Bytes])> {
    let (mode, rest) = match options {
        [word, rest @ ..] => match reference_word(word) {
            Some(mode) => (mode, rest),
            None => ("KEEPREF", options),
        },
        [] => return None,
    };
    match rest {
        [word, _, ids @ ..] if is(word, "IDS") && !ids.is_empty() => Some((mode, ids)),
        _ => None,
    }
}
