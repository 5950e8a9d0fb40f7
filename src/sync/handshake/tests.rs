use bytes::Buf;

use super::*;
use crate::sync::ReplOffset;

const ID: &str = "f1201b72a276aa8b04f1f574320a89b9e3b67da5";
const NEW_ID: &str = "457276351930f04acd8ec46838cac1c56837e390";

fn config() -> HandshakeConfig {
    HandshakeConfig {
        identity: Identity {
            user: None,
            password: None,
            announce_ip: None,
            announce_port: 7777,
        },
        from: None,
        snapshot: SnapshotOptions {
            rdb_no_compress: true,
            rdb_only: false,
            channel: SnapshotChannel::Off,
        },
    }
}

fn with_channel(channel: SnapshotChannel) -> HandshakeConfig {
    let snapshot = SnapshotOptions {
        channel,
        ..config().snapshot
    };
    HandshakeConfig {
        snapshot,
        ..config()
    }
}

fn with_password(user: Option<&str>) -> HandshakeConfig {
    let config = config();
    HandshakeConfig {
        identity: Identity {
            user: user.map(str::to_owned),
            password: Some(Secret::new("s3cret")),
            ..config.identity
        },
        ..config
    }
}

fn at(replid: &str, offset: u64) -> Position {
    Position {
        replid: replid.parse().unwrap(),
        offset: ReplOffset::new(offset),
    }
}

/// What came of a handshake whose peer answers what was sent with the next of `answers`: what
/// was sent (words with blanks between), the outcome and the bytes that are left.
fn talk(
    config: HandshakeConfig,
    answers: &[&str],
    piece_bytes: usize,
) -> (Vec<String>, Result<Start, ErrorKind>, Vec<u8>) {
    talk_with_channel(config, None, answers, piece_bytes)
}

/// The same where the source wants a second connection: `opened` is where the snapshot begins there.
fn talk_with_channel(
    config: HandshakeConfig,
    opened: Option<ChannelStart>,
    answers: &[&str],
    piece_bytes: usize,
) -> (Vec<String>, Result<Start, ErrorKind>, Vec<u8>) {
    let mut handshake = Handshake::new(config);
    let mut channels = Vec::new();
    let (mut sent, end, rest) = converse(answers, piece_bytes, |received| {
        let mut step = handshake.advance(received)?;
        if let HandshakeStep::OpenChannel(channel) = step {
            channels.push(format!("{channel:?}"));
            handshake.channel_begun(opened.expect("a channel is awaited"));
            step = handshake.advance(received)?;
        }
        Ok(match step {
            HandshakeStep::Send(bytes) => Said::Send(bytes),
            HandshakeStep::NeedMore => Said::NeedMore,
            HandshakeStep::OpenChannel(channel) => panic!("{channel:?} is wanted twice"),
            HandshakeStep::Done(start) => Said::Done(start),
        })
    });
    if !channels.is_empty() {
        sent.splice(2..2, channels);
    }
    (sent, end, rest)
}

/// What came of a second handshake, as [`talk`] tells it.
fn talk_on_channel(
    identity: Identity,
    channel: Channel,
    answers: &[&str],
    piece_bytes: usize,
) -> (Vec<String>, Result<ChannelStart, ErrorKind>, Vec<u8>) {
    let mut handshake = ChannelHandshake::new(identity, channel, true);
    converse(answers, piece_bytes, |received| {
        Ok(match handshake.advance(received)? {
            ChannelStep::Send(bytes) => Said::Send(bytes),
            ChannelStep::NeedMore => Said::NeedMore,
            ChannelStep::Done(start) => Said::Done(start),
        })
    })
}

/// What either handshake wants next.
enum Said<T> {
    Send(Bytes),
    NeedMore,
    Done(T),
}

