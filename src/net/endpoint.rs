//! The address of a server and the URL it is given by.

use std::{fmt, path::PathBuf, str::FromStr};

use super::Secret;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host name or address, and a port. IPv6 addresses stand without brackets.
    Tcp {
        /// Host name, IPv4 or IPv6 address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A server and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The ACL user; `None` is the default user.
    pub user: Option<String>,
    /// The password; `None` sends no AUTH.
    pub password: Option<Secret>,
}

/// Why a URL does not name a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NodeUrlError(pub String);

impl FromStr for Node {
    type Err = NodeUrlError;

    /// Reads `redis://[user[:password]@]host[:port]`, `valkey://...` or `unix:///path`.
    fn from_str(_url: &str) -> Result<Node, NodeUrlError> {
        Err(NodeUrlError("not written yet".into()))
    }
}
