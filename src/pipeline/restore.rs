//! An RDB brought to the target: a file, standard input, or the snapshot of a live source.

use std::{sync::Arc, time::Duration};

use crate::{
    config::TargetConfig,
    dump::{self, Feed, Filter, Input, Meter, Reader},
    net::Node,
    rdb::{Event, Limits},
    sink::{Expired, Hold, MadeBy},
    sync::Side,
};

use super::{
    Awaited, Consent, Ended, Error, Outcome, Phase, Progress, SkipReason, StopSignal,
    clock::ServerClock,
    join::{look_at_source, shown},
    publish::while_published,
    snapshot::SnapshotCopy,
    target::TargetSide,
};

/// How often it is noted how far the input was read.
const METER_PERIOD: Duration = Duration::from_millis(100);

/// What is brought to a target, and how.
#[derive(Debug)]
pub struct Restoration {
    /// Where the RDB comes from.
    pub input: Input,
    /// Which of its keys are wanted.
    pub filter: Filter,
    /// What becomes of what has expired, by the clock of the target.
    pub expired: Expired,
    /// Where it is written.
    pub target: TargetConfig,
}

/// Restores an RDB to its end.
///
/// `consent` is asked before the target is emptied. `stop` ends the run once everything that was
/// sent is confirmed; the run fails then, since the target holds a part only.
pub async fn restore(
    restoration: &Restoration,
    progress: Arc<Progress>,
    stop: StopSignal,
    consent: Consent,
) -> Outcome {
    let run = Run {
        restoration,
        progress: &progress,
        stop,
    };
    Outcome {
        replid: None,
        snapshot_offset: None,
        result: while_published(&progress, run.complete(&consent)).await,
    }
}

struct Run<'a> {
    restoration: &'a Restoration,
    progress: &'a Arc<Progress>,
    stop: StopSignal,
}

/// What is read, and where it is written.
struct Ready<'a> {
    copy: SnapshotCopy<'a>,
    reader: Reader,
}

/// How the way of the keys to the lanes ended.
enum End {
    /// With the last key.
    Complete,
    /// At an event between two others, because that was asked for.
    Stopped,
    /// The input cannot be read on.
    Broken(dump::Error),
}

impl<'a> Run<'a> {
    async fn complete(&self, consent: &Consent) -> Result<Ended, Error> {
        let (mut target, ready) = tokio::select! {
            ready = self.ready(consent) => ready?,
            () = self.stop.requested() => return Err(self.stopped()),
        };
        self.progress.enter(Phase::Snapshot);
        let error = match self.write(ready).await {
            Ok(End::Complete) => {
                let keys = self.progress.keys_read.get();
                tracing::info!(keys, "the RDB is on the target");
                let admin = target.admin_of_same_process().await?;
                admin.remove_staging().await?;
                return Ok(Ended::Complete);
            }
            Ok(End::Stopped) => self.stopped(),
            Ok(End::Broken(error)) => self.broken(error),
            Err(error) => error,
        };
        // What was written of a value that is not complete. The next run would remove it, too.
        if let Err(error) = target.admin.remove_staging().await {
            tracing::warn!("a part of a value may be left on the target: {error}");
        }
        Err(error.after_flush(self.restoration.target.flush))
    }

    /// Writes what is read until there is no more, and waits until all of it is confirmed. The
    /// lanes are closed then, also after an error.
    async fn write(&self, mut ready: Ready<'_>) -> Result<End, Error> {
        let meter = Arc::clone(ready.reader.meter());
        let end = tokio::select! {
            end = self.bring(&mut ready) => end?,
            () = watch(&meter, self.progress) => unreachable!("it is watched until the end"),
        };
        note(&meter, self.progress);
        self.progress.enter(Phase::Draining);
        ready.copy.finish().await?;
        let keys = ready.reader.keys_not_selected();
        self.progress.count_skipped(SkipReason::NotSelected, keys);
        Ok(end)
    }

