//! RESTORE and FUNCTION RESTORE in the stream.
//!
//! A payload is checked and gets a footer that the target takes. A stream that is too new for the
//! target, or that it would not survive, is converted; any other value is rebuilt with commands.
//! What cannot be read must not reach the target, as some servers end over it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    keyspace::UnixMs,
    rdb::{self, Event, Limits, ValueParser, ValueType, payload::Payload},
    resp::Command,
    sink::{
        Loss,
        inspection::stands_as_is,
        line::Line,
        policy::MadeBy,
        rebuild::{CHUNK, Rebuild},
        repeats::{Repeat, Repeats},
    },
};

use super::{
    expiry::expire_key_at,
    scene::{Outcome, Scene, is, is_any, number},
};

/// The RDB version in the footer of libraries; as with values, every server takes the oldest one.
const FUNCTION_PAYLOAD_VERSION: u16 = 6;

/// A RESTORE, read.
struct Restore<'a> {
    key: &'a Bytes,
    expire_at_ms: Option<UnixMs>,
    payload: &'a Bytes,
    replaces: bool,
    /// IDLETIME or FREQ, with its number.
    hint: &'a [Bytes],
}

/// `RESTORE[-ASKING] key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ n]`.
pub(super) fn restore(scene: &Scene<'_>, command: &Command, out: &mut Vec<Command>) -> Outcome {
    let Some(restore) = read(scene, command) else {
        return Outcome::Unchanged;
    };
    // The target answers for a payload that cannot be read.
    let Ok(payload) = rdb::payload::check(restore.payload) else {
        write(scene, &restore, restore.payload, out);
        return Outcome::Rewritten;
    };
    let value_type = payload.value_type;
    if value_type.is_module() {
        return restore_module(scene, &restore, &payload, out);
    }
    // The source took it, but a client has made it.
    let made_by = MadeBy::Anybody;
    let stands = stands_as_is(
        scene.target,
        value_type,
        &payload.body,
        UnixMs::MIN,
        made_by,
    );
    let stands = match stands {
        Ok(stands) => stands,
        Err(error) => return Outcome::Unreadable(error),
    };
    let is_held = scene.hold.is_on() && value_type.has_field_expiry();
    if stands && scene.target.restores(value_type) && !is_held {
        write(scene, &restore, &with_footer(scene, &payload), out);
        return Outcome::Rewritten;
    }
    if let Some(loss) = scene.target.loses(value_type) {
        return Outcome::Lossy(loss);
    }
    match value_type.is_stream() {
        true => restore_converted(scene, &restore, &payload, out),
        false => rebuild(scene, &restore, payload, out),
    }
}

/// `FUNCTION RESTORE payload [APPEND | REPLACE | FLUSH]`.
pub(super) fn restore_functions(command: &Command, out: &mut Vec<Command>) -> Outcome {
    let [_, _, payload, policy @ ..] = command.args() else {
        return Outcome::Unchanged;
    };
    let Ok(libraries) = rdb::payload::functions(payload) else {
        return Outcome::Unchanged;
    };
    let libraries = libraries.iter().map(|code| code.as_ref());
    let payload = rdb::payload::of_functions(libraries, FUNCTION_PAYLOAD_VERSION);
    out.push(
        Line::new("FUNCTION")
            .word("RESTORE")
            .arg(&Bytes::from(payload))
            .args(policy)
            .done(),
    );
    Outcome::Rewritten
}

fn read<'a>(scene: &Scene<'_>, command: &'a Command) -> Option<Restore<'a>> {
    let [_, key, ttl, payload, options @ ..] = command.args() else {
        return None;
    };
    let ttl = number(ttl)?;
    let (mut absolute, mut replaces) = (false, false);
    let mut hint: &[Bytes] = &[];
    let mut options = options;
    loop {
        options = match options {
            [] => break,
            [word, rest @ ..] if is(word, "REPLACE") => {
                replaces = true;
                rest
            }
            [word, rest @ ..] if is(word, "ABSTTL") => {
                absolute = true;
                rest
            }
            [word, _, ..] if is_any(word, &["IDLETIME", "FREQ"]) => {
                let (pair, rest) = options.split_at_checked(2)?;
                hint = pair;
                rest
            }
            _ => return None,
        };
    }
    Some(Restore {
        key,
        expire_at_ms: match ttl {
            0 => None,
            at_ms if absolute => Some(at_ms),
            ttl_ms => Some(scene.after(ttl_ms)),
        },
        payload,
        replaces,
        hint,
    })
}

