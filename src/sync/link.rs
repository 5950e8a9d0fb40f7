//! A connection to the source: the handshake driven over it, then a reader and a writer.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, sleep, timeout},
};

use super::{
    Error, ErrorKind, Handshake, HandshakeConfig, HandshakeStep, Position, Recovery, ReplOffset,
    SnapshotOptions, Start,
};
use crate::{
    net::{Backoff, Connection, Endpoint, Secret, dial},
    resp::Command,
};

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
    /// The ACL user; `None` is the default user.
    pub user: Option<String>,
    /// The password; `None` sends no AUTH.
    pub password: Option<Secret>,
    /// The address the source shall show for us; `None` leaves it to what it sees.
    pub announce_ip: Option<String>,
    /// The port the source shall show for us; nothing may listen there that a Sentinel could take
    /// for a replica.
    pub announce_port: u16,
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
}

/// A connection over which the handshake succeeded.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
    endpoint: Endpoint,
    received: BytesMut,
    source_timeout: Duration,
}

impl Link {
    /// Connects, shakes hands, and asks for the stream behind `from`, or for a full resync.
    ///
    /// What goes away by itself is waited out up to [`LinkConfig::retry_for`]. So is a source that
    /// cannot be reached when there is a `from`, for then it was there before.
    ///
    /// The source may answer with a full resync although `from` was given. It may be dropped midway;
    /// the connection is closed then, which can cost the source a snapshot.
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
        loop {
            let error = match Link::attempt(config, from, notice).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
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
        from: Option<Position>,
        notice: &mut (dyn FnMut(Notice) + Send),
    ) -> Result<(Link, Start), Error> {
        let connection = dial(&config.endpoint, config.connect_timeout)
            .await
            .map_err(|error| unreachable(&config.endpoint, error))?;
        let mut link = Link {
            connection,
            endpoint: config.endpoint.clone(),
            received: BytesMut::new(),
            source_timeout: config.source_timeout,
        };
        let start = link.shake_hands(config, from, notice).await?;
        Ok((link, start))
    }

    async fn shake_hands(
        &mut self,
        config: &LinkConfig,
        from: Option<Position>,
        notice: &mut (dyn FnMut(Notice) + Send),
    ) -> Result<Start, Error> {
        let mut handshake = Handshake::new(HandshakeConfig {
            user: config.user.clone(),
            password: config.password.clone(),
            announce_ip: config.announce_ip.clone(),
            announce_port: config.announce_port,
            from,
            snapshot: config.snapshot,
        });
        let mut pending_told = false;
        loop {
            let step = handshake
                .advance(&mut self.received)
                .map_err(|kind| Error::new(&self.endpoint, kind))?;
            if !pending_told && handshake.keepalives() > 0 {
                notice(Notice::SnapshotPending);
                pending_told = true;
            }
            match step {
                HandshakeStep::Send(bytes) => {
                    let sent = self.connection.write_all(&bytes).await;
                    sent.map_err(|error| broken(&self.endpoint, error))?;
                }
                HandshakeStep::NeedMore => self.receive_in_handshake().await?,
                HandshakeStep::Done(start) => {
                    if handshake.password_unused() {
                        notice(Notice::PasswordUnused);
                    }
                    return Ok(start);
                }
            }
        }
    }

    async fn receive_in_handshake(&mut self) -> Result<(), Error> {
        let read = self.connection.read_buf(&mut self.received);
        match timeout(self.source_timeout, read).await {
            Ok(Ok(0)) => Err(Error::new(&self.endpoint, ErrorKind::ClosedInHandshake)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(broken(&self.endpoint, error)),
            Err(_) => {
                let kind = ErrorKind::Silent(self.source_timeout);
                Err(Error::new(&self.endpoint, kind))
            }
        }
    }

    /// Takes the link apart; the reader begins with what had arrived behind the handshake.
    pub fn into_parts(self) -> (LinkReader, LinkWriter) {
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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const FULL: &[u8] = b"+FULLRESYNC f1201b72a276aa8b04f1f574320a89b9e3b67da5 7\r\n\n$EOF:rest";

    fn config(port: u16) -> LinkConfig {
        LinkConfig {
            endpoint: Endpoint::Tcp {
                host: "127.0.0.1".into(),
                port,
            },
            user: None,
            password: None,
            announce_ip: None,
            announce_port: 0,
            connect_timeout: Duration::from_secs(5),
            source_timeout: Duration::from_millis(300),
            retry_for: Duration::from_secs(20),
            snapshot: SnapshotOptions {
                rdb_no_compress: true,
                rdb_only: false,
            },
        }
    }

    async fn listen() -> (TcpListener, LinkConfig) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, config(port))
    }

