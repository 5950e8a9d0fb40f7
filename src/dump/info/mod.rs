//! `rdb info`: what an RDB says about itself, and what it holds, counted.
//!
//! Every value is passed over; its first bytes tell its encoding. Only hashes with expiring
//! fields are read, to count those. Sizes are those of the values as they are stored.

mod head;
mod report;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Altitude, Event, Key, KeyType, LibraryHead, Part, ValueType},
};

use super::{
    ByteString, Error, Place, Reader,
    encoding::{Encodings, Holder, encoding_name},
};

use head::Head;

pub use report::{
    AuxField, DbInfo, EncodingInfo, ExpiryInfo, FunctionInfo, Info, LargeKey, LzfInfo,
    MetadataInfo, ModuleInfo, SlotImportInfo, SlotsInfo, TypeInfo, Writer,
};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoOptions {
    /// So many of the largest values are named.
    pub largest: usize,
    /// The time it is.
    pub now_ms: UnixMs,
}

/// Counts what `reader` selects.
///
/// # Errors
/// Those of reading.
pub async fn info(reader: &mut Reader, options: InfoOptions) -> Result<Info, Error> {
    let mut counting = Counting::new(options);
    while let Some(event) = reader.next().await? {
        match event {
            Event::Key(key) => {
                reader.choose(match key.value_type.has_field_expiry() {
                    true => Altitude::Elements,
                    false => Altitude::Pieces,
                });
                counting.begin(reader.db(), key, reader.position());
            }
            Event::ValueEnd => counting.end(reader.position()),
            Event::SelectDb(_) => {}
            event => counting.event(reader.db(), event),
        }
    }
    let (bytes, not_selected) = (reader.offset(), reader.keys_not_selected());
    let bytes_behind = reader.finish().await?;
    let mut info = counting.into_info();
    info.input = reader.input().to_owned();
    info.bytes = bytes;
    info.bytes_behind = bytes_behind;
    info.input_bytes = reader.input_bytes();
    info.keys_not_selected = not_selected;
    Ok(info)
}

/// What was counted so far.
struct Counting {
    options: InfoOptions,
    info: Info,
    named: Encodings,
    dbs: BTreeMap<Db, DbInfo>,
    types: BTreeMap<KeyType, Sum>,
    encodings: BTreeMap<(KeyType, u8, &'static str), Sum>,
    modules: BTreeMap<String, Sum>,
    metadata: BTreeMap<String, u64>,
    /// The smallest of the largest on top.
    largest: BinaryHeap<Reverse<Ranked>>,
    value: Value,
}

/// The bytes of a value first, then what tells keys of the same size apart: their order.
type Ranked = (u64, Reverse<Db>, Reverse<Bytes>, KeyType, &'static str);

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    keys: u64,
    expires: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, expires: bool, bytes: u64) {
        self.keys += 1;
        self.expires += u64::from(expires);
        self.bytes += bytes;
    }
}

/// The value that is being passed over.
struct Value {
    db: Db,
    key: Bytes,
    value_type: ValueType,
    expires: bool,
    begins_at: u64,
    head: Head,
    fields: u64,
}

impl Counting {
    fn new(options: InfoOptions) -> Counting {
        Counting {
            options,
            info: Info::default(),
            named: Encodings::default(),
            dbs: BTreeMap::new(),
            types: BTreeMap::new(),
            encodings: BTreeMap::new(),
            modules: BTreeMap::new(),
            metadata: BTreeMap::new(),
            largest: BinaryHeap::new(),
            value: Value {
                db: Db::default(),
                key: Bytes::new(),
                value_type: ValueType::common(0),
                expires: false,
                begins_at: 0,
                head: Head::default(),
                fields: 0,
            },
        }
    }

