//! AUTH, and the replies to it.

use bytes::Bytes;

use super::{
    Identity,
    line::encode,
    refusal::{refusal, unexpected},
};
use crate::{net::Secret, resp::ReplyError, sync::ErrorKind};

/// Logging in on one connection.
pub(super) struct Login {
    user: Option<String>,
    password: Option<Secret>,
    password_unused: bool,
}

impl Login {
    pub(super) fn new(identity: &Identity) -> Login {
        Login {
            user: identity.user.clone(),
            password: identity.password.clone(),
            password_unused: false,
        }
    }

    /// Whether the source said that it needs no password.
    pub(super) fn password_unused(&self) -> bool {
        self.password_unused
    }

    /// What is to be sent; `None` without a password.
    pub(super) fn command(&self) -> Option<Bytes> {
        let password = self.password.as_ref()?.reveal();
        Some(match &self.user {
            Some(user) => encode(&["AUTH", user, password]),
            None => encode(&["AUTH", password]),
        })
    }

    /// Takes the reply; `false` when [`Login::command`] is to be sent once more.
    ///
    /// # Errors
    /// `WrongPassword`, `NoUsers` or what else the source said, without the password.
    pub(super) fn reply(&mut self, line: &[u8]) -> Result<bool, ErrorKind> {
        if line.starts_with(b"+") {
            return Ok(true);
        }
        let Some(text) = line.strip_prefix(b"-") else {
            return Err(unexpected("AUTH", b"something that is not shown"));
        };
        let text = ReplyError::parse(text);
        if text.text.contains("no password is set")
            || text.text.contains("without any password configured")
        {
            self.password_unused = true;
            return Ok(true);
        }
        if !text.text.contains("wrong number of arguments") {
            return Err(auth_refusal(&text));
        }
        // Before 6.0 there are no users; the default user of later servers is the only one.
        match self.user.take() {
            Some(user) if user == "default" => Ok(false),
            Some(_) => Err(ErrorKind::NoUsers),
            None => Err(auth_refusal(&text)),
        }
    }
}

/// What it means that AUTH was refused. Servers that do not know a command repeat its arguments, so
/// a text we do not know is left out: it may have the password in it.
fn auth_refusal(error: &ReplyError) -> ErrorKind {
    match refusal("auth", error.text.as_bytes()) {
        ErrorKind::NoReplication { .. } | ErrorKind::Refused { .. } => ErrorKind::Refused {
            command: "auth",
            reply: "an error whose text may contain the password".into(),
        },
        kind => kind,
    }
}
