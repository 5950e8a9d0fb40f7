//! The lines of a JSON Lines report, as they are written and as they are read again.
//!
//! Reading takes only what going on needs: where two values differ first, say, is not read.

use serde::{Deserialize, Serialize};

use super::{
    Bookmark, Head, Pass, RepairAction, Repaired, Suspect, Tallies, bookmark::RunIds, slot_of,
};
use crate::{
    dump::ByteString,
    keyspace::Db,
    rdb::KeyType,
    verify::{Counts, Difference, First, Held, Kind, Place, Reason, Summary, Undecided},
};

/// A line.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Head(&'a Head),
    Resumed(ResumedLine),
    Difference(Box<DifferenceLine>),
    Undecided(UndecidedLine<'a>),
    Suspect(KeyLine),
    Settled(KeyLine),
    Progress(ProgressLine),
    Repair(RepairLine<'a>),
    Summary(&'a Summary),
}

/// A line that was read.
#[derive(Debug, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum ReadLine {
    Head(Head),
    Resumed(ResumedLine),
    Difference(ReadDifference),
    Undecided(ReadUndecided),
    Suspect(KeyLine),
    Settled(KeyLine),
    Progress(ProgressLine),
    Repair {},
    Summary {},
}

/// Where another run begins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResumedLine {
    pub(super) started_at: String,
    #[serde(flatten)]
    pub(super) run_ids: RunIds,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeyLine {
    db: u32,
    key: ByteString,
}

impl KeyLine {
    pub(super) fn new(db: Db, key: &bytes::Bytes) -> KeyLine {
        KeyLine {
            db: db.0,
            key: ByteString(key.clone()),
        }
    }

    pub(super) fn into_suspect(self) -> Suspect {
        Suspect {
            db: Db(self.db),
            key: self.key.0,
        }
    }
}

#[derive(Serialize)]
pub(super) struct DifferenceLine {
    #[serde(flatten)]
    key: KeyLine,
    slot: Option<u16>,
    kind: &'static str,
    /// Which of the differences of its key it is, from 1 on: a key has its verdict with the last.
    number: usize,
    of: usize,
    source: HeldLine,
    target: HeldLine,
    first: Option<FirstLine>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadDifference {
    #[serde(flatten)]
    pub(super) key: KeyLine,
    kind: String,
    pub(super) number: usize,
    pub(super) of: usize,
    source: ReadHeld,
    target: ReadHeld,
}

#[derive(Debug, Deserialize)]
struct ReadHeld {
    r#type: Option<String>,
}

#[derive(Serialize)]
struct HeldLine {
    r#type: Option<&'static str>,
    memory_bytes: Option<u64>,
    len: Option<u64>,
    expire_at_ms: Option<i64>,
}

#[derive(Serialize)]
struct FirstLine {
    place: PlaceLine,
    source: Option<ByteString>,
    target: Option<ByteString>,
}

/// Where: in words, and in the parts they are made of.
#[derive(Default, Serialize)]
struct PlaceLine {
    text: String,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<ByteString>,
}

#[derive(Serialize)]
pub(super) struct UndecidedLine<'a> {
    #[serde(flatten)]
    key: KeyLine,
    slot: u16,
    reason: &'static str,
    detail: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadUndecided {
    #[serde(flatten)]
    pub(super) key: KeyLine,
    reason: String,
}

#[derive(Serialize)]
pub(super) struct RepairLine<'a> {
    #[serde(flatten)]
    key: KeyLine,
    action: &'static str,
    detail: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgressLine {
    pass: Pass,
    db: u32,
    cursor: u64,
    dbs_done: Vec<u32>,
    #[serde(flatten)]
    tallies: Tallies,
}

impl DifferenceLine {
    pub(super) fn new(difference: &Difference, number: usize, of: usize) -> DifferenceLine {
        DifferenceLine {
            key: KeyLine::new(difference.db, &difference.key),
            slot: slot_of(difference).map(|slot| slot.0),
            kind: difference.kind.name(),
            number,
            of,
            source: HeldLine::new(&difference.source),
            target: HeldLine::new(&difference.target),
            first: difference.first.as_ref().map(FirstLine::new),
        }
    }
}

impl HeldLine {
    fn new(held: &Held) -> HeldLine {
        HeldLine {
            r#type: held.value_type.map(KeyType::name),
            memory_bytes: held.memory_bytes,
            len: held.len,
            expire_at_ms: held.expire_at_ms,
        }
    }
}

impl FirstLine {
    fn new(first: &First) -> FirstLine {
        FirstLine {
            place: PlaceLine::new(&first.place),
            source: first.source.clone().map(ByteString),
            target: first.target.clone().map(ByteString),
        }
    }
}

impl PlaceLine {
    fn new(place: &Place) -> PlaceLine {
        let name = |name: &bytes::Bytes| Some(ByteString(name.clone()));
        let text = |name: &str| name.to_owned();
        let mut line = PlaceLine {
            text: place.to_string(),
            ..PlaceLine::default()
        };
        line.what = match place {
            Place::Offset(offset) => {
                line.number = Some(*offset);
                "offset"
            }
            Place::Index(index) => {
                line.number = Some(*index);
                "index"
            }
            Place::Member(member) => {
                line.name = name(member);
                "member"
            }
            Place::Score(member) => {
                line.name = name(member);
                "score"
            }
            Place::Field(field) => {
                line.name = name(field);
                "field"
            }
            Place::FieldExpiry(field) => {
                line.name = name(field);
                "field_expiry"
            }
            Place::Vector(element) => {
                line.name = name(element);
                "vector"
            }
            Place::Entry(id) => {
                line.id = Some(id.to_string());
                "entry"
            }
            Place::Counter(counter) => {
                line.name = Some(ByteString(text(counter).into()));
                "counter"
            }
            Place::Group(group) => {
                line.group = name(group);
                "group"
            }
            Place::GroupCounter { group, counter } => {
                line.group = name(group);
                line.name = Some(ByteString(text(counter).into()));
                "group_counter"
            }
            Place::Consumer { group, consumer } => {
                line.group = name(group);
                line.name = name(consumer);
                "consumer"
            }
            Place::Pending { group, id } => {
                line.group = name(group);
                line.id = Some(id.to_string());
                "pending"
            }
            Place::Payload => "payload",
            Place::Code => "code",
            Place::OtherDb => "db",
        };
        line
    }
}

impl<'a> UndecidedLine<'a> {
    pub(super) fn new(undecided: &'a Undecided) -> UndecidedLine<'a> {
        UndecidedLine {
            key: KeyLine::new(undecided.db, &undecided.key),
            slot: crate::keyspace::Slot::of(&undecided.key).0,
            reason: undecided.reason.name(),
            detail: undecided.detail.as_deref(),
        }
    }
}

impl<'a> RepairLine<'a> {
    pub(super) fn new(repaired: &'a Repaired) -> RepairLine<'a> {
        RepairLine {
            key: KeyLine::new(repaired.db, &repaired.key),
            action: repaired.action.name(),
            detail: RepairAction::detail(&repaired.action),
        }
    }
}

impl ProgressLine {
    pub(super) fn new(bookmark: &Bookmark) -> ProgressLine {
        ProgressLine {
            pass: bookmark.pass,
            db: bookmark.db.0,
            cursor: bookmark.cursor,
            dbs_done: bookmark.dbs_done.iter().map(|db| db.0).collect(),
            tallies: bookmark.tallies,
        }
    }

    pub(super) fn into_bookmark(self) -> Bookmark {
        Bookmark {
            pass: self.pass,
            db: Db(self.db),
            cursor: self.cursor,
            dbs_done: self.dbs_done.into_iter().map(Db).collect(),
            tallies: self.tallies,
        }
    }
}

impl ReadDifference {
    /// As far as counting needs it.
    pub(super) fn outline(&self) -> Result<Difference, String> {
        outline(
            Db(self.key.db),
            &self.key.key.0,
            &self.kind,
            [&self.source, &self.target].map(|held| held.r#type.as_deref()),
        )
    }
}

impl ReadUndecided {
    pub(super) fn reason(&self) -> Result<&'static str, String> {
        reason_named(&self.reason)
    }
}

/// A difference as far as counting needs it.
///
/// # Errors
/// What is not known of it.
pub(super) fn outline(
    db: Db,
    key: &bytes::Bytes,
    kind: &str,
    types: [Option<&str>; 2],
) -> Result<Difference, String> {
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let [source, target] = types.map(|name| Held {
        value_type: name.and_then(|name| KeyType::ALL.into_iter().find(|of| of.name() == name)),
        ..Held::default()
    });
    Ok(Difference {
        db,
        key: key.clone(),
        kind: known.ok_or_else(|| format!("the kind {kind:?} is not known"))?,
        source,
        target,
        first: None,
    })
}

/// A reason by its name.
///
/// # Errors
/// There is none of that name.
pub(super) fn reason_named(name: &str) -> Result<&'static str, String> {
    let names = Reason::ALL.map(Reason::name);
    let known = names.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("the reason {name:?} is not known"))
}

/// Counts differences again that come one by one.
#[derive(Debug, Default)]
pub(super) struct Recount {
    of_key: Vec<Difference>,
    pub(super) counts: Counts,
}

impl Recount {
    /// Takes the next difference; `is_last` of its key.
    pub(super) fn add(&mut self, difference: Difference, is_last: bool) {
        self.of_key.push(difference);
        if is_last {
            self.counts.add(&self.of_key);
            self.of_key.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_parts() {
        let name = bytes::Bytes::from_static(b"n");
        let id = crate::keyspace::StreamId { ms: 5, seq: 6 };
        let group = || name.clone();
        for (place, expected) in [
            (
                Place::Offset(7),
                r#"{"text":"offset 7","what":"offset","number":7}"#,
            ),
            (
                Place::Index(0),
                r#"{"text":"index 0","what":"index","number":0}"#,
            ),
            (
                Place::Member(group()),
                r#"{"text":"member \"n\"","what":"member","name":"n"}"#,
            ),
            (
                Place::Score(group()),
                r#"{"text":"score of \"n\"","what":"score","name":"n"}"#,
            ),
            (
                Place::FieldExpiry(group()),
                r#"{"text":"expiry of field \"n\"","what":"field_expiry","name":"n"}"#,
            ),
            (
                Place::Vector(group()),
                r#"{"text":"element \"n\"","what":"vector","name":"n"}"#,
            ),
            (
                Place::Entry(id),
                r#"{"text":"entry 5-6","what":"entry","id":"5-6"}"#,
            ),
            (
                Place::Counter("last-id"),
                r#"{"text":"last-id","what":"counter","name":"last-id"}"#,
            ),
            (
                Place::Group(group()),
                r#"{"text":"group \"n\"","what":"group","group":"n"}"#,
            ),
            (
                Place::GroupCounter {
                    group: group(),
                    counter: "entries-read",
                },
                r#"{"text":"entries-read of group \"n\"","what":"group_counter","name":"entries-read","group":"n"}"#,
            ),
            (
                Place::Consumer {
                    group: group(),
                    consumer: bytes::Bytes::from_static(b"c"),
                },
                r#"{"text":"consumer \"c\" of group \"n\"","what":"consumer","name":"c","group":"n"}"#,
            ),
            (
                Place::Pending { group: group(), id },
                r#"{"text":"pending entry 5-6 of group \"n\"","what":"pending","id":"5-6","group":"n"}"#,
            ),
            (Place::Payload, r#"{"text":"payload","what":"payload"}"#),
            (Place::Code, r#"{"text":"code","what":"code"}"#),
            (Place::OtherDb, r#"{"text":"db","what":"db"}"#),
        ] {
            let line = PlaceLine::new(&place);
            assert_eq!(serde_json::to_string(&line).unwrap(), expected);
        }
    }
}
