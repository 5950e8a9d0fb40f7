//! Opening a connection for writing: the dial and the login, and nothing that needs a permission.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    net::{Connection, Node, dial},
    resp::{self, Encoder, Reply, ReplyDecoder},
};

use super::error::{Error, ErrorKind};

/// Opens a connection to `node` within `timeout`, and logs in.
///
/// # Errors
/// [`ErrorKind::Connect`], [`ErrorKind::LaneLogin`], [`ErrorKind::Reply`].
pub(super) async fn connect(node: &Node, timeout: Duration) -> Result<Connection, Error> {
    let endpoint = &node.endpoint;
    let mut connection = dial(endpoint, timeout)
        .await
        .map_err(|error| ErrorKind::Connect(error).at(endpoint))?;
    let Some(password) = &node.password else {
        return Ok(connection);
    };
    let mut auth = Encoder::default();
    match &node.user {
        Some(user) => auth.words(&[b"AUTH", user.as_bytes(), password.reveal().as_bytes()]),
        None => auth.words(&[b"AUTH", password.reveal().as_bytes()]),
    }
    let lost = |error: io::Error| ErrorKind::Connect(error).at(endpoint);
    for segment in auth.take() {
        connection.write_all(&segment).await.map_err(lost)?;
    }
    let mut decoder = ReplyDecoder::new(resp::Limits::default());
    let mut inbound = BytesMut::new();
    loop {
        let read = tokio::time::timeout(timeout, connection.read_buf(&mut inbound));
        let read = read
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if read.map_err(lost)? == 0 {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        decoder.feed(inbound.split().freeze());
        match decoder.next() {
            Ok(None) => {}
            Ok(Some(Reply::Error(reply))) => return Err(ErrorKind::LaneLogin(reply).at(endpoint)),
            Ok(Some(_)) => return Ok(connection),
            Err(error) => return Err(ErrorKind::Reply(Some(error)).at(endpoint)),
        }
    }
}
