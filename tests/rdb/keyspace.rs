//! Events put together to the JSON form of the expectations.

use std::collections::BTreeMap;

use keyferry::keyspace::StreamId;
use keyferry::rdb::{Event, Key, Part, StreamMeta, module_name};
use serde_json::{Value, json};

use crate::sha256;

/// What the events of an RDB add up to.
#[derive(Default)]
pub(crate) struct Keyspace {
    /// By db and key as hex; the last record of a key counts.
    pub(crate) keys: BTreeMap<(u64, String), Found>,
    pub(crate) functions: Vec<String>,
    pub(crate) aux: Vec<Value>,
    /// Values per type byte.
    pub(crate) types: BTreeMap<String, u64>,
    /// Values per module.
    pub(crate) modules: BTreeMap<String, u64>,
    pub(crate) module_aux: Vec<String>,
    /// `[db, key, idle, freq]` of keys that have either.
    pub(crate) idle_freq: Vec<Value>,
    /// How many keys carry metadata of modules.
    pub(crate) with_metadata: u64,
    /// The classes of that metadata, key by key.
    pub(crate) classes: Vec<String>,
    pub(crate) slot_infos: u64,
    pub(crate) slot_imports: u64,
}

/// A key that was found.
pub(crate) struct Found {
    pub(crate) value_type: u8,
    pub(crate) expire_at_ms: Option<i64>,
    pub(crate) value: Value,
}

/// The form of the expectations: hex, or the digest of what is long.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    if bytes.len() > 512 {
        return format!("sha256:{}:{}", sha256::hex(bytes), bytes.len());
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Keyspace {
    pub(crate) fn of(events: &[Event]) -> Self {
        let mut keyspace = Self::default();
        let mut db = 0;
        let mut key: Option<&Key> = None;
        let mut parts: Vec<&Part> = Vec::new();
        for event in events {
            match event {
                Event::SelectDb(selected) => db = selected.0.into(),
                Event::Aux { name, value } => {
                    keyspace.aux.push(json!([encoded(name), encoded(value)]));
                }
                Event::Function { code } => keyspace.functions.push(encoded(code)),
                Event::ModuleAux { module } => keyspace.module_aux.push(module.clone()),
                Event::Key(found) => {
                    keyspace.count(db, found);
                    key = Some(found);
                    parts.clear();
                }
                Event::Part(part) => parts.push(part),
                Event::Body(body) => {
                    let module = module_name(body).expect("only modules are read raw here");
                    *keyspace.modules.entry(module.clone()).or_default() += 1;
                    keyspace.add(
                        db,
                        key.take().expect("a key before its value"),
                        json!(module),
                    );
                }
                Event::ValueEnd => {
                    let key = key.take().expect("a key before its value");
                    keyspace.add(db, key, value_of(key.value_type.byte, &parts));
                }
                Event::MemberExpiry {
                    key,
                    member,
                    expire_at_ms,
                } => keyspace.expire_member(db, key, member, *expire_at_ms),
                Event::SlotInfo { .. } => keyspace.slot_infos += 1,
                Event::SlotImport { .. } => keyspace.slot_imports += 1,
                Event::KeyMeta { classes } => {
                    keyspace
                        .classes
                        .extend(classes.iter().map(|class| class.name.clone()));
                }
                Event::BodyPiece(_)
                | Event::String { .. }
                | Event::Blob { .. }
                | Event::Measured { .. }
                | Event::Lost { .. } => {
                    unreachable!("values are read by element here")
                }
                Event::Header(_)
                | Event::ResizeDb { .. }
                | Event::KeyFlags { .. }
                | Event::SearchIndex { .. }
                | Event::End(_) => {}
            }
        }
        keyspace.functions.sort();
        keyspace
    }

    /// The expiry of a field is a part of its hash; other members have no place for it.
    fn expire_member(&mut self, db: u64, key: &[u8], member: &[u8], expire_at_ms: i64) {
        let key = self.keys.get_mut(&(db, encoded(key))).expect("its key");
        let members = key.value.as_array_mut().expect("a collection");
        let member = json!(encoded(member));
        let found = members
            .iter_mut()
            .find(|found| **found == member || found[0] == member);
        let found = found.expect("its member");
        if found.is_array() {
            found[2] = json!(expire_at_ms);
        }
    }

    fn count(&mut self, db: u64, key: &Key) {
        *self
            .types
            .entry(key.value_type.byte.to_string())
            .or_default() += 1;
        self.with_metadata += u64::from(key.has_metadata);
        if key.idle_s.is_some() || key.freq.is_some() {
            self.idle_freq
                .push(json!([db, encoded(&key.key), key.idle_s, key.freq]));
        }
    }

    fn add(&mut self, db: u64, key: &Key, value: Value) {
        let found = Found {
            value_type: key.value_type.byte,
            expire_at_ms: key.expire_at_ms,
            value,
        };
        // Servers drop keys that have lost their last element.
        if found.value != json!([]) {
            self.keys.insert((db, encoded(&key.key)), found);
        }
    }
}

