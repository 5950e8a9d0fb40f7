//! The replication stream to commands.
//!
//! ```text
//! *2\r\n $3\r\n GET\r\n $1\r\n a\r\n
//! |      |      `- argument, a slice of the received chunk unless a cut divides it
//! |      `- its length in bytes
//! `- number of arguments, the name included
//! ```
//!
//! A slice keeps its whole chunk in memory, so what holds a command holds on to the chunk it came
//! in; whoever keeps a few commands for long copies them.

use bytes::Bytes;

use super::{
    Command, Error, ErrorKind, Limits,
    input::{Input, number},
};

/// The longest `*<count>` or `$<length>` line in bytes; a `u64` has 20 digits.
const HEADER_BYTES_MAX: usize = 32;

/// Arguments that room is made for before any has arrived.
const ARGS_RESERVED_MAX: usize = 64;

/// A command and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The command.
    pub command: Command,
    /// Bytes from the decoder's first to the end of this command.
    pub end: u64,
}

/// Decodes commands from bytes that arrive in pieces.
///
/// Only arrays of bulk strings are taken, as masters send them; inline commands are refused.
/// A bare LF between two commands is skipped and counts as consumed, as in a replica of the
/// servers' own (masters send them only before a snapshot).
///
/// ```
/// use keyferry::resp::{CommandDecoder, Limits};
///
/// let mut decoder = CommandDecoder::new(Limits::default());
/// decoder.feed("*1\r\n$4\r\nPI".into());
/// assert_eq!(decoder.next()?, None);
/// decoder.feed("NG\r\n".into());
/// let ping = decoder.next()?.expect("the command is complete");
/// assert!(ping.command.is("ping"));
/// assert_eq!(ping.end, 14);
/// # Ok::<(), keyferry::resp::Error>(())
/// ```
#[derive(Debug)]
pub struct CommandDecoder {
    input: Input,
    limits: Limits,
    args: Vec<Bytes>,
    args_missing: usize,
    bulk_length: Option<usize>,
    bytes: usize,
}

impl CommandDecoder {
    /// A decoder that has seen nothing yet.
    pub fn new(limits: Limits) -> CommandDecoder {
        CommandDecoder {
            input: Input::default(),
            limits,
            args: Vec::new(),
            args_missing: 0,
            bulk_length: None,
            bytes: 0,
        }
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// Takes the next whole command; `None` when more bytes are needed.
    ///
    /// # Errors
    /// What is not a command, or larger than the limits, with its offset; the decoder is of no
    /// further use then.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends at its first None"
    )]
    pub fn next(&mut self) -> Result<Option<Decoded>, Error> {
        if self.args_missing == 0 && !self.begin()? {
            return Ok(None);
        }
        while self.args_missing > 0 {
            let Some(length) = self.length()? else {
                return Ok(None);
            };
            let Some(arg) = self.input.bulk(length)? else {
                return Ok(None);
            };
            self.bulk_length = None;
            self.args.push(arg);
            self.args_missing -= 1;
        }
        Ok(Some(Decoded {
            command: Command::new(std::mem::take(&mut self.args)),
            end: self.input.offset(),
        }))
    }

    /// Reads `*<count>`; says whether it was there.
    fn begin(&mut self) -> Result<bool, Error> {
        let max = self.limits.args_max;
        self.input.skip_newlines();
        let count = self.header(b'*', |count| match usize::try_from(count) {
            Ok(0) => Err(ErrorKind::EmptyCommand),
            Ok(count) if count <= max => Ok(count),
            _ => Err(ErrorKind::TooMany { count, max }),
        })?;
        let Some(count) = count else { return Ok(false) };
        self.args = Vec::with_capacity(count.min(ARGS_RESERVED_MAX));
        self.args_missing = count;
        self.bytes = 0;
        Ok(true)
    }

    /// Reads `$<length>` unless it was read already.
    fn length(&mut self) -> Result<Option<usize>, Error> {
        if self.bulk_length.is_none() {
            let (limits, before) = (self.limits, self.bytes);
            let length = self.header(b'$', |length| bulk_length(length, before, &limits))?;
            self.bytes += length.unwrap_or(0);
            self.bulk_length = length;
        }
        Ok(self.bulk_length)
    }

    /// Reads a line of `sign` and a number that `check` takes; `None` when it has not arrived whole.
    fn header(
        &mut self,
        sign: u8,
        check: impl Fn(u64) -> Result<usize, ErrorKind>,
    ) -> Result<Option<usize>, Error> {
        if let Some(head) = self.input.head()
            && head.sign == sign
            && let Ok(checked) = check(head.number)
        {
            self.input.take_head(head);
            return Ok(Some(checked));
        }
        self.input
            .line(HEADER_BYTES_MAX, |line| check(number(header(line, sign)?)?))
    }
}

