//! The link to the source: the handshake driven over a connection, or over two, then readers and a
//! writer.

#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, sleep, timeout},
};

use super::{
    Channel, ChannelHandshake, ChannelStart, ChannelStep, Error, ErrorKind, Handshake,
    HandshakeConfig, HandshakeStep, Identity, Position, Recovery, ReplOffset, SnapshotChannel,
    SnapshotOptions, Start,
};
use crate::{
    net::{Backoff, Connection, Endpoint},
    resp::Command,
};

use wire::Wire;

/// Room for received bytes that is made at a time. Slices of it are what the stream's commands are
/// made of, so one command in flight can hold as much.
const CHUNK_BYTES: usize = 256 << 10;

/// A read gets at least this much room.
const READ_BYTES_MIN: usize = 64 << 10;

/// The first pause before connecting again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest pause before connecting again.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How to reach the source, and who we are there.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Who we are there.
    pub identity: Identity,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long the source may be silent.
    pub source_timeout: Duration,
    /// How long what goes away by itself is waited for (LOADING, NOMASTERLINK and the like).
    pub retry_for: Duration,
    /// How the snapshot is wanted.
    pub snapshot: SnapshotOptions,
}

/// What happens while a link is being opened, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The source cannot take us yet; we connect again after the pause.
    Waiting {
        /// What it is waiting for.
        kind: ErrorKind,
        /// How long until the next attempt.
        pause: Duration,
    },
    /// The source is alive and cannot begin yet: it waits for other replicas
    /// (`repl-diskless-sync-delay`) or another snapshot is running there.
    SnapshotPending,
    /// A password was given, and the source says that it needs none.
    PasswordUnused,
    /// The snapshot comes over a connection of its own.
    ChannelOpened,
    /// The source wanted to send the snapshot over a connection of its own, and refused that; we ask
    /// for it over one connection.
    ChannelRefused {
        /// Why.
        kind: ErrorKind,
    },
}

impl Notice {
    /// Logs it, as about the server that is called so: `source`.
    pub fn log(&self, server: impl fmt::Display) {
        match self {
            Notice::Waiting { kind, pause } => {
                tracing::warn!("waiting because the {server} {kind}; next try in {pause:?}");
            }
            Notice::SnapshotPending => tracing::info!("the {server} prepares its snapshot"),
            Notice::PasswordUnused => {
                tracing::warn!("the {server} needs no password; the one given was not used");
            }
            Notice::ChannelOpened => {
                tracing::info!("the snapshot comes over a connection of its own");
            }
            Notice::ChannelRefused { kind } => tracing::warn!(
                "the {server} {kind} on the connection of the snapshot ({}); all comes over one \
                 connection",
                kind.why()
            ),
        }
    }
}

/// A connection over which the handshake succeeded, and a second one where the snapshot comes over
/// one of its own.
#[derive(Debug)]
pub struct Link {
    main: Wire,
    snapshot: Option<Wire>,
}

/// A link that was taken apart.
#[derive(Debug)]
pub struct LinkParts {
    /// Brings the stream, and the snapshot before it unless that has a reader of its own.
    pub reader: LinkReader,
    /// Acknowledges.
    pub writer: LinkWriter,
    /// Brings the snapshot where it comes over a connection of its own. The source closes that
    /// behind it.
    pub snapshot: Option<LinkReader>,
}

/// Why an attempt failed.
enum Failed {
    Main(Error),
    /// Opening the second connection.
    Channel(Error),
}

