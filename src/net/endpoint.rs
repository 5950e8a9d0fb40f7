//! The address of a server and the URL it is given by.
//!
//! ```text
//! redis://user:password@host:6379        unix://user:password@/run/redis.sock
//! scheme  \__________________/ \__/      unix:///run/redis.sock
//!           userinfo, optional  optional
//! ```
//!
//! No error text repeats any part of the URL after its scheme: a password with a character that
//! should have been percent-encoded can end up in every other part.

use std::{
    ffi::OsString, fmt, net::Ipv6Addr, os::unix::ffi::OsStringExt, path::PathBuf, str::FromStr,
};

use super::Secret;

/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 6379;

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

impl Node {
    /// The URL of this server with its password shown as `***`, in the form [`Node::from_str`]
    /// reads.
    pub fn masked_url(&self) -> String {
        let user = self.user.as_deref().map(encode).unwrap_or_default();
        let userinfo = match &self.password {
            Some(password) => format!("{user}:{password}@"),
            None if user.is_empty() => String::new(),
            None => format!("{user}@"),
        };
        match &self.endpoint {
            Endpoint::Tcp { .. } => format!("redis://{userinfo}{}", self.endpoint),
            Endpoint::Unix(path) => {
                use std::os::unix::ffi::OsStrExt;
                format!(
                    "unix://{userinfo}{}",
                    encode_bytes(path.as_os_str().as_bytes())
                )
            }
        }
    }
}

/// Why a URL does not name a server. The text never holds a part of the URL but its scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NodeUrlError(pub String);

impl FromStr for Node {
    type Err = NodeUrlError;

    /// Reads `redis://[user[:password]@]host[:port]`, `valkey://...`, `unix:///path` or
    /// `unix://[user[:password]@]/path`.
    ///
    /// User, password and the path of a socket are percent-decoded. The port defaults to 6379.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating it.
    fn from_str(url: &str) -> Result<Node, NodeUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(no_scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => tcp(rest),
            "unix" => unix(rest),
            scheme => Err(unsupported(scheme)),
        }
    }
}

fn tcp(rest: &str) -> Result<Node, NodeUrlError> {
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_len);
    if tail.contains('@') {
        return refuse(
            "a `/`, `?` or `#` in the user or password must be percent-encoded (%2F, %3F, %23)",
        );
    }
    match tail {
        "" | "/" => {}
        _ if tail.starts_with('/') && !tail.contains(['?', '#']) => {
            return refuse(
                "the URL must end after the port: all databases are moved, none is chosen by a path",
            );
        }
        _ => {
            return refuse(
                "the URL must end after the port: options after `?` or `#` are not supported",
            );
        }
    }
    let (user, password, address) = userinfo(authority)?;
    let (host, port) = host_and_port(address)?;
    Ok(Node {
        endpoint: Endpoint::Tcp { host, port },
        user,
        password,
    })
}

fn unix(rest: &str) -> Result<Node, NodeUrlError> {
    // A path may hold `@`; a user or password may not hold `/`.
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (before, path) = rest.split_at(path_at);
    if !before.is_empty() && !before.ends_with('@') {
        return refuse("a Unix socket needs an absolute path: unix:///run/redis.sock");
    }
    if path.len() < 2 {
        return refuse("the path of the Unix socket is missing: unix:///run/redis.sock");
    }
    if path.contains(['?', '#']) {
        return refuse(
            "options after the path are not supported; a `?` or `#` of the path is written %3F or %23",
        );
    }
    let (user, password, _) = userinfo(before)?;
    let path = decode(path, "the path")?;
    if path.contains(&0) {
        return refuse("the path holds a zero byte");
    }
    Ok(Node {
        endpoint: Endpoint::Unix(PathBuf::from(OsString::from_vec(path))),
        user,
        password,
    })
}

