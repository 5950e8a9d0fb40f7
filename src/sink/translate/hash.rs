//! Hashes and the expiries of their fields.
//!
//! The condition of HPEXPIREAT is dropped when there is one field, which then met it, and kept when
//! there are several: Valkey sends every field that was named, also those that did not meet it
//! (valkey 9.0 t_hash.c hexpireGenericCommand; Redis leaves them out). It compares rightly as long
//! as all expiries of the target are held, or none is. A gap that remains: a Valkey target deletes
//! every named field, whatever the condition, when the time has come before the command does.
//! The conditions of HSETEX speak of the whole command and are dropped.

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    resp::Command,
    sink::{Loss, line::Line},
};

use super::{
    DropReason,
    scene::{Outcome, Scene, eval, is, is_any, number},
};

/// Sets fields that keep their expiry, for servers without HSETEX (Redis 7.4).
const HSET_KEEPTTL: &str = include_str!("lua/hset_keepttl.lua");

/// `HEXPIRE key seconds [condition] FIELDS n field ...`; servers send HPEXPIREAT instead.
pub(super) fn hexpire(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    expire(scene, command, out, |s| scene.after(s.saturating_mul(1000)))
}

/// `HPEXPIRE key milliseconds [condition] FIELDS n field ...`; servers send HPEXPIREAT instead.
pub(super) fn hpexpire(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    expire(scene, command, out, |ms| scene.after(ms))
}

/// `HEXPIREAT key unix-seconds [condition] FIELDS n field ...`; servers send HPEXPIREAT instead.
pub(super) fn hexpireat(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    expire(scene, command, out, |s| s.saturating_mul(1000))
}

/// `HPEXPIREAT key unix-milliseconds [condition] FIELDS n field ...` (Redis 7.4, Valkey 9.0).
pub(super) fn hpexpireat(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    expire(scene, command, out, |ms| ms)
}

/// `HPERSIST key FIELDS n field ...` (Redis 7.4, Valkey 9.0).
pub(super) fn hpersist(scene: &Scene<'_>, _: &Command, _: &mut Vec<Command>) -> Outcome {
    match scene.target.has_field_expiry() {
        true => Outcome::Unchanged,
        false => Outcome::Dropped(DropReason::NothingToDo),
    }
}

/// `HGETDEL key FIELDS n field ...` (Redis 8.0, Valkey 9.1), which HDEL says on every server.
pub(super) fn hgetdel(_: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    match command.args() {
        [_, key, word, _, fields @ ..] if is(word, "FIELDS") && !fields.is_empty() => {
            out.push(Line::new("HDEL").arg(key).args(fields).done());
            Outcome::Rewritten
        }
        _ => Outcome::Unchanged,
    }
}

/// `HGETEX key [EX | PX | EXAT | PXAT time | PERSIST] FIELDS n field ...`; servers send what it does.
pub(super) fn hgetex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    match command.args() {
        [_, key, word, rest @ ..] if is(word, "PERSIST") => {
            if !scene.target.has_field_expiry() {
                return Outcome::Dropped(DropReason::NothingToDo);
            }
            out.push(Line::new("HPERSIST").arg(key).args(rest).done());
            Outcome::Rewritten
        }
        [_, key, option, time, rest @ ..] => match scene.expiry_option(option, time) {
            Some(true_ms) => expire_fields(scene, key, true_ms, rest, out),
            None => Outcome::Unchanged,
        },
        _ => Outcome::Unchanged,
    }
}

/// `HSETEX key [FNX | FXX] [EX | PX | EXAT | PXAT time | KEEPTTL] FIELDS n field value ...`
/// (Redis 8.0, Valkey 9.0); Redis 8.6 sends it for HINCRBYFLOAT, too.
pub(super) fn hsetex(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, key, options @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Some(read) = options_of_hsetex(scene, options) else {
        return Outcome::Unchanged;
    };
    let hset = Line::new("HSET").arg(key).args(read.pairs).done();
    let has_hsetex = scene.target.is_redis_from(8, 0) || scene.target.is_valkey_from(9, 0);
    let has_field_expiry = scene.target.has_field_expiry();
    match read.life {
        // Where no field expires, there is nothing to keep.
        Life::Kept if !has_field_expiry => out.push(hset),
        Life::Kept if !has_hsetex => out.push(eval(HSET_KEEPTTL, [key], read.pairs)),
        Life::Kept => out.push(
            Line::new("HSETEX")
                .arg(key)
                .word("KEEPTTL")
                .args(read.fields)
                .done(),
        ),
        Life::Forever => out.push(hset),
        Life::Until(_) if !has_field_expiry => {
            out.push(hset);
            return Outcome::Lossy(Loss::FieldExpiry);
        }
        Life::Until(true_ms) => {
            let names: Vec<Bytes> = read.pairs.iter().step_by(2).cloned().collect();
            out.push(hset);
            out.push(
                Line::new("HPEXPIREAT")
                    .arg(key)
                    .text(scene.hold.apply_field(true_ms).max(0))
                    .word("FIELDS")
                    .text(names.len())
                    .args(&names)
                    .done(),
            );
        }
    }
    Outcome::Rewritten
}

enum Life {
    Forever,
    Kept,
    Until(UnixMs),
}

struct HsetexOptions<'a> {
    life: Life,
    /// From the word FIELDS on.
    fields: &'a [Bytes],
    /// Fields and values.
    pairs: &'a [Bytes],
}

/// `None` when there is an option that is not known.
fn options_of_hsetex<'a>(scene: &Scene<'_>, mut options: &'a [Bytes]) -> Option<HsetexOptions<'a>> {
    let mut life = Life::Forever;
    loop {
        options = match options {
            [word, _, pairs @ ..] if is(word, "FIELDS") && !pairs.is_empty() => {
                return Some(HsetexOptions {
                    life,
                    fields: options,
                    pairs,
                });
            }
            [word, rest @ ..] if is_any(word, &["FNX", "FXX"]) => rest,
            [word, rest @ ..] if is(word, "KEEPTTL") => {
                life = Life::Kept;
                rest
            }
            [word, time, rest @ ..] => {
                life = Life::Until(scene.expiry_option(word, time)?);
                rest
            }
            _ => return None,
        };
    }
}

fn expire(
    scene: &Scene<'_>,
    command: &Command,
    out: &mut Vec<Command>,
    true_ms: impl Fn(i64) -> UnixMs,
) -> Outcome {
    let [_, key, time, rest @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    match number(time) {
        Some(time) => expire_fields(scene, key, true_ms(time), rest, out),
        None => Outcome::Unchanged,
    }
}

/// `rest` is the condition, if any, and the fields from the word FIELDS on.
fn expire_fields(
    scene: &Scene<'_>,
    key: &Bytes,
    true_ms: UnixMs,
    rest: &[Bytes],
    out: &mut Vec<Command>,
) -> Outcome {
    if !scene.target.has_field_expiry() {
        return Outcome::Lossy(Loss::FieldExpiry);
    }
    let rest = match rest {
        [_, fields @ ..]
            if fields.len() == 3 && fields.first().is_some_and(|word| is(word, "FIELDS")) =>
        {
            fields
        }
        _ => rest,
    };
    // Servers refuse a negative time here; 0 is as much in the past.
    let written_ms = scene.hold.apply_field(true_ms).max(0);
    out.push(
        Line::new("HPEXPIREAT")
            .arg(key)
            .text(written_ms)
            .args(rest)
            .done(),
    );
    Outcome::Rewritten
}
