//! A lane: one connection to the target, its batches in order, its bounded window.
//!
//! ```text
//!  batches ──► [waiting] ──► outgoing bytes ──► target
//!                               │ in flight: requests without their replies yet
//!  events  ◄── judge ◄── replies ◄────────────────
//! ```
//!
//! The window bounds the bytes in flight over all lanes, and the rate at which they are sent. A
//! request that is refused for a passing reason (OOM, LOADING, BUSY ...) halts the lane: nothing
//! more is sent until everything in flight has been answered, then what was refused is sent again,
//! in order, until it is taken or the deadline passes. What must not overtake an unconfirmed request
//! stands in a batch that asks to be sent only after everything before it is confirmed. So does
//! whatever stands behind a SELECT: a refused SELECT must never leave commands to another db.
//!
//! A connection is opened, and a lost one again, for as long as `retry_for` allows; what was not
//! confirmed is sent again unless the target says that it was executed (`connecting.rs`).

mod connecting;
mod driver;
mod unconfirmed;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{keyspace::Db, net::Node, rdb::ValueType};

use super::{
    Claim, ImportMode, Lossy, Target,
    batch::{Batch, Named, Writes},
    error::Error,
    policy::{Conflict, OnLossy},
    window::Window,
};

use driver::Driver;

/// Batches that wait behind the one that is sent next. They keep the lane busy while more are built.
const BATCHES_WAITING_MAX: usize = 2;

/// What a lane needs to know.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// The target.
    pub node: Node,
    /// How long opening the connection may take.
    pub connect_timeout: Duration,
    /// What is in flight over all lanes, and what may be.
    pub window: Arc<Window>,
    /// How long passing refusals are waited out.
    pub retry_for: Duration,
    /// What to do when a key exists.
    pub conflict: Conflict,
    /// What the target understands, to say with commands what its RESTORE refuses.
    pub target: Arc<Target>,
    /// What to do with what the target cannot hold.
    pub on_lossy: OnLossy,
    /// How long the target may leave commands unanswered.
    pub silence_max: Duration,
    /// The right to write for a migration; `None` writes without a checkpoint.
    pub claim: Option<Claim>,
    /// Whether the target is in import mode for this migration.
    pub import_mode: ImportMode,
    /// How the target tells what of a lost connection was executed.
    pub marks: Marks,
    /// Whether the target had no keys when the run began: what is there then is of this run.
    pub began_empty: bool,
    /// The target's process, where it tells.
    pub run_id: Option<String>,
}

/// How the target tells, after a lost connection, which transactions were executed. Everything
/// else that a lane sends may be executed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Each transaction sets a key of the lane.
    Lane,
    /// Each transaction sets the checkpoint, which was at this offset in the beginning.
    Checkpoint(u64),
    /// Nothing tells: transactions of the stream may be executed twice.
    None,
}

/// What a lane reports.
#[derive(Debug)]
pub enum LaneEvent {
    /// A batch is confirmed.
    Confirmed(Confirmed),
    /// The target refuses for a passing reason; the lane waits.
    Waiting(String),
    /// It takes commands again.
    Recovered,
    /// The connection is there after all, or there again; what was not confirmed is under way.
    Reconnected,
    /// The lane has ended for good.
    Failed(Error),
}

/// What a confirmed batch has done.
#[derive(Debug, Default)]
pub struct Confirmed {
    /// Keys written, with the type of their values.
    pub keys: Vec<(ValueType, u64)>,
    /// Keys that the target had and kept.
    pub skipped: Vec<(Db, Bytes)>,
    /// Function libraries that the target had and kept.
    pub skipped_functions: u64,
    /// Function libraries loaded.
    pub functions: u64,
    /// Commands of the stream.
    pub commands: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Requests that were refused and will be sent again.
    pub retries: u64,
    /// Keys that had expired before they were written.
    pub expired: u64,
    /// Keys without elements, found when their RESTORE was refused.
    pub empty: u64,
    /// What could not be said on the target when a refused RESTORE was rebuilt.
    pub lossy: Vec<(Db, Lossy)>,
    /// The stream offset that is applied.
    pub applied_offset: Option<u64>,
    /// Commands of the stream whose reply shows that the target was not as the source was.
    pub diverged: Vec<Named>,
}

/// The sending end of a lane. Dropping it ends the lane at once, whatever is under way.
#[derive(Debug)]
pub struct Lane {
    /// `None` once it is to finish.
    batches: Option<mpsc::Sender<Batch>>,
    task: tokio::task::JoinHandle<()>,
}

/// The lane has ended; its last event says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneEnded;

impl Lane {
    /// Starts lane `index`, which has a staging name of its own. It connects by itself.
    pub fn start(
        index: usize,
        config: LaneConfig,
        events: mpsc::UnboundedSender<LaneEvent>,
    ) -> Lane {
        let driver = Driver::new(index, config, events.clone());
        let (batches, mut waiting) = mpsc::channel(BATCHES_WAITING_MAX);
        let task = tokio::spawn(async move {
            if let Err(error) = driver.run(&mut waiting).await {
                // Nobody listens only when the whole migration has ended already.
                let _ = events.send(LaneEvent::Failed(error));
            }
        });
        Lane {
            batches: Some(batches),
            task,
        }
    }

    /// Hands over a batch, waiting for room. May be dropped midway: the batch is then not sent.
    ///
    /// # Errors
    /// [`LaneEnded`] when the lane has failed.
    pub async fn send(&self, batch: Batch) -> Result<(), LaneEnded> {
        match &self.batches {
            Some(batches) => batches.send(batch).await.map_err(|_| LaneEnded),
            None => Err(LaneEnded),
        }
    }

    /// Lets the lane finish what it was given and waits for its end. Whether all went well is
    /// in its events.
    ///
    /// # Panics
    /// When the lane's task has panicked: what it was given is not on the target then.
    pub async fn finish(mut self) {
        self.batches = None;
        if let Err(panicked) = (&mut self.task).await {
            std::panic::resume_unwind(panicked.into_panic());
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Confirmed {
    fn count(&mut self, writes: &Writes) {
        match writes {
            Writes::Part => {}
            Writes::Keys { value_type, count } => match self.keys.last_mut() {
                Some((last, sum)) if last == value_type => *sum += count,
                _ => self.keys.push((*value_type, *count)),
            },
            Writes::Function => self.functions += 1,
            Writes::Commands(count) => self.commands += count,
        }
    }
}
