//! The stream's way: received bytes, decoder, translation, one transaction after the other.
//!
//! ```text
//!  CatchingUp ──► Releasing ──► Following ──► Draining
//!      │              │                          ▲
//!      └──────────────┴──── stop requested ──────┘
//! ```
//!
//! While catching up, expiries are written held. Once the target has applied what the source had
//! when the snapshot was complete, they are written true unless they come soon, and those held so
//! far are released page by page, each page between two transactions: nothing else writes
//! meanwhile. What is held at the end of the run is released then.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    keyspace::{Db, UnixMs},
    net::Node,
    resp::{self, Command},
    sink::{
        Admin, Due, ErrorKind, Hold, LossLog, Named, Release, ReleaseStep, Target,
        TransactionBuilder, Translator,
        translate::{self, DropReason, Verdict},
    },
    sync::{self, ReplOffset, StreamDecoder, StreamItem},
};

use super::{
    Error, Phase, Progress, SkipReason, StopSignal,
    lanes::{Lanes, Skipped},
    queue::Received,
    source::{OffsetSample, OffsetWatch, SourceFeed},
};

/// A reading of the source's offset that is reached within this time means no lag.
const NO_LAG: Duration = Duration::from_secs(2);
/// How often our own offset is taken for the source's, where that may not be read.
const OWN_OFFSET_PERIOD: Duration = Duration::from_millis(500);

/// What following starts from.
pub(super) struct Start {
    pub(super) offset: ReplOffset,
    pub(super) db: Db,
    /// What of the stream came with the end of the snapshot.
    pub(super) first: Received,
    pub(super) skipped: Skipped,
    pub(super) hold: Hold,
    pub(super) held_keys: bool,
    pub(super) held_fields: bool,
}

/// What following needs besides.
pub(super) struct Means<'a> {
    pub(super) feed: &'a mut SourceFeed,
    pub(super) lanes: Lanes,
    pub(super) node: &'a Node,
    pub(super) connect_timeout: Duration,
    pub(super) target: Arc<Target>,
    pub(super) translator: Translator,
    pub(super) losses: LossLog,
    /// Where the source stands; `None` without a side connection.
    pub(super) source_offset: Option<OffsetWatch>,
    pub(super) until_caught_up: bool,
    pub(super) progress: &'a Progress,
    pub(super) stop: StopSignal,
}

/// How far following has come.
#[derive(Debug)]
enum State {
    /// Up to this offset of the source, once it is known.
    CatchingUp {
        goal: Option<ReplOffset>,
    },
    /// Held expiries are being released.
    Releasing {
        release: Release,
        /// A connection of its own: one from the beginning may have been forgotten since.
        admin: Admin,
        /// What is held was applied once this is.
        from: ReplOffset,
    },
    Following,
}

/// Why following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The target has caught up.
    CaughtUp,
    /// A stop was requested.
    Stopped,
}

/// Follows the stream until it is stopped or has caught up. Returns when all that was read is
/// confirmed by the target and no expiry is held any more.
pub(super) async fn follow(start: Start, means: Means<'_>) -> Result<End, Error> {
    let decoder = StreamDecoder::new(start.offset, start.db, resp::Limits::default());
    let mut follow = Follow {
        means,
        decoder,
        transaction: TransactionBuilder::default(),
        in_flight: false,
        applied: start.offset,
        open: None,
        skipped: start.skipped,
        hold: start.hold,
        held_fields: start.held_fields,
        left_held: start.held_keys || start.held_fields,
        state: State::CatchingUp { goal: None },
        received_at_ms: start.first.received_at_ms,
        gathered: start.offset,
        sample: None,
    };
    follow.applied_at(start.offset);
    follow.run(start.first).await
}

struct Follow<'a> {
    means: Means<'a>,
    decoder: StreamDecoder,
    transaction: TransactionBuilder,
    /// A transaction was sent and is not confirmed.
    in_flight: bool,
    /// Everything up to here is confirmed by the target.
    applied: ReplOffset,
    /// Commands of the source's transaction that has not ended yet.
    open: Option<Vec<(Db, Command)>>,
    skipped: Skipped,
    hold: Hold,
    held_fields: bool,
    /// Expiries may be held that no release under way will find.
    left_held: bool,
    state: State,
    /// When the last bytes came, by the source's clock.
    received_at_ms: UnixMs,
    /// Everything up to here is applied, under way, or gathered.
    gathered: ReplOffset,
    /// The last reading of the source's offset.
    sample: Option<OffsetSample>,
}

