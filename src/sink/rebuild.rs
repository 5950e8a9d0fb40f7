//! Rebuilds a value with commands, for targets that do not take its RESTORE payload.
//!
//! ```text
//!   Part, Part, ... ──► Rebuild ──► RPUSH | SADD | ZADD | HSET + HPEXPIREAT | SETRANGE | XADD ...
//! ```
//!
//! Elements are gathered into commands bounded in bytes and in elements, so that a value of any
//! size passes through a bounded amount of memory. Neither the old key is deleted nor the key's
//! own expiry set: that is the caller's, as is a name under which nobody sees the value grow.
//!
//! Pending entries without an owner go to the first consumer of their group: on other servers than
//! Redis 8.8 each has one. Where a consumer gave them back, that is reported.
//!
//! Exact are: elements and their order, scores, fields and their expiries, stream entries, last
//! ids, groups, consumers, pending entries with times and counts. What commands cannot say is
//! reported as [`Lossy`]. Bookkeeping that no command writes is approximate without being
//! reported: when a consumer was seen or active, the counters of a stream on targets before 7.0
//! (which have none), and how a stream of Redis 8.6 recognises repeated XADDs, as long as it has
//! recorded none.

mod entry_ids;
mod stream;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    keyspace::UnixMs,
    rdb::{Element, Part},
    resp::Command,
};

use super::{Hold, Loss, Lossy, Target, line::Line};
use stream::StreamRebuild;

/// How large one command may become. A single larger element still travels in one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of elements in one command.
    pub bytes_max: usize,
    /// Elements in one command; a field with its value counts as one.
    pub elements_max: usize,
}

/// How large the commands are that rebuild a value, wherever it comes from.
pub const CHUNK: ChunkLimits = ChunkLimits {
    bytes_max: 64 * 1024,
    elements_max: 1024,
};

/// Turns the parts of one value into commands that write it under a given key.
#[derive(Debug)]
pub struct Rebuild {
    key: Bytes,
    target: Target,
    hold: Hold,
    limits: ChunkLimits,
    chunk: Chunk,
    may_vanish: bool,
    /// Where the next chunk of a string goes.
    string_offset: u64,
    stream: StreamRebuild,
}

/// Elements that wait for their command.
#[derive(Debug, Default)]
struct Chunk {
    args: Vec<Bytes>,
    bytes: usize,
    elements: usize,
    /// Fields that expire, by their true expiry.
    expiries: BTreeMap<UnixMs, Vec<Bytes>>,
}

impl Rebuild {
    /// Begins a value that will stand under `key`.
    pub fn new(key: Bytes, target: &Target, hold: Hold, limits: ChunkLimits) -> Rebuild {
        Rebuild {
            stream: StreamRebuild::new(key.clone(), target, limits),
            key,
            target: target.clone(),
            hold,
            limits,
            chunk: Chunk::default(),
            may_vanish: false,
            string_offset: 0,
        }
    }

    /// Takes the next part of the value; appends the commands that are full.
    ///
    /// # Errors
    ///
    /// What of this part the target cannot hold. The rest of the part is taken all the same, so
    /// that the caller may count the loss and go on.
    pub fn part(&mut self, part: Part, out: &mut Vec<Command>) -> Result<(), Lossy> {
        match part {
            Part::String(value) => {
                let set = Line::new("SET").arg(&self.key).arg(&value.into_bytes());
                out.push(set.done());
            }
            Part::StringStart { len } => self.start_string(len, out),
            Part::StringChunk(bytes) => self.string_chunk(bytes, out),
            Part::ListElement(element) => self.gather("RPUSH", [element.into_bytes()], out),
            Part::SetMember(member) => self.gather("SADD", [member.into_bytes()], out),
            Part::ZsetMember { member, score } => {
                self.gather("ZADD", [score_text(score), member.into_bytes()], out);
            }
            Part::HashField {
                field,
                value,
                expire_at_ms,
            } => return self.hash_field(field.into_bytes(), value.into_bytes(), expire_at_ms, out),
            Part::StreamEntry { id, fields } => self.stream.entry(id, fields, out),
            Part::StreamMeta(meta) => self.stream.meta(&meta, out),
            Part::StreamGroup(group) => self.stream.group(group, out),
            Part::StreamConsumer(consumer) => self.stream.consumer(consumer.name, out),
            Part::StreamPending(pending) => return self.stream.pending(&pending, out),
            Part::StreamNacked(pending) => return self.stream.nacked(&pending, out),
            Part::StreamUnowned(pending) => return self.stream.unowned(&pending, out),
            Part::StreamGroupEnd(end) if end.pending_contested > 0 => {
                return self.lose(Loss::ContestedEntry);
            }
            Part::StreamGroupEnd(_) => {}
            Part::StreamIdempotency(settings) => self.stream.idempotency(&settings, out),
            Part::StreamIdempotentId {
                producer,
                idempotent_id,
                id,
            } => self
                .stream
                .idempotent_id(&producer, &idempotent_id, id, out)?,
            // Lifetime counters, which no command sets.
            Part::StreamIdempotencyEnd { .. } => {}
            Part::ExpiringSetMember { member, .. } => {
                self.gather("SADD", [member.into_bytes()], out);
                return self.lose(Loss::MemberExpiry);
            }
            Part::Json(text) => {
                let set = Line::new("JSON.SET").arg(&self.key).word(".");
                out.push(set.arg(&text).done());
            }
            // They travel as they are stored, or not at all.
            Part::VectorSet(_) | Part::Vector(_) => return self.lose(Loss::VectorSet),
            Part::ArrayStart { .. } | Part::ArrayElement { .. } => return self.lose(Loss::Array),
            Part::CronJob { .. } | Part::CronKey(_) | Part::CronArgument(_) => {
                return self.lose(Loss::CronJob);
            }
        }
        Ok(())
    }

