//! The snapshot of a live source, byte for byte as it was sent.
//!
//! The bytes are written as they arrive and parsed on the way, without looking into the values:
//! that is how the end is found, and how a snapshot that is cut, mixed up or changed on its way
//! is noticed before its file gets its name.

use crate::rdb::{self, Altitude, Checksum, Event, Header, Limits, Parser};

use super::{CopyError, Feed, Meter, Output};

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The first nine bytes.
    pub header: Header,
    /// The length of the snapshot in bytes.
    pub bytes: u64,
    /// How many keys are in it.
    pub keys: u64,
    /// What its checksum said.
    pub checksum: Checksum,
}

/// Takes the RDB that `feed` brings and writes it to `output`, which the caller still has to
/// finish.
///
/// Whoever drops it midway drops the output too: it has a part of the RDB only.
///
/// # Errors
/// Those of the feed; `Rdb` for an RDB that is not whole, or that cannot be parsed; those of
/// writing.
pub async fn backup(feed: &mut Feed, output: &mut Output) -> Result<Backup, CopyError> {
    let mut walk = Walk::new();
    let mut bytes = 0;
    loop {
        let Some(piece) = feed.next().await? else {
            let error = walk.parser.finish().expect_err("the end returns");
            return Err(feed.unusable(error).into());
        };
        let end = walk.feed(&piece, feed.meter());
        let end = end.map_err(|error| feed.unusable(error))?;
        // What follows the end is a mark and whatever the source sends then.
        let own = match end {
            Some(_) => usize::try_from(walk.parser.offset() - bytes).unwrap_or(usize::MAX),
            None => piece.len(),
        };
        let own = piece.get(..own).unwrap_or(&piece);
        output.put(own)?;
        bytes += own.len() as u64;
        if let Some((header, checksum)) = end {
            feed.finish(bytes, walk.parser.take_rest()).await?;
            return Ok(Backup {
                header,
                bytes,
                keys: walk.keys,
                checksum,
            });
        }
    }
}

/// Walks from key to key.
struct Walk {
    parser: Parser,
    header: Option<Header>,
    keys: u64,
}

impl Walk {
    fn new() -> Walk {
        Walk {
            parser: Parser::new(Limits::default()),
            header: None,
            keys: 0,
        }
    }

    /// Walks through the next bytes; returns what stands at both ends once the last is reached.
    fn feed(
        &mut self,
        piece: &[u8],
        meter: &Meter,
    ) -> Result<Option<(Header, Checksum)>, rdb::Error> {
        self.parser.feed(piece);
        while let Some(event) = self.parser.next_event()? {
            match event {
                Event::Header(header) => self.header = Some(header),
                Event::Key(_) => {
                    self.keys += 1;
                    meter.add_key();
                    self.parser.choose(Altitude::Skip);
                }
                Event::End(checksum) => return Ok(self.header.map(|header| (header, checksum))),
                _ => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    const FILE: &[u8] = b"REDIS0009\xfe\x00\x00\x01a\xc1\x39\x30\x01\x01l\x02\x01x\x02yy\xff";

    /// What becomes of these bytes: the backup, and what the file has.
    async fn taken(bytes: &[u8]) -> Result<(Backup, Vec<u8>), String> {
        let directory = tempfile::tempdir().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut feed = Feed::file(file.path()).unwrap();
        let path = directory.path().join("out");
        let mut output = Output::file(&path, false).unwrap();
        match backup(&mut feed, &mut output).await {
            Ok(backup) => {
                assert_eq!(output.finish().unwrap(), backup.bytes);
                assert_eq!(feed.meter().keys(), backup.keys);
                Ok((backup, fs::read(&path).unwrap()))
            }
            Err(error) => {
                drop(output);
                assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
                Err(error.to_string())
            }
        }
    }

    #[tokio::test]
    async fn the_rdb_is_taken_without_what_follows_it() {
        let whole = [FILE, &[0; 8]].concat();
        for behind in ["", "0123456789", &"x".repeat(600_000)] {
            let bytes = [&whole, behind.as_bytes()].concat();
            let (backup, written) = taken(&bytes).await.unwrap();
            assert_eq!(written, whole);
            let header = Header {
                valkey: false,
                version: 9,
            };
            let expected = Backup {
                header,
                bytes: whole.len() as u64,
                keys: 2,
                checksum: Checksum::Disabled,
            };
            assert_eq!(backup, expected);
        }
    }

    #[tokio::test]
    async fn what_is_not_whole_is_not_taken() {
        let wrong = [FILE, &[1; 8]].concat();
        for (name, bytes, said) in [
            ("cut", FILE, "the input ends too early"),
            ("empty", b"", "the input ends too early"),
            ("another checksum", &wrong, "wrong checksum"),
            ("no RDB", b"*1\r\n$4\r\nPING\r\n", "not an RDB"),
        ] {
            let error = taken(bytes).await.unwrap_err();
            assert!(error.contains(said), "{name}: {error}");
        }
    }
}
