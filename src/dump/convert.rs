//! An RDB written again for another server.

mod held;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    keyspace::{Db, Escaped, UnixMs},
    rdb::{Altitude, Event, Key, KeyType, Loss, ServerVersion, ValueType, Writer},
    sink::{LossNames, OnLossy},
};

use super::{CopyError, Output, Reader};
use held::{Held, is_empty};

/// What was written is handed on when it has this many bytes.
const FLUSH_BYTES: usize = 256 << 10;
/// The most keys that a hint makes room for: a server takes the memory at once, whatever the source
/// says, and finds more as keys come.
const HINT_MAX: u64 = 1 << 20;
/// AUX fields that say where the data comes from.
const ORIGIN: [&[u8]; 5] = [
    b"redis-ver",
    b"valkey-ver",
    b"redis-bits",
    b"ctime",
    b"used-mem",
];
/// AUX fields from which a server goes on replicating where the data left off.
const POSITION: [&[u8]; 3] = [b"repl-stream-db", b"repl-id", b"repl-offset"];
/// The AUX field of a cached script.
const SCRIPT: &[u8] = b"lua";

/// For whom an RDB is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertConfig {
    /// The server that shall load it.
    pub server: ServerVersion,
    /// What to do with what that server cannot hold.
    pub on_lossy: OnLossy,
    /// It has the modules that the values of the RDB belong to.
    pub keep_modules: bool,
    /// Strings that are written anew are compressed, as servers do it.
    pub compress: bool,
}

/// What was written, and what was not. Serialises to the object `--json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ConvertSummary {
    /// Keys written, by type, and their `total`.
    pub keys: BTreeMap<&'static str, u64>,
    /// Keys whose value has another type byte than before.
    pub keys_converted: u64,
    /// Keys that were not selected.
    pub keys_not_selected: u64,
    /// Keys left out because they have no elements, which no server keeps.
    pub keys_empty: u64,
    /// Function libraries written.
    pub functions: u64,
    /// What the server cannot hold, by kind.
    pub losses: BTreeMap<&'static str, u64>,
    /// AUX fields left out that say nothing to the server.
    pub aux_left_out: u64,
    /// Records left out that modules keep beside the keys.
    pub module_aux_left_out: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Why an RDB could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// Reading or writing failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The server cannot hold something, and that was not to be left out.
    #[error("{server} cannot hold {loss} (db {db}, {})", Escaped(.key))]
    Lossy {
        /// For whom the RDB was written.
        server: ServerVersion,
        /// What it cannot hold.
        loss: Loss,
        /// Where that stands.
        db: Db,
        /// The key it belongs to; the first line of a function library.
        key: Bytes,
    },
}

impl ConvertError {
    /// What to do next about a loss.
    pub fn next_of_lossy() -> &'static str {
        "run again with --on-lossy drop to leave that out and have it counted"
    }
}

/// Writes what a reader brings as an RDB that a server loads, value by value, each in the newest
/// type that the server knows. The caller finishes the output.
///
/// # Errors
/// `Lossy` for the first thing that the server cannot hold, if that is the policy; what reading
/// and writing give.
pub async fn convert(
    reader: &mut Reader,
    config: ConvertConfig,
    output: &mut Output,
) -> Result<ConvertSummary, ConvertError> {
    let mut conversion = Conversion::new(config, reader.filter().selects_all());
    let selects_functions = reader.filter().selects_functions();
    while let Some(event) = reader.next().await.map_err(CopyError::from)? {
        match event {
            Event::Key(key) => {
                let altitude = conversion.key(key, reader.db())?;
                reader.choose(altitude);
            }
            Event::Aux { name, .. } if name == SCRIPT && !selects_functions => {
                conversion.summary.aux_left_out += 1;
            }
            event => conversion.take(event, reader.db())?,
        }
        if conversion.writer.len() >= FLUSH_BYTES {
            output
                .put(&conversion.writer.take())
                .map_err(CopyError::from)?;
        }
    }
    reader.finish().await.map_err(CopyError::from)?;
    output
        .put(&conversion.writer.take())
        .map_err(CopyError::from)?;
    let mut summary = conversion.summary;
    let losses = conversion.losses.counts();
    summary.losses = losses.map(|(loss, n)| (loss.name(), n)).collect();
    summary.keys_not_selected = reader.keys_not_selected();
    summary.bytes = output.bytes();
    Ok(summary)
}

