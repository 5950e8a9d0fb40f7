//! Keys that the target had and kept: what the conflict policy left alone in the snapshot must be
//! left alone in the stream.
//!
//! FLUSHALL, FLUSHDB and SWAPDB are applied to the target as they are, and move these keys with all
//! others. So the names are those of one offset. The list on disk has the names of the snapshot,
//! and behind them every such command with the offset where it ends, written before it is sent:
//! from that the names of any offset can be had, for a later run or a target that came back older.

use std::collections::HashSet;

use bytes::Bytes;

use crate::{keyspace::Db, resp::Command, spool::Journal, sync::ReplOffset};

use super::{
    Error,
    names::{NamePages, Names},
};

/// The memory that the names may take.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a name costs in the set beside its bytes.
const OVERHEAD_BYTES: usize = 64;
/// In place of a db: the name is a move.
const MOVE: Db = Db(u32::MAX);

/// Keys that the target had and kept, where they are at one offset.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    keys: HashSet<(Db, Bytes)>,
    bytes: usize,
    /// The commands that moved them or will, by where they end.
    moves: Vec<(ReplOffset, Move)>,
    journal: Option<Journal>,
}

/// What a command does to whole databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    EmptyAll,
    Empty(Db),
    Swap(Db, Db),
}

impl Skipped {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether this key is one of them.
    pub(super) fn contains(&self, db: Db, key: &Bytes) -> bool {
        self.keys.contains(&(db, key.clone()))
    }

    /// Takes note of a key.
    ///
    /// # Errors
    /// `SkippedTooMany`.
    pub(super) fn add(&mut self, db: Db, key: &[u8]) -> Result<(), Error> {
        // A copy of its own: the name is a slice of a buffer that would live as long.
        let key = Bytes::copy_from_slice(key);
        self.bytes += key.len() + OVERHEAD_BYTES;
        if self.bytes > BYTES_MAX {
            return Err(Error::SkippedTooMany {
                keys: self.keys.len(),
            });
        }
        self.keys.insert((db, key));
        Ok(())
    }

    /// Keeps the names in a list for later runs.
    ///
    /// # Errors
    /// The spool's.
    pub(super) fn keep(&mut self, mut journal: Journal) -> Result<(), Error> {
        let mut pages = NamePages::default();
        for (db, key) in &self.keys {
            pages.push(*db, key);
        }
        journal.append(&pages.take())?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Reads the names that an earlier run has kept, as they are at this offset.
    ///
    /// # Errors
    /// The spool's; `SkippedTooMany`.
    pub(super) fn read(journal: Journal, at: ReplOffset) -> Result<Skipped, Error> {
        let mut skipped = Skipped::default();
        for page in journal.read()? {
            for (db, key) in Names::of(&page?) {
                match db {
                    MOVE => skipped.moves.extend(Move::of(&key)),
                    db => skipped.add(db, &key)?,
                }
            }
        }
        skipped.journal = Some(journal);
        for (end, moved) in skipped.moves.clone() {
            if end <= at {
                skipped.apply(moved);
            }
        }
        Ok(skipped)
    }

    /// Goes back to where they were at an earlier offset.
    ///
    /// # Errors
    /// `SkippedMoved` when they have moved since and are not kept on disk; the spool's.
    pub(super) fn go_back(&mut self, to: ReplOffset) -> Result<(), Error> {
        if self.moves.iter().all(|(end, _)| *end <= to) {
            return Ok(());
        }
        let journal = self.journal.take().ok_or(Error::SkippedMoved)?;
        *self = Skipped::read(journal, to)?;
        Ok(())
    }

    /// Moves them as a command of `db` that ends at `end` does.
    ///
    /// # Errors
    /// The spool's.
    pub(super) fn follow(
        &mut self,
        db: Db,
        command: &Command,
        end: ReplOffset,
    ) -> Result<(), Error> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let Some(moved) = Move::by(db, command) else {
            return Ok(());
        };
        // It stands there already if the stream is applied again.
        if !self.moves.contains(&(end, moved)) {
            self.moves.push((end, moved));
            if let Some(journal) = &mut self.journal {
                journal.append(&moved.page(end))?;
            }
        }
        self.apply(moved);
        Ok(())
    }

    fn apply(&mut self, moved: Move) {
        match moved {
            Move::EmptyAll => self.keys.clear(),
            Move::Empty(db) => self.keys.retain(|(of, _)| *of != db),
            Move::Swap(one, other) => {
                let swapped = |of: Db| match of {
                    of if of == one => other,
                    of if of == other => one,
                    of => of,
                };
                let keys = std::mem::take(&mut self.keys).into_iter();
                self.keys = keys.map(|(of, key)| (swapped(of), key)).collect();
            }
        }
    }
}