    fn lose(&self, loss: Loss) -> Result<(), Lossy> {
        let key = self.key.clone();
        Err(Lossy { loss, key })
    }

    /// Whether fields of it expire, so that the key may be gone any time.
    pub(super) fn may_vanish(&self) -> bool {
        self.may_vanish
    }

    /// Appends what is still gathered; the value is complete then.
    pub fn finish(&mut self, out: &mut Vec<Command>) {
        self.flush(out);
        self.stream.flush(out);
    }

    /// Writing the last byte first makes the server allocate once. The chunks say where they go,
    /// so that writing one again does no harm.
    fn start_string(&mut self, len: u64, out: &mut Vec<Command>) {
        self.string_offset = 0;
        out.push(match len.checked_sub(1) {
            None => Line::new("SET").arg(&self.key).word("").done(),
            Some(last) => Line::new("SETRANGE")
                .arg(&self.key)
                .text(last)
                .word("\0")
                .done(),
        });
    }

    fn string_chunk(&mut self, mut bytes: Bytes, out: &mut Vec<Command>) {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.limits.bytes_max.max(1)));
            let line = Line::new("SETRANGE").arg(&self.key);
            out.push(line.text(self.string_offset).arg(&piece).done());
            self.string_offset += piece.len() as u64;
        }
    }

    fn hash_field(
        &mut self,
        field: Bytes,
        value: Bytes,
        expire_at_ms: Option<UnixMs>,
        out: &mut Vec<Command>,
    ) -> Result<(), Lossy> {
        let Some(expire_at_ms) = expire_at_ms else {
            self.gather("HSET", [field, value], out);
            return Ok(());
        };
        if !self.target.has_field_expiry() {
            self.gather("HSET", [field, value], out);
            return self.lose(Loss::FieldExpiry);
        }
        self.make_room(field.len() + value.len(), out);
        let expiring = self.chunk.expiries.entry(expire_at_ms).or_default();
        expiring.push(field.clone());
        self.gather("HSET", [field, value], out);
        Ok(())
    }

    fn gather<const N: usize>(
        &mut self,
        name: &'static str,
        args: [Bytes; N],
        out: &mut Vec<Command>,
    ) {
        let bytes = args.iter().map(Bytes::len).sum();
        self.make_room(bytes, out);
        if self.chunk.args.is_empty() {
            self.chunk.args.push(Bytes::from_static(name.as_bytes()));
            self.chunk.args.push(self.key.clone());
        }
        self.chunk.args.extend(args);
        self.chunk.bytes += bytes;
        self.chunk.elements += 1;
        if self.chunk.elements >= self.limits.elements_max {
            self.flush(out);
        }
    }

    fn make_room(&mut self, bytes: usize, out: &mut Vec<Command>) {
        if self.chunk.elements > 0 && self.chunk.bytes + bytes > self.limits.bytes_max {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<Command>) {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.args.is_empty() {
            return;
        }
        out.push(Command::new(chunk.args));
        for (expire_at_ms, fields) in chunk.expiries {
            self.may_vanish = true;
            // Servers refuse a negative time here; 0 is as much in the past.
            let written_ms = self.hold.apply_field(expire_at_ms).max(0);
            let written_ms = self.target.field_expiry_within(written_ms);
            out.push(
                Line::new("HPEXPIREAT")
                    .arg(&self.key)
                    .text(written_ms)
                    .word("FIELDS")
                    .text(fields.len())
                    .args(&fields)
                    .done(),
            );
        }
    }
}

/// A score as servers read it: whole numbers plainly, others in the shortest form that reads back
/// to the same double.
fn score_text(score: f64) -> Bytes {
    /// Up to here whole numbers are written without an exponent.
    const PLAIN_MAX: f64 = 1e15;
    if score.is_infinite() {
        return Bytes::from_static(if score > 0.0 { b"inf" } else { b"-inf" });
    }
    let negative_zero = score == 0.0 && score.is_sign_negative();
    if score.fract() == 0.0 && score.abs() < PLAIN_MAX && !negative_zero {
        return Element::Int(score as i64).into_bytes();
    }
    Bytes::copy_from_slice(ryu::Buffer::new().format(score).as_bytes())
}

#[cfg(test)]
mod tests;