/// Events in, records out.
#[derive(Debug)]
struct Conversion {
    config: ConvertConfig,
    writer: Writer,
    /// All keys are written, so that hints about their number hold.
    is_whole: bool,
    /// What is read is of the RDB version that is written, so that a server can go on from where it
    /// left off: another one may lack some of it.
    same_version: bool,
    /// The db that was selected last in what is written.
    selected: Option<Db>,
    /// How many keys the current db holds, until that is written.
    hints: Option<(u64, u64)>,
    /// The key whose value is being read.
    key: Key,
    /// A value of which nothing is written yet.
    held: Option<Held>,
    /// The key that was read last is written, or will be.
    writes_key: bool,
    losses: LossNames<Loss>,
    summary: ConvertSummary,
}

impl Conversion {
    fn new(config: ConvertConfig, is_whole: bool) -> Conversion {
        Conversion {
            writer: Writer::new(config.server.header()).compressing(config.compress),
            config,
            is_whole,
            same_version: false,
            selected: None,
            hints: None,
            key: Key {
                key: Bytes::new(),
                value_type: ValueType::common(0),
                expire_at_ms: None,
                idle_s: None,
                freq: None,
                has_metadata: false,
            },
            held: None,
            writes_key: false,
            losses: LossNames::new(format!("{} cannot hold", config.server)),
            summary: ConvertSummary::default(),
        }
    }

    /// Begins a key and says how its value is wanted.
    fn key(&mut self, key: Key, db: Db) -> Result<Altitude, ConvertError> {
        self.settle()?;
        self.key = key;
        self.writes_key = false;
        if self.key.has_metadata {
            self.lose(Loss::ModuleMetadata, 1, db)?;
        }
        let to = match self.type_of(self.key.value_type) {
            Ok(to) => to,
            Err(loss) => {
                self.lose(loss, 1, db)?;
                return Ok(Altitude::Skip);
            }
        };
        self.writes_key = true;
        self.held = Some(Held::new(db, &self.key, to, self.config.server));
        let compress = self.config.compress;
        Ok(match self.is_copied() {
            true => Altitude::Pieces,
            false => Altitude::Converted { to, compress },
        })
    }

    /// The type that a value is written as, or what is lost with it.
    fn type_of(&self, from: ValueType) -> Result<ValueType, Loss> {
        match KeyType::of(from) {
            KeyType::Module if self.config.keep_modules => Ok(from),
            _ => self.config.server.checked_type_for(from),
        }
    }

    /// Whether the value is written as it stands: what only its module knows, and vector sets
    /// where they are read in the form that they have.
    fn is_copied(&self) -> bool {
        match KeyType::of(self.key.value_type) {
            KeyType::Module => true,
            KeyType::VectorSet => self.config.server.loads_newest_vector_sets(),
            _ => false,
        }
    }

    /// Writes all of a key but its value.
    fn begin(&mut self, to: ValueType, db: Db) {
        if self.selected != Some(db) {
            self.selected = Some(db);
            self.writer.select_db(db);
        }
        if let Some((keys, expires)) = self.hints.take()
            && self.is_whole
        {
            self.writer
                .resize_db(keys.min(HINT_MAX), expires.min(HINT_MAX));
        }
        self.writer.key(&self.key, to);
        let from = self.key.value_type;
        self.summary.keys_converted += u64::from(to != from);
        for name in ["total", KeyType::of(from).name()] {
            *self.summary.keys.entry(name).or_default() += 1;
        }
    }

