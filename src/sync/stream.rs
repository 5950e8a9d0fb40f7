//! The replication stream: commands with their database, their transaction and their end offset.
//!
//! ```text
//! SELECT 3 | SET a 1 | MULTI | INCR b | SELECT 0 | INCR c | EXEC | PING
//!          ^         ^                                    ^      ^
//!          the resumable offset moves to these places only, and the database with it
//! ```
//!
//! A partial resync asks for the bytes behind a resumable offset, so that it repeats a transaction
//! whole. The source does not repeat SELECT then, so the database belongs to the place.
//!
//! Every byte of every command counts, those that are not data included (PING, SELECT, MULTI, EXEC,
//! REPLCONF).

use bytes::Bytes;

use super::{ErrorKind, ReplOffset};
use crate::{
    keyspace::Db,
    resp::{Command, CommandDecoder, Limits},
};

/// One thing the stream says; offsets are those of its last byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// A command that changes data, or may.
    Command {
        /// The command.
        command: Command,
        /// The database it is for.
        db: Db,
        /// Where it ends.
        end_offset: ReplOffset,
        /// Whether it stands between MULTI and EXEC.
        in_transaction: bool,
    },
    /// SELECT; the commands behind it say their database themselves.
    Select {
        /// The database.
        db: Db,
        /// Where it ends.
        end_offset: ReplOffset,
    },
    /// MULTI.
    TransactionStart {
        /// Where it ends.
        end_offset: ReplOffset,
    },
    /// EXEC.
    TransactionEnd {
        /// Where it ends.
        end_offset: ReplOffset,
    },
    /// PING, in any case.
    Ping {
        /// Where it ends.
        end_offset: ReplOffset,
    },
    /// REPLCONF GETACK: an acknowledgement is wanted at once.
    GetAck {
        /// Where it ends.
        end_offset: ReplOffset,
    },
    /// Another REPLCONF: talk between servers, no data.
    Replconf {
        /// The command.
        command: Command,
        /// Where it ends.
        end_offset: ReplOffset,
    },
}

/// A place from which the stream can be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumable {
    /// Where it is.
    pub offset: ReplOffset,
    /// The database that is selected there.
    pub db: Db,
}

/// Reads the stream from bytes that arrive in pieces.
#[derive(Debug)]
pub struct StreamDecoder {
    commands: CommandDecoder,
    start: ReplOffset,
    parsed: ReplOffset,
    fed_bytes: u64,
    db: Db,
    in_transaction: bool,
    resumable: Resumable,
}

impl StreamDecoder {
    /// A decoder for the bytes behind `start`, where `db` is selected.
    ///
    /// After a snapshot `start` is the offset of `+FULLRESYNC` and `db` what the snapshot's
    /// `repl-stream-db` says: a replica as the source never selects it in the stream.
    pub fn new(start: ReplOffset, db: Db, limits: Limits) -> StreamDecoder {
        StreamDecoder {
            commands: CommandDecoder::new(limits),
            start,
            parsed: start,
            fed_bytes: 0,
            db,
            in_transaction: false,
            resumable: Resumable { offset: start, db },
        }
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: Bytes) {
        self.fed_bytes += bytes.len() as u64;
        self.commands.feed(bytes);
    }

    /// The end of all bytes that were fed.
    pub fn received_offset(&self) -> ReplOffset {
        self.start.after(self.fed_bytes)
    }

    /// The end of the last item that was taken.
    pub fn parsed_offset(&self) -> ReplOffset {
        self.parsed
    }

    /// The last place up to the last item from which the stream can be continued: the end of that
    /// item, or, within a transaction, the place before its MULTI.
    pub fn resumable(&self) -> Resumable {
        self.resumable
    }

    /// Takes the next item; `None` when more bytes are needed.
    ///
    /// # Errors
    /// `BadStream`, `BadSelect` or `BadTransaction`; [`StreamDecoder::parsed_offset`] says behind
    /// which byte, and the decoder is of no further use.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends at its first None"
    )]
    pub fn next(&mut self) -> Result<Option<StreamItem>, ErrorKind> {
        let Some(decoded) = self.commands.next().map_err(ErrorKind::BadStream)? else {
            return Ok(None);
        };
        let end_offset = self.start.after(decoded.end);
        let item = self.item(decoded.command, end_offset)?;
        self.parsed = end_offset;
        if !self.in_transaction {
            self.resumable = Resumable {
                offset: end_offset,
                db: self.db,
            };
        }
        Ok(Some(item))
    }

    fn item(&mut self, command: Command, end_offset: ReplOffset) -> Result<StreamItem, ErrorKind> {
        // Most commands have none of these lengths.
        let item = match command.name().len() {
            4 if command.is("PING") => StreamItem::Ping { end_offset },
            4 if command.is("EXEC") => {
                if !std::mem::replace(&mut self.in_transaction, false) {
                    return Err(ErrorKind::BadTransaction);
                }
                StreamItem::TransactionEnd { end_offset }
            }
            5 if command.is("MULTI") => {
                if std::mem::replace(&mut self.in_transaction, true) {
                    return Err(ErrorKind::BadTransaction);
                }
                StreamItem::TransactionStart { end_offset }
            }
            6 if command.is("SELECT") => {
                self.db = selected(&command)?;
                StreamItem::Select {
                    db: self.db,
                    end_offset,
                }
            }
            8 if command.is("REPLCONF") => {
                if command.arg(1).eq_ignore_ascii_case(b"getack") {
                    StreamItem::GetAck { end_offset }
                } else {
                    StreamItem::Replconf {
                        command,
                        end_offset,
                    }
                }
            }
            _ => StreamItem::Command {
                command,
                db: self.db,
                end_offset,
                in_transaction: self.in_transaction,
            },
        };
        Ok(item)
    }
}

