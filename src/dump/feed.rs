//! Where the bytes of an RDB come from.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::{
    rdb,
    sync::{self, Framing, Link, LinkConfig, LinkReader, Notice, Position, SnapshotEnd, Transfer},
};

use super::{
    Error, ErrorKind, Meter,
    opened::{self, Source},
};

/// How much of a file is read at a time.
const PIECE_BYTES: usize = 256 << 10;
/// How many pieces are read ahead.
const PIECES_AHEAD: usize = 4;

/// Where an RDB comes from.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The snapshot of a live source.
    Source(Box<LinkConfig>),
}

/// As a summary names it: the path, `standard input`, or the address of the source.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::File(path) => path.display().fmt(f),
            Input::Stdin => f.write_str("standard input"),
            Input::Source(link) => link.endpoint.fmt(f),
        }
    }
}

/// The bytes of one RDB, as they come.
#[derive(Debug)]
pub struct Feed {
    /// How messages name it.
    input: String,
    origin: Origin,
    position: Option<Position>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
enum Origin {
    /// A thread that reads a file and opens what it is wrapped in.
    File(mpsc::Receiver<Result<Bytes, ErrorKind>>),
    Link(Box<Snapshot>),
}

/// The snapshot that a source sends to its replica.
#[derive(Debug)]
struct Snapshot {
    reader: LinkReader,
    endpoint: crate::net::Endpoint,
    transfer: Transfer,
    framing: Option<Framing>,
}

impl Feed {
    /// Opens an input, whichever it is.
    ///
    /// # Errors
    /// `Open`, `Source`.
    pub async fn open(
        input: &Input,
        notice: &mut (dyn FnMut(Notice) + Send),
    ) -> Result<Feed, Error> {
        match input {
            Input::File(path) => Feed::file(path),
            Input::Stdin => Ok(Feed::stdin()),
            Input::Source(link) => Feed::source(link, notice).await,
        }
    }

    /// Reads a file. What it is wrapped in (gzip, Zstandard, LZ4) is opened.
    ///
    /// # Errors
    /// `Open`.
    pub fn file(path: &Path) -> Result<Feed, Error> {
        let input = Input::File(path.to_owned()).to_string();
        let opened = File::open(path).and_then(|file| {
            let bytes = file.metadata()?;
            match bytes.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false => Ok((file, bytes.len())),
            }
        });
        match opened {
            Ok((file, bytes_total)) => Ok(Feed::read(input, Box::new(file), bytes_total)),
            Err(error) => Err(Error {
                input,
                kind: ErrorKind::Open(error),
            }),
        }
    }

    /// Reads standard input, which is opened like a file.
    pub fn stdin() -> Feed {
        Feed::read(Input::Stdin.to_string(), Box::new(io::stdin()), 0)
    }

    fn read(input: String, source: Source, bytes_total: u64) -> Feed {
        let meter = Arc::new(Meter::default());
        meter.set_bytes_total(bytes_total);
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let has_failed = Arc::new(AtomicBool::new(false));
        let counted = Counted {
            source,
            meter: Arc::clone(&meter),
            has_failed: Arc::clone(&has_failed),
        };
        // It ends with the input, or when nobody takes its pieces any more.
        thread::spawn(move || {
            if let Err(kind) = read_pieces(counted, &sender) {
                let _ = sender.blocking_send(Err(match kind {
                    // The bytes came, and what opens them stumbled over them.
                    ErrorKind::Read(error) if !has_failed.load(Ordering::Relaxed) => {
                        ErrorKind::Packed(error)
                    }
                    kind => kind,
                }));
            }
        });
        Feed {
            input,
            origin: Origin::File(receiver),
            position: None,
            meter,
        }
    }

    /// Joins a live source as a replica and takes its snapshot.
    ///
    /// # Errors
    /// `Source`.
    pub async fn source(
        config: &LinkConfig,
        notice: &mut (dyn FnMut(Notice) + Send),
    ) -> Result<Feed, Error> {
        let input = format!("source {}", config.endpoint);
        let (link, start) = match Link::open(config, None, notice).await {
            Ok(opened) => opened,
            Err(error) => return Err(failed(input, error)),
        };
        let reader = link.into_parts().reader;
        Ok(Feed {
            input,
            origin: Origin::Link(Box::new(Snapshot {
                reader,
                endpoint: config.endpoint.clone(),
                transfer: Transfer::new(),
                framing: None,
            })),
            position: start.position(),
            meter: Arc::default(),
        })
    }

