//! The stream's way: received bytes, decoder, translation, one transaction after the other.
//!
//! ```text
//!  CatchingUp ──► Releasing ──► Following ──► Draining
//!      │              │                          ▲
//!      └──────────────┴──── stop requested ──────┘
//! ```
//!
//! While catching up, expiries are written held. Once the target has applied what the source had
//! when the snapshot was complete, they are written true, and those held so far are released
//! page by page, each page between two transactions: nothing else writes meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    keyspace::{Db, UnixMs},
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
    source::{OffsetSample, SourceFeed},
};

/// A pause before keys that were about to expire are looked at again.
const RELEASE_PAUSE: Duration = Duration::from_millis(500);
/// Without a side connection the source counts as caught up with after so much silence.
const SILENCE: Duration = Duration::from_secs(1);
/// A reading of the source's offset that is reached within this time means no lag.
const NO_LAG: Duration = Duration::from_secs(1);

/// What following starts from.
pub(super) struct Start {
    pub(super) offset: ReplOffset,
    pub(super) db: Db,
    /// What of the stream came with the end of the snapshot.
    pub(super) first: Bytes,
    pub(super) received_at_ms: UnixMs,
    pub(super) skipped: Skipped,
    pub(super) hold: Hold,
    pub(super) held_fields: bool,
}

/// What following needs besides.
pub(super) struct Means<'a> {
    pub(super) feed: &'a mut SourceFeed,
    pub(super) lanes: Lanes,
    pub(super) admin: Admin,
    pub(super) target: Arc<Target>,
    pub(super) translator: Translator,
    pub(super) losses: LossLog,
    /// Where the source stands; `None` without a side connection.
    pub(super) source_offset: Option<watch::Receiver<Option<OffsetSample>>>,
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
    /// Held expiries are being released; not before `not_before`.
    Releasing {
        release: Release,
        not_before: Instant,
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
    let mut decoder = StreamDecoder::new(start.offset, start.db, resp::Limits::default());
    decoder.feed(start.first);
    let mut follow = Follow {
        means,
        decoder,
        transaction: TransactionBuilder::default(),
        in_flight: false,
        open: None,
        skipped: start.skipped,
        hold: start.hold,
        held_fields: start.held_fields,
        state: State::CatchingUp { goal: None },
        last_byte_at: Instant::now(),
        sample: None,
    };
    follow.decode(start.received_at_ms)?;
    follow.run().await
}

struct Follow<'a> {
    means: Means<'a>,
    decoder: StreamDecoder,
    transaction: TransactionBuilder,
    /// A transaction was sent and is not confirmed.
    in_flight: bool,
    /// Commands of the source's transaction that has not ended yet.
    open: Option<Vec<(Db, Command)>>,
    skipped: Skipped,
    hold: Hold,
    held_fields: bool,
    state: State,
    last_byte_at: Instant,
    /// The last reading of the source's offset.
    sample: Option<OffsetSample>,
}

