//! Values of modules: those of unknown ones as they stand, vector sets in the first of their forms.
//!
//! From some release after 8.0 on, Redis says for each node of a vector set and each of its levels
//! which link is the worst one, which Redis 8.0 refuses and finds out by itself (redis
//! vector-sets/hnsw.c hnsw_serialize_node).
//!
//! ```text
//! parameters: id | level + version << 24
//!             (level + 1) * (n | maximum | n * id | version 1: worst link) | norm and range
//! ```

use bytes::BufMut;

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::length::put_length;
use crate::rdb::limits::Limits;
use crate::rdb::value::module::{ITEM_UNSIGNED, has_parts};
use crate::rdb::value::vector_set::{Head, end, string_item, unsigned};
use crate::rdb::value_type::ValueType;
use crate::rdb::walk::{Op, Walk};

use super::Progress;

/// The most parameters of a node; 16 levels with 4096 links each have fewer.
const PARAMETERS_MAX: u64 = 1 << 18;

/// A value that is copied while it is read.
#[derive(Debug)]
pub(super) enum ModuleConversion {
    Start,
    /// The content of an unknown module.
    Items(Walk),
    Head,
    Elements {
        left: u64,
        /// How many strings each has.
        strings: u8,
    },
    End,
    Done,
}

impl ModuleConversion {
    /// `None` unless both are values of modules.
    pub(super) fn new(from: ValueType, to: ValueType) -> Option<Self> {
        (from.is_module() && to.is_module()).then_some(Self::Start)
    }

    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Stop> {
        let start = cursor.pos();
        *self = match self {
            Self::Start => {
                let id = cursor.length()?;
                out.put_slice(cursor.since(start));
                match has_parts(id) {
                    true => Self::Head,
                    false => Self::Items(Walk::new(&[Op::Items])),
                }
            }
            Self::Items(walk) => return copy_items(walk, cursor, out),
            Self::Head => {
                let head = Head::read(cursor)?;
                if head.has_projection() {
                    cursor.pass_string(limits)?;
                }
                out.put_slice(cursor.since(start));
                Self::Elements {
                    left: head.set.elements,
                    strings: if head.has_attributes { 3 } else { 2 },
                }
            }
            Self::Elements { left: 0, .. } => Self::End,
            Self::Elements { left, strings } => {
                element(*strings, cursor, limits, out)?;
                Self::Elements {
                    left: *left - 1,
                    strings: *strings,
                }
            }
            Self::End => {
                end(cursor)?;
                out.put_u8(0);
                Self::Done
            }
            Self::Done => Self::Done,
        };
        Ok(match self {
            Self::Done => Progress::Ended,
            _ => Progress::More,
        })
    }
}

fn copy_items(
    walk: &mut Walk,
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
) -> Result<Progress, Stop> {
    let start = cursor.pos();
    let mut ahead = cursor.ahead(0);
    let run = walk.run(&mut ahead, u64::MAX);
    cursor.take(ahead.committed() - start)?;
    out.put_slice(cursor.since(start));
    match run {
        Ok(_) => Ok(Progress::Ended),
        // What was walked over is copied; the walk finds the rest, or the same error, again.
        Err(_) if cursor.pos() > start => Ok(Progress::More),
        Err(stop) => Err(stop),
    }
}

fn element(
    strings: u8,
    cursor: &mut Cursor<'_>,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), Stop> {
    let start = cursor.pos();
    for _ in 0..strings {
        string_item(cursor)?;
        cursor.pass_string(limits)?;
    }
    out.put_slice(cursor.since(start));
    let parameters = node(cursor)?;
    put_unsigned(out, parameters.len() as u64);
    parameters.iter().for_each(|one| put_unsigned(out, *one));
    Ok(())
}

/// Reads the parameters of a node, without the worst links.
fn node(cursor: &mut Cursor<'_>) -> Result<Vec<u64>, Stop> {
    let mut left = unsigned(cursor)?;
    if left > PARAMETERS_MAX {
        return Err(cursor.corrupt("a node of a vector set has too many parameters"));
    }
    let mut next = |cursor: &mut Cursor<'_>| {
        let few = "a node of a vector set has too few parameters";
        left = left.checked_sub(1).ok_or_else(|| cursor.corrupt(few))?;
        unsigned(cursor)
    };
    let id = next(cursor)?;
    let level_and_version = next(cursor)?;
    let (level, version) = (level_and_version & 0xff, level_and_version >> 24 & 0xff);
    if version > 1 {
        return Err(cursor.corrupt("a vector set of a version that is not known"));
    }
    let mut kept = vec![id, level_and_version & 0x00ff_ffff];
    for _ in 0..=level {
        let (links, links_max) = (next(cursor)?, next(cursor)?);
        kept.extend([links, links_max]);
        for _ in 0..links {
            kept.push(next(cursor)?);
        }
        if version == 1 {
            next(cursor)?;
        }
    }
    kept.push(next(cursor)?);
    match left {
        0 => Ok(kept),
        _ => Err(cursor.corrupt("a node of a vector set has too many parameters")),
    }
}

fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    put_length(out, ITEM_UNSIGNED);
    put_length(out, value);
}
