//! Function libraries: their source in one string (Redis 7.0+), or in the parts that release
//! candidates of 7.0 wrote.

use bytes::{BufMut, Bytes, BytesMut};

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;

/// What the first line of a library's source says, such as `#!lua name=mylib`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LibraryHead<'a> {
    /// Its engine.
    pub engine: Option<&'a str>,
    /// Its name.
    pub name: Option<&'a str>,
}

impl LibraryHead<'_> {
    /// Reads the first line of a source; what it does not say, or not as text, is `None`.
    pub fn of(code: &[u8]) -> LibraryHead<'_> {
        let line = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = std::str::from_utf8(line)
            .unwrap_or_default()
            .split_whitespace();
        LibraryHead {
            engine: words.next().and_then(|word| word.strip_prefix("#!")),
            name: words.find_map(|word| word.strip_prefix("name=")),
        }
    }
}

/// A library of a release candidate that is being read: name, engine, whether there is a
/// description, description, code without its first line.
#[derive(Debug, Default)]
pub(crate) struct PreGaFunction {
    name: Option<Bytes>,
    engine: Option<Bytes>,
    described: Option<bool>,
}

impl PreGaFunction {
    /// The source as FUNCTION LOAD takes it. The description has no place in it and is dropped;
    /// servers read the engine in any case.
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Bytes, Stop> {
        loop {
            let (Some(name), Some(engine)) = (&self.name, &self.engine) else {
                let text = cursor.text(limits)?;
                let part = if self.name.is_none() {
                    &mut self.name
                } else {
                    &mut self.engine
                };
                *part = Some(text);
                cursor.commit();
                continue;
            };
            match self.described {
                None => self.described = Some(cursor.length()? != 0),
                Some(true) => {
                    cursor.string(limits)?;
                    self.described = Some(false);
                }
                Some(false) => {
                    let code = cursor.text(limits)?;
                    return Ok(source(name, engine, &code));
                }
            }
            cursor.commit();
        }
    }
}

fn source(name: &[u8], engine: &[u8], code: &[u8]) -> Bytes {
    let mut source = BytesMut::with_capacity(name.len() + engine.len() + code.len() + 9);
    source.put_slice(b"#!");
    source.put_slice(engine);
    source.put_slice(b" name=");
    source.put_slice(name);
    source.put_slice(b"\n");
    source.put_slice(code);
    source.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_engine_and_name() {
        for (code, engine, name) in [
            (
                &b"#!lua name=mylib\nredis.x()"[..],
                Some("lua"),
                Some("mylib"),
            ),
            (b"#!js  v=1 name=a", Some("js"), Some("a")),
            (b"#!lua", Some("lua"), None),
            (b"lua name=a", None, Some("a")),
            (b"#!lua name=\xff\n", None, None),
            (b"", None, None),
        ] {
            let head = LibraryHead::of(code);
            assert_eq!((head.engine, head.name), (engine, name));
        }
    }

    #[test]
    fn puts_the_first_line_before_the_code() {
        for (name, bytes) in [
            ("plain", &b"\x03lib\x03LUA\x00\x04code"[..]),
            ("described", b"\x03lib\x03LUA\x01\x05words\x04code"),
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            let mut function = PreGaFunction::default();
            // Byte by byte: what was read is kept.
            let (mut pos, mut end) = (0, 0);
            let source = loop {
                let part = bytes.slice(..end);
                let mut cursor = Cursor::new(&part, 0, pos);
                match function.next(&mut cursor, &Limits::default()) {
                    Ok(source) => break source,
                    Err(stop) => assert_eq!(stop, Stop::More, "{name}"),
                }
                (pos, end) = (cursor.committed(), end + 1);
            };
            assert_eq!(source, &b"#!LUA name=lib\ncode"[..], "{name}");
        }
    }
}