    /// Takes a connection and answers the REPLCONFs, then PSYNC with `answer`.
    async fn answer(listener: &TcpListener, answer: &[u8]) -> TcpStream {
        let (mut peer, _) = listener.accept().await.unwrap();
        hear(&mut peer, b"rdb-no-compress\r\n$1\r\n1\r\n").await;
        peer.write_all(b"+OK\r\n+OK\r\n-ERR no\r\n-ERR no\r\n")
            .await
            .unwrap();
        hear(&mut peer, b"PSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n").await;
        peer.write_all(answer).await.unwrap();
        peer
    }

    async fn hear(peer: &mut TcpStream, ending: &[u8]) {
        let mut heard = Vec::new();
        while !heard.ends_with(ending) {
            assert_ne!(peer.read_buf(&mut heard).await.unwrap(), 0);
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test)
    }

    #[test]
    fn a_link_can_be_opened_by_a_spawned_task() {
        fn assert_send<T: Send>(_: T) {}
        assert_send(Link::open(&config(1), None, &mut |_| {}));
    }

    #[test]
    fn what_arrives_behind_the_handshake_is_read_first() {
        run(async {
            let (listener, config) = listen().await;
            let mut notices = Vec::new();
            let mut notice = |said| notices.push(said);
            let newline_first = [b"\n", FULL].concat();
            let (opened, mut peer) = tokio::join!(
                Link::open(&config, None, &mut notice),
                answer(&listener, &newline_first)
            );
            let (link, start) = opened.unwrap();
            assert!(matches!(start, Start::FullResync(at) if at.offset.get() == 7));
            let (mut reader, mut writer) = link.into_parts();
            let mut read = Vec::new();
            while read.len() < 10 {
                read.extend_from_slice(&reader.read().await.unwrap().unwrap());
            }
            assert_eq!(read, b"\n$EOF:rest");
            writer.ack(ReplOffset::new(7)).await.unwrap();
            hear(
                &mut peer,
                b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n7\r\n",
            )
            .await;
            let silent = reader.read().await.unwrap_err();
            assert_eq!(silent.kind, ErrorKind::Silent(config.source_timeout));
            drop(peer);
            assert_eq!(reader.read().await.unwrap(), None);
            assert_eq!(notices, [Notice::SnapshotPending]);
        });
    }

    #[test]
    fn a_source_that_loads_is_waited_for() {
        run(async {
            let (listener, config) = listen().await;
            let mut notices = Vec::new();
            let mut notice = |said| notices.push(said);
            let peers = async {
                let loading = b"-LOADING Redis is loading the dataset in memory\r\n";
                let first = answer(&listener, loading).await;
                (first, answer(&listener, FULL).await)
            };
            let (opened, _peers) = tokio::join!(Link::open(&config, None, &mut notice), peers);
            assert!(opened.is_ok());
            let [Notice::Waiting { kind, pause }] = &notices[..] else {
                panic!("{notices:?}");
            };
            assert_eq!(*kind, ErrorKind::Loading);
            assert!(*pause <= PAUSE_MIN);
        });
    }

    #[test]
    fn waiting_ends_and_the_last_reason_is_the_error() {
        run(async {
            let (listener, mut config) = listen().await;
            config.retry_for = Duration::from_millis(250);
            let peers = async {
                loop {
                    answer(&listener, b"-BUSY Redis is busy\r\n").await;
                }
            };
            let mut waits = 0;
            let mut notice = |_| waits += 1;
            let opened = tokio::select! {
                opened = Link::open(&config, None, &mut notice) => opened,
                () = peers => unreachable!("it answers for ever"),
            };
            assert_eq!(opened.unwrap_err().kind, ErrorKind::Busy);
            assert!(waits >= 2, "{waits}");
        });
    }

    #[test]
    fn a_source_that_closes_or_is_silent_in_the_handshake_is_named() {
        run(async {
            let (listener, config) = listen().await;
            let mut notice = |_| {};
            let (opened, ()) = tokio::join!(Link::open(&config, None, &mut notice), async {
                let mut peer = listener.accept().await.unwrap().0;
                hear(&mut peer, b"$1\r\n1\r\n").await;
            });
            assert_eq!(opened.unwrap_err().kind, ErrorKind::ClosedInHandshake);
            let (opened, _peer) =
                tokio::join!(Link::open(&config, None, &mut notice), listener.accept());
            let error = opened.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Silent(config.source_timeout));
            let named = format!("source {} was silent for 300ms", config.endpoint);
            assert_eq!(error.to_string(), named);
        });
    }
}
