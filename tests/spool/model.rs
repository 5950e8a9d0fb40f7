//! Any order of pushes, reads, releases, rewinds, changes of the origin and crashes, against a
//! plain vector.

use std::{fs, path::Path, sync::Arc};

use keyferry::spool::{Budget, Directory, ErrorKind, Reader, Writer, resume, spool};

use super::{Numbers, open, origin, segments, until};

const SEEDS: u64 = 40;
const STEPS: u64 = 300;

/// What the spool must hold: every byte that was pushed, and when.
struct Model {
    start: u64,
    bytes: Vec<u8>,
    times: Vec<i64>,
    read: u64,
    released: u64,
    origins: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn check(&self, position: u64, bytes: &[u8], received_at_ms: i64) {
        let at = (position - self.start) as usize;
        assert_eq!(self.bytes[at..at + bytes.len()], *bytes, "at {position}");
        let times = &self.times[at..at + bytes.len()];
        assert!(
            times.iter().all(|time| *time == received_at_ms),
            "time at {position}"
        );
    }
}

struct Run {
    numbers: Numbers,
    model: Model,
    budget: Arc<Budget>,
    root: tempfile::TempDir,
    writer: Writer,
    reader: Reader,
    /// The most that one push has cost.
    push_bytes_max: u64,
    crashes: u64,
}

fn start(seed: u64) -> Run {
    let mut numbers = Numbers::new(seed);
    let root = tempfile::tempdir().unwrap();
    let start = numbers.below(1 << 40);
    let memory = 4096 << numbers.below(5);
    let disk = [u64::MAX, 200 << 10, 50 << 10][numbers.below(3) as usize];
    let budget = Arc::new(Budget::new(memory, disk));
    let directory = Some(open(root.path()));
    let (writer, reader) = spool(directory, Arc::clone(&budget), start, origin("o0")).unwrap();
    Run {
        numbers,
        model: Model {
            start,
            bytes: Vec::new(),
            times: Vec::new(),
            read: start,
            released: start,
            origins: 0,
        },
        budget,
        root,
        writer,
        reader,
        push_bytes_max: 0,
        crashes: 0,
    }
}

impl Run {
    async fn step(&mut self) {
        match self.numbers.below(100) {
            0..40 => self.push().await,
            40..70 => self.read().await,
            70..80 => self.release(),
            80..88 => self.rewind(),
            88..91 => self.change_origin(),
            91..94 => self.persist().await,
            94..97 => self.give_up_reading().await,
            _ => self.crash(0).await,
        }
    }

    /// Pushes; where that waits, what is there is read and released.
    async fn push(&mut self) {
        let len = match self.numbers.below(20) {
            0 => self.numbers.below(60_000),
            1..8 => self.numbers.below(5000),
            _ => self.numbers.below(200),
        };
        let bytes = self.numbers.bytes(len as usize);
        let time = 1000 + self.numbers.below(4) as i64;
        self.push_bytes_max = self.push_bytes_max.max(len + 128 * (len / 4096 + 1));
        self.model.bytes.extend_from_slice(&bytes);
        self.model.times.resize(self.model.bytes.len(), time);
        let before = self.model.end() - len;
        let (model, reader) = (&mut self.model, &mut self.reader);
        let push = self.writer.push(bytes, time);
        tokio::pin!(push);
        loop {
            tokio::select! {
                biased;
                pushed = &mut push => break pushed.unwrap(),
                piece = reader.next(), if model.read < before => {
                    let piece = piece.unwrap().unwrap();
                    model.check(piece.position, &piece.bytes, piece.received_at_ms);
                    model.read = piece.position + piece.bytes.len() as u64;
                    model.released = model.read;
                    reader.release(model.read);
                }
                () = std::future::ready(()), if model.read == before && model.released < before => {
                    model.released = before;
                    reader.release(before);
                }
            }
        }
    }

