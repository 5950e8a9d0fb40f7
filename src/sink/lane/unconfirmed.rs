//! What was sent and is not confirmed. Pure: replies and lost connections go in, what is done and
//! what has to be sent again comes out.
//!
//! ```text
//!  sent   [ batch: request request | request ] [ batch ... ] [ batch ... ]
//!                             ▲ the next reply is for this one
//! ```
//!
//! After a lost connection a transaction that left a mark is known to be executed or not; all else
//! is sent again from the first request without its replies.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{
    keyspace::Db,
    resp::{Encoder, Reply},
};

use super::{
    super::{
        batch::{self, Batch, Commands, Named, Request, Shape, Writes},
        judge::{Verdict, judge},
        window::{Share, Window},
    },
    Confirmed,
};

/// A reply came that nothing had asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unasked;

/// What was sent on a connection and is not confirmed, in order.
pub(super) struct Unconfirmed {
    sent: VecDeque<InFlight>,
    bytes: usize,
    /// The db that will be selected once everything sent is executed; of the stream's batches,
    /// which select by themselves, once everything confirmed is.
    db: Db,
    /// The mark of the last transaction that was confirmed.
    confirmed_mark: u64,
    window: Arc<Window>,
}

impl Unconfirmed {
    /// Nothing is under way; what was executed before left this mark.
    pub(super) fn new(confirmed_mark: u64, window: Arc<Window>) -> Unconfirmed {
        Unconfirmed {
            sent: VecDeque::new(),
            bytes: 0,
            db: Db(0),
            confirmed_mark,
            window,
        }
    }

    /// Whether everything is confirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Its size in bytes, batches whose replies are here in part counted whole.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The db that the next command without a SELECT is for.
    pub(super) fn db(&self) -> Db {
        self.db
    }

    /// The mark of the last transaction that was confirmed.
    pub(super) fn confirmed_mark(&self) -> u64 {
        self.confirmed_mark
    }

    /// The batch whose replies come next.
    pub(super) fn front_mut(&mut self) -> Option<&mut InFlight> {
        self.sent.front_mut()
    }

    /// The request whose replies come next.
    pub(super) fn next_request(&self) -> Option<&Request> {
        let front = self.sent.front()?;
        front.batch.requests.get(front.next)
    }

    /// What selects `db` for all that follows.
    pub(super) fn select(&mut self, db: Db) -> Batch {
        self.db = db;
        single(&[b"SELECT", db.to_string().as_bytes()], db)
    }

    /// Takes note of a batch that is sent; of one that may have been executed before, if it is
    /// `resent`.
    pub(super) fn push(&mut self, batch: Batch, share: Share, resent: bool) {
        self.bytes += batch.len();
        let mut sent = InFlight::new(batch, share);
        sent.resent = resent;
        self.sent.push_back(sent);
    }

    /// Takes the next reply. Returns what the replies to a request mean once they are complete,
    /// with its index in the front batch.
    ///
    /// # Errors
    /// Nothing had asked for it.
    pub(super) fn reply(&mut self, reply: Reply) -> Result<Option<(usize, Verdict)>, Unasked> {
        let front = self.sent.front_mut().ok_or(Unasked)?;
        front.replies.push(reply);
        let request = front.batch.requests.get(front.next).ok_or(Unasked)?;
        if front.replies.len() < request.replies() {
            return Ok(None);
        }
        let verdict = judge(request, &mut front.replies);
        front.replies.clear();
        front.next += 1;
        Ok(Some((front.next - 1, verdict)))
    }

    /// Counts request `index` of the front batch as executed.
    pub(super) fn done(&mut self, index: usize) {
        let Some(front) = self.sent.front_mut() else {
            return;
        };
        let Some(request) = front.batch.requests.get(index) else {
            return;
        };
        front.done.count(&request.writes);
        if let Some(mark) = request.mark {
            self.confirmed_mark = mark;
        }
        if let Writes::Commands(_) = request.writes {
            self.db = request.db;
        }
    }

    /// Request `index` of the front batch was not executed: its replies come again, from elsewhere.
    pub(super) fn not_executed(&mut self, index: usize) {
        if let Some(front) = self.sent.front_mut() {
            front.next = index;
        }
    }

    /// Takes request `index` out of the front batch, to be sent on its own.
    pub(super) fn take_out(&mut self, index: usize) -> Option<Refused> {
        self.sent.front_mut()?.take(index)
    }

    /// Drops the front batch if all its replies are in; returns what it has done, and when it was
    /// sent.
    pub(super) fn close_front(&mut self) -> Option<(Confirmed, Instant)> {
        self.sent
            .front()
            .filter(|front| front.next == front.batch.requests.len())?;
        let mut front = self.sent.pop_front()?;
        self.bytes -= front.batch.len();
        front.done.bytes = front.batch.len() as u64;
        front.done.applied_offset = front.batch.applied_offset;
        Some((front.done, front.sent_at))
    }

