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
//! Source: replication.c `syncWithMaster` and `replconfCommand`; measured on Redis 2.8 to 8.6 and
//! Valkey 7.2 to 9.1.

use bytes::{Buf, Bytes, BytesMut};
use nom::{
    IResult, Parser,
    bytes::complete::{tag, take},
    character::complete::{char, u64},
    combinator::{all_consuming, map, map_opt, opt},
    sequence::{preceded, separated_pair},
};

use super::{ErrorKind, Position, ReplOffset, Replid};
use crate::{
    keyspace::Escaped,
    net::Secret,
    resp::{Command, ReplyError, ReplyErrorKind},
};

/// The newest server whose snapshots our parser was tested with, as `REPLCONF version`.
const VERSION_ANNOUNCED: &str = "9.1.2";

/// The longest reply that is taken, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Who we are, and where we want to go on.
#[derive(Debug, Clone)]
pub struct HandshakeConfig {
    /// The ACL user; `None` is the default user.
    pub user: Option<String>,
    /// The password; `None` sends no AUTH.
    pub password: Option<Secret>,
    /// The address the source shall show for us; `None` leaves it to what it sees.
    pub announce_ip: Option<String>,
    /// The port the source shall show for us.
    pub announce_port: u16,
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
    /// meanwhile. Not for a link that goes on with the stream.
    pub rdb_only: bool,
}

/// How the link begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A snapshot follows that is as of this position, then the stream behind it.
    FullResync(Position),
    /// The stream follows from behind this position; its replid may be a new one, which is the one
    /// to use from here on. The database that was selected there still is: it is not repeated.
    Continue(Position),
    /// A snapshot follows, then the stream; nothing of it can ever be continued. Offsets are counted
    /// from 0 by ourselves.
    Sync,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Send this (it may contain the password), then go on.
    Send(Bytes),
    /// Receive more, then go on.
    NeedMore,
    /// The handshake is over; what is left of the received bytes belongs to what follows.
    Done(Start),
}

/// The handshake as a state machine.
pub struct Handshake {
    config: HandshakeConfig,
    state: State,
    keepalives: u64,
    password_unused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Auth,
    Replconf { replies_missing: usize },
    Psync,
    Sync,
}

impl Handshake {
    /// A handshake on a connection over which nothing was said yet.
    pub fn new(config: HandshakeConfig) -> Handshake {
        Handshake {
            config,
            state: State::Begin,
            keepalives: 0,
            password_unused: false,
        }
    }

    /// How many newlines the source sent while it could not begin.
    pub fn keepalives(&self) -> u64 {
        self.keepalives
    }

    /// Whether the source said that it needs no password.
    pub fn password_unused(&self) -> bool {
        self.password_unused
    }

    /// Goes on with what was received and not used yet; takes what it uses off the front.
    ///
    /// # Errors
    /// What the source refused, or `Unexpected`. The connection is of no further use then.
    pub fn advance(&mut self, received: &mut BytesMut) -> Result<HandshakeStep, ErrorKind> {
        loop {
            if self.state == State::Begin {
                return Ok(HandshakeStep::Send(self.begin()));
            }
            if matches!(self.state, State::Psync | State::Sync) {
                self.skip_keepalives(received);
            }
            if self.state == State::Sync && received.first() == Some(&b'$') {
                return Ok(HandshakeStep::Done(Start::Sync));
            }
            let Some(line) = take_line(received)? else {
                return Ok(HandshakeStep::NeedMore);
            };
            if let Some(step) = self.reply(&line)? {
                return Ok(step);
            }
        }
    }

    fn begin(&mut self) -> Bytes {
        let Some(password) = &self.config.password else {
            return self.replconf();
        };
        self.state = State::Auth;
        match &self.config.user {
            Some(user) => encode(&[&["AUTH", user, password.reveal()]]),
            None => encode(&[&["AUTH", password.reveal()]]),
        }
    }