/// Puts the parts of a value together.
pub(crate) fn value_of(value_type: u8, parts: &[&Part]) -> Value {
    match (value_type, parts.first()) {
        (_, Some(Part::ArrayStart { insert_cursor })) => json!({
            "insert_cursor": insert_cursor,
            "elements": parts[1..].iter().map(|part| element_of(part)).collect::<Vec<_>>(),
        }),
        (_, Some(Part::CronJob { .. })) => cron_of(parts),
        (_, Some(Part::Json(text))) => json!(encoded(text)),
        (0, _) => json!(encoded(&string_of(parts))),
        (15 | 19 | 21 | 26 | 27, _) => stream_of(parts),
        _ => normal(
            value_type,
            Value::Array(parts.iter().map(|part| element_of(part)).collect()),
        ),
    }
}

/// Brings an expected or a found value into an order in which they can be compared.
pub(crate) fn normal(value_type: u8, mut value: Value) -> Value {
    if let (false, Some(elements)) = (is_list(value_type), value.as_array_mut()) {
        elements.sort_by_key(Value::to_string);
    }
    value
}

fn is_list(value_type: u8) -> bool {
    matches!(value_type, 1 | 10 | 14 | 18)
}

fn string_of(parts: &[&Part]) -> Vec<u8> {
    let mut string = Vec::new();
    let mut announced = None;
    for part in parts {
        match part {
            Part::String(element) => string.extend(element.to_bytes()),
            Part::StringStart { len } => announced = Some(*len),
            Part::StringChunk(bytes) => string.extend(bytes),
            part => panic!("{part:?} in a string"),
        }
    }
    assert!(
        announced.is_none_or(|len| len == string.len() as u64),
        "{announced:?}"
    );
    string
}

fn element_of(part: &Part) -> Value {
    let text = |element: &keyferry::rdb::Element| encoded(&element.to_bytes());
    match part {
        Part::ListElement(element) | Part::SetMember(element) => json!(text(element)),
        Part::ZsetMember { member, score } => json!([text(member), score_text(*score)]),
        Part::HashField {
            field,
            value,
            expire_at_ms,
        } => {
            json!([text(field), text(value), expire_at_ms])
        }
        Part::ExpiringSetMember { member, .. } => json!(text(member)),
        Part::ArrayElement { index, value } => json!([index, text(value)]),
        part => panic!("{part:?} in a collection"),
    }
}

fn cron_of(parts: &[&Part]) -> Value {
    let mut job = json!({"keys": [], "args": []});
    let push = |list: &mut Value, bytes| list.as_array_mut().unwrap().push(json!(encoded(bytes)));
    for part in parts {
        match part {
            Part::CronJob {
                script,
                start_at_ms,
                interval_ms,
            } => {
                job["script"] = json!(encoded(script));
                job["start"] = json!(start_at_ms);
                job["interval"] = json!(interval_ms);
            }
            Part::CronKey(key) => push(&mut job["keys"], key),
            Part::CronArgument(argument) => push(&mut job["args"], argument),
            part => panic!("{part:?} in a job"),
        }
    }
    job
}

