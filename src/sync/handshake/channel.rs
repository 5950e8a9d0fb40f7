//! The second connection, which brings the snapshot while the first one brings the stream.
//!
//! ```text
//! we  -> AUTH [user] password              if a password is given: it logs in for itself
//! we  -> REPLCONF listening-port <port>    and ip-address, as on the first connection
//!        Redis                                    Valkey
//!        REPLCONF rdb-no-compress 1               REPLCONF version 9.1.2
//!        REPLCONF capa eof rdb-only 1             REPLCONF capa eof rdb-only 1
//!            rdb-channel 1                            rdb-channel 1
//!            main-ch-client-id <client id>
//! src <- one reply to each
//! we  -> PSYNC ? -1                               SYNC
//! src <- \n ...                                   \n ...
//! src <- +FULLRESYNC <replid> <offset>            $ENDOFF:<offset> <replid> <db> <client id>
//! ```
//!
//! - Only the last REPLCONF must be taken: without it the source would take us for another replica.
//! - The version is said here, because Valkey chooses the format of the snapshot by this connection.
//! - SYNC needs a permission (`+sync`) that the first connection does not. Where it is refused,
//!   `PSYNC ? -1` does the same; `+FULLRESYNC` then stands behind `$ENDOFF` (measured on Valkey 8.1
//!   and 9.1).
//!
//! Source: replication.c of Redis 8.0 `rdbChannelSendHandshake` and of Valkey 8.0
//! `dualChannelReplHandleHandshake`; measured on Redis 8.0 and 8.6, Valkey 8.1 and 9.1.

use bytes::{Bytes, BytesMut};

use super::{
    Identity, VERSION_ANNOUNCED,
    line::{Replconfs, end_offset, full_resync, psync, take_keepalives, take_line},
    login::Login,
    refusal::{check_replconf_reply, refusal, replconf_refusal, unexpected},
};
use crate::sync::{ErrorKind, Position};

/// How a source sends its snapshot over a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// rdb-channel, of Redis from 8.0 on.
    Rdb {
        /// What the source calls the first connection.
        main_client_id: u64,
    },
    /// dual-channel, of Valkey from 8.0 on.
    Dual,
}

/// Where the snapshot begins that the second connection brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelStart {
    /// The stream behind this position comes over the first connection by itself.
    Rdb(Position),
    /// The stream behind the position has to be asked for on the first connection.
    Dual {
        /// What the snapshot is a picture of.
        position: Position,
        /// What the source calls the second connection.
        client_id: u64,
    },
}

/// What to do next on the second connection.
#[derive(Clone, PartialEq, Eq)]
pub enum ChannelStep {
    /// Send this (it may contain the password), then go on.
    Send(Bytes),
    /// Receive more, then go on.
    NeedMore,
    /// The handshake is over; the snapshot follows, with its framing.
    Done(ChannelStart),
}

/// The handshake on the second connection as a state machine.
pub struct ChannelHandshake {
    identity: Identity,
    login: Login,
    channel: Channel,
    rdb_no_compress: bool,
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
    /// PSYNC was sent because SYNC was refused.
    PsyncForSync,
    /// All is known but for the +FULLRESYNC behind it.
    FullResync(ChannelStart),
}

impl ChannelHandshake {
    /// A handshake on a second connection over which nothing was said yet, after the source has
    /// said on the first one that it wants it.
    pub fn new(identity: Identity, channel: Channel, rdb_no_compress: bool) -> ChannelHandshake {
        ChannelHandshake {
            login: Login::new(&identity),
            identity,
            channel,
            rdb_no_compress,
            state: State::Begin,
            keepalives: 0,
        }
    }

    /// How many newlines the source sent while it could not begin.
    pub fn keepalives(&self) -> u64 {
        self.keepalives
    }

