//! The lanes to the target, and what they report.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    keyspace::Loss,
    rdb::KeyType,
    sink::{Batch, Confirmed, Lane, LaneConfig, LaneEnded, LaneEvent, LossNames},
};

use super::{Awaited, Error, Progress, SkipReason, skipped::Skipped};

/// Commands that found nothing to do and are named in the log; all are counted.
const DIVERGED_NAMED_MAX: u64 = 100;

/// Some lanes to one target.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    events: mpsc::UnboundedReceiver<LaneEvent>,
    ledger: Ledger,
}

impl Lanes {
    /// Starts `count` lanes; `remembers_skipped` keeps the names of keys that were skipped.
    pub(super) fn start(
        config: &LaneConfig,
        count: usize,
        remembers_skipped: bool,
        progress: Arc<Progress>,
    ) -> Lanes {
        let (sender, events) = mpsc::unbounded_channel();
        let lanes = (0..count)
            .map(|index| Lane::start(index, config.clone(), sender.clone()))
            .collect();
        Lanes {
            lanes,
            events,
            ledger: Ledger {
                progress,
                skipped: Skipped::default(),
                remembers_skipped,
                losses: LossNames::new("the target cannot hold".into()),
            },
        }
    }

    /// Hands a batch to a lane, waiting for room; takes note of what is reported before.
    ///
    /// # Errors
    /// The end of a lane.
    pub(super) async fn send(&mut self, lane: usize, batch: Batch) -> Result<(), Error> {
        let Some(lane) = self.lanes.get(lane) else {
            return Ok(());
        };
        let sending = lane.send(batch);
        match noting(sending, &mut self.events, &mut self.ledger).await? {
            Ok(()) => Ok(()),
            Err(LaneEnded) => self.ended().await,
        }
    }

    /// Waits for the next report. May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// The end of a lane.
    pub(super) async fn next(&mut self) -> Result<Option<Confirmed>, Error> {
        match self.events.recv().await {
            Some(event) => self.ledger.note(event),
            None => self.ended().await.map(|()| None),
        }
    }

    /// Says why a lane has ended before it was told to: it has reported an error, or panicked.
    async fn ended(&mut self) -> Result<(), Error> {
        self.finish_all().await?;
        unreachable!("a lane ends by itself only with an error or a panic")
    }

    /// Lets all lanes finish what they were given.
    ///
    /// # Errors
    /// The end of a lane before that.
    pub(super) async fn finish(mut self) -> Result<Skipped, Error> {
        self.finish_all().await?;
        Ok(self.ledger.skipped)
    }

    async fn finish_all(&mut self) -> Result<(), Error> {
        for lane in std::mem::take(&mut self.lanes) {
            noting(lane.finish(), &mut self.events, &mut self.ledger).await?;
        }
        while let Ok(event) = self.events.try_recv() {
            self.ledger.note(event)?;
        }
        Ok(())
    }
}

/// Waits for `work` to end, and takes note of what the lanes report meanwhile.
async fn noting<T>(
    work: impl Future<Output = T>,
    events: &mut mpsc::UnboundedReceiver<LaneEvent>,
    ledger: &mut Ledger,
) -> Result<T, Error> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                ledger.note(event)?;
            }
            done = &mut work => return Ok(done),
        }
    }
}

/// What the lanes have done so far.
#[derive(Debug)]
struct Ledger {
    progress: Arc<Progress>,
    skipped: Skipped,
    remembers_skipped: bool,
    losses: LossNames<Loss>,
}

impl Ledger {
    fn count(&mut self, confirmed: &Confirmed) {
        let progress = &self.progress;
        for (value_type, keys) in &confirmed.keys {
            progress.count_keys_written(KeyType::of(*value_type), *keys);
        }
        let skipped = confirmed.skipped.len() as u64;
        progress.count_skipped(SkipReason::Conflict, skipped);
        progress.count_skipped(SkipReason::ConflictFunctions, confirmed.skipped_functions);
        progress.count_skipped(SkipReason::Expired, confirmed.expired);
        progress.count_skipped(SkipReason::Empty, confirmed.empty);
        progress.count_skipped(SkipReason::Lossy, confirmed.lossy.len() as u64);
        for (db, lossy) in &confirmed.lossy {
            self.losses.lose(lossy.loss, 1, *db, &lossy.key);
        }
        for command in &confirmed.diverged {
            progress.diverged.add(1);
            match progress.diverged.get() {
                n if n <= DIVERGED_NAMED_MAX => {
                    tracing::warn!(
                        "the target was not as the source: {command} found nothing to do"
                    );
                }
                n if n == DIVERGED_NAMED_MAX + 1 => {
                    tracing::warn!(
                        "more commands found nothing to do; they are counted, not named"
                    );
                }
                _ => {}
            }
        }
        progress.functions.add(confirmed.functions);
        progress.commands.add(confirmed.commands);
        progress.bytes_written.add(confirmed.bytes);
        progress.retries.add(confirmed.retries);
        progress.errors.add(confirmed.retries);
    }

    fn note(&mut self, event: LaneEvent) -> Result<Option<Confirmed>, Error> {
        match event {
            LaneEvent::Confirmed(confirmed) => {
                self.count(&confirmed);
                if self.remembers_skipped {
                    for (db, key) in &confirmed.skipped {
                        self.skipped.add(*db, key)?;
                    }
                }
                return Ok(Some(confirmed));
            }
            LaneEvent::Waiting(why) => {
                tracing::warn!("waiting because {why}");
                self.progress.wait_because(Awaited::Target, Some(why));
            }
            LaneEvent::Reconnected => {
                tracing::info!("connected to the target again");
                self.progress.reconnects.add(1);
                self.progress.wait_because(Awaited::Target, None);
            }
            LaneEvent::Recovered => {
                tracing::info!("the target takes commands again");
                self.progress.wait_because(Awaited::Target, None);
            }
            LaneEvent::Failed(error) => return Err(Error::Target(error)),
        }
        Ok(None)
    }
}