impl Move {
    /// What `command` of `db` does, if it is such a command.
    fn by(db: Db, command: &Command) -> Option<Move> {
        let db_at = |index| {
            let text = std::str::from_utf8(command.arg(index)).ok()?;
            text.parse().ok().map(Db)
        };
        if command.is("FLUSHALL") {
            Some(Move::EmptyAll)
        } else if command.is("FLUSHDB") {
            Some(Move::Empty(db))
        } else if command.is("SWAPDB") {
            Some(Move::Swap(db_at(1)?, db_at(2)?))
        } else {
            None
        }
    }

    /// How it stands in the list: the mark, the offset, the two databases (all little-endian). With
    /// the second one missing it empties the first, with both missing all.
    fn page(self, end: ReplOffset) -> Vec<Vec<u8>> {
        let (one, other) = match self {
            Move::EmptyAll => (MOVE, MOVE),
            Move::Empty(db) => (db, MOVE),
            Move::Swap(one, other) => (one, other),
        };
        let mut rest = end.get().to_le_bytes().to_vec();
        rest.extend_from_slice(&one.0.to_le_bytes());
        rest.extend_from_slice(&other.0.to_le_bytes());
        let mut pages = NamePages::default();
        pages.push(MOVE, &rest);
        pages.take()
    }

    /// Reads what stands behind the mark.
    fn of(rest: &[u8]) -> Option<(ReplOffset, Move)> {
        let (end, rest) = rest.split_first_chunk()?;
        let (one, rest) = rest.split_first_chunk()?;
        let other = rest.first_chunk()?;
        let db = |bytes: &[u8; 4]| Db(u32::from_le_bytes(*bytes));
        let moved = match (db(one), db(other)) {
            (MOVE, _) => Move::EmptyAll,
            (db, MOVE) => Move::Empty(db),
            (one, other) => Move::Swap(one, other),
        };
        Some((ReplOffset::new(u64::from_le_bytes(*end)), moved))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spool::{Budget, Directory, Origin};

    fn at(offset: u64) -> ReplOffset {
        ReplOffset::new(offset)
    }

    fn journal(directory: &Directory) -> Journal {
        let origin = Origin::new("").unwrap();
        Journal::open(directory, Arc::new(Budget::default()), origin).unwrap()
    }

    /// Where the keys a (of db 0), b (of db 1) and c (of db 2) are.
    fn places(skipped: &Skipped) -> String {
        let mut places: Vec<_> = skipped.keys.iter().collect();
        places.sort_by(|one, other| one.1.cmp(&other.1));
        let places = places
            .iter()
            .map(|(db, key)| format!("{}{db}", key.escape_ascii()));
        places.collect::<Vec<_>>().join(" ")
    }

    fn skipped() -> Skipped {
        let mut skipped = Skipped::default();
        for (db, key) in [(0, b"a"), (1, b"b"), (2, b"c")] {
            skipped.add(Db(db), key).unwrap();
        }
        skipped
    }

    /// What is said, where it ends, and where the keys are then.
    const COMMANDS: [(&[&str], u64, &str); 5] = [
        (&["SET", "x", "1"], 10, "a0 b1 c2"),
        (&["SWAPDB", "0", "1"], 20, "a1 b0 c2"),
        (&["SWAPDB", "1", "2"], 30, "a2 b0 c1"),
        (&["FLUSHDB"], 40, "a2 c1"),
        (&["FLUSHALL"], 50, ""),
    ];

    fn follow_all(skipped: &mut Skipped, from: u64) {
        for (words, end, expected) in COMMANDS.iter().filter(|(_, end, _)| *end > from) {
            let command = Command::of(words.iter().map(|word| word.as_bytes()));
            skipped.follow(Db(0), &command, at(*end)).unwrap();
            assert_eq!(places(skipped), *expected, "{words:?}");
        }
    }

    #[test]
    fn their_names_are_known_at_every_offset() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path(), "skipped").unwrap();
        let mut skipped = skipped();
        skipped.keep(journal(&directory)).unwrap();
        follow_all(&mut skipped, 0);
        for (_, end, expected) in COMMANDS {
            skipped.go_back(at(end)).unwrap();
            assert_eq!(places(&skipped), expected, "{end}");
            // What was applied once is applied again.
            follow_all(&mut skipped, end);
        }
        drop(skipped);
        for (_, end, expected) in COMMANDS {
            let mut read = Skipped::read(journal(&directory), at(end)).unwrap();
            assert_eq!(places(&read), expected, "{end}");
            follow_all(&mut read, end);
        }
    }

    #[test]
    fn without_a_list_nobody_knows_where_they_were() {
        let mut skipped = skipped();
        follow_all(&mut skipped, 0);
        assert!(skipped.go_back(at(50)).is_ok());
        assert!(matches!(skipped.go_back(at(49)), Err(Error::SkippedMoved)));
    }
}
