//! What every test stands on: real servers, a data set, a live writer, an oracle, and the binary.
//!
//! Nothing here uses keyferry's library: what is tested cannot be its own witness.
#![allow(
    dead_code,
    reason = "each test module uses its own part of the support"
)]

#[macro_use]
pub(crate) mod client;

pub(crate) mod dataset;
pub(crate) mod http;
pub(crate) mod keyferry;
pub(crate) mod migration;
pub(crate) mod oracle;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod scene;
pub(crate) mod server;
pub(crate) mod version;
pub(crate) mod writer;
