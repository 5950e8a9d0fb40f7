//! Values of modules (type 7): only their framing is known, their content belongs to the module.
//! Vector sets, which are built into Redis from 8.0 on, are read ([`super::vector_set`]).
//!
//! ```text
//! len id | items, each behind its kind as a len | 0
//!
//! 1  len, signed    2  len    3  float    4  double    5  str
//! ```

use bytes::Bytes;

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::error::{Error, ErrorKind, Opaque};
use crate::rdb::limits::Limits;
use crate::rdb::part::Part;

use super::vector_set::VectorSetReader;

/// Nothing follows.
pub(crate) const ITEM_END: u64 = 0;
pub(crate) const ITEM_SIGNED: u64 = 1;
pub(crate) const ITEM_UNSIGNED: u64 = 2;
const ITEM_FLOAT: u64 = 3;
const ITEM_DOUBLE: u64 = 4;
pub(crate) const ITEM_STRING: u64 = 5;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The name in a module type's id: nine characters of six bits each, above ten bits of version
/// (redis module.c moduleTypeEncodeId).
pub(crate) fn type_name(id: u64) -> String {
    characters(id >> 10, 9)
}

/// So many characters of six bits each, the last one lowest.
pub(crate) fn characters(bits: u64, count: u32) -> String {
    let shifts = (0..count).rev().map(|n| 6 * n);
    shifts.map(|shift| character(bits >> shift)).collect()
}

fn character(bits: u64) -> char {
    ALPHABET
        .get((bits & 63) as usize)
        .copied()
        .unwrap_or(b'?')
        .into()
}

/// The name of the module that a body of type 7 belongs to, e.g. `vectorset`; `None` if the body
/// is too short to say.
pub fn module_name(body: &Bytes) -> Option<String> {
    Cursor::new(body, 0, 0).length().ok().map(type_name)
}

/// The version of the encoding in a module type's id.
fn encoding_version(id: u64) -> u64 {
    id & 0x3ff
}

/// Whether the values of a module type have parts: vector sets, which are built in.
pub(crate) fn has_parts(id: u64) -> bool {
    type_name(id) == "vectorset" && encoding_version(id) == 0
}

/// A value of a module that is being read.
#[derive(Debug)]
pub(crate) enum ModuleValue {
    Start,
    VectorSet(Box<VectorSetReader>),
}

impl ModuleValue {
    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match self {
                Self::VectorSet(vectors) => return vectors.next(cursor, limits),
                Self::Start => {
                    let id = cursor.length()?;
                    if !has_parts(id) {
                        let opaque = Opaque::Module(type_name(id));
                        return Err(cursor.bad(ErrorKind::NoElements(opaque)));
                    }
                    *self = Self::VectorSet(Box::new(VectorSetReader::new()));
                    cursor.commit();
                }
            }
        }
    }
}

/// One of the things that a module has put its value together of.
#[derive(Debug, Clone, PartialEq)]
pub enum ModuleItem {
    /// A signed integer; servers write those as unsigned ones, too.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A float.
    Float(f32),
    /// A double.
    Double(f64),
    /// A string.
    String(Bytes),
}

/// The items of a module's value whose whole body is at hand.
#[derive(Debug)]
pub struct ModuleItems {
    body: Bytes,
    pos: usize,
    limits: Limits,
    ended: bool,
}

impl ModuleItems {
    /// Reads `body`, which is what follows the type byte (and the key, in an RDB).
    ///
    /// # Errors
    ///
    /// `Truncated` or `Corrupt` if it does not begin with the id of a module.
    pub fn new(body: Bytes, limits: Limits) -> Result<Self, Error> {
        let mut cursor = Cursor::new(&body, 0, 0);
        let id = cursor.length();
        let pos = cursor.pos();
        id.map_err(|stop| error(stop, &body))?;
        Ok(Self {
            body,
            pos,
            limits,
            ended: false,
        })
    }

    /// The next item, `None` after the last one.
    ///
    /// # Errors
    ///
    /// `Truncated` where the body ends too early, `Corrupt` where it is wrong or goes on behind
    /// the value. Offsets count from the start of the body. After an error there are no more items.
    pub fn next_item(&mut self) -> Result<Option<ModuleItem>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut cursor = Cursor::new(&self.body, 0, self.pos);
        let item = item(&mut cursor, &self.limits);
        self.pos = cursor.pos();
        self.ended = !matches!(item, Ok(Some(_)));
        item.map_err(|stop| error(stop, &self.body))
    }
}

fn item(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Option<ModuleItem>, Stop> {
    Ok(Some(match cursor.length()? {
        ITEM_END if cursor.rest().is_empty() => return Ok(None),
        ITEM_END => return Err(cursor.corrupt("the body goes on behind its value")),
        ITEM_SIGNED => ModuleItem::Signed(cursor.length()?.cast_signed()),
        ITEM_UNSIGNED => ModuleItem::Unsigned(cursor.length()?),
        ITEM_FLOAT => ModuleItem::Float(f32::from_le_bytes(cursor.array()?)),
        ITEM_DOUBLE => ModuleItem::Double(f64::from_le_bytes(cursor.array()?)),
        ITEM_STRING => ModuleItem::String(cursor.text(limits)?),
        _ => return Err(cursor.corrupt("undefined item in the data of a module")),
    }))
}

fn error(stop: Stop, body: &Bytes) -> Error {
    match stop {
        Stop::More => Error::at(ErrorKind::Truncated, body.len() as u64),
        Stop::Bad { kind, offset } => Error::at(kind, offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_module() {
        let body = Bytes::from_static(b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x00");
        assert_eq!(module_name(&body).as_deref(), Some("vectorset"));
        assert_eq!(module_name(&body.slice(..5)), None);
    }

    #[test]
    fn lists_items_of_every_kind() {
        let id = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x01";
        let content = b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xfb\x02\x07\x03\0\0\x60\x40\
            \x04\0\0\0\0\0\0\xf4\xbf\x05\x02hi\x05\xc0\x05\0";
        let body = Bytes::from([&id[..], content].concat());
        let items = |body: Bytes| -> Result<Vec<ModuleItem>, Error> {
            let mut items = ModuleItems::new(body, Limits::default())?;
            std::iter::from_fn(|| items.next_item().transpose()).collect()
        };
        let expected = [
            ModuleItem::Signed(-5),
            ModuleItem::Unsigned(7),
            ModuleItem::Float(3.5),
            ModuleItem::Double(-1.25),
            ModuleItem::String("hi".into()),
            ModuleItem::String("5".into()),
        ];
        assert_eq!(items(body.clone()), Ok(expected.to_vec()));
        for cut in 0..body.len() {
            let error = items(body.slice(..cut)).unwrap_err();
            assert_eq!(
                (error.kind, error.offset),
                (ErrorKind::Truncated, cut as u64)
            );
        }
        for more in [&b"\x06\0"[..], b"\0\0"] {
            let body = Bytes::from([&id[..], more].concat());
            assert!(matches!(
                items(body).unwrap_err().kind,
                ErrorKind::Corrupt(_)
            ));
        }
    }
}