fn converse<T>(
    answers: &[&str],
    piece_bytes: usize,
    mut advance: impl FnMut(&mut BytesMut) -> Result<Said<T>, ErrorKind>,
) -> (Vec<String>, Result<T, ErrorKind>, Vec<u8>) {
    let mut received = BytesMut::new();
    let mut sent = Vec::new();
    let mut incoming = std::collections::VecDeque::new();
    let mut answers = answers.iter();
    loop {
        match advance(&mut received) {
            Ok(Said::Send(bytes)) => {
                assert!(incoming.is_empty(), "sent while a reply was pending");
                sent.push(words(&bytes));
                let answer = answers.next().copied().unwrap_or_default();
                incoming = answer.as_bytes().chunks(piece_bytes).collect();
            }
            Ok(Said::NeedMore) => match incoming.pop_front() {
                Some(piece) => received.extend_from_slice(piece),
                None => panic!("{sent:?} is not answered"),
            },
            Ok(Said::Done(start)) => {
                let rest = incoming.into_iter().flatten().copied();
                let rest = received.iter().copied().chain(rest).collect();
                return (sent, Ok(start), rest);
            }
            Err(kind) => return (sent, Err(kind), Vec::new()),
        }
    }
}

fn words(bytes: &Bytes) -> String {
    if bytes == "SYNC\r\n" {
        return "SYNC".into();
    }
    let mut decoder = crate::resp::CommandDecoder::new(crate::resp::Limits::default());
    decoder.feed(bytes.clone());
    let mut lines = Vec::new();
    while let Some(decoded) = decoder.next().unwrap() {
        let args = decoded.command.into_args();
        let words: Vec<_> = args
            .iter()
            .map(|arg| arg.escape_ascii().to_string())
            .collect();
        lines.push(words.join(" "));
    }
    lines.join("; ")
}

const REPLCONF: &str = "REPLCONF listening-port 7777; REPLCONF capa eof capa psync2; \
    REPLCONF version 9.1.2; REPLCONF rdb-no-compress 1";
/// What most servers say to it.
const MOSTLY_OK: &str = "+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: version\r\n\
    -ERR Unrecognized REPLCONF option: rdb-no-compress\r\n";

#[test]
fn reads_every_reply_before_psync_and_leaves_what_follows() {
    let answer = format!("\n\n\n+FULLRESYNC {ID} 14\r\n\n$EOF:");
    for piece_bytes in [1, 2, 7, 1000] {
        let (sent, start, rest) = talk(config(), &[MOSTLY_OK, &answer], piece_bytes);
        assert_eq!(sent, [REPLCONF, "PSYNC ? -1"]);
        assert_eq!(start, Ok(Start::FullResync(at(ID, 14))));
        assert_eq!(rest, b"\n$EOF:");
    }
}

#[test]
fn asks_of_the_snapshot_what_is_wanted_of_it() {
    let basic = "REPLCONF listening-port 7777; REPLCONF capa eof capa psync2; \
        REPLCONF version 9.1.2";
    for (rdb_no_compress, rdb_only, asked) in [
        (false, false, ""),
        (true, false, "; REPLCONF rdb-no-compress 1"),
        (false, true, "; REPLCONF rdb-only 1"),
        (
            true,
            true,
            "; REPLCONF rdb-no-compress 1; REPLCONF rdb-only 1",
        ),
    ] {
        let config = HandshakeConfig {
            snapshot: SnapshotOptions {
                rdb_no_compress,
                rdb_only,
                // Nothing is wanted behind it that a second connection could spare.
                channel: match rdb_only {
                    true => SnapshotChannel::Auto,
                    false => SnapshotChannel::Off,
                },
            },
            ..config()
        };
        let replies = 3 + usize::from(rdb_no_compress) + usize::from(rdb_only);
        let refused = "-ERR Unrecognized REPLCONF option\r\n".repeat(replies);
        let answer = format!("+FULLRESYNC {ID} 14\r\n");
        let (sent, start, _) = talk(config, &[&refused, &answer], 1000);
        assert_eq!(sent, [&format!("{basic}{asked}"), "PSYNC ? -1"]);
        assert_eq!(start, Ok(Start::FullResync(at(ID, 14))));
    }
}

