//! A connection to one of the two servers: commands in a pipeline, and their replies.
//!
//! All that is asked is only read, so whatever went wrong on the way is asked again over another
//! connection. What a key's value is made of comes as slices of the received bytes.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

use crate::{
    keyspace::Db,
    net::{Backoff, Connection, Node, dial},
    resp::{Encoder, Limits, Reply, ReplyDecoder},
};

use super::{
    Progress,
    error::{Error, ErrorKind, Side, passes},
};

/// Room for received bytes that is made at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// A read gets at least this much room.
const READ_BYTES_MIN: usize = 64 << 10;
/// Pauses before something is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How a server is reached, and how patient we are.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Which of the two it is.
    pub side: Side,
    /// Where it is, and who we are there.
    pub node: Node,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long it may leave commands unanswered.
    pub silence_max: Duration,
    /// How long passing troubles are waited out.
    pub retry_for: Duration,
}

/// Commands that are asked in one go.
#[derive(Debug, Default)]
pub(super) struct Request {
    encoder: Encoder,
    replies: usize,
}

impl Request {
    /// Appends a command of small parts.
    pub(super) fn add(&mut self, words: &[&[u8]]) {
        self.encoder.words(words);
        self.replies += 1;
    }

    /// Appends a command whose words but the last, its key, are RESP already.
    pub(super) fn add_encoded(&mut self, words: &'static [u8], key: &[u8]) {
        self.encoder.encoded(words);
        self.encoder.arg(key);
        self.replies += 1;
    }

    /// Appends a command of words and then many arguments.
    pub(super) fn add_many<'k>(
        &mut self,
        words: &[&[u8]],
        args: impl ExactSizeIterator<Item = &'k Bytes>,
    ) {
        self.encoder.begin(words.len() + args.len());
        for word in words {
            self.encoder.arg(word);
        }
        for arg in args {
            self.encoder.arg(arg);
        }
        self.replies += 1;
    }
}

/// A connection that is opened again when it breaks.
#[derive(Debug)]
pub(super) struct Peer {
    config: Arc<PeerConfig>,
    progress: Arc<Progress>,
    open: Option<Open>,
    opened: u64,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    received: BytesMut,
    decoder: ReplyDecoder,
    db: Db,
}

impl Peer {
    /// A connection that is opened by its first question.
    pub(super) fn new(config: Arc<PeerConfig>, progress: Arc<Progress>) -> Peer {
        Peer {
            config,
            progress,
            open: None,
            opened: 0,
        }
    }

    /// How many connections it has opened, one after the other.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Which server it is connected to.
    pub(super) fn side(&self) -> Side {
        self.config.side
    }

    /// Asks `request` in `db` and returns one reply for each of its commands, in their order; error
    /// replies to single commands are among them. What goes away by itself is waited out.
    ///
    /// Dropping it midway closes the connection.
    ///
    /// # Errors
    /// The last error, when it does not go away in time.
    pub(super) async fn ask(&mut self, db: Db, request: Request) -> Result<Vec<Reply>, Error> {
        self.ask_limited(db, request, Limits::default()).await
    }

