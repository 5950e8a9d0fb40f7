use tokio::net::{TcpListener, TcpStream};

use super::*;

const FULL: &[u8] = b"+FULLRESYNC f1201b72a276aa8b04f1f574320a89b9e3b67da5 7\r\n\n$EOF:rest";

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
            announce_port: 0,
        },
        connect_timeout: Duration::from_secs(5),
        source_timeout: Duration::from_millis(300),
        retry_for: Duration::from_secs(20),
        snapshot: SnapshotOptions {
            rdb_no_compress: true,
            rdb_only: false,
            channel: SnapshotChannel::Off,
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
        let LinkParts {
            mut reader,
            mut writer,
            snapshot,
        } = link.into_parts();
        assert!(snapshot.is_none());
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

/// What a source says that wants a second connection.
const CHANNEL: &[u8] = b"+RDBCHANNELSYNC 6\r\n";

/// Takes the second connection and answers its PSYNC.
async fn answer_on_channel(listener: &TcpListener, answer: &[u8]) -> TcpStream {
    let (mut peer, _) = listener.accept().await.unwrap();
    hear(&mut peer, b"main-ch-client-id\r\n$1\r\n6\r\n").await;
    peer.write_all(b"+OK\r\n-ERR no\r\n+OK\r\n").await.unwrap();
    hear(&mut peer, b"PSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n").await;
    peer.write_all(answer).await.unwrap();
    peer
}

fn offering(mut config: LinkConfig, channel: SnapshotChannel) -> LinkConfig {
    config.snapshot.channel = channel;
    config
}

#[test]
fn the_snapshot_has_a_reader_of_its_own_where_it_comes_over_a_second_connection() {
    run(async {
        let (listener, config) = listen().await;
        let config = offering(config, SnapshotChannel::On);
        let mut notices = Vec::new();
        let mut notice = |said| notices.push(said);
        let peers = async {
            let mut main = answer(&listener, CHANNEL).await;
            main.write_all(b"*1").await.unwrap();
            let newline_first = [b"\n", FULL].concat();
            (main, answer_on_channel(&listener, &newline_first).await)
        };
        let (opened, peers) = tokio::join!(Link::open(&config, None, &mut notice), peers);
        let (link, start) = opened.unwrap();
        assert!(matches!(start, Start::FullResync(at) if at.offset.get() == 7));
        let mut parts = link.into_parts();
        let mut snapshot = parts.snapshot.expect("a second connection");
        drop(peers);
        for (reader, awaited) in [
            (&mut parts.reader, &b"*1"[..]),
            (&mut snapshot, b"\n$EOF:rest"),
        ] {
            let mut read = Vec::new();
            while let Some(bytes) = reader.read().await.unwrap() {
                read.extend_from_slice(&bytes);
            }
            assert_eq!(read, awaited);
        }
        assert_eq!(notices, [Notice::SnapshotPending, Notice::ChannelOpened]);
    });
}

#[test]
fn a_second_connection_that_is_refused_is_done_without_unless_it_is_demanded() {
    const REFUSED: &[u8] = b"-NOPERM User rep has no permissions to run the 'psync' command\r\n";
    run(async {
        let (listener, config) = listen().await;
        let auto = offering(config, SnapshotChannel::Auto);
        let on = offering(auto.clone(), SnapshotChannel::On);
        let mut notices = Vec::new();
        let mut notice = |said| notices.push(said);
        for is_closed in [true, false] {
            let peers = async {
                let main = answer(&listener, CHANNEL).await;
                match is_closed {
                    true => drop(listener.accept().await.unwrap()),
                    false => drop(answer_on_channel(&listener, REFUSED).await),
                }
                (main, answer(&listener, FULL).await)
            };
            let (opened, _peers) = tokio::join!(Link::open(&auto, None, &mut notice), peers);
            assert!(opened.unwrap().0.into_parts().snapshot.is_none());
        }
        let peers = async {
            (
                answer(&listener, CHANNEL).await,
                answer_on_channel(&listener, REFUSED).await,
            )
        };
        let (opened, _peers) = tokio::join!(Link::open(&on, None, &mut notice), peers);
        let kind = opened.unwrap_err().kind;
        assert!(matches!(kind, ErrorKind::NoPermission { .. }), "{kind:?}");
        assert!(
            matches!(&notices[..], [Notice::ChannelRefused { .. }, Notice::ChannelRefused { kind: last }] if *last == kind),
            "{notices:?}"
        );
    });
}

#[test]
fn a_second_connection_that_has_to_wait_is_asked_for_again() {
    run(async {
        let (listener, config) = listen().await;
        let config = offering(config, SnapshotChannel::Auto);
        let mut notices = Vec::new();
        let mut notice = |said| notices.push(said);
        let peers = async {
            let busy = (
                answer(&listener, CHANNEL).await,
                answer_on_channel(&listener, b"-BUSY Redis is busy\r\n").await,
            );
            let second = (
                answer(&listener, CHANNEL).await,
                answer_on_channel(&listener, FULL).await,
            );
            (busy, second)
        };
        let (opened, _peers) = tokio::join!(Link::open(&config, None, &mut notice), peers);
        assert!(opened.unwrap().0.into_parts().snapshot.is_some());
        assert!(
            matches!(&notices[..], [Notice::Waiting { kind, .. }, Notice::ChannelOpened] if *kind == ErrorKind::Busy),
            "{notices:?}"
        );
    });
}
