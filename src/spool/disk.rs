//! The thread of a spool that writes and deletes its segments.

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DiskTrouble, RecordEncoder, SegmentHeader,
    directory::Tenant,
    ledger::{Batch, Segment},
    segment::{Kind, SEGMENT_HEADER_BYTES},
    segment_file::SegmentFile,
    shared::Shared,
};

/// How soon a full quota is looked at again: another spool may have left some of it.
const QUOTA_RETRY_DELAY: Duration = Duration::from_millis(50);

/// How soon a write that failed is tried again; doubled after each failure.
const WRITE_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The longest time between two attempts.
const WRITE_RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// What there is to do.
enum Work {
    Write(Batch),
    Delete(Vec<Segment>),
    End,
}

/// Starts the thread; it ends when both halves of the spool are gone.
pub(super) fn start(shared: Arc<Shared>, tenant: Tenant, next_number: u64) -> io::Result<()> {
    // What an earlier run has left is no news.
    let said_spilling = shared.usage().disk_bytes > 0;
    let disk = Disk {
        shared,
        tenant,
        next_number,
        open: None,
        encoder: RecordEncoder::new(),
        retry_at: None,
        retry_delay: WRITE_RETRY_DELAY,
        said_trouble: None,
        said_spilling,
    };
    let thread = std::thread::Builder::new().name("spool".into());
    // Nobody waits for it: the directory is free again when it has ended.
    thread.spawn(move || disk.run()).map(drop)
}

struct Disk {
    shared: Arc<Shared>,
    tenant: Tenant,
    next_number: u64,
    open: Option<SegmentFile>,
    encoder: RecordEncoder,
    retry_at: Option<Instant>,
    retry_delay: Duration,
    said_trouble: Option<DiskTrouble>,
    said_spilling: bool,
}

impl Disk {
    fn run(mut self) {
        loop {
            match self.next_work() {
                Work::Write(batch) => self.write(&batch),
                Work::Delete(segments) => self.delete(segments),
                Work::End => break,
            }
        }
    }

    fn next_work(&self) -> Work {
        let budget = &self.shared.budget;
        let mut ledger = self.shared.ledger();
        loop {
            let doomed = ledger.take_doomed();
            if !doomed.is_empty() {
                return Work::Delete(doomed);
            }
            if ledger.is_over() {
                return Work::End;
            }
            let pause = match self.retry_at {
                Some(at) if !ledger.is_retry_due => at.checked_duration_since(Instant::now()),
                _ => None,
            };
            let own_bytes = ledger.memory_bytes();
            let is_pressed = ledger.wanted_bytes > 0 || budget.is_pressed(own_bytes);
            if pause.is_none() && (ledger.wants_persisting() || (own_bytes > 0 && is_pressed)) {
                return Work::Write(ledger.begin_write(budget.record_bytes_max()));
            }
            ledger = self.shared.wait_for_disk_work(ledger, pause);
        }
    }

    fn write(&mut self, batch: &Batch) {
        match self.append(batch) {
            Ok(segment) => {
                self.retry_at = None;
                self.retry_delay = WRITE_RETRY_DELAY;
                self.shared.commit(batch, segment);
                self.say_spilling();
                self.say_trouble(None);
            }
            Err(trouble) => {
                let mut delay = QUOTA_RETRY_DELAY;
                if let DiskTrouble::WriteFailed(_) = trouble {
                    delay = self.retry_delay;
                    self.retry_delay = (delay * 2).min(WRITE_RETRY_DELAY_MAX);
                }
                self.retry_at = Some(Instant::now() + delay);
                self.shared.ledger().fail(trouble);
                self.say_trouble(Some(trouble));
            }
        }
        self.shared.written.notify_waiters();
    }