    async fn read(&mut self) {
        for _ in 0..self.numbers.below(8) {
            if self.model.read == self.model.end() {
                tokio::select! {
                    biased;
                    piece = self.reader.next() => panic!("nothing was pushed: {piece:?}"),
                    () = std::future::ready(()) => return,
                }
            }
            let piece = self.reader.next().await.unwrap().unwrap();
            assert_eq!(piece.position, self.model.read);
            assert!(!piece.bytes.is_empty());
            self.model
                .check(piece.position, &piece.bytes, piece.received_at_ms);
            self.model.read += piece.bytes.len() as u64;
            assert_eq!(self.reader.position(), self.model.read);
        }
    }

    /// Begins to read, and drops the future wherever it is.
    async fn give_up_reading(&mut self) {
        for _ in 0..3 {
            tokio::select! {
                biased;
                piece = self.reader.next() => {
                    let piece = piece.unwrap().unwrap();
                    assert_eq!(piece.position, self.model.read);
                    self.model.check(piece.position, &piece.bytes, piece.received_at_ms);
                    self.model.read += piece.bytes.len() as u64;
                }
                () = tokio::task::yield_now() => {}
            }
        }
    }

    fn release(&mut self) {
        let model = &mut self.model;
        model.released += self.numbers.below(model.read - model.released + 1);
        self.reader.release(model.released);
        assert_eq!(self.reader.first(), model.released);
    }

    fn rewind(&mut self) {
        let first = self.model.released.saturating_sub(100);
        let asked = first + self.numbers.below(self.model.end() - first + 100);
        let is_held = (self.model.released..=self.model.end()).contains(&asked);
        let gone = self.reader.rewind(asked);
        assert_eq!(gone.is_ok(), is_held, "{asked}: {gone:?}");
        if is_held {
            self.model.read = asked;
        }
    }

    fn change_origin(&mut self) {
        self.model.origins += 1;
        self.writer
            .set_origin(origin(&format!("o{}", self.model.origins)));
    }

    /// Brings all to disk if the quota has room; then a crash loses nothing.
    async fn persist(&mut self) {
        match self.writer.persist().await {
            Ok(done) => assert!(done),
            Err(error) => {
                assert!(matches!(error.kind, ErrorKind::QuotaFull { .. }), "{error}");
                return;
            }
        }
        assert_eq!(self.writer.usage().memory_bytes, 0);
        if self.numbers.below(2) == 0 {
            self.crash(self.model.end()).await;
        }
    }

    /// Goes on with a copy of the files as they are at this moment, which reaches up to `end_min`.
    async fn crash(&mut self, end_min: u64) {
        let copy = tempfile::tempdir().unwrap();
        let directory = copied(&self.root.path().join("stream"), copy.path());
        let held = self.model.released < self.model.end();
        let Some(survived) = directory.survivors(None).unwrap() else {
            assert!(end_min == 0 || !held, "lost");
            return;
        };
        assert!(survived.first >= self.model.start && survived.end <= self.model.end());
        if held && end_min > 0 {
            assert!(survived.first <= self.model.released && survived.end == end_min);
            assert_eq!(survived.origin, origin(&format!("o{}", self.model.origins)));
        }
        self.crashes += 1;
        let budget = Arc::new(Budget::new(
            self.budget.memory_bytes_max(),
            self.budget.disk_bytes_max(),
        ));
        let number = survived.origin.as_str()[1..].parse().unwrap();
        let (first, end) = (survived.first, survived.end);
        (self.writer, self.reader) = resume(directory, Arc::clone(&budget), survived).unwrap();
        assert_eq!(
            (self.writer.position(), self.reader.position()),
            (end, first)
        );
        let kept = (end - self.model.start) as usize;
        self.model.bytes.truncate(kept);
        self.model.times.truncate(kept);
        (self.model.released, self.model.read) = (first, first);
        self.model.origins = number;
        (self.budget, self.root) = (budget, copy);
    }

