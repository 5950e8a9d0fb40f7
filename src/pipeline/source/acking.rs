//! The acknowledging task of a link.

use std::{sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    pipeline::Progress,
    sync::{AckSchedule, LinkWriter, ReplOffset},
};

/// What the acknowledging task is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct AckState {
    pub(super) applied: ReplOffset,
    pub(super) snapshot_ended: bool,
    pub(super) stream_seen: bool,
    /// How often an acknowledgement was wanted at once.
    pub(super) requests: u64,
    /// The source waits for this offset to be acknowledged (REPLCONF GETACK).
    pub(super) wanted: Option<ReplOffset>,
}

/// The acknowledging task, which ends with the link.
pub(super) struct Acking(JoinHandle<()>);

impl Acking {
    /// Acknowledges until the link breaks; the reader says why it did.
    ///
    /// A source that sends its snapshot over a connection of its own takes an acknowledgement to
    /// mean that it has arrived, so there is none before.
    pub(super) fn start(
        writer: LinkWriter,
        mut state: watch::Receiver<AckState>,
        progress: Arc<Progress>,
        has_channel: bool,
    ) -> Acking {
        Acking(tokio::spawn(async move {
            if has_channel && state.wait_for(|acks| acks.snapshot_ended).await.is_err() {
                return;
            }
            acknowledge(writer, state, progress).await;
        }))
    }
}

impl Drop for Acking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn acknowledge(
    mut writer: LinkWriter,
    mut state: watch::Receiver<AckState>,
    progress: Arc<Progress>,
) {
    let mut schedule = AckSchedule::new(Instant::now());
    let mut told = *state.borrow();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(schedule.due().into()) => {
                let applied = state.borrow().applied;
                if writer.ack(applied).await.is_err() {
                    return;
                }
                progress.acked_offset.set(applied.get());
                schedule.sent(Instant::now());
            }
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = Instant::now();
                let news = *state.borrow_and_update();
                if news.snapshot_ended && !told.snapshot_ended {
                    schedule.snapshot_ended(now);
                }
                if news.stream_seen {
                    schedule.stream_byte_seen();
                }
                if news.requests != told.requests {
                    schedule.requested(now);
                }
                told = news;
            }
        }
    }
}
