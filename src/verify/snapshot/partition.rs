//! The keys of two snapshots, spread over partitions so that those of one name meet in one of them.
//!
//! ```text
//!  source ─► spread by the hash of db and name ─► 64 partitions ─┐
//!                                                                ├─► joined, one after the other
//!  target ─► spread in the same way ────────────► 64 partitions ─┘
//! ```
//!
//! Of a partition the smaller side is held in memory, the other one is read past it. Where the smaller
//! side is too large for that, both are spread once more, by the next bits of the hash. Whatever does
//! not fit in a buffer goes to files without names: nobody else reads them, and nothing is left of them
//! whatever happens to the process.

use std::{
    fs::File,
    io::{self, BufReader, Chain, Cursor, Read, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use bytes::Bytes;

use crate::{
    keyspace::Db,
    verify::{
        compare::{self, Rules},
        report::Suspect,
    },
};

use super::{
    digest::spread,
    record::{Record, read_next},
};

/// How much is held, and where the rest goes.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Where the files are.
    pub(super) dir: PathBuf,
    /// Draws the lots of which key goes where.
    pub(super) seed: u64,
    /// As many bits of the hash choose the partition at first.
    pub(super) first_bits: u32,
    /// As many when a partition is spread again.
    pub(super) more_bits: u32,
    /// What a partition holds in memory before it is written to its file.
    pub(super) buffer_bytes: usize,
    /// The smaller side of a partition that is held in memory.
    pub(super) held_bytes_max: u64,
    /// So few records are held however long their names are.
    pub(super) held_records_min: u64,
}

impl Bounds {
    pub(super) fn new(dir: PathBuf, seed: u64) -> Bounds {
        Bounds {
            dir,
            seed,
            first_bits: 6,
            more_bits: 4,
            buffer_bytes: 64 << 10,
            held_bytes_max: 32 << 20,
            held_records_min: 64,
        }
    }

    /// How many bits of a hash a partition of this depth has used up.
    fn bits_used(&self, depth: u32) -> u32 {
        self.first_bits + depth * self.more_bits
    }
}

/// The records of one side, or of a partition of it, as they are being spread.
#[derive(Debug)]
pub(super) struct Spread {
    bounds: Bounds,
    /// How often what comes here was spread already.
    depth: u32,
    partitions: Vec<Partition>,
}

/// Some of the records of one side.
#[derive(Debug, Default)]
struct Partition {
    /// What does not stand in the file yet.
    buffer: Vec<u8>,
    file: Option<File>,
    file_bytes: u64,
    records: u64,
}

impl Spread {
    /// Begins with the records of a side.
    pub(super) fn new(bounds: &Bounds) -> Spread {
        Spread::at(bounds, 0)
    }

    fn at(bounds: &Bounds, depth: u32) -> Spread {
        let bits = match depth {
            0 => bounds.first_bits,
            _ => bounds.more_bits,
        };
        Spread {
            bounds: bounds.clone(),
            depth,
            partitions: (0..1 << bits).map(|_| Partition::default()).collect(),
        }
    }

    /// Takes a record.
    pub(super) fn add(&mut self, record: &Record<'_>) -> io::Result<()> {
        let hash = spread(self.bounds.seed, record.db.0, record.key);
        let used = self.bounds.bits_used(self.depth);
        let at = (hash >> (u64::BITS - used)) as usize % self.partitions.len();
        let Some(partition) = self.partitions.get_mut(at) else {
            return Ok(());
        };
        record.write(&mut partition.buffer);
        partition.records += 1;
        match partition.buffer.len() >= self.bounds.buffer_bytes {
            true => partition.write(&self.bounds),
            false => Ok(()),
        }
    }

    /// The bytes on the disk.
    pub(super) fn file_bytes(&self) -> u64 {
        self.partitions.iter().map(|of| of.file_bytes).sum()
    }
}

impl Partition {
    fn write(&mut self, bounds: &Bounds) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&bounds.dir)?),
        };
        file.write_all(&self.buffer)?;
        self.file_bytes += self.buffer.len() as u64;
        // One that held a giant name is given back.
        self.buffer.clear();
        self.buffer.shrink_to(2 * bounds.buffer_bytes);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.file_bytes + self.buffer.len() as u64
    }

    fn into_reader(self) -> io::Result<PartitionReader> {
        let behind = Cursor::new(self.buffer);
        let file: Box<dyn Read + Send> = match self.file {
            None => Box::new(io::empty()),
            Some(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Box::new(BufReader::with_capacity(256 << 10, file))
            }
        };
        Ok(file.chain(behind))
    }
}

type PartitionReader = Chain<Box<dyn Read + Send>, Cursor<Vec<u8>>>;

/// A partition of both sides.
#[derive(Debug)]
struct Pair {
    source: Partition,
    target: Partition,
    depth: u32,
}

/// The records of both sides, as they are compared with each other.
pub(super) struct Join {
    bounds: Bounds,
    rules: Rules,
    /// What is still to be joined; the last comes first.
    pairs: Vec<Pair>,
    current: Option<Current>,
}

/// A partition that is being joined.
struct Current {
    held: Held,
    /// Whether the side that is held is the source.
    holds_source: bool,
    /// The other side; `None` when it has been read.
    reader: Option<PartitionReader>,
    buffer: Vec<u8>,
    /// How many of those that are held were looked at in the end.
    rest: usize,
}

/// One side of a partition in memory.
struct Held {
    bytes: Vec<u8>,
    /// The hashes of the records in ascending order, and where each begins.
    index: Vec<(u64, usize)>,
    /// Whether the other side has it, in the order of the index.
    is_met: Vec<bool>,
}

