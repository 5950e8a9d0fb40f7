//! The stream's way: spooled bytes, decoder, translation, one transaction after the other.
//!
//! ```text
//!  CatchingUp ──► Releasing ──► Following ──► Draining
//!      ▲ │             │            │            ▲
//!      │ └─────────────┴────────────┴── stop ────┘
//!      └── the target came back with older data, or is in trouble while expiries are released
//! ```
//!
//! While catching up, expiries are written held. Once the target has applied what the source had
//! when the snapshot was complete, they are written true unless they come soon, and those held so
//! far are released page by page, each page between two transactions: nothing else writes
//! meanwhile. (Unless all are to be held.) What is held at the end of the run is released then.
//!
//! A target that comes back with older data says so by its checkpoint; the stream is applied again
//! from there, out of the spool or the source's backlog.

mod gathering;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    sink::{Admin, Due, Hold, HoldExpiries, LossLog, Release, ReleaseStep, Translator},
    sync::{Position, ReplOffset, Resumable},
};

use super::{
    Error, Phase, Progress, StopSignal,
    keeper::Keeper,
    lanes::Lanes,
    offset_watch::{OffsetSample, OffsetWatch},
    skipped::Skipped,
    source::SourceFeed,
    source_side::SourceSide,
    target::TargetSide,
};

use gathering::{Gathering, Parts};

/// A reading of the source's offset that is reached within this time means no lag.
const NO_LAG: Duration = Duration::from_secs(2);
/// How often our own offset is taken for the source's, where that may not be read.
const OWN_OFFSET_PERIOD: Duration = Duration::from_millis(500);
/// The checkpoint is written alone when it is that far behind: the source's backlog must reach
/// back to it.
const CHECKPOINT_BEHIND_BYTES: u64 = 64 * 1024;
/// How long a release pauses that met a target in trouble.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// What following starts from.
pub(super) struct Start {
    pub(super) from: Resumable,
    pub(super) skipped: Skipped,
    pub(super) hold: Hold,
    pub(super) held_keys: bool,
    pub(super) held_fields: bool,
}

/// What following needs besides.
pub(super) struct Means<'a> {
    pub(super) feed: SourceFeed,
    pub(super) source: &'a Arc<SourceSide>,
    pub(super) target: &'a mut TargetSide,
    pub(super) keeper: &'a mut Keeper,
    pub(super) translator: Translator,
    pub(super) losses: LossLog,
    /// What stays held while the stream is followed.
    pub(super) hold_expiries: HoldExpiries,
    /// Where the source stands; `None` without a side connection.
    pub(super) source_offset: Option<OffsetWatch>,
    pub(super) until_caught_up: bool,
    pub(super) drain_timeout: Duration,
    pub(super) progress: &'a Arc<Progress>,
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
/// confirmed by the target and no expiry is held any more; when a stop takes too long, before that.
///
/// Whatever ends it, what was received and not applied is kept for the next run.
pub(super) async fn follow(start: Start, means: Means<'_>) -> Result<End, Error> {
    let lanes = means.target.stream_lane(means.keeper, start.from.offset);
    let gathering = Gathering::new(Parts {
        from: start.from,
        transaction: means.keeper.transactions(),
        translator: means.translator,
        losses: means.losses,
        skipped: start.skipped,
        hold: start.hold,
        hold_expiries: means.hold_expiries,
        held_fields: start.held_fields,
        left_held: start.held_keys || start.held_fields,
        target: Arc::clone(&means.target.target),
        source: means.source.endpoint().clone(),
        progress: means.progress,
    });
    let mut follow = Follow {
        feed: means.feed,
        source: means.source,
        target: means.target,
        keeper: means.keeper,
        lanes: Some(lanes),
        gathering,
        hold_expiries: means.hold_expiries,
        in_flight: false,
        applied: start.from.offset,
        sent: start.from,
        state: State::CatchingUp { goal: None },
        sample: None,
        release_after: None,
        source_offset: means.source_offset,
        until_caught_up: means.until_caught_up,
        drain_timeout: means.drain_timeout,
        progress: means.progress,
        stop: means.stop,
        end: None,
        source_ended: false,
        failure: None,
        drained_until: None,
    };
    follow.applied_at(start.from);
    let end = follow.run().await;
    follow.feed.keep().await;
    end
}

