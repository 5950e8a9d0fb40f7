//! A source and how it is reached, whatever is done with what it sends.

use std::time::Duration;

use crate::net::Node;

/// How a source is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The server that is read.
    pub node: Node,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long the source may be silent.
    pub source_timeout: Duration,
    /// How long a source is waited for that cannot begin yet.
    pub retry_for: Duration,
    /// The address the source shows for us (`REPLCONF ip-address`).
    pub announce_ip: Option<String>,
    /// The port the source shows for us (`REPLCONF listening-port`).
    pub announce_port: u16,
}
