//! A connection to the source while the handshake goes on over it.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{LinkConfig, LinkReader, LinkWriter, broken, unreachable};
use crate::{
    net::{Connection, Endpoint, dial},
    sync::{Error, ErrorKind},
};

/// One connection, and what was received over it and not used yet.
#[derive(Debug)]
pub(super) struct Wire {
    connection: Connection,
    pub(super) endpoint: Endpoint,
    pub(super) received: BytesMut,
    source_timeout: Duration,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// `Unreachable`, `ConnectTimedOut`.
    pub(super) async fn open(config: &LinkConfig) -> Result<Wire, Error> {
        let connection = dial(&config.endpoint, config.connect_timeout)
            .await
            .map_err(|error| unreachable(&config.endpoint, error))?;
        Ok(Wire {
            connection,
            endpoint: config.endpoint.clone(),
            received: BytesMut::new(),
            source_timeout: config.source_timeout,
        })
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// `Broken`.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sent = self.connection.write_all(bytes).await;
        sent.map_err(|error| broken(&self.endpoint, error))
    }

    /// Receives more.
    ///
    /// # Errors
    /// `ClosedInHandshake`, `Broken`, `Silent`.
    pub(super) async fn receive(&mut self) -> Result<(), Error> {
        let read = self.connection.read_buf(&mut self.received);
        match timeout(self.source_timeout, read).await {
            Ok(Ok(0)) => Err(self.error(ErrorKind::ClosedInHandshake)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(broken(&self.endpoint, error)),
            Err(_) => Err(self.error(ErrorKind::Silent(self.source_timeout))),
        }
    }

    /// An error of this connection.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.endpoint, kind)
    }

    /// Takes it apart; the reader begins with what was received and not used.
    pub(super) fn into_halves(self) -> (LinkReader, LinkWriter) {
        let (read, write) = tokio::io::split(self.connection);
        let reader = LinkReader {
            read,
            endpoint: self.endpoint.clone(),
            received: self.received,
            source_timeout: self.source_timeout,
        };
        let writer = LinkWriter {
            write,
            endpoint: self.endpoint,
        };
        (reader, writer)
    }
}
