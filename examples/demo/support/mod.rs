//! What the demo takes from the tests: data set, writer, oracle and what these stand on.
#![allow(dead_code, reason = "the tests use the rest of it")]

#[macro_use]
#[path = "../../../tests/it/support/client.rs"]
pub(crate) mod client;

#[path = "../../../tests/it/support/dataset.rs"]
pub(crate) mod dataset;
#[path = "../../../tests/it/support/oracle.rs"]
pub(crate) mod oracle;
#[path = "../../../tests/it/support/random.rs"]
pub(crate) mod random;
#[path = "../../../tests/it/support/server.rs"]
pub(crate) mod server;
#[path = "../../../tests/it/support/version.rs"]
pub(crate) mod version;
#[path = "../../../tests/it/support/writer/mod.rs"]
pub(crate) mod writer;