/// What real sources sent, cut into pieces: the handshake takes its line, the transfer the
/// framing, and what is left is the snapshot and its mark.
#[test]
fn recorded_sources_lead_to_their_snapshot_at_any_cut() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sync");
    for name in [
        "redis-2.8-psync-len",
        "redis-6.0-psync-len",
        "redis-6.0-psync-eof",
        "redis-8.6-psync-len",
        "redis-8.6-psync-eof",
        "valkey-9.1-psync-len",
        "valkey-9.1-psync-eof",
    ] {
        let recorded = std::fs::read(format!("{folder}/{name}.bin")).unwrap();
        for piece_bytes in [1, 2, 3, 61, 100_000] {
            let mut handshake = Handshake::new(config());
            handshake.state = State::Psync;
            let mut received = BytesMut::new();
            let mut pieces = recorded.chunks(piece_bytes);
            let start = loop {
                match handshake.advance(&mut received).unwrap() {
                    HandshakeStep::Done(start) => break start,
                    _ => received.extend_from_slice(pieces.next().unwrap()),
                }
            };
            assert!(matches!(start, Start::FullResync(_)), "{name}: {start:?}");
            let mut transfer = crate::sync::Transfer::new();
            let framing = loop {
                let step = transfer.feed(&received).unwrap();
                received.advance(step.used);
                match step.framing {
                    Some(framing) => break framing,
                    None => received.extend_from_slice(pieces.next().unwrap()),
                }
            };
            received.extend(pieces.flatten());
            let mark_bytes = if name.ends_with("eof") { 40 } else { 0 };
            let mark = received.split_off(received.len() - mark_bytes);
            assert!(received.starts_with(b"REDIS") || received.starts_with(b"VALKEY"));
            let mut end = crate::sync::SnapshotEnd::new(framing, received.len() as u64).unwrap();
            let ended = mark
                .chunks(piece_bytes)
                .chain([&[][..]])
                .map(|piece| end.feed(&mut Bytes::copy_from_slice(piece)).unwrap())
                .last();
            assert_eq!(ended, Some(true), "{name}");
        }
    }
}

#[test]
fn asks_for_the_byte_behind_what_it_has_and_adopts_a_new_replid() {
    let config = HandshakeConfig {
        from: Some(at(ID, 50)),
        identity: Identity {
            announce_ip: Some("10.0.0.1".into()),
            ..config().identity
        },
        ..config()
    };
    let four_ok = format!("+OK\r\n{MOSTLY_OK}");
    for (name, answer, start) in [
        ("before 4.0", "+CONTINUE\r\n*1", Start::Continue(at(ID, 50))),
        (
            "new history",
            &*format!("+CONTINUE {NEW_ID}\r\n*1"),
            Start::Continue(at(NEW_ID, 50)),
        ),
        (
            "gone",
            &*format!("+FULLRESYNC {NEW_ID} 99\r\n*1"),
            Start::FullResync(at(NEW_ID, 99)),
        ),
    ] {
        let (sent, found, rest) = talk(config.clone(), &[&four_ok, answer], 3);
        assert!(
            sent[0].contains("; REPLCONF ip-address 10.0.0.1; "),
            "{name}"
        );
        assert_eq!(sent[1], format!("PSYNC {ID} 51"), "{name}");
        assert_eq!((found, &rest[..]), (Ok(start), &b"*1"[..]), "{name}");
    }
}