impl Follow<'_> {
    async fn run(mut self, first: Received) -> Result<End, Error> {
        self.means.progress.enter(Phase::CatchingUp);
        let stop = self.means.stop.clone();
        let mut own_offset = tokio::time::interval(OWN_OFFSET_PERIOD);
        let mut end = None;
        let mut source_ended = false;
        let mut failure = self.decode(first).err();
        loop {
            if failure.is_some() {
                // What was gathered before is still applied.
                source_ended = true;
                self.means.feed.stop();
            }
            if !self.in_flight {
                self.release_page().await?;
                self.send().await?;
            }
            if end.is_none() && self.advance().await? {
                end = Some(End::CaughtUp);
                self.drain();
            }
            if source_ended && !self.in_flight && self.transaction.is_empty() {
                break;
            }
            tokio::select! {
                received = self.means.feed.recv(), if !source_ended && !self.transaction.is_full() => {
                    match received {
                        Ok(Some(received)) => {
                            self.means.feed.stream_seen();
                            failure = self.decode(received).err();
                        }
                        Ok(None) => source_ended = true,
                        Err(error) => failure = Some(Error::Source(error)),
                    }
                }
                confirmed = self.means.lanes.next() => {
                    // Without an offset it was refused and will be sent again.
                    if let Some(offset) = confirmed?.and_then(|confirmed| confirmed.applied_offset) {
                        self.in_flight = false;
                        self.applied_at(ReplOffset::new(offset));
                    }
                }
                sample = next_sample(&mut self.means.source_offset), if self.means.source_offset.is_some() => {
                    match sample {
                        Some(sample) => self.take_sample(sample),
                        None => self.means.source_offset = None,
                    }
                }
                _ = own_offset.tick(), if self.means.source_offset.is_none() => {
                    self.take_sample(OffsetSample {
                        offset: self.decoder.received_offset(),
                        asked_at: Instant::now(),
                    });
                }
                () = std::future::ready(()), if self.releases_now() => {}
                () = stop.requested(), if end.is_none() => {
                    end = Some(End::Stopped);
                    self.drain();
                }
            }
        }
        self.release_all().await?;
        self.means.lanes.finish().await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(end.unwrap_or(End::Stopped)),
        }
    }

    /// Stops reading; what was received is still applied.
    fn drain(&mut self) {
        self.means.progress.enter(Phase::Draining);
        self.means.feed.stop();
    }

    /// Sends what was gathered; nothing is in flight.
    async fn send(&mut self) -> Result<(), Error> {
        match self.transaction.take() {
            Some(batch) => {
                self.in_flight = true;
                self.means.lanes.send(0, batch).await
            }
            None => {
                // Nothing under way: what needed no command is applied as well.
                self.applied_at(self.gathered);
                Ok(())
            }
        }
    }

    fn applied_at(&mut self, offset: ReplOffset) {
        self.applied = offset;
        self.means.progress.applied_offset.set(offset.get());
        self.means.feed.applied(offset);
    }

    fn take_sample(&mut self, sample: OffsetSample) {
        self.means
            .progress
            .observe_source_offset(sample.offset.get());
        self.sample = Some(sample);
    }

    /// Whether the target has what the source had a moment ago.
    fn has_no_lag(&self) -> bool {
        self.sample.is_some_and(|sample| {
            self.applied >= sample.offset && sample.asked_at.elapsed() < NO_LAG
        })
    }

    /// Moves on to the next state where that is due; true when there is no reason to go on.
    async fn advance(&mut self) -> Result<bool, Error> {
        match &mut self.state {
            State::CatchingUp { goal } => {
                if goal.is_none() {
                    *goal = self.sample.map(|sample| sample.offset);
                }
                let reached = goal.is_some_and(|goal| self.applied >= goal);
                if reached && self.has_no_lag() {
                    self.caught_up().await?;
                }
                Ok(false)
            }
            State::Releasing { .. } => Ok(false),
            State::Following => Ok(self.means.until_caught_up && self.has_no_lag()),
        }
    }

    /// The target has what the source had when the snapshot was complete, and keeps up.
    ///
    /// From here on expiries are written true unless they come soon. Those that were gathered
    /// before are held, and on the target once the present offset is applied.
    async fn caught_up(&mut self) -> Result<(), Error> {
        if self.hold.is_on() {
            self.set_hold_to(self.received_at_ms);
        }
        // The release finds all that is held so far.
        if !std::mem::take(&mut self.left_held) {
            self.enter_following();
            return Ok(());
        }
        self.state = State::Releasing {
            release: self.release(),
            admin: self.admin().await?,
            from: self.gathered,
        };
        self.means.progress.enter(Phase::Releasing);
        tracing::info!("caught up; held expiries are released");
        Ok(())
    }

    fn enter_following(&mut self) {
        self.state = State::Following;
        self.means.progress.enter(Phase::Following);
    }

    fn set_hold_to(&mut self, now_ms: UnixMs) {
        self.hold = Hold::Following { now_ms };
        self.means.translator.set_hold(self.hold);
    }

    fn release(&self) -> Release {
        Release::new(&self.means.target, self.held_fields)
    }

    async fn admin(&self) -> Result<Admin, Error> {
        let admin = Admin::open(self.means.node, self.means.connect_timeout).await?;
        Ok(admin)
    }

    /// Whether a page of held expiries can be released: nothing else writes just now.
    fn releases_now(&self) -> bool {
        match &self.state {
            State::Releasing { from, .. } => !self.in_flight && self.applied >= *from,
            State::CatchingUp { .. } | State::Following => false,
        }
    }

    /// Releases a page of held expiries if that is due.
    async fn release_page(&mut self) -> Result<(), Error> {
        if !self.releases_now() {
            return Ok(());
        }
        let State::Releasing { release, admin, .. } = &mut self.state else {
            return Ok(());
        };
        if let ReleaseStep::Done { left } = release.page(admin, Due::Later).await? {
            let released = release.released();
            tracing::info!(released, left, "held expiries are released");
            self.means.progress.expiries_held.set(left);
            self.left_held |= left > 0;
            self.enter_following();
        }
        Ok(())
    }

    /// Releases whatever is still held: nothing is under way any more.
    async fn release_all(&mut self) -> Result<(), Error> {
        if !self.left_held && !matches!(self.state, State::Releasing { .. }) {
            return Ok(());
        }
        self.means.progress.enter(Phase::Releasing);
        let mut admin = self.admin().await?;
        let mut release = self.release();
        loop {
            let step = release.page(&mut admin, Due::All).await?;
            if let ReleaseStep::Done { left } = step {
                self.means.progress.expiries_held.set(left);
                return Ok(());
            }
        }
    }

    /// Takes all commands that are complete.
    fn decode(&mut self, received: Received) -> Result<(), Error> {
        self.received_at_ms = received.received_at_ms;
        if matches!(self.hold, Hold::Following { .. }) {
            self.set_hold_to(received.received_at_ms);
        }
        self.decoder.feed(received.bytes);
        let decoded = self.take_items();
        self.transaction.covers(self.gathered.get());
        let parsed = self.decoder.parsed_offset().get();
        self.means.progress.parsed_offset.set(parsed);
        let received = self.decoder.received_offset().get();
        self.means.progress.received_offset.set(received);
        decoded
    }

    fn take_items(&mut self) -> Result<(), Error> {
        while let Some(item) = self.next_item()? {
            match item {
                StreamItem::Command {
                    command,
                    db,
                    end_offset,
                    ..
                } => match &mut self.open {
                    Some(open) => open.push((db, command)),
                    None => self.apply(vec![(db, command)], end_offset)?,
                },
                StreamItem::TransactionStart { .. } => self.open = Some(Vec::new()),
                StreamItem::TransactionEnd { end_offset } => {
                    let commands = self.open.take().unwrap_or_default();
                    self.apply(commands, end_offset)?;
                }
                StreamItem::GetAck { end_offset } => self.means.feed.ack_requested(end_offset),
                StreamItem::Select { .. }
                | StreamItem::Ping { .. }
                | StreamItem::Replconf { .. } => {}
            }
            self.gathered = self.decoder.resumable().offset;
        }
        Ok(())
    }

    /// Adds what becomes of these commands, all of them or none, to the transaction.
    fn apply(&mut self, commands: Vec<(Db, Command)>, at: ReplOffset) -> Result<(), Error> {
        let mut translated = Vec::with_capacity(commands.len());
        for (db, command) in commands {
            translated.push((db, self.translate(db, command, at)?));
        }
        for (db, commands) in translated {
            self.transaction.push(db, &commands, at.get());
        }
        Ok(())
    }

    fn next_item(&mut self) -> Result<Option<StreamItem>, Error> {
        self.decoder.next().map_err(|kind| {
            let error = sync::Error::new(self.means.feed.endpoint(), kind);
            Error::Source(error.at(self.decoder.parsed_offset()))
        })
    }

    /// Says what the target is to execute for one command, and counts what is left out.
    fn translate(
        &mut self,
        db: Db,
        command: Command,
        end_offset: ReplOffset,
    ) -> Result<Vec<Command>, Error> {
        let databases = self.means.target.databases;
        if db.0 >= databases {
            return Err(self.target_error(ErrorKind::NoSuchDb { db, databases }));
        }
        self.skipped.follow(db, &command);
        if self.is_skipped(db, &command, end_offset)? {
            self.means.progress.count_skipped(SkipReason::Conflict, 1);
            return Ok(Vec::new());
        }
        self.held_fields |= self.hold.is_on() && translate::may_expire_fields(&command);
        if matches!(self.state, State::Releasing { .. }) {
            // What goes to a name or database that was seen already is not found any more.
            self.left_held |= translate::moves_keys(&command);
        }
        let received_at_ms = self.received_at_ms;
        let context = translate::Context { db, received_at_ms };
        let mut translated = Vec::new();
        let verdict = self
            .means
            .translator
            .translate(command, &context, &mut translated);
        let verdict = verdict.map_err(|error| {
            self.target_error(ErrorKind::Untranslatable {
                error,
                db,
                offset: end_offset.get(),
            })
        })?;
        if self.hold.is_on() && translated.iter().any(translate::carries_held_expiry) {
            self.left_held = true;
            self.means.progress.expiries_held.at_least(1);
        }
        match verdict {
            Verdict::Forwarded => {}
            Verdict::Dropped(DropReason::SentinelHello) => {
                self.means
                    .progress
                    .count_skipped(SkipReason::SentinelHello, 1);
            }
            Verdict::Dropped(DropReason::PublishPolicy | DropReason::NobodyListens) => {
                self.means.progress.count_skipped(SkipReason::Publish, 1);
            }
            Verdict::Dropped(_) => {}
            Verdict::Lossy(lossy) => {
                self.means
                    .losses
                    .lose(lossy.loss, db, &lossy.key)
                    .map_err(Error::Target)?;
                self.means.progress.count_skipped(SkipReason::Lossy, 1);
            }
        }
        Ok(translated)
    }

    /// Whether the command is only about keys that the conflict policy left alone.
    fn is_skipped(&self, db: Db, command: &Command, end_offset: ReplOffset) -> Result<bool, Error> {
        if self.skipped.is_empty() {
            return Ok(false);
        }
        let places = translate::keys(command);
        let mut keys = 0;
        let mut skipped = 0;
        for key in places.of(command) {
            keys += 1;
            skipped += usize::from(self.skipped.contains(db, key));
        }
        let elsewhere = translate::other_db(command);
        let mixed = elsewhere.is_some_and(|(db, key)| self.skipped.contains(db, key));
        if mixed || (skipped != 0 && skipped != keys) {
            let command = Named::of(command, Some(end_offset.get()));
            return Err(self.target_error(ErrorKind::MixedSkip { command, db }));
        }
        Ok(skipped != 0)
    }

    fn target_error(&self, kind: ErrorKind) -> Error {
        Error::Target(kind.at(self.means.losses.endpoint()))
    }
}

/// Waits for the next reading; `None` when there will be no more.
async fn next_sample(watch: &mut Option<OffsetWatch>) -> Option<OffsetSample> {
    watch.as_mut()?.next().await
}
