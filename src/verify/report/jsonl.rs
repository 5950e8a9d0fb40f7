//! JSON Lines: one object a line, in the order things were found.
//!
//! A process that is killed may leave half a line, or some of the differences of a key. Both are
//! cut off when the file is gone on with: such a key is still a suspect.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use bytes::Bytes;

use super::{
    Bookmark, Format, Head, Refusal, Repaired, Resumed, Suspect,
    bookmark::RunIds,
    record::{
        DifferenceLine, KeyLine, Line, ProgressLine, ReadLine, Recount, RepairLine, ResumedLine,
        UndecidedLine,
    },
};
use crate::{
    keyspace::Db,
    verify::{Difference, Summary, Undecided, UndecidedCounts, summary::none_undecided},
};

/// How a report of ours begins.
const BEGINNING: &[u8] = b"{\"record\":\"head\",";

/// A report in JSON Lines.
pub(super) struct Jsonl {
    file: BufWriter<File>,
}

impl Jsonl {
    pub(super) fn create(file: File, head: &Head) -> io::Result<Jsonl> {
        lock(&file)?;
        let mut jsonl = Jsonl {
            file: BufWriter::new(file),
        };
        jsonl.line(&Line::Head(head))?;
        jsonl.file.flush()?;
        Ok(jsonl)
    }

    pub(super) fn resume(path: &Path, head: &Head) -> Result<(Jsonl, Resumed), Refusal> {
        let mut file = File::options().read(true).write(true).open(path)?;
        lock(&file)?;
        let mut past = Past::default();
        past.read(&file, head)?;
        file.set_len(past.len)?;
        file.seek(SeekFrom::End(0))?;
        let mut jsonl = Jsonl {
            file: BufWriter::new(file),
        };
        jsonl.line(&match past.head {
            Some(_) => Line::Resumed(ResumedLine {
                started_at: head.started_at.clone(),
                run_ids: RunIds::of(head),
            }),
            None => Line::Head(head),
        })?;
        jsonl.file.flush()?;
        Ok((jsonl, past.into_resumed(head)))
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")
    }
}

impl Format for Jsonl {
    fn differences(&mut self, of_key: &[Difference]) -> io::Result<()> {
        for (n, difference) in of_key.iter().enumerate() {
            let line = DifferenceLine::new(difference, n + 1, of_key.len());
            self.line(&Line::Difference(Box::new(line)))?;
        }
        Ok(())
    }

    fn undecided(&mut self, undecided: &Undecided) -> io::Result<()> {
        self.line(&Line::Undecided(UndecidedLine::new(undecided)))
    }

    fn repaired(&mut self, repaired: &Repaired) -> io::Result<()> {
        self.line(&Line::Repair(RepairLine::new(repaired)))
    }

    fn suspects(&mut self, suspects: &[Suspect]) -> io::Result<()> {
        for suspect in suspects {
            self.line(&Line::Suspect(KeyLine::new(suspect.db, &suspect.key)))?;
        }
        Ok(())
    }

    fn settled(&mut self, db: Db, key: &Bytes) -> io::Result<()> {
        self.line(&Line::Settled(KeyLine::new(db, key)))
    }

    fn bookmark(&mut self, bookmark: &Bookmark) -> io::Result<()> {
        self.line(&Line::Progress(ProgressLine::new(bookmark)))?;
        self.file.flush()
    }

    fn finish(mut self: Box<Self>, summary: &Summary) -> io::Result<()> {
        self.line(&Line::Summary(summary))?;
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

/// Two processes would write into each other's lines.
fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::WouldBlock, "another process writes to it")
        }
        std::fs::TryLockError::Error(error) => error,
    })
}

/// What stands in the file.
#[derive(Default)]
struct Past {
    /// Up to here it is whole, in bytes.
    len: u64,
    head: Option<Head>,
    bookmark: Option<Bookmark>,
    /// With their order. Those that are decided are taken out at the end.
    suspects: HashMap<Suspect, u64>,
    order: u64,
    /// Different, or undecided.
    decided: HashSet<Suspect>,
    recount: Recount,
    undecided: UndecidedCounts,
    finished: bool,
}

