//! What is in flight to the target, over all lanes of a migration, and what may be.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    Batch,
    throttle::{Adaptive, BatchMax, Bucket, Throttle},
};

/// Bytes and requests that were sent and are not confirmed yet, and the limits of sending.
///
/// Limits that were [changed](Window::change) hold for as long as the window is used, also when
/// the migration begins again.
#[derive(Debug, Default)]
pub struct Window {
    bytes: AtomicU64,
    requests: AtomicU64,
    pace: Mutex<Pace>,
    /// Told whenever more may be sent than before.
    pub(super) room: Notify,
}

/// What is allowed.
#[derive(Debug, Default)]
struct Pace {
    throttle: Throttle,
    /// Somebody has changed what was declared.
    is_changed: bool,
    keys: Option<Bucket>,
    bytes: Option<Bucket>,
    adaptive: Option<Adaptive>,
}

/// Whether a batch may be sent.
#[derive(Debug)]
pub(super) enum Admission {
    /// It may, and counts as in flight for as long as this lives.
    Granted(Share),
    /// Not before this time, or before something else is confirmed.
    Later(Option<Instant>),
}

impl Window {
    /// Bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Commands and transactions in flight.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// The limits that hold.
    pub fn throttle(&self) -> Throttle {
        self.pace().throttle
    }

    /// Says what the limits are unless somebody has changed them.
    pub fn declare(&self, throttle: Throttle) {
        let mut pace = self.pace();
        if !pace.is_changed {
            pace.set(throttle, Instant::now());
        }
    }

    /// Changes the limits from now on.
    pub fn change(&self, change: impl FnOnce(&mut Throttle)) -> Throttle {
        let mut pace = self.pace();
        let mut throttle = pace.throttle;
        change(&mut throttle);
        pace.set(throttle, Instant::now());
        pace.is_changed = true;
        drop(pace);
        self.room.notify_waiters();
        throttle
    }

    /// The most that is to be gathered for one batch.
    pub fn batch_max(&self) -> BatchMax {
        self.pace().throttle.batch_max()
    }

    /// Asks whether a batch may be sent now. Whoever has to wait for room begins to wait for it
    /// before asking, or misses it.
    pub(super) fn admit(self: &Arc<Window>, batch: &Batch, now: Instant) -> Admission {
        let mut pace = self.pace();
        let limit = pace.inflight_bytes_max() as u64;
        let in_flight = self.bytes();
        if in_flight > 0 && in_flight + batch.len() as u64 > limit {
            return Admission::Later(None);
        }
        if let Some(at) = pace.ready_at(now) {
            return Admission::Later(Some(at));
        }
        pace.take(batch);
        // Counted under the lock: two lanes cannot both take the last room.
        Admission::Granted(self.share(batch))
    }

    /// Counts a batch as in flight for as long as the result lives, whatever the limits: what
    /// keeps a connection alive, and what is sent again.
    pub(super) fn share(self: &Arc<Window>, batch: &Batch) -> Share {
        let (bytes, requests) = (batch.len() as u64, batch.requests.len() as u64);
        self.bytes.fetch_add(bytes, Relaxed);
        self.requests.fetch_add(requests, Relaxed);
        Share {
            window: Arc::clone(self),
            bytes,
            requests,
        }
    }

    /// Takes note that what was sent then is confirmed.
    pub(super) fn confirmed(&self, sent_at: Instant) {
        if let Some(adaptive) = &mut self.pace().adaptive {
            adaptive.confirmed(sent_at, Instant::now());
        }
    }

    /// A panic leaves these plain values whole, so they are read on.
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn set(&mut self, throttle: Throttle, now: Instant) {
        self.keys = throttle.keys_per_s.map(|rate| Bucket::new(rate, now));
        self.bytes = throttle.bytes_per_s.map(|rate| Bucket::new(rate, now));
        let inflight_bytes_max = throttle.inflight_bytes_max;
        let adaptive = |latency_max| Adaptive::new(latency_max, inflight_bytes_max, now);
        self.adaptive = throttle.latency_max.map(adaptive);
        self.throttle = throttle;
    }

