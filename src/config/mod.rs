//! What the program runs on, already valid.
//!
//! Settings come in four layers; each beats the ones below it, setting by setting:
//!
//! ```text
//!  flag          --spool-memory 64mb          layer::Layer made by the command line
//!  environment   KEYFERRY_SPOOL_MEMORY=64mb   env
//!  file          spool-memory = "64mb"        file
//!  default                                       setting::SETTINGS
//!        \____ Settings: text and origin of each ____/
//!                      |  resolve: parse, check contradictions
//!       SyncConfig, SourceConfig, TargetConfig
//! ```
//!
//! A daemon's file declares many migrations (`declared`): each table is a layer of its own above
//! what the file says for all of them, and no variable or flag stands above those.
//!
//! [`SETTINGS`] is the one table of names, help and defaults; flags, variables and keys of the
//! file are all read from it. Error texts never hold a password.

mod declared;
mod duration;
mod env;
mod error;
mod file;
mod layer;
mod listen;
mod migration;
mod password;
mod resolve;
mod setting;
mod show;
mod size;
mod source;
mod target;

pub use declared::{Declared, declared};
pub use duration::parse as parse_duration;
pub use env::from_env;
pub use error::ConfigError;
pub use file::from_file;
pub use layer::{Layer, Origin, Settings};
pub use listen::{Listen, ListenText, parse_token};
pub use migration::{CheckpointPlace, Migration, Mode, Showing, SpoolConfig};
pub use resolve::{LogFormat, ProgressStyle, SyncConfig, Talk, on_lossy};
pub use setting::{Group, Kind, SETTINGS, Setting};
pub use size::parse as parse_size;
pub use source::SourceConfig;
pub use target::TargetConfig;
