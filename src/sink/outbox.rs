//! What is written to the lanes, gathered into batches.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{keyspace::Db, resp::Command};

use super::{
    BatchMax, Window,
    batch::{Batch, Shape, Writes},
    gather::LaneBuffer,
    staging::{mark_key, transaction},
};

/// Gathers for each lane, and keeps the batches that are ready, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    lanes: Vec<LaneBuffer>,
    ready: VecDeque<(usize, Batch)>,
    /// How many transactions were made.
    marks: u64,
    window: Arc<Window>,
    /// As the window said when something was handed over last.
    batch_max: BatchMax,
}

impl Outbox {
    pub(super) fn new(lanes: usize, window: Arc<Window>) -> Outbox {
        Outbox {
            lanes: (0..lanes).map(|_| LaneBuffer::default()).collect(),
            ready: VecDeque::new(),
            marks: 0,
            batch_max: window.batch_max(),
            window,
        }
    }

    /// The lane of a key, by a hash that takes eight bytes at a time.
    pub(super) fn lane_of(&self, key: &[u8]) -> usize {
        if self.lanes.len() < 2 {
            return 0;
        }
        let mix = |hash: u64, word: [u8; 8]| {
            let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ (mixed >> 32)
        };
        let (words, rest) = key.as_chunks();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let hash = words
            .iter()
            .fold(key.len() as u64, |hash, word| mix(hash, *word));
        let hash = mix(hash, last);
        ((hash >> 32) as usize)
            .checked_rem(self.lanes.len())
            .unwrap_or(0)
    }

    /// Appends a command without a db to the first lane; errors name it with what it writes.
    pub(super) fn single(&mut self, command: &Command, of: Bytes, shape: Shape, writes: Writes) {
        if let Some(buffer) = self.lanes.first_mut() {
            buffer.flush_mset();
            buffer.encoder.command(command);
            let name = command.args().first().cloned().unwrap_or_default();
            buffer.close(shape, name, of, writes);
        }
        self.hand_over_if_full(0);
    }

    /// Lets `append` append to what the lane gathers, with the db selected.
    pub(super) fn append(&mut self, lane: usize, db: Db, append: impl FnOnce(&mut LaneBuffer)) {
        if self.lanes.get(lane).is_some_and(|buffer| buffer.db != db) {
            self.hand_over(lane);
        }
        let buffer = self.lanes.get_mut(lane);
        let buffer = buffer.expect("lane_of stays below the number of lanes");
        buffer.db = db;
        append(buffer);
        self.hand_over_if_full(lane);
    }

    /// Hands over what the lane has gathered, then `commands`, which serve `key`, as one
    /// transaction that waits until everything before it is confirmed: nothing may be executed out
    /// of its order when a chunk is refused. It leaves a mark: a chunk must not be written twice.
    pub(super) fn transaction(
        &mut self,
        lane: usize,
        (db, key): (Db, &Bytes),
        mut commands: Vec<Command>,
        shape: Shape,
        writes: Writes,
    ) {
        self.hand_over(lane);
        self.marks += 1;
        let mark = self.marks.to_string().into();
        let mark = Command::new(vec!["SET".into(), mark_key(lane), mark]);
        // Of what stands last the replies are looked at by their place.
        commands.insert(0, mark);
        let (segments, mut request) = transaction(&commands, db, key, shape, writes);
        request.mark = Some(self.marks);
        let batch = Batch {
            segments,
            requests: vec![request],
            db: Some(db),
            after_confirmed: true,
            applied_offset: None,
        };
        self.ready.push_back((lane, batch));
    }

    /// Hands over everything that was gathered, however little.
    pub(super) fn flush(&mut self) {
        for lane in 0..self.lanes.len() {
            self.hand_over(lane);
        }
    }

    /// Whether a batch is ready.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the next batch that is ready, and the lane it is for.
    pub(super) fn ready(&mut self) -> Option<(usize, Batch)> {
        self.ready.pop_front()
    }

    fn hand_over_if_full(&mut self, lane: usize) {
        if self
            .lanes
            .get(lane)
            .is_some_and(|buffer| buffer.is_full(self.batch_max))
        {
            self.hand_over(lane);
        }
    }

    fn hand_over(&mut self, lane: usize) {
        self.batch_max = self.window.batch_max();
        let batch = self.lanes.get_mut(lane).and_then(|buffer| buffer.take());
        self.ready.extend(batch.map(|batch| (lane, batch)));
    }
}
