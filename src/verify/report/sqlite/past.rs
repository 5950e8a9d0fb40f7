//! What a database says of the verification that it is of.

use std::{collections::HashSet, io};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{SCHEMA_VERSION, name_of, refusal};
use crate::{
    keyspace::Db,
    verify::{
        Counts, Difference, UndecidedCounts,
        report::{
            Bookmark, Head, Pass, Refusal, Resumed, Suspect, Tallies,
            bookmark::RunIds,
            record::{Recount, outline, reason_named},
        },
        summary::none_undecided,
    },
};

/// Reads all that is needed to go on.
///
/// # Errors
/// `Other` for another verification than that of `head`.
pub(super) fn read(database: &Connection, head: &Head) -> Result<Resumed, Refusal> {
    let version = database.pragma_query_value(None, "user_version", |row| row.get(0));
    let theirs = match version.map_err(refusal)? {
        SCHEMA_VERSION => head_of(database).map_err(refusal)?,
        version => Head {
            version,
            ..head.clone()
        },
    };
    if let Some(why) = head.difference(&theirs) {
        return Err(Refusal::Other(why));
    }
    let mut bookmark = bookmark_of(database).map_err(refusal)?;
    if let Some(bookmark) = &mut bookmark {
        bookmark.keep_for(&RunIds::of(&theirs), &RunIds::of(head));
    }
    Ok(Resumed {
        bookmark,
        suspects: suspects_of(database).map_err(refusal)?,
        decided: decided_of(database).map_err(refusal)?,
        counts: counts_of(database)?,
        undecided: undecided_of(database)?,
        finished: is_finished(database).map_err(refusal)?,
        head: theirs,
    })
}

pub(super) fn nothing_yet(head: &Head) -> Resumed {
    Resumed {
        head: head.clone(),
        bookmark: None,
        suspects: Vec::new(),
        decided: HashSet::new(),
        counts: Counts::default(),
        undecided: none_undecided(),
        finished: false,
    }
}

fn head_of(database: &Connection) -> rusqlite::Result<Head> {
    database.query_row("SELECT * FROM run", [], |row| {
        Ok(Head {
            version: row.get("schema_version")?,
            source: row.get("source")?,
            target: row.get("target")?,
            source_run_id: row.get("source_run_id")?,
            target_run_id: row.get("target_run_id")?,
            method: row.get("method")?,
            depth: row.get("depth")?,
            sample: count(row, "sample")?,
            selection: row.get("selection")?,
            ttl_tolerance_ms: row.get("ttl_tolerance_ms")?,
            started_at: row.get("started_at")?,
        })
    })
}

fn bookmark_of(database: &Connection) -> rusqlite::Result<Option<Bookmark>> {
    let read = |row: &Row<'_>| {
        let pass: String = row.get("pass")?;
        let cursor: String = row.get("cursor")?;
        let dbs_done: String = row.get("dbs_done")?;
        let dbs_done: Vec<u32> = serde_json::from_str(&dbs_done).map_err(|_| unread("dbs_done"))?;
        let passes = [Pass::Forward, Pass::Reverse];
        let pass = passes.into_iter().find(|known| name_of(*known) == pass);
        Ok(Bookmark {
            pass: pass.ok_or_else(|| unread("pass"))?,
            db: Db(row.get("db")?),
            cursor: cursor.parse().map_err(|_| unread("cursor"))?,
            dbs_done: dbs_done.into_iter().map(Db).collect(),
            tallies: Tallies {
                keys_compared: count(row, "keys_compared")?,
                keys_looked_up: count(row, "keys_looked_up")?,
                large_keys: count(row, "large_keys")?,
                filtered: count(row, "filtered")?,
                not_sampled: count(row, "not_sampled")?,
                settled: count(row, "settled")?,
                bytes_read: count(row, "bytes_read")?,
                elapsed_ms: count(row, "elapsed_ms")?,
            },
        })
    };
    let found = database.query_row("SELECT * FROM progress", [], read);
    found.optional()
}

/// Those that a page which was walked twice found again, although they have their verdict, are left
/// out.
fn suspects_of(database: &Connection) -> rusqlite::Result<Vec<Suspect>> {
    let sql = "SELECT db, key FROM suspects s \
               WHERE NOT EXISTS (SELECT 1 FROM differences d WHERE d.db = s.db AND d.key = s.key) \
               AND NOT EXISTS (SELECT 1 FROM undecided u WHERE u.db = s.db AND u.key = s.key) \
               ORDER BY id";
    keys_of(database, sql)
}

fn decided_of(database: &Connection) -> rusqlite::Result<HashSet<Suspect>> {
    let sql = "SELECT db, key FROM differences UNION SELECT db, key FROM undecided";
    keys_of(database, sql)
}

fn keys_of<C: FromIterator<Suspect>>(database: &Connection, sql: &str) -> rusqlite::Result<C> {
    let mut select = database.prepare(sql)?;
    let keys = select.query_map([], |row| {
        let key: Vec<u8> = row.get(1)?;
        Ok(Suspect {
            db: Db(row.get(0)?),
            key: Bytes::from(key),
        })
    })?;
    keys.collect()
}

fn counts_of(database: &Connection) -> Result<Counts, Refusal> {
    let sql = "SELECT db, key, kind, source_type, target_type, number, differences_of_key \
               FROM differences ORDER BY id";
    let mut select = database.prepare(sql).map_err(refusal)?;
    let mut rows = select.query([]).map_err(refusal)?;
    let mut recount = Recount::default();
    while let Some(row) = rows.next().map_err(refusal)? {
        let (difference, is_last) = outline_of(row).map_err(refusal)?;
        let difference = difference.map_err(unreadable)?;
        recount.add(difference, is_last);
    }
    Ok(recount.counts)
}

fn outline_of(row: &Row<'_>) -> rusqlite::Result<(Result<Difference, String>, bool)> {
    let key: Vec<u8> = row.get(1)?;
    let kind: String = row.get(2)?;
    let types: [Option<String>; 2] = [row.get(3)?, row.get(4)?];
    let types = types.each_ref().map(Option::as_deref);
    let number: i64 = row.get(5)?;
    let of: i64 = row.get(6)?;
    let outline = outline(Db(row.get(0)?), &Bytes::from(key), &kind, types);
    Ok((outline, number == of))
}

fn undecided_of(database: &Connection) -> Result<UndecidedCounts, Refusal> {
    let sql = "SELECT reason, count(*) FROM undecided GROUP BY reason";
    let mut select = database.prepare(sql).map_err(refusal)?;
    let mut rows = select.query([]).map_err(refusal)?;
    let mut counts = none_undecided();
    while let Some(row) = rows.next().map_err(refusal)? {
        let reason: String = row.get(0).map_err(refusal)?;
        let number = count(row, 1).map_err(refusal)?;
        counts.insert(reason_named(&reason).map_err(unreadable)?, number);
    }
    Ok(counts)
}

fn is_finished(database: &Connection) -> rusqlite::Result<bool> {
    database.query_row("SELECT EXISTS (SELECT 1 FROM summary)", [], |row| {
        row.get(0)
    })
}

fn unreadable(why: String) -> Refusal {
    Refusal::Failed(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn unread(column: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnName(column.to_owned())
}

fn count(row: &Row<'_>, column: impl rusqlite::RowIndex) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    Ok(u64::try_from(number).unwrap_or_default())
}
