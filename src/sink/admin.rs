//! The administrative side of the target: what it is, what it holds, emptying it, its clock.

use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisError, ServerErrorKind, aio::MultiplexedConnection};

use crate::{
    keyspace::{Db, UnixMs, unix_ms},
    net::{self, Endpoint, Node},
    resp::Info,
};

use super::{
    error::{Error, ErrorKind},
    staging::{mark_key, rebuild_key, staging_key},
    target::{BULK_BYTES_MAX_DEFAULT, Flavor, OLDEST, Target},
};

/// The most lanes that any run may have had.
const LANES_MAX: usize = 64;

/// How often a target that is not ready is asked again.
const READY_PERIOD: Duration = Duration::from_millis(200);

/// An ordinary client connection to the target.
#[derive(Debug, Clone)]
pub struct Admin {
    endpoint: Endpoint,
    connection: MultiplexedConnection,
}

impl Admin {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`], [`ErrorKind::Login`], [`ErrorKind::Admin`].
    pub async fn open(node: &Node, connect_timeout: Duration) -> Result<Admin, Error> {
        match net::client(node, connect_timeout).await {
            Ok(connection) => Ok(Admin {
                endpoint: node.endpoint.clone(),
                connection,
            }),
            Err(source) if source.is_io_error() || source.is_timeout() => {
                let error = std::io::Error::other(source);
                Err(ErrorKind::Connect(error).at(&node.endpoint))
            }
            Err(source) => Err(refusal("log in", source).at(&node.endpoint)),
        }
    }

    /// Waits, for `retry_for` at the most, until the target takes commands: it may still be
    /// loading its dataset, or run a script. `waiting` is told why, once.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn wait_ready(
        &mut self,
        retry_for: Duration,
        waiting: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), Error> {
        let deadline = Instant::now() + retry_for;
        let mut told = false;
        loop {
            let asked: Result<(), RedisError> =
                redis::cmd("DBSIZE").query_async(&mut self.connection).await;
            let Err(error) = asked else {
                return Ok(());
            };
            if !passes(&error) || Instant::now() >= deadline {
                return Err(self.refused("be asked for its size", error));
            }
            if !std::mem::replace(&mut told, true) {
                waiting(&error.to_string());
            }
            tokio::time::sleep(READY_PERIOD).await;
        }
    }

    /// Finds out what the target is and what it therefore understands.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`], [`ErrorKind::TooOld`], [`ErrorKind::Replica`].
    pub async fn probe(&mut self) -> Result<Target, Error> {
        let info: String = self.ask("tell what it is", &["INFO"]).await?;
        let info = Info::parse(&info);
        let (flavor, version) = match info.get("valkey_version") {
            Some(version) => (Flavor::Valkey, version),
            None => (Flavor::Redis, info.get("redis_version").unwrap_or("")),
        };
        let numbers = release(version).ok_or_else(|| self.misunderstood("INFO server"))?;
        if flavor == Flavor::Redis && (numbers.0, numbers.1) < OLDEST {
            return Err(ErrorKind::TooOld(version.to_string()).at(&self.endpoint));
        }
        if info.get("role") == Some("slave") {
            return Err(ErrorKind::Replica.at(&self.endpoint));
        }
        let evicts = info
            .get("maxmemory_policy")
            .filter(|policy| *policy != "noeviction");
        if let Some(policy) = evicts
            && info.number("maxmemory").is_some_and(|bytes: u64| bytes > 0)
        {
            tracing::warn!(policy, "the target evicts keys when its memory is full");
        }
        Ok(Target {
            flavor,
            version: numbers,
            modules: self.modules().await,
            bulk_bytes_max: self
                .setting("proto-max-bulk-len")
                .await
                .unwrap_or(BULK_BYTES_MAX_DEFAULT),
            databases: self.setting("databases").await.unwrap_or(u32::MAX),
        })
    }

    /// Counts the keys of all databases.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn keys(&mut self) -> Result<u64, Error> {
        Ok(self.keyspace().await?.iter().map(|(_, keys)| keys).sum())
    }

    /// Removes what a run has left under staging names and marks.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn remove_staging(&mut self) -> Result<(), Error> {
        for (db, _) in self.keyspace().await? {
            let mut pipe = redis::pipe();
            pipe.cmd("SELECT").arg(db.0).ignore();
            let unlink = pipe.cmd("UNLINK");
            for lane in 0..LANES_MAX {
                unlink.arg(staging_key(lane).as_ref());
                unlink.arg(rebuild_key(lane).as_ref());
                unlink.arg(mark_key(lane).as_ref());
            }
            let removed: Result<Vec<u64>, _> = pipe.query_async(&mut self.connection).await;
            removed.map_err(|source| self.refused("remove staging keys", source))?;
        }
        Ok(())
    }

    /// Empties all databases, and removes all function libraries.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn flush(&mut self, target: &Target) -> Result<(), Error> {
        let _: () = self.ask("be emptied", &["FLUSHALL", "ASYNC"]).await?;
        self.remove_functions(target).await
    }

    /// Removes keys.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn remove_keys<'k>(
        &mut self,
        keys: impl Iterator<Item = (Db, &'k [u8])>,
    ) -> Result<(), Error> {
        let mut pipe = redis::pipe();
        let mut selected = None;
        for (db, key) in keys {
            if selected.replace(db) != Some(db) {
                pipe.cmd("SELECT").arg(db.0).ignore();
            }
            pipe.cmd("UNLINK").arg(key).ignore();
        }
        self.run("remove keys", &pipe).await
    }

    /// Gives a key another expiry, or none.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn set_expiry(
        &mut self,
        db: Db,
        key: &[u8],
        expire_at_ms: Option<UnixMs>,
    ) -> Result<(), Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("SELECT").arg(db.0).ignore();
        match expire_at_ms {
            Some(at) => pipe.cmd("PEXPIREAT").arg(key).arg(at).ignore(),
            None => pipe.cmd("PERSIST").arg(key).ignore(),
        };
        self.run("set an expiry", &pipe).await
    }

    /// Removes a function library.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn remove_function(&mut self, name: &[u8]) -> Result<(), Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("FUNCTION").arg("DELETE").arg(name).ignore();
        self.run("remove a function library", &pipe).await
    }

    /// Removes all function libraries, where there may be any.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn remove_functions(&mut self, target: &Target) -> Result<(), Error> {
        match target.has_functions() {
            true => self.ask("lose its functions", &["FUNCTION", "FLUSH"]).await,
            false => Ok(()),
        }
    }

    /// Reads the target's clock.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn time(&mut self) -> Result<UnixMs, Error> {
        let (seconds, micros): (i64, i64) = self.ask("tell the time", &["TIME"]).await?;
        Ok(unix_ms(seconds, micros))
    }

    /// The id of the target's process; `None` when it does not tell.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub async fn run_id(&mut self) -> Result<Option<String>, Error> {
        let info: String = self.ask("tell what it is", &["INFO", "server"]).await?;
        Ok(Info::parse(&info).get("run_id").map(str::to_owned))
    }

    /// Refuses a target that is a replica by now, or is not ready.
    ///
    /// # Errors
    /// [`ErrorKind::Replica`], [`ErrorKind::Admin`].
    pub async fn must_be_ready(&mut self) -> Result<(), Error> {
        let info: String = self
            .ask("tell what it is", &["INFO", "replication"])
            .await?;
        if Info::parse(&info).get("role") == Some("slave") {
            return Err(ErrorKind::Replica.at(&self.endpoint));
        }
        let _: u64 = self.ask("be asked for its size", &["DBSIZE"]).await?;
        Ok(())
    }

    /// Reads a lane's mark in `db`.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub(super) async fn mark(&mut self, db: Db, key: &[u8]) -> Result<Option<u64>, Error> {
        let mut pipe = redis::pipe();
        pipe.cmd("SELECT").arg(db.0).ignore();
        pipe.cmd("GET").arg(key);
        let answer = pipe.query_async(&mut self.connection).await;
        let (mark,): (Option<u64>,) =
            answer.map_err(|source| self.refused("tell a lane's mark", source))?;
        Ok(mark)
    }

    /// Where it is connected to.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Executes `pipe`, whose purpose reads as in "refused to ...", and wants no answer.
    pub(super) async fn run(
        &mut self,
        purpose: &'static str,
        pipe: &redis::Pipeline,
    ) -> Result<(), Error> {
        let answer: Result<redis::Value, RedisError> = pipe.query_async(&mut self.connection).await;
        answer
            .map(drop)
            .map_err(|source| self.refused(purpose, source))
    }

    /// The connection, for those of this room that page through the keyspace.
    pub(super) fn connection(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }

    /// The databases that hold keys, with their number of keys.
    ///
    /// # Errors
    /// [`ErrorKind::Admin`].
    pub(super) async fn keyspace(&mut self) -> Result<Vec<(Db, u64)>, Error> {
        let info: String = self.ask("count its keys", &["INFO", "keyspace"]).await?;
        Ok(Info::parse(&info).keyspace())
    }

    /// An error of an administrative command whose purpose reads as in "refused to ...".
    pub(super) fn refused(&self, purpose: &'static str, source: RedisError) -> Error {
        refusal(purpose, source).at(&self.endpoint)
    }

    /// An answer to `command` is of a kind that it cannot have.
    pub(super) fn misunderstood(&self, command: &'static str) -> Error {
        ErrorKind::Answer(command).at(&self.endpoint)
    }

    /// Names of the loaded modules; none where the list may not be read.
    async fn modules(&mut self) -> Vec<String> {
        let listed: Result<Vec<redis::Value>, _> = redis::cmd("MODULE")
            .arg("LIST")
            .query_async(&mut self.connection)
            .await;
        let mut names: Vec<String> = listed
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| {
                let fields =
                    std::collections::HashMap::<String, redis::Value>::from_redis_value(entry)
                        .ok()?;
                let name = fields.get("name")?.clone();
                Some(String::from_redis_value(name).ok()?.to_lowercase())
            })
            .collect();
        names.sort();
        names
    }

    /// A number of the configuration; `None` where it may not be read.
    pub(super) async fn setting<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        let answer: Result<Vec<String>, _> = redis::cmd("CONFIG")
            .arg("GET")
            .arg(name)
            .query_async(&mut self.connection)
            .await;
        answer.ok()?.get(1)?.parse().ok()
    }

    async fn ask<T: FromRedisValue>(
        &mut self,
        purpose: &'static str,
        words: &[&str],
    ) -> Result<T, Error> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let answer = command.query_async(&mut self.connection).await;
        answer.map_err(|source| self.refused(purpose, source))
    }
}

