//! The target's replies.

use std::fmt;

use bytes::Bytes;

use super::{
    Error, ErrorKind, Limits, ReplyError,
    decode::bulk_length,
    input::{Input, number, signed_number},
};
use crate::keyspace::Escaped;

/// Elements that room is made for before any has arrived.
const ELEMENTS_RESERVED_MAX: usize = 64;

/// A reply.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status such as `OK` or `QUEUED`.
    Simple(Bytes),
    /// A refusal.
    Error(ReplyError),
    /// An integer.
    Int(i64),
    /// A string, or null.
    Bulk(Option<Bytes>),
    /// An array, or null (what EXEC answers when a watched key was changed).
    Array(Option<Vec<Reply>>),
}

impl Reply {
    /// Whether it is the status `OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == "OK")
    }

    /// Whether it is the status `QUEUED`, what a command inside MULTI is answered.
    pub fn is_queued(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == "QUEUED")
    }
}

/// Shows what kind of reply it is; of strings only the length, for values do not belong in logs.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "+{}", Escaped(text)),
            Reply::Error(error) => write!(f, "-{error}"),
            Reply::Int(value) => write!(f, ":{value}"),
            Reply::Bulk(None) => f.write_str("$null"),
            Reply::Bulk(Some(bytes)) => write!(f, "${} bytes", bytes.len()),
            Reply::Array(None) => f.write_str("*null"),
            Reply::Array(Some(elements)) => f.debug_list().entries(elements).finish(),
        }
    }
}

/// Decodes replies from bytes that arrive in pieces.
///
/// `+OK`, `+QUEUED` and integers are read without allocating, the first two also without looking
/// for the end of their line. Nested arrays are read with a stack of our own, as deep as
/// [`Limits::depth_max`].
///
/// ```
/// use keyferry::resp::{Limits, Reply, ReplyDecoder};
///
/// let mut decoder = ReplyDecoder::new(Limits::default());
/// decoder.feed("+OK\r\n:7\r\n$3\r\nab".into());
/// assert!(decoder.next()?.is_some_and(|reply| reply.is_ok()));
/// assert_eq!(decoder.next()?, Some(Reply::Int(7)));
/// assert_eq!(decoder.next()?, None);
/// # Ok::<(), keyferry::resp::Error>(())
/// ```
#[derive(Debug)]
pub struct ReplyDecoder {
    input: Input,
    limits: Limits,
    open: Vec<OpenArray>,
    bulk_length: Option<usize>,
    bytes: usize,
}

/// An array whose elements have not all arrived.
#[derive(Debug)]
struct OpenArray {
    elements: Vec<Reply>,
    missing: usize,
}

/// What a line begins.
enum Begun {
    Whole(Reply),
    Bulk(usize),
    Array(usize),
}