    fn replconf(&mut self) -> Bytes {
        let port = self.config.announce_port.to_string();
        let mut commands: Vec<&[&str]> = Vec::new();
        let listening_port = ["REPLCONF", "listening-port", &port];
        commands.push(&listening_port);
        let ip_address;
        if let Some(ip) = &self.config.announce_ip {
            ip_address = ["REPLCONF", "ip-address", ip];
            commands.push(&ip_address);
        }
        commands.push(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
        commands.push(&["REPLCONF", "version", VERSION_ANNOUNCED]);
        let SnapshotOptions {
            rdb_no_compress,
            rdb_only,
        } = self.config.snapshot;
        if rdb_no_compress {
            commands.push(&["REPLCONF", "rdb-no-compress", "1"]);
        }
        if rdb_only {
            commands.push(&["REPLCONF", "rdb-only", "1"]);
        }
        self.state = State::Replconf {
            replies_missing: commands.len(),
        };
        encode(&commands)
    }

    fn psync(&mut self) -> Bytes {
        self.state = State::Psync;
        match self.config.from {
            None => encode(&[&["PSYNC", "?", "-1"]]),
            Some(from) => encode(&[&[
                "PSYNC",
                &from.replid.to_string(),
                &from.offset.first_wanted().to_string(),
            ]]),
        }
    }

    fn skip_keepalives(&mut self, received: &mut BytesMut) {
        while received.first() == Some(&b'\n') {
            received.advance(1);
            self.keepalives += 1;
        }
    }

    /// Takes one reply; `None` when the next one has to be seen first.
    fn reply(&mut self, line: &[u8]) -> Result<Option<HandshakeStep>, ErrorKind> {
        match self.state {
            State::Begin => Ok(None),
            State::Auth => self.auth_reply(line).map(Some),
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
        }
    }

    fn auth_reply(&mut self, line: &[u8]) -> Result<HandshakeStep, ErrorKind> {
        if line.starts_with(b"+") {
            return Ok(HandshakeStep::Send(self.replconf()));
        }
        let Some(text) = line.strip_prefix(b"-") else {
            return Err(unexpected("AUTH", b"something that is not shown"));
        };
        let text = ReplyError::parse(text);
        if text.text.contains("no password is set")
            || text.text.contains("without any password configured")
        {
            self.password_unused = true;
            return Ok(HandshakeStep::Send(self.replconf()));
        }
        if !text.text.contains("wrong number of arguments") {
            return Err(auth_refusal(&text));
        }
        // Before 6.0 there are no users; the default user of later servers is the only one.
        match self.config.user.take() {
            Some(user) if user == "default" => Ok(HandshakeStep::Send(self.begin())),
            Some(_) => Err(ErrorKind::NoUsers),
            None => Err(auth_refusal(&text)),
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
        let line = line.trim_ascii_end();
        if let Ok((_, position)) = full_resync(line) {
            return Ok(HandshakeStep::Done(Start::FullResync(position)));
        }
        match (continue_with(line), self.config.from) {
            (Ok((_, replid)), Some(from)) => {
                let replid = replid.unwrap_or(from.replid);
                let position = Position { replid, ..from };
                Ok(HandshakeStep::Done(Start::Continue(position)))
            }
            _ => Err(unexpected("PSYNC", line)),
        }
    }
}

/// Encodes commands behind one another.
fn encode(commands: &[&[&str]]) -> Bytes {
    let mut bytes = BytesMut::new();
    for command in commands {
        Command::of(command.iter().map(|arg| arg.as_bytes())).encode(&mut bytes);
    }
    bytes.freeze()
}

/// Takes a line off the front, without its line end.
fn take_line(received: &mut BytesMut) -> Result<Option<BytesMut>, ErrorKind> {
    let newline_at = received.iter().position(|byte| *byte == b'\n');
    if newline_at.unwrap_or(received.len()) > LINE_BYTES_MAX {
        // The same in whatever pieces the line comes.
        received.truncate(LINE_BYTES_MAX);
        return Err(unexpected("the handshake", received));
    }
    let Some(newline_at) = newline_at else {
        return Ok(None);
    };
    let mut line = received.split_to(newline_at + 1);
    line.truncate(newline_at);
    if line.ends_with(b"\r") {
        line.truncate(newline_at - 1);
    }
    Ok(Some(line))
}

/// An answer that the protocol does not have.
pub(super) fn unexpected(awaited: &'static str, found: &[u8]) -> ErrorKind {
    ErrorKind::Unexpected {
        awaited,
        found: Escaped(found).to_string(),
    }
}

/// What it means that the source refused `command` (in lower case).
pub(super) fn refusal(command: &'static str, text: &[u8]) -> ErrorKind {
    let error = ReplyError::parse(text);
    let reply = error.to_string();
    match error.kind {
        ReplyErrorKind::NoAuth => ErrorKind::NoAuth,
        ReplyErrorKind::WrongPass => ErrorKind::WrongPassword { reply },
        ReplyErrorKind::NoPerm => ErrorKind::NoPermission { command, reply },
        ReplyErrorKind::Loading => ErrorKind::Loading,
        ReplyErrorKind::NoMasterLink | ReplyErrorKind::MasterDown => {
            ErrorKind::NoMasterLink { reply }
        }
        ReplyErrorKind::Busy => ErrorKind::Busy,
        ReplyErrorKind::MaxClients => ErrorKind::MaxClients,
        ReplyErrorKind::Denied => ErrorKind::ProtectedMode,
        ReplyErrorKind::UnknownCommand => ErrorKind::NoReplication { reply },
        ReplyErrorKind::Other if reply.contains("BGSAVE failed") => {
            ErrorKind::SnapshotRefused { reply }
        }
        ReplyErrorKind::Moved { .. }
        | ReplyErrorKind::Ask { .. }
        | ReplyErrorKind::TryAgain
        | ReplyErrorKind::CrossSlot
        | ReplyErrorKind::ClusterDown
        | ReplyErrorKind::ReadOnly
        | ReplyErrorKind::Oom
        | ReplyErrorKind::Misconf
        | ReplyErrorKind::NoReplicas
        | ReplyErrorKind::NoProto
        | ReplyErrorKind::BusyKey
        | ReplyErrorKind::BusyGroup
        | ReplyErrorKind::ExecAbort
        | ReplyErrorKind::NoScript
        | ReplyErrorKind::WrongType
        | ReplyErrorKind::BadPayload
        | ReplyErrorKind::Other => ErrorKind::Refused { command, reply },
    }
}

/// What it means that AUTH was refused. Servers that do not know a command repeat its arguments, so
/// a text we do not know is left out: it may have the password in it.
fn auth_refusal(error: &ReplyError) -> ErrorKind {
    match refusal("auth", error.text.as_bytes()) {
        ErrorKind::NoReplication { .. } | ErrorKind::Refused { .. } => ErrorKind::Refused {
            command: "auth",
            reply: "an error whose text may contain the password".into(),
        },
        kind => kind,
    }
}

/// Lets through what does not keep PSYNC from working.
fn check_replconf_reply(line: &[u8]) -> Result<(), ErrorKind> {
    if line.starts_with(b"+") {
        return Ok(());
    }
    let Some(text) = line.strip_prefix(b"-") else {
        return Err(unexpected("REPLCONF", line));
    };
    match refusal("replconf", text) {
        ErrorKind::Refused { .. } | ErrorKind::NoReplication { .. } => Ok(()),
        kind => Err(kind),
    }
}

fn replid(input: &[u8]) -> IResult<&[u8], Replid> {
    map_opt(take(40usize), |text: &[u8]| Replid::try_from(text).ok()).parse(input)
}

/// `+FULLRESYNC <replid> <offset>`
fn full_resync(line: &[u8]) -> IResult<&[u8], Position> {
    let offset = map(u64, ReplOffset::new);
    all_consuming(preceded(
        tag("+FULLRESYNC "),
        map(
            separated_pair(replid, char(' '), offset),
            |(replid, offset)| Position { replid, offset },
        ),
    ))
    .parse(line)
}

/// `+CONTINUE` or `+CONTINUE <replid>`
fn continue_with(line: &[u8]) -> IResult<&[u8], Option<Replid>> {
    all_consuming(preceded(tag("+CONTINUE"), opt(preceded(char(' '), replid)))).parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "f1201b72a276aa8b04f1f574320a89b9e3b67da5";
    const NEW_ID: &str = "457276351930f04acd8ec46838cac1c56837e390";

    fn config() -> HandshakeConfig {
        HandshakeConfig {
            user: None,
            password: None,
            announce_ip: None,
            announce_port: 7777,
            from: None,
            snapshot: SnapshotOptions {
                rdb_no_compress: true,
                rdb_only: false,
            },
        }
    }

    fn with_password(user: Option<&str>) -> HandshakeConfig {
        HandshakeConfig {
            user: user.map(str::to_owned),
            password: Some(Secret::new("s3cret")),
            ..config()
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
        let mut handshake = Handshake::new(config);
        let mut received = BytesMut::new();
        let mut sent = Vec::new();
        let mut incoming = std::collections::VecDeque::new();
        let mut answers = answers.iter();
        loop {
            match handshake.advance(&mut received) {
                Ok(HandshakeStep::Send(bytes)) => {
                    assert!(incoming.is_empty(), "sent while a reply was pending");
                    sent.push(words(&bytes));
                    let answer = answers.next().copied().unwrap_or_default();
                    incoming = answer.as_bytes().chunks(piece_bytes).collect();
                }
                Ok(HandshakeStep::NeedMore) => match incoming.pop_front() {
                    Some(piece) => received.extend_from_slice(piece),
                    None => panic!("{sent:?} is not answered"),
                },
                Ok(HandshakeStep::Done(start)) => {
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
                let mut end =
                    crate::sync::SnapshotEnd::new(framing, received.len() as u64).unwrap();
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
            announce_ip: Some("10.0.0.1".into()),
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
}
