//! What is stored of a value: packed blobs as they are, everything else by part.

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::event::Event;
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, read_blob};
use crate::rdb::part::Part;
use crate::rdb::value_type::{Family, ValueType};

use super::Value;
use super::list::{Node, Nodes};

/// A value whose blobs are not walked.
#[derive(Debug)]
pub(crate) enum Stored {
    /// A list, node by node.
    List(Nodes),
    /// A collection in one blob, which may have the least expiry of its fields in front.
    Blob {
        encoding: Encoding,
        has_min: bool,
    },
    /// Nothing of it is packed.
    Parts(Value),
    Done,
}

impl Stored {
    pub(crate) fn new(value_type: ValueType) -> Self {
        if let Some(nodes) = Nodes::new(value_type.byte) {
            return Self::List(nodes);
        }
        let encoding = match (value_type.byte, value_type.family) {
            (9, _) => Encoding::Zipmap,
            (11, _) => Encoding::Intset,
            (12 | 13, _) => Encoding::Ziplist,
            (16 | 17, _) | (20, Family::Redis | Family::Valkey) | (23 | 25, Family::Redis) => {
                Encoding::Listpack
            }
            _ => return Self::Parts(Value::new(value_type)),
        };
        Self::Blob {
            encoding,
            has_min: value_type.byte == 25,
        }
    }

    /// The next blob or part, `None` after the last one.
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Event>, Stop> {
        Ok(match self {
            Self::List(nodes) => nodes.next(cursor, limits)?.map(|node| match node {
                Node::Element(element) => Event::Part(Part::ListElement(element)),
                Node::Blob(encoding, bytes) => Event::Blob { encoding, bytes },
            }),
            Self::Blob { encoding, has_min } => {
                if *has_min {
                    cursor.ms()?;
                }
                let (encoding, bytes) = (*encoding, read_blob(cursor, limits)?);
                *self = Self::Done;
                Some(Event::Blob { encoding, bytes })
            }
            Self::Parts(value) => value.next(cursor, limits)?.map(Event::Part),
            Self::Done => None,
        })
    }
}