impl Follow<'_> {
    async fn run(mut self) -> Result<End, Error> {
        self.means.progress.enter(Phase::CatchingUp);
        let stop = self.means.stop.clone();
        let mut end = None;
        let mut source_ended = false;
        loop {
            self.send().await?;
            if end.is_none() && self.advance() {
                end = Some(End::CaughtUp);
                self.drain();
            }
            if source_ended && !self.in_flight && self.transaction.is_empty() {
                break;
            }
            let releases_at = self.releases_at();
            tokio::select! {
                received = self.means.feed.recv(), if !source_ended && !self.transaction.is_full() => {
                    match received? {
                        Some(received) => {
                            self.last_byte_at = Instant::now();
                            self.means.feed.stream_seen();
                            self.decoder.feed(received.bytes);
                            self.decode(received.received_at_ms)?;
                        }
                        None => source_ended = true,
                    }
                }
                confirmed = self.means.lanes.next() => {
                    // Without an offset it was refused and will be sent again.
                    if let Some(offset) = confirmed?.and_then(|confirmed| confirmed.applied_offset) {
                        self.in_flight = false;
                        self.applied(ReplOffset::new(offset));
                    }
                }
                sample = next_sample(self.means.source_offset.as_mut()), if self.means.source_offset.is_some() => {
                    self.take_sample(sample);
                }
                () = sleep_until(releases_at), if releases_at.is_some() => self.release_page().await?,
                () = stop.requested(), if end.is_none() => {
                    end = Some(End::Stopped);
                    self.drain();
                }
                // Without a side connection, silence is what tells that we have caught up.
                () = tokio::time::sleep(SILENCE), if self.means.source_offset.is_none() && !source_ended => {}
            }
        }
        self.release_all().await?;
        self.means.lanes.finish().await?;
        Ok(end.unwrap_or(End::Stopped))
    }

    /// Stops reading; what was received is still applied.
    fn drain(&mut self) {
        self.means.progress.enter(Phase::Draining);
        self.means.feed.stop();
    }

    /// Sends what was gathered when nothing is in flight.
    async fn send(&mut self) -> Result<(), Error> {
        if self.in_flight {
            return Ok(());
        }
        match self.transaction.take() {
            Some(batch) => {
                self.in_flight = true;
                self.means.lanes.send(0, batch).await
            }
            None => {
                // Nothing under way: what needed no command is applied as well.
                self.applied(self.decoder.resumable().offset);
                Ok(())
            }
        }
    }

    fn applied(&mut self, offset: ReplOffset) {
        self.means.progress.applied_offset.set(offset.get());
        self.means.feed.applied(offset);
    }

    fn applied_offset(&self) -> ReplOffset {
        let applied = self.means.progress.applied_offset.get();
        ReplOffset::new(applied.unwrap_or_default())
    }

    fn take_sample(&mut self, sample: Option<OffsetSample>) {
        match sample {
            Some(sample) => {
                self.means
                    .progress
                    .observe_source_offset(sample.offset.get());
                self.sample = Some(sample);
            }
            None => self.means.source_offset = None,
        }
    }

    /// Moves on to the next state where that is due; true when there is no reason to go on.
    fn advance(&mut self) -> bool {
        let applied = self.applied_offset();
        if self.means.source_offset.is_none() && self.last_byte_at.elapsed() >= SILENCE {
            self.sample = Some(OffsetSample {
                offset: self.decoder.received_offset(),
                asked_at: Instant::now(),
            });
        }
        let sample = self.sample;
        match &mut self.state {
            State::CatchingUp { goal } => {
                let goal = goal.or_else(|| sample.map(|sample| sample.offset));
                if let Some(goal) = goal
                    && applied >= goal
                    && !self.in_flight
                {
                    self.caught_up();
                } else {
                    self.state = State::CatchingUp { goal };
                }
                false
            }
            State::Releasing { .. } => false,
            State::Following => {
                self.means.until_caught_up
                    && sample.is_some_and(|sample| {
                        applied >= sample.offset && sample.asked_at.elapsed() < NO_LAG
                    })
            }
        }
    }

    /// The target has what the source had when the snapshot was complete.
    ///
    /// Nothing is in flight and all commands that were gathered have been sent: from here on
    /// expiries are written true, and every held one is on the target to be found.
    fn caught_up(&mut self) {
        if self.hold == Hold::Released {
            self.state = State::Following;
            self.means.progress.enter(Phase::Following);
            return;
        }
        self.hold = Hold::Released;
        self.means.translator.set_hold(Hold::Released);
        self.state = State::Releasing {
            release: self.release(),
            not_before: Instant::now(),
        };
        self.means.progress.enter(Phase::Releasing);
        tracing::info!("caught up; held expiries are released");
    }

    fn release(&self) -> Release {
        Release::new(&self.means.target, self.held_fields)
    }

    fn releases_at(&self) -> Option<Instant> {
        match &self.state {
            State::Releasing { not_before, .. } if !self.in_flight => Some(*not_before),
            _ => None,
        }
    }

    async fn release_page(&mut self) -> Result<(), Error> {
        let State::Releasing {
            release,
            not_before,
        } = &mut self.state
        else {
            return Ok(());
        };
        let step = release.page(&mut self.means.admin, Due::Safe).await;
        match step.map_err(Error::Target)? {
            ReleaseStep::More => {}
            ReleaseStep::Pass { left: 0 } => {
                tracing::info!(released = release.released(), "all expiries are true");
                self.means.progress.expiries_held.set(0);
                self.state = State::Following;
                self.means.progress.enter(Phase::Following);
            }
            ReleaseStep::Pass { left } => {
                self.means.progress.expiries_held.set(left);
                *not_before = Instant::now() + RELEASE_PAUSE;
            }
        }
        Ok(())
    }

    /// Releases whatever is still held: nothing is under way any more.
    async fn release_all(&mut self) -> Result<(), Error> {
        let mut release = match std::mem::replace(&mut self.state, State::Following) {
            State::CatchingUp { .. } if self.hold == Hold::Held => self.release(),
            State::Releasing { .. } => self.release(),
            State::CatchingUp { .. } | State::Following => return Ok(()),
        };
        self.means.progress.enter(Phase::Releasing);
        loop {
            let step = release.page(&mut self.means.admin, Due::All).await;
            if let ReleaseStep::Pass { left } = step.map_err(Error::Target)? {
                self.means.progress.expiries_held.set(left);
                return Ok(());
            }
        }
    }

    /// Takes all commands that are complete.
    fn decode(&mut self, received_at_ms: UnixMs) -> Result<(), Error> {
        while let Some(item) = self.next_item()? {
            match item {
                StreamItem::Command {
                    command,
                    db,
                    end_offset,
                    ..
                } => match &mut self.open {
                    Some(open) => open.push((db, command)),
                    None => self.apply(db, command, end_offset, received_at_ms)?,
                },
                StreamItem::TransactionStart { .. } => self.open = Some(Vec::new()),
                StreamItem::TransactionEnd { end_offset } => {
                    for (db, command) in self.open.take().unwrap_or_default() {
                        self.apply(db, command, end_offset, received_at_ms)?;
                    }
                }
                StreamItem::GetAck { .. } => self.means.feed.ack_requested(),
                StreamItem::Select { .. }
                | StreamItem::Ping { .. }
                | StreamItem::Replconf { .. } => {}
            }
        }
        self.transaction
            .covers(self.decoder.resumable().offset.get());
        let parsed = self.decoder.parsed_offset().get();
        self.means.progress.parsed_offset.set(parsed);
        let received = self.decoder.received_offset().get();
        self.means.progress.received_offset.set(received);
        Ok(())
    }

    fn next_item(&mut self) -> Result<Option<StreamItem>, Error> {
        self.decoder.next().map_err(|kind| {
            let error = sync::Error::new(self.means.feed.endpoint(), kind);
            Error::Source(error.at(self.decoder.parsed_offset()))
        })
    }

    /// Translates one command and adds what becomes of it to the transaction.
    fn apply(
        &mut self,
        db: Db,
        command: Command,
        end_offset: ReplOffset,
        received_at_ms: UnixMs,
    ) -> Result<(), Error> {
        if self.is_skipped(db, &command, end_offset)? {
            self.means.progress.count_skipped(SkipReason::Conflict, 1);
            return Ok(());
        }
        self.held_fields |= self.hold == Hold::Held && translate::may_expire_fields(&command);
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
        for command in &translated {
            self.transaction.push(db, command, end_offset.get());
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
        Ok(())
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
        if skipped != 0 && skipped != keys {
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
async fn next_sample(
    samples: Option<&mut watch::Receiver<Option<OffsetSample>>>,
) -> Option<OffsetSample> {
    let samples = samples?;
    loop {
        samples.changed().await.ok()?;
        let sample = *samples.borrow_and_update();
        if sample.is_some() {
            return sample;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}
