//! The field names that hashes share (Redis 8.10+): defined once, referred to by id.
//!
//! ```text
//! 0xF2 | len id | len n | n * str field name, ascending by length and bytes
//! ```
//!
//! A template is referred to up to the end of the file, so all of them are held: copied, since a
//! slice would pin the input it came in, and bounded by [`Limits::template_bytes_max`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::cursor::{Cursor, Stop};
use super::error::ErrorKind;
use super::limits::Limits;

/// What a name takes beside its bytes.
const NAME_OVERHEAD_BYTES: u64 = 64;

/// The field names of one template.
pub(crate) type Names = Arc<[Bytes]>;

/// The templates that were defined so far.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    by_id: BTreeMap<u64, Names>,
    held_bytes: u64,
}

/// A template whose names are being read.
#[derive(Debug)]
pub(crate) struct Definition {
    id: u64,
    left: u64,
    names: NameList,
}

/// Names that are being gathered.
#[derive(Debug, Default)]
pub(crate) struct NameList {
    names: Vec<Bytes>,
    held_bytes: u64,
}

impl Templates {
    /// The names of a template that was defined before.
    pub(crate) fn names(&self, id: u64) -> Option<Names> {
        self.by_id.get(&id).cloned()
    }
}

impl Definition {
    /// Reads the id and how many names there are.
    pub(crate) fn begin(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let (id, left) = (cursor.length()?, cursor.count()?);
        if left == 0 {
            return Err(cursor.corrupt("a hash template without fields"));
        }
        let names = NameList::default();
        Ok(Self { id, left, names })
    }

    /// Reads the names and adds the template to the others.
    pub(crate) fn define(
        &mut self,
        cursor: &mut Cursor<'_>,
        templates: &mut Templates,
        limits: &Limits,
    ) -> Result<(), Stop> {
        while self.left > 0 {
            let name = cursor.text(limits)?;
            if !self.names.ascend_to(&name) {
                return Err(cursor.corrupt("the fields of a hash template do not ascend"));
            }
            let name = Bytes::copy_from_slice(&name);
            self.names
                .push(name, templates.held_bytes, cursor, limits)?;
            self.left -= 1;
            cursor.commit();
        }
        templates.held_bytes += self.names.held_bytes;
        let names = std::mem::take(&mut self.names.names).into();
        match templates.by_id.insert(self.id, names) {
            None => Ok(()),
            Some(_) => Err(cursor.corrupt("a hash template is defined twice")),
        }
    }
}

impl NameList {
    /// Appends a name, unless that takes more than may be held beside what is held already.
    pub(crate) fn push(
        &mut self,
        name: Bytes,
        held_bytes: u64,
        cursor: &Cursor<'_>,
        limits: &Limits,
    ) -> Result<(), Stop> {
        let limit = limits.template_bytes_max;
        let mine = self.held_bytes + name.len() as u64 + NAME_OVERHEAD_BYTES;
        let size = mine + held_bytes;
        if size > limit {
            let what = "the field names of hash templates";
            return Err(cursor.bad(ErrorKind::Limit { what, size, limit }));
        }
        self.held_bytes = mine;
        self.names.push(name);
        Ok(())
    }

    /// The names that were gathered.
    pub(crate) fn take(&mut self) -> Names {
        std::mem::take(&mut self.names).into()
    }

    fn ascend_to(&self, name: &[u8]) -> bool {
        self.names
            .last()
            .is_none_or(|last| (last.len(), &last[..]) < (name.len(), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn define(templates: &mut Templates, bytes: &[u8], limits: &Limits) -> Result<(), Stop> {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut cursor = Cursor::new(&bytes, 0, 0);
        Definition::begin(&mut cursor)?.define(&mut cursor, templates, limits)
    }

    #[test]
    fn keeps_names_by_id() {
        let mut templates = Templates::default();
        let limits = Limits::default();
        let huge = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\xc0\x05";
        for bytes in [&b"\x01\x03\x01b\x02aa\x02ab"[..], huge] {
            assert_eq!(define(&mut templates, bytes, &limits), Ok(()));
        }
        assert_eq!(
            templates.names(1).as_deref(),
            Some(&["b", "aa", "ab"].map(Bytes::from)[..])
        );
        assert_eq!(
            templates.names(u64::MAX).as_deref(),
            Some(&[Bytes::from("5")][..])
        );
        assert_eq!(templates.names(2), None);
    }

    #[test]
    fn refuses_what_cannot_be_a_template() {
        let limits = Limits {
            template_bytes_max: 200,
            ..Limits::default()
        };
        let many: Vec<u8> = [&b"\x09\x05"[..], b"\x01a\x01b\x01c\x01d\x01e"].concat();
        for (name, bytes) in [
            ("no names", &b"\x09\0"[..]),
            ("twice the same", b"\x09\x02\x01a\x01a"),
            ("longer first", b"\x09\x02\x02aa\x01b"),
            ("defined before", b"\x01\x01\x01a"),
            ("count of -1", b"\x09\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
            ("over the limit", &many),
        ] {
            let mut templates = Templates::default();
            assert_eq!(define(&mut templates, b"\x01\x01\x01x", &limits), Ok(()));
            let defined = define(&mut templates, bytes, &limits);
            assert!(matches!(defined, Err(Stop::Bad { .. })), "{name}");
        }
    }
}