    /// How messages name it.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// Which moment of a live source it is a snapshot of; `None` for files, and for sources that
    /// do not tell.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// How far it has come.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The next bytes; `None` where the input ends.
    ///
    /// # Errors
    /// `Read`, `Packed`, `Wrapped`, `Source`.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.origin {
            Origin::File(pieces) => match pieces.recv().await {
                None => Ok(None),
                Some(Ok(piece)) => Ok(Some(piece)),
                Some(Err(kind)) => Err(Error {
                    input: self.input.clone(),
                    kind,
                }),
            },
            Origin::Link(snapshot) => {
                let next = snapshot.next(&self.meter).await;
                next.map_err(|error| failed(self.input.clone(), error))
            }
        }
    }

    /// The error of a parser that was given its bytes.
    pub(super) fn unusable(&self, error: rdb::Error) -> Error {
        Error {
            input: self.input.clone(),
            kind: ErrorKind::Rdb(Box::new(error)),
        }
    }

    /// Takes what stands behind an RDB of `rdb_bytes`, of which `rest` was read already: the
    /// mark of a live source is checked, what follows in a file is counted.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn finish(&mut self, rdb_bytes: u64, rest: Bytes) -> Result<u64, Error> {
        if let Origin::Link(snapshot) = &mut self.origin {
            let ended = snapshot.finish(rdb_bytes, rest).await;
            return match ended {
                Ok(()) => Ok(0),
                Err(error) => Err(failed(self.input.clone(), error)),
            };
        }
        let mut behind = rest.len() as u64;
        while let Some(piece) = self.next().await? {
            behind += piece.len() as u64;
        }
        Ok(behind)
    }
}

fn failed(input: String, error: sync::Error) -> Error {
    Error {
        input,
        kind: ErrorKind::Source(Box::new(error)),
    }
}

/// Reads `source` to its end, piece by piece, as long as somebody takes them.
fn read_pieces(
    source: Counted,
    sender: &mpsc::Sender<Result<Bytes, ErrorKind>>,
) -> Result<(), ErrorKind> {
    let mut opened = opened::open(Box::new(source))?;
    loop {
        let mut piece = BytesMut::zeroed(PIECE_BYTES);
        let read = fill(&mut opened, &mut piece).map_err(ErrorKind::Read)?;
        piece.truncate(read);
        if read == 0 || sender.blocking_send(Ok(piece.freeze())).is_err() {
            return Ok(());
        }
    }
}

/// Reads until the piece is full or nothing is left: a pipe brings little at a time.
fn fill(source: &mut Source, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = piece.get_mut(filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Counts the bytes as they are stored.
struct Counted {
    source: Source,
    meter: Arc<Meter>,
    /// Reading them failed.
    has_failed: Arc<AtomicBool>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer).inspect_err(|error| {
            let passes = error.kind() == io::ErrorKind::Interrupted;
            self.has_failed.fetch_or(!passes, Ordering::Relaxed);
        })?;
        self.meter.add_bytes(read as u64);
        Ok(read)
    }
}

impl Snapshot {
    async fn next(&mut self, meter: &Meter) -> Result<Option<Bytes>, sync::Error> {
        loop {
            let Some(mut bytes) = self.reader.read().await? else {
                return Err(self.error(sync::ErrorKind::ClosedInSnapshot));
            };
            if self.framing.is_none() {
                let step = self.transfer.feed(&bytes);
                let step = step.map_err(|kind| self.error(kind))?;
                bytes.advance(step.used);
                self.framing = step.framing;
                if let Some(Framing::Length(bytes)) = step.framing {
                    meter.set_bytes_total(bytes);
                }
            }
            if self.framing.is_some() && !bytes.is_empty() {
                meter.add_bytes(bytes.len() as u64);
                return Ok(Some(bytes));
            }
        }
    }

    async fn finish(&mut self, rdb_bytes: u64, mut rest: Bytes) -> Result<(), sync::Error> {
        let Some(framing) = self.framing else {
            return Ok(());
        };
        let end = SnapshotEnd::new(framing, rdb_bytes);
        let mut end = end.map_err(|kind| self.error(kind))?;
        while !end.feed(&mut rest).map_err(|kind| self.error(kind))? {
            rest = match self.reader.read().await? {
                Some(bytes) => bytes,
                None => return Err(self.error(sync::ErrorKind::ClosedInSnapshot)),
            };
        }
        Ok(())
    }

    fn error(&self, kind: sync::ErrorKind) -> sync::Error {
        sync::Error::new(&self.endpoint, kind)
    }
}
