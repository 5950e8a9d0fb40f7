//! Writes an RDB: records in, bytes out.

use bytes::BufMut;

use crate::keyspace::Db;

use super::crc64::Crc64;
use super::event::{Header, Key};
use super::length::{put_length, put_string};
use super::opcode;
use super::value_type::ValueType;

/// From here on there are AUX fields and hints.
const AUX_VERSION_MIN: u16 = 7;
/// From here on there are IDLE and FREQ.
const IDLE_VERSION_MIN: u16 = 9;

/// Writes an RDB into a buffer that the caller drains.
///
/// The records are written as they are given; a loading server wants AUX fields and functions
/// first, then for each db its keys. A body must be of the type that the key was written with and
/// of one that the loading server knows: [`ServerVersion`](super::ServerVersion).
///
/// ```
/// use keyferry::keyspace::Db;
/// use keyferry::rdb::{Key, ServerVersion, ValueType, Writer};
///
/// let server: ServerVersion = "redis-7.0".parse()?;
/// let mut writer = Writer::new(server.header());
/// writer.select_db(Db(0));
/// let key = Key {
///     key: "greeting".into(),
///     value_type: ValueType::common(0),
///     expire_at_ms: None,
///     idle_s: None,
///     freq: None,
///     has_metadata: false,
/// };
/// writer.key(&key, key.value_type);
/// writer.body(b"\x05hello");
/// writer.finish();
/// assert!(writer.take().starts_with(b"REDIS0010\xfe\x00\x00\x08greeting\x05hello\xff"));
/// # Ok::<(), keyferry::rdb::NoSuchServer>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    header: Header,
    out: Vec<u8>,
    /// Up to here `out` is part of the checksum.
    summed: usize,
    crc: Crc64,
}

impl Writer {
    /// Begins an RDB with its first nine bytes.
    pub fn new(header: Header) -> Self {
        let Header { valkey, version } = header;
        let magic = match valkey {
            true => format!("VALKEY{version:03}"),
            false => format!("REDIS{version:04}"),
        };
        Self {
            header,
            out: magic.into_bytes(),
            summed: 0,
            crc: Crc64::new(),
        }
    }

    /// Writes an AUX field, unless the version has none.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        if self.header.version >= AUX_VERSION_MIN {
            self.out.put_u8(opcode::AUX);
            put_string(&mut self.out, name);
            put_string(&mut self.out, value);
        }
    }

    /// Writes the source of a function library, which servers load from 7.0 on.
    pub fn function(&mut self, code: &[u8]) {
        self.out.put_u8(opcode::FUNCTION2);
        put_string(&mut self.out, code);
    }

    /// Says which db the keys that follow belong to.
    pub fn select_db(&mut self, db: Db) {
        self.out.put_u8(opcode::SELECT_DB);
        put_length(&mut self.out, db.0.into());
    }

    /// Says how many keys the db holds, and how many of them expire, unless the version has no
    /// such hints. Servers make room by them.
    pub fn resize_db(&mut self, keys: u64, expires: u64) {
        if self.header.version >= AUX_VERSION_MIN {
            self.out.put_u8(opcode::RESIZE_DB);
            put_length(&mut self.out, keys);
            put_length(&mut self.out, expires);
        }
    }

    /// Begins the record of a key, whose value is written as one of this type. IDLE and FREQ are
    /// left out where the version has none; metadata of modules is not written.
    pub fn key(&mut self, key: &Key, value_type: ValueType) {
        let out = &mut self.out;
        if let Some(at) = key.expire_at_ms {
            out.put_u8(opcode::EXPIRE_TIME_MS);
            // Servers take -1 for none. What passed before 1970 has passed just as well in 1970.
            out.put_i64_le(at.max(0));
        }
        if self.header.version >= IDLE_VERSION_MIN {
            if let Some(idle_s) = key.idle_s {
                out.put_u8(opcode::IDLE);
                put_length(out, idle_s);
            }
            if let Some(freq) = key.freq {
                out.put_u8(opcode::FREQ);
                out.put_u8(freq);
            }
        }
        out.put_u8(value_type.byte);
        put_string(out, &key.key);
    }

    /// Writes the body of the last key, or its next piece.
    pub fn body(&mut self, piece: &[u8]) {
        self.out.put_slice(piece);
    }

    /// Ends the RDB with its checksum, if the version has one. Nothing may follow.
    pub fn finish(&mut self) {
        self.out.put_u8(opcode::EOF);
        self.sum();
        if self.header.version >= opcode::CHECKSUM_VERSION_MIN {
            let checksum = self.crc.value();
            self.out.put_u64_le(checksum);
            self.summed = self.out.len();
        }
    }

    /// How many bytes wait to be taken.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no bytes wait to be taken.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes what was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        self.sum();
        self.summed = 0;
        std::mem::take(&mut self.out)
    }

    /// Sums what was written since the last time, in one go: summing item by item is slow.
    fn sum(&mut self) {
        self.crc
            .update(self.out.get(self.summed..).unwrap_or_default());
        self.summed = self.out.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_expiry_is_written_as_none() {
        for (expire_at_ms, written) in [(-1, 0), (i64::MIN, 0), (0, 0), (5, 5)] {
            let mut writer = Writer::new(Header {
                valkey: false,
                version: 9,
            });
            writer.take();
            let key = Key {
                key: "k".into(),
                value_type: ValueType::common(0),
                expire_at_ms: Some(expire_at_ms),
                idle_s: None,
                freq: None,
                has_metadata: false,
            };
            writer.key(&key, key.value_type);
            let record = [&b"\xfc"[..], &i64::to_le_bytes(written), b"\0\x01k"].concat();
            assert_eq!(writer.take(), record, "{expire_at_ms}");
        }
    }
}
