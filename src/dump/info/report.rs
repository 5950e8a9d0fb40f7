//! What is said about an RDB.

use serde::Serialize;

use crate::{
    dump::{ByteString, Place},
    keyspace::UnixMs,
};

/// Everything that `rdb info` tells. Serialises to the object that `--json` prints: fields may be
/// added, those there are keep their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Info {
    /// Where the RDB came from.
    pub input: String,
    /// The letters it begins with.
    pub rdb: &'static str,
    /// Its version.
    pub rdb_version: u16,
    /// The server that wrote it, as far as it says.
    pub writer: Option<Writer>,
    /// The other AUX fields, in the order of the file, but for scripts and hints.
    pub aux: Vec<AuxField>,
    /// When it was written.
    pub created_at_ms: Option<UnixMs>,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many bytes of the input were read for it: fewer if it is compressed.
    pub input_bytes: u64,
    /// How many bytes follow it.
    pub bytes_behind: u64,
    /// `verified`, `disabled` or `absent`.
    pub checksum: &'static str,
    /// How many keys were selected.
    pub keys: u64,
    /// How many were not.
    pub keys_not_selected: u64,
    /// The dbs that have keys, or hints.
    pub dbs: Vec<DbInfo>,
    /// Keys by type.
    pub types: Vec<TypeInfo>,
    /// Keys by the encoding of their values.
    pub encodings: Vec<EncodingInfo>,
    /// When keys expire.
    pub expiry: ExpiryInfo,
    /// Keys that say how long they were idle (LRU).
    pub keys_with_idle: u64,
    /// Keys that say how often they are used (LFU).
    pub keys_with_freq: u64,
    /// Values that are one compressed string.
    pub lzf: LzfInfo,
    /// The largest values.
    pub largest: Vec<LargeKey>,
    /// Function libraries.
    pub functions: Vec<FunctionInfo>,
    /// Cached scripts.
    pub scripts: u64,
    /// Values of modules.
    pub modules: Vec<ModuleInfo>,
    /// What modules keep beside the keys: their names, once for each record.
    pub module_aux: Vec<String>,
    /// What modules keep beside single keys (Redis 8.6).
    pub metadata: Vec<MetadataInfo>,
    /// Hints about slots, and the keys they tell of.
    pub slots: SlotsInfo,
    /// Slots that were being imported (Valkey 9).
    pub slot_imports: Vec<SlotImportInfo>,
    /// Members and fields with an expiry of their own, as KeyDB writes them.
    pub member_expiries: u64,
    /// Keys that Dragonfly never evicts.
    pub sticky_keys: u64,
    /// Indexes of Dragonfly.
    pub search_indexes: Vec<ByteString>,
}

/// Metadata of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetadataInfo {
    /// The four characters of its name.
    pub class: String,
    /// Keys that have it.
    pub keys: u64,
}

/// What a file of a cluster says about its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct SlotsInfo {
    /// How many slots it tells of.
    pub slots: u64,
    /// How many keys it says are in them.
    pub keys: u64,
}

/// Slots that were being imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotImportInfo {
    /// The name of the import.
    pub job: ByteString,
    /// The first and the last slot of each range.
    pub ranges: Vec<(u16, u16)>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Writer {
    /// `Redis`, `Valkey` or `Dragonfly`.
    pub server: &'static str,
    /// The version it says it has.
    pub version: ByteString,
}

/// An AUX field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuxField {
    /// Its name.
    pub name: ByteString,
    /// Its value.
    pub value: ByteString,
}

/// What a db has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct DbInfo {
    /// Its number.
    pub db: u32,
    /// Keys that were selected.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
    /// The bytes of their values.
    pub bytes: u64,
    /// How many keys it says it has.
    pub hint_keys: Option<u64>,
    /// How many of them expire, as it says.
    pub hint_expires: Option<u64>,
}

/// Keys of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeInfo {
    /// The type.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// How many there are.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

/// Keys whose values are encoded the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EncodingInfo {
    /// The type.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// The encoding, in the words of OBJECT ENCODING.
    pub encoding: &'static str,
    /// The type byte in the file.
    pub rdb_type: u8,
    /// How many keys there are.
    pub keys: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

/// When keys expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct ExpiryInfo {
    /// Keys that expire.
    pub keys: u64,
    /// Those whose time had passed when the file was written; null if it does not say when.
    pub expired_at_creation: Option<u64>,
    /// Those whose time has passed by our clock.
    pub expired_now: u64,
    /// The first time.
    pub earliest_ms: Option<UnixMs>,
    /// The last time.
    pub latest_ms: Option<UnixMs>,
    /// Hashes with fields that expire by themselves.
    pub keys_with_field_expiry: u64,
    /// Those fields.
    pub fields: u64,
}

/// Values that are one compressed string: strings, and packed collections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct LzfInfo {
    /// How many there are.
    pub values: u64,
    /// Their bytes as they are stored.
    pub bytes: u64,
    /// Their bytes when they are inflated.
    pub bytes_inflated: u64,
}

/// A key with a large value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LargeKey {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// Its type.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// How its value is encoded.
    pub encoding: &'static str,
    /// The bytes of its value in the file.
    pub bytes: u64,
}

/// A function library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionInfo {
    /// Its name; null if its first line does not say.
    pub name: Option<String>,
    /// Its engine, such as `lua`.
    pub engine: Option<String>,
    /// The bytes of its source.
    pub bytes: u64,
}

/// Values of one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleInfo {
    /// The nine characters of its name.
    pub module: String,
    /// How many keys there are.
    pub keys: u64,
    /// The bytes of their values.
    pub bytes: u64,
}
