//! A SQLite database, for whoever has questions: `schema.sql`, explained in docs/verify.md.
//!
//! What is written becomes visible, and outlives the process, some thousand rows at a time and with
//! each bookmark. In between a transaction is open, which also keeps a second writer out.

mod past;

use std::{fs, io, path::Path, time::Duration};

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::{
    Bookmark, Format, Head, Pass, Refusal, Repaired, Resumed, SCHEMA_VERSION, Suspect, Tallies,
    slot_of,
};
use crate::{
    keyspace::{Db, Slot},
    rdb::KeyType,
    verify::{Difference, Summary, Undecided},
};

const SCHEMA: &str = include_str!("schema.sql");

/// What tells a report of ours from other databases: `kfry`.
const APPLICATION_ID: i32 = 0x6b66_7279;

/// How many rows a transaction has at most.
const TRANSACTION_ROWS_MAX: usize = 5000;

/// Keys are shown as text up to here, in bytes of the key: one of 512 MB would be too long as text.
const KEY_TEXT_BYTES_MAX: usize = 64 << 10;

/// How long whoever looks into the database meanwhile is waited for.
const WAIT: Duration = Duration::from_secs(2);
/// The same at the end, when nothing can be put off any more.
const LAST_WAIT: Duration = Duration::from_secs(60);

/// A report as a SQLite database.
pub(super) struct Sqlite {
    database: Connection,
    /// Rows of the transaction that is open.
    rows: usize,
}

