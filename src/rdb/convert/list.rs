//! Quicklists of listpacks (type 18) as quicklists of ziplists (14): a node for a node.

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::error::ErrorKind;
use crate::rdb::event::ValueType;
use crate::rdb::length::{put_length, put_string};
use crate::rdb::limits::Limits;
use crate::rdb::packed::Packed;
use crate::rdb::packed::ziplist_writer::{TooLong, ZiplistWriter};
use crate::rdb::value::list::{Node, Nodes};

use super::Progress;

/// A list whose nodes are written as they are read.
#[derive(Debug)]
pub(super) struct ListConversion {
    nodes: Nodes,
    begun: bool,
}

impl ListConversion {
    pub(super) fn new(from: ValueType, to: ValueType) -> Option<Self> {
        if (from.byte, to.byte) != (18, 14) {
            return None;
        }
        Nodes::new(from.byte).map(|nodes| Self {
            nodes,
            begun: false,
        })
    }

    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Stop> {
        if !self.begun {
            put_length(out, self.nodes.begin(cursor)?);
            self.begun = true;
            return Ok(Progress::More);
        }
        let Some(node) = self.nodes.next(cursor, limits)? else {
            return Ok(Progress::Ended);
        };
        let ziplist = ziplist(node, cursor.offset())?;
        let ziplist = ziplist.map_err(|TooLong { size, limit }| {
            let what = "the ziplist of a list node";
            cursor.bad(ErrorKind::Limit { what, size, limit })
        })?;
        put_string(out, &ziplist);
        Ok(Progress::More)
    }
}

/// What is in a node that ended at this offset. An element on its own is a ziplist of one: those
/// of old servers are as long as theirs.
fn ziplist(node: Node, end: u64) -> Result<Result<Vec<u8>, TooLong>, Stop> {
    let mut writer = ZiplistWriter::new();
    match node {
        Node::Element(element) => writer.push(&element),
        Node::Blob(encoding, blob) => {
            let mut packed = Packed::new(encoding, blob, end)?;
            while let Some(element) = packed.next()? {
                writer.push(&element);
            }
        }
    }
    Ok(writer.finish())
}
