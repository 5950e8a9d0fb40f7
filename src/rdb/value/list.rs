//! Lists: by element (type 1), as a ziplist (10), and as quicklists, which are lists of nodes:
//! ziplists (14), or listpacks and single large elements (18).

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::event::Part;
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed};

/// A node of type 18 is one element as it is.
const CONTAINER_PLAIN: u64 = 1;
/// A node of type 18 is a listpack.
const CONTAINER_PACKED: u64 = 2;

/// A list that is being read.
#[derive(Debug)]
pub(crate) struct List {
    nodes: Nodes,
    /// How many nodes are left, once that is known.
    left: Option<u64>,
    node: Option<Packed>,
}

/// What stands in the file one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    Elements,
    Ziplists,
    Containers,
}

impl List {
    pub(crate) fn new(byte: u8) -> Option<Self> {
        let (nodes, left) = match byte {
            1 => (Nodes::Elements, None),
            10 => (Nodes::Ziplists, Some(1)),
            14 => (Nodes::Ziplists, None),
            18 => (Nodes::Containers, None),
            _ => return None,
        };
        Some(Self {
            nodes,
            left,
            node: None,
        })
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            if let Some(node) = &mut self.node {
                if let Some(element) = node.next()? {
                    return Ok(Some(Part::ListElement(element)));
                }
                self.node = None;
            }
            let Some(left) = self.left else {
                self.left = Some(cursor.count()?);
                cursor.commit();
                continue;
            };
            if left == 0 {
                return Ok(None);
            }
            let encoding = match self.nodes {
                Nodes::Elements => None,
                Nodes::Ziplists => Some(Encoding::Ziplist),
                Nodes::Containers => match cursor.length()? {
                    CONTAINER_PLAIN => None,
                    CONTAINER_PACKED => Some(Encoding::Listpack),
                    _ => return Err(cursor.corrupt("undefined container of a list node")),
                },
            };
            let Some(encoding) = encoding else {
                let element = cursor.string(limits)?;
                self.left = Some(left - 1);
                return Ok(Some(Part::ListElement(element)));
            };
            self.node = Some(Packed::read(encoding, cursor, limits)?);
            self.left = Some(left - 1);
            cursor.commit();
        }
    }
}
