//! Sets: by member (type 2), as an intset (11), as a listpack (20).

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::packed::{Encoding, Packed};
use crate::rdb::part::Part;

/// A set that is being read.
#[derive(Debug)]
pub(crate) enum Set {
    Table,
    Members(u64),
    Blob(Encoding),
    Packed(Packed),
}

impl Set {
    pub(crate) fn new(byte: u8) -> Option<Self> {
        match byte {
            2 => Some(Self::Table),
            11 => Some(Self::Blob(Encoding::Intset)),
            20 => Some(Self::Blob(Encoding::Listpack)),
            _ => None,
        }
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match self {
                Self::Table => *self = Self::Members(cursor.count()?),
                Self::Blob(encoding) => {
                    *self = Self::Packed(Packed::read(*encoding, cursor, limits)?);
                }
                Self::Members(0) => return Ok(None),
                Self::Members(left) => {
                    let member = cursor.string(limits)?;
                    *left -= 1;
                    return Ok(Some(Part::SetMember(member)));
                }
                Self::Packed(packed) => return Ok(packed.next()?.map(Part::SetMember)),
            }
            cursor.commit();
        }
    }
}
