//! From an open connection to the answer to PSYNC.
//!
//! ```text
//! we  -> AUTH [user] password                   if a password is given
//! we  -> REPLCONF listening-port <port>         \
//!        REPLCONF ip-address <ip>               | in one go; ip-address if one is given
//!        REPLCONF capa eof capa psync2          |
//!        REPLCONF version 9.1.2                 |
//!        REPLCONF rdb-no-compress 1             | the last two where they are asked for
//!        REPLCONF rdb-only 1                    /
//! src <- one reply to each
//! we  -> PSYNC <replid> <offset + 1>            or  PSYNC ? -1
//! src <- \n ...                                 while a snapshot cannot begin yet
//! src <- +FULLRESYNC <replid> <offset>          or  +CONTINUE [<replid>]
//! ```
//!
//! - PSYNC is refused while a reply is pending at the source, so every reply is read before it.
//! - No PING: it proves nothing that PSYNC does not, and it would need a permission more.
//! - Only PSYNC must succeed. Servers refuse the options they do not know, and that is harmless:
//!   `version` is for Valkey 8 and later (Valkey 9 gives snapshots with expiring hash fields only to
//!   replicas that say 9.0 or later; a version beyond what our parser reads must not be claimed),
//!   `rdb-no-compress` for Redis 8.6 (saves the source more than half of the time), `rdb-only` for
//!   Redis 6.2 and Valkey (the source gathers no stream for us, and closes behind the snapshot).
//! - A source that does not know PSYNC is asked with SYNC, which gives no position.
//!
//! # The snapshot on a connection of its own
//!
//! In the protocol above the source gathers all writes until its snapshot is sent. Redis 8 and
//! Valkey 8 can send the two at once, to those who say that they are able to:
//!
//! ```text
//!         Redis (repl-rdb-channel yes)             Valkey (dual-channel-replication-enabled yes)
//! we  ->  REPLCONF capa eof capa psync2 capa rdb-channel-repl capa dual-channel
//! we  ->  PSYNC ? -1                               PSYNC ? -1
//! src <-  +RDBCHANNELSYNC <client id>              +DUALCHANNELSYNC
//!         a second connection is opened: `ChannelHandshake`
//! we  ->                                           REPLCONF set-rdb-client-id <its client id>
//! we  ->                                           PSYNC <replid> <offset + 1>
//! src <-                                           +CONTINUE <replid>
//! src <-  the stream                               the stream
//! ```
//!
//! - `set-rdb-client-id` keeps the stream behind the snapshot for us, whatever size the backlog has.
//!   Where it is refused because it comes late, PSYNC may succeed all the same.
//! - A source that is asked to continue and cannot gives the same answer and begins no snapshot:
//!   being able to costs it nothing.
//!
//! Source: replication.c `syncWithMaster` and `replconfCommand`; measured on Redis 2.8 to 8.6 and
//! Valkey 7.2 to 9.1.

mod channel;
mod line;
mod login;
pub(super) mod refusal;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use super::{ErrorKind, Position};
use crate::net::Secret;

pub use channel::{Channel, ChannelHandshake, ChannelStart, ChannelStep};

use line::{Replconfs, continued, encode, full_resync, psync, take_keepalives, take_line};
use login::Login;
use refusal::{check_replconf_reply, refusal, unexpected};

/// The newest server whose snapshots our parser was tested with, as `REPLCONF version`.
const VERSION_ANNOUNCED: &str = "9.1.2";

/// Who we are to a source.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The ACL user; `None` is the default user.
    pub user: Option<String>,
    /// The password; `None` sends no AUTH.
    pub password: Option<Secret>,
    /// The address the source shall show for us; `None` leaves it to what it sees.
    pub announce_ip: Option<String>,
    /// The port the source shall show for us; nothing may listen there that a Sentinel could take
    /// for a replica.
    pub announce_port: u16,
}

/// Who we are, and where we want to go on.
#[derive(Debug, Clone)]
pub struct HandshakeConfig {
    /// Who we are.
    pub identity: Identity,
    /// The last position we have; `None` asks for a full resync.
    pub from: Option<Position>,
    /// How the snapshot is wanted.
    pub snapshot: SnapshotOptions,
}

/// What is asked of the source about its snapshot. A source that does not know an option goes on
/// as if it had not been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// The strings in it are not to be compressed (Redis 8.6).
    pub rdb_no_compress: bool,
    /// Nothing is wanted behind it (Redis 6.2, Valkey): the source keeps no writes for us
    /// meanwhile. Not for a link that goes on with the stream, and then without a channel.
    pub rdb_only: bool,
    /// Whether it comes over a connection of its own.
    pub channel: SnapshotChannel,
}

