//! What is odd about one value.

use bytes::Bytes;

use crate::{
    keyspace::{Db, StreamId, UnixMs},
    rdb::{Element, Key, KeyType, Part, ValueType},
};

use super::{
    remark::{Place, RemarkKind, Remarks},
    seen::{Known, Seen},
};

/// The beginning of the year 10000, as no clock shows it.
const YEAR_10000_MS: UnixMs = 253_402_300_800_000;
/// The elements of a value whose names are remembered.
const SEEN_MAX: usize = 1 << 20;

/// Watches the parts of one value after the other.
pub(super) struct ValueCheck {
    db: Db,
    key: Bytes,
    /// Its encoding keeps its elements in order.
    is_ordered: bool,
    /// It has elements, and they are read.
    counts: bool,
    elements: u64,
    seen: Seen,
    unsure: bool,
    last: Option<Last>,
    unordered: bool,
    last_entry: Option<StreamId>,
    /// Values of which not all elements were compared.
    values_unsure: u64,
}

/// Whether servers keep the elements of this type in order and refuse others: intsets, packed
/// sorted sets, and packed hashes by the expiry of their fields.
fn is_ordered(value_type: ValueType) -> bool {
    matches!(value_type.byte, 11 | 12 | 17 | 23 | 25)
}

/// The last element of what is kept in order.
enum Last {
    Int(i64),
    Member(f64, Element),
    Expiry(Option<UnixMs>),
}

impl ValueCheck {
    pub(super) fn new() -> ValueCheck {
        ValueCheck {
            db: Db::default(),
            key: Bytes::new(),
            is_ordered: false,
            counts: false,
            elements: 0,
            seen: Seen::up_to(SEEN_MAX),
            unsure: false,
            last: None,
            unordered: false,
            last_entry: None,
            values_unsure: 0,
        }
    }

    /// Where the value stands.
    pub(super) fn place(&self) -> Place {
        Place::new(self.db, self.key.clone())
    }

    /// In how many values not all elements were compared.
    pub(super) fn values_unsure(&self) -> u64 {
        self.values_unsure
    }

    /// Begins a value.
    pub(super) fn begin(&mut self, db: Db, key: Key, has_elements: bool, remarks: &mut Remarks) {
        let key_type = KeyType::of(key.value_type);
        self.db = db;
        self.is_ordered = is_ordered(key.value_type);
        let has_none = [
            KeyType::String,
            KeyType::Stream,
            KeyType::Json,
            KeyType::Other,
        ];
        self.counts = has_elements && !has_none.contains(&key_type);
        self.elements = 0;
        self.seen.clear();
        self.unsure = false;
        self.last = None;
        self.unordered = false;
        self.last_entry = None;
        // A slice of the input, which is not to be held for the next value's sake.
        self.key = Bytes::copy_from_slice(&key.key);
        if let Some(at) = key.expire_at_ms {
            self.expiry("the key", at, remarks);
        }
    }

