//! Strings (type 0): in one piece, or in chunks when they are long, inflated as they arrive.

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::length::Prefix;
use crate::rdb::limits::Limits;
use crate::rdb::lzf::Inflater;
use crate::rdb::opcode::TYPE_STRING;
use crate::rdb::part::{Element, Part};

/// A string that is being read.
#[derive(Debug)]
pub(crate) enum StringValue {
    Start,
    /// Raw bytes are left to deliver.
    Raw(u64),
    Inflate(Box<Inflater>),
    Done,
}

impl StringValue {
    pub(crate) fn new(byte: u8) -> Option<Self> {
        (byte == TYPE_STRING).then_some(Self::Start)
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        match self {
            Self::Start => self.start(cursor, limits).map(Some),
            Self::Raw(0) | Self::Done => Ok(None),
            Self::Raw(left) => {
                let chunk = (*left).min(limits.chunk_bytes_max.max(1) as u64);
                let bytes = cursor.slice(chunk as usize)?;
                *left -= chunk;
                Ok(Some(Part::StringChunk(bytes)))
            }
            Self::Inflate(inflater) => inflate(inflater, cursor),
        }
    }

    fn start(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Part, Stop> {
        if let Some(string) = cursor.short_string(limits)? {
            *self = Self::Done;
            return Ok(Part::String(string));
        }
        let (len, chunked) = match cursor.string_prefix(limits)? {
            Prefix::Raw(len) => (len, Self::Raw(len)),
            Prefix::Int(value) => return Ok(Part::String(Element::Int(value))),
            Prefix::Lzf {
                compressed,
                original,
            } => {
                let inflater = Inflater::new(compressed, original, limits.chunk_bytes_max);
                (original, Self::Inflate(Box::new(inflater)))
            }
        };
        *self = chunked;
        Ok(Part::StringStart { len })
    }
}

fn inflate(inflater: &mut Inflater, cursor: &mut Cursor<'_>) -> Result<Option<Part>, Stop> {
    loop {
        if let Some(chunk) = inflater.take_chunk() {
            return Ok(Some(Part::StringChunk(chunk)));
        }
        if inflater.is_done() {
            return Ok(None);
        }
        match inflater.feed(cursor.rest()) {
            Ok(0) => return Err(Stop::More),
            Ok(used) => cursor.pass(used as u64),
            Err((flaw, before)) => {
                cursor.pass(before as u64);
                return Err(cursor.corrupt(flaw.0));
            }
        };
        cursor.commit();
    }
}
