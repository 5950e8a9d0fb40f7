//! Opening a connection for writing: the dial, the login, and the name by which it can be closed.

use std::{future::Future, io, time::Duration};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    net::{Connection, Node, dial},
    resp::{self, Encoder, Reply, ReplyDecoder},
};

use super::{
    Claim,
    error::{Error, ErrorKind},
};

/// A connection that takes commands.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: Connection,
    /// By what the target can be asked to close it; `None` when it does not tell.
    pub(super) id: Option<u64>,
}

/// Opens a connection to `node` within `timeout`, logs in, and calls it by its claim.
///
/// # Errors
/// [`ErrorKind::Connect`], [`ErrorKind::LaneLogin`], [`ErrorKind::Reply`].
pub(super) async fn connect(
    node: &Node,
    timeout: Duration,
    claim: Option<&Claim>,
) -> Result<Connected, Error> {
    let endpoint = &node.endpoint;
    let lost = |error: io::Error| ErrorKind::Connect(error).at(endpoint);
    let connection = dial(endpoint, timeout).await.map_err(lost)?;
    let mut talk = Talk {
        connection,
        decoder: ReplyDecoder::new(resp::Limits::default()),
    };
    let logged_in = async {
        if let Some(password) = &node.password {
            let password = password.reveal().as_bytes();
            let reply = match &node.user {
                Some(user) => talk.ask(&[b"AUTH", user.as_bytes(), password]).await?,
                None => talk.ask(&[b"AUTH", password]).await?,
            };
            if let Reply::Error(reply) = reply {
                return Err(ErrorKind::LaneLogin(reply));
            }
        }
        // Neither may be allowed to this user; it is needed only once the connection is lost.
        if let Some(claim) = claim {
            let name = claim.connection_name();
            talk.ask(&[b"CLIENT", b"SETNAME", name.as_bytes()]).await?;
        }
        match talk.ask(&[b"CLIENT", b"ID"]).await? {
            Reply::Int(id) => Ok(u64::try_from(id).ok()),
            _ => Ok(None),
        }
    };
    let id = within(timeout, logged_in)
        .await
        .map_err(|kind| kind.at(endpoint))?;
    Ok(Connected {
        connection: talk.connection,
        id,
    })
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, ErrorKind>>,
) -> Result<T, ErrorKind> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(ErrorKind::Connect(io::ErrorKind::TimedOut.into())))
}

/// One command after the other.
struct Talk {
    connection: Connection,
    decoder: ReplyDecoder,
}

impl Talk {
    async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, ErrorKind> {
        let mut encoder = Encoder::default();
        encoder.words(words);
        for segment in encoder.take() {
            let written = self.connection.write_all(&segment).await;
            written.map_err(ErrorKind::Connect)?;
        }
        let mut inbound = BytesMut::new();
        loop {
            let read = self.connection.read_buf(&mut inbound).await;
            if read.map_err(ErrorKind::Connect)? == 0 {
                return Err(ErrorKind::Connect(io::ErrorKind::UnexpectedEof.into()));
            }
            self.decoder.feed(inbound.split().freeze());
            match self.decoder.next() {
                Ok(None) => {}
                Ok(Some(reply)) => return Ok(reply),
                Err(error) => return Err(ErrorKind::Reply(Some(error))),
            }
        }
    }
}