/// What follows the byte that a header line must begin with.
fn header(line: &[u8], expected: u8) -> Result<&[u8], ErrorKind> {
    match line.split_first() {
        Some((found, rest)) if *found == expected => Ok(rest),
        Some((found, _)) => Err(ErrorKind::Unexpected {
            expected,
            found: *found,
        }),
        None => Err(ErrorKind::EmptyLine),
    }
}

/// Checks the length of a bulk string that comes after `before` bytes of the same command or reply.
pub(super) fn bulk_length(length: u64, before: usize, limits: &Limits) -> Result<usize, ErrorKind> {
    let max = limits.bulk_bytes_max;
    match usize::try_from(length) {
        Ok(length) if length <= max => {
            if length > limits.total_bytes_max.saturating_sub(before) {
                return Err(ErrorKind::TooLong {
                    max: limits.total_bytes_max,
                });
            }
            Ok(length)
        }
        _ => Err(ErrorKind::BulkTooLong { length, max }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    fn small_limits() -> Limits {
        Limits {
            bulk_bytes_max: 1000,
            args_max: 100,
            total_bytes_max: 1500,
            ..Limits::default()
        }
    }

    /// All commands of `input` cut into `pieces`, and the error behind them.
    fn decode(pieces: &[&[u8]], limits: Limits) -> (Vec<Decoded>, Option<Error>) {
        let mut decoder = CommandDecoder::new(limits);
        let mut commands = Vec::new();
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece));
            loop {
                match decoder.next() {
                    Ok(Some(decoded)) => commands.push(decoded),
                    Ok(None) => break,
                    Err(error) => return (commands, Some(error)),
                }
            }
        }
        (commands, None)
    }

    fn assert_same_at_every_cut(input: &[u8]) -> (Vec<Decoded>, Option<Error>) {
        let whole = decode(&[input], small_limits());
        for at in 0..=input.len() {
            let (left, right) = input.split_at(at);
            assert_eq!(decode(&[left, right], small_limits()), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes, small_limits()), whole, "byte by byte");
        whole
    }

    #[test]
    fn reads_commands_and_where_they_end() {
        let input = b"*1\r\n$4\r\nPING\r\n\n\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\r\n\x00*\r\n";
        let (commands, error) = assert_same_at_every_cut(input);
        assert_eq!(error, None);
        let expected = [
            (Command::of([&b"PING"[..]]), 14),
            (
                Command::of([&b"SET"[..], b"", b"\r\n\x00*"]),
                input.len() as u64,
            ),
        ];
        assert_eq!(commands.len(), expected.len());
        for (decoded, (command, end)) in commands.into_iter().zip(expected) {
            assert_eq!((decoded.command, decoded.end), (command, end));
        }
    }

    #[test]
    fn refuses_what_is_not_a_command_and_says_where() {
        use ErrorKind::*;
        let ping = "*1\r\n$4\r\nPING\r\n";
        let expected_array = |found| Unexpected {
            expected: b'*',
            found,
        };
        for (name, input, kind, offset) in [
            ("inline", "PING\r\n", expected_array(b'P'), 0),
            ("reply", "+OK\r\n", expected_array(b'+'), 0),
            ("blank line", "\r\n", EmptyLine, 0),
            ("LF only", "*1\n$4\r\nPING\r\n", NoTerminator, 0),
            ("no digits", "*\r\n", BadNumber, 0),
            ("null array", "*-1\r\n", BadNumber, 0),
            ("plus", "*+1\r\n", BadNumber, 0),
            ("overflow", "*18446744073709551616\r\n", BadNumber, 0),
            ("empty", "*0\r\n", EmptyCommand, 0),
            (
                "too many",
                "*101\r\n",
                TooMany {
                    count: 101,
                    max: 100,
                },
                0,
            ),
            (
                "not a bulk",
                "*1\r\n:1\r\n",
                Unexpected {
                    expected: b'$',
                    found: b':',
                },
                4,
            ),
            ("null bulk", "*1\r\n$-1\r\n", BadNumber, 4),
            (
                "huge bulk",
                "*1\r\n$18446744073709551615\r\n",
                BulkTooLong {
                    length: u64::MAX,
                    max: 1000,
                },
                4,
            ),
            ("length too short", "*1\r\n$3\r\nPING\r\n", NoTerminator, 8),
            (
                "length too long",
                "*1\r\n$5\r\nPING\r\n*1\r\n",
                NoTerminator,
                8,
            ),
            (
                "endless header",
                "*00000000000000000000000000000000000001",
                LineTooLong { max: 32 },
                0,
            ),
        ] {
            let (_, error) = assert_same_at_every_cut(input.as_bytes());
            assert_eq!(error, Some(Error { kind, offset }), "{name}");
            // The same behind a good command, a newline between them.
            let (commands, error) = assert_same_at_every_cut(format!("{ping}\n{input}").as_bytes());
            assert_eq!(commands.len(), 1, "{name}");
            let offset = offset + 15;
            assert_eq!(error, Some(Error { kind, offset }), "{name}, second");
        }
    }

    #[test]
    fn refuses_a_command_that_is_too_long_in_all() {
        let mut input = BytesMut::new();
        Command::of([&[b'a'; 1000][..], &[b'b'; 501]]).encode(&mut input);
        let (commands, error) = decode(&[&input], small_limits());
        assert!(commands.is_empty());
        let offset = 4 + 7 + 1002;
        let kind = ErrorKind::TooLong { max: 1500 };
        assert_eq!(error, Some(Error { kind, offset }));
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut decoder = CommandDecoder::new(Limits::default());
        decoder.feed("*16777216\r\n$536870912\r\nabc".into());
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.args.capacity() <= ARGS_RESERVED_MAX);
        assert!(decoder.input.partial_capacity() < 1024);
    }

    #[test]
    fn arguments_within_a_chunk_are_not_copied() {
        let chunk = Bytes::from_static(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
        let mut decoder = CommandDecoder::new(Limits::default());
        decoder.feed(chunk.clone());
        let decoded = decoder.next().unwrap().unwrap();
        let within = chunk.as_ptr_range();
        for arg in decoded.command.args() {
            assert!(within.contains(&arg.as_ptr()));
        }
    }

    #[test]
    fn a_large_argument_in_small_pieces_costs_its_size_once() {
        let length = 64 << 20;
        let mut decoder = CommandDecoder::new(Limits::default());
        decoder.feed(format!("*2\r\n$3\r\nGET\r\n${length}\r\n").into());
        let piece = Bytes::from(vec![b'x'; 16 << 10]);
        for _ in 0..length / piece.len() {
            assert_eq!(decoder.next(), Ok(None));
            decoder.feed(piece.clone());
        }
        assert!(decoder.input.partial_capacity() <= length + 2);
        decoder.feed("\r\n".into());
        let decoded = decoder.next().unwrap().unwrap();
        assert_eq!(decoded.command.arg(1).len(), length);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_at_any_cut(
            commands in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let commands: Vec<Command> = commands
                .iter()
                .map(|args| Command::of(args.iter().map(Vec::as_slice)))
                .collect();
            let mut input = BytesMut::new();
            let mut ends = Vec::new();
            for command in &commands {
                command.encode(&mut input);
                ends.push(input.len() as u64);
            }
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            at.sort_unstable();
            let mut pieces = Vec::new();
            let mut rest = &input[..];
            for (done, cut) in std::iter::once(&0).chain(&at).zip(&at) {
                let (piece, behind) = rest.split_at(cut - done);
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            let (decoded, error) = decode(&pieces, Limits::default());
            prop_assert_eq!(error, None);
            let decoded_ends: Vec<u64> = decoded.iter().map(|decoded| decoded.end).collect();
            let decoded: Vec<Command> = decoded.into_iter().map(|decoded| decoded.command).collect();
            prop_assert_eq!(decoded, commands);
            prop_assert_eq!(decoded_ends, ends);
        }

        #[test]
        fn any_bytes_give_the_same_at_any_cut(
            input in prop::collection::vec(
                prop::sample::select(b"*$12\r\n\nPa".to_vec()), 0..60),
        ) {
            assert_same_at_every_cut(&input);
        }
    }
}
