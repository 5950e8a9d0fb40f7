//! A side connection to the source, as an ordinary client: where it stands, what time it is.
//!
//! The replication link takes nothing but ACKs, so questions are asked here. All of them may be
//! refused to a user with replication rights only; the caller then does without.

use std::time::Duration;

use redis::{RedisError, RedisResult, aio::MultiplexedConnection};

use crate::{
    keyspace::{UnixMs, unix_ms},
    net::{self, Node},
    resp::Info,
};

use super::{Backlog, ReplOffset};

/// A side connection to the source.
#[derive(Debug, Clone)]
pub struct Side {
    node: Node,
    connect_timeout: Duration,
    /// `None` after it broke.
    connection: Option<MultiplexedConnection>,
}

/// Why a question was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideError {
    /// It may not be asked, or the answer makes no sense.
    Refused,
    /// It can be asked again.
    Passing,
}

impl Side {
    /// Connects and logs in; `None`, with a line in the log, when the source refuses.
    pub async fn open(node: &Node, connect_timeout: Duration) -> Option<Side> {
        match net::client(node, connect_timeout).await {
            Ok(connection) => Some(Side {
                node: node.clone(),
                connect_timeout,
                connection: Some(connection),
            }),
            Err(error) => {
                tracing::warn!(source = %node.endpoint, %error, "no side connection; lag is estimated");
                None
            }
        }
    }

    /// The source's replication offset.
    ///
    /// # Errors
    /// Whether asking again makes sense; the connection is opened again then if it broke.
    pub async fn offset(&mut self) -> Result<ReplOffset, SideError> {
        let info = self.info("replication").await?;
        let offset = Info::parse(&info).number("master_repl_offset");
        offset.map(ReplOffset::new).ok_or(SideError::Refused)
    }

    /// What the source can continue; `None` when it does not tell.
    pub async fn backlog(&mut self) -> Option<Backlog> {
        let info = self.info("replication").await.ok()?;
        Backlog::of(&Info::parse(&info))
    }

    /// How many keys the source has in all databases; `None` when that may not be read.
    pub async fn keys(&mut self) -> Option<u64> {
        let info = self.info("keyspace").await.ok()?;
        let keyspace = Info::parse(&info).keyspace();
        Some(keyspace.iter().map(|(_, keys)| keys).sum())
    }

    /// The id of the source's process; `None` when it may not be read.
    pub async fn run_id(&mut self) -> Option<String> {
        let info = self.info("server").await.ok()?;
        Info::parse(&info).get("run_id").map(str::to_owned)
    }

    /// What the source is, such as `Valkey 8.1.1`; `None` when it may not be read.
    pub async fn version(&mut self) -> Option<String> {
        let info = self.info("server").await.ok()?;
        let info = Info::parse(&info);
        let valkey = info.get("valkey_version").map(|v| format!("Valkey {v}"));
        valkey.or_else(|| Some(format!("Redis {}", info.get("redis_version")?)))
    }

    /// The source's clock; `None` when it may not be read.
    pub async fn time(&mut self) -> Option<UnixMs> {
        let connection = self.connection.as_mut()?;
        let answer: RedisResult<(i64, i64)> = redis::cmd("TIME").query_async(connection).await;
        let (seconds, micros) = answer.ok()?;
        Some(unix_ms(seconds, micros))
    }

    /// Whether the source is set up to send snapshots over a connection of their own; `None` when
    /// its configuration may not be read.
    pub async fn offers_channel(&mut self) -> Option<bool> {
        let diskless = self.is_yes("repl-diskless-sync").await?;
        let redis = self.is_yes("repl-rdb-channel").await?;
        let valkey = self.is_yes("dual-channel-replication-enabled").await?;
        Some(diskless && (redis || valkey))
    }

    /// Whether a setting of the source's configuration is on; one that it does not know is not.
    async fn is_yes(&mut self, name: &str) -> Option<bool> {
        let connection = self.connection.as_mut()?;
        let answer: RedisResult<Vec<(String, String)>> = redis::cmd("CONFIG")
            .arg("GET")
            .arg(name)
            .query_async(connection)
            .await;
        Some(answer.ok()?.iter().any(|(_, value)| value == "yes"))
    }

    async fn info(&mut self, section: &str) -> Result<String, SideError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            broken => {
                let opened = net::client(&self.node, self.connect_timeout).await;
                broken.insert(opened.map_err(|error| kind(&error))?)
            }
        };
        let answer: RedisResult<String> = redis::cmd("INFO")
            .arg(section)
            .query_async(connection)
            .await;
        answer.map_err(|error| {
            if error.is_unrecoverable_error() {
                self.connection = None;
            }
            kind(&error)
        })
    }
}

fn kind(error: &RedisError) -> SideError {
    match error.code() {
        Some("NOPERM" | "NOAUTH" | "WRONGPASS" | "ERR") => SideError::Refused,
        _ => SideError::Passing,
    }
}
