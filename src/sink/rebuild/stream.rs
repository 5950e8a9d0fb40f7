//! Streams, rebuilt with commands.
//!
//! In the order of an RDB: entries, the counters, then each group with its consumers and, behind
//! each consumer, its pending entries.

use bytes::Bytes;

use crate::{
    keyspace::{StreamId, UnixMs},
    rdb::{self, Element, StreamGroup, StreamIdempotency, StreamMeta, StreamPending},
    resp::Command,
    sink::{Loss, Lossy, Target, line::Line, translate::create_consumer_by_reading},
};

use super::{ChunkLimits, entry_ids::EntryIds};

/// A group that exists only while an empty stream is created.
const TEMPORARY_GROUP: &str = "keyferry";

/// The stream a [`super::Rebuild`] works on, if it is one.
#[derive(Debug)]
pub(super) struct StreamRebuild {
    key: Bytes,
    limits: ChunkLimits,
    /// XSETID and XGROUP CREATE take counters; XCLAIM does not revive deleted entries.
    is_7_0: bool,
    has_createconsumer: bool,
    has_duplicate_detection: bool,
    /// Whether it was reported that ids of its entries are not recorded.
    idempotency_lost: bool,
    /// The live entries; empty before 7.0, where nothing asks for them.
    live: EntryIds,
    entries: u64,
    top_id: StreamId,
    group: Bytes,
    consumer: Bytes,
    /// Of the current group.
    first_consumer: Option<Bytes>,
    claims: Claims,
}

/// Pending entries of the current consumer that one XCLAIM can say.
#[derive(Debug, Default)]
struct Claims {
    delivered_at_ms: UnixMs,
    delivery_count: u64,
    ids: Vec<Bytes>,
}

impl StreamRebuild {
    pub(super) fn new(key: Bytes, target: &Target, limits: ChunkLimits) -> StreamRebuild {
        StreamRebuild {
            key,
            limits,
            is_7_0: target.has_common(7, 0),
            has_createconsumer: target.has_common(6, 2),
            has_duplicate_detection: target.is_redis_from(8, 6),
            idempotency_lost: false,
            live: EntryIds::default(),
            entries: 0,
            top_id: StreamId::default(),
            group: Bytes::new(),
            consumer: Bytes::new(),
            first_consumer: None,
            claims: Claims::default(),
        }
    }

    pub(super) fn entry(
        &mut self,
        id: StreamId,
        fields: Vec<(Element, Element)>,
        out: &mut Vec<Command>,
    ) {
        if self.is_7_0 {
            self.live.push(id);
        }
        self.entries += 1;
        self.top_id = id;
        let fields: Vec<Bytes> = fields
            .into_iter()
            .flat_map(|(field, value)| [field.into_bytes(), value.into_bytes()])
            .collect();
        out.push(
            Line::new("XADD")
                .arg(&self.key)
                .text(id)
                .args(&fields)
                .done(),
        );
    }

    pub(super) fn meta(&mut self, meta: &StreamMeta, out: &mut Vec<Command>) {
        if self.entries == 0 {
            // XADD with MAXLEN 0 would make an empty stream, too, but needs a last id to add.
            let group = Line::new("XGROUP").word("CREATE").arg(&self.key);
            out.push(
                group
                    .word(TEMPORARY_GROUP)
                    .word("0")
                    .word("MKSTREAM")
                    .done(),
            );
            let group = Line::new("XGROUP").word("DESTROY").arg(&self.key);
            out.push(group.word(TEMPORARY_GROUP).done());
        }
        // Servers refuse counters that contradict each other, which old streams do.
        let last_id = meta.last_id.max(self.top_id);
        let line = Line::new("XSETID").arg(&self.key).text(last_id);
        out.push(match (meta.entries_added, meta.max_deleted_id) {
            (Some(added), Some(deleted)) if self.is_7_0 => line
                .word("ENTRIESADDED")
                .text(added.max(self.entries))
                .word("MAXDELETEDID")
                .text(deleted.min(last_id))
                .done(),
            _ => line.done(),
        });
    }

