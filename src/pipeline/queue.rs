//! The queue between the source's link and the work: bounded in bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use crate::keyspace::UnixMs;

/// Bytes of the source, and when they came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) received_at_ms: UnixMs,
}

/// The end that the link fills.
#[derive(Debug)]
pub(super) struct QueueSender {
    chunks: mpsc::UnboundedSender<Received>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// The end that the work takes from.
#[derive(Debug)]
pub(super) struct QueueReceiver {
    chunks: mpsc::UnboundedReceiver<Received>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// Makes a queue that holds at most `bytes_max` bytes (or one larger chunk).
pub(super) fn queue(bytes_max: usize) -> (QueueSender, QueueReceiver) {
    let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let room = Arc::new(Semaphore::new(bytes_max));
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        QueueSender {
            chunks: sender,
            room: Arc::clone(&room),
            bytes_max,
        },
        QueueReceiver {
            chunks: receiver,
            room,
            bytes_max,
        },
    )
}

/// How many permits a chunk takes.
fn permits(bytes: &Bytes, bytes_max: usize) -> usize {
    bytes.len().min(bytes_max)
}

impl QueueSender {
    /// Appends a chunk, waiting for room. Returns false when the receiver is gone.
    ///
    /// May be dropped midway: the chunk is not appended then.
    pub(super) async fn send(&self, received: Received) -> bool {
        let permits = permits(&received.bytes, self.bytes_max) as u32;
        match self.room.acquire_many(permits).await {
            Ok(room) => room.forget(),
            Err(_) => return false,
        }
        self.chunks.send(received).is_ok()
    }
}

impl QueueReceiver {
    /// Takes the next chunk; `None` when the sender is gone and the queue is empty.
    ///
    /// May be dropped midway: nothing is lost.
    pub(super) async fn recv(&mut self) -> Option<Received> {
        let received = self.chunks.recv().await?;
        self.room
            .add_permits(permits(&received.bytes, self.bytes_max));
        Some(received)
    }
}

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(len: usize) -> Received {
        Received {
            bytes: Bytes::from(vec![0; len]),
            received_at_ms: 0,
        }
    }

    #[tokio::test]
    async fn holds_no_more_than_its_bound() {
        let (sender, mut receiver) = queue(10);
        assert!(sender.send(chunk(6)).await);
        let full = sender.send(chunk(5));
        tokio::pin!(full);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), &mut full).await;
        assert!(waits.is_err());
        assert_eq!(receiver.recv().await.unwrap().bytes.len(), 6);
        assert!(full.await);
        assert_eq!(receiver.recv().await.unwrap().bytes.len(), 5);
    }

    #[tokio::test]
    async fn takes_a_chunk_larger_than_its_bound_when_empty() {
        let (sender, mut receiver) = queue(10);
        assert!(sender.send(chunk(25)).await);
        assert_eq!(receiver.recv().await.unwrap().bytes.len(), 25);
        assert!(sender.send(chunk(10)).await);
    }

    #[tokio::test]
    async fn ends_on_either_side() {
        let (sender, mut receiver) = queue(10);
        assert!(sender.send(chunk(1)).await);
        drop(sender);
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_none());
        let (sender, receiver) = queue(10);
        drop(receiver);
        assert!(!sender.send(chunk(1)).await);
    }
}