    /// The connection is lost. What only selected the db on it is of no use any more.
    pub(super) fn lost(&mut self) {
        let selects = |front: &InFlight| front.is_select;
        if self.sent.front().is_some_and(selects)
            && let Some(select) = self.sent.pop_front()
        {
            self.bytes -= select.batch.len();
        }
    }

    /// Takes the next request as executed if `mark` says so, though its replies were lost. Returns
    /// whether it was so. Only after [`Unconfirmed::lost`].
    pub(super) fn confirm_by(&mut self, mark: Option<u64>) -> bool {
        let is_behind = |request: &Request| request.mark.is_some_and(|own| mark >= Some(own));
        if !self.next_request().is_some_and(is_behind) {
            return false;
        }
        if let Some(front) = self.sent.front_mut() {
            front.next += 1;
            let index = front.next - 1;
            self.done(index);
        }
        true
    }

    /// What has to be sent on another connection: the db, then everything without its replies.
    pub(super) fn again(&mut self) -> Vec<Bytes> {
        let select = self.select(self.db);
        let mut outgoing = select.segments.clone();
        for sent in &mut self.sent {
            outgoing.extend(sent.again());
        }
        self.bytes += select.len();
        let share = self.window.share(&select);
        let mut select = InFlight::new(select, share);
        select.is_select = true;
        self.sent.push_front(select);
        outgoing
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }
}

/// A batch that was sent, and how far its replies have come.
pub(super) struct InFlight {
    pub(super) batch: Batch,
    /// The request whose replies come next.
    next: usize,
    replies: Vec<Reply>,
    pub(super) done: Confirmed,
    sent_at: Instant,
    /// Its part of the window, counted until it is confirmed or the lane has ended.
    share: Share,
    /// It was sent before, on a connection that was lost.
    pub(super) resent: bool,
    /// It does no more than select the db on a new connection.
    is_select: bool,
}

/// A request to be sent again.
pub(super) struct Refused {
    pub(super) segments: Vec<Bytes>,
    pub(super) request: Request,
    /// What it takes of the window, if it was sent already.
    pub(super) share: Option<Share>,
    pub(super) applied_offset: Option<u64>,
    pub(super) resent: bool,
}

impl InFlight {
    fn new(batch: Batch, share: Share) -> InFlight {
        InFlight {
            sent_at: Instant::now(),
            share,
            batch,
            next: 0,
            replies: Vec::new(),
            done: Confirmed::default(),
            resent: false,
            is_select: false,
        }
    }

    /// Where the bytes of request `index` begin.
    fn start_of(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .and_then(|before| self.batch.requests.get(before))
            .map_or(0, |before| before.end)
    }

    /// Forgets the replies that are not complete; returns what has to be sent again.
    fn again(&mut self) -> Vec<Bytes> {
        self.replies.clear();
        self.resent = true;
        batch::slice(
            &self.batch.segments,
            self.start_of(self.next),
            self.batch.len(),
        )
    }

    /// Takes request `index` out of the batch; what is left of it counts nothing.
    fn take(&mut self, index: usize) -> Option<Refused> {
        let start = self.start_of(index);
        let request = self.batch.requests.get_mut(index)?;
        let share = self.share.split(request.end - start);
        Some(Refused {
            share: Some(share),
            segments: batch::slice(&self.batch.segments, start, request.end),
            applied_offset: self.batch.applied_offset.take(),
            resent: self.resent,
            request: Request {
                end: request.end - start,
                shape: request.shape,
                commands: request.commands.take(),
                writes: std::mem::replace(&mut request.writes, Writes::Part),
                db: request.db,
                mark: request.mark,
                finds_checkpoint: request.finds_checkpoint,
            },
        })
    }
}

