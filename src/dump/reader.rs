//! The events of the keys that are wanted.

use std::sync::Arc;

use std::collections::VecDeque;

use crate::{
    keyspace::Db,
    rdb::{self, Altitude, Event, Key, Parser},
};

use super::{Error, Feed, Filter, Meter};

/// The AUX field that holds a script.
const SCRIPT: &str = "lua";

/// Reads an RDB and passes on the events of the keys that a filter selects.
///
/// What belongs to no key (header, AUX fields, hints, the end) is always passed on, function
/// libraries and scripts only where the filter selects them. Keys that are not selected are
/// skipped without being decoded.
#[derive(Debug)]
pub struct Reader {
    feed: Feed,
    parser: Parser,
    filter: Filter,
    db: Db,
    /// The value that is being read belongs to a key that is not selected.
    skipping: bool,
    /// What stands before the next key and belongs to it.
    before_key: Vec<Event>,
    /// A key that is selected, with what stands before it.
    ready: VecDeque<Event>,
    /// A key that is selected if its value has the right size, which is being measured.
    measured: Option<Key>,
    left_out: u64,
    /// Where the last event ended.
    event_end: u64,
    record_offset: u64,
}

impl Reader {
    /// Begins before the first byte.
    pub fn new(feed: Feed, filter: Filter, limits: rdb::Limits) -> Reader {
        Reader {
            feed,
            parser: Parser::new(limits),
            filter,
            db: Db::default(),
            skipping: false,
            measured: None,
            left_out: 0,
            event_end: 0,
            record_offset: 0,
            before_key: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// Reads also RDB versions newer than those that are known, see
    /// [`Parser::with_newer_versions`].
    #[must_use]
    pub fn with_newer_versions(mut self) -> Reader {
        self.parser = self.parser.with_newer_versions();
        self
    }

    /// The next event; `None` behind [`Event::End`].
    ///
    /// After [`Event::Key`] the caller may [`Reader::choose`] an altitude.
    ///
    /// May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// Those of the feed; `Rdb` for what the parser refuses.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        if let Some(event) = self.ready.pop_front() {
            return Ok(Some(event));
        }
        loop {
            if let Some(event) = self.buffered()? {
                return Ok(Some(event));
            }
            if self.is_complete() {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    /// The next event of what was read already; `None` when more is needed, or nothing follows.
    ///
    /// # Errors
    /// `Rdb` for what the parser refuses.
    pub fn buffered(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.parser.next_event() {
                Ok(Some(event)) => {
                    self.note_offset(&event);
                    if let Some(event) = self.select(event) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.feed.unusable(error)),
            }
        }
    }

    /// Whether the last event was [`Event::End`].
    pub fn is_complete(&self) -> bool {
        self.parser.finish().is_ok()
    }

    /// Chooses how deep to look into the value of the key that was the last event.
    pub fn choose(&mut self, altitude: Altitude) {
        self.parser.choose(altitude);
    }

    /// How many bytes of the RDB were made use of.
    pub fn offset(&self) -> u64 {
        self.parser.offset()
    }

    /// Where the record of the last key begins, with what stands in front of the key: its expiry
    /// and its type.
    pub fn record_offset(&self) -> u64 {
        self.record_offset
    }

    /// The db of the last key.
    pub fn db(&self) -> Db {
        self.db
    }

    /// What is selected.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// How many keys were not selected.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How far the input was read.
    pub fn meter(&self) -> &Arc<Meter> {
        self.feed.meter()
    }

    /// How many bytes of the input were read, as it is stored.
    pub fn input_bytes(&self) -> u64 {
        self.feed.meter().bytes()
    }

    /// How messages name the input.
    pub fn input(&self) -> &str {
        self.feed.input()
    }

    /// Reads on behind the RDB; returns how many bytes of the input follow it.
    ///
    /// # Errors
    /// Those of the feed; a live source ends its snapshot with a mark, which is checked.
    pub async fn finish(&mut self) -> Result<u64, Error> {
        let rest = self.parser.take_rest();
        self.feed.finish(self.parser.offset(), rest).await
    }

    /// Reads the next piece of the input. May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// Those of the feed; `Rdb` when it ends before the RDB does.
    pub async fn fill(&mut self) -> Result<(), Error> {
        match self.feed.next().await? {
            Some(bytes) => self.parser.feed(&bytes),
            None => self
                .parser
                .finish()
                .map_err(|error| self.feed.unusable(error))?,
        }
        Ok(())
    }

    fn note_offset(&mut self, event: &Event) {
        match event {
            Event::Key(_) => self.record_offset = self.event_end,
            // These belong to the record of the key that follows.
            Event::KeyFlags { .. } | Event::KeyMeta { .. } => return,
            _ => {}
        }
        self.event_end = self.parser.offset();
    }

    /// Passes an event on, unless it belongs to a key that is not wanted.
    fn select(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Key(key) => self.select_key(key),
            Event::Measured { bytes } => {
                let key = self.measured.take()?;
                let selected = self.filter.selects_size(bytes);
                self.pass(key, selected)
            }
            Event::ValueEnd | Event::MemberExpiry { .. } if self.skipping => None,
            // It is not known yet whether the key is wanted.
            Event::KeyMeta { .. } | Event::KeyFlags { .. } => {
                self.before_key.push(event);
                None
            }
            Event::Function { .. } if !self.filter.selects_functions() => None,
            Event::Aux { ref name, .. }
                if name == SCRIPT.as_bytes() && !self.filter.selects_functions() =>
            {
                None
            }
            Event::SelectDb(db) => {
                self.db = db;
                Some(event)
            }
            event => Some(event),
        }
    }

    fn select_key(&mut self, key: Key) -> Option<Event> {
        self.feed.meter().add_key();
        let selected = self.filter.selects(self.db, &key);
        match self.filter.measured_bytes_max() {
            Some(bytes_max) if selected => {
                self.parser.choose(Altitude::Measure { bytes_max });
                self.measured = Some(key);
                None
            }
            _ => self.pass(key, selected),
        }
    }

    fn pass(&mut self, key: Key, selected: bool) -> Option<Event> {
        self.skipping = !selected;
        if selected {
            self.ready.extend(self.before_key.drain(..));
            self.ready.push_back(Event::Key(key));
            return self.ready.pop_front();
        }
        self.before_key.clear();
        self.left_out += 1;
        self.parser.choose(Altitude::Skip);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, ops::RangeInclusive};

    use super::*;

    /// Strings of 1, 2, 3 and 4 bytes with the same names.
    const FILE: &[u8] =
        b"REDIS0004\x00\x011\x01a\x00\x012\x02ab\x00\x013\x03abc\x00\x014\x04abcd\xff";

    async fn names(filter: Filter) -> (String, u64) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(FILE).unwrap();
        let feed = Feed::file(file.path()).unwrap();
        let mut reader = Reader::new(feed, filter, rdb::Limits::default());
        let mut names = String::new();
        let mut values = 0;
        while let Some(event) = reader.next().await.unwrap() {
            match event {
                Event::Key(key) => names.push_str(std::str::from_utf8(&key.key).unwrap()),
                Event::ValueEnd => values += 1,
                _ => {}
            }
        }
        assert_eq!(names.len(), values, "each key has its value");
        assert_eq!(reader.finish().await.unwrap(), 0);
        (names, reader.left_out())
    }

    fn of_size(size: RangeInclusive<u64>) -> Filter {
        Filter {
            size: Some(size),
            ..Filter::default()
        }
    }

    #[tokio::test]
    async fn keys_are_selected_by_the_size_of_their_values() {
        // A byte more than the string: that of its length.
        for (filter, expected, left_out) in [
            (Filter::default(), "1234", 0),
            (of_size(0..=3), "12", 2),
            (of_size(4..=u64::MAX), "34", 2),
            (of_size(3..=4), "23", 2),
            (of_size(9..=10), "", 4),
        ] {
            let named = format!("{filter:?}");
            assert_eq!(names(filter).await, (expected.into(), left_out), "{named}");
        }
    }
}
