//! The lines of a handshake: commands of ours, replies of the source.

use bytes::{Buf, Bytes, BytesMut};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take},
    character::complete::{char, i64, u64},
    combinator::{all_consuming, map, map_opt, opt, value},
    sequence::{preceded, separated_pair, terminated},
};

use super::{Channel, ChannelStart, Identity, refusal::unexpected};
use crate::{
    resp::Command,
    sync::{ErrorKind, Position, ReplOffset, Replid},
};

/// The longest reply that is taken, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// REPLCONF commands that are sent in one go.
pub(super) struct Replconfs {
    bytes: BytesMut,
    count: usize,
}

impl Replconfs {
    /// Begins with where the source shall show us.
    pub(super) fn announcing(identity: &Identity) -> Replconfs {
        let mut commands = Replconfs {
            bytes: BytesMut::new(),
            count: 0,
        };
        let port = identity.announce_port.to_string();
        commands.ask(&["listening-port", &port]);
        if let Some(ip) = &identity.announce_ip {
            commands.ask(&["ip-address", ip]);
        }
        commands
    }

    /// Asks for these options, given as names and values in turns.
    pub(super) fn ask(&mut self, options: &[&str]) {
        let args = std::iter::once("REPLCONF").chain(options.iter().copied());
        Command::of(args.map(str::as_bytes)).encode(&mut self.bytes);
        self.count += 1;
    }

    /// What is to be sent, and how many replies come.
    pub(super) fn finish(self) -> (Bytes, usize) {
        (self.bytes.freeze(), self.count)
    }
}

/// Encodes one command.
pub(super) fn encode(command: &[&str]) -> Bytes {
    let mut bytes = BytesMut::new();
    Command::of(command.iter().map(|arg| arg.as_bytes())).encode(&mut bytes);
    bytes.freeze()
}

/// `PSYNC ? -1`, or the bytes behind a position.
pub(super) fn psync(from: Option<Position>) -> Bytes {
    match from {
        None => encode(&["PSYNC", "?", "-1"]),
        Some(from) => encode(&[
            "PSYNC",
            &from.replid.to_string(),
            &from.offset.first_wanted().to_string(),
        ]),
    }
}

/// Takes newlines off the front; returns how many.
pub(super) fn take_keepalives(received: &mut BytesMut) -> u64 {
    let newlines = received.iter().take_while(|byte| **byte == b'\n').count();
    received.advance(newlines);
    newlines as u64
}

/// Takes a line off the front, without its line end.
pub(super) fn take_line(received: &mut BytesMut) -> Result<Option<BytesMut>, ErrorKind> {
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

fn replid(input: &[u8]) -> IResult<&[u8], Replid> {
    map_opt(take(40usize), |text: &[u8]| Replid::try_from(text).ok()).parse(input)
}

/// `+FULLRESYNC <replid> <offset>`
pub(super) fn full_resync(line: &[u8]) -> Option<Position> {
    let offset = map(u64, ReplOffset::new);
    whole(
        preceded(
            tag("+FULLRESYNC "),
            map(
                separated_pair(replid, char(' '), offset),
                |(replid, offset)| Position { replid, offset },
            ),
        ),
        line,
    )
}

/// `+CONTINUE` or `+CONTINUE <replid>`: where it goes on that was asked for what follows `from`.
pub(super) fn continued(line: &[u8], from: Position) -> Option<Position> {
    let grammar = preceded(tag("+CONTINUE"), opt(preceded(char(' '), replid)));
    let replid = whole(grammar, line)?.unwrap_or(from.replid);
    Some(Position { replid, ..from })
}

/// `+RDBCHANNELSYNC <client id>` or `+DUALCHANNELSYNC`
pub(super) fn channel(line: &[u8]) -> Option<Channel> {
    let rdb = map(u64, |main_client_id| Channel::Rdb { main_client_id });
    let grammar = alt((
        preceded(tag("+RDBCHANNELSYNC "), rdb),
        value(Channel::Dual, tag("+DUALCHANNELSYNC")),
    ));
    whole(grammar, line)
}

/// `$ENDOFF:<offset> <replid> <db> <client id>`
///
/// The db is not the one that is selected where the stream begins: Valkey 8.1 says 0 where it is 4,
/// Valkey 9.1 as a replica says -1 where it is 4. `repl-stream-db` in the snapshot has the right one.
pub(super) fn end_offset(line: &[u8]) -> Option<ChannelStart> {
    let fields = (
        preceded(tag("$ENDOFF:"), terminated(u64, char(' '))),
        terminated(replid, char(' ')),
        terminated(i64, char(' ')),
        u64,
    );
    let start = map(fields, |(offset, replid, _, client_id)| {
        let offset = ReplOffset::new(offset);
        let position = Position { replid, offset };
        ChannelStart::Dual {
            position,
            client_id,
        }
    });
    whole(start, line)
}

/// What `grammar` makes of all of `line`, blanks at its end left out.
fn whole<'a, T>(
    grammar: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
    line: &'a [u8],
) -> Option<T> {
    let found = all_consuming(grammar).parse(line.trim_ascii_end());
    found.ok().map(|(_, found)| found)
}
