//! The bytes that records begin with, and how each value type is laid out.
//!
//! Opcodes stand from 242 up, value types below. Two bytes mean different things under the
//! `REDIS` and the `VALKEY` magic: value type 22 and opcode 243. Forks have bytes of their own,
//! which clash with later ones of Redis: types 20 and 30 to 37 and opcodes 200 to 224 of
//! Dragonfly, type 64 of KeyDB, opcodes 107 and 121 of Redis Enterprise.

use super::event::Header;
use super::value_type::{Family, ValueType};
use super::walk::Op;

/// What is written under the magic `REDIS` up to here is known.
pub(crate) const REDIS_VERSION_MAX: u16 = 15;
/// Payload versions from here on are Valkey's; from 12 up to here they are Redis's.
pub(crate) const VALKEY_VERSION_MIN: u16 = 80;
/// What is written under the magic `VALKEY` up to here is known.
pub(crate) const VALKEY_VERSION_MAX: u16 = 81;
/// Files of Dragonfly have at most this version, under which Redis has none of its types.
pub(crate) const DRAGONFLY_VERSION_MAX: u16 = 9;
/// Streams with entries given back, and arrays, have files of this version.
pub(crate) const ARRAY_VERSION_MIN: u16 = 14;
/// Hash templates have files of this version.
pub(crate) const TEMPLATE_VERSION_MIN: u16 = 15;
/// Files of earlier versions end with the EOF opcode.
pub(crate) const CHECKSUM_VERSION_MIN: u16 = 5;

/// End of the records; the checksum follows.
pub(crate) const EOF: u8 = 255;
/// `len` db.
pub(crate) const SELECT_DB: u8 = 254;
/// Signed 32-bit LE seconds, up to Redis 2.4.
pub(crate) const EXPIRE_TIME: u8 = 253;
/// Signed 64-bit LE milliseconds.
pub(crate) const EXPIRE_TIME_MS: u8 = 252;
/// `len` keys, `len` keys that expire: hints (Redis 3.2+).
pub(crate) const RESIZE_DB: u8 = 251;
/// `str` name, `str` value (Redis 3.2+).
pub(crate) const AUX: u8 = 250;
/// `u8` LFU counter (Redis 5.0+).
pub(crate) const FREQ: u8 = 249;
/// `len` seconds (Redis 5.0+).
pub(crate) const IDLE: u8 = 248;
/// Data of a module beside the keys (Redis 5.0+).
pub(crate) const MODULE_AUX: u8 = 247;
/// A function library in parts (Redis 7.0 release candidates).
pub(crate) const FUNCTION_PRE_GA: u8 = 246;
/// `str` source of a function library (Redis 7.0+, Valkey).
pub(crate) const FUNCTION2: u8 = 245;
/// `len` slot, `len` keys, `len` keys that expire: hints (Redis 7.4+).
pub(crate) const SLOT_INFO: u8 = 244;
/// Under `REDIS`: metadata of modules for the next key (8.6+).
pub(crate) const KEY_META: u8 = 243;
/// Under `VALKEY`: slots that were being imported (9.0+).
pub(crate) const SLOT_IMPORT: u8 = 243;
/// The field names that hashes share (Redis 8.10+).
pub(crate) const HASH_TEMPLATE: u8 = 242;
/// `len` since when a key was not used, for tiered memory (Redis Enterprise).
pub(crate) const TIER_LRU: u8 = 107;
/// `len` slot of the next key (Redis Enterprise).
pub(crate) const KEY_SLOT: u8 = 121;
/// What is unknown from here on is called an opcode, below a value type. Forks use 200 to 224.
pub(crate) const OPCODE_MIN: u8 = 200;

/// The value of a module.
pub(crate) const TYPE_MODULE: u8 = 7;
/// A hash whose field names stand in a template, its values in a listpack.
pub(crate) const TYPE_TEMPLATE_LISTPACK: u8 = 30;
/// A string.
pub(crate) const TYPE_STRING: u8 = 0;

/// Whether an RDB with this header is of a known version.
pub(crate) fn version_is_known(header: Header) -> bool {
    header.version <= version_max(header) && !version_is_impossible(header)
}

/// Whether no server writes this version under this magic.
pub(crate) fn version_is_impossible(header: Header) -> bool {
    header.version < if header.valkey { VALKEY_VERSION_MIN } else { 1 }
}

fn version_max(header: Header) -> u16 {
    if header.valkey {
        VALKEY_VERSION_MAX
    } else {
        REDIS_VERSION_MAX
    }
}