    fn check_bounds(&self) {
        let (memory, disk) = (self.budget.memory_bytes_max(), self.budget.disk_bytes_max());
        let peak = self.budget.memory_bytes_peak();
        assert!(peak <= memory.max(self.push_bytes_max), "{peak}");
        assert!(self.budget.disk_bytes_peak() <= disk);
        let usage = self.reader.usage();
        assert_eq!(usage.unread_bytes, self.model.end() - self.model.read);
        assert_eq!(usage.held_bytes, self.model.end() - self.model.released);
    }

    /// All that is held, once more.
    async fn read_all(&mut self) {
        self.reader.rewind(self.model.released).unwrap();
        self.model.read = self.model.released;
        while self.model.read < self.model.end() {
            let piece = self.reader.next().await.unwrap().unwrap();
            assert_eq!(piece.position, self.model.read);
            self.model
                .check(piece.position, &piece.bytes, piece.received_at_ms);
            self.model.read += piece.bytes.len() as u64;
        }
    }

    /// Whatever byte of whatever file changes: what is read is right, or an error.
    async fn damage(&mut self) -> bool {
        if self.writer.persist().await.is_err() {
            return false;
        }
        // Those that were released are being deleted.
        let directory = self.root.path().join("stream");
        let on_disk = || {
            segments(&directory)
                .iter()
                .map(|(_, len)| *len)
                .sum::<u64>()
        };
        until("only what is held is there", || {
            self.reader.usage().disk_bytes == on_disk()
        })
        .await;
        let files = segments(&directory);
        let Some((path, len)) = files.get(self.numbers.below(files.len() as u64) as usize) else {
            return false;
        };
        let mut bytes = fs::read(path).unwrap();
        bytes[self.numbers.below(*len) as usize] ^= 1 << self.numbers.below(8);
        fs::write(path, bytes).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let directory = copied(&self.root.path().join("stream"), copy.path());
        if let Some(survived) = directory.survivors(None).unwrap() {
            let (first, end) = (survived.first, survived.end);
            // The last segment may hold nothing but the name of an origin.
            let names_newest = survived.origin == origin(&format!("o{}", self.model.origins));
            let budget = Arc::new(Budget::default());
            let (_writer, mut reader) = resume(directory, budget, survived).unwrap();
            assert!(first >= self.model.start && end <= self.model.end());
            assert!(end < self.model.end() || !names_newest, "it was seen");
            while reader.position() < end {
                let piece = reader.next().await.unwrap().unwrap();
                self.model
                    .check(piece.position, &piece.bytes, piece.received_at_ms);
            }
        }
        self.reader.rewind(self.model.released).unwrap();
        while self.reader.position() < self.model.end() {
            match self.reader.next().await {
                Ok(piece) => {
                    let piece = piece.unwrap();
                    self.model
                        .check(piece.position, &piece.bytes, piece.received_at_ms);
                }
                Err(error) => {
                    let at = self.reader.position();
                    assert!(
                        matches!(error.kind, ErrorKind::Damaged { position, .. } if position == at),
                        "{error}"
                    );
                    return true;
                }
            }
        }
        // A part of the first segment that was released.
        false
    }
}

/// A directory with the files that another has at this moment, torn where one is being written.
fn copied(from: &Path, root: &Path) -> Directory {
    let directory = open(root);
    for (path, _) in segments(from) {
        // It may be gone by now.
        if let Ok(bytes) = fs::read(&path) {
            fs::write(directory.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_doings_reads_what_was_pushed() {
    let (mut spilled, mut crashes, mut damages) = (0, 0, 0);
    for seed in 0..SEEDS {
        eprintln!("seed {seed}");
        let mut run = start(seed);
        for _ in 0..STEPS {
            run.step().await;
            run.check_bounds();
        }
        run.read_all().await;
        spilled += u64::from(run.budget.disk_bytes_peak() > 0);
        crashes += run.crashes;
        damages += u64::from(run.damage().await);
    }
    assert!(spilled > SEEDS / 2 && crashes > SEEDS && damages > SEEDS / 4);
}
