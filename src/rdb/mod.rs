//! The RDB format: bytes in, typed events out.
//!
//! No sockets, clocks, files or tasks; nothing is reserved by a length that was not checked.
//!
//! - [`Parser`] reads a whole RDB as it arrives; [`ValueParser`] one value whose body is at hand.
//! - [`payload`] checks and builds what RESTORE and FUNCTION RESTORE take.
//! - [`ServerVersion`] knows which server loads what, [`convert`] and [`PlainEncoder`] say a value
//!   in a form that a server loads.
//! - [`Writer`] writes a whole RDB.
//!
//! Inside: `parser` keeps the bytes and `records` reads them; `opcode` says what stands in a file and how each type is laid out, `walk` finds the
//! end of a value by that, `value` reads its content, `packed` the blobs that small collections
//! are kept in, `reading` chooses between them by the altitude that is asked for; `length`, `lzf`
//! and `crc64` are the primitives. What only some servers write has files of its own: `template`
//! (Redis 8.10), `metadata` (8.6), `slots` (Valkey), `keydb`, `dragonfly` and its `section`s.
//!
//! The format is defined by what servers write: redis `rdb.c`, `rdb.h`. Measured on Redis 2.8 to
//! 8.6 and Valkey 7.2 to 9.1; Redis 8.8 and 8.10, Valkey 9.2, KeyDB, Dragonfly and Redis
//! Enterprise are read as they are reported to write.
#![deny(clippy::indexing_slicing)]

mod convert;
#[cfg(test)]
mod cost;
mod crc64;
mod cursor;
mod dragonfly;
mod error;
mod event;
mod header;
mod input;
mod key_type;
mod keydb;
mod length;
mod limits;
mod loss;
mod lzf;
mod metadata;
mod opcode;
mod packed;
mod parser;
mod part;
pub mod payload;
mod plain;
mod reading;
mod records;
mod section;
mod server_version;
mod slots;
mod template;
mod value;
mod value_type;
mod walk;
mod writer;

pub use crate::keyspace::Loss;
pub(crate) use convert::OWNER_OF_NACKED;
pub use convert::{Converted, convert};
pub use error::{Error, ErrorKind, Likeness, Opaque};
pub use event::{Altitude, Checksum, Event, Header, Key, MetadataClass};
pub use key_type::KeyType;
pub use length::{Prefix as StringHead, string_head};
pub use limits::Limits;
pub use packed::Encoding;
pub use parser::Parser;
pub use part::{
    Element, Part, Quantization, StreamConsumer, StreamGroup, StreamGroupEnd, StreamIdempotency,
    StreamMeta, StreamPending, Vector, VectorSet,
};
pub use plain::{FieldExpiry, NoPlainEncoding, PlainEncoder};
pub use server_version::{Flavor, NoSuchServer, ServerVersion};
pub use value::ValueParser;
pub use value::module::{ModuleItem, ModuleItems, module_name};
pub use value_type::{Family, ValueType};
pub use writer::Writer;