#[test]
fn authenticates_first_and_falls_back_where_there_are_no_users() {
    let full = format!("+FULLRESYNC {ID} 0\r\n");
    let no_users = "-ERR wrong number of arguments for 'auth' command\r\n";
    for (name, user, answers, auth) in [
        ("password", None, &["+OK\r\n"][..], &["AUTH s3cret"][..]),
        ("user", Some("rep"), &["+OK\r\n"], &["AUTH rep s3cret"]),
        (
            "default user before 6.0",
            Some("default"),
            &[no_users, "+OK\r\n"],
            &["AUTH default s3cret", "AUTH s3cret"],
        ),
        (
            "none needed before 6.0",
            None,
            &["-ERR Client sent AUTH, but no password is set\r\n"],
            &["AUTH s3cret"],
        ),
        (
            "none needed",
            None,
            &[
                "-ERR AUTH <password> called without any password configured for the default user. \
               Are you sure your configuration is correct?\r\n",
            ],
            &["AUTH s3cret"],
        ),
    ] {
        let answers: Vec<&str> = answers.iter().copied().chain([MOSTLY_OK, &full]).collect();
        let (sent, start, _) = talk(with_password(user), &answers, 5);
        assert_eq!(start, Ok(Start::FullResync(at(ID, 0))), "{name}");
        let expected = auth.iter().copied().chain([REPLCONF, "PSYNC ? -1"]);
        assert_eq!(sent, expected.collect::<Vec<_>>(), "{name}");
    }
    let (_, start, _) = talk(with_password(Some("rep")), &[no_users], 5);
    assert_eq!(start, Err(ErrorKind::NoUsers));
}

#[test]
fn a_source_without_psync_is_asked_with_sync() {
    let unknown = "-ERR unknown command 'PSYNC'\r\n";
    let (sent, start, rest) = talk(config(), &[MOSTLY_OK, unknown, "\n\n$5818\r\n"], 1);
    assert_eq!(sent, [REPLCONF, "PSYNC ? -1", "SYNC"]);
    assert_eq!((start, &rest[..]), (Ok(Start::Sync), &b"$5818\r\n"[..]));
    let neither = "-ERR unknown command 'SYNC'\r\n";
    let (_, start, _) = talk(config(), &[MOSTLY_OK, unknown, neither], 1);
    assert!(matches!(start, Err(ErrorKind::NoReplication { .. })));
}

#[test]
fn each_refusal_has_its_own_kind() {
    let reply = String::from;
    let denied = "DENIED Redis is running in protected mode because protected mode is enabled";
    for (refused, kind) in [
        ("NOAUTH Authentication required.", ErrorKind::NoAuth),
        (denied, ErrorKind::ProtectedMode),
        (
            "LOADING Valkey is loading the dataset in memory",
            ErrorKind::Loading,
        ),
        ("BUSY Redis is busy running a script.", ErrorKind::Busy),
        ("ERR max number of clients reached", ErrorKind::MaxClients),
        (
            "MASTERDOWN Link with MASTER is down",
            ErrorKind::NoMasterLink {
                reply: reply("MASTERDOWN Link with MASTER is down"),
            },
        ),
    ] {
        let line = format!("-{refused}\r\n");
        let (_, early, _) = talk(config(), &[&line], 4);
        assert_eq!(early, Err(kind.clone()), "to REPLCONF");
        let (_, late, _) = talk(config(), &[MOSTLY_OK, &line], 4);
        assert_eq!(late, Err(kind), "to PSYNC");
    }
    for (text, command) in [("replconf", 0), ("psync", 1)] {
        let refused =
            format!("-NOPERM User rep has no permissions to run the '{text}' command\r\n");
        let answers = [[&*refused, ""], [MOSTLY_OK, &refused]][command];
        let (_, found, _) = talk(config(), &answers, 4);
        assert!(
            matches!(found, Err(ErrorKind::NoPermission { command, .. }) if command == text),
            "{found:?}"
        );
    }
    for (text, waits) in [
        (
            "NOMASTERLINK Can't SYNC while not connected with my master",
            true,
        ),
        ("ERR Can't SYNC while not connected with my master", true),
        ("ERR BGSAVE failed, replication can't continue", true),
        ("ERR SYNC and PSYNC are invalid with pending output", false),
    ] {
        let (_, found, _) = talk(config(), &[MOSTLY_OK, &format!("-{text}\r\n")], 4);
        let kind = found.unwrap_err();
        assert_eq!(
            kind.recovery() == crate::sync::Recovery::Wait,
            waits,
            "{text}"
        );
        assert_eq!(kind.why(), format!("it said: {text}"));
    }
}

