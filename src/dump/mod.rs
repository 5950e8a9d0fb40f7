//! RDB files: where their bytes come from, and which of their keys are wanted.
//!
//! ```text
//!  file, stdin ──► opened (gzip, zstd, LZ4) ──┐
//!  live source ──► replication link ──────────┴─► Feed ──► Reader (parser, filter) ──► events
//! ```
//!
//! [`Feed`] brings the bytes of one RDB, [`Reader`] parses them and passes on the events of the
//! keys that its [`Filter`] selects. Whatever is made of an RDB reads those events: memory is
//! bounded by one element or one packed blob, whatever the size of the file or of one value. What
//! is made of it goes to an [`Output`].
//!
//! Nothing here writes to a server, nor prints.

pub mod analyze;
mod backup;
mod byte_string;
mod check;
mod commands;
mod convert;
mod embed;
mod encoding;
mod error;
mod feed;
mod filter;
mod glob;
mod info;
mod json;
mod meter;
mod opened;
mod output;
mod reader;
mod zstd;

pub use backup::{Backup, backup};
pub use byte_string::ByteString;
pub use check::{CheckOptions, Checked, Damage, DamageKind, Place, Remark, RemarkKind, check};
pub use commands::{CommandFormat, CommandsConfig, CommandsError, CommandsSummary, commands};
pub use convert::{ConvertConfig, ConvertError, ConvertSummary, convert};
pub use embed::{csv_cell, json_in_page};
pub use encoding::encoding_name;
pub use error::{Error, ErrorKind};
pub use feed::{Feed, Input};
pub use filter::{Filter, FilterError, KeyPattern, Ttl};
pub use info::{
    AuxField, DbInfo, EncodingInfo, ExpiryInfo, FunctionInfo, Info, InfoOptions, LargeKey, LzfInfo,
    MetadataInfo, ModuleInfo, SlotImportInfo, SlotsInfo, TypeInfo, Writer, info,
};
pub use json::{JsonOptions, write_json};
pub use meter::Meter;
pub use output::{CopyError, Output, OutputError, OutputErrorKind};
pub use reader::Reader;