    /// Puts a batch behind what is there, into the segment that is open or a new one.
    fn append(&mut self, batch: &Batch) -> Result<Segment, DiskTrouble> {
        let record = match batch.pieces.is_empty() {
            true => &[][..],
            false => self.encoder.encode(batch.position, &batch.pieces),
        };
        let segment_bytes_max = self.shared.budget.segment_bytes_max();
        let continued = self.open.take().filter(|open| {
            let is_last = |last: &Segment| last.number == open.header.number;
            let fits = open.bytes + record.len() as u64 <= segment_bytes_max;
            fits && batch.last.as_ref().is_some_and(is_last) && open.header.origin == batch.origin
        });
        let header_bytes = continued.as_ref().map_or(SEGMENT_HEADER_BYTES, |_| 0);
        let bytes = (header_bytes + record.len()) as u64;
        if !self.shared.budget.disk.try_add(bytes) {
            self.open = continued;
            return Err(DiskTrouble::QuotaFull);
        }
        let written = match continued {
            Some(open) => Ok(open),
            None => begin(&self.tenant, &mut self.next_number, batch),
        };
        let written = written.and_then(|open| open.append(record));
        let open = written.map_err(|error| {
            self.shared.budget.disk.sub(bytes);
            DiskTrouble::WriteFailed(error.kind())
        })?;
        let segment = Segment {
            number: open.header.number,
            checksum: open.checksum,
            start: open.header.start,
            end: batch.end(),
            bytes: open.bytes,
        };
        self.open = Some(open);
        Ok(segment)
    }

    /// Deletes segments and gives their room back.
    fn delete(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            let path = self.tenant.0.segment(Kind::Spool, segment.number);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It still takes its room, so that stays counted.
                    tracing::warn!(path = %path.display(), %error, "a segment cannot be removed");
                }
                _ => self.shared.budget.disk.sub(segment.bytes),
            }
        }
        self.shared.ledger().is_retry_due = true;
        self.say_spilling();
    }

    fn say_spilling(&mut self) {
        let usage = self.shared.usage();
        let is_spilling = usage.disk_bytes > 0;
        let path = self.tenant.0.path().display();
        match (self.said_spilling, is_spilling) {
            (false, true) if usage.is_persisting => tracing::info!(
                %path,
                "what is received and not applied is kept on disk for the next run"
            ),
            (false, true) => tracing::warn!(
                %path,
                "the source sends faster than the target confirms; the spool goes to disk"
            ),
            (true, false) => tracing::info!(%path, "the spool is in memory alone again"),
            _ => {}
        }
        self.said_spilling = is_spilling;
    }

    fn say_trouble(&mut self, trouble: Option<DiskTrouble>) {
        if trouble == self.said_trouble {
            return;
        }
        let path = self.tenant.0.path().display();
        match trouble {
            None => tracing::warn!(%path, "the spool is written to disk again"),
            Some(DiskTrouble::QuotaFull) => tracing::warn!(
                %path,
                quota_bytes = self.shared.budget.disk_bytes_max(),
                "the quota of the spool is full; when memory is full too, reading from the source waits"
            ),
            Some(DiskTrouble::WriteFailed(why)) => tracing::warn!(
                %path,
                %why,
                "the spool cannot be written to disk; it is tried again, and when memory is full reading from the source waits"
            ),
        }
        self.said_trouble = trouble;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a panic nothing is written any more: who pushes must not wait for it.
        if std::thread::panicking() {
            self.shared.ledger().is_reader_gone = true;
            self.shared.budget.room.notify_waiters();
        }
    }
}

/// Begins a segment that continues the last one of the spool.
fn begin(tenant: &Tenant, next_number: &mut u64, batch: &Batch) -> io::Result<SegmentFile> {
    let number = *next_number;
    *next_number += 1;
    let header = SegmentHeader {
        kind: Kind::Spool,
        start: batch.position,
        number,
        previous: batch.last.as_ref().map_or(0, |last| last.checksum),
        origin: batch.origin.clone(),
    };
    SegmentFile::create(&tenant.0, header)
}
