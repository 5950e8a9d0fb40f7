//! Quicklists of listpacks (type 18) as quicklists of ziplists (14): a node for a node.
//!
//! How many nodes there are stands in front of them. So for each empty one, which old servers
//! cannot have, another is split in two; the last one waits until it is known what follows.

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::error::ErrorKind;
use crate::rdb::length::{put_length, put_string};
use crate::rdb::limits::Limits;
use crate::rdb::packed::Packed;
use crate::rdb::packed::ziplist_writer::{TooLong, ZiplistWriter};
use crate::rdb::part::Element;
use crate::rdb::value::list::{Node, Nodes};
use crate::rdb::value_type::ValueType;

use super::Progress;

/// A list whose nodes are written as they are read.
#[derive(Debug)]
pub(super) struct ListConversion {
    nodes: Nodes,
    begun: bool,
    /// How many nodes there are, until that is written with the first one that is not empty.
    count: Option<u64>,
    /// The last node that is not empty, not written yet.
    waiting: Vec<Element>,
    /// How many empty nodes came for which none was split.
    owed: u64,
}

impl ListConversion {
    pub(super) fn new(from: ValueType, to: ValueType) -> Option<Self> {
        if (from.byte, to.byte) != (18, 14) {
            return None;
        }
        Nodes::new(from.byte).map(|nodes| Self {
            nodes,
            begun: false,
            count: None,
            waiting: Vec::new(),
            owed: 0,
        })
    }

    pub(super) fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Stop> {
        if !self.begun {
            self.count = Some(self.nodes.begin(cursor)?);
            self.begun = true;
            return Ok(Progress::More);
        }
        let Some(node) = self.nodes.next(cursor, limits)? else {
            self.end(cursor, out)?;
            return Ok(Progress::Ended);
        };
        let elements = elements(node, cursor.offset())?;
        if elements.is_empty() {
            self.owed += 1;
            return Ok(Progress::More);
        }
        if let Some(count) = self.count.take() {
            put_length(out, count);
        }
        self.write(cursor, out)?;
        self.waiting = elements;
        Ok(Progress::More)
    }

    fn end(&mut self, cursor: &Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        if self.count.take().is_some() {
            // No node has anything in it.
            put_length(out, 0);
            return Ok(());
        }
        self.write(cursor, out)?;
        match self.owed {
            0 => Ok(()),
            _ => Err(cursor.corrupt("a list has too many empty nodes")),
        }
    }

    /// Writes the node that waits, split as often as nodes are owed and it has elements for.
    fn write(&mut self, cursor: &Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = &waiting[..];
        while self.owed > 0
            && let [first, others @ ..] = rest
            && !others.is_empty()
        {
            put_ziplist(std::slice::from_ref(first), cursor, out)?;
            rest = others;
            self.owed -= 1;
        }
        match rest.is_empty() {
            true => Ok(()),
            false => put_ziplist(rest, cursor, out),
        }
    }
}

/// What is in a node that ended at this offset.
fn elements(node: Node, end: u64) -> Result<Vec<Element>, Stop> {
    let mut elements = Vec::new();
    match node {
        Node::Element(element) => elements.push(element),
        Node::Blob(encoding, blob) => {
            let mut packed = Packed::new(encoding, blob, end)?;
            while let Some(element) = packed.next()? {
                elements.push(element);
            }
        }
    }
    Ok(elements)
}

/// Writes a node. An element on its own is a ziplist of one: those of old servers are as long as
/// theirs.
fn put_ziplist(elements: &[Element], cursor: &Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
    let mut writer = ZiplistWriter::new();
    elements.iter().for_each(|element| writer.push(element));
    let ziplist = writer.finish().map_err(|TooLong { size, limit }| {
        let what = "the ziplist of a list node";
        cursor.bad(ErrorKind::Limit { what, size, limit })
    })?;
    put_string(out, &ziplist);
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::rdb::{Event, Limits, Part, ValueParser, ValueType, convert};

    const EMPTY: &[u8] = b"\x02\x07\x07\0\0\0\0\0\xff";
    const TWO: &[u8] = b"\x02\x0b\x0b\0\0\0\x02\0\x01\x01\x02\x01\xff";

    fn converted(nodes: &[&[u8]]) -> Result<Vec<u8>, crate::rdb::Error> {
        let body = Bytes::from([&[nodes.len() as u8][..], &nodes.concat()].concat());
        let (from, to) = (ValueType::common(18), ValueType::common(14));
        convert(body, from, to, &Limits::default()).map(|converted| converted.body)
    }

    #[test]
    fn no_node_is_empty() {
        for (nodes, elements) in [
            (&[TWO][..], 2),
            (&[EMPTY, TWO], 2),
            (&[TWO, EMPTY], 2),
            (&[TWO, EMPTY, EMPTY, TWO], 4),
        ] {
            let body = converted(nodes).unwrap();
            let empty = b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff";
            assert!(!body.windows(empty.len()).any(|one| one == empty));
            let to = ValueType::common(14);
            let mut parser = ValueParser::new(to, body.into(), Limits::default());
            let mut found = 0;
            while let Some(event) = parser.next_event().unwrap() {
                found += usize::from(matches!(event, Event::Part(Part::ListElement(_))));
            }
            assert_eq!(found, elements);
        }
    }

    #[test]
    fn a_list_of_empty_nodes_has_none() {
        assert_eq!(converted(&[EMPTY, EMPTY]).unwrap(), b"\0");
        assert!(converted(&[TWO, EMPTY, EMPTY]).is_err());
    }
}