/// Splits `user:password@address`; an empty user or password is none.
fn userinfo(authority: &str) -> Result<(Option<String>, Option<Secret>, &str), NodeUrlError> {
    let Some((userinfo, address)) = authority.rsplit_once('@') else {
        return Ok((None, None, authority));
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let user = decode_text(user, "the user")?;
    let password = decode_text(password, "the password")?;
    Ok((
        (!user.is_empty()).then_some(user),
        (!password.is_empty()).then(|| Secret::new(password)),
        address,
    ))
}

fn host_and_port(address: &str) -> Result<(String, u16), NodeUrlError> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            return refuse("the `]` after the IPv6 address is missing");
        };
        let (ip, _zone) = host.split_once('%').unwrap_or((host, ""));
        if ip.parse::<Ipv6Addr>().is_err() {
            return refuse("what stands in brackets is not an IPv6 address");
        }
        match after.strip_prefix(':') {
            None if !after.is_empty() => return refuse("only `:port` may follow the `]`"),
            port => (host, port),
        }
    } else {
        match address.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return refuse("an IPv6 address stands in brackets: redis://[::1]:6379");
            }
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if host.is_empty() {
        return refuse("the host is missing");
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return refuse("the host holds a space or a control character");
    }
    Ok((host.to_owned(), port.map_or(Ok(DEFAULT_PORT), port_number)?))
}

fn port_number(text: &str) -> Result<u16, NodeUrlError> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => refuse("the port is not a number from 1 to 65535"),
    }
}

fn decode_text(text: &str, what: &str) -> Result<String, NodeUrlError> {
    String::from_utf8(decode(text, what)?)
        .or_else(|_| refuse(&format!("{what} is not UTF-8 when percent-decoded")))
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, NodeUrlError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => {
                return refuse(&format!(
                    "{what} holds a `%` without two hex digits; a plain one is written %25"
                ));
            }
        }
    }
    Ok(decoded)
}

fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