    pub(super) fn group(&mut self, group: StreamGroup, out: &mut Vec<Command>) {
        self.flush(out);
        let line = Line::new("XGROUP").word("CREATE").arg(&self.key);
        let line = line.arg(&group.name).text(group.last_id);
        out.push(match group.entries_read {
            Some(read) if self.is_7_0 && i64::try_from(read).is_ok() => {
                line.word("ENTRIESREAD").text(read).done()
            }
            _ => line.done(),
        });
        self.group = group.name;
        self.first_consumer = None;
    }

    pub(super) fn consumer(&mut self, name: Bytes, out: &mut Vec<Command>) {
        self.flush(out);
        out.push(if self.has_createconsumer {
            let line = Line::new("XGROUP").word("CREATECONSUMER").arg(&self.key);
            line.arg(&self.group).arg(&name).done()
        } else {
            create_consumer_by_reading(&self.key, &self.group, &name)
        });
        self.first_consumer.get_or_insert_with(|| name.clone());
        self.consumer = name;
    }

    /// As [`unowned`](Self::unowned), an entry that was given back.
    pub(super) fn nacked(
        &mut self,
        pending: &StreamPending,
        out: &mut Vec<Command>,
    ) -> Result<(), Lossy> {
        self.unowned(pending, out)?;
        Err(Lossy {
            loss: Loss::NackedEntry,
            key: self.key.clone(),
        })
    }

    /// Gives an entry that nobody owns to the first consumer, as conversion to older types does.
    pub(super) fn unowned(
        &mut self,
        pending: &StreamPending,
        out: &mut Vec<Command>,
    ) -> Result<(), Lossy> {
        match self.first_consumer.clone() {
            None => self.consumer(Bytes::from_static(rdb::OWNER_OF_NACKED), out),
            Some(first) if first != self.consumer => {
                self.flush(out);
                self.consumer = first;
            }
            Some(_) => {}
        }
        self.pending(pending, out)
    }

    pub(super) fn pending(
        &mut self,
        pending: &StreamPending,
        out: &mut Vec<Command>,
    ) -> Result<(), Lossy> {
        if self.is_7_0 && !self.live.contains(pending.id) {
            return Err(Lossy {
                loss: Loss::PendingOfDeletedEntry,
                key: self.key.clone(),
            });
        }
        let same = self.claims.delivered_at_ms == pending.delivered_at_ms
            && self.claims.delivery_count == pending.delivery_count;
        if !same || self.claims.ids.len() >= self.limits.elements_max {
            self.flush(out);
        }
        self.claims.delivered_at_ms = pending.delivered_at_ms;
        self.claims.delivery_count = pending.delivery_count;
        self.claims.ids.push(Bytes::from(pending.id.to_string()));
        Ok(())
    }

    pub(super) fn idempotency(&mut self, settings: &StreamIdempotency, out: &mut Vec<Command>) {
        self.flush(out);
        if self.has_duplicate_detection {
            out.push(
                Line::new("XCFGSET")
                    .arg(&self.key)
                    .word("IDMP-DURATION")
                    .text(settings.duration_s)
                    .word("IDMP-MAXSIZE")
                    .text(settings.entries_max)
                    .done(),
            );
        }
    }

    /// Redis refuses to record an id for an entry that is not there. Reports that once a stream.
    pub(super) fn idempotent_id(
        &mut self,
        producer: &Bytes,
        idempotent_id: &Bytes,
        id: StreamId,
        out: &mut Vec<Command>,
    ) -> Result<(), Lossy> {
        if self.has_duplicate_detection && self.live.contains(id) {
            let line = Line::new("XIDMPRECORD").arg(&self.key).arg(producer);
            out.push(line.arg(idempotent_id).text(id).done());
        } else if !std::mem::replace(&mut self.idempotency_lost, true) {
            return Err(Lossy {
                loss: Loss::StreamIdempotency,
                key: self.key.clone(),
            });
        }
        Ok(())
    }

    /// Appends the claims that are gathered.
    pub(super) fn flush(&mut self, out: &mut Vec<Command>) {
        let claims = std::mem::take(&mut self.claims);
        if claims.ids.is_empty() {
            return;
        }
        out.push(
            Line::new("XCLAIM")
                .arg(&self.key)
                .arg(&self.group)
                .arg(&self.consumer)
                .word("0")
                .args(&claims.ids)
                .word("TIME")
                .text(claims.delivered_at_ms)
                .word("RETRYCOUNT")
                .text(claims.delivery_count)
                .word("FORCE")
                .word("JUSTID")
                .done(),
        );
    }
}
