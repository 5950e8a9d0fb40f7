//! What is gathered for a lane until it is worth a batch.

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Key, ValueType, payload},
    resp::{Encoder, LINK_BYTES_MIN},
};

use super::{
    BatchMax,
    batch::{Batch, Commands, Named, Request, Shape, Writes},
    mset::Mset,
};

/// A batch is handed over when it has this many bytes.
pub(super) const BATCH_BYTES: usize = 128 * 1024;
/// A batch is handed over when it has this many requests.
const BATCH_REQUESTS: usize = 2048;

/// What SET and MSET write.
const STRING: ValueType = ValueType::common(0);

/// What is gathered for a lane.
#[derive(Debug, Default)]
pub(super) struct LaneBuffer {
    pub(super) db: Db,
    pub(super) encoder: Encoder,
    requests: Vec<Request>,
    /// How many keys the requests write.
    keys: u64,
    strings: Mset,
    /// A payload, where it is worth copying together.
    payload: Vec<u8>,
}

/// What one RESTORE says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restore<'a> {
    /// The key as it was read, with its hints.
    pub(super) key: &'a Key,
    /// The type of the body, which may not be the one that was read.
    pub(super) value_type: ValueType,
    pub(super) body: &'a Bytes,
    /// The RDB version in the footer.
    pub(super) version: u16,
    /// As it is written, held or true.
    pub(super) expire_at_ms: Option<UnixMs>,
    pub(super) replaces: bool,
}

impl LaneBuffer {
    /// Whether it is time to hand over what was gathered, of which `max` may be gathered.
    pub(super) fn is_full(&self, max: BatchMax) -> bool {
        self.encoder.len() + self.strings.len() >= max.bytes.min(BATCH_BYTES)
            || self.requests.len() >= BATCH_REQUESTS
            || self.keys + self.strings.count() as u64 >= max.keys as u64
    }

    /// Appends a string that goes with others into one MSET.
    pub(super) fn mset(&mut self, key: &Bytes, string: &Bytes) {
        if self.strings.push(key, string) {
            self.flush_mset();
        }
    }

    /// Closes the MSET that is being gathered, so that other commands can follow.
    pub(super) fn flush_mset(&mut self) {
        if let Some(written) = self.strings.write(&mut self.encoder) {
            let writes = Writes::Keys {
                value_type: STRING,
                count: written.count as u64,
            };
            self.close(Shape::Plain, written.command, written.key, writes);
        }
    }

    /// Appends a string that needs a SET of its own.
    pub(super) fn set(
        &mut self,
        key: &Bytes,
        string: &Bytes,
        expire_at_ms: Option<UnixMs>,
        replaces: bool,
    ) {
        let expires = 2 * usize::from(expire_at_ms.is_some());
        self.encoder.begin(3 + expires + usize::from(!replaces));
        self.encoder.arg(b"SET");
        self.encoder.shared_arg(key);
        self.encoder.shared_arg(string);
        if let Some(at) = expire_at_ms {
            self.encoder.arg(b"PXAT");
            self.encoder.int_arg(at);
        }
        if !replaces {
            self.encoder.arg(b"NX");
        }
        let shape = Shape::single(replaces);
        let writes = Writes::Keys {
            value_type: STRING,
            count: 1,
        };
        self.close(shape, Bytes::from_static(b"SET"), key.clone(), writes);
    }

    /// Appends a RESTORE.
    pub(super) fn restore(&mut self, restore: &Restore<'_>) {
        let Restore {
            key,
            value_type,
            body,
            expire_at_ms,
            replaces,
            ..
        } = *restore;
        let args = 4
            + usize::from(replaces)
            + usize::from(expire_at_ms.is_some())
            + 2 * usize::from(key.idle_s.is_some() || key.freq.is_some());
        let encoder = &mut self.encoder;
        encoder.begin(args);
        encoder.arg(b"RESTORE");
        encoder.shared_arg(&key.key);
        encoder.int_arg(expire_at_ms.unwrap_or(0));
        if body.len() < LINK_BYTES_MIN {
            self.payload.clear();
            payload::put(&mut self.payload, value_type.byte, body, restore.version);
            encoder.arg(&self.payload);
        } else {
            let footer = payload::footer(value_type.byte, body, restore.version);
            encoder.arg_around(&[value_type.byte], body, &footer);
        }
        if replaces {
            encoder.arg(b"REPLACE");
        }
        if expire_at_ms.is_some() {
            encoder.arg(b"ABSTTL");
        }
        if let Some(idle_s) = key.idle_s {
            encoder.arg(b"IDLETIME");
            encoder.int_arg(i64::try_from(idle_s).unwrap_or(i64::MAX));
        } else if let Some(freq) = key.freq {
            encoder.arg(b"FREQ");
            encoder.int_arg(freq.into());
        }
        let writes = Writes::Keys {
            value_type: key.value_type,
            count: 1,
        };
        let (shape, name) = (Shape::single(replaces), key.key.clone());
        self.close(shape, Bytes::from_static(b"RESTORE"), name, writes);
    }

    /// Closes a request of one command.
    pub(super) fn close(&mut self, shape: Shape, command: Bytes, key: Bytes, writes: Writes) {
        let named = Named {
            command,
            key,
            offset: None,
        };
        if let Writes::Keys { count, .. } = writes {
            self.keys += count;
        }
        self.requests.push(Request {
            end: self.encoder.len(),
            shape,
            commands: Commands::One(named),
            writes,
            db: self.db,
            mark: None,
            finds_checkpoint: false,
        });
    }

    /// Takes everything as one batch; `None` when there is nothing.
    pub(super) fn take(&mut self) -> Option<Batch> {
        self.flush_mset();
        if self.requests.is_empty() {
            return None;
        }
        self.keys = 0;
        // The next batch will be much like this one.
        let next = Vec::with_capacity(self.requests.len());
        Some(Batch {
            segments: self.encoder.take(),
            requests: std::mem::replace(&mut self.requests, next),
            db: Some(self.db),
            after_confirmed: false,
            applied_offset: None,
        })
    }
}