/// Whether a value of this type can be read from a file of this version.
pub(crate) fn type_is_known(value_type: ValueType, version: u16) -> bool {
    let is_later = match (value_type.byte, value_type.family) {
        // Dragonfly writes JSON as type 20 into files of version 9, where Redis has no such type.
        (20, Family::Redis) => version <= DRAGONFLY_VERSION_MAX,
        (27 | 28, Family::Redis) => version < ARRAY_VERSION_MIN,
        (30 | 32, Family::Redis) => version < TEMPLATE_VERSION_MIN,
        _ => false,
    };
    !is_later && (layout(value_type).is_some() || value_type.needs_template())
}

/// Whether a value of this type can be read from a payload. Those may have an older version than
/// the type, which is what every server takes. Hashes with a template bring the names of their
/// fields with them there.
pub(crate) fn payload_type_is_known(value_type: ValueType) -> bool {
    brings_names(value_type) || layout(value_type).is_some()
}

/// Whether it is a hash that brings the names of its fields with it, as in payloads.
pub(crate) fn brings_names(value_type: ValueType) -> bool {
    matches!(value_type.byte, 29 | 31) && value_type.family == Family::Redis
}

/// Whose type the first byte of a payload is.
pub(crate) fn payload_type(byte: u8, version: u16) -> ValueType {
    let dragonfly = version <= DRAGONFLY_VERSION_MAX && matches!(byte, 20 | 30..=37);
    let family = match version {
        VALKEY_VERSION_MIN.. => Family::Valkey,
        _ if dragonfly => Family::Dragonfly,
        _ => Family::Redis,
    };
    ValueType::of(byte, family)
}

/// Whether a byte that cannot be read is called an opcode, not a value type.
pub(crate) fn is_opcode(byte: u8) -> bool {
    byte >= OPCODE_MIN || matches!(byte, 101 | 102 | TIER_LRU | KEY_SLOT)
}

/// What is known about a byte that is refused.
pub(crate) fn name_of_refused(byte: u8) -> Option<&'static str> {
    Some(match byte {
        6 => "a module's value as release candidates of Redis 4.0 wrote it",
        29 | 31 => "a hash as only DUMP writes it",
        33 => "the state of a rate limiter",
        101 | 102 => "written by old versions of Redis Enterprise",
        210 => "a part of Dragonfly's journal",
        224 => "interleaved pieces of Dragonfly's values",
        _ => return None,
    })
}

const STRING: &[Op] = &[Op::Str];
const STRINGS: &[Op] = &[Op::Repeat(&[Op::Str])];
const PAIRS: &[Op] = &[Op::Repeat(&[Op::Str, Op::Str])];
const TEXT_SCORES: &[Op] = &[Op::Repeat(&[Op::Str, Op::Score])];
const SCORES: &[Op] = &[Op::Repeat(&[Op::Str, Op::Fixed(8)])];
const QUICKLIST_2: &[Op] = &[Op::Repeat(&[Op::Len, Op::Str])];
const TTL_FIRST: &[Op] = &[Op::Repeat(&[Op::Len, Op::Str, Op::Str])];
const TTL_FIRST_FROM: &[Op] = &[Op::Fixed(8), Op::Repeat(&[Op::Len, Op::Str, Op::Str])];
const TTL_PACKED_FROM: &[Op] = &[Op::Fixed(8), Op::Str];
const TTL_LAST: &[Op] = &[Op::Repeat(&[Op::Str, Op::Str, Op::Fixed(8)])];
/// A module's id and its items.
pub(crate) const MODULE: &[Op] = &[Op::Len, Op::Items];