/// Whether the cause may go away by itself.
pub(super) fn passes(error: &RedisError) -> bool {
    let refused_for_now = matches!(
        error.kind(),
        redis::ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain | ServerErrorKind::MasterDown
        )
    );
    let broken = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
    refused_for_now || broken || error.code() == Some("BUSY")
}

/// What a refused administrative command means.
fn refusal(purpose: &'static str, source: RedisError) -> ErrorKind {
    let wants_login = matches!(source.code(), Some("NOAUTH" | "WRONGPASS"))
        || source.kind() == redis::ErrorKind::AuthenticationFailed;
    match wants_login {
        true => ErrorKind::Login(source),
        false => ErrorKind::Admin { purpose, source },
    }
}

/// Reads `7.0.15` (and `255.255.255`, `8.0.2-rc1`).
fn release(version: &str) -> Option<(u16, u16, u16)> {
    let mut numbers = version.split('.').map(|number| {
        let digits = number.len()
            - number
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        number.get(..digits)?.parse().ok()
    });
    let major = numbers.next()??;
    let minor = numbers.next()??;
    let patch = numbers.next().flatten().unwrap_or(0);
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_releases() {
        for (text, numbers) in [
            ("7.0.15", Some((7, 0, 15))),
            ("8.0.2-rc1", Some((8, 0, 2))),
            ("9.1", Some((9, 1, 0))),
            ("", None),
            ("seven", None),
            ("99999.1.1", None),
        ] {
            assert_eq!(release(text), numbers, "{text}");
        }
    }
}
