//! The bytes that records begin with, and how each value type is laid out.
//!
//! Opcodes stand from 243 up, value types below. Two bytes mean different things under the
//! `REDIS` and the `VALKEY` magic: value type 22 and opcode 243.

use super::event::{Header, ValueType};
use super::walk::Op;

/// What is written under the magic `REDIS` up to here is known.
pub(crate) const REDIS_VERSION_MAX: u16 = 13;
/// Payload versions from here on are Valkey's; from 12 up to here they are Redis's.
pub(crate) const VALKEY_VERSION_MIN: u16 = 80;
/// What is written under the magic `VALKEY` up to here is known.
pub(crate) const VALKEY_VERSION_MAX: u16 = 80;
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
/// What is unknown from here on is called an opcode, below a value type. Forks use 200 to 224.
pub(crate) const OPCODE_MIN: u8 = 200;

/// The value of a module.
pub(crate) const TYPE_MODULE: u8 = 7;
/// A string.
pub(crate) const TYPE_STRING: u8 = 0;

/// Whether an RDB with this header can be read.
pub(crate) fn version_is_known(header: Header) -> bool {
    if header.valkey {
        (VALKEY_VERSION_MIN..=VALKEY_VERSION_MAX).contains(&header.version)
    } else {
        (1..=REDIS_VERSION_MAX).contains(&header.version)
    }
}

/// Whether a value of this type can be read.
pub(crate) fn type_is_known(value_type: ValueType, version: u16) -> bool {
    // Dragonfly writes JSON as type 20 into files of version 9, where Redis has no such type.
    let foreign = value_type.byte == 20 && version <= 9;
    layout(value_type).is_some() && !foreign
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
    Op::Repeat(&[Op::Str, Op::Repeat(&[Op::Str, Op::Len, Op::Len])]),
    Op::Lens(2),
];

/// What the body of a value consists of, `None` for types whose layout is not known.
pub(crate) fn layout(value_type: ValueType) -> Option<&'static [Op]> {
    Some(match (value_type.byte, value_type.valkey) {
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
        (22, true) => TTL_LAST,
        // 22 and 23 were only written by release candidates of Redis 7.4.
        (22, false) => TTL_FIRST,
        (23, false) => STRING,
        (24, false) => TTL_FIRST_FROM,
        (25, false) => TTL_PACKED_FROM,
        (26, false) => STREAM_26,
        _ => return None,
    })
}
