//! A listener that takes no more connections than can be spared.
//!
//! File descriptors are what migrations connect anew with: those who look must never use them up.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Connections at a time; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 64;

/// A listener with a bound.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Bounded {
        Bounded {
            listener,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }
}

impl Listener for Bounded {
    type Io = Counted;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Counted, Self::Addr) {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        // Waits and tries again where the system has no room for a connection.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let counted = Counted {
            stream,
            _room: room,
        };
        (counted, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that takes its place as long as it lives.
pub(super) struct Counted {
    stream: TcpStream,
    _room: OwnedSemaphorePermit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_further_connection_waits_until_one_has_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut bounded = Bounded::new(listener);
        let address = bounded.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..=CONNECTIONS_MAX {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let mut taken = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            taken.push(bounded.accept().await);
        }
        let full = tokio::time::timeout(Duration::from_millis(50), bounded.accept()).await;
        assert!(full.is_err());
        taken.pop();
        let (_, next) = bounded.accept().await;
        assert_eq!(next, clients[CONNECTIONS_MAX].local_addr().unwrap());
    }
}