impl Link {
    /// Connects, shakes hands, and asks for the stream behind `from`, or for a full resync.
    ///
    /// What goes away by itself is waited out up to [`LinkConfig::retry_for`]. So is a source that
    /// cannot be reached when there is a `from`, for then it was there before. Where the second
    /// connection fails that the source has asked for, it is asked for a snapshot over one, unless two
    /// are demanded.
    ///
    /// The source may answer with a full resync although `from` was given. It may be dropped midway;
    /// the connections are closed then, which can cost the source a snapshot.
    ///
    /// # Errors
    /// The last error of the last attempt.
    pub async fn open(
        config: &LinkConfig,
        from: Option<Position>,
        notice: &mut (dyn FnMut(Notice) + Send),
    ) -> Result<(Link, Start), Error> {
        let deadline = Instant::now() + config.retry_for;
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut options = config.snapshot;
        loop {
            let error = match Link::attempt(config, options, from, notice).await {
                Ok(opened) => return Ok(opened),
                Err(Failed::Channel(error))
                    if options.channel == SnapshotChannel::Auto
                        && does_without_channel(&error.kind) =>
                {
                    notice(Notice::ChannelRefused { kind: error.kind });
                    options.channel = SnapshotChannel::Off;
                    continue;
                }
                Err(Failed::Main(error) | Failed::Channel(error)) => error,
            };
            let again = match error.kind.recovery() {
                Recovery::Never => false,
                Recovery::Wait => true,
                Recovery::Reconnect => from.is_some(),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if !again || left.is_zero() {
                return Err(error);
            }
            let pause = backoff.pause().min(left);
            notice(Notice::Waiting {
                kind: error.kind,
                pause,
            });
            sleep(pause).await;
        }
    }

    async fn attempt(
        config: &LinkConfig,
        options: SnapshotOptions,
        from: Option<Position>,
        notice: &mut (dyn FnMut(Notice) + Send),
    ) -> Result<(Link, Start), Failed> {
        let mut main = Wire::open(config).await.map_err(Failed::Main)?;
        let mut snapshot = None;
        let mut handshake = Handshake::new(HandshakeConfig {
            identity: config.identity.clone(),
            from,
            snapshot: options,
        });
        let mut pending = Pending::default();
        loop {
            let step = handshake.advance(&mut main.received);
            pending.note(handshake.keepalives(), notice);
            match step.map_err(|kind| Failed::Main(main.error(kind)))? {
                HandshakeStep::Send(bytes) => main.send(&bytes).await.map_err(Failed::Main)?,
                HandshakeStep::NeedMore => main.receive().await.map_err(Failed::Main)?,
                HandshakeStep::OpenChannel(channel) => {
                    let opened = open_channel(config, options, channel, notice).await;
                    let (wire, start) = opened.map_err(Failed::Channel)?;
                    snapshot = Some(wire);
                    handshake.channel_begun(start);
                }
                HandshakeStep::Done(start) => {
                    if handshake.password_unused() {
                        notice(Notice::PasswordUnused);
                    }
                    if snapshot.is_some() {
                        notice(Notice::ChannelOpened);
                    }
                    return Ok((Link { main, snapshot }, start));
                }
            }
        }
    }

    /// Whether the snapshot comes over a connection of its own.
    pub fn has_channel(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Takes the link apart; the readers begin with what had arrived behind the handshakes.
    pub fn into_parts(self) -> LinkParts {
        let (reader, writer) = self.main.into_halves();
        LinkParts {
            reader,
            writer,
            // Nothing is said over it any more.
            snapshot: self.snapshot.map(|wire| wire.into_halves().0),
        }
    }
}

/// Whether one connection may do what failed over two: it was not the source that could not begin.
fn does_without_channel(kind: &ErrorKind) -> bool {
    match kind.recovery() {
        Recovery::Never | Recovery::Reconnect => true,
        Recovery::Wait => *kind == ErrorKind::MaxClients,
    }
}

/// Opens the second connection, up to where its snapshot begins.
async fn open_channel(
    config: &LinkConfig,
    options: SnapshotOptions,
    channel: Channel,
    notice: &mut (dyn FnMut(Notice) + Send),
) -> Result<(Wire, ChannelStart), Error> {
    let mut wire = Wire::open(config).await?;
    let identity = config.identity.clone();
    let mut handshake = ChannelHandshake::new(identity, channel, options.rdb_no_compress);
    let mut pending = Pending::default();
    loop {
        let step = handshake.advance(&mut wire.received);
        pending.note(handshake.keepalives(), notice);
        match step.map_err(|kind| wire.error(kind))? {
            ChannelStep::Send(bytes) => wire.send(&bytes).await?,
            ChannelStep::NeedMore => wire.receive().await?,
            ChannelStep::Done(start) => return Ok((wire, start)),
        }
    }
}

/// Whether it was told that the snapshot is pending.
#[derive(Default)]
struct Pending {
    told: bool,
}

impl Pending {
    fn note(&mut self, keepalives: u64, notice: &mut (dyn FnMut(Notice) + Send)) {
        if !self.told && keepalives > 0 {
            notice(Notice::SnapshotPending);
            self.told = true;
        }
    }
}

fn unreachable(endpoint: &Endpoint, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::ConnectTimedOut,
        _ => ErrorKind::Unreachable,
    };
    Error::system(endpoint, kind, error)
}

fn broken(endpoint: &Endpoint, error: io::Error) -> Error {
    Error::system(endpoint, ErrorKind::Broken, error)
}

/// The receiving half of a link.
#[derive(Debug)]
pub struct LinkReader {
    read: ReadHalf<Connection>,
    endpoint: Endpoint,
    received: BytesMut,
    source_timeout: Duration,
}

impl LinkReader {
    /// Receives the next bytes, as many as there are up to 256 KiB; `None` when the source has
    /// closed the connection in order.
    ///
    /// Dropping it midway loses nothing.
    ///
    /// # Errors
    /// `Broken`, or `Silent` when nothing came for [`LinkConfig::source_timeout`].
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        if self.received.is_empty() {
            if self.received.capacity() < READ_BYTES_MIN {
                self.received.reserve(CHUNK_BYTES);
            }
            let read = self.read.read_buf(&mut self.received);
            match timeout(self.source_timeout, read).await {
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(broken(&self.endpoint, error)),
                Err(_) => {
                    let kind = ErrorKind::Silent(self.source_timeout);
                    return Err(Error::new(&self.endpoint, kind));
                }
            }
        }
        Ok(Some(self.received.split().freeze()))
    }
}

/// The sending half of a link. Only acknowledgements may be sent: from Redis 7.0 on anything that
/// would be answered makes the source close the link.
#[derive(Debug)]
pub struct LinkWriter {
    write: WriteHalf<Connection>,
    endpoint: Endpoint,
}

impl LinkWriter {
    /// Tells the source that everything up to `applied_offset` is in the target.
    ///
    /// Dropping it midway may leave half of it sent; the link is of no further use then.
    ///
    /// # Errors
    /// `Broken`.
    pub async fn ack(&mut self, applied_offset: ReplOffset) -> Result<(), Error> {
        let mut offset = itoa::Buffer::new();
        let offset = offset.format(applied_offset.get());
        let mut bytes = BytesMut::new();
        Command::of([&b"REPLCONF"[..], b"ACK", offset.as_bytes()]).encode(&mut bytes);
        let sent = self.write.write_all(&bytes).await;
        sent.map_err(|error| broken(&self.endpoint, error))
    }
}
