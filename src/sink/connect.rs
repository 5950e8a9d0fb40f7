//! Opening a connection for writing: the dial, the login, and the name by which it can be closed.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    net::{Connection, Endpoint, Node, dial},
    resp::{self, Encoder, Reply, ReplyDecoder},
};

use super::{
    Claim, ImportMode,
    error::{Error, ErrorKind},
};

/// A connection that takes commands.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: Connection,
    /// By what the target can be asked to close it; `None` when it does not tell.
    pub(super) id: Option<u64>,
}

/// Opens a connection to `node` within `timeout`, logs in, calls it by its claim, and says that it
/// imports where the target is in that mode.
///
/// # Errors
/// [`ErrorKind::Connect`], [`ErrorKind::LaneLogin`], [`ErrorKind::Reply`].
pub(super) async fn connect(
    node: &Node,
    timeout: Duration,
    claim: Option<&Claim>,
    import_mode: ImportMode,
) -> Result<Connected, Error> {
    let endpoint = &node.endpoint;
    let connection = dial(endpoint, timeout)
        .await
        .map_err(|error| ErrorKind::Connect(error).at(endpoint))?;
    let mut talk = Talk {
        connection,
        decoder: ReplyDecoder::new(resp::Limits::default()),
        endpoint,
    };
    let introduced =
        tokio::time::timeout(timeout, introduce(&mut talk, node, claim, import_mode)).await;
    let id = introduced.unwrap_or_else(|_| Err(talk.lost(io::ErrorKind::TimedOut.into())))?;
    Ok(Connected {
        connection: talk.connection,
        id,
    })
}

/// Logs in; returns the id of the connection if the target tells.
async fn introduce(
    talk: &mut Talk<'_>,
    node: &Node,
    claim: Option<&Claim>,
    import_mode: ImportMode,
) -> Result<Option<u64>, Error> {
    if let Some(password) = &node.password {
        let password = password.reveal().as_bytes();
        let reply = match &node.user {
            Some(user) => talk.ask(&[b"AUTH", user.as_bytes(), password]).await?,
            None => talk.ask(&[b"AUTH", password]).await?,
        };
        if let Reply::Error(reply) = reply {
            return Err(ErrorKind::LaneLogin(reply).at(talk.endpoint));
        }
    }
    // Neither may be allowed to this user; it is needed only once the connection is lost.
    if let Some(claim) = claim {
        let name = claim.connection_name();
        talk.ask(&[b"CLIENT", b"SETNAME", name.as_bytes()]).await?;
    }
    if import_mode.is_on() {
        talk.ask(&[b"CLIENT", b"IMPORT-SOURCE", b"ON"]).await?;
    }
    match talk.ask(&[b"CLIENT", b"ID"]).await? {
        Reply::Int(id) => Ok(u64::try_from(id).ok()),
        _ => Ok(None),
    }
}

/// One command after the other.
struct Talk<'a> {
    connection: Connection,
    decoder: ReplyDecoder,
    endpoint: &'a Endpoint,
}

impl Talk<'_> {
    async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Error> {
        let mut encoder = Encoder::default();
        encoder.words(words);
        for segment in encoder.take() {
            let written = self.connection.write_all(&segment).await;
            written.map_err(|error| self.lost(error))?;
        }
        let mut inbound = BytesMut::new();
        loop {
            let read = self.connection.read_buf(&mut inbound).await;
            if read.map_err(|error| self.lost(error))? == 0 {
                return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
            }
            self.decoder.feed(inbound.split().freeze());
            match self.decoder.next() {
                Ok(None) => {}
                Ok(Some(reply)) => return Ok(reply),
                Err(error) => return Err(ErrorKind::Reply(Some(error)).at(self.endpoint)),
            }
        }
    }

    fn lost(&self, error: io::Error) -> Error {
        ErrorKind::Connect(error).at(self.endpoint)
    }
}