    /// As [`Peer::ask`]; `None` when one of the replies is longer than this many bytes, which is
    /// found before they are held.
    ///
    /// # Errors
    /// As [`Peer::ask`].
    pub(super) async fn ask_within(
        &mut self,
        db: Db,
        request: Request,
        reply_bytes_max: usize,
    ) -> Result<Option<Vec<Reply>>, Error> {
        let all = Limits::default();
        let limits = Limits {
            bulk_bytes_max: all.bulk_bytes_max.min(reply_bytes_max),
            total_bytes_max: all.total_bytes_max.min(reply_bytes_max),
            ..all
        };
        match self.ask_limited(db, request, limits).await {
            Ok(replies) => Ok(Some(replies)),
            Err(error) if error.is_too_long() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask_limited(
        &mut self,
        db: Db,
        request: Request,
        limits: Limits,
    ) -> Result<Vec<Reply>, Error> {
        let Request {
            mut encoder,
            replies,
        } = request;
        if replies == 0 {
            return Ok(Vec::new());
        }
        let segments = encoder.take();
        let deadline = Instant::now() + self.config.retry_for;
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        loop {
            // Out of its place while it is used: whoever drops this has broken it.
            let mut open = self.open.take();
            self.opened += u64::from(open.is_none());
            let asked = self
                .try_ask(&mut open, db, &segments, replies, limits)
                .await;
            let error = match asked {
                Ok(replies) => match replies.iter().find_map(passing) {
                    None => {
                        self.open = open;
                        self.progress.wait_because(None);
                        return Ok(replies);
                    }
                    Some(kind) => {
                        self.open = open;
                        kind
                    }
                },
                Err(kind) => kind,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let error = self.error(error);
            if left.is_zero() || !matches!(&error, Error::Server { kind, .. } if kind.passes()) {
                return Err(error);
            }
            self.progress.wait_because(Some(error.to_string()));
            sleep(backoff.pause().min(left)).await;
        }
    }

    /// Asks for a single reply, which must not be an error.
    ///
    /// # Errors
    /// As [`Peer::ask`]; a refusal, whose `purpose` reads as in "refused to ...".
    pub(super) async fn ask_one(
        &mut self,
        db: Db,
        purpose: &'static str,
        words: &[&[u8]],
    ) -> Result<Reply, Error> {
        let mut request = Request::default();
        request.add(words);
        match self.ask(db, request).await?.pop() {
            Some(Reply::Error(reply)) => Err(self.error(ErrorKind::Refused { purpose, reply })),
            Some(reply) => Ok(reply),
            None => Err(self.error(ErrorKind::Answer(purpose))),
        }
    }

    /// An error of this server.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error::Server {
            side: self.config.side,
            endpoint: self.config.node.endpoint.clone(),
            kind,
        }
    }

    async fn try_ask(
        &self,
        open: &mut Option<Open>,
        db: Db,
        segments: &[Bytes],
        replies: usize,
        limits: Limits,
    ) -> Result<Vec<Reply>, ErrorKind> {
        let open = match open {
            Some(open) => open,
            closed => closed.insert(self.open().await?),
        };
        if open.db != db {
            let mut select = Encoder::default();
            select.words(&[b"SELECT", db.0.to_string().as_bytes()]);
            let selected = self.exchange(open, &select.take(), 1).await?;
            must("select a db", selected)?;
            open.db = db;
        }
        // All replies to what was asked before have been taken from it.
        open.decoder = ReplyDecoder::new(limits);
        self.exchange(open, segments, replies).await
    }

    async fn open(&self) -> Result<Open, ErrorKind> {
        let node = &self.config.node;
        let connection = dial(&node.endpoint, self.config.connect_timeout)
            .await
            .map_err(ErrorKind::Connect)?;
        let mut open = Open {
            connection,
            received: BytesMut::new(),
            decoder: ReplyDecoder::new(Limits::default()),
            db: Db(0),
        };
        if let Some(password) = &node.password {
            let mut auth = Encoder::default();
            match &node.user {
                Some(user) => {
                    auth.words(&[b"AUTH", user.as_bytes(), password.reveal().as_bytes()]);
                }
                None => auth.words(&[b"AUTH", password.reveal().as_bytes()]),
            }
            must("log in", self.exchange(&mut open, &auth.take(), 1).await?)?;
        }
        // What is read for a comparison shall look no more recently used than it is (7.2).
        let mut no_touch = Encoder::default();
        no_touch.words(&[b"CLIENT", b"NO-TOUCH", b"on"]);
        self.exchange(&mut open, &no_touch.take(), 1).await?;
        Ok(open)
    }

    async fn exchange(
        &self,
        open: &mut Open,
        segments: &[Bytes],
        count: usize,
    ) -> Result<Vec<Reply>, ErrorKind> {
        let silence_max = self.config.silence_max;
        for segment in segments {
            let sent = timeout(silence_max, open.connection.write_all(segment)).await;
            sent.map_err(|_| ErrorKind::Silent(silence_max))?
                .map_err(ErrorKind::Broken)?;
        }
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            if let Some(reply) = open.decoder.next().map_err(ErrorKind::Protocol)? {
                replies.push(reply);
                continue;
            }
            if open.received.capacity() < READ_BYTES_MIN {
                open.received.reserve(CHUNK_BYTES);
            }
            let read = open.connection.read_buf(&mut open.received);
            let read = timeout(silence_max, read)
                .await
                .map_err(|_| ErrorKind::Silent(silence_max))?
                .map_err(ErrorKind::Broken)?;
            if read == 0 {
                return Err(ErrorKind::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            self.progress.bytes_read.add(read as u64);
            open.decoder.feed(open.received.split().freeze());
        }
        Ok(replies)
    }
}

/// The refusal that the only reply is.
fn must(purpose: &'static str, mut replies: Vec<Reply>) -> Result<(), ErrorKind> {
    match replies.pop() {
        Some(Reply::Error(reply)) => Err(ErrorKind::Refused { purpose, reply }),
        _ => Ok(()),
    }
}

/// The refusal in a reply that goes away by itself.
fn passing(reply: &Reply) -> Option<ErrorKind> {
    match reply {
        Reply::Error(error) if passes(&error.kind) => Some(ErrorKind::Refused {
            purpose: "answer now",
            reply: error.clone(),
        }),
        _ => None,
    }
}
