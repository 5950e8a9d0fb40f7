//! The snapshot's way to the target: events of its keys, value writer, lanes.
//!
//! Where the events come from, a link or a file, is the caller's business.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    keyspace::{Db, Escaped, UnixMs},
    rdb::{Altitude, Event},
    sink::{Target, ValueConfig, ValueWriter},
};

use super::{
    Error, Progress, SkipReason, clock::ServerClock, lanes::Lanes, skipped::Skipped,
    written::Written,
};

/// A snapshot on its way from events to lanes.
pub(super) struct SnapshotCopy<'a> {
    writer: ValueWriter,
    clock: ServerClock,
    lanes: Lanes,
    /// The names of what is written, for whoever has to undo it.
    written: Option<Written>,
    progress: &'a Progress,
    /// The db of the keys that follow.
    db: Db,
    stream_db: Db,
}

/// What is known once a snapshot is on the target.
#[derive(Debug)]
pub(super) struct Copied {
    /// The db that is selected where the stream begins.
    pub(super) stream_db: Db,
    /// Whether keys were written with held expiries.
    pub(super) held_keys: bool,
    /// Whether fields of hashes were written with held expiries.
    pub(super) held_fields: bool,
    /// Keys that the target had and kept.
    pub(super) skipped: Skipped,
}

impl SnapshotCopy<'_> {
    /// Begins before the first event. Keys have expired by `clock`.
    pub(super) fn new(
        target: Arc<Target>,
        config: ValueConfig,
        clock: ServerClock,
        lanes: Lanes,
        written: Option<Written>,
        progress: &Progress,
    ) -> SnapshotCopy<'_> {
        SnapshotCopy {
            writer: ValueWriter::new(target, config),
            clock,
            lanes,
            written,
            progress,
            db: Db(0),
            stream_db: Db(0),
        }
    }

    /// Takes the next event; after a key, says how its value is wanted.
    ///
    /// # Errors
    /// What the target cannot hold, when that is to stop the run.
    pub(super) fn take(&mut self, event: Event) -> Result<Option<Altitude>, Error> {
        match event {
            Event::Key(key) => {
                let name = key.key.clone();
                let altitude = self.writer.begin(self.db, key, self.clock.now_ms())?;
                if let (Some(written), true) = (&mut self.written, self.writer.writes_key()) {
                    written.note(self.db, &name);
                }
                return Ok(Some(altitude));
            }
            Event::String { mut key, value } => {
                // Only an expiry has to do with the time.
                let now_ms = key
                    .expire_at_ms
                    .map_or(UnixMs::MIN, |_| self.clock.now_ms());
                self.writer.string(self.db, &mut key, value, now_ms)?;
                if let (Some(written), true) = (&mut self.written, self.writer.writes_key()) {
                    written.note(self.db, &key.key);
                }
            }
            event @ (Event::Body(_)
            | Event::BodyPiece(_)
            | Event::Blob { .. }
            | Event::Measured { .. }
            | Event::Lost { .. }
            | Event::Part(_)
            | Event::ValueEnd) => {
                self.writer.take(event)?;
            }
            Event::SelectDb(db) => self.db = db,
            Event::Function { code } => self.writer.function(&code)?,
            Event::Aux { name, value } => self.aux(&name, &value),
            Event::ModuleAux { module } => {
                tracing::warn!(
                    module,
                    "data that a module keeps beside the keys is left out"
                );
            }
            Event::MemberExpiry {
                key,
                member,
                expire_at_ms,
            } => {
                let expiry = (member, expire_at_ms);
                self.writer.member_expiry(self.db, &key, expiry)?;
            }
            // What metadata a key carries stands in the key itself, too.
            Event::KeyMeta { .. } | Event::KeyFlags { .. } => {}
            Event::SearchIndex { name } => {
                tracing::warn!(name = %Escaped(&name), "an index of Dragonfly is left out");
            }
            Event::ResizeDb { .. } | Event::SlotInfo { .. } | Event::SlotImport { .. } => {}
            Event::Header(header) => {
                tracing::debug!(version = header.version, "the snapshot begins");
            }
            Event::End(_) => {}
        }
        Ok(None)
    }

    /// As [`ValueWriter::abandon`].
    pub(super) fn abandon(&mut self) {
        self.writer.abandon();
    }

    /// Whether there is something to be handed over.
    pub(super) fn is_ready(&self) -> bool {
        self.writer.is_ready()
    }

    /// Hands the batches that are ready to their lanes, waiting for room.
    ///
    /// # Errors
    /// The end of a lane.
    pub(super) async fn hand_over(&mut self) -> Result<(), Error> {
        while let Some((lane, batch)) = self.writer.ready() {
            if let Some(written) = &mut self.written {
                written.keep().await?;
            }
            self.lanes.send(lane, batch).await?;
        }
        self.progress.expiries_held.set(self.writer.held_keys());
        Ok(())
    }

    /// Takes note of what a lane reports next. May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// The end of a lane.
    pub(super) async fn noted(&mut self) -> Result<(), Error> {
        self.lanes.next().await.map(drop)
    }

    /// Hands over what is left and waits until all of it is confirmed. A value that is not
    /// complete stays unseen, under its staging name.
    ///
    /// # Errors
    /// The end of a lane before that.
    pub(super) async fn finish(mut self) -> Result<Copied, Error> {
        self.writer.flush()?;
        self.hand_over().await?;
        let skipped = self.lanes.finish().await?;
        let left_out = self.writer.left_out();
        let lossy = self.writer.losses().total();
        for (reason, n) in [
            (SkipReason::Expired, left_out.expired),
            (SkipReason::Empty, left_out.empty),
            (SkipReason::Lossy, lossy),
        ] {
            self.progress.count_skipped(reason, n);
        }
        Ok(Copied {
            stream_db: self.stream_db,
            held_keys: self.writer.held_keys() > 0,
            held_fields: self.writer.held_fields(),
            skipped,
        })
    }

    fn aux(&mut self, name: &[u8], value: &Bytes) {
        match name {
            b"repl-stream-db" => {
                // -1 when nothing is selected yet: the stream selects before its first command.
                let db = std::str::from_utf8(value).ok();
                self.stream_db = Db(db.and_then(|db| db.parse().ok()).unwrap_or(0));
            }
            b"lua" => self.writer.script(value),
            _ => {}
        }
    }
}