struct Follow<'a> {
    feed: SourceFeed,
    source: &'a Arc<SourceSide>,
    target: &'a mut TargetSide,
    keeper: &'a mut Keeper,
    /// `None` once they have finished.
    lanes: Option<Lanes>,
    gathering: Gathering<'a>,
    hold_expiries: HoldExpiries,
    /// A transaction was sent and is not confirmed.
    in_flight: bool,
    /// Everything up to here is confirmed by the target.
    applied: ReplOffset,
    /// The last transaction, with its checkpoint, ends here.
    sent: Resumable,
    state: State,
    /// The last reading of the source's offset.
    sample: Option<OffsetSample>,
    /// No release before this: the target was in trouble.
    release_after: Option<Instant>,
    source_offset: Option<OffsetWatch>,
    until_caught_up: bool,
    drain_timeout: Duration,
    progress: &'a Arc<Progress>,
    stop: StopSignal,
    end: Option<End>,
    source_ended: bool,
    failure: Option<Error>,
    /// When a stop has waited long enough.
    drained_until: Option<Instant>,
}

/// Whether a stop has waited long enough before all was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    All,
    OutOfTime,
}

impl Follow<'_> {
    async fn run(&mut self) -> Result<End, Error> {
        self.progress.enter(Phase::CatchingUp);
        let finished = match self.apply_all().await? {
            Drained::All => {
                let out_of_time = self.out_of_time();
                tokio::select! {
                    finished = self.finish() => finished.map(|()| Drained::All),
                    () = out_of_time => Ok(Drained::OutOfTime),
                }
            }
            Drained::OutOfTime => Ok(Drained::OutOfTime),
        };
        if let Ok(Drained::OutOfTime) = finished {
            self.say_what_is_left();
            self.end = Some(End::Stopped);
        }
        match (self.failure.take(), finished) {
            (None, finished) => finished.map(|_| self.end.unwrap_or(End::Stopped)),
            (Some(failure), finished) => {
                if let Err(error) = finished {
                    tracing::warn!("{error}");
                }
                Err(failure)
            }
        }
    }

    /// Returns when a stop has waited long enough for what the target does.
    fn out_of_time(&self) -> impl Future<Output = ()> + use<> {
        let (stop, timeout, until) = (self.stop.clone(), self.drain_timeout, self.drained_until);
        async move {
            match until {
                Some(_) => sleep_until(until).await,
                None => {
                    stop.requested().await;
                    tokio::time::sleep(timeout).await;
                }
            }
        }
    }

    /// Applies the stream to its end, or until a stop has waited long enough.
    async fn apply_all(&mut self) -> Result<Drained, Error> {
        let stop = self.stop.clone();
        let mut own_offset = tokio::time::interval(OWN_OFFSET_PERIOD);
        let mut trouble = None;
        loop {
            let out_of_time = self.out_of_time();
            tokio::select! {
                biased;
                moved = self.move_on(trouble.take()) => moved?,
                () = out_of_time => return Ok(Drained::OutOfTime),
            }
            if self.source_ended && !self.in_flight && self.gathering.is_empty() {
                return Ok(Drained::All);
            }
            let takes_more = !self.source_ended && !self.gathering.is_full();
            let drained_until = self.drained_until;
            let releases_now = self.releases_now();
            let lanes = self.lanes.as_mut().expect("lanes finish at the end");
            tokio::select! {
                received = self.feed.recv(), if takes_more => match received {
                    Ok(Some(piece)) => {
                        self.feed.stream_seen();
                        let taken = self.gathering.feed(piece.bytes, piece.received_at_ms);
                        self.gathered(taken);
                    }
                    Ok(None) => self.source_ended = true,
                    Err(error) => self.failure = Some(error),
                },
                confirmed = lanes.next() => match confirmed {
                    // Without an offset it was refused and will be sent again.
                    Ok(confirmed) => {
                        if confirmed.is_some_and(|done| done.applied_offset.is_some()) {
                            self.in_flight = false;
                            self.applied_at(self.sent);
                        }
                    }
                    Err(error) => trouble = Some(error),
                },
                sample = next_sample(&mut self.source_offset), if self.source_offset.is_some() => {
                    match sample {
                        Some(sample) => self.take_sample(sample),
                        None => self.source_offset = None,
                    }
                }
                _ = own_offset.tick(), if self.source_offset.is_none() => {
                    self.take_sample(OffsetSample {
                        offset: self.gathering.received(),
                        asked_at: Instant::now(),
                    });
                }
                () = std::future::ready(()), if releases_now => {}
                () = stop.requested(), if drained_until.is_none() => {
                    self.end.get_or_insert(End::Stopped);
                    self.drained_until = Some(Instant::now() + self.drain_timeout);
                    self.drain();
                }
                () = sleep_until(drained_until) => return Ok(Drained::OutOfTime),
            }
        }
    }

    /// Does what can be done without waiting for anything new: first about what the lane has ended
    /// with, if it is in `trouble`. May be dropped midway when all is over.
    async fn move_on(&mut self, trouble: Option<Error>) -> Result<(), Error> {
        if let Some(error) = trouble {
            self.recover(error).await?;
        }
        if self.failure.is_some() {
            // What was gathered before is still applied.
            self.source_ended = true;
            self.feed.stop();
        }
        if !self.in_flight {
            self.release_page().await?;
            if let Err(error) = self.send().await {
                self.recover(error).await?;
            }
        }
        // What did not fit into the transaction that was sent.
        let taken = self.gathering.go_on();
        self.gathered(taken);
        if self.end.is_none() && self.advance().await? {
            self.end = Some(End::CaughtUp);
            self.drain();
        }
        Ok(())
    }

    /// Takes note of where the source has asked for an acknowledgement, or of what ends it all.
    fn gathered(&mut self, taken: Result<Option<ReplOffset>, Error>) {
        match taken {
            Ok(Some(at)) => self.feed.ack_requested(at),
            Ok(None) => {}
            Err(error) => self.failure = Some(error),
        }
    }

    /// Stops reading; what was received is still applied.
    fn drain(&mut self) {
        self.progress.enter(Phase::Draining);
        self.feed.stop();
    }

    /// Sends what was gathered; nothing is in flight.
    async fn send(&mut self) -> Result<(), Error> {
        let replid = self.feed.replid();
        let gathered = self.gathering.gathered();
        let behind = gathered.offset.get() - self.sent.offset.get();
        let batch = match self.gathering.take(replid) {
            None if behind >= CHECKPOINT_BEHIND_BYTES => {
                self.gathering.take_checkpoint(replid, true)
            }
            batch => batch,
        };
        match batch {
            Some(batch) => {
                self.in_flight = true;
                self.sent = gathered;
                if let Some(lanes) = &mut self.lanes {
                    lanes.send(0, batch).await?;
                }
                // The lane's task waits for this thread: the target is to have something to do
                // before more is gathered.
                tokio::task::yield_now().await;
                Ok(())
            }
            None => {
                // Nothing under way: what needed no command is applied as well.
                self.applied_at(gathered);
                Ok(())
            }
        }
    }

    /// Whether expiries on the target may be held.
    fn may_hold(&self) -> bool {
        self.gathering.left_held || matches!(self.state, State::Releasing { .. })
    }

    fn applied_at(&mut self, at: Resumable) {
        self.applied = at.offset;
        self.progress.applied_offset.set(at.offset.get());
        self.feed.applied(at.offset);
        let held = self.may_hold();
        self.keeper.applied(at, self.feed.replid(), held);
    }

    /// Goes on after an error if the target only came back with older data.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        match &error {
            Error::Target(target) if target.went_back() => {
                tracing::warn!("{error}; the stream is applied again from there");
                self.go_back(error).await
            }
            _ => Err(error),
        }
    }

    /// Applies the stream again from where the target's checkpoint is.
    async fn go_back(&mut self, error: Error) -> Result<(), Error> {
        let admin = self.target.accept_restart().await?;
        let Some((replid, from)) = self.keeper.position(admin).await? else {
            return Err(error);
        };
        self.target.import_again().await?;
        if !self.feed.rewind(from.offset) {
            // The next run asks the source for it.
            if self.end.is_some() {
                return Err(error);
            }
            let offset = from.offset;
            self.feed.abandon().await;
            self.feed = self.source.go_on(Position { replid, offset }).await?;
        }
        self.gathering.restart(from)?;
        self.source_ended = false;
        self.in_flight = false;
        self.sent = from;
        self.state = State::CatchingUp { goal: None };
        self.gathering.releasing = false;
        self.progress.enter(Phase::CatchingUp);
        self.lanes = Some(self.target.stream_lane(self.keeper, from.offset));
        self.applied_at(from);
        Ok(())
    }

    fn take_sample(&mut self, sample: OffsetSample) {
        self.progress.observe_source_offset(sample.offset.get());
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
                let may_release = self
                    .release_after
                    .is_none_or(|after| after <= Instant::now());
                if reached && may_release && self.has_no_lag() {
                    self.caught_up().await?;
                }
                Ok(false)
            }
            State::Releasing { .. } => Ok(false),
            State::Following => Ok(self.until_caught_up && self.has_no_lag()),
        }
    }

    /// The target has what the source had when the snapshot was complete, and keeps up.
    ///
    /// From here on expiries are written true unless they come soon. Those that were gathered
    /// before are held, and on the target once the present offset is applied.
    async fn caught_up(&mut self) -> Result<(), Error> {
        self.gathering.hold_what_comes_soon();
        // The release finds all that is held so far.
        if !self.gathering.left_held || self.hold_expiries == HoldExpiries::All {
            self.enter_following();
            return Ok(());
        }
        let admin = match self.target.open_admin().await {
            Ok(admin) => admin,
            Err(error) => return self.release_later(error),
        };
        self.gathering.left_held = false;
        self.gathering.releasing = true;
        self.state = State::Releasing {
            release: self.release(),
            admin,
            from: self.gathering.gathered().offset,
        };
        self.progress.enter(Phase::Releasing);
        tracing::info!("caught up; held expiries are released");
        Ok(())
    }

    /// Waits with the release when the target is in passing trouble.
    fn release_later(&mut self, error: Error) -> Result<(), Error> {
        match &error {
            Error::Target(target) if target.passes() => {}
            _ => return Err(error),
        }
        tracing::debug!("held expiries are released later: {error}");
        self.release_after = Some(Instant::now() + RELEASE_PAUSE);
        self.gathering.left_held = true;
        self.gathering.releasing = false;
        self.state = State::CatchingUp { goal: None };
        Ok(())
    }

    fn enter_following(&mut self) {
        self.state = State::Following;
        self.gathering.releasing = false;
        self.progress.enter(Phase::Following);
    }

    fn release(&self) -> Release {
        Release::new(&self.target.target, self.gathering.held_fields)
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
        let (State::Releasing { release, admin, .. }, HoldExpiries::Within(within_ms)) =
            (&mut self.state, self.hold_expiries)
        else {
            return Ok(());
        };
        match release.page(admin, Due::Later(within_ms)).await {
            Ok(ReleaseStep::More) => {}
            Ok(ReleaseStep::Done { left }) => {
                let released = release.released();
                tracing::info!(released, left, "held expiries are released");
                self.progress.expiries_held.set(left);
                self.gathering.left_held |= left > 0;
                self.enter_following();
            }
            Err(error) => self.release_later(error.into())?,
        }
        Ok(())
    }

    /// Ends it on the target: nothing of the stream is under way any more.
    async fn finish(&mut self) -> Result<(), Error> {
        if self.may_hold() {
            self.progress.enter(Phase::Releasing);
            self.release_all().await?;
        }
        let replid = self.feed.replid();
        if let Some(mut lanes) = self.lanes.take() {
            if let Some(batch) = self.gathering.take_checkpoint(replid, false) {
                lanes.send(0, batch).await?;
            }
            lanes.finish().await?;
        }
        self.keeper.finish(false);
        self.target.end_import(self.keeper).await
    }

    /// Releases whatever is still held.
    async fn release_all(&self) -> Result<(), Error> {
        let retry_until = Instant::now() + self.target.retry_for();
        loop {
            match self.release_pages().await {
                Err(Error::Target(error)) if error.passes() && Instant::now() < retry_until => {
                    tracing::warn!("{error}; held expiries are released once it is back");
                    tokio::time::sleep(RELEASE_PAUSE).await;
                }
                released => return released,
            }
        }
    }

    async fn release_pages(&self) -> Result<(), Error> {
        let mut admin = self.target.open_admin().await?;
        let mut release = self.release();
        loop {
            if let ReleaseStep::Done { left } = release.page(&mut admin, Due::All).await? {
                self.progress.expiries_held.set(left);
                return Ok(());
            }
        }
    }

    fn say_what_is_left(&self) {
        tracing::warn!(
            applied_offset = self.applied.get(),
            received_offset = self.progress.received_offset.get(),
            held = self.progress.expiries_held.get(),
            "the stop took longer than {:?}: what is not applied and what is held is left to the \
             next run of the same command",
            self.drain_timeout
        );
    }
}

/// Waits for the next reading; `None` when there will be no more.
async fn next_sample(watch: &mut Option<OffsetWatch>) -> Option<OffsetSample> {
    watch.as_mut()?.next().await
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