    fn event(&mut self, db: Db, event: Event) {
        self.named.event(&event);
        let info = &mut self.info;
        match event {
            Event::BodyPiece(piece) => self.value.head.feed(piece),
            Event::Part(Part::HashField { expire_at_ms, .. }) => {
                self.value.fields += u64::from(expire_at_ms.is_some());
            }
            Event::Header(header) => {
                info.rdb = header.magic();
                info.rdb_version = header.version;
            }
            Event::Aux { name, value } => self.aux(name, value),
            Event::ResizeDb { keys, expires } => {
                // Dragonfly says it for every part of a db.
                let db = self.dbs.entry(db).or_default();
                db.hint_keys = Some(db.hint_keys.unwrap_or(0).saturating_add(keys));
                db.hint_expires = Some(db.hint_expires.unwrap_or(0).saturating_add(expires));
            }
            Event::Function { code } => info.functions.push(function(&code)),
            Event::ModuleAux { module } => info.module_aux.push(module),
            Event::MemberExpiry { .. } => info.member_expiries += 1,
            Event::SlotInfo { keys, .. } => {
                info.slots.slots += 1;
                info.slots.keys = info.slots.keys.saturating_add(keys);
            }
            Event::SlotImport { job, ranges } => info.slot_imports.push(SlotImportInfo {
                job: ByteString(job),
                ranges,
            }),
            Event::KeyFlags { sticky, .. } => info.sticky_keys += u64::from(sticky),
            Event::SearchIndex { name } => info.search_indexes.push(ByteString(name)),
            Event::KeyMeta { classes } => {
                for class in classes {
                    *self.metadata.entry(class.name).or_default() += 1;
                }
            }
            Event::End(checksum) => info.checksum = checksum.name(),
            _ => {}
        }
    }

    fn aux(&mut self, name: Bytes, value: Bytes) {
        let info = &mut self.info;
        let server = match name.to_ascii_lowercase().as_slice() {
            b"lua" => {
                info.scripts += 1;
                return;
            }
            // A hint in the midst of the keys, once for every slot: slot, keys, ...
            b"slot-info" => {
                let text = String::from_utf8_lossy(&value);
                let keys = text
                    .split(',')
                    .nth(1)
                    .and_then(|keys| keys.parse::<u64>().ok());
                info.slots.slots += 1;
                info.slots.keys = info.slots.keys.saturating_add(keys.unwrap_or(0));
                return;
            }
            b"ctime" => {
                let seconds = std::str::from_utf8(&value).ok();
                let seconds = seconds.and_then(|text| text.parse::<UnixMs>().ok());
                info.created_at_ms = seconds.map(|seconds| seconds.saturating_mul(1000));
                None
            }
            b"redis-ver" => Some("Redis"),
            b"valkey-ver" => Some("Valkey"),
            b"df-ver" => Some("Dragonfly"),
            _ => None,
        };
        let value = ByteString(value);
        if let Some(server) = server {
            // Dragonfly says which Redis it is like, too.
            if info.writer.is_none() || server != "Redis" {
                let version = value.clone();
                info.writer = Some(Writer { server, version });
            }
        }
        info.aux.push(AuxField {
            name: ByteString(name),
            value,
        });
    }

    fn begin(&mut self, db: Db, key: Key, begins_at: u64) {
        let info = &mut self.info;
        info.keys += 1;
        info.keys_with_idle += u64::from(key.idle_s.is_some());
        info.keys_with_freq += u64::from(key.freq.is_some());
        if let Some(at) = key.expire_at_ms {
            expires(info, at, self.options.now_ms);
        }
        self.value = Value {
            db,
            key: key.key,
            value_type: key.value_type,
            expires: key.expire_at_ms.is_some(),
            begins_at,
            head: Head::default(),
            fields: 0,
        };
    }