/// The database that a SELECT names.
fn selected(command: &Command) -> Result<Db, ErrorKind> {
    std::str::from_utf8(command.arg(1))
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Db)
        .ok_or(ErrorKind::BadSelect)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::resp;

    fn encode(lines: &[&str]) -> Bytes {
        let mut bytes = BytesMut::new();
        for line in lines {
            Command::of(line.split(' ').map(str::as_bytes)).encode(&mut bytes);
        }
        bytes.freeze()
    }

    /// One line for an item: what it is, and the resumable place behind it.
    fn describe(item: &StreamItem, resumable: Resumable) -> String {
        let (what, end) = match item {
            StreamItem::Command {
                command,
                db,
                end_offset,
                in_transaction,
            } => {
                let inside = if *in_transaction { " inside" } else { "" };
                (format!("{command:?} db{db}{inside}"), end_offset)
            }
            StreamItem::Select { db, end_offset } => (format!("select db{db}"), end_offset),
            StreamItem::TransactionStart { end_offset } => ("start".into(), end_offset),
            StreamItem::TransactionEnd { end_offset } => ("end".into(), end_offset),
            StreamItem::Ping { end_offset } => ("ping".into(), end_offset),
            StreamItem::GetAck { end_offset } => ("getack".into(), end_offset),
            StreamItem::Replconf { end_offset, .. } => ("replconf".into(), end_offset),
        };
        format!(
            "{what} @{end} resume db{}@{}",
            resumable.db, resumable.offset
        )
    }

    fn decode(pieces: &[&[u8]]) -> (Vec<String>, Option<ErrorKind>) {
        let mut decoder = StreamDecoder::new(ReplOffset::new(1000), Db(4), Limits::default());
        let mut items = Vec::new();
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece));
            loop {
                match decoder.next() {
                    Ok(Some(item)) => items.push(describe(&item, decoder.resumable())),
                    Ok(None) => break,
                    Err(kind) => return (items, Some(kind)),
                }
            }
        }
        let fed: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!(
            decoder.received_offset(),
            ReplOffset::new(1000 + fed as u64)
        );
        (items, None)
    }

    #[test]
    fn follows_database_transactions_and_offsets_at_every_cut() {
        let input = encode(&[
            "SET x 1",
            "SELECT 3",
            "ping",
            "MULTI",
            "INCR b",
            "select 0",
            "INCR c",
            "EXEC",
            "REPLCONF GETACK *",
            "REPLCONF other 1",
        ]);
        let expected = [
            "SET \"x\" and 1 more db4 @1027 resume db4@1027",
            "select db3 @1050 resume db3@1050",
            "ping @1064 resume db3@1064",
            "start @1079 resume db3@1064",
            "INCR \"b\" db3 inside @1100 resume db3@1064",
            "select db0 @1123 resume db3@1064",
            "INCR \"c\" db0 inside @1144 resume db3@1064",
            "end @1158 resume db0@1158",
            "getack @1195 resume db0@1195",
            "replconf @1231 resume db0@1231",
        ];
        let (items, error) = decode(&[&input]);
        assert_eq!(error, None);
        assert_eq!(items, expected);
        for cut in 0..=input.len() {
            let (left, right) = input.split_at(cut);
            assert_eq!(decode(&[left, right]), (items.clone(), None), "{cut}");
        }
    }

    #[test]
    fn refuses_a_stream_that_is_not_whole() {
        for (name, lines, kind) in [
            ("EXEC alone", &["EXEC"][..], ErrorKind::BadTransaction),
            (
                "MULTI twice",
                &["MULTI", "MULTI"],
                ErrorKind::BadTransaction,
            ),
            ("no database", &["SELECT"], ErrorKind::BadSelect),
            ("bad database", &["SELECT x"], ErrorKind::BadSelect),
            ("negative", &["SELECT -1"], ErrorKind::BadSelect),
        ] {
            assert_eq!(decode(&[&encode(lines)]).1, Some(kind), "{name}");
        }
        let (_, error) = decode(&[b"+CONTINUE\r\n"]);
        let kind = resp::ErrorKind::Unexpected {
            expected: b'*',
            found: b'+',
        };
        let inner = resp::Error { kind, offset: 0 };
        assert_eq!(error, Some(ErrorKind::BadStream(inner)));
    }
}
