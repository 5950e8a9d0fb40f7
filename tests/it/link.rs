//! Being a replica of real servers: handshake, snapshot framing, stream, acknowledgements, resuming.
//!
//! The snapshot is not parsed here; its end is found by its length or by searching for the mark.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use keyferry::{
    keyspace::Db,
    net::{Endpoint, Secret},
    resp::Limits,
    sync::{
        AckSchedule, Error, ErrorKind, Framing, Identity, Link, LinkConfig, LinkParts, LinkReader,
        LinkWriter, Notice, Position, ReplOffset, Resumable, SnapshotChannel, SnapshotEnd,
        SnapshotOptions, Start, StreamDecoder, StreamItem, Transfer,
    },
};

use crate::support::{
    client::{number, text},
    server::{Server, free_port},
    version::Version,
};

const ANNOUNCED_PORT: u16 = 7;

fn config(port: u16) -> LinkConfig {
    LinkConfig {
        endpoint: Endpoint::Tcp {
            host: "127.0.0.1".into(),
            port,
        },
        identity: Identity {
            user: None,
            password: None,
            announce_ip: None,
            announce_port: ANNOUNCED_PORT,
        },
        connect_timeout: Duration::from_secs(5),
        source_timeout: Duration::from_secs(30),
        retry_for: Duration::ZERO,
        snapshot: SnapshotOptions {
            rdb_no_compress: true,
            rdb_only: false,
            channel: SnapshotChannel::Off,
        },
    }
}