    fn end(&mut self, ends_at: u64) {
        let value = &self.value;
        let bytes = ends_at.saturating_sub(value.begins_at);
        let key_type = KeyType::of(value.value_type);
        let holder = Holder {
            key_len: value.key.len() as u64,
            expires: value.expires,
        };
        let told = value
            .head
            .encoding(value.value_type, holder, &mut self.named);
        let encoding = told.or_else(|| encoding_name(value.value_type));
        let encoding = encoding.unwrap_or("raw");
        let db = self.dbs.entry(value.db).or_default();
        db.keys += 1;
        db.expires += u64::from(value.expires);
        db.bytes += bytes;
        self.types
            .entry(key_type)
            .or_default()
            .add(value.expires, bytes);
        let encoded = (key_type, value.value_type.byte, encoding);
        self.encodings
            .entry(encoded)
            .or_default()
            .add(value.expires, bytes);
        if key_type == KeyType::Module {
            let module = value.head.module().unwrap_or_default();
            self.modules
                .entry(module)
                .or_default()
                .add(value.expires, bytes);
        }
        if value.fields > 0 {
            self.info.expiry.keys_with_field_expiry += 1;
            self.info.expiry.fields += value.fields;
        }
        if let Some(lzf) = value.head.lzf(value.value_type) {
            self.info.lzf.values += 1;
            self.info.lzf.bytes += lzf.compressed;
            self.info.lzf.bytes_inflated += lzf.original;
        }
        self.rank(bytes, key_type, encoding);
    }

    /// Keeps the key if it is among the largest; of the same size the first in order.
    fn rank(&mut self, bytes: u64, key_type: KeyType, encoding: &'static str) {
        let is_full = self.largest.len() >= self.options.largest;
        let smallest = self.largest.peek().map(|Reverse(least)| least.0);
        if self.options.largest == 0 || (is_full && Some(bytes) < smallest) {
            return;
        }
        let value = &self.value;
        // A slice of the input, which is not to be held for a name's sake.
        let key = Bytes::copy_from_slice(&value.key);
        let ranked = (bytes, Reverse(value.db), Reverse(key), key_type, encoding);
        self.largest.push(Reverse(ranked));
        if is_full {
            self.largest.pop();
        }
    }

    fn into_info(self) -> Info {
        let mut info = self.info;
        let expired = &mut info.expiry.expired_at_creation;
        *expired = info.created_at_ms.map(|_| expired.unwrap_or(0));
        info.dbs = self
            .dbs
            .into_iter()
            .map(|(db, of)| DbInfo { db: db.0, ..of })
            .collect();
        let types = self.types.into_iter().map(|(of, sum)| TypeInfo {
            name: of.name(),
            keys: sum.keys,
            expires: sum.expires,
            bytes: sum.bytes,
        });
        info.types = types.collect();
        let encodings = self.encodings.into_iter();
        let encodings = encodings.map(|((of, rdb_type, encoding), sum)| EncodingInfo {
            name: of.name(),
            encoding,
            rdb_type,
            keys: sum.keys,
            bytes: sum.bytes,
        });
        info.encodings = encodings.collect();
        let modules = self.modules.into_iter().map(|(module, sum)| ModuleInfo {
            module,
            keys: sum.keys,
            bytes: sum.bytes,
        });
        info.modules = modules.collect();
        let metadata = self.metadata.into_iter();
        info.metadata = metadata
            .map(|(class, keys)| MetadataInfo { class, keys })
            .collect();
        let ranked = self.largest.into_sorted_vec().into_iter();
        let largest = ranked.map(|Reverse((bytes, db, key, of, encoding))| LargeKey {
            place: Place {
                db: db.0.0,
                key: ByteString(key.0),
            },
            name: of.name(),
            encoding,
            bytes,
        });
        info.largest = largest.collect();
        info
    }
}

fn expires(info: &mut Info, at: UnixMs, now_ms: UnixMs) {
    let expiry = &mut info.expiry;
    expiry.keys += 1;
    expiry.expired_now += u64::from(at <= now_ms);
    // The time of writing stands before the keys.
    if let Some(created) = info.created_at_ms {
        let expired = expiry.expired_at_creation.get_or_insert(0);
        *expired += u64::from(at <= created);
    }
    expiry.earliest_ms = Some(expiry.earliest_ms.map_or(at, |earliest| earliest.min(at)));
    expiry.latest_ms = Some(expiry.latest_ms.map_or(at, |latest| latest.max(at)));
}

fn function(code: &[u8]) -> FunctionInfo {
    let head = LibraryHead::of(code);
    FunctionInfo {
        name: head.name.map(str::to_owned),
        engine: head.engine.map(str::to_owned),
        bytes: code.len() as u64,
    }
}
