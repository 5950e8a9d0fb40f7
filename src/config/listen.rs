//! Where a process shows what it does, and to whom.
//!
//! On loopback everybody who is logged in on the machine may look. Elsewhere a bearer token is
//! demanded, and the file that holds it must not be readable by every user.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
};

use crate::net::Secret;

use super::{ConfigError, Origin, layer::Given, password};

/// The shortest token, in bytes: what is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// The bits of a file's mode that let every user of the machine in.
const MODE_OF_OTHERS: u32 = 0o007;

/// An address to listen on, and the token to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What a request must bring along; `None` on loopback only.
    pub token: Option<Secret>,
}

/// The texts that say where to listen, and how their settings are called.
#[derive(Debug, Clone, Copy)]
pub struct ListenText<'a> {
    /// Such as `--listen`.
    pub address_label: &'a str,
    /// `IP:port`, `[IP]:port`, or `localhost:port`.
    pub address: &'a str,
    /// Such as `--token-file`.
    pub token_label: &'a str,
    /// The path of a file whose first line is the token.
    pub token_file: Option<&'a str>,
}

impl Listen {
    /// Reads the address and the token.
    ///
    /// # Errors
    /// What is no address; an address that is not loopback without a token file; a token file that
    /// cannot be read, that every user can read, or whose token is short or not visible ASCII.
    pub fn of(text: ListenText<'_>) -> Result<Listen, ConfigError> {
        let address = address(text)?;
        let token = match text.token_file {
            Some(path) => Some(parse_token(text.token_label, path)?),
            None if address.ip().is_loopback() => None,
            None => {
                return Err(ConfigError::new(
                    format!(
                        "{} {address} needs {}",
                        text.address_label, text.token_label
                    ),
                    "the address is not loopback: whoever reaches it could look",
                    format!(
                        "add {} FILE with a token in its first line, or listen on 127.0.0.1",
                        text.token_label
                    ),
                ));
            }
        };
        Ok(Listen { address, token })
    }
}

fn address(text: ListenText<'_>) -> Result<SocketAddr, ConfigError> {
    let local = text.address.strip_prefix("localhost:");
    let found = match local {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.address.parse().ok(),
    };
    found.ok_or_else(|| {
        ConfigError::new(
            format!("{} cannot be used", text.address_label),
            "it is not an IP address and a port",
            "write it as 127.0.0.1:9121 or [::1]:9121",
        )
    })
}

/// Reads the bearer token in the first line of a file.
///
/// # Errors
/// The file cannot be read or can be read by everybody, or the token is short or not visible ASCII.
pub fn parse_token(label: &str, path: &str) -> Result<Secret, ConfigError> {
    let refuse = |why: String, next: String| {
        ConfigError::new(format!("{label} {path} cannot be used"), why, next)
    };
    let given = Given {
        text: path.to_owned(),
        origin: Origin::Flag,
    };
    let token = password::read(label, &given)?;
    // The file was read a moment ago; if it is gone by now, nobody can read it.
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & MODE_OF_OTHERS != 0 {
        return Err(refuse(
            format!(
                "every user of this machine has access to it (mode {:04o})",
                mode & 0o7777
            ),
            format!("chmod 600 {path}"),
        ));
    }
    let text = token.reveal();
    if text.len() < TOKEN_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse(
            format!(
                "its token is shorter than {TOKEN_BYTES_MIN} characters, or has others than \
                 letters, digits and signs"
            ),
            format!("openssl rand -hex 32 > {path}"),
        ));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn listen(address: &str, token_file: Option<&str>) -> Result<Listen, ConfigError> {
        Listen::of(ListenText {
            address_label: "--listen",
            address,
            token_label: "--token-file",
            token_file,
        })
    }

    #[test]
    fn loopback_needs_no_token_and_nothing_else_does_without() {
        for (address, found) in [
            ("127.0.0.1:9121", Ok("127.0.0.1:9121")),
            ("127.8.0.1:0", Ok("127.8.0.1:0")),
            ("[::1]:9121", Ok("[::1]:9121")),
            ("localhost:9121", Ok("127.0.0.1:9121")),
            ("0.0.0.0:9121", Err("needs --token-file")),
            ("[::]:9121", Err("needs --token-file")),
            ("10.0.0.5:9121", Err("needs --token-file")),
            ("example.org:9121", Err("--listen cannot be used")),
            ("127.0.0.1", Err("--listen cannot be used")),
            (":9121", Err("--listen cannot be used")),
            ("localhost:", Err("--listen cannot be used")),
            ("127.0.0.1:65536", Err("--listen cannot be used")),
            ("", Err("--listen cannot be used")),
        ] {
            match (listen(address, None), found) {
                (Ok(listen), Ok(text)) => {
                    assert_eq!(
                        (listen.address.to_string(), listen.token),
                        (text.into(), None)
                    );
                }
                (Err(error), Err(text)) => assert!(error.what.contains(text), "{address}: {error}"),
                (found, _) => panic!("{address}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_token_file_is_private_and_its_token_not_to_be_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let file = path.to_str().unwrap();
        let spaced = format!("{TOKEN} {TOKEN}");
        for (name, content, mode, refused) in [
            ("private", TOKEN, 0o600, None),
            ("for a group", TOKEN, 0o640, None),
            ("readable by all", TOKEN, 0o644, Some("every user")),
            ("writable by all", TOKEN, 0o602, Some("every user")),
            ("short", "0123456789abcde", 0o600, Some("shorter than 16")),
            ("empty", "", 0o600, Some("first line is empty")),
            ("with a space", &spaced, 0o600, Some("shorter than 16")),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match (listen("0.0.0.0:1", Some(file)), refused) {
                (Ok(listen), None) => {
                    let token = listen.token.unwrap();
                    assert_eq!(token.reveal(), TOKEN, "{name}");
                }
                (Err(error), Some(text)) => assert!(error.why.contains(text), "{name}: {error}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        let missing = listen("127.0.0.1:1", Some("/nonexistent/token")).unwrap_err();
        assert!(missing.what.contains("--token-file"), "{missing}");
    }
}
