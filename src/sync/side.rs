//! A side connection to the source, as an ordinary client: where it stands, what time it is.
//!
//! The replication link takes nothing but ACKs, so questions are asked here. All of them may be
//! refused to a user with replication rights only; the caller then does without.

use std::time::Duration;

use redis::{RedisResult, aio::MultiplexedConnection};

use crate::{
    keyspace::UnixMs,
    net::{self, Node},
    resp::Info,
};

use super::ReplOffset;

/// A side connection to the source.
#[derive(Debug, Clone)]
pub struct Side {
    connection: MultiplexedConnection,
}

impl Side {
    /// Connects and logs in; `None`, with a line in the log, when the source refuses.
    pub async fn open(node: &Node, connect_timeout: Duration) -> Option<Side> {
        match net::client(node, connect_timeout).await {
            Ok(connection) => Some(Side { connection }),
            Err(error) => {
                tracing::warn!(source = %node.endpoint, %error, "no side connection; lag is estimated");
                None
            }
        }
    }

    /// The source's replication offset; `None` when it may not be read.
    pub async fn offset(&mut self) -> Option<ReplOffset> {
        let info = self.info("replication").await?;
        let offset = Info::parse(&info).get("master_repl_offset")?.parse().ok()?;
        Some(ReplOffset::new(offset))
    }

    /// How many keys the source has in all databases.
    pub async fn keys(&mut self) -> Option<u64> {
        let info = self.info("keyspace").await?;
        Some(
            Info::parse(&info)
                .keyspace()
                .iter()
                .map(|(_, keys)| keys)
                .sum(),
        )
    }

    /// The source's clock.
    pub async fn time(&mut self) -> Option<UnixMs> {
        let answer: RedisResult<(i64, i64)> =
            redis::cmd("TIME").query_async(&mut self.connection).await;
        let (seconds, micros) = answer.ok()?;
        Some(seconds.saturating_mul(1000).saturating_add(micros / 1000))
    }

    async fn info(&mut self, section: &str) -> Option<String> {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        command.query_async(&mut self.connection).await.ok()
    }
}