/// Percent-encodes all but the unreserved characters of RFC 3986 and `/`.
fn encode_bytes(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&b| match b {
            b'/' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn no_scheme() -> NodeUrlError {
    NodeUrlError(format!("the URL has no scheme; {SUPPORTED}"))
}

const SUPPORTED: &str =
    "supported are redis://[user[:password]@]host[:port], valkey://... and unix:///path";

fn unsupported(scheme: &str) -> NodeUrlError {
    let is_scheme = scheme.len() <= 24
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    match scheme {
        "rediss" | "valkeys" => NodeUrlError(format!(
            "{scheme}:// (TLS) is not supported yet; {SUPPORTED}"
        )),
        "" => no_scheme(),
        _ if is_scheme => NodeUrlError(format!("{scheme}:// is not supported; {SUPPORTED}")),
        _ => NodeUrlError(format!("the URL has an unknown scheme; {SUPPORTED}")),
    }
}

fn refuse<T>(text: &str) -> Result<T, NodeUrlError> {
    Err(NodeUrlError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        for (name, url, endpoint, user, password) in [
            ("host", "redis://db", "db:6379", None, None),
            ("port", "redis://db:7000", "db:7000", None, None),
            ("trailing slash", "redis://db:7000/", "db:7000", None, None),
            ("upper case scheme", "REDIS://db", "db:6379", None, None),
            (
                "alias",
                "valkey://10.0.0.5:6380",
                "10.0.0.5:6380",
                None,
                None,
            ),
            ("user", "redis://u@db", "db:6379", Some("u"), None),
            (
                "user and password",
                "redis://u:p@db",
                "db:6379",
                Some("u"),
                Some("p"),
            ),
            ("password only", "redis://:p@db", "db:6379", None, Some("p")),
            ("empty both", "redis://:@db", "db:6379", None, None),
            (
                "colon in password",
                "redis://u:a:b@db",
                "db:6379",
                Some("u"),
                Some("a:b"),
            ),
            (
                "raw @ in password",
                "redis://u:a@b@db:1",
                "db:1",
                Some("u"),
                Some("a@b"),
            ),
            (
                "encoded",
                "redis://u%3A:%40%2fp%C3%A9@db",
                "db:6379",
                Some("u:"),
                Some("@/pé"),
            ),
            ("IPv6", "redis://[::1]", "[::1]:6379", None, None),
            (
                "IPv6 and port",
                "redis://u:p@[fe80::1]:1",
                "[fe80::1]:1",
                Some("u"),
                Some("p"),
            ),
            (
                "IPv6 zone",
                "redis://[fe80::1%eth0]:1",
                "[fe80::1%eth0]:1",
                None,
                None,
            ),
            (
                "socket",
                "unix:///run/r.sock",
                "unix:/run/r.sock",
                None,
                None,
            ),
            (
                "socket, @ in path",
                "unix:///run/a@b",
                "unix:/run/a@b",
                None,
                None,
            ),
            (
                "socket, encoded",
                "unix:///run/a%3Fb",
                "unix:/run/a?b",
                None,
                None,
            ),
            (
                "socket, user",
                "unix://u:p@/r.sock",
                "unix:/r.sock",
                Some("u"),
                Some("p"),
            ),
        ] {
            let node: Node = url.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(node.endpoint.to_string(), endpoint, "{name}");
            assert_eq!(node.user.as_deref(), user, "{name}");
            assert_eq!(
                node.password.as_ref().map(Secret::reveal),
                password,
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_urls_and_never_repeats_the_password() {
        for (name, url, text) in [
            ("empty", "", "no scheme"),
            ("no scheme", "u:hunter2@db:6379", "no scheme"),
            ("empty scheme", "://u:hunter2@db", "no scheme"),
            (
                "TLS",
                "rediss://u:hunter2@db",
                "rediss:// (TLS) is not supported yet; supported are redis://",
            ),
            (
                "other scheme",
                "http://u:hunter2@db",
                "http:// is not supported",
            ),
            (
                "password for a scheme",
                "u:hunter2@x://db",
                "unknown scheme",
            ),
            (
                "database",
                "redis://u:hunter2@db/0",
                "all databases are moved",
            ),
            ("query", "redis://u:hunter2@db?x=1", "after `?`"),
            ("path and query", "redis://u:hunter2@db/?x=1", "after `?`"),
            ("slash in password", "redis://u:hunter2/x@db", "%2F"),
            ("no host", "redis://u:hunter2@", "host is missing"),
            (
                "no host but port",
                "redis://u:hunter2@:6379",
                "host is missing",
            ),
            ("nothing", "redis://", "host is missing"),
            ("space in host", "redis://u:hunter2@d b", "a space"),
            ("port 0", "redis://u:hunter2@db:0", "from 1 to 65535"),
            (
                "port 65536",
                "redis://u:hunter2@db:65536",
                "from 1 to 65535",
            ),
            ("signed port", "redis://u:hunter2@db:+1", "from 1 to 65535"),
            ("empty port", "redis://u:hunter2@db:", "from 1 to 65535"),
            (
                "password for a port",
                "redis://u:hunter2",
                "from 1 to 65535",
            ),
            ("bare IPv6", "redis://::1:6379", "in brackets"),
            ("open bracket", "redis://u:hunter2@[::1", "`]`"),
            (
                "not IPv6",
                "redis://u:hunter2@[db]:1",
                "not an IPv6 address",
            ),
            ("after bracket", "redis://u:hunter2@[::1]x", "may follow"),
            ("bad escape", "redis://u:hunter2%zz@db", "%25"),
            ("cut escape", "redis://u:hunter2%2@db", "%25"),
            ("not UTF-8", "redis://u:hunter2%ff@db", "not UTF-8"),
            (
                "socket without path",
                "unix://u:hunter2@",
                "path of the Unix socket is missing",
            ),
            ("socket, relative", "unix://hunter2/r.sock", "absolute path"),
            ("socket, query", "unix:///r.sock?pass=hunter2", "%3F"),
            ("socket, zero byte", "unix:///r%00", "zero byte"),
        ] {
            let error = url.parse::<Node>().expect_err(name).to_string();
            assert!(error.contains(text), "{name}: {error}");
            assert!(!error.contains("hunter2"), "{name}: {error}");
        }
    }

    #[test]
    fn masked_urls_can_be_read_again() {
        for (url, masked) in [
            ("valkey://db", "redis://db:6379"),
            ("redis://u@db", "redis://u@db:6379"),
            ("redis://:hunter2@db", "redis://:***@db:6379"),
            ("redis://a%3Ab:hunter2@[::1]:7", "redis://a%3Ab:***@[::1]:7"),
            ("unix://u:hunter2@/run/a%3Fb", "unix://u:***@/run/a%3Fb"),
        ] {
            let node: Node = url.parse().unwrap();
            assert_eq!(node.masked_url(), masked);
            assert_eq!(masked.parse::<Node>().unwrap().masked_url(), masked);
        }
    }
}