impl Past {
    fn read(&mut self, file: &File, ours: &Head) -> Result<(), Refusal> {
        self.undecided = none_undecided();
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        let mut read_bytes = 0;
        let mut number = 0;
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            read_bytes += line.len() as u64;
            number += 1;
            let Some(whole) = line.strip_suffix(b"\n") else {
                break;
            };
            let read: ReadLine = serde_json::from_slice(whole).map_err(|error| match number {
                1 => Refusal::Other("it does not begin as one".to_owned()),
                _ => unreadable(number, &error.to_string()),
            })?;
            match read {
                ReadLine::Head(theirs) if number == 1 => {
                    if let Some(why) = ours.difference(&theirs) {
                        return Err(Refusal::Other(why));
                    }
                    self.head = Some(theirs);
                    self.len = read_bytes;
                }
                _ if number == 1 => {
                    return Err(Refusal::Other("it does not begin as one".to_owned()));
                }
                read => {
                    let is_whole = self.take(read);
                    if is_whole.map_err(|why| unreadable(number, &why))? {
                        self.len = read_bytes;
                    }
                }
            }
        }
        // Its first line was being written when the process ended; anything else is none of ours.
        let begun = BEGINNING.starts_with(&line) || line.starts_with(BEGINNING);
        match self.head.is_none() && !begun {
            true => Err(Refusal::Other("it does not begin as one".to_owned())),
            false => Ok(()),
        }
    }

    /// Takes a line; returns whether the file is whole behind it.
    fn take(&mut self, line: ReadLine) -> Result<bool, String> {
        match line {
            ReadLine::Head(_) => return Err("the file begins twice".to_owned()),
            ReadLine::Resumed(read) => self.resume(read.run_ids),
            ReadLine::Difference(read) => {
                let is_last = read.number == read.of;
                self.recount.add(read.outline()?, is_last);
                if !is_last {
                    return Ok(false);
                }
                self.decided.insert(read.key.into_suspect());
            }
            ReadLine::Undecided(read) => {
                *self.undecided.entry(read.reason()?).or_default() += 1;
                self.decided.insert(read.key.into_suspect());
            }
            ReadLine::Suspect(key) => {
                self.order += 1;
                self.suspects
                    .entry(key.into_suspect())
                    .or_insert(self.order);
            }
            // A page that is walked twice may find it different again.
            ReadLine::Settled(key) => {
                self.suspects.remove(&key.into_suspect());
            }
            ReadLine::Progress(progress) => self.bookmark = Some(progress.into_bookmark()),
            ReadLine::Repair {} => {}
            ReadLine::Summary {} => self.finished = true,
        }
        Ok(true)
    }

    /// Another run begins here.
    fn resume(&mut self, run_ids: RunIds) {
        let Some(head) = &mut self.head else { return };
        if let Some(bookmark) = &mut self.bookmark {
            bookmark.keep_for(&RunIds::of(head), &run_ids);
        }
        head.source_run_id = run_ids.source_run_id;
        head.target_run_id = run_ids.target_run_id;
    }

    fn into_resumed(mut self, ours: &Head) -> Resumed {
        if let (Some(head), Some(bookmark)) = (&self.head, &mut self.bookmark) {
            bookmark.keep_for(&RunIds::of(head), &RunIds::of(ours));
        }
        let open = self.suspects.into_iter();
        let open = open.filter(|(suspect, _)| !self.decided.contains(suspect));
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|(_, order)| *order);
        Resumed {
            head: self.head.unwrap_or_else(|| ours.clone()),
            bookmark: self.bookmark,
            suspects: open.into_iter().map(|(suspect, _)| suspect).collect(),
            decided: self.decided,
            counts: self.recount.counts,
            undecided: self.undecided,
            finished: self.finished,
        }
    }
}

fn unreadable(line: u64, why: &str) -> Refusal {
    let why = format!("line {line} cannot be read: {why}");
    Refusal::Failed(io::Error::new(io::ErrorKind::InvalidData, why))
}