    fn inflight_bytes_max(&self) -> usize {
        let adaptive = self.adaptive.as_ref();
        adaptive.map_or(self.throttle.inflight_bytes_max, Adaptive::inflight_bytes)
    }

    fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let keys = self.keys.as_mut().and_then(|it| it.ready_at(now));
        let bytes = self.bytes.as_mut().and_then(|it| it.ready_at(now));
        let adaptive = self.adaptive.as_ref();
        let paused = adaptive.and_then(|it| it.paused_until(now));
        [keys, bytes, paused].into_iter().flatten().max()
    }

    fn take(&mut self, batch: &Batch) {
        if let Some(keys) = &mut self.keys {
            keys.take(batch.keys());
        }
        if let Some(bytes) = &mut self.bytes {
            bytes.take(batch.len() as u64);
        }
    }
}

/// The part of the window that one batch takes.
#[derive(Debug)]
pub(super) struct Share {
    window: Arc<Window>,
    bytes: u64,
    requests: u64,
}

impl Share {
    /// Takes the share of one request, which leaves the batch, out of that of the batch.
    pub(super) fn split(&mut self, bytes: usize) -> Share {
        let bytes = self.bytes.min(bytes as u64);
        let requests = self.requests.min(1);
        self.bytes -= bytes;
        self.requests -= requests;
        Share {
            window: Arc::clone(&self.window),
            bytes,
            requests,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.window.bytes.fetch_sub(self.bytes, Relaxed);
        self.window.requests.fetch_sub(self.requests, Relaxed);
        self.window.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU64, time::Duration};

    use super::*;
    use crate::{
        keyspace::Db,
        sink::batch::{Commands, Request, Shape, Writes},
    };

    /// A batch of 14 bytes and one command.
    fn batch() -> Batch {
        let request = Request {
            end: 14,
            shape: Shape::Plain,
            commands: Commands::Many(Vec::new()),
            writes: Writes::Commands(1),
            db: Db(0),
            mark: None,
            finds_checkpoint: false,
        };
        Batch {
            segments: Vec::new(),
            requests: vec![request],
            db: None,
            after_confirmed: false,
            applied_offset: None,
        }
    }

    fn window(throttle: Throttle) -> Arc<Window> {
        let window = Window::default();
        window.declare(throttle);
        window.into()
    }

    fn granted(admission: Admission) -> Option<Share> {
        match admission {
            Admission::Granted(share) => Some(share),
            Admission::Later(_) => None,
        }
    }

    #[test]
    fn no_more_is_in_flight_than_may_be() {
        let now = Instant::now();
        let window = window(Throttle {
            inflight_bytes_max: 30,
            ..Throttle::default()
        });
        let first = granted(window.admit(&batch(), now)).unwrap();
        let mut second = granted(window.admit(&batch(), now)).unwrap();
        assert!(matches!(
            window.admit(&batch(), now),
            Admission::Later(None)
        ));
        // What is refused still counts until it is sent again and confirmed.
        let refused = second.split(14);
        drop(second);
        assert_eq!((window.bytes(), window.requests()), (28, 2));
        assert!(granted(window.admit(&batch(), now)).is_none());
        drop(refused);
        assert_eq!(window.bytes(), 14);
        let third = granted(window.admit(&batch(), now)).unwrap();
        drop((first, third));
        assert_eq!((window.bytes(), window.requests()), (0, 0));
        window.change(|throttle| throttle.inflight_bytes_max = 1);
        let alone = granted(window.admit(&batch(), now));
        assert!(alone.is_some(), "what is larger goes alone");
        assert!(granted(window.admit(&batch(), now)).is_none());
    }

    #[test]
    fn a_change_outlives_what_is_declared() {
        let window = window(Throttle::default());
        let slow = NonZeroU64::new(5);
        window.change(|throttle| throttle.bytes_per_s = slow);
        window.declare(Throttle::default());
        assert_eq!(window.throttle().bytes_per_s, slow);
        let now = Instant::now();
        assert!(granted(window.admit(&batch(), now)).is_some());
        match window.admit(&batch(), now) {
            Admission::Later(Some(at)) => assert!(at > now + Duration::from_secs(2)),
            other => panic!("{other:?}"),
        }
    }
}
