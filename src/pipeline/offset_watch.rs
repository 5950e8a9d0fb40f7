//! Where the source stands, asked again and again.

use std::time::{Duration, Instant};

use tokio::{sync::watch, task::JoinHandle};

use crate::sync::{ReplOffset, Side, SideError};

/// How often the source is asked where it stands.
const OFFSET_PERIOD: Duration = Duration::from_millis(500);

/// Somebody is told when the source has not answered for so long.
const OFFSET_PATIENCE: Duration = Duration::from_secs(10);

/// A reading of the source's offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct OffsetSample {
    /// Where the source stood.
    pub(super) offset: ReplOffset,
    /// When it was asked, by our clock: it stood there at this time or later.
    pub(super) asked_at: Instant,
}

/// Where the source stands, asked again and again until this is dropped.
#[derive(Debug)]
pub(super) struct OffsetWatch {
    samples: watch::Receiver<Option<OffsetSample>>,
    task: JoinHandle<()>,
}

impl OffsetWatch {
    /// Starts asking.
    pub(super) fn start(side: Side) -> OffsetWatch {
        let (sender, samples) = watch::channel(None);
        OffsetWatch {
            samples,
            task: tokio::spawn(ask_offset(side, sender)),
        }
    }

    /// Waits for the next reading; `None` when the source refuses to say.
    ///
    /// May be dropped midway: a later call gets the last reading.
    pub(super) async fn next(&mut self) -> Option<OffsetSample> {
        loop {
            self.samples.changed().await.ok()?;
            let sample = *self.samples.borrow_and_update();
            if sample.is_some() {
                return sample;
            }
        }
    }
}

impl Drop for OffsetWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks until the source refuses to say. A source that is away may come back.
async fn ask_offset(mut side: Side, samples: watch::Sender<Option<OffsetSample>>) {
    let mut answered_at = Instant::now();
    let mut told = false;
    loop {
        let asked_at = Instant::now();
        match side.offset().await {
            Ok(offset) => {
                (answered_at, told) = (asked_at, false);
                samples.send_replace(Some(OffsetSample { offset, asked_at }));
            }
            Err(SideError::Passing) => {
                if answered_at.elapsed() > OFFSET_PATIENCE && !std::mem::replace(&mut told, true) {
                    tracing::warn!("the source does not say where it stands; it is asked again");
                }
            }
            Err(SideError::Refused) => {
                tracing::warn!("the source does not say where it stands; lag is estimated");
                return;
            }
        }
        tokio::time::sleep(OFFSET_PERIOD).await;
    }
}