impl Join {
    /// Joins two sides that were spread within the same bounds.
    pub(super) fn new(source: Spread, target: Spread, rules: Rules) -> Join {
        let bounds = source.bounds.clone();
        let mut join = Join {
            bounds,
            rules,
            pairs: Vec::new(),
            current: None,
        };
        join.push(source, target);
        join
    }

    /// The next key that has to be read again; `None` behind the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<Suspect>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(suspect) = current.next(&self.rules, self.bounds.seed)? {
                    return Ok(Some(suspect));
                }
                self.current = None;
            }
            match self.pairs.pop() {
                None => return Ok(None),
                Some(pair) if self.is_too_large(&pair) => self.spread_again(pair)?,
                Some(pair) => self.current = Some(Current::new(pair, self.bounds.seed)?),
            }
        }
    }

    fn push(&mut self, source: Spread, target: Spread) {
        let depth = source.depth;
        let pairs = source.partitions.into_iter().zip(target.partitions);
        let pairs = pairs.map(|(source, target)| Pair {
            source,
            target,
            depth,
        });
        self.pairs.extend(pairs);
    }

    fn is_too_large(&self, pair: &Pair) -> bool {
        let (source, target) = (&pair.source, &pair.target);
        let next_bits = self.bounds.bits_used(pair.depth + 1);
        source.bytes().min(target.bytes()) > self.bounds.held_bytes_max
            && source.records.min(target.records) > self.bounds.held_records_min
            && next_bits <= u64::BITS
    }

    fn spread_again(&mut self, pair: Pair) -> io::Result<()> {
        let depth = pair.depth + 1;
        let spread = |partition: Partition| -> io::Result<Spread> {
            let mut spread = Spread::at(&self.bounds, depth);
            let mut reader = partition.into_reader()?;
            let mut buffer = Vec::new();
            while read_next(&mut reader, &mut buffer)? {
                spread.add(&record_of(&buffer)?)?;
            }
            Ok(spread)
        };
        let (source, target) = (spread(pair.source)?, spread(pair.target)?);
        self.push(source, target);
        Ok(())
    }
}

impl Current {
    fn new(pair: Pair, seed: u64) -> io::Result<Current> {
        let holds_source = pair.source.bytes() <= pair.target.bytes();
        let (held, other) = match holds_source {
            true => (pair.source, pair.target),
            false => (pair.target, pair.source),
        };
        Ok(Current {
            held: Held::new(held, seed)?,
            holds_source,
            reader: Some(other.into_reader()?),
            buffer: Vec::new(),
            rest: 0,
        })
    }

    fn next(&mut self, rules: &Rules, seed: u64) -> io::Result<Option<Suspect>> {
        while let Some(reader) = &mut self.reader {
            if !read_next(reader, &mut self.buffer)? {
                self.reader = None;
                break;
            }
            let other = record_of(&self.buffer)?;
            let is_suspect = match self.held.meet(&other, seed)? {
                None => true,
                Some(held) => {
                    let (source, target) = match self.holds_source {
                        true => (&held, &other),
                        false => (&other, &held),
                    };
                    differ(source, target, rules)
                }
            };
            if is_suspect {
                return Ok(Some(suspect(&other)));
            }
        }
        // What is left was not met: only this side has it.
        while let Some(is_met) = self.held.is_met.get(self.rest) {
            let at = self.rest;
            self.rest += 1;
            if !is_met {
                return Ok(Some(suspect(&self.held.record(at)?)));
            }
        }
        Ok(None)
    }
}

impl Held {
    fn new(partition: Partition, seed: u64) -> io::Result<Held> {
        let records = usize::try_from(partition.records).unwrap_or_default();
        let len = usize::try_from(partition.bytes()).unwrap_or_default();
        let mut bytes = Vec::with_capacity(len);
        partition.into_reader()?.read_to_end(&mut bytes)?;
        let mut index = Vec::with_capacity(records);
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (record, len) = Record::read(rest).ok_or(io::ErrorKind::UnexpectedEof)?;
            index.push((spread(seed, record.db.0, record.key), at));
            at += len;
        }
        index.sort_unstable();
        Ok(Held {
            is_met: vec![false; index.len()],
            bytes,
            index,
        })
    }

    /// The record at this place of the index.
    fn record(&self, at: usize) -> io::Result<Record<'_>> {
        let start = self.index.get(at).map(|(_, start)| *start);
        let bytes = start.and_then(|start| self.bytes.get(start..));
        record_of(bytes.unwrap_or_default())
    }

    /// The record of the same key, which counts as met from then on.
    fn meet(&mut self, other: &Record<'_>, seed: u64) -> io::Result<Option<Record<'_>>> {
        let hash = spread(seed, other.db.0, other.key);
        let first = self.index.partition_point(|(of, _)| *of < hash);
        let mut found = None;
        // Other keys may have the same hash. A snapshot that had a key twice would have two of it.
        for at in first.. {
            if self.index.get(at).is_none_or(|(of, _)| *of != hash) {
                break;
            }
            let record = self.record(at)?;
            if record.db == other.db && record.key == other.key {
                found = Some(at);
                if let Some(is_met) = self.is_met.get_mut(at) {
                    *is_met = true;
                }
            }
        }
        found.map(|at| self.record(at)).transpose()
    }
}

fn record_of(bytes: &[u8]) -> io::Result<Record<'_>> {
    let record = Record::read(bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(record.0)
}

fn differ(source: &Record<'_>, target: &Record<'_>, rules: &Rules) -> bool {
    source.key_type != target.key_type
        || !source.digest.is_same(&target.digest)
        || !compare::expiries(source.expire_at_ms, target.expire_at_ms, rules)
}

fn suspect(record: &Record<'_>) -> Suspect {
    Suspect {
        db: Db(record.db.0),
        key: Bytes::copy_from_slice(record.key),
    }
}

#[cfg(test)]
mod tests;