const NODES: Op = Op::Repeat(&[Op::Str, Op::Str]);
const PENDING: Op = Op::Repeat(&[Op::Fixed(24), Op::Len]);
const OWNED: Op = Op::Repeat(&[Op::Fixed(16)]);
/// Name and last id; then how many entries were read, from type 19 on; pending; consumers.
const GROUPS_15: Op = Op::Repeat(&[
    Op::Str,
    Op::Len,
    Op::Len,
    PENDING,
    Op::Repeat(&[Op::Str, Op::Fixed(8), OWNED]),
]);
const GROUPS_19: Op = Op::Repeat(&[
    Op::Str,
    Op::Len,
    Op::Len,
    Op::Len,
    PENDING,
    Op::Repeat(&[Op::Str, Op::Fixed(8), OWNED]),
]);
const GROUPS_21: Op = Op::Repeat(&[
    Op::Str,
    Op::Len,
    Op::Len,
    Op::Len,
    PENDING,
    Op::Repeat(&[Op::Str, Op::Fixed(16), OWNED]),
]);
/// Ends with the ids that were given back.
const GROUPS_27: Op = Op::Repeat(&[
    Op::Str,
    Op::Len,
    Op::Len,
    Op::Len,
    PENDING,
    Op::Repeat(&[Op::Str, Op::Fixed(16), OWNED]),
    OWNED,
]);
/// Nodes, how many entries there are, the last id; groups.
const STREAM_15: &[Op] = &[NODES, Op::Lens(3), GROUPS_15];
/// Also the first id, the greatest deleted one, and how many entries were ever added.
const STREAM_19: &[Op] = &[NODES, Op::Lens(8), GROUPS_19];
const STREAM_21: &[Op] = &[NODES, Op::Lens(8), GROUPS_21];
/// Ends with idempotency: duration and size; producers with their ids; two counters.
const STREAM_26: &[Op] = &[
    NODES,
    Op::Lens(8),
    GROUPS_21,
    Op::Lens(2),
    PRODUCERS,
    Op::Lens(2),
];
const STREAM_27: &[Op] = &[
    NODES,
    Op::Lens(8),
    GROUPS_27,
    Op::Lens(2),
    PRODUCERS,
    Op::Lens(2),
];
const PRODUCERS: Op = Op::Repeat(&[Op::Str, Op::Repeat(&[Op::Str, Op::Len, Op::Len])]);
/// Script; start and interval; keys; arguments.
const CRON_JOB: &[Op] = &[
    Op::Str,
    Op::Fixed(16),
    Op::Repeat(&[Op::Str]),
    Op::Repeat(&[Op::Str]),
];
const TRIPLES: &[Op] = &[Op::Repeat(&[Op::Str, Op::Str, Op::Str])];
/// Zero, growth and error rate, three sizes; filters.
const BLOOM: &[Op] = &[
    Op::Len,
    Op::Fixed(16),
    Op::Lens(3),
    Op::Repeat(&[Op::Len, Op::Str]),
];
const BLOOM_CHUNKS: &[Op] = &[
    Op::Len,
    Op::Fixed(16),
    Op::Lens(3),
    Op::Repeat(&[Op::Len, Op::Chunks]),
];
/// Zero and three sizes, decay; the elements with their counts; counters.
const TOP_ELEMENTS: &[Op] = &[
    Op::Lens(4),
    Op::Fixed(8),
    Op::Repeat(&[Op::Str, Op::Len]),
    Op::Str,
];
const CUCKOO: &[Op] = &[Op::Lens(6), Op::Repeat(&[Op::Chunks])];
const ARRAY: &[Op] = &[Op::Array(&[Op::Len, Op::ArrayValue])];

/// What the body of a value consists of, `None` for types whose layout is not known or not said
/// by the body alone.
pub(crate) fn layout(value_type: ValueType) -> Option<&'static [Op]> {
    use Family::{Dragonfly, Redis, Valkey};
    Some(match (value_type.byte, value_type.family) {
        // Strings, and collections in one packed blob.
        (0 | 9 | 10 | 11 | 12 | 13 | 16 | 17 | 20, _) => STRING,
        // Lists and sets by element, and the quicklist of ziplists.
        (1 | 2 | 14, _) => STRINGS,
        (3, _) => TEXT_SCORES,
        (4, _) => PAIRS,
        (5, _) => SCORES,
        (TYPE_MODULE, _) => MODULE,
        (15, _) => STREAM_15,
        (18, _) => QUICKLIST_2,
        (19, _) => STREAM_19,
        (21, _) => STREAM_21,
        (22, Valkey) => TTL_LAST,
        // 22 and 23 were only written by release candidates of Redis 7.4.
        (22, Redis) => TTL_FIRST,
        (23, Redis) => STRING,
        (24, Redis) => TTL_FIRST_FROM,
        (25, Redis) => TTL_PACKED_FROM,
        (26, Redis) => STREAM_26,
        (27, Redis) => STREAM_27,
        (28, Redis) => ARRAY,
        (64, Redis) => CRON_JOB,
        (30, Dragonfly) => STRING,
        (31, Dragonfly) => TRIPLES,
        (32, Dragonfly) => PAIRS,
        (33, Dragonfly) => BLOOM,
        (34, Dragonfly) => BLOOM_CHUNKS,
        (35, Dragonfly) => &[Op::Matrix],
        (36, Dragonfly) => TOP_ELEMENTS,
        (37, Dragonfly) => CUCKOO,
        _ => return None,
    })
}