/// Whether the snapshot comes over a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotChannel {
    /// Where the source offers it.
    Auto,
    /// Always: a source that does not offer it is an error.
    On,
    /// Never.
    Off,
}

/// How the link begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A snapshot follows that is as of this position, and the stream behind it: one after the
    /// other, or the snapshot over a connection of its own.
    FullResync(Position),
    /// The stream follows from behind this position; its replid may be a new one, which is the one
    /// to use from here on. The database that was selected there still is: it is not repeated.
    Continue(Position),
    /// The source cannot continue where it was asked to. It would begin a snapshot over a connection
    /// of its own, and has not done so.
    NotContinued,
    /// A snapshot follows, then the stream; nothing of it can ever be continued. Offsets are counted
    /// from 0 by ourselves.
    Sync,
}

impl Start {
    /// Where in which history the snapshot or the stream begins; `None` where the source has not
    /// said it.
    pub fn position(&self) -> Option<Position> {
        match self {
            Start::FullResync(position) | Start::Continue(position) => Some(*position),
            Start::NotContinued | Start::Sync => None,
        }
    }
}

/// What to do next.
#[derive(Clone, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Send this (it may contain the password), then go on.
    Send(Bytes),
    /// Receive more, then go on.
    NeedMore,
    /// Open a second connection for the snapshot, and say by [`Handshake::channel_begun`] where that
    /// begins.
    OpenChannel(Channel),
    /// The handshake is over; what is left of the received bytes belongs to what follows.
    Done(Start),
}

/// The handshake as a state machine.
pub struct Handshake {
    config: HandshakeConfig,
    login: Login,
    state: State,
    keepalives: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Auth,
    Replconf {
        replies_missing: usize,
    },
    Psync,
    Sync,
    /// The second connection is to be opened.
    Channel(Channel),
    /// The snapshot begins on the second connection.
    ChannelBegun(ChannelStart),
    /// The second connection was named; its snapshot is as of this position.
    SetRdbClientId(Position),
    /// The stream behind this position was asked for.
    Join(Position),
}

impl Handshake {
    /// A handshake on a connection over which nothing was said yet.
    pub fn new(config: HandshakeConfig) -> Handshake {
        Handshake {
            login: Login::new(&config.identity),
            config,
            state: State::Begin,
            keepalives: 0,
        }
    }

    /// How many newlines the source sent while it could not begin.
    pub fn keepalives(&self) -> u64 {
        self.keepalives
    }

    /// Whether the source said that it needs no password.
    pub fn password_unused(&self) -> bool {
        self.login.password_unused()
    }

    /// Goes on with what was received and not used yet; takes what it uses off the front.
    ///
    /// # Errors
    /// What the source refused, `NoSnapshotChannel`, or `Unexpected`. The connection is of no
    /// further use then.
    pub fn advance(&mut self, received: &mut BytesMut) -> Result<HandshakeStep, ErrorKind> {
        loop {
            match self.state {
                State::Begin => return Ok(HandshakeStep::Send(self.begin())),
                State::Channel(channel) => return Ok(HandshakeStep::OpenChannel(channel)),
                State::ChannelBegun(start) => return Ok(self.join(start)),
                State::Psync | State::Sync | State::Join(_) => {
                    self.keepalives += take_keepalives(received);
                }
                State::Auth | State::Replconf { .. } | State::SetRdbClientId(_) => {}
            }
            if self.state == State::Sync && received.first() == Some(&b'$') {
                return self.begun(Start::Sync);
            }
            let Some(line) = take_line(received)? else {
                return Ok(HandshakeStep::NeedMore);
            };
            if let Some(step) = self.reply(&line)? {
                return Ok(step);
            }
        }
    }

    /// Goes on, now that the snapshot begins on the second connection.
    pub fn channel_begun(&mut self, start: ChannelStart) {
        self.state = State::ChannelBegun(start);
    }

    fn begin(&mut self) -> Bytes {
        match self.login.command() {
            Some(auth) => {
                self.state = State::Auth;
                auth
            }
            None => self.replconf(),
        }
    }

    fn replconf(&mut self) -> Bytes {
        let SnapshotOptions {
            rdb_no_compress,
            rdb_only,
            channel: _,
        } = self.config.snapshot;
        let mut commands = Replconfs::announcing(&self.config.identity);
        let mut able = vec!["capa", "eof", "capa", "psync2"];
        if self.offers_channel() {
            able.extend(["capa", "rdb-channel-repl", "capa", "dual-channel"]);
        }
        commands.ask(&able);
        commands.ask(&["version", VERSION_ANNOUNCED]);
        if rdb_no_compress {
            commands.ask(&["rdb-no-compress", "1"]);
        }
        if rdb_only {
            commands.ask(&["rdb-only", "1"]);
        }
        let (bytes, replies_missing) = commands.finish();
        self.state = State::Replconf { replies_missing };
        bytes
    }