    /// Opens both sides. May be dropped midway: nothing is written yet, but the target may be
    /// empty if that was asked for.
    async fn ready(&self, consent: &Consent) -> Result<(TargetSide, Ready<'a>), Error> {
        let restoration = self.restoration;
        let (input, progress) = (&restoration.input, self.progress);
        // A source begins its snapshot when it is joined, which must wait for the target.
        let opened = match input {
            Input::Source(_) => None,
            Input::File(_) | Input::Stdin => Some(self.open().await?),
        };
        let mut target = TargetSide::find(&restoration.target, progress).await?;
        if let Input::Source(link) = input {
            let node = Node {
                endpoint: link.endpoint.clone(),
                user: link.identity.user.clone(),
                password: link.identity.password.clone(),
            };
            let mut side = Side::open(&node, link.connect_timeout).await;
            look_at_source(&mut side, &mut target.admin, progress).await?;
        }
        let began_empty = target.prepare(consent).await?;
        let feed = match opened {
            Some(feed) => feed,
            None => self.open().await?,
        };
        let mut reader = Reader::new(feed, restoration.filter.clone(), Limits::default());
        // Nothing may be deleted for the sake of a file that is no RDB.
        let first = reader.next().await.map_err(|error| self.broken(error))?;
        target.flush_if_asked().await?;

        let clock = ServerClock::new(Some(target.admin.time().await?));
        let mut copy = SnapshotCopy::new(
            Arc::clone(&target.target),
            target.value_config(Hold::Released, restoration.expired, MadeBy::Anybody),
            clock,
            target.snapshot_lanes(false, None, began_empty),
            None,
            progress,
        );
        if let Some(first) = first {
            copy.take(first)?;
        }
        Ok((target, Ready { copy, reader }))
    }

    async fn open(&self) -> Result<Feed, Error> {
        self.progress.enter(Phase::WaitingForSnapshot);
        let opened = Feed::open(&self.restoration.input, &mut shown(self.progress)).await;
        self.progress.wait_because(Awaited::Source, None);
        opened.map_err(|error| self.broken(error))
    }

    /// Brings key after key to the lanes. Ends early only where nothing is half handed over.
    async fn bring(&self, ready: &mut Ready<'_>) -> Result<End, Error> {
        let Ready { copy, reader } = ready;
        let stopped = self.stop.requested();
        tokio::pin!(stopped);
        loop {
            loop {
                match reader.buffered() {
                    Ok(Some(event)) => take(copy, reader, event).await?,
                    Ok(None) => break,
                    Err(error) => return Ok(End::Broken(error)),
                }
            }
            if reader.is_complete() {
                return Ok(ended(reader).await);
            }
            tokio::select! {
                biased;
                () = &mut stopped => return Ok(End::Stopped),
                filled = reader.fill() => if let Err(error) = filled {
                    return Ok(End::Broken(error));
                },
                // A lane may wait or fail while the input is silent.
                noted = copy.noted() => noted?,
            }
        }
    }

    fn broken(&self, error: dump::Error) -> Error {
        Error::Input {
            error: Box::new(error),
            keys: self.progress.sample().keys_written_total(),
        }
    }

    fn stopped(&self) -> Error {
        Error::StoppedWithin {
            input: self.restoration.input.to_string(),
            keys: self.progress.sample().keys_written_total(),
        }
    }
}

async fn take(copy: &mut SnapshotCopy<'_>, reader: &mut Reader, event: Event) -> Result<(), Error> {
    if let Some(altitude) = copy.take(event)? {
        reader.choose(altitude);
    }
    match copy.is_ready() {
        true => copy.hand_over().await,
        false => Ok(()),
    }
}

/// Looks at what stands behind the RDB.
async fn ended(reader: &mut Reader) -> End {
    match reader.finish().await {
        Ok(0) => End::Complete,
        Ok(bytes) => {
            let input = reader.input();
            tracing::warn!("{bytes} bytes follow the RDB in {input} and are left out");
            End::Complete
        }
        Err(error) => End::Broken(error),
    }
}

/// Notes how far the input was read, again and again.
async fn watch(meter: &Meter, progress: &Progress) {
    let mut period = tokio::time::interval(METER_PERIOD);
    loop {
        period.tick().await;
        note(meter, progress);
    }
}

fn note(meter: &Meter, progress: &Progress) {
    progress.keys_read.set(meter.keys());
    progress.bytes_read.set(meter.bytes());
    progress.rdb_bytes.set(meter.bytes());
    progress.rdb_bytes_total.set(meter.bytes_total());
}
