//! What comes over a connection, whatever it is: each reader finds the same in the whole input and
//! in pieces of it.
//!
//! The first byte of an input is the size of the pieces. Limits are small, so that small inputs
//! reach them.

use bytes::{Bytes, BytesMut};
use keyferry::{
    keyspace::Db,
    net::Secret,
    resp::{Command, CommandDecoder, Decoded, Error, Limits, Reply, ReplyDecoder},
    sync::{
        Channel, ChannelHandshake, ChannelStart, ChannelStep, ErrorKind, Framing, Handshake,
        HandshakeConfig, HandshakeStep, Identity, Position, ReplOffset, Resumable, SnapshotChannel,
        SnapshotCut, SnapshotEnd, SnapshotOptions, Start, StreamDecoder, StreamItem, Transfer,
    },
};

/// The position that a handshake asks to continue from.
const REPLID: &str = "f1201b72a276aa8b04f1f574320a89b9e3b67da5";

fn small_limits() -> Limits {
    Limits {
        bulk_bytes_max: 64,
        args_max: 8,
        total_bytes_max: 128,
        line_bytes_max: 48,
        depth_max: 3,
    }
}

/// The pieces that `size` cuts the input into, each in memory of its own.
fn cut(input: &[u8], size: u8) -> impl Iterator<Item = Bytes> {
    input
        .chunks(usize::from(size.max(1)))
        .map(Bytes::copy_from_slice)
}

/// Reads an input whole and in pieces.
fn whole_is_split<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    size: u8,
    read: impl Fn(&mut dyn Iterator<Item = Bytes>) -> T,
) -> T {
    let whole = read(&mut std::iter::once(Bytes::copy_from_slice(input)));
    let split = read(&mut cut(input, size));
    assert_eq!(whole, split, "pieces of {size}");
    whole
}

/// Commands, as a source sends them; what was read reads the same after it was written.
pub fn commands(data: &[u8]) {
    let Some((size, input)) = data.split_first() else {
        return;
    };
    let (read, _) = whole_is_split(input, *size, read_commands);
    let mut written = BytesMut::new();
    for decoded in &read {
        decoded.command.encode(&mut written);
    }
    let (again, end) = read_commands(&mut std::iter::once(written.freeze()));
    assert_eq!(end, Ok(()));
    let only_commands = |read: &[Decoded]| -> Vec<Command> {
        read.iter().map(|decoded| decoded.command.clone()).collect()
    };
    assert_eq!(only_commands(&again), only_commands(&read));
}

fn read_commands(pieces: &mut dyn Iterator<Item = Bytes>) -> (Vec<Decoded>, Result<(), Error>) {
    let mut decoder = CommandDecoder::new(small_limits());
    let mut read = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(decoded)) => read.push(decoded),
                Ok(None) => break,
                Err(error) => return (read, Err(error)),
            }
        }
    }
    (read, Ok(()))
}

/// Replies, as a target sends them.
pub fn replies(data: &[u8]) {
    let Some((size, input)) = data.split_first() else {
        return;
    };
    let (read, _) = whole_is_split(input, *size, read_replies);
    for reply in read {
        if let Reply::Error(error) = &reply {
            // What it means is asked of every error reply.
            let _ = (error.kind.retry(), error.to_string());
        }
        let _ = format!("{reply:?}");
    }
}

fn read_replies(pieces: &mut dyn Iterator<Item = Bytes>) -> (Vec<Reply>, Result<(), Error>) {
    let mut decoder = ReplyDecoder::new(small_limits());
    let mut read = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(reply)) => read.push(reply),
                Ok(None) => break,
                Err(error) => return (read, Err(error)),
            }
        }
    }
    (read, Ok(()))
}

/// The replication stream: its items, where it can be resumed behind each, and where it broke.
pub fn stream(data: &[u8]) {
    let Some((size, input)) = data.split_first() else {
        return;
    };
    let _ = whole_is_split(input, *size, read_stream);
}

type StreamRead = (
    Vec<(StreamItem, Resumable)>,
    Result<(), ErrorKind>,
    ReplOffset,
);

fn read_stream(pieces: &mut dyn Iterator<Item = Bytes>) -> StreamRead {
    let mut decoder = StreamDecoder::new(ReplOffset::new(1000), Db(3), small_limits());
    let mut read = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            let found = decoder.next();
            let (resumable, parsed) = (decoder.resumable(), decoder.parsed_offset());
            assert!(resumable.offset <= parsed && parsed <= decoder.received_offset());
            match found {
                Ok(Some(item)) => read.push((item, resumable)),
                Ok(None) => break,
                Err(kind) => return (read, Err(kind), parsed),
            }
        }
    }
    (read, Ok(()), decoder.parsed_offset())
}

/// What a source says before the snapshot or the stream; the second byte chooses what it is asked.
/// A second connection that it wants says what stands where the first one has stopped.
pub fn handshake(data: &[u8]) {
    let Some((&[size, asked], input)) = data.split_first_chunk() else {
        return;
    };
    whole_is_split(input, size, |pieces| shake(asked, pieces));
}

/// What was sent, how it ended (`None`: more is needed), the newlines skipped, and what is left.
type Shaken = (Vec<Bytes>, Option<Result<Start, ErrorKind>>, u64, Bytes);