fn logging_in(config: LinkConfig, user: Option<&str>, password: &str) -> LinkConfig {
    let identity = Identity {
        user: user.map(str::to_owned),
        password: Some(Secret::new(password)),
        ..config.identity
    };
    LinkConfig { identity, ..config }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

async fn open(config: &LinkConfig, from: Option<Position>) -> Result<(Link, Start), Error> {
    Link::open(config, from, &mut |_| {}).await
}

async fn refusal(config: &LinkConfig) -> ErrorKind {
    open(config, None).await.unwrap_err().kind
}

/// Reads the snapshot; gives its framing and the first bytes of the stream.
async fn read_snapshot(reader: &mut LinkReader) -> (Framing, Bytes) {
    let mut transfer = Transfer::new();
    let mut received = Vec::new();
    let framing = loop {
        let mut bytes = reader.read().await.unwrap().unwrap();
        let step = transfer.feed(&bytes).unwrap();
        bytes.advance(step.used);
        if let Some(framing) = step.framing {
            received.extend_from_slice(&bytes);
            break framing;
        }
    };
    loop {
        let rdb_bytes = match framing {
            Framing::Length(length) => Some(length as usize),
            Framing::Mark(mark) => received.windows(40).position(|window| window == mark),
        };
        if let Some(rdb_bytes) = rdb_bytes.filter(|bytes| *bytes <= received.len()) {
            assert!(received.starts_with(b"REDIS") || received.starts_with(b"VALKEY"));
            let mut rest = Bytes::copy_from_slice(&received[rdb_bytes..]);
            let mut end = SnapshotEnd::new(framing, rdb_bytes as u64).unwrap();
            assert!(end.feed(&mut rest).unwrap());
            return (framing, rest);
        }
        received.extend_from_slice(&reader.read().await.unwrap().unwrap());
    }
}

/// A replica that applies at once what it reads.
struct Replica {
    reader: LinkReader,
    writer: LinkWriter,
    stream: StreamDecoder,
    acks: AckSchedule,
    seen: Vec<String>,
}

impl Replica {
    fn new(link: Link, at: Resumable, acks: AckSchedule, first: Bytes) -> Replica {
        let LinkParts { reader, writer, .. } = link.into_parts();
        let mut stream = StreamDecoder::new(at.offset, at.db, Limits::default());
        stream.feed(first);
        Replica {
            reader,
            writer,
            stream,
            acks,
            seen: Vec::new(),
        }
    }

    /// Reads and acknowledges until a command of this name was seen.
    async fn follow_until(&mut self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.take_items(name) {
            assert!(Instant::now() < deadline, "no {name} in {:?}", self.seen);
            let due = self.acks.due();
            tokio::select! {
                bytes = self.reader.read() => {
                    self.acks.stream_byte_seen();
                    self.stream.feed(bytes.unwrap().expect("the link is open"));
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
            if self.acks.due() <= Instant::now() {
                self.acknowledge().await;
            }
        }
    }

    async fn acknowledge(&mut self) {
        self.writer.ack(self.stream.parsed_offset()).await.unwrap();
        self.acks.sent(Instant::now());
    }

    fn take_items(&mut self, until: &str) -> bool {
        let mut found = false;
        while let Some(item) = self.stream.next().unwrap() {
            match item {
                StreamItem::Command {
                    command,
                    db,
                    in_transaction,
                    ..
                } => {
                    found |= command.is(until);
                    let inside = if in_transaction { " inside" } else { "" };
                    let key = command.arg(1).escape_ascii().to_string();
                    self.seen.push(format!("db{db} {key}{inside}"));
                }
                StreamItem::GetAck { .. } => self.acks.requested(Instant::now()),
                StreamItem::Select { .. }
                | StreamItem::TransactionStart { .. }
                | StreamItem::TransactionEnd { .. }
                | StreamItem::Ping { .. }
                | StreamItem::Replconf { .. } => {}
            }
        }
        found
    }
}

#[test]
fn follows_every_source_through_snapshot_stream_and_a_lost_link() {
    for version in Version::available() {
        for diskless in ["yes", "no"] {
            let server = Server::of(version)
                .config(format!("repl-diskless-sync {diskless}"))
                .start();
            eprintln!("{version}, diskless {diskless}");
            run(follow(&server, diskless == "yes"));
        }
    }
}

async fn follow(server: &Server, diskless: bool) {
    let mut client = server.client();
    client.select(3);
    client.run(command!["SET", "before", vec![b'x'; 300_000]]);
    let config = config(server.port());
    let (link, start) = open(&config, None).await.unwrap();
    let Start::FullResync(position) = start else {
        panic!("{start:?}");
    };
    assert_eq!(
        client.info("replication", "master_replid"),
        Some(position.replid.to_string())
    );
    // The link is taken apart before the snapshot is read, as a pipeline does.
    let at = Resumable {
        offset: position.offset,
        db: Db(0),
    };
    let mut replica = Replica::new(link, at, AckSchedule::new(Instant::now()), Bytes::new());
    let (framing, rest) = read_snapshot(&mut replica.reader).await;
    assert!(matches!(framing, Framing::Mark(_)) || !diskless);
    replica.stream.feed(rest);
    replica.acks.snapshot_ended(Instant::now());

    client.run(command!["SET", "a", "1"]);
    client.select(5);
    client.pipeline(&[
        command!["MULTI"],
        command!["INCR", "b"],
        command!["INCR", "c"],
        command!["EXEC"],
        command!["SADD", "last", "1"],
    ]);
    replica.follow_until("SADD").await;
    let expected = ["db3 a", "db5 b inside", "db5 c inside", "db5 last"];
    assert_eq!(replica.seen, expected);
    let resumable = replica.stream.resumable();
    assert_eq!(resumable.offset, replica.stream.parsed_offset());
    assert_eq!(resumable.db, Db(5));
    let offset = |server: &Server| -> u64 {
        let offset = server.client().info("replication", "master_repl_offset");
        offset.unwrap().trim().parse().unwrap()
    };
    assert_eq!(offset(server), resumable.offset.get());

    // WAIT asks by GETACK and believes our answer.
    let mut waiter = server.client();
    waiter.run(command!["SET", "waited", "1"]);
    let waited =
        tokio::task::spawn_blocking(move || number(&waiter.run(command!["WAIT", "1", "20000"])));
    replica.follow_until("SET").await;
    while !waited.is_finished() {
        replica.acknowledge().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(waited.await.unwrap(), 1);
    let shown = client.info("replication", "slave0").unwrap();
    assert!(
        shown.contains(&format!("port={ANNOUNCED_PORT},state=online")),
        "{shown}"
    );

    // The link is lost, and taken up again where it was.
    replica.take_items("");
    let from = replica.stream.resumable();
    drop(replica);
    client.run(command!["APPEND", "missed", "x"]);
    client.run(command!["SADD", "last", "2"]);
    let wanted = Position {
        replid: position.replid,
        offset: from.offset,
    };
    let (link, start) = open(&config, Some(wanted)).await.unwrap();
    assert_eq!(start, Start::Continue(wanted));
    let acks = AckSchedule::new(Instant::now());
    let mut replica = Replica::new(link, from, acks, Bytes::new());
    replica.follow_until("SADD").await;
    assert!(
        replica.seen.contains(&"db5 missed".to_owned()),
        "{:?}",
        replica.seen
    );
    assert_eq!(replica.seen.last().unwrap(), "db5 last");

    // Bytes that the source never sent cannot be continued from.
    let ahead = Position {
        offset: ReplOffset::new(offset(server) + 1_000_000),
        ..wanted
    };
    let (_, start) = open(&config, Some(ahead)).await.unwrap();
    assert!(matches!(start, Start::FullResync(_)), "{start:?}");
}

#[test]
fn a_password_is_asked_for_and_checked() {
    for version in Version::available() {
        let server = Server::of(version).password("s3cret").start();
        let config = config(server.port());
        run(async {
            assert_eq!(refusal(&config).await, ErrorKind::NoAuth, "{version}");
            let with =
                |user: Option<&str>, password: &str| logging_in(config.clone(), user, password);
            let error = open(&with(None, "wr0ng"), None).await.unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::WrongPassword { .. }),
                "{version}: {error}"
            );
            assert!(!format!("{error:?} {error} {}", error.why()).contains("wr0ng"));
            for user in [None, Some("default")] {
                let opened = open(&with(user, "s3cret"), None).await;
                assert!(opened.is_ok(), "{version}: {opened:?}");
            }
        });
    }
}

#[test]
fn a_user_needs_two_permissions_and_the_missing_one_is_named() {
    for version in Version::available() {
        let server = Server::of(version)
            .user("enough", "pw", "+psync +replconf")
            .user("no-psync", "pw", "+replconf")
            .user("no-replconf", "pw", "+psync")
            .start();
        run(async {
            for (user, missing) in [
                ("enough", None),
                ("no-psync", Some("psync")),
                ("no-replconf", Some("replconf")),
            ] {
                let config = logging_in(config(server.port()), Some(user), "pw");
                match (open(&config, None).await, missing) {
                    (Ok(_), None) => {}
                    (Err(error), Some(missing)) => {
                        let named = matches!(error.kind,
                            ErrorKind::NoPermission { command, .. } if command == missing);
                        assert!(named, "{version} {user}: {error:?}");
                    }
                    (opened, _) => panic!("{version} {user}: {opened:?}"),
                }
            }
        });
    }
}

#[test]
fn a_password_that_is_not_needed_is_noticed_and_no_harm() {
    for version in Version::available() {
        let server = Server::of(version).start();
        let config = logging_in(config(server.port()), None, "pw");
        let mut notices = Vec::new();
        let mut notice = |said| notices.push(said);
        let opened = run(Link::open(&config, None, &mut notice));
        assert!(opened.is_ok(), "{version}: {opened:?}");
        assert!(notices.contains(&Notice::PasswordUnused), "{version}");
    }
}

#[test]
fn a_replica_without_its_primary_is_waited_for() {
    for version in Version::available() {
        let server = Server::of(version).start();
        let mut client = server.client();
        client.run(command!["REPLICAOF", "127.0.0.1", u64::from(free_port())]);
        let mut config = config(server.port());
        let kind = run(refusal(&config));
        assert!(
            matches!(kind, ErrorKind::NoMasterLink { .. }),
            "{version}: {kind:?}"
        );
        config.retry_for = Duration::from_secs(30);
        let mut waits = 0;
        let mut notice = |notice| {
            if matches!(notice, Notice::Waiting { .. }) {
                waits += 1;
                client.run(command!["REPLICAOF", "NO", "ONE"]);
            }
        };
        let opened = run(Link::open(&config, None, &mut notice));
        assert!(opened.is_ok(), "{version}: {opened:?}");
        assert!(waits >= 1, "{version}");
    }
}

#[test]
fn a_source_that_runs_a_script_is_waited_for() {
    for version in Version::available() {
        let server = Server::of(version).config("lua-time-limit 50").start();
        let mut config = config(server.port());
        config.retry_for = Duration::from_secs(30);
        let mut busy = server.client();
        let script = std::thread::spawn(move || {
            let _ = busy.try_run(&command!["EVAL", "while true do end", "0"]);
        });
        let mut client = server.client();
        let is_busy = |client: &mut crate::support::client::Client| {
            let reply = client.try_run(&command!["PING"]).unwrap();
            text(&reply) != "PONG"
        };
        while !is_busy(&mut client) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut kinds = Vec::new();
        let mut notice = |notice| {
            if let Notice::Waiting { kind, .. } = notice {
                kinds.push(kind);
                client.run(command!["SCRIPT", "KILL"]);
            }
        };
        let opened = run(Link::open(&config, None, &mut notice));
        assert!(opened.is_ok(), "{version}: {opened:?}");
        assert_eq!(kinds, [ErrorKind::Busy], "{version}");
        script.join().unwrap();
    }
}

#[test]
fn sync_is_the_way_out_where_psync_is_blocked() {
    for version in Version::available() {
        let server = Server::of(version)
            .config("rename-command PSYNC \"\"")
            .start();
        run(async {
            let (link, start) = open(&config(server.port()), None).await.unwrap();
            assert_eq!(start, Start::Sync, "{version}");
            let mut parts = link.into_parts();
            read_snapshot(&mut parts.reader).await;
        });
        let server = Server::of(version)
            .config("rename-command PSYNC \"\"")
            .config("rename-command SYNC \"\"")
            .start();
        let kind = run(refusal(&config(server.port())));
        assert!(
            matches!(kind, ErrorKind::NoReplication { .. }),
            "{version}: {kind:?}"
        );
    }
}

#[test]
fn a_refused_port_and_a_killed_source_are_told_apart() {
    let config = config(free_port());
    let error = run(open(&config, None)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.why().contains("refused"), "{}", error.why());

    let mut server = Server::start("redis-7.0");
    run(async {
        let config = self::config(server.port());
        let (link, _) = open(&config, None).await.unwrap();
        let LinkParts {
            mut reader,
            writer: _writer,
            ..
        } = link.into_parts();
        read_snapshot(&mut reader).await;
        server.kill();
        let end = reader.read().await;
        assert!(
            matches!(&end, Ok(None))
                || matches!(&end, Err(error) if error.kind == ErrorKind::Broken),
            "{end:?}"
        );
    });
}