impl Sqlite {
    /// Fills the empty file at `path`.
    pub(super) fn create(path: &Path, head: &Head) -> io::Result<Sqlite> {
        // What an older file of this name left would be rolled back into this one.
        for companion in ["-journal", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(companion);
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let database = open(path).map_err(io::Error::other)?;
        begun(database, head).map_err(io::Error::other)
    }

    pub(super) fn resume(path: &Path, head: &Head) -> Result<(Sqlite, Resumed), Refusal> {
        let is_empty = fs::metadata(path)?.len() == 0;
        let database = open(path).map_err(refusal)?;
        if is_empty {
            // The process ended before it had written anything.
            let sqlite = begun(database, head).map_err(refusal)?;
            return Ok((sqlite, past::nothing_yet(head)));
        }
        let id = database.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0));
        if id.map_err(refusal)? != APPLICATION_ID {
            return Err(Refusal::Other("it is another database".to_owned()));
        }
        database.execute_batch("BEGIN IMMEDIATE").map_err(refusal)?;
        let resumed = past::read(&database, head)?;
        let mut sqlite = Sqlite { database, rows: 0 };
        sqlite.resumed(head, &resumed).map_err(refusal)?;
        Ok((sqlite, resumed))
    }

    /// Notes that another run begins.
    fn resumed(&mut self, head: &Head, resumed: &Resumed) -> rusqlite::Result<()> {
        let sql = "UPDATE run SET source_run_id = ?1, target_run_id = ?2";
        let ids = params![head.source_run_id, head.target_run_id];
        self.database.execute(sql, ids)?;
        match &resumed.bookmark {
            Some(bookmark) => self.try_bookmark(bookmark),
            None => self.commit(),
        }
    }

    /// Notes that so many rows were written, and ends the transaction when it has many.
    fn wrote(&mut self, rows: usize) -> rusqlite::Result<()> {
        self.rows += rows;
        match self.rows >= TRANSACTION_ROWS_MAX {
            true => self.commit(),
            false => Ok(()),
        }
    }

    /// Ends the transaction and begins the next. While somebody reads the database for long it stays
    /// open instead: a reader is no reason to fail.
    fn commit(&mut self) -> rusqlite::Result<()> {
        self.rows = 0;
        match self.database.execute_batch("COMMIT") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.database.execute_batch("BEGIN IMMEDIATE"),
        }
    }

    fn forget(&self, db: Db, key: &Bytes) -> rusqlite::Result<()> {
        let sql = "DELETE FROM suspects WHERE db = ?1 AND key = ?2";
        self.database.execute(sql, params![db.0, &key[..]])?;
        Ok(())
    }

    fn add_difference(
        &self,
        difference: &Difference,
        number: usize,
        of: usize,
    ) -> rusqlite::Result<()> {
        let Difference { source, target, .. } = difference;
        let first = difference.first.as_ref();
        let name = |of: Option<KeyType>| of.map(KeyType::name);
        let sql = "INSERT INTO differences (db, key, key_text, slot, kind, value_type, \
                   source_type, target_type, source_memory_bytes, target_memory_bytes, source_len, \
                   target_len, source_expire_at_ms, target_expire_at_ms, place, source_value, \
                   target_value, number, differences_of_key) VALUES \
                   (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)";
        self.database.execute(
            sql,
            params![
                difference.db.0,
                &difference.key[..],
                text_of(&difference.key),
                slot_of(difference).map(|slot| slot.0),
                difference.kind.name(),
                name(source.value_type.or(target.value_type)),
                name(source.value_type),
                name(target.value_type),
                source.memory_bytes.map(integer),
                target.memory_bytes.map(integer),
                source.len.map(integer),
                target.len.map(integer),
                source.expire_at_ms,
                target.expire_at_ms,
                first.map(|first| first.place.to_string()),
                first.and_then(|first| first.source.as_deref()),
                first.and_then(|first| first.target.as_deref()),
                integer(number as u64),
                integer(of as u64),
            ],
        )?;
        Ok(())
    }

    fn try_differences(&mut self, of_key: &[Difference]) -> rusqlite::Result<()> {
        for (n, difference) in of_key.iter().enumerate() {
            self.add_difference(difference, n + 1, of_key.len())?;
        }
        if let Some(difference) = of_key.first() {
            self.forget(difference.db, &difference.key)?;
        }
        self.wrote(of_key.len())
    }

    fn try_undecided(&mut self, undecided: &Undecided) -> rusqlite::Result<()> {
        let sql = "INSERT INTO undecided (db, key, key_text, slot, reason, detail) \
                   VALUES (?1,?2,?3,?4,?5,?6)";
        self.database.execute(
            sql,
            params![
                undecided.db.0,
                &undecided.key[..],
                text_of(&undecided.key),
                Slot::of(&undecided.key).0,
                undecided.reason.name(),
                undecided.detail,
            ],
        )?;
        self.forget(undecided.db, &undecided.key)?;
        self.wrote(1)
    }

    fn try_repaired(&mut self, repaired: &Repaired) -> rusqlite::Result<()> {
        let sql = "INSERT INTO repairs (db, key, key_text, slot, action, detail) \
                   VALUES (?1,?2,?3,?4,?5,?6)";
        self.database.execute(
            sql,
            params![
                repaired.db.0,
                &repaired.key[..],
                text_of(&repaired.key),
                Slot::of(&repaired.key).0,
                repaired.action.name(),
                repaired.action.detail(),
            ],
        )?;
        self.wrote(1)
    }

    fn try_suspects(&mut self, suspects: &[Suspect]) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO suspects (db, key) VALUES (?1, ?2)";
        let mut insert = self.database.prepare(sql)?;
        for suspect in suspects {
            insert.execute(params![suspect.db.0, &suspect.key[..]])?;
        }
        drop(insert);
        self.wrote(suspects.len())
    }

    fn try_bookmark(&mut self, bookmark: &Bookmark) -> rusqlite::Result<()> {
        let Tallies {
            keys_compared,
            keys_looked_up,
            large_keys,
            filtered,
            not_sampled,
            settled,
            bytes_read,
            elapsed_ms,
        } = bookmark.tallies;
        let dbs_done: Vec<u32> = bookmark.dbs_done.iter().map(|db| db.0).collect();
        self.database.execute("DELETE FROM progress", [])?;
        let sql = "INSERT INTO progress (pass, db, cursor, dbs_done, keys_compared, \
                   keys_looked_up, large_keys, filtered, not_sampled, settled, bytes_read, \
                   elapsed_ms) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)";
        self.database.execute(
            sql,
            params![
                name_of(bookmark.pass),
                bookmark.db.0,
                // It may be greater than what an INTEGER holds.
                bookmark.cursor.to_string(),
                json(&dbs_done),
                integer(keys_compared),
                integer(keys_looked_up),
                integer(large_keys),
                integer(filtered),
                integer(not_sampled),
                integer(settled),
                integer(bytes_read),
                integer(elapsed_ms),
            ],
        )?;
        self.commit()
    }

    fn try_finish(&mut self, summary: &Summary) -> rusqlite::Result<()> {
        self.database.execute("DELETE FROM summary", [])?;
        let sql = "INSERT INTO summary (result, differences, keys_different, keys_compared, \
                   keys_looked_up, duration_ms, json) VALUES (?1,?2,?3,?4,?5,?6,?7)";
        let json = json(summary);
        self.database.execute(
            sql,
            params![
                summary.result.name(),
                integer(summary.differences.total),
                integer(summary.differences.keys),
                integer(summary.keys_compared),
                integer(summary.keys_looked_up),
                integer(summary.duration_ms),
                json,
            ],
        )?;
        self.database.busy_timeout(LAST_WAIT)?;
        self.database.execute_batch("COMMIT")
    }
}

