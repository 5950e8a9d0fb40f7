//! Commands as bytes: small arguments are copied together, large ones are linked.

use bytes::{BufMut, Bytes, BytesMut};

use super::Command;

/// Arguments from here on are linked into the output instead of copied, in bytes.
pub const LINK_BYTES_MIN: usize = 16 * 1024;

/// A sign, the digits of a `u64`, CR LF.
const COUNT_BYTES_MAX: usize = 23;

/// Builds a run of commands as a list of byte segments, ready for vectored writes.
#[derive(Debug, Default)]
pub struct Encoder {
    segments: Vec<Bytes>,
    head: BytesMut,
    len: usize,
}

impl Encoder {
    /// How many bytes were encoded so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was encoded yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins a command of `args` arguments, its name included.
    pub fn begin(&mut self, args: usize) {
        self.prefix(b'*', args);
    }

    /// Appends an argument by copying it.
    pub fn arg(&mut self, arg: &[u8]) {
        let before = self.head.len();
        put_arg(&mut self.head, arg);
        self.len += self.head.len() - before;
    }

    /// Appends an argument, linking it when it is large.
    pub fn shared_arg(&mut self, arg: &Bytes) {
        match arg.len() < LINK_BYTES_MIN {
            true => self.arg(arg),
            false => self.arg_around(b"", arg, b""),
        }
    }

    /// Appends an argument of three parts, linking the middle one when it is large.
    pub fn arg_around(&mut self, before: &[u8], middle: &Bytes, behind: &[u8]) {
        let len = before.len() + middle.len() + behind.len();
        self.head.reserve(COUNT_BYTES_MAX + len.min(LINK_BYTES_MIN));
        self.prefix(b'$', len);
        self.put(before);
        self.put_shared(middle);
        self.put(behind);
        self.put(b"\r\n");
    }

    /// Appends an integer argument.
    pub fn int_arg(&mut self, value: i64) {
        self.arg(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Appends a whole command.
    pub fn command(&mut self, command: &Command) {
        self.begin(command.args().len());
        for arg in command.args() {
            self.shared_arg(arg);
        }
    }

    /// Appends a command of small literal parts.
    pub fn words(&mut self, words: &[&[u8]]) {
        self.begin(words.len());
        for word in words {
            self.arg(word);
        }
    }

    /// Appends bytes that are RESP already.
    pub fn encoded(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Takes what was encoded and leaves the encoder empty.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.close_head();
        self.len = 0;
        std::mem::take(&mut self.segments)
    }

    fn prefix(&mut self, sign: u8, count: usize) {
        let before = self.head.len();
        put_count(&mut self.head, sign, count);
        self.len += self.head.len() - before;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.head.put_slice(bytes);
        self.len += bytes.len();
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < LINK_BYTES_MIN {
            return self.put(bytes);
        }
        self.close_head();
        self.segments.push(bytes.clone());
        self.len += bytes.len();
    }

    fn close_head(&mut self) {
        if !self.head.is_empty() {
            self.segments.push(self.head.split().freeze());
        }
    }
}

/// Appends an argument by copying it.
pub fn put_arg(out: &mut BytesMut, arg: &[u8]) {
    out.reserve(arg.len() + COUNT_BYTES_MAX + 2);
    put_count(out, b'$', arg.len());
    out.put_slice(arg);
    out.put_slice(b"\r\n");
}

/// Appends `*<count>` or `$<length>`.
fn put_count(out: &mut BytesMut, sign: u8, count: usize) {
    // Nearly all are that short.
    if let Ok(count @ 0..10) = u8::try_from(count) {
        return out.put_slice(&[sign, b'0' + count, b'\r', b'\n']);
    }
    if let Ok(count @ 10..100) = u8::try_from(count) {
        let digits = [b'0' + count / 10, b'0' + count % 10];
        return out.put_slice(&[sign, digits[0], digits[1], b'\r', b'\n']);
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(count).as_bytes();
    out.reserve(digits.len() + 3);
    out.put_u8(sign);
    out.put_slice(digits);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_large_arguments_and_copies_small_ones() {
        let large = Bytes::from(vec![b'x'; LINK_BYTES_MIN]);
        let mut encoder = Encoder::default();
        encoder.command(&Command::new(vec!["SET".into(), "k".into(), large.clone()]));
        encoder.words(&[b"PING"]);
        let len = encoder.len();
        let segments = encoder.take();
        assert_eq!(segments.len(), 3);
        assert_eq!(segments[0], "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16384\r\n");
        assert_eq!(segments[1].as_ptr(), large.as_ptr());
        assert_eq!(segments[2], "\r\n*1\r\n$4\r\nPING\r\n");
        assert_eq!(len, segments.iter().map(Bytes::len).sum::<usize>());
        assert!(encoder.is_empty() && encoder.take().is_empty());
    }

    #[test]
    fn an_argument_in_pieces_is_one_argument() {
        let mut encoder = Encoder::default();
        encoder.begin(2);
        encoder.arg(b"GET");
        encoder.arg_around(b"a", &Bytes::from("bc"), b"d");
        assert_eq!(encoder.take(), ["*2\r\n$3\r\nGET\r\n$4\r\nabcd\r\n"]);
    }
}