impl ReplyDecoder {
    /// A decoder that has seen nothing yet.
    pub fn new(limits: Limits) -> ReplyDecoder {
        ReplyDecoder {
            input: Input::default(),
            limits,
            open: Vec::new(),
            bulk_length: None,
            bytes: 0,
        }
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// Takes the next whole reply; `None` when more bytes are needed.
    ///
    /// # Errors
    /// What is not a reply, or larger than the limits, with its offset; the decoder is of no
    /// further use then.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends at its first None"
    )]
    pub fn next(&mut self) -> Result<Option<Reply>, Error> {
        loop {
            let Some(reply) = self.element()? else {
                return Ok(None);
            };
            if let Some(reply) = self.close(reply) {
                self.bytes = 0;
                return Ok(Some(reply));
            }
        }
    }

    /// Takes the next reply that is not the beginning of an array.
    fn element(&mut self) -> Result<Option<Reply>, Error> {
        loop {
            if let Some(length) = self.bulk_length {
                let bulk = self.input.bulk(length)?;
                if bulk.is_some() {
                    self.bulk_length = None;
                }
                return Ok(bulk.map(|bulk| Reply::Bulk(Some(bulk))));
            }
            if self.input.take_literal(b"+OK\r\n") {
                return Ok(Some(Reply::Simple(Bytes::from_static(b"OK"))));
            }
            if self.input.take_literal(b"+QUEUED\r\n") {
                return Ok(Some(Reply::Simple(Bytes::from_static(b"QUEUED"))));
            }
            let (limits, depth, before) = (self.limits, self.open.len(), self.bytes);
            if let Some(head) = self.input.head() {
                if head.sign == b':' {
                    self.input.take_head(head);
                    return Ok(Some(Reply::Int(head.number.cast_signed())));
                }
                if head.sign == b'$'
                    && let Ok(length) = bulk_length(head.number, before, &limits)
                {
                    self.input.take_head(head);
                    self.bytes += length;
                    self.bulk_length = Some(length);
                    continue;
                }
            }
            let begun = self.input.line(limits.line_bytes_max, |line| {
                begin(line, depth, before, &limits)
            })?;
            match begun {
                None => return Ok(None),
                Some(Begun::Whole(reply)) => return Ok(Some(reply)),
                Some(Begun::Bulk(length)) => {
                    self.bytes += length;
                    self.bulk_length = Some(length);
                }
                Some(Begun::Array(missing)) => self.open.push(OpenArray {
                    elements: Vec::with_capacity(missing.min(ELEMENTS_RESERVED_MAX)),
                    missing,
                }),
            }
        }
    }

    /// Puts a reply into the array it belongs to; `Some` when the outermost is complete.
    fn close(&mut self, mut reply: Reply) -> Option<Reply> {
        while let Some(array) = self.open.last_mut() {
            array.elements.push(reply);
            array.missing -= 1;
            if array.missing > 0 {
                return None;
            }
            reply = Reply::Array(self.open.pop().map(|array| array.elements));
        }
        Some(reply)
    }
}

/// Reads the line a reply begins with.
fn begin(line: &[u8], depth: usize, before: usize, limits: &Limits) -> Result<Begun, ErrorKind> {
    let Some((kind, rest)) = line.split_first() else {
        return Err(ErrorKind::EmptyLine);
    };
    let whole = match (kind, rest) {
        (b'+', b"OK") => Reply::Simple(Bytes::from_static(b"OK")),
        (b'+', b"QUEUED") => Reply::Simple(Bytes::from_static(b"QUEUED")),
        (b'+', text) => Reply::Simple(Bytes::copy_from_slice(text)),
        (b'-', text) => Reply::Error(ReplyError::parse(text)),
        (b':', digits) => Reply::Int(signed_number(digits)?),
        (b'$', b"-1") => Reply::Bulk(None),
        (b'$', digits) => return bulk_length(number(digits)?, before, limits).map(Begun::Bulk),
        (b'*', b"-1") => Reply::Array(None),
        (b'*', digits) => return array_length(digits, depth, limits),
        (found, _) => return Err(ErrorKind::UnknownReply { found: *found }),
    };
    Ok(Begun::Whole(whole))
}