fn shake(asked: u8, pieces: &mut dyn Iterator<Item = Bytes>) -> Shaken {
    let config = asked_for(asked);
    let mut handshake = Handshake::new(config.clone());
    let mut second: Option<ChannelHandshake> = None;
    let (mut received, mut sent) = (BytesMut::new(), Vec::new());
    let end = loop {
        let step = match &mut second {
            None => Either::of(handshake.advance(&mut received)),
            Some(second) => Either::of_second(second.advance(&mut received)),
        };
        match step {
            Either::Send(bytes) => sent.push(bytes),
            Either::NeedMore => match pieces.next() {
                Some(piece) => received.extend_from_slice(&piece),
                None => break None,
            },
            Either::Open(channel) => {
                let identity = config.identity.clone();
                second = Some(ChannelHandshake::new(identity, channel, true));
            }
            Either::Begun(start) => {
                second = None;
                handshake.channel_begun(start);
            }
            Either::Done(end) => break Some(end),
        }
    };
    match &end {
        // A connection that is of no further use has no rest.
        Some(Err(_)) => received.clear(),
        _ => received.extend(pieces.flatten()),
    }
    (sent, end, handshake.keepalives(), received.freeze())
}

fn asked_for(asked: u8) -> HandshakeConfig {
    let has = |bit: u8| asked & (1 << bit) != 0;
    HandshakeConfig {
        identity: Identity {
            user: has(1).then(|| if has(2) { "default" } else { "mover" }.to_owned()),
            password: has(0).then(|| Secret::new("s3cret")),
            announce_ip: has(3).then(|| "10.0.0.7".to_owned()),
            announce_port: 0,
        },
        from: has(4).then(|| Position {
            replid: REPLID.parse().expect("a replid"),
            offset: ReplOffset::new(41),
        }),
        snapshot: SnapshotOptions {
            rdb_no_compress: !has(5),
            rdb_only: has(6),
            channel: match (has(7), has(2)) {
                (false, _) => SnapshotChannel::Off,
                (true, false) => SnapshotChannel::Auto,
                (true, true) => SnapshotChannel::On,
            },
        },
    }
}

/// What the handshake on one of the two connections wants next.
enum Either {
    Send(Bytes),
    NeedMore,
    Open(Channel),
    Begun(ChannelStart),
    Done(Result<Start, ErrorKind>),
}

impl Either {
    fn of(step: Result<HandshakeStep, ErrorKind>) -> Either {
        match step {
            Ok(HandshakeStep::Send(bytes)) => Either::Send(bytes),
            Ok(HandshakeStep::NeedMore) => Either::NeedMore,
            Ok(HandshakeStep::OpenChannel(channel)) => Either::Open(channel),
            Ok(HandshakeStep::Done(start)) => Either::Done(Ok(start)),
            Err(kind) => Either::Done(Err(kind)),
        }
    }

    fn of_second(step: Result<ChannelStep, ErrorKind>) -> Either {
        match step {
            Ok(ChannelStep::Send(bytes)) => Either::Send(bytes),
            Ok(ChannelStep::NeedMore) => Either::NeedMore,
            Ok(ChannelStep::Done(start)) => Either::Begun(start),
            Err(kind) => Either::Done(Err(kind)),
        }
    }
}

/// The framing of a snapshot and what stands behind it; the second byte chooses whether the
/// snapshot has the length that was announced.
pub fn transfer(data: &[u8]) {
    let Some((&[size, other_length], input)) = data.split_first_chunk() else {
        return;
    };
    let _ = whole_is_split(input, size, |pieces| receive(other_length % 2 == 1, pieces));
}

/// What was found before and behind a snapshot of no bytes on the wire.
#[derive(Debug, Default, PartialEq)]
struct Received {
    framing: Option<Framing>,
    keepalives: usize,
    used: usize,
    /// How many bytes behind the framing are the snapshot and its mark.
    snapshot_bytes: Option<usize>,
    ended: bool,
    stream: BytesMut,
}

fn receive(
    other_length: bool,
    pieces: &mut dyn Iterator<Item = Bytes>,
) -> Result<Received, ErrorKind> {
    let mut received = Received::default();
    let mut transfer = Transfer::new();
    let (framing, rest) = loop {
        let Some(mut piece) = pieces.next() else {
            return Ok(received);
        };
        let step = transfer.feed(&piece)?;
        received.keepalives += step.keepalives;
        received.used += step.used;
        if let Some(framing) = step.framing {
            break (framing, piece.split_off(step.used));
        }
        assert_eq!(step.used, piece.len());
    };
    received.framing = Some(framing);
    let rdb_bytes = match framing {
        Framing::Length(length) => length ^ u64::from(other_length),
        Framing::Mark(_) => 7,
    };
    let behind: Vec<_> = std::iter::once(rest).chain(pieces).collect();
    received.snapshot_bytes = snapshot_end(framing, &behind);
    let mut end = SnapshotEnd::new(framing, rdb_bytes)?;
    for mut piece in behind {
        received.ended = end.feed(&mut piece)?;
        received.stream.extend_from_slice(&piece);
    }
    Ok(received)
}

/// Where a snapshot ends that begins with these pieces, which is where one sees it in the whole.
fn snapshot_end(framing: Framing, pieces: &[Bytes]) -> Option<usize> {
    let mut cut = SnapshotCut::new(framing);
    let mut before = 0;
    let found = pieces.iter().find_map(|piece| {
        let end = cut.feed(piece).map(|within| before + within);
        before += piece.len();
        end
    });
    let whole = pieces.concat();
    let seen = match framing {
        Framing::Length(length) => usize::try_from(length)
            .ok()
            .filter(|end| *end <= whole.len()),
        Framing::Mark(mark) => {
            let at = whole.windows(mark.len()).position(|window| window == mark);
            at.map(|at| at + mark.len())
        }
    };
    assert_eq!(found, seen);
    found
}