    /// Looks at a part.
    pub(super) fn part(&mut self, part: &Part, remarks: &mut Remarks) {
        match part {
            Part::ListElement(_) => self.elements += 1,
            Part::SetMember(member) => {
                self.element(member, "member", remarks);
                if let (Element::Int(int), true) = (member, self.is_ordered) {
                    self.order(Last::Int(*int), remarks);
                }
            }
            Part::ExpiringSetMember {
                member,
                expire_at_ms,
            } => {
                self.element(member, "member", remarks);
                self.expiry("a member", *expire_at_ms, remarks);
            }
            Part::ArrayElement { .. } => self.elements += 1,
            Part::Vector(vector) => {
                let name = Element::Bytes(vector.element.clone());
                self.element(&name, "element", remarks);
            }
            Part::ZsetMember { member, score } => {
                self.element(member, "member", remarks);
                if self.is_ordered {
                    self.order(Last::Member(*score, member.clone()), remarks);
                }
            }
            Part::HashField {
                field,
                expire_at_ms,
                ..
            } => {
                self.element(field, "field", remarks);
                if self.is_ordered {
                    self.order(Last::Expiry(*expire_at_ms), remarks);
                }
                if let Some(at) = expire_at_ms {
                    self.expiry("a field", *at, remarks);
                }
            }
            Part::StreamEntry { id, .. } => {
                self.elements += 1;
                self.last_entry = Some(*id);
            }
            Part::StreamMeta(meta) => {
                let (said, found) = (meta.length, self.elements);
                if said != found {
                    self.note(RemarkKind::StreamLength, remarks, || {
                        format!("its length is {said}, it has {found} entries")
                    });
                }
                if self.last_entry > Some(meta.last_id) {
                    self.note(RemarkKind::StreamLastId, remarks, || {
                        format!("its last id is {}, entries follow it", meta.last_id)
                    });
                }
            }
            Part::StreamGroup(group) => {
                let name = Element::Bytes(group.name.clone());
                self.element(&name, "group", remarks);
            }
            Part::StreamGroupEnd(end) => {
                for (kind, count, what) in [
                    (
                        RemarkKind::PendingUnowned,
                        end.pending_unowned,
                        "no consumer",
                    ),
                    (
                        RemarkKind::PendingContested,
                        end.pending_contested,
                        "two consumers",
                    ),
                ] {
                    if count > 0 {
                        self.note(kind, remarks, || {
                            format!("{count} pending entries of a group have {what}")
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Ends the value.
    pub(super) fn end(&mut self, remarks: &mut Remarks) {
        if self.counts && self.elements == 0 {
            self.note(RemarkKind::EmptyKey, remarks, || {
                "it has no elements".into()
            });
        }
        self.values_unsure += u64::from(self.unsure);
    }

    /// Looks at the expiry of one of its members, which stands behind the value.
    pub(super) fn member_expiry(&self, at: UnixMs, remarks: &mut Remarks) {
        self.expiry("a member", at, remarks);
    }

    fn note(&self, kind: RemarkKind, remarks: &mut Remarks, detail: impl FnOnce() -> String) {
        remarks.note(kind, || Some(self.place()), detail);
    }

    fn element(&mut self, element: &Element, what: &str, remarks: &mut Remarks) {
        self.elements += 1;
        let known = match element {
            Element::Bytes(bytes) => self.seen.see(&bytes[..]),
            Element::Int(int) => self.seen.see(itoa::Buffer::new().format(*int).as_bytes()),
        };
        match known {
            Known::New => {}
            Known::Unsure => self.unsure = true,
            Known::Before => self.note(RemarkKind::DuplicateElement, remarks, || {
                let name = element.to_bytes();
                format!(
                    "the {what} {} is there twice",
                    crate::keyspace::Escaped(&name)
                )
            }),
        }
    }

    /// Compares with the last element, where the encoding keeps an order.
    fn order(&mut self, next: Last, remarks: &mut Remarks) {
        let ascends = match (&self.last, &next) {
            (Some(Last::Int(last)), Last::Int(next)) => last < next,
            (Some(Last::Member(last, member)), Last::Member(next, other)) => {
                last < next || (last == next && member.to_bytes() <= other.to_bytes())
            }
            // What never expires comes last.
            (Some(Last::Expiry(last)), Last::Expiry(next)) => {
                last.unwrap_or(UnixMs::MAX) <= next.unwrap_or(UnixMs::MAX)
            }
            _ => true,
        };
        if !ascends && !self.unordered {
            self.unordered = true;
            self.note(RemarkKind::Unordered, remarks, || {
                "its elements do not ascend as their encoding has it".into()
            });
        }
        self.last = Some(next);
    }

    fn expiry(&self, whose: &str, at: UnixMs, remarks: &mut Remarks) {
        if !(1..YEAR_10000_MS).contains(&at) {
            self.note(RemarkKind::Expiry, remarks, || {
                format!("{whose} expires at {at} ms")
            });
        }
    }
}
