//! One node of a stream: a listpack of entries that share an id to count from and field names
//! (redis t_stream.c streamAppendItem).
//!
//! ```text
//! master entry:  count | deleted | n | n field names | 0
//! entry:         flags | ms delta | seq delta | n | n * (field, value) | elements of the entry
//! same fields:   flags | ms delta | seq delta | values                 | elements of the entry
//! ```

use crate::keyspace::StreamId;
use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::error::ErrorKind;
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed};
use crate::rdb::part::Element;

const FLAG_DELETED: i64 = 1;
const FLAG_SAME_FIELDS: i64 = 2;

/// A node whose entries are being read.
#[derive(Debug)]
pub(crate) struct Node {
    id: StreamId,
    packed: Packed,
    fields: Vec<Element>,
    fields_max: u64,
    live_left: i64,
    deleted_left: i64,
}

/// The id of a live entry with its fields and values.
type Entry = (StreamId, Vec<(Element, Element)>);

impl Node {
    /// Reads the id and the listpack of a node, and its master entry.
    pub(crate) fn read(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Self, Stop> {
        let id = cursor.text(limits)?;
        let Ok(id) = <[u8; 16]>::try_from(id.as_ref()) else {
            return Err(cursor.corrupt("the id of a stream node is not 16 bytes long"));
        };
        let id = u128::from_be_bytes(id);
        let mut packed = Packed::read(Encoding::Listpack, cursor, limits)?;
        let (live_left, deleted_left) = (count(&mut packed)?, count(&mut packed)?);
        let fields_max = limits.string_bytes_max / size_of::<(Element, Element)>() as u64;
        let mut fields = Vec::new();
        for _ in 0..field_count(&mut packed, fields_max)? {
            fields.push(packed.required()?);
        }
        if packed.required_int()? != 0 {
            return Err(packed.corrupt("the master entry of a stream node does not end"));
        }
        let id = StreamId {
            ms: (id >> 64) as u64,
            seq: id as u64,
        };
        Ok(Self {
            id,
            packed,
            fields,
            fields_max,
            live_left,
            deleted_left,
        })
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// The next live entry; `None` at an end that the counts agree with.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Stop> {
        while let Some(flags) = self.packed.next()? {
            let flags = flags
                .as_int()
                .ok_or_else(|| self.packed.corrupt("wrong entry flags"))?;
            let entry = self.entry(flags)?;
            if flags & FLAG_DELETED == 0 {
                self.live_left -= 1;
                return Ok(Some(entry));
            }
            self.deleted_left -= 1;
        }
        if (self.live_left, self.deleted_left) != (0, 0) {
            return Err(self
                .packed
                .corrupt("a stream node's counts differ from its entries"));
        }
        Ok(None)
    }

    fn entry(&mut self, flags: i64) -> Result<Entry, Stop> {
        let packed = &mut self.packed;
        // Deltas wrap around: the sequence starts again with a later millisecond.
        let id = StreamId {
            ms: self.id.ms.wrapping_add_signed(packed.required_int()?),
            seq: self.id.seq.wrapping_add_signed(packed.required_int()?),
        };
        let mut pairs = Vec::new();
        let elements = if flags & FLAG_SAME_FIELDS != 0 {
            for field in &self.fields {
                pairs.push((field.clone(), packed.required()?));
            }
            3 + pairs.len()
        } else {
            for _ in 0..field_count(packed, self.fields_max)? {
                pairs.push((packed.required()?, packed.required()?));
            }
            4 + 2 * pairs.len()
        };
        if packed.required_int()? != elements as i64 {
            return Err(packed.corrupt("a stream entry has the wrong number of elements"));
        }
        Ok((id, pairs))
    }
}

/// A number of entries or fields.
fn count(packed: &mut Packed) -> Result<i64, Stop> {
    let count = packed.required_int()?;
    if count < 0 {
        return Err(packed.corrupt("negative number of entries or fields in a stream node"));
    }
    Ok(count)
}

/// A number of fields, which are held together: as elements they take far more memory than as
/// they stand in a listpack, where an empty one takes two bytes, and far less if it is compressed.
/// There is no need to reserve for them.
fn field_count(packed: &mut Packed, fields_max: u64) -> Result<i64, Stop> {
    let count = count(packed)?;
    if count.unsigned_abs() > fields_max {
        let bytes = |fields: u64| fields.saturating_mul(size_of::<(Element, Element)>() as u64);
        return Err(packed.bad(ErrorKind::Limit {
            what: "a stream entry",
            size: bytes(count.unsigned_abs()),
            limit: bytes(fields_max),
        }));
    }
    Ok(count)
}
