//! Lists: by element (type 1), as a ziplist (10), and as quicklists, which are lists of nodes:
//! ziplists (14), or listpacks and single large elements (18).

use bytes::Bytes;

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed, read_blob};
use crate::rdb::part::{Element, Part};

/// A node of type 18 is one element as it is.
pub(crate) const CONTAINER_PLAIN: u64 = 1;
/// A node of type 18 is a listpack.
pub(crate) const CONTAINER_PACKED: u64 = 2;

/// A list that is being read.
#[derive(Debug)]
pub(crate) struct List {
    nodes: Nodes,
    node: Option<Packed>,
}

/// What stands in the file one after the other.
#[derive(Debug)]
pub(crate) struct Nodes {
    form: Form,
    /// How many nodes are left, once that is known.
    left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Elements,
    Ziplists,
    Containers,
}

/// One node of a list.
#[derive(Debug)]
pub(crate) enum Node {
    /// A single element.
    Element(Element),
    /// Several, packed.
    Blob(Encoding, Bytes),
}

impl List {
    pub(crate) fn new(byte: u8) -> Option<Self> {
        Nodes::new(byte).map(|nodes| Self { nodes, node: None })
    }

    /// The elements of a single packed node.
    pub(crate) fn of_node(node: Packed) -> Self {
        let nodes = Nodes {
            form: Form::Containers,
            left: Some(0),
        };
        Self {
            nodes,
            node: Some(node),
        }
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
            match self.nodes.next(cursor, limits)? {
                None => return Ok(None),
                Some(Node::Element(element)) => return Ok(Some(Part::ListElement(element))),
                Some(Node::Blob(encoding, blob)) => {
                    self.node = Some(Packed::new(encoding, blob, cursor.offset())?);
                }
            }
            cursor.commit();
        }
    }
}

impl Nodes {
    pub(crate) fn new(byte: u8) -> Option<Self> {
        let (form, left) = match byte {
            1 => (Form::Elements, None),
            10 => (Form::Ziplists, Some(1)),
            14 => (Form::Ziplists, None),
            18 => (Form::Containers, None),
            _ => return None,
        };
        Some(Self { form, left })
    }

    /// How many nodes are to come; reads it, if it was not read yet.
    pub(crate) fn begin(&mut self, cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
        if let Some(left) = self.left {
            return Ok(left);
        }
        let left = cursor.count()?;
        self.left = Some(left);
        cursor.commit();
        Ok(left)
    }

    /// The next node, `None` after the last one.
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Node>, Stop> {
        let left = self.begin(cursor)?;
        if left == 0 {
            return Ok(None);
        }
        let encoding = match self.form {
            Form::Elements => None,
            Form::Ziplists => Some(Encoding::Ziplist),
            Form::Containers => match cursor.length()? {
                CONTAINER_PLAIN => None,
                CONTAINER_PACKED => Some(Encoding::Listpack),
                _ => return Err(cursor.corrupt("undefined container of a list node")),
            },
        };
        let node = match encoding {
            None => Node::Element(cursor.string(limits)?),
            Some(encoding) => Node::Blob(encoding, read_blob(cursor, limits)?),
        };
        self.left = Some(left - 1);
        Ok(Some(node))
    }
}