#[test]
fn a_refused_password_never_shows() {
    for refused in [
        "-ERR invalid password\r\n",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        "-ERR unknown command `AUTH`, with args beginning with: `s3cret`, \r\n",
        "-ERR what is s3cret?\r\n",
        "*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n",
    ] {
        let (_, found, _) = talk(with_password(None), &[refused], 100);
        let kind = found.unwrap_err();
        let shown = format!("{kind} {kind:?} {} {}", kind.why(), kind.next());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let (_, found, _) = talk(with_password(None), &["-ERR invalid password\r\n"], 100);
    assert!(matches!(found, Err(ErrorKind::WrongPassword { .. })));
}

#[test]
fn refuses_what_no_source_says() {
    let no_id = "+FULLRESYNC ? 0\r\n";
    let no_offset = format!("+FULLRESYNC {ID}\r\n");
    let long = format!("+{}", "x".repeat(70_000));
    for answers in [
        &["HTTP/1.1 400 Bad Request\r\n"][..],
        &["$3\r\nabc\r\n"],
        &[&long],
        &[MOSTLY_OK, no_id],
        &[MOSTLY_OK, &no_offset],
        &[MOSTLY_OK, "+RDBCHANNELSYNC 6\r\n"],
        // Nothing to continue was asked for.
        &[MOSTLY_OK, "+CONTINUE\r\n"],
    ] {
        let (_, found, _) = talk(config(), answers, 1000);
        assert!(
            matches!(found, Err(ErrorKind::Unexpected { .. })),
            "{answers:?}: {found:?}"
        );
    }
}

/// What is sent where a channel is offered.
fn offering() -> String {
    let able = "capa eof capa psync2 capa rdb-channel-repl capa dual-channel";
    REPLCONF.replace("capa eof capa psync2", able)
}

#[test]
fn the_stream_joins_a_snapshot_that_comes_over_a_second_connection() {
    let continued = format!("+CONTINUE {ID}\r\n*1");
    let renamed = format!("+CONTINUE {NEW_ID}\r\n*1");
    let (rdb, dual) = (
        ChannelStart::Rdb(at(ID, 70)),
        ChannelStart::Dual {
            position: at(ID, 70),
            client_id: 9,
        },
    );
    let joining = format!("PSYNC {ID} 71");
    let offering = offering();
    let late = "-ERR Unrecognized RDB client id 9\r\n";
    for (name, opened, answers, sent_behind, start) in [
        (
            "Redis",
            rdb,
            &["+RDBCHANNELSYNC 6\r\n*1"][..],
            &["Rdb { main_client_id: 6 }"][..],
            at(ID, 70),
        ),
        (
            "Valkey",
            dual,
            &["\n+DUALCHANNELSYNC\r\n", "+OK\r\n", &continued],
            &["Dual", "REPLCONF set-rdb-client-id 9", &joining],
            at(ID, 70),
        ),
        (
            "Valkey, named too late and renamed",
            dual,
            &["+DUALCHANNELSYNC\r\n", late, &renamed],
            &["Dual", "REPLCONF set-rdb-client-id 9", &joining],
            at(NEW_ID, 70),
        ),
    ] {
        let answers = [&[MOSTLY_OK], answers].concat();
        for channel in [SnapshotChannel::Auto, SnapshotChannel::On] {
            for piece_bytes in 1..60 {
                let config = with_channel(channel);
                let (sent, found, rest) =
                    talk_with_channel(config, Some(opened), &answers, piece_bytes);
                let expected = [&[&*offering, "PSYNC ? -1"], sent_behind].concat();
                assert_eq!(sent, expected, "{name}");
                assert_eq!(found, Ok(Start::FullResync(start)), "{name}");
                assert_eq!(rest, b"*1", "{name}");
            }
        }
    }
}

#[test]
fn a_stream_that_cannot_be_joined_is_an_error_that_passes() {
    let opened = ChannelStart::Dual {
        position: at(ID, 70),
        client_id: 9,
    };
    let full = format!("+FULLRESYNC {ID} 99\r\n");
    for (answer, waits) in [
        (&*full, true),
        ("+DUALCHANNELSYNC\r\n", true),
        ("-LOADING Valkey is loading\r\n", true),
        ("+OK\r\n", false),
    ] {
        let answers = [MOSTLY_OK, "+DUALCHANNELSYNC\r\n", "+OK\r\n", answer];
        let config = with_channel(SnapshotChannel::Auto);
        let (_, found, _) = talk_with_channel(config, Some(opened), &answers, 7);
        let recovery = found.unwrap_err().recovery();
        assert_eq!(recovery == crate::sync::Recovery::Wait, waits, "{answer}");
    }
}

#[test]
fn a_source_without_a_channel_goes_on_over_one_connection_unless_two_are_demanded() {
    let full = format!("+FULLRESYNC {ID} 99\r\n");
    let unknown = "-ERR unknown command 'PSYNC'\r\n";
    for (answers, start) in [
        (&[MOSTLY_OK, &*full][..], Start::FullResync(at(ID, 99))),
        (&[MOSTLY_OK, unknown, "$12\r\n"], Start::Sync),
    ] {
        let (sent, found, _) = talk(with_channel(SnapshotChannel::Auto), answers, 5);
        assert_eq!((&*sent[0], found), (&*offering(), Ok(start)));
        let (_, found, _) = talk(with_channel(SnapshotChannel::On), answers, 5);
        assert_eq!(found, Err(ErrorKind::NoSnapshotChannel));
    }
}

#[test]
fn a_channel_in_place_of_a_continued_stream_is_not_opened() {
    let full = format!("+FULLRESYNC {NEW_ID} 99\r\n");
    let continued = format!("+CONTINUE {NEW_ID}\r\n");
    for (answer, start) in [
        ("+RDBCHANNELSYNC 6\r\n", Start::NotContinued),
        ("+DUALCHANNELSYNC\r\n", Start::NotContinued),
        (&*continued, Start::Continue(at(NEW_ID, 50))),
        (&*full, Start::FullResync(at(NEW_ID, 99))),
    ] {
        for channel in [SnapshotChannel::Auto, SnapshotChannel::On] {
            let config = HandshakeConfig {
                from: Some(at(ID, 50)),
                ..with_channel(channel)
            };
            let (_, found, _) = talk(config, &[MOSTLY_OK, answer], 5);
            assert_eq!(found, Ok(start), "{answer}");
        }
    }
}

const ANNOUNCED: &str = "REPLCONF listening-port 7777";
const CHANNEL: &str = "REPLCONF capa eof rdb-only 1 rdb-channel 1";
const RDB: Channel = Channel::Rdb { main_client_id: 6 };

#[test]
fn the_second_connection_leads_to_the_snapshot_at_any_cut() {
    let redis = format!("{ANNOUNCED}; REPLCONF rdb-no-compress 1; {CHANNEL} main-ch-client-id 6");
    let valkey = format!("{ANNOUNCED}; REPLCONF version 9.1.2; {CHANNEL}");
    let full = format!("\n\n+FULLRESYNC {ID} 70\r\n$EOF:");
    let end_offset = format!("\n$ENDOFF:70 {ID} -1 9\r\n$EOF:");
    let both = format!("\n$ENDOFF:70 {ID} 4 9\r\n+FULLRESYNC {ID} 70\r\n$EOF:");
    let no_compress = "+OK\r\n-ERR Unrecognized REPLCONF option\r\n+OK\r\n";
    let ok = "+OK\r\n+OK\r\n+OK\r\n";
    let denied = "-NOPERM User rep has no permissions to run the 'sync' command\r\n";
    let dual = ChannelStart::Dual {
        position: at(ID, 70),
        client_id: 9,
    };
    for (name, channel, answers, sent, start) in [
        (
            "Redis 8.0",
            RDB,
            &[no_compress, &*full][..],
            &[&*redis, "PSYNC ? -1"][..],
            ChannelStart::Rdb(at(ID, 70)),
        ),
        (
            "Valkey",
            Channel::Dual,
            &[ok, &end_offset],
            &[&valkey, "SYNC"],
            dual,
        ),
        (
            "Valkey, to a user that may not SYNC",
            Channel::Dual,
            &[ok, denied, &both],
            &[&valkey, "SYNC", "PSYNC ? -1"],
            dual,
        ),
    ] {
        for piece_bytes in 1..100 {
            let identity = config().identity;
            let (found, begun, rest) = talk_on_channel(identity, channel, answers, piece_bytes);
            assert_eq!(found, sent, "{name}");
            assert_eq!(begun, Ok(start), "{name}");
            assert_eq!(rest, b"$EOF:", "{name}");
        }
    }
}

#[test]
fn the_second_connection_logs_in_and_announces_itself() {
    let identity = Identity {
        announce_ip: Some("10.0.0.1".into()),
        ..with_password(Some("default")).identity
    };
    let full = format!("+FULLRESYNC {ID} 70\r\n");
    let answers = [
        "-ERR wrong number of arguments for 'auth' command\r\n",
        "+OK\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        &full,
    ];
    let (sent, begun, _) = talk_on_channel(identity, RDB, &answers, 3);
    assert_eq!(sent[..2], ["AUTH default s3cret", "AUTH s3cret"]);
    assert!(
        sent[2].contains("REPLCONF ip-address 10.0.0.1; "),
        "{}",
        sent[2]
    );
    assert_eq!(begun, Ok(ChannelStart::Rdb(at(ID, 70))));
}

#[test]
fn what_the_second_connection_is_refused_has_its_kind() {
    let ok = "+OK\r\n+OK\r\n+OK\r\n";
    let unknown_id = "+OK\r\n+OK\r\n-ERR Unrecognized RDB client id: 6\r\n";
    let no_perm = "-NOPERM User rep has no permissions to run the 'psync' command\r\n";
    let end_offset = format!("$ENDOFF:70 {ID} -1 9\r\n");
    let not_full = format!("{end_offset}+OK\r\n");
    let no_id = "$ENDOFF:70 ? -1 9\r\n";
    let short = format!("$ENDOFF:70 {ID} -1\r\n");
    let refused = |kind: &ErrorKind| {
        matches!(
            kind,
            ErrorKind::Refused {
                command: "replconf",
                ..
            }
        )
    };
    let forbidden = |kind: &ErrorKind| matches!(kind, ErrorKind::NoPermission { .. });
    let unexpected = |kind: &ErrorKind| matches!(kind, ErrorKind::Unexpected { .. });
    let passing = |kind: &ErrorKind| kind.recovery() == crate::sync::Recovery::Wait;
    type Check<'a> = &'a dyn Fn(&ErrorKind) -> bool;
    for (channel, answers, is_right) in [
        (RDB, &[unknown_id][..], &refused as Check<'_>),
        (RDB, &["+OK\r\n*1\r\n"], &unexpected),
        (RDB, &[ok, no_perm], &forbidden),
        (
            RDB,
            &[ok, "-ERR BGSAVE failed, replication can't continue\r\n"],
            &passing,
        ),
        (RDB, &[ok, "+RDBCHANNELSYNC 7\r\n"], &unexpected),
        (RDB, &[ok, &end_offset], &unexpected),
        (Channel::Dual, &["-LOADING Valkey is loading\r\n"], &passing),
        (
            Channel::Dual,
            &[ok, "-NOMASTERLINK Can't SYNC\r\n"],
            &passing,
        ),
        (Channel::Dual, &[ok, no_perm, no_perm], &forbidden),
        (Channel::Dual, &[ok, no_perm, &not_full], &unexpected),
        (Channel::Dual, &[ok, no_id], &unexpected),
        (Channel::Dual, &[ok, &short], &unexpected),
        (Channel::Dual, &[ok, "$5818\r\n"], &unexpected),
    ] {
        let (_, found, _) = talk_on_channel(config().identity, channel, answers, 9);
        let kind = found.unwrap_err();
        assert!(is_right(&kind), "{answers:?}: {kind:?}");
    }
}