fn write(scene: &Scene<'_>, restore: &Restore<'_>, payload: &Bytes, out: &mut Vec<Command>) {
    let written_ms = restore.expire_at_ms.map_or(0, |at| scene.written(at));
    let mut line = Line::new("RESTORE")
        .arg(restore.key)
        .text(written_ms)
        .arg(payload);
    if restore.replaces {
        line = line.word("REPLACE");
    }
    out.push(line.word("ABSTTL").args(restore.hint).done());
}

/// A module's value travels only as a payload, to a server that has the module.
fn restore_module(
    scene: &Scene<'_>,
    restore: &Restore<'_>,
    payload: &Payload,
    out: &mut Vec<Command>,
) -> Outcome {
    let type_name = rdb::module_name(&payload.body).unwrap_or_default();
    if scene.target.restores_module(&type_name) {
        let body = scene.target.module_body(&type_name, &payload.body);
        let payload = assemble(scene, payload.value_type, &body);
        write(scene, restore, &payload, out);
        return Outcome::Rewritten;
    }
    Outcome::Lossy(Loss::of_module(&type_name))
}

/// The payload with a footer that the target takes.
fn with_footer(scene: &Scene<'_>, payload: &Payload) -> Bytes {
    assemble(scene, payload.value_type, &payload.body)
}

fn assemble(scene: &Scene<'_>, value_type: ValueType, body: &[u8]) -> Bytes {
    let version = scene.target.payload_version(value_type);
    let footer = rdb::payload::footer(value_type.byte, body, version);
    let mut whole = BytesMut::with_capacity(1 + body.len() + footer.len());
    whole.put_u8(value_type.byte);
    whole.put_slice(body);
    whole.put_slice(&footer);
    whole.freeze()
}

/// A stream in a type that the target takes, put right.
fn restore_converted(
    scene: &Scene<'_>,
    restore: &Restore<'_>,
    payload: &Payload,
    out: &mut Vec<Command>,
) -> Outcome {
    let to = scene.target.stream_type_for(payload.value_type);
    let limits = Limits::default();
    let converted = match rdb::convert(payload.body.clone(), payload.value_type, to, &limits) {
        Ok(converted) => converted,
        Err(error) => return Outcome::Unreadable(error),
    };
    let whole = assemble(scene, to, &converted.body);
    write(scene, restore, &whole, out);
    let loss = converted.losses.first();
    loss.map_or(Outcome::Rewritten, |(loss, _)| Outcome::Lossy(*loss))
}

/// The key is deleted first: commands add to what is there. IDLETIME and FREQ are hints that no
/// command but RESTORE can give.
fn rebuild(
    scene: &Scene<'_>,
    restore: &Restore<'_>,
    payload: Payload,
    out: &mut Vec<Command>,
) -> Outcome {
    out.push(Line::new("DEL").arg(restore.key).done());
    let mut rebuild = Rebuild::new(restore.key.clone(), scene.target, scene.hold, CHUNK);
    let mut parser = ValueParser::new(payload.value_type, payload.body, Limits::default());
    let mut loss = None;
    let mut repeats = Repeats::default();
    loop {
        match parser.next_event() {
            Ok(Some(Event::Part(part))) => {
                match repeats.see(&part) {
                    Repeat::No => {}
                    Repeat::Same => continue,
                    Repeat::Differs => {
                        loss.get_or_insert(Loss::RepeatedElement);
                        continue;
                    }
                }
                if let Err(lossy) = rebuild.part(part, out) {
                    loss.get_or_insert(lossy.loss);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return Outcome::Unreadable(error),
        }
    }
    rebuild.finish(out);
    if let Some(true_ms) = restore.expire_at_ms {
        out.push(expire_key_at(scene, restore.key, true_ms));
    }
    loss.map_or(Outcome::Rewritten, Outcome::Lossy)
}