impl Format for Sqlite {
    fn differences(&mut self, of_key: &[Difference]) -> io::Result<()> {
        self.try_differences(of_key).map_err(io::Error::other)
    }

    fn undecided(&mut self, undecided: &Undecided) -> io::Result<()> {
        self.try_undecided(undecided).map_err(io::Error::other)
    }

    fn repaired(&mut self, repaired: &Repaired) -> io::Result<()> {
        self.try_repaired(repaired).map_err(io::Error::other)
    }

    fn suspects(&mut self, suspects: &[Suspect]) -> io::Result<()> {
        self.try_suspects(suspects).map_err(io::Error::other)
    }

    fn settled(&mut self, db: Db, key: &Bytes) -> io::Result<()> {
        let forgotten = self.forget(db, key).and_then(|()| self.wrote(1));
        forgotten.map_err(io::Error::other)
    }

    fn bookmark(&mut self, bookmark: &Bookmark) -> io::Result<()> {
        self.try_bookmark(bookmark).map_err(io::Error::other)
    }

    fn finish(mut self: Box<Self>, summary: &Summary) -> io::Result<()> {
        self.try_finish(summary).map_err(io::Error::other)?;
        let closed = self.database.close();
        closed.map_err(|(_, error)| io::Error::other(error))
    }
}

/// Opens a file that exists, without taking its name for a URI.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(WAIT)?;
    database.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(database)
}

/// Makes the tables of an empty database, all at once.
fn begun(database: Connection, head: &Head) -> rusqlite::Result<Sqlite> {
    database.execute_batch("BEGIN IMMEDIATE")?;
    database.execute_batch(SCHEMA)?;
    database.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
    ))?;
    database.execute(
        "INSERT INTO run VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
        params![
            head.version,
            head.source,
            head.target,
            head.source_run_id,
            head.target_run_id,
            head.method,
            head.depth,
            integer(head.sample),
            head.selection,
            head.ttl_tolerance_ms,
            head.started_at,
        ],
    )?;
    let mut sqlite = Sqlite { database, rows: 0 };
    sqlite.commit()?;
    Ok(sqlite)
}

fn refusal(error: rusqlite::Error) -> Refusal {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Refusal::Other("it is no SQLite database".to_owned()),
        _ => Refusal::Failed(io::Error::other(error)),
    }
}

/// A number as an INTEGER of SQLite, which has a sign.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text_of(key: &Bytes) -> String {
    let shown = key.get(..KEY_TEXT_BYTES_MAX).unwrap_or(key);
    shown.escape_ascii().to_string()
}

fn name_of(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "forward",
        Pass::Reverse => "reverse",
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a string takes everything")
}
