//! An RDB written again for another server.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::{
    keyspace::{Db, Escaped},
    rdb::{
        Altitude, Event, Family, Key, KeyType, Loss, ServerVersion, ValueType, Writer, module_name,
    },
    sink::OnLossy,
};

use super::{CopyError, Output, Reader};

/// What was written is handed on when it has this many bytes.
const FLUSH_BYTES: usize = 256 << 10;
/// Keys that are named in the log, per kind of loss; all losses are counted.
const NAMED_MAX: u64 = 100;
/// The most keys that a hint makes room for: a server takes the memory at once, whatever the source
/// says, and finds more as keys come.
const HINT_MAX: u64 = 1 << 20;
/// No body without elements is longer.
const EMPTY_BYTES_MAX: usize = 32;
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
    summary.keys_not_selected = reader.left_out();
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
    /// The value of a module, until it has said which.
    module: Option<Vec<u8>>,
    /// Type and first bytes of a value of which too little has come to say that it has elements.
    /// Nothing of its key is written yet.
    held: Option<(ValueType, Vec<u8>)>,
    /// The value being read is left out.
    leaves_out: bool,
    /// How many keys lose something, by what that is.
    keys_losing: BTreeMap<Loss, u64>,
    summary: ConvertSummary,
}

impl Conversion {
    fn new(config: ConvertConfig, is_whole: bool) -> Conversion {
        Conversion {
            writer: Writer::new(config.server.header()),
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
            module: None,
            held: None,
            leaves_out: false,
            keys_losing: BTreeMap::new(),
            summary: ConvertSummary::default(),
        }
    }

    /// Begins a key and says how its value is wanted.
    fn key(&mut self, key: Key, db: Db) -> Result<Altitude, ConvertError> {
        self.key = key;
        self.leaves_out = false;
        if self.key.has_metadata {
            self.lose(Loss::ModuleMetadata, 1, db)?;
        }
        if self.key.value_type.is_module() {
            self.module = Some(Vec::new());
            let server = self.config.server;
            // Only where a vector set can be kept is there something to rewrite.
            let rewrites = server.has_vector_sets() && !server.loads_newest_vector_sets();
            return Ok(match rewrites {
                false => Altitude::Pieces,
                true => Altitude::Converted {
                    to: self.key.value_type,
                },
            });
        }
        match self.config.server.checked_type_for(self.key.value_type) {
            Ok(to) => {
                self.held = Some((to, Vec::new()));
                Ok(Altitude::Converted { to })
            }
            Err(loss) => {
                self.leaves_out = true;
                self.lose(loss, 1, db)?;
                Ok(Altitude::Skip)
            }
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
        match event {
            Event::Header(header) => self.same_version = header == self.config.server.header(),
            Event::BodyPiece(piece) => self.piece(&piece, db)?,
            Event::ValueEnd => self.end_value(db),
            Event::Lost { loss, count } => self.lose(loss, count, db)?,
            Event::Aux { name, value } => self.aux(&name, &value),
            Event::Function { code } => self.function(&code)?,
            Event::SelectDb(_) => self.hints = None,
            Event::ResizeDb { keys, expires } => self.hints = Some((keys, expires)),
            Event::ModuleAux { .. } => self.summary.module_aux_left_out += 1,
            Event::MemberExpiry { .. } => self.lose(Loss::MemberExpiry, 1, db)?,
            Event::End(_) => self.writer.finish(),
            // The altitudes that were chosen have no other events of values.
            _ => {}
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Bytes, db: Db) -> Result<(), ConvertError> {
        if let Some(mut held) = self.module.take() {
            held.extend_from_slice(piece);
            let held = Bytes::from(held);
            match module_name(&held) {
                None => self.module = Some(held.into()),
                Some(name) => self.begin_module(&name, &held, db)?,
            }
        } else if let Some((to, mut held)) = self.held.take() {
            held.extend_from_slice(piece);
            if held.len() <= EMPTY_BYTES_MAX {
                self.held = Some((to, held));
            } else {
                self.begin(to, db);
                self.writer.body(&held);
            }
        } else if !self.leaves_out {
            self.writer.body(piece);
        }
        Ok(())
    }

    /// Ends a value, which may be too short to have been written yet.
    fn end_value(&mut self, db: Db) {
        let Some((to, held)) = self.held.take() else {
            return;
        };
        if is_empty(to, &held) {
            self.summary.keys_empty += 1;
            return;
        }
        self.begin(to, db);
        self.writer.body(&held);
    }

    /// Begins the value of a module, of which some has come already.
    fn begin_module(&mut self, name: &str, body: &Bytes, db: Db) -> Result<(), ConvertError> {
        let loss = match name {
            "vectorset" if self.config.server.has_vector_sets() => None,
            "vectorset" => Some(Loss::VectorSet),
            _ if self.config.keep_modules => None,
            _ => Some(Loss::ModuleValue),
        };
        self.leaves_out = loss.is_some();
        match loss {
            Some(loss) => self.lose(loss, 1, db),
            None => {
                self.begin(self.key.value_type, db);
                self.writer.body(body);
                Ok(())
            }
        }
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
        *self.summary.losses.entry(loss.name()).or_default() += count;
        let keys = self.keys_losing.entry(loss).or_default();
        *keys += 1;
        match *keys {
            n if n <= NAMED_MAX => {
                tracing::warn!(%db, key = %Escaped(key), count, "{server} cannot hold {loss}");
            }
            n if n == NAMED_MAX + 1 => {
                tracing::warn!("more keys lose {loss}; they are counted but not named");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the body of a value of this type has no elements. Servers keep such keys only if they
/// are streams or of types that count as empty otherwise.
fn is_empty(value_type: ValueType, body: &[u8]) -> bool {
    let packed: &[u8] = match (value_type.byte, value_type.family) {
        (1..=5 | 14 | 18, _) | (22, Family::Valkey) => return body == [0],
        (24, Family::Redis) => return body.get(8..) == Some(&[0]),
        (9, _) => b"\x02\0\xff",
        (10 | 12 | 13, _) => b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff",
        (11, _) => return body.len() == 9 && body.get(5..) == Some(&[0; 4]),
        (16 | 17 | 20, _) => b"\x07\x07\0\0\0\0\0\xff",
        _ => return false,
    };
    body == packed
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
