//! What one of the two servers is, as far as reading it goes.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Flavor, ServerVersion},
    resp::{Info, Reply},
};

use super::{
    Error, ErrorKind, PeerConfig, Progress,
    abilities::Abilities,
    pages::replies::{self, Fields},
    peer::{Peer, Request},
};

/// A server as it was found.
#[derive(Debug, Clone)]
pub(super) struct Server {
    config: Arc<PeerConfig>,
    progress: Arc<Progress>,
    pub(super) abilities: Abilities,
    /// Keys of several slots cannot be asked for by one command.
    pub(super) is_cluster: bool,
    /// The id of its process.
    pub(super) run_id: Option<String>,
    /// The dbs that hold keys, with their number.
    pub(super) dbs: Vec<(Db, u64)>,
    /// Those of them in which no key expires.
    lasting: Vec<Db>,
    /// Its clock minus that of the machine we run on.
    pub(super) clock_ahead_ms: i64,
}

impl Server {
    /// Looks at a server.
    ///
    /// # Errors
    /// It cannot be asked, or answers what no Redis or Valkey answers.
    pub(super) async fn look(
        config: &Arc<PeerConfig>,
        progress: &Arc<Progress>,
    ) -> Result<Server, Error> {
        let mut peer = Peer::new(Arc::clone(config), Arc::clone(progress));
        let info = info(&mut peer, b"everything").await?;
        let flavor = match info.get("valkey_version") {
            Some(_) => Flavor::Valkey,
            None => Flavor::Redis,
        };
        let version = info.get("valkey_version").or(info.get("redis_version"));
        let (major, minor) = version
            .and_then(release)
            .ok_or_else(|| peer.error(ErrorKind::Answer("INFO")))?;
        let version = ServerVersion::new(flavor, major, minor);
        tracing::info!("the {} {} is {version}", peer.side(), config.node.endpoint);
        let mut abilities = Abilities::of(version);
        abilities.memory_usage &= memory_usage_is_allowed(&mut peer).await?;
        let dbs = info.keyspace();
        Ok(Server {
            abilities,
            is_cluster: info.get("cluster_enabled") == Some("1"),
            run_id: info.get("run_id").map(str::to_owned),
            lasting: lasting(&info, dbs.iter().map(|(db, _)| *db)),
            dbs,
            clock_ahead_ms: time(&mut peer).await?.saturating_sub(now_ms()),
            config: Arc::clone(config),
            progress: Arc::clone(progress),
        })
    }

    /// A connection to it.
    pub(super) fn peer(&self) -> Peer {
        Peer::new(Arc::clone(&self.config), Arc::clone(&self.progress))
    }

    /// The address it has.
    pub(super) fn address(&self) -> String {
        self.config.node.endpoint.to_string()
    }

    /// How many keys it has in a db.
    pub(super) fn keys_in(&self, db: Db) -> u64 {
        let found = self.dbs.iter().find(|(of, _)| *of == db);
        found.map_or(0, |(_, keys)| *keys)
    }

    /// Whether no key of a db expired when the server was looked at.
    pub(super) fn was_lasting(&self, db: Db) -> bool {
        self.lasting.contains(&db)
    }

    /// The time by its clock.
    pub(super) fn now_ms(&self) -> UnixMs {
        now_ms().saturating_add(self.clock_ahead_ms)
    }
}

/// Its function libraries: name and code, by name.
///
/// # Errors
/// It refuses to tell them.
pub(super) async fn libraries(
    peer: &mut Peer,
    abilities: Abilities,
) -> Result<std::collections::BTreeMap<Bytes, Bytes>, Error> {
    if !abilities.functions {
        return Ok(Default::default());
    }
    let words: &[&[u8]] = &[b"FUNCTION", b"LIST", b"WITHCODE"];
    let listed = peer.ask_one(Db(0), "list its functions", words).await?;
    let library = |library| {
        let library = Fields::of(library)?;
        Some((library.text("library_name")?, library.text("library_code")?))
    };
    let listed = replies::list(listed);
    let libraries = listed.and_then(|listed| listed.into_iter().map(library).collect());
    libraries.ok_or_else(|| peer.error(ErrorKind::Answer("FUNCTION LIST")))
}

/// The replication offset of the server and the history it is of.
///
/// # Errors
/// It refuses to tell it.
pub(super) async fn offset(peer: &mut Peer) -> Result<Option<u64>, Error> {
    Ok(info(peer, b"replication")
        .await?
        .number("master_repl_offset"))
}

/// The id of the process of a server.
///
/// # Errors
/// It refuses to tell it.
pub(super) async fn run_id(peer: &mut Peer) -> Result<Option<String>, Error> {
    Ok(info(peer, b"server")
        .await?
        .get("run_id")
        .map(str::to_owned))
}

/// Whether a server evicts keys when its memory is full, and has done so.
///
/// # Errors
/// It refuses to tell it.
pub(super) async fn has_evicted(peer: &mut Peer) -> Result<bool, Error> {
    Ok(evicted(&info(peer, b"everything").await?))
}

fn evicted(info: &Info) -> bool {
    let evicts = info
        .get("maxmemory_policy")
        .is_some_and(|policy| policy != "noeviction");
    evicts && info.number("evicted_keys").unwrap_or(0u64) > 0
}

async fn info(peer: &mut Peer, section: &[u8]) -> Result<Info, Error> {
    match peer
        .ask_one(Db(0), "tell what it is", &[b"INFO", section])
        .await?
    {
        Reply::Bulk(Some(text)) => Ok(Info::parse(&String::from_utf8_lossy(&text))),
        _ => Err(peer.error(ErrorKind::Answer("INFO"))),
    }
}

/// The dbs among these in which no key has an expiry, by the section `keyspace`.
fn lasting(info: &Info, dbs: impl Iterator<Item = Db>) -> Vec<Db> {
    dbs.filter(|db| info.part(&format!("db{db}"), "expires") == Some("0"))
        .collect()
}

/// Whether no key of `db` has an expiry, by the answer to INFO keyspace.
pub(super) fn is_lasting(keyspace: &Reply, db: Db) -> bool {
    match keyspace {
        Reply::Bulk(Some(text)) => {
            let info = Info::parse(&String::from_utf8_lossy(text));
            !lasting(&info, std::iter::once(db)).is_empty()
        }
        _ => false,
    }
}

async fn time(peer: &mut Peer) -> Result<UnixMs, Error> {
    let reply = peer.ask_one(Db(0), "tell the time", &[b"TIME"]).await?;
    replies::time(reply).ok_or_else(|| peer.error(ErrorKind::Answer("TIME")))
}

async fn memory_usage_is_allowed(peer: &mut Peer) -> Result<bool, Error> {
    let mut request = Request::default();
    request.add(&[b"MEMORY", b"USAGE", b"keyferry"]);
    let reply = peer.ask(Db(0), request).await?.pop();
    Ok(!matches!(reply, Some(Reply::Error(_))))
}

/// The time by the clock of the machine we run on.
fn now_ms() -> UnixMs {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| {
        UnixMs::try_from(now.as_millis()).unwrap_or(UnixMs::MAX)
    })
}

/// Major and minor number of `7.0.15`.
fn release(version: &str) -> Option<(u16, u16)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
