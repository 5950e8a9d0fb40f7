//! The opcodes that only Dragonfly writes (`rdb_extensions.h` there), as they are reported.
//!
//! ```text
//! 200  8 bytes                            the end of a full sync
//! 201  str, a Zstandard frame             records, compressed
//! 202  str, an LZ4 frame                  records, compressed
//! 203                                     the end of such records
//! 211  8 bytes LE                         an offset in the journal
//! 220  u32 LE | u32 LE, if bit 1 is set   bit 0: the next key is sticky; memcached's flags
//! 222  str name | len entry point | len n | n * (u32 id, u64 global id, u32 level,
//!      (level + 1) * (u32 m, m * u32))    an index over vectors
//! 223  len shard | str name | len n | n * (str key, len document)   an index over documents
//! ```
//!
//! The journal itself (210) and interleaved pieces of values (224) are refused: the first is data
//! that other records know nothing of, and putting the second together takes unbounded memory.

use bytes::Bytes;

use super::cursor::{Cursor, Stop};
use super::event::Event;
use super::limits::Limits;
use super::section::{Codec, Section};
use super::walk::{Op, Walk};

const STICKY: u32 = 1;
const HAS_MEMCACHED_FLAGS: u32 = 2;
const DOCUMENTS: &[Op] = &[Op::Repeat(&[Op::Str, Op::Len])];

/// A record that is being read.
#[derive(Debug)]
pub(crate) enum Record {
    /// Says nothing about the data.
    EightBytes,
    Section(Codec),
    SectionEnd,
    KeyFlags,
    VectorIndex(VectorIndex),
    DocumentIndex(Option<(Bytes, Walk)>),
}

/// What a record was.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    Event(Event),
    Section(Section),
}

impl Record {
    /// The record that an opcode begins.
    pub(crate) fn of(opcode: u8) -> Option<Self> {
        Some(match opcode {
            200 | 211 => Self::EightBytes,
            201 => Self::Section(Codec::Zstandard),
            202 => Self::Section(Codec::Lz4),
            203 => Self::SectionEnd,
            220 => Self::KeyFlags,
            222 => Self::VectorIndex(VectorIndex::default()),
            223 => Self::DocumentIndex(None),
            _ => return None,
        })
    }

    /// Whether it may stand only inside (true) or outside (false) of compressed records, if that
    /// matters.
    pub(crate) fn in_section(&self) -> Option<bool> {
        match self {
            Self::Section(_) => Some(false),
            Self::SectionEnd => Some(true),
            _ => None,
        }
    }

    /// Reads the record.
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Found, Stop> {
        match self {
            Self::EightBytes => {
                cursor.take(8)?;
                Ok(Found::Nothing)
            }
            Self::SectionEnd => Ok(Found::Nothing),
            Self::Section(codec) => Section::read(*codec, cursor, limits).map(Found::Section),
            Self::KeyFlags => {
                let flags = cursor.array().map(u32::from_le_bytes)?;
                let memcached_flags = match flags & HAS_MEMCACHED_FLAGS {
                    0 => None,
                    _ => Some(cursor.array().map(u32::from_le_bytes)?),
                };
                Ok(Found::Event(Event::KeyFlags {
                    sticky: flags & STICKY != 0,
                    memcached_flags,
                }))
            }
            Self::VectorIndex(index) => {
                let name = index.next(cursor, limits)?;
                Ok(Found::Event(Event::SearchIndex { name }))
            }
            Self::DocumentIndex(Some((name, walk))) => {
                walk.run(cursor, u64::MAX)?;
                let name = std::mem::take(name);
                Ok(Found::Event(Event::SearchIndex { name }))
            }
            Self::DocumentIndex(begun) => {
                cursor.length()?;
                *begun = Some((cursor.text(limits)?, Walk::new(DOCUMENTS)));
                cursor.commit();
                self.next(cursor, limits)
            }
        }
    }
}

/// A graph that is passed over, node by node and level by level.
#[derive(Debug, Default)]
pub(crate) struct VectorIndex {
    name: Option<Bytes>,
    nodes_left: u64,
    levels_left: u64,
    skip: u64,
}

impl VectorIndex {
    /// The name of the index, once all of it was passed over.
    fn next(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Bytes, Stop> {
        loop {
            self.skip -= cursor.pass(self.skip);
            cursor.commit();
            if self.skip > 0 {
                return Err(Stop::More);
            }
            if self.levels_left > 0 {
                let links = cursor.array().map(u32::from_le_bytes)?;
                self.levels_left -= 1;
                self.skip = 4 * u64::from(links);
                continue;
            }
            match &mut self.name {
                None => {
                    let name = cursor.text(limits)?;
                    // Where searches begin.
                    cursor.length()?;
                    self.nodes_left = cursor.count()?;
                    self.name = Some(name);
                }
                Some(name) if self.nodes_left == 0 => return Ok(std::mem::take(name)),
                Some(_) => {
                    // Its id, and that among all shards.
                    cursor.take(12)?;
                    let level = cursor.array().map(u32::from_le_bytes)?;
                    self.levels_left = u64::from(level) + 1;
                    self.nodes_left -= 1;
                }
            }
        }
    }
}
