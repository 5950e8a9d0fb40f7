//! Names of keys as they stand in a list on disk.
//!
//! ```text
//!  page   | db (4 bytes, little-endian) | name | name | ...
//!  name   | shared: 1 byte | length of the rest: 1 byte | the rest |
//!         | shared         | 255 | length: 4 bytes LE   | the rest |
//! ```
//!
//! A name stands without the `shared` bytes that it begins with as the one before it does: keys of
//! one application mostly begin alike, and this costs less than compressing them.

use bytes::{BufMut, Bytes};

use crate::keyspace::Db;

/// A page takes no more names from this size on.
const PAGE_BYTES: usize = 64 * 1024;
/// A length that stands in one byte is below this.
const LONG: u8 = u8::MAX;

/// Gathers names into pages.
#[derive(Debug, Default)]
pub(super) struct NamePages {
    complete: Vec<Vec<u8>>,
    /// The page that is being gathered; empty before its first name.
    page: Vec<u8>,
    db: Db,
    last: Vec<u8>,
}

impl NamePages {
    /// Appends a name.
    pub(super) fn push(&mut self, db: Db, key: &[u8]) {
        if self.page.is_empty() || self.db != db || self.page.len() >= PAGE_BYTES {
            self.close();
            self.db = db;
            self.page.put_u32_le(db.0);
        }
        let alike = self.last.iter().zip(key).take(LONG.into());
        let shared = alike.take_while(|(last, new)| last == new).count();
        let rest = key.get(shared..).unwrap_or_default();
        self.page.put_u8(shared as u8);
        match u8::try_from(rest.len()) {
            Ok(len) if len < LONG => self.page.put_u8(len),
            _ => {
                self.page.put_u8(LONG);
                // No server holds a longer key.
                self.page.put_u32_le(rest.len() as u32);
            }
        }
        self.page.put_slice(rest);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
    }

    /// Whether there is no name.
    pub(super) fn is_empty(&self) -> bool {
        self.page.is_empty() && self.complete.is_empty()
    }

    /// Takes all pages.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.close();
        std::mem::take(&mut self.complete)
    }

    fn close(&mut self) {
        self.last.clear();
        if !self.page.is_empty() {
            self.complete.push(std::mem::take(&mut self.page));
        }
    }
}

/// The names of a page, one after the other. What is no page ends it.
#[derive(Debug)]
pub(super) struct Names<'a> {
    rest: &'a [u8],
    db: Db,
    last: Vec<u8>,
}

impl Names<'_> {
    /// Begins with a page that was read.
    pub(super) fn of(page: &[u8]) -> Names<'_> {
        let (db, rest) = page.split_first_chunk().unwrap_or((&[0; 4], &[]));
        Names {
            rest,
            db: Db(u32::from_le_bytes(*db)),
            last: Vec::new(),
        }
    }
}

impl Iterator for Names<'_> {
    type Item = (Db, Bytes);

    fn next(&mut self) -> Option<(Db, Bytes)> {
        let ([shared, len], rest) = self.rest.split_first_chunk()?;
        let (len, rest) = match *len {
            LONG => {
                let (len, rest) = rest.split_first_chunk()?;
                (u32::from_le_bytes(*len) as usize, rest)
            }
            len => (len.into(), rest),
        };
        let (name, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        self.last.truncate((*shared).into());
        self.last.extend_from_slice(name);
        Some((self.db, Bytes::copy_from_slice(&self.last)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written_and_read(names: &[(Db, Bytes)]) -> Vec<(Db, Bytes)> {
        let mut pages = NamePages::default();
        for (db, name) in names {
            pages.push(*db, name);
        }
        assert_eq!(pages.is_empty(), names.is_empty());
        let pages = pages.take();
        pages.iter().flat_map(|page| Names::of(page)).collect()
    }

    #[test]
    fn names_of_every_length_and_db_are_read_back() {
        let long = |len: usize, last: char| {
            let mut name = "x".repeat(len);
            name.push(last);
            (Db(0), Bytes::from(name))
        };
        let names = [
            (Db(0), Bytes::from("user:1")),
            (Db(0), "user:12".into()),
            (Db(3), "user:12".into()),
            (Db(0), "".into()),
            (Db(0), "".into()),
            long(253, 'a'),
            long(254, 'a'),
            long(255, 'a'),
            long(300, 'b'),
            long(300, 'c'),
            long(70_000, 'd'),
        ];
        assert_eq!(written_and_read(&names), names);
    }

    #[test]
    fn alike_names_take_little_room() {
        let mut pages = NamePages::default();
        for n in 0..100 {
            pages.push(Db(0), format!("an-application:session:{n:09}").as_bytes());
        }
        let bytes = pages.take().concat().len();
        assert!(bytes < 100 * 5 + 40, "{bytes}");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            names in prop::collection::vec((0..3u32, "[ab]{0,9}"), 0..50),
        ) {
            let names: Vec<_> = names.into_iter().map(|(db, name)| (Db(db), name.into())).collect();
            prop_assert_eq!(written_and_read(&names), names);
        }

        #[test]
        fn what_is_no_page_ends_it(page in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assert!(Names::of(&page).count() <= page.len());
        }
    }
}