/// Scores as text that is the same for the same number; zero has no sign here.
pub(crate) fn score_text(score: f64) -> String {
    format!("{:?}", score + 0.0)
}

fn stream_of(parts: &[&Part]) -> Value {
    let mut entries = Vec::new();
    let mut groups: Vec<Value> = Vec::new();
    let mut stream = json!({});
    for part in parts {
        match part {
            Part::StreamEntry { id, fields } => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(field, value)| {
                        json!([encoded(&field.to_bytes()), encoded(&value.to_bytes())])
                    })
                    .collect();
                entries.push(json!([id.to_string(), fields]));
            }
            Part::StreamMeta(meta) => stream = meta_of(meta),
            Part::StreamGroup(group) => groups.push(json!({
                "name": encoded(&group.name),
                "last_id": group.last_id.to_string(),
                "entries_read": group.entries_read,
                "pending": [],
                "consumers": [],
            })),
            Part::StreamIdempotency(config) => {
                stream["idmp"] = json!({
                    "duration_s": config.duration_s,
                    "max_entries": config.entries_max,
                    "producers": config.producers,
                    "entries": 0,
                });
            }
            Part::StreamIdempotentId { .. } => {
                let entries = stream["idmp"]["entries"].as_u64().unwrap();
                stream["idmp"]["entries"] = json!(entries + 1);
            }
            Part::StreamIdempotencyEnd {
                ids_added,
                duplicates,
            } => {
                stream["idmp"]["iids_added"] = json!(ids_added);
                stream["idmp"]["iids_duplicates"] = json!(duplicates);
            }
            part => add_to_group(groups.last_mut().expect("a group"), part),
        }
    }
    stream["entries"] = json!(entries);
    groups.sort_by_key(|group| group["name"].to_string());
    groups.iter_mut().for_each(sort_pending);
    stream["groups"] = json!(groups);
    stream
}

fn meta_of(meta: &StreamMeta) -> Value {
    json!({
        "length": meta.length,
        "last_id": meta.last_id.to_string(),
        "max_deleted_id": meta.max_deleted_id.map(|id| id.to_string()),
        "entries_added": meta.entries_added,
    })
}

fn add_to_group(group: &mut Value, part: &Part) {
    let push = |list: &mut Value, value| list.as_array_mut().unwrap().push(value);
    match part {
        Part::StreamConsumer(consumer) => push(
            &mut group["consumers"],
            json!({
                "name": encoded(&consumer.name),
                "seen_time": consumer.seen_at_ms,
                "active_time": consumer.active_at_ms.unwrap_or(-1),
                "pending": [],
            }),
        ),
        Part::StreamPending(pending) => {
            let id = pending.id.to_string();
            let consumer = group["consumers"]
                .as_array_mut()
                .unwrap()
                .last_mut()
                .unwrap();
            push(&mut consumer["pending"], json!(id));
            let name = consumer["name"].clone();
            let entry = json!([id, name, pending.delivered_at_ms, pending.delivery_count]);
            push(&mut group["pending"], entry);
        }
        Part::StreamNacked(pending) | Part::StreamUnowned(pending) => {
            let (time, count) = (pending.delivered_at_ms, pending.delivery_count);
            let entry = json!([pending.id.to_string(), null, time, count]);
            push(&mut group["pending"], entry);
        }
        Part::StreamGroupEnd(end) => assert_eq!(*end, Default::default(), "odd pending entries"),
        part => panic!("{part:?} in a group"),
    }
}

/// Puts pending entries and consumers into the order of the expectations.
pub(crate) fn sort_pending(group: &mut Value) {
    let by_id = |entry: &Value| {
        let id = entry[0]
            .as_str()
            .unwrap_or_default()
            .split_once('-')
            .expect("an id");
        StreamId {
            ms: id.0.parse().unwrap(),
            seq: id.1.parse().unwrap(),
        }
    };
    group["pending"].as_array_mut().unwrap().sort_by_key(by_id);
    group["consumers"]
        .as_array_mut()
        .unwrap()
        .sort_by_key(|consumer| consumer["name"].to_string());
}