    /// Takes any event but a key.
    fn take(&mut self, event: Event, db: Db) -> Result<(), ConvertError> {
        // AUX fields stand between expiries, too.
        if !matches!(event, Event::MemberExpiry { .. } | Event::Aux { .. }) {
            self.settle()?;
        }
        match event {
            Event::Header(header) => self.same_version = header == self.config.server.header(),
            Event::BodyPiece(piece) => self.piece(&piece)?,
            Event::ValueEnd => self.end_value()?,
            Event::Lost { loss, count } => self.lose(loss, count, db)?,
            Event::Aux { name, value } => self.aux(&name, &value),
            Event::Function { code } => self.function(&code)?,
            Event::SelectDb(_) => self.hints = None,
            Event::ResizeDb { keys, expires } => self.hints = Some((keys, expires)),
            Event::ModuleAux { .. } => self.summary.module_aux_left_out += 1,
            Event::MemberExpiry {
                member,
                expire_at_ms,
                ..
            } => self.member_expiry(member, expire_at_ms, db)?,
            Event::End(_) => self.writer.finish(),
            // The altitudes that were chosen have no other events of values.
            _ => {}
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Bytes) -> Result<(), ConvertError> {
        let Some(held) = &mut self.held else {
            self.writer.body(piece);
            return Ok(());
        };
        held.body.extend_from_slice(piece);
        match held.is_full() {
            true => self.write_held(),
            false => Ok(()),
        }
    }

    /// Ends a value, which may not have been written yet.
    fn end_value(&mut self) -> Result<(), ConvertError> {
        match &mut self.held {
            Some(held) if held.waits() => {
                held.has_ended = true;
                Ok(())
            }
            _ => self.write_held(),
        }
    }

    /// Writes a value that waited for what follows it.
    fn settle(&mut self) -> Result<(), ConvertError> {
        match &self.held {
            Some(held) if held.has_ended => self.write_held(),
            _ => Ok(()),
        }
    }

    fn write_held(&mut self) -> Result<(), ConvertError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        if is_empty(held.to, &held.body) {
            self.writes_key = false;
            self.summary.keys_empty += 1;
            return Ok(());
        }
        let (to, body) = match held.with_expiries(self.config.compress) {
            Ok(Some(with)) => with,
            Ok(None) => (held.to, held.body),
            Err(_) => {
                // A packed blob that cannot be read is passed on as it is.
                self.lose(Loss::MemberExpiry, held.expiring(), held.db)?;
                (held.to, held.body)
            }
        };
        self.begin(to, held.db);
        self.writer.body(&body);
        Ok(())
    }

    /// Takes what KeyDB says about a member or field of the last key.
    fn member_expiry(&mut self, member: Bytes, at: UnixMs, db: Db) -> Result<(), ConvertError> {
        match &mut self.held {
            Some(held) => held.expire(member, at),
            None if self.writes_key => self.lose(Loss::MemberExpiry, 1, db)?,
            None => {}
        }
        Ok(())
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let server = self.config.server;
        let runs_scripts = server.is_redis_from(4, 0) && !server.has_functions();
        let is_kept = ORIGIN.contains(&name)
            || (POSITION.contains(&name) && self.is_whole && self.same_version)
            || (name == SCRIPT && runs_scripts);
        if is_kept {
            self.writer.aux(name, value);
        } else {
            self.summary.aux_left_out += 1;
        }
    }

    fn function(&mut self, code: &Bytes) -> Result<(), ConvertError> {
        if self.config.server.has_functions() {
            self.writer.function(code);
            self.summary.functions += 1;
            return Ok(());
        }
        let first = code.split(|byte| *byte == b'\n').next();
        self.key.key = code.slice_ref(first.unwrap_or_default());
        self.lose(Loss::Function, 1, Db(0))
    }