    /// Goes on with what was received and not used yet; takes what it uses off the front.
    ///
    /// # Errors
    /// What the source refused, or `Unexpected`. Both connections are of no further use then.
    pub fn advance(&mut self, received: &mut BytesMut) -> Result<ChannelStep, ErrorKind> {
        loop {
            match self.state {
                State::Begin => return Ok(ChannelStep::Send(self.begin())),
                State::Auth | State::Replconf { .. } => {}
                State::Psync | State::Sync | State::PsyncForSync | State::FullResync(_) => {
                    self.keepalives += take_keepalives(received);
                }
            }
            let Some(line) = take_line(received)? else {
                return Ok(ChannelStep::NeedMore);
            };
            if let Some(step) = self.reply(&line)? {
                return Ok(step);
            }
        }
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
        let mut commands = Replconfs::announcing(&self.identity);
        let common = ["capa", "eof", "rdb-only", "1", "rdb-channel", "1"];
        match self.channel {
            Channel::Rdb { main_client_id } => {
                if self.rdb_no_compress {
                    commands.ask(&["rdb-no-compress", "1"]);
                }
                let id = main_client_id.to_string();
                commands.ask(&[&common[..], &["main-ch-client-id", &id]].concat());
            }
            Channel::Dual => {
                commands.ask(&["version", VERSION_ANNOUNCED]);
                commands.ask(&common);
            }
        }
        let (bytes, replies_missing) = commands.finish();
        self.state = State::Replconf { replies_missing };
        bytes
    }

    /// Takes one reply; `None` when the next one has to be seen first.
    fn reply(&mut self, line: &[u8]) -> Result<Option<ChannelStep>, ErrorKind> {
        match self.state {
            State::Begin => Ok(None),
            State::Auth => Ok(Some(ChannelStep::Send(match self.login.reply(line)? {
                true => self.replconf(),
                false => self.begin(),
            }))),
            State::Replconf {
                replies_missing: 2..,
            } => {
                check_replconf_reply(line)?;
                if let State::Replconf { replies_missing } = &mut self.state {
                    *replies_missing -= 1;
                }
                Ok(None)
            }
            State::Replconf { .. } => match replconf_refusal(line)? {
                None => Ok(Some(ChannelStep::Send(self.ask()))),
                Some(kind) => Err(kind),
            },
            State::Psync => match full_resync(line) {
                Some(position) => Ok(Some(ChannelStep::Done(ChannelStart::Rdb(position)))),
                None => Err(refused_or_unexpected("psync", line)),
            },
            State::Sync | State::PsyncForSync => self.end_offset(line),
            State::FullResync(start) => match full_resync(line) {
                Some(_) => Ok(Some(ChannelStep::Done(start))),
                None => Err(refused_or_unexpected("psync", line)),
            },
        }
    }

    /// Asks for the snapshot.
    fn ask(&mut self) -> Bytes {
        match self.channel {
            Channel::Rdb { .. } => {
                self.state = State::Psync;
                psync(None)
            }
            Channel::Dual => {
                self.state = State::Sync;
                Bytes::from_static(b"SYNC\r\n")
            }
        }
    }

    fn end_offset(&mut self, line: &[u8]) -> Result<Option<ChannelStep>, ErrorKind> {
        if let Some(start) = end_offset(line) {
            if self.state == State::Sync {
                return Ok(Some(ChannelStep::Done(start)));
            }
            self.state = State::FullResync(start);
            return Ok(None);
        }
        match refused_or_unexpected("sync", line) {
            ErrorKind::NoPermission { .. } | ErrorKind::NoReplication { .. }
                if self.state == State::Sync =>
            {
                self.state = State::PsyncForSync;
                Ok(Some(ChannelStep::Send(psync(None))))
            }
            kind => Err(kind),
        }
    }
}

/// What it means that this is the answer to `command` (in lower case).
fn refused_or_unexpected(command: &'static str, line: &[u8]) -> ErrorKind {
    match line.strip_prefix(b"-") {
        Some(text) => refusal(command, text),
        None => unexpected("the snapshot's connection", line),
    }
}