/// A batch of one small command that writes nothing.
pub(super) fn single(words: &[&[u8]], db: Db) -> Batch {
    let mut encoder = Encoder::default();
    encoder.words(words);
    let request = Request {
        end: encoder.len(),
        shape: Shape::Plain,
        commands: Commands::One(Named {
            command: Bytes::copy_from_slice(words.first().unwrap_or(&&b""[..])),
            key: Bytes::new(),
            offset: None,
        }),
        writes: Writes::Part,
        db,
        mark: None,
        finds_checkpoint: false,
    };
    Batch {
        segments: encoder.take(),
        requests: vec![request],
        db: None,
        after_confirmed: false,
        applied_offset: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        resp::{Command, CommandDecoder, Limits},
        sink::{Checkpoint, CheckpointPhase, Claim, TransactionBuilder, batch::slice},
    };

    type Keys = BTreeMap<(u32, Bytes), Vec<u8>>;

    /// A server that knows APPEND, SELECT, transactions and the checkpoint.
    #[derive(Default)]
    struct Target {
        keys: Keys,
        /// What the checkpoint says.
        mark: Option<u64>,
    }

    /// A connection to it.
    #[derive(Default)]
    struct Session {
        db: u32,
        queue: Option<Vec<Command>>,
    }

    impl Target {
        /// Executes a command as it arrives, and answers it.
        fn execute(&mut self, session: &mut Session, command: Command) -> Reply {
            let simple = |text: &'static str| Reply::Simple(text.into());
            if command.is("MULTI") {
                session.queue = Some(Vec::new());
                return simple("OK");
            }
            if command.is("EXEC") {
                let queued = session.queue.take().unwrap();
                let replies = queued.into_iter().map(|it| self.execute(session, it));
                return Reply::Array(Some(replies.collect()));
            }
            if let Some(queue) = &mut session.queue {
                queue.push(command);
                return simple("QUEUED");
            }
            let text = |index| std::str::from_utf8(command.arg(index)).unwrap();
            if command.is("SELECT") {
                session.db = text(1).parse().unwrap();
            } else if command.is("HSET") {
                let at = command.args().iter().position(|arg| arg == "offset");
                self.mark = Some(text(at.unwrap() + 1).parse().unwrap());
            } else if command.is("APPEND") {
                let key = (session.db, command.args()[1].clone());
                self.keys.entry(key).or_default().extend(command.arg(2));
            } else {
                assert!(command.is("PING"), "{command:?}");
            }
            simple("OK")
        }
    }

    /// Numbers that a seed draws.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: usize) -> usize {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            phase: CheckpointPhase::Stream,
            replid: String::new(),
            offset: 0,
            db: Db(0),
            held: false,
            import_mode: false,
            began_empty: true,
            source: String::new(),
        }
    }

    /// The transactions that a stream becomes, and what the target must hold in the end.
    fn stream(draw: &mut Draw) -> (Vec<Batch>, Keys) {
        let mut builder = TransactionBuilder::new(Some((Claim::new("m"), checkpoint())));
        let (mut batches, mut expected) = (Vec::new(), Keys::new());
        for offset in 1..=40_u64 {
            let db = Db(draw.below(3) as u32);
            let (key, text) = (format!("k{}", draw.below(4)), format!("{offset},"));
            let append = Command::of([&b"APPEND"[..], key.as_bytes(), text.as_bytes()]);
            builder.push(db, &[append], offset);
            builder.covers(offset, db);
            expected
                .entry((db.0, key.into()))
                .or_default()
                .extend(text.bytes());
            if draw.below(3) == 0 || offset == 40 {
                batches.extend(builder.take());
            }
        }
        (batches, expected)
    }

    /// Sends the batches over connections that are lost at any moment: the target executes any
    /// part of what was sent, and any part of its answers arrives.
    fn migrate(draw: &mut Draw, batches: Vec<Batch>) -> (Target, Vec<u64>) {
        let mut target = Target::default();
        let mut lane = Unconfirmed::new(0, Window::default().into());
        let mut confirmed = Vec::new();
        let mut waiting = VecDeque::from(batches);
        let mut outgoing: Vec<Bytes> = Vec::new();
        let (mut session, mut decoder) =
            (Session::default(), CommandDecoder::new(Limits::default()));
        while !(waiting.is_empty() && lane.is_empty()) {
            if lane.is_empty() {
                let batch = waiting.pop_front().unwrap();
                outgoing.extend(batch.segments.iter().cloned());
                let share = Arc::new(Window::default()).share(&batch);
                lane.push(batch, share, false);
            }
            let loses = draw.below(3) == 0;
            let bytes: usize = outgoing.iter().map(Bytes::len).sum();
            let arrives = if loses { draw.below(bytes + 1) } else { bytes };
            for segment in slice(&outgoing, 0, arrives) {
                decoder.feed(segment);
            }
            outgoing.clear();
            let mut replies = Vec::new();
            while let Some(decoded) = decoder.next().unwrap() {
                replies.push(target.execute(&mut session, decoded.command));
            }
            let answered = if loses {
                draw.below(replies.len() + 1)
            } else {
                replies.len()
            };
            for reply in replies.into_iter().take(answered) {
                if let Some((index, verdict)) = lane.reply(reply).unwrap() {
                    assert_eq!(verdict, Verdict::Done);
                    lane.done(index);
                    confirmed.extend(lane.close_front().and_then(|(done, _)| done.applied_offset));
                }
            }
            if loses {
                // The old connection is closed before the mark is read.
                lane.lost();
                (session, decoder) = (Session::default(), CommandDecoder::new(Limits::default()));
                while lane.confirm_by(target.mark) {
                    confirmed.extend(lane.close_front().and_then(|(done, _)| done.applied_offset));
                }
                outgoing = lane.again();
            }
        }
        (target, confirmed)
    }

    #[test]
    fn whatever_is_lost_every_transaction_is_executed_once_and_in_order() {
        for seed in 1..=5000 {
            let mut draw = Draw(seed);
            let (batches, expected) = stream(&mut draw);
            let offsets: Vec<u64> = batches.iter().filter_map(|it| it.applied_offset).collect();
            let (target, confirmed) = migrate(&mut draw, batches);
            assert_eq!(target.keys, expected, "seed {seed}");
            assert_eq!(confirmed, offsets, "seed {seed}");
            assert_eq!(target.mark, Some(40), "seed {seed}");
        }
    }
}