    /// Counts what belongs to the last key, or gives up over it.
    fn lose(&mut self, loss: Loss, count: u64, db: Db) -> Result<(), ConvertError> {
        let (server, key) = (self.config.server, &self.key.key);
        if self.config.on_lossy == OnLossy::Fail {
            let key = key.clone();
            return Err(ConvertError::Lossy {
                server,
                loss,
                db,
                key,
            });
        }
        self.losses.lose(loss, count, db, key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Limits, ValueParser};

    /// What becomes of one key: bytes written and keys counted as empty.
    fn written(to: &str, byte: u8, body: &'static [u8]) -> (Vec<u8>, u64) {
        let config = ConvertConfig {
            server: to.parse().unwrap(),
            on_lossy: OnLossy::Fail,
            keep_modules: false,
            compress: false,
        };
        let mut conversion = Conversion::new(config, true);
        conversion.writer.take();
        let key = Key {
            key: "k".into(),
            value_type: ValueType::common(byte),
            expire_at_ms: None,
            idle_s: None,
            freq: None,
            has_metadata: false,
        };
        let altitude = conversion.key(key.clone(), Db(0)).unwrap();
        let mut parser = ValueParser::new(key.value_type, body.into(), Limits::default());
        parser.choose(altitude);
        while let Some(event) = parser.next_event().unwrap() {
            conversion.take(event, Db(0)).unwrap();
        }
        conversion.settle().unwrap();
        let empty = conversion.summary.keys_empty;
        let total = conversion.summary.keys.get("total").copied();
        assert_eq!(total.unwrap_or_default() + empty, 1);
        (conversion.writer.take(), empty)
    }

    #[test]
    fn keys_without_elements_are_left_out_and_counted() {
        let listpack = b"\x07\x07\0\0\0\0\0\xff";
        for (byte, body) in [
            (1, &b"\0"[..]),
            (2, b"\0"),
            (4, b"\0"),
            (5, b"\0"),
            (9, b"\x02\0\xff"),
            (11, b"\x08\x02\0\0\0\0\0\0\0"),
            (13, b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff"),
            (16, listpack),
            (17, listpack),
            (18, b"\x01\x02\x07\x07\0\0\0\0\0\xff"),
            (20, listpack),
            (24, b"\0\0\0\0\0\0\0\0\0"),
        ] {
            for server in ["redis-6.0", "valkey-9.1", "redis-8.6"] {
                // Newer servers skip such lists, and reading refuses such sets.
                if (byte == 18 && server != "redis-6.0") || (byte == 11 && server == "valkey-9.1") {
                    continue;
                }
                assert_eq!(written(server, byte, body), (vec![], 1), "{byte} {server}");
            }
        }
    }

    #[test]
    fn short_values_are_written_at_their_end() {
        for (byte, body) in [(0, &b"\0"[..]), (2, b"\x01\x01a")] {
            let record = [&b"\xfe\0"[..], &[byte], b"\x01k", body].concat();
            assert_eq!(written("redis-6.0", byte, body), (record, 0), "{byte}");
        }
    }

    #[test]
    fn the_position_is_kept_for_the_same_version_only() {
        for (version, is_whole, kept) in [(9, true, 1), (8, true, 0), (9, false, 0)] {
            let config = ConvertConfig {
                server: "redis-6.2".parse().unwrap(),
                on_lossy: OnLossy::Fail,
                keep_modules: false,
                compress: false,
            };
            let mut conversion = Conversion::new(config, is_whole);
            let header = crate::rdb::Header {
                valkey: false,
                version,
            };
            conversion.take(Event::Header(header), Db(0)).unwrap();
            conversion.aux(b"repl-id", b"x");
            assert_eq!(1 - conversion.summary.aux_left_out, kept, "{version}");
        }
    }

    #[test]
    fn hints_do_not_make_a_server_take_all_memory() {
        let config = ConvertConfig {
            server: "redis-6.2".parse().unwrap(),
            on_lossy: OnLossy::Fail,
            keep_modules: false,
            compress: false,
        };
        let mut conversion = Conversion::new(config, true);
        conversion.writer.take();
        let hint = Event::ResizeDb {
            keys: 1 << 40,
            expires: 3,
        };
        conversion.take(hint, Db(0)).unwrap();
        conversion.begin(ValueType::common(0), Db(0));
        let written = conversion.writer.take();
        assert!(
            written.starts_with(b"\xfe\0\xfb\x80\0\x10\0\0\x03"),
            "{written:?}"
        );
    }
}