/// Reads how many elements an array has that stands within `depth` others.
fn array_length(digits: &[u8], depth: usize, limits: &Limits) -> Result<Begun, ErrorKind> {
    let count = number(digits)?;
    let max = limits.args_max;
    match usize::try_from(count) {
        Ok(0) => Ok(Begun::Whole(Reply::Array(Some(Vec::new())))),
        Ok(_) if depth >= limits.depth_max => Err(ErrorKind::TooDeep {
            max: limits.depth_max,
        }),
        Ok(count) if count <= max => Ok(Begun::Array(count)),
        _ => Err(ErrorKind::TooMany { count, max }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::ReplyErrorKind;

    fn small_limits() -> Limits {
        Limits {
            bulk_bytes_max: 100,
            args_max: 10,
            total_bytes_max: 150,
            line_bytes_max: 80,
            depth_max: 3,
        }
    }

    fn decode(pieces: &[&[u8]]) -> (Vec<Reply>, Option<Error>) {
        let mut decoder = ReplyDecoder::new(small_limits());
        let mut replies = Vec::new();
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece));
            loop {
                match decoder.next() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    fn assert_same_at_every_cut(input: &[u8]) -> (Vec<Reply>, Option<Error>) {
        let whole = decode(&[input]);
        for at in 0..=input.len() {
            let (left, right) = input.split_at(at);
            assert_eq!(decode(&[left, right]), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes), whole, "byte by byte");
        whole
    }

    fn simple(text: &'static str) -> Reply {
        Reply::Simple(text.into())
    }

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(Some(text.into()))
    }

    #[test]
    fn reads_every_kind_of_reply() {
        let oom = "OOM command not allowed when used memory > 'maxmemory'.";
        let error = Reply::Error(ReplyError::parse(oom.as_bytes()));
        assert!(matches!(&error, Reply::Error(error) if error.kind == ReplyErrorKind::Oom));
        for (name, input, expected) in [
            ("ok", "+OK\r\n".to_owned(), simple("OK")),
            ("queued", "+QUEUED\r\n".into(), simple("QUEUED")),
            ("status", "+PONG\r\n".into(), simple("PONG")),
            ("empty status", "+\r\n".into(), simple("")),
            ("error", format!("-{oom}\r\n"), error.clone()),
            ("int", ":1\r\n".into(), Reply::Int(1)),
            (
                "lowest int",
                format!(":{}\r\n", i64::MIN),
                Reply::Int(i64::MIN),
            ),
            ("bulk", "$4\r\n\r\n+O\r\n".into(), bulk("\r\n+O")),
            ("empty bulk", "$0\r\n\r\n".into(), bulk("")),
            ("null", "$-1\r\n".into(), Reply::Bulk(None)),
            ("empty array", "*0\r\n".into(), Reply::Array(Some(vec![]))),
            ("null array", "*-1\r\n".into(), Reply::Array(None)),
            (
                "what EXEC answers",
                format!("*3\r\n+OK\r\n-{oom}\r\n*2\r\n*0\r\n$1\r\na\r\n"),
                Reply::Array(Some(vec![
                    simple("OK"),
                    error,
                    Reply::Array(Some(vec![Reply::Array(Some(vec![])), bulk("a")])),
                ])),
            ),
        ] {
            let input = format!("{input}+OK\r\n");
            let read = assert_same_at_every_cut(input.as_bytes());
            assert_eq!(read, (vec![expected, simple("OK")], None), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_reply_and_says_where() {
        use ErrorKind::*;
        let long = format!("+{}", "x".repeat(90));
        for (name, input, kind, offset) in [
            ("RESP3 map", "%1\r\n", UnknownReply { found: b'%' }, 0),
            ("nothing", "\r\n", EmptyLine, 0),
            ("LF only", "+OK\n", NoTerminator, 0),
            ("bad int", ":1x\r\n", BadNumber, 0),
            ("int too large", ":9223372036854775808\r\n", BadNumber, 0),
            ("null of -2", "$-2\r\n", BadNumber, 0),
            (
                "long bulk",
                "$101\r\n",
                BulkTooLong {
                    length: 101,
                    max: 100,
                },
                0,
            ),
            ("long array", "*11\r\n", TooMany { count: 11, max: 10 }, 0),
            ("endless line", &long, LineTooLong { max: 80 }, 0),
            (
                "deep",
                "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
                TooDeep { max: 3 },
                12,
            ),
        ] {
            let (replies, error) = assert_same_at_every_cut(input.as_bytes());
            assert_eq!(replies, [], "{name}");
            assert_eq!(error, Some(Error { kind, offset }), "{name}");
        }
    }

    #[test]
    fn the_length_of_a_whole_array_is_bounded_and_counted_anew() {
        let part = format!("$80\r\n{}\r\n", "x".repeat(80));
        let (replies, error) = assert_same_at_every_cut(format!("{part}{part}").as_bytes());
        assert_eq!((replies.len(), error), (2, None));
        let (_, error) = assert_same_at_every_cut(format!("*2\r\n{part}{part}").as_bytes());
        let kind = ErrorKind::TooLong { max: 150 };
        let offset = 4 + part.len() as u64;
        assert_eq!(error, Some(Error { kind, offset }));
    }

    proptest! {
        #[test]
        fn any_bytes_give_the_same_at_any_cut(
            input in prop::collection::vec(
                prop::sample::select(b"**$$::+-1233\r\n\r\n\r\nO".to_vec()), 0..60),
        ) {
            assert_same_at_every_cut(&input);
        }
    }
}
