//! Commands as bytes: for `redis-cli --pipe`, or for people and `redis-cli < file`.

use bytes::{BufMut, BytesMut};

use crate::resp::Command;

/// How commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFormat {
    /// As a client sends them.
    Resp,
    /// One a line, quoted as redis-cli reads it (redis sds.c sdssplitargs).
    Cli,
}

impl CommandFormat {
    /// Appends a command.
    pub(super) fn put(self, command: &Command, out: &mut BytesMut) {
        match self {
            CommandFormat::Resp => command.encode(out),
            CommandFormat::Cli => put_line(command, out),
        }
    }
}

fn put_line(command: &Command, out: &mut BytesMut) {
    for (index, arg) in command.args().iter().enumerate() {
        if index > 0 {
            out.put_u8(b' ');
        }
        match is_plain(arg) {
            true => out.put_slice(arg),
            false => put_quoted(arg, out),
        }
    }
    out.put_u8(b'\n');
}

/// Whether it reads the same without quotes.
fn is_plain(arg: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    !arg.is_empty() && arg.iter().all(plain)
}

fn put_quoted(arg: &[u8], out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(arg.len() + 2);
    out.put_u8(b'"');
    for byte in arg {
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', *byte]),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            b' '..=b'~' => out.put_u8(*byte),
            _ => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.put_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_they_must_be() {
        for (arg, written) in [
            (&b"plain:key-1{tag}"[..], &b"plain:key-1{tag}"[..]),
            (b"", b"\"\""),
            (b"two words", b"\"two words\""),
            (b"it's", b"\"it's\""),
            (b"a\\b\"c", b"\"a\\\\b\\\"c\""),
            (
                b"\x00\x07\r\n\t\x7f\xff",
                b"\"\\x00\\x07\\r\\n\\t\\x7f\\xff\"",
            ),
            ("ü".as_bytes(), b"\"\\xc3\\xbc\""),
        ] {
            let mut out = BytesMut::new();
            let command = Command::of([&b"SET"[..], arg]);
            CommandFormat::Cli.put(&command, &mut out);
            let line = [b"SET ", written, b"\n"].concat();
            assert_eq!(out, line, "{}", arg.escape_ascii());
        }
    }

    #[test]
    fn resp_is_what_a_client_sends() {
        let mut out = BytesMut::new();
        CommandFormat::Resp.put(&Command::of([&b"SET"[..], b"k", b""]), &mut out);
        assert_eq!(out, &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"[..]);
    }
}