    fn psync(&mut self) -> Bytes {
        self.state = State::Psync;
        psync(self.config.from)
    }

    /// Takes one reply; `None` when the next one has to be seen first.
    fn reply(&mut self, line: &[u8]) -> Result<Option<HandshakeStep>, ErrorKind> {
        match self.state {
            State::Begin | State::Channel(_) | State::ChannelBegun(_) => Ok(None),
            State::Auth => Ok(Some(HandshakeStep::Send(match self.login.reply(line)? {
                true => self.replconf(),
                false => self.begin(),
            }))),
            State::Replconf { replies_missing } => {
                check_replconf_reply(line)?;
                self.state = State::Replconf {
                    replies_missing: replies_missing.saturating_sub(1),
                };
                Ok((replies_missing <= 1).then(|| HandshakeStep::Send(self.psync())))
            }
            State::Psync => self.psync_reply(line).map(Some),
            State::Sync => match line.strip_prefix(b"-") {
                Some(text) => Err(refusal("sync", text)),
                None => Err(unexpected("SYNC", line)),
            },
            State::SetRdbClientId(position) => {
                check_replconf_reply(line)?;
                self.state = State::Join(position);
                Ok(Some(HandshakeStep::Send(psync(Some(position)))))
            }
            State::Join(position) => join_reply(line, position).map(Some),
        }
    }

    fn psync_reply(&mut self, line: &[u8]) -> Result<HandshakeStep, ErrorKind> {
        if let Some(text) = line.strip_prefix(b"-") {
            return match refusal("psync", text) {
                ErrorKind::NoReplication { .. } => {
                    self.state = State::Sync;
                    Ok(HandshakeStep::Send(Bytes::from_static(b"SYNC\r\n")))
                }
                kind => Err(kind),
            };
        }
        if let Some(position) = full_resync(line) {
            return self.begun(Start::FullResync(position));
        }
        let from = self.config.from;
        if let Some(position) = from.and_then(|from| continued(line, from)) {
            return Ok(HandshakeStep::Done(Start::Continue(position)));
        }
        match (line::channel(line), from) {
            _ if !self.offers_channel() => Err(unexpected("PSYNC", line)),
            (Some(channel), None) => {
                self.state = State::Channel(channel);
                Ok(HandshakeStep::OpenChannel(channel))
            }
            (Some(_), Some(_)) => Ok(HandshakeStep::Done(Start::NotContinued)),
            (None, _) => Err(unexpected("PSYNC", line)),
        }
    }

    /// Joins the stream behind a snapshot that comes over the second connection.
    fn join(&mut self, start: ChannelStart) -> HandshakeStep {
        match start {
            ChannelStart::Rdb(position) => HandshakeStep::Done(Start::FullResync(position)),
            ChannelStart::Dual {
                position,
                client_id,
            } => {
                self.state = State::SetRdbClientId(position);
                let id = client_id.to_string();
                HandshakeStep::Send(encode(&["REPLCONF", "set-rdb-client-id", &id]))
            }
        }
    }

    /// Whether the source is told that its snapshot may come over a connection of its own.
    fn offers_channel(&self) -> bool {
        let SnapshotOptions {
            channel, rdb_only, ..
        } = self.config.snapshot;
        channel != SnapshotChannel::Off && !rdb_only
    }

    /// Ends with a snapshot that comes over this connection.
    fn begun(&self, start: Start) -> Result<HandshakeStep, ErrorKind> {
        let must = self.config.snapshot.channel == SnapshotChannel::On && self.offers_channel();
        match must && self.config.from.is_none() {
            true => Err(ErrorKind::NoSnapshotChannel),
            false => Ok(HandshakeStep::Done(start)),
        }
    }
}

/// What came of asking for the stream behind a snapshot that comes over the second connection.
fn join_reply(line: &[u8], snapshot: Position) -> Result<HandshakeStep, ErrorKind> {
    if let Some(text) = line.strip_prefix(b"-") {
        return Err(refusal("psync", text));
    }
    if let Some(position) = continued(line, snapshot) {
        return Ok(HandshakeStep::Done(Start::FullResync(position)));
    }
    match full_resync(line).is_some() || line::channel(line).is_some() {
        true => Err(ErrorKind::StreamNotJoined),
        false => Err(unexpected("PSYNC", line)),
    }
}
