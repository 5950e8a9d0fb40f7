//! The events of the keys that are wanted.

use crate::{
    keyspace::Db,
    rdb::{self, Altitude, Event, Parser},
};

use super::{Error, ErrorKind, Feed, Filter};

/// Reads an RDB and passes on the events of the keys that a filter selects.
///
/// What belongs to no key (header, AUX fields, hints, function libraries, the end) is always
/// passed on. Keys that are not selected are skipped without being decoded.
#[derive(Debug)]
pub struct Reader {
    feed: Feed,
    parser: Parser,
    filter: Filter,
    db: Db,
    /// The value that is being read belongs to a key that is not selected.
    skipping: bool,
    left_out: u64,
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
            left_out: 0,
        }
    }

    /// The next event; `None` behind [`Event::End`].
    ///
    /// After [`Event::Key`] the caller may [`Reader::choose`] an altitude.
    ///
    /// # Errors
    /// Those of the feed; `Rdb` for what the parser refuses.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.parser.next_event() {
                Ok(Some(event)) => {
                    if let Some(event) = self.select(event) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if self.parser.finish().is_ok() => return Ok(None),
                Ok(None) => self.fill().await?,
                Err(error) => return Err(self.unusable(error)),
            }
        }
    }

    /// Chooses how deep to look into the value of the key that was the last event.
    pub fn choose(&mut self, altitude: Altitude) {
        self.parser.choose(altitude);
    }

    /// How many bytes of the RDB were made use of.
    pub fn offset(&self) -> u64 {
        self.parser.offset()
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

    async fn fill(&mut self) -> Result<(), Error> {
        match self.feed.next().await? {
            Some(bytes) => self.parser.feed(&bytes),
            None => self.parser.finish().map_err(|error| self.unusable(error))?,
        }
        Ok(())
    }

    /// Passes an event on, unless it belongs to a key that is not wanted.
    fn select(&mut self, event: Event) -> Option<Event> {
        match &event {
            Event::Key(key) => {
                self.feed.meter().add_key();
                self.skipping = !self.filter.selects(self.db, key);
                if self.skipping {
                    self.left_out += 1;
                    self.parser.choose(Altitude::Skip);
                    return None;
                }
            }
            Event::ValueEnd if self.skipping => return None,
            Event::SelectDb(db) => self.db = *db,
            Event::Function { .. } if !self.filter.selects_functions() => return None,
            _ => {}
        }
        Some(event)
    }

    fn unusable(&self, error: rdb::Error) -> Error {
        Error {
            input: self.feed.input().to_owned(),
            kind: ErrorKind::Rdb(Box::new(error)),
        }
    }
}
