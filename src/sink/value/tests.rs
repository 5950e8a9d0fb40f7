//! The plan as a table: a value, a target, the commands it becomes.

use std::path::PathBuf;

use super::*;
use crate::{
    rdb::Element,
    resp::CommandDecoder,
    sink::{Flavor, gather::BATCH_BYTES},
};

const FAR_MS: UnixMs = 4_102_444_800_000;
const NOW_MS: UnixMs = 1_795_000_000_000;

fn target(flavor: Flavor, major: u16, minor: u16) -> Arc<Target> {
    Arc::new(Target {
        flavor,
        version: (major, minor, 0),
        modules: Vec::new(),
        bulk_bytes_max: 1 << 29,
        databases: 16,
    })
}

fn config() -> ValueConfig {
    ValueConfig {
        endpoint: Endpoint::Unix(PathBuf::from("t")),
        conflict: Conflict::Replace,
        on_lossy: OnLossy::Fail,
        hold: Hold::Released,
        expired: Expired::LeaveOut,
        made_by: MadeBy::Server,
        restore_bytes_max: 100,
        window: Arc::default(),
        lanes: 1,
    }
}

fn key(name: &'static str, byte: u8) -> rdb::Key {
    rdb::Key {
        key: name.into(),
        value_type: ValueType::common(byte),
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        has_metadata: false,
    }
}

fn expiring(name: &'static str, byte: u8) -> rdb::Key {
    rdb::Key {
        expire_at_ms: Some(FAR_MS),
        ..key(name, byte)
    }
}

fn string(text: &'static str) -> Event {
    Event::Part(Part::String(Element::Bytes(text.into())))
}

fn element(text: &'static str) -> Event {
    Event::Part(Part::ListElement(Element::Bytes(text.into())))
}

fn field(expire_at_ms: Option<UnixMs>) -> Event {
    Event::Part(Part::HashField {
        field: Element::Bytes("f".into()),
        value: Element::Int(7),
        expire_at_ms,
    })
}

/// Writes one value; returns each batch as its commands, payloads as their type and body.
fn write(
    target: Arc<Target>,
    config: ValueConfig,
    key: rdb::Key,
    events: Vec<Event>,
) -> Result<Vec<Vec<String>>, Error> {
    let mut writer = ValueWriter::new(target, config);
    writer.begin(Db(2), key, NOW_MS)?;
    for event in events {
        writer.take(event)?;
    }
    writer.take(Event::ValueEnd)?;
    writer.flush().unwrap();
    let mut batches = Vec::new();
    while let Some((lane, batch)) = writer.ready() {
        assert_eq!((lane, batch.db), (0, Some(Db(2))));
        batches.push(words(&batch));
    }
    Ok(batches)
}

fn words(batch: &Batch) -> Vec<String> {
    let mut decoder = CommandDecoder::new(crate::resp::Limits::default());
    for segment in &batch.segments {
        decoder.feed(segment.clone());
    }
    let mut commands = Vec::new();
    while let Some(decoded) = decoder.next().unwrap() {
        let mut args = decoded.command.into_args();
        if args[0] == "RESTORE" {
            let payload = rdb::payload::check(&args[3]).unwrap();
            let shown = format!(
                "<{}:{}>",
                payload.value_type.byte,
                payload.body.escape_ascii()
            );
            args[3] = shown.into();
        }
        let args: Vec<String> = args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        commands.push(args.join(" "));
    }
    commands
}

#[test]
fn each_value_is_written_the_way_the_target_takes_it() {
    let redis = |major, minor| target(Flavor::Redis, major, minor);
    let valkey = |major, minor| target(Flavor::Valkey, major, minor);
    let body = || Event::Body(Bytes::from_static(b"BODY"));
    let idle = rdb::Key {
        idle_s: Some(9),
        ..expiring("k", 16)
    };
    let freq = rdb::Key {
        freq: Some(5),
        ..key("k", 16)
    };
    type Row = (
        &'static str,
        Arc<Target>,
        rdb::Key,
        Vec<Event>,
        &'static [&'static str],
    );
    let rows: Vec<Row> = vec![
        (
            "a string",
            redis(6, 0),
            key("k", 0),
            vec![string("v")],
            &["SET k v"],
        ),
        (
            "a string that expires",
            redis(6, 2),
            expiring("k", 0),
            vec![string("v")],
            &["SET k v PXAT 4102444800000"],
        ),
        (
            "a string that expires, before SET could say so",
            redis(6, 0),
            expiring("k", 0),
            vec![Event::Body(Bytes::from_static(b"\x01v"))],
            &["RESTORE k 4102444800000 <0:\\x01v> REPLACE ABSTTL"],
        ),
        (
            "a body the target takes",
            redis(7, 0),
            key("k", 16),
            vec![body()],
            &["RESTORE k 0 <16:BODY> REPLACE"],
        ),
        (
            "its LRU hint",
            valkey(8, 1),
            idle,
            vec![body()],
            &["RESTORE k 4102444800000 <16:BODY> REPLACE ABSTTL IDLETIME 9"],
        ),
        (
            "its LFU hint",
            redis(8, 0),
            freq,
            vec![body()],
            &["RESTORE k 0 <16:BODY> REPLACE FREQ 5"],
        ),
        (
            "a list of a newer encoding",
            redis(6, 0),
            key("k", 18),
            vec![element("a"), element("b")],
            &["RESTORE k 0 <1:\\x02\\x01a\\x01b> REPLACE"],
        ),
        (
            "fields that expire, of the other family",
            valkey(9, 1),
            key("k", 24),
            vec![field(Some(FAR_MS))],
            &["RESTORE k 0 <22:\\x01\\x01f\\x017\\x00\\xd8\\xc3,\\xbb\\x03\\x00\\x00> REPLACE"],
        ),
    ];
    for (name, target, key, events, commands) in rows {
        let batches = write(target, config(), key, events).unwrap();
        assert_eq!(batches.concat(), commands, "{name}");
    }
}

#[test]
fn a_key_that_exists_is_left_alone_in_every_way_of_writing() {
    let redis = target(Flavor::Redis, 7, 0);
    let skip = || ValueConfig {
        conflict: Conflict::Skip,
        ..config()
    };
    let long = "x".repeat(200).leak();
    let rows = [
        (
            key("k", 0),
            vec![string("v")],
            vec!["SET k v NX".to_string()],
        ),
        (
            expiring("k", 0),
            vec![string("v")],
            vec!["SET k v PXAT 4102444800000 NX".to_string()],
        ),
        (
            key("k", 16),
            vec![Event::Body(Bytes::from_static(b"B"))],
            vec!["RESTORE k 0 <16:B>".to_string()],
        ),
        (
            expiring("k", 18),
            vec![element(long)],
            vec![
                "MULTI".to_string(),
                "SET __keyferry:mark:0 1".to_string(),
                "UNLINK __keyferry:staging:0".to_string(),
                format!("RPUSH __keyferry:staging:0 {long}"),
                "PEXPIREAT __keyferry:staging:0 4102444800000".to_string(),
                "RENAMENX __keyferry:staging:0 k".to_string(),
                "UNLINK __keyferry:staging:0".to_string(),
                "EXEC".to_string(),
            ],
        ),
    ];
    for (key, events, commands) in rows {
        let name = format!("{key:?}");
        let batches = write(Arc::clone(&redis), skip(), key, events).unwrap();
        assert_eq!(batches.concat(), commands, "{name}");
    }
}

#[test]
fn a_large_value_is_staged_in_transactions_that_wait_for_each_other() {
    let mut writer = ValueWriter::new(target(Flavor::Redis, 6, 0), config());
    writer.begin(Db(0), key("k", 18), NOW_MS).unwrap();
    let item = vec![b'x'; 1000];
    for _ in 0..300 {
        let part = Part::ListElement(Element::Bytes(item.clone().into()));
        writer.take(Event::Part(part)).unwrap();
    }
    writer.take(Event::ValueEnd).unwrap();
    let mut elements = 0;
    let mut last = Vec::new();
    let mut batches = 0;
    while let Some((_, batch)) = writer.ready() {
        assert!(batch.after_confirmed);
        assert!(batch.len() < 2 * BATCH_BYTES);
        batches += 1;
        last = words(&batch);
        let pushes = last.iter().filter(|command| command.starts_with("RPUSH"));
        elements += pushes
            .map(|push| push.split(' ').count() - 2)
            .sum::<usize>();
    }
    assert!(batches > 2);
    assert_eq!(elements, 300);
    assert_eq!(
        last[last.len() - 2..],
        ["RENAME __keyferry:staging:0 k", "EXEC"]
    );
}

#[test]
fn of_a_value_that_is_abandoned_nothing_is_seen() {
    let redis = target(Flavor::Redis, 8, 0);
    let item = || Event::Part(Part::ListElement(Element::Bytes(vec![b'x'; 1000].into())));
    let start = || Event::Part(Part::StringStart { len: 9 });
    let body = || Event::BodyPiece(Bytes::from_static(b"BODY"));
    for (way, byte, events) in [
        ("nothing has come", 18, vec![]),
        ("gathered", 1, vec![element("a")]),
        ("staged", 1, (0..300).map(|_| item()).collect()),
        ("a string in chunks", 0, vec![start()]),
        ("a hash", 4, vec![field(None)]),
        ("a body in pieces", 18, vec![body()]),
    ] {
        let mut writer = ValueWriter::new(Arc::clone(&redis), config());
        writer.begin(Db(0), key("k", byte), NOW_MS).unwrap();
        for event in events {
            writer.take(event).unwrap();
        }
        writer.abandon();
        // Its end belongs to no value, and the next one is written as ever.
        writer.take(Event::ValueEnd).unwrap();
        writer.begin(Db(0), key("next", 1), NOW_MS).unwrap();
        writer.take(item()).unwrap();
        writer.take(Event::ValueEnd).unwrap();
        writer.flush().unwrap();
        let mut commands = Vec::new();
        while let Some((_, batch)) = writer.ready() {
            commands.extend(words(&batch));
        }
        let names_key = |command: &&String| command.split(' ').any(|word| word == "k");
        assert_eq!(commands.iter().find(names_key), None, "{way}");
        let last = commands.iter().rev().find(|command| *command != "EXEC");
        assert_eq!(last.unwrap(), "RENAME __keyferry:staging:0 next", "{way}");
        let unlinked = commands.iter().rposition(|of| of.starts_with("UNLINK"));
        let pushed = commands.iter().rposition(|of| of.starts_with("RPUSH"));
        assert!(unlinked < pushed, "{way}: {commands:?}");
    }
}

#[test]
fn many_parts_without_content_are_not_held() {
    let mut writer = ValueWriter::new(target(Flavor::Redis, 6, 0), config());
    writer.begin(Db(0), key("k", 18), NOW_MS).unwrap();
    for _ in 0..=GATHERED_PARTS_MAX {
        writer.take(element("")).unwrap();
    }
    let value = writer.value.as_ref().unwrap();
    assert!(matches!(value.way, Way::Staged(_)), "{:?}", value.way);
}

#[test]
fn nothing_is_lost_with_a_key_that_is_left_out() {
    let past = rdb::Key {
        expire_at_ms: Some(NOW_MS),
        has_metadata: true,
        ..key("k", 2)
    };
    let mut writer = ValueWriter::new(target(Flavor::Redis, 7, 0), config());
    writer.begin(Db(0), past, NOW_MS).unwrap();
    writer.take(Event::ValueEnd).unwrap();
    writer
        .member_expiry(Db(0), &"k".into(), ("m".into(), NOW_MS + 1))
        .unwrap();
    assert_eq!((writer.left_out().expired, writer.losses().total()), (1, 0));

    let drops = ValueConfig {
        on_lossy: OnLossy::Drop,
        ..config()
    };
    let lost = rdb::Key {
        has_metadata: true,
        ..key("k", 28)
    };
    let mut writer = ValueWriter::new(target(Flavor::Redis, 7, 0), drops);
    writer.begin(Db(0), lost, NOW_MS).unwrap();
    writer.take(Event::ValueEnd).unwrap();
    assert_eq!(writer.losses().total(), 1);
    writer.begin(Db(0), key("k", 2), NOW_MS).unwrap();
    writer
        .member_expiry(Db(0), &"k".into(), ("m".into(), NOW_MS + 1))
        .unwrap();
    assert_eq!(writer.losses().total(), 2);
}

/// Type 24 with one field that expires at this time.
fn expiring_hash(expire_at_ms: UnixMs) -> Event {
    let mut body = expire_at_ms.to_le_bytes().to_vec();
    body.extend_from_slice(b"\x01\x01\x01f\x01v");
    Event::Body(body.into())
}

#[test]
fn a_body_that_would_harm_the_target_is_written_otherwise_or_refused() {
    let redis = || target(Flavor::Redis, 8, 6);
    let cut = vec![Event::Body(Bytes::from_static(b"\0\0\0\0\0\0\0\0\x01"))];
    let error = write(redis(), config(), key("bad", 24), cut).unwrap_err();
    assert!(matches!(&*error.kind, ErrorKind::Value { key, .. } if key == "bad"));

    let far = vec![expiring_hash(1 << 50)];
    let batches = write(redis(), config(), key("k", 24), far).unwrap();
    let min = ((1_i64 << 46) - 1).to_le_bytes().escape_ascii().to_string();
    let restore = format!("RESTORE k 0 <24:{min}\\x01\\x01\\x01f\\x01v> REPLACE");
    assert_eq!(batches.concat(), [restore]);
}

/// A stream of type 21 that says it has so many entries and has none, with a group in which one
/// is pending that is deleted, and consumers that own it.
fn odd_stream(length: u8, owners: usize) -> Event {
    let mut body = vec![0, length];
    body.extend_from_slice(b"\x07\0\0\0\0\0\0\x01\x01g\0\0\0\x01");
    body.extend_from_slice(&[1; 16]);
    body.extend_from_slice(&[0; 9]);
    body.push(owners as u8);
    for _ in 0..owners {
        body.extend_from_slice(b"\x01c");
        body.extend_from_slice(&[0; 16]);
        body.push(1);
        body.extend_from_slice(&[1; 16]);
    }
    Event::Body(body.into())
}

#[test]
fn a_stream_that_would_harm_the_target_is_put_right() {
    for (name, length, owners, losses) in [
        ("it stands", 0, 1, 0),
        ("a wrong length", 3, 1, 0),
        ("nobody owns an entry", 0, 0, 0),
        ("two own one", 0, 3, 2),
    ] {
        let drops = ValueConfig {
            on_lossy: OnLossy::Drop,
            ..config()
        };
        let mut writer = ValueWriter::new(target(Flavor::Valkey, 9, 1), drops);
        writer.begin(Db(0), key("k", 21), NOW_MS).unwrap();
        writer.take(odd_stream(length, owners)).unwrap();
        writer.flush().unwrap();
        let (_, batch) = writer.ready().unwrap();
        let written = words(&batch);
        assert_eq!(written.len(), 1, "{name}: {written:?}");
        assert!(
            written[0].starts_with("RESTORE k 0 <21:\\x00\\x00\\x07"),
            "{name}: {written:?}"
        );
        assert_eq!(writer.losses().total(), losses, "{name}");
    }
    let contested = vec![odd_stream(0, 2)];
    let error = write(
        target(Flavor::Redis, 8, 6),
        config(),
        key("k", 21),
        contested,
    );
    let kind = error.unwrap_err().kind;
    assert!(
        matches!(&*kind, ErrorKind::Lossy { lossy, .. } if lossy.loss == Loss::ContestedEntry),
        "{kind:?}"
    );
}

#[test]
fn a_module_that_is_longer_than_the_target_takes_is_lost_once() {
    let small = Arc::new(Target {
        bulk_bytes_max: 1000,
        ..(*target(Flavor::Redis, 8, 6)).clone()
    });
    let drops = ValueConfig {
        on_lossy: OnLossy::Drop,
        ..config()
    };
    let piece = || Event::BodyPiece(Bytes::from_static(b"piece"));
    let mut writer = ValueWriter::new(Arc::clone(&small), drops);
    let altitude = writer.begin(Db(0), key("k", 7), NOW_MS).unwrap();
    assert_eq!(altitude, Altitude::Raw { bytes_max: 989 });
    for event in [piece(), piece(), Event::ValueEnd] {
        writer.take(event).unwrap();
    }
    writer.flush().unwrap();
    assert!(writer.ready().is_none());
    assert_eq!((writer.losses().total(), writer.left_out().empty), (1, 0));

    let kind = write(small, config(), key("k", 7), vec![piece()])
        .unwrap_err()
        .kind;
    assert!(
        matches!(&*kind, ErrorKind::Lossy { lossy, .. } if lossy.loss == Loss::LongModuleValue),
        "{kind:?}"
    );
}

#[test]
fn a_body_without_elements_is_counted_where_the_target_would_take_it() {
    let mut writer = ValueWriter::new(target(Flavor::Redis, 6, 0), config());
    writer.begin(Db(0), key("k", 4), NOW_MS).unwrap();
    writer.take(Event::Body(Bytes::from_static(b"\0"))).unwrap();
    writer.flush().unwrap();
    assert!(writer.ready().is_none());
    assert_eq!(writer.left_out().empty, 1);
}

#[test]
fn a_hash_of_which_all_fields_have_expired_counts_once() {
    let redis = || target(Flavor::Redis, 8, 6);
    let two = || {
        let mut body = NOW_MS.to_le_bytes().to_vec();
        body.extend_from_slice(b"\x02\x01\x01f\x01v\x01\x01g\x01v");
        Event::Body(body.into())
    };
    for (byte, events) in [
        (24, vec![two()]),
        (
            22,
            vec![field(Some(NOW_MS)), field(Some(5)), Event::ValueEnd],
        ),
    ] {
        let mut writer = ValueWriter::new(redis(), config());
        writer.begin(Db(0), key("k", byte), NOW_MS).unwrap();
        for event in events {
            writer.take(event).unwrap();
        }
        writer.flush().unwrap();
        assert!(writer.ready().is_none());
        let left_out = LeftOut {
            expired: 1,
            empty: 0,
        };
        assert_eq!(writer.left_out(), left_out, "type {byte}");
    }
}

#[test]
fn a_hash_that_may_vanish_does_not_need_its_staging_key_to_replace_another() {
    let config = ValueConfig {
        restore_bytes_max: 0,
        ..config()
    };
    let fields = vec![field(Some(FAR_MS))];
    let valkey = target(Flavor::Valkey, 9, 1);
    let batches = write(valkey, config, key("k", 24), fields).unwrap();
    let commands = batches.concat();
    assert_eq!(
        commands[commands.len() - 3..],
        ["UNLINK k", "RENAME __keyferry:staging:0 k", "EXEC"]
    );
}

#[test]
fn held_expiries_are_shifted_everywhere() {
    let held = || ValueConfig {
        hold: Hold::Held,
        ..config()
    };
    let shifted = Hold::Held.apply(FAR_MS);
    let redis = target(Flavor::Redis, 8, 0);
    let set = write(
        Arc::clone(&redis),
        held(),
        expiring("k", 0),
        vec![string("v")],
    )
    .unwrap();
    assert_eq!(set.concat(), [format!("SET k v PXAT {shifted}")]);
    let past = rdb::Key {
        expire_at_ms: Some(5),
        ..key("k", 0)
    };
    let set = write(Arc::clone(&redis), held(), past, vec![string("v")]).unwrap();
    let shifted = Hold::Held.apply(5);
    assert_eq!(set.concat(), [format!("SET k v PXAT {shifted}")]);
    // Fields that expire are read, although the target would take the body as it stands.
    let mut writer = ValueWriter::new(redis, held());
    let altitude = writer.begin(Db(0), key("k", 25), NOW_MS).unwrap();
    assert_eq!(altitude, Altitude::Elements);
    writer.take(field(Some(FAR_MS))).unwrap();
    writer.take(Event::ValueEnd).unwrap();
    assert!(writer.held_fields());
    writer.flush().unwrap();
    let (_, batch) = writer.ready().unwrap();
    let mut min = Hold::Held
        .apply_field(FAR_MS)
        .to_le_bytes()
        .escape_ascii()
        .to_string();
    min.push_str("\\x01\\x01\\x01f\\x017");
    assert_eq!(words(&batch), [format!("RESTORE k 0 <24:{min}> REPLACE")]);
}

#[test]
fn what_is_left_out_is_counted() {
    let past = rdb::Key {
        expire_at_ms: Some(NOW_MS),
        ..key("k", 0)
    };
    let mut writer = ValueWriter::new(target(Flavor::Redis, 7, 0), config());
    assert_eq!(writer.begin(Db(0), past, NOW_MS).unwrap(), Altitude::Skip);
    writer.take(Event::ValueEnd).unwrap();
    writer.begin(Db(0), key("e", 24), NOW_MS).unwrap();
    writer.take(Event::ValueEnd).unwrap();
    writer.flush().unwrap();
    assert!(writer.ready().is_none());
    let left_out = LeftOut {
        expired: 1,
        empty: 1,
    };
    assert_eq!(writer.left_out(), left_out);
}

#[test]
fn what_has_expired_can_be_kept_without_its_expiry() {
    let persist = || ValueConfig {
        expired: Expired::Persist,
        ..config()
    };
    let redis = target(Flavor::Redis, 8, 0);
    for (at, command) in [
        (NOW_MS, "SET k v"),
        (NOW_MS + 1, "SET k v PXAT 1795000000001"),
    ] {
        let key = rdb::Key {
            expire_at_ms: Some(at),
            ..key("k", 0)
        };
        let set = write(Arc::clone(&redis), persist(), key, vec![string("v")]).unwrap();
        assert_eq!(set.concat(), [command]);
    }
    // Fields that expire are read, although the target would take the body as it stands.
    let past = vec![field(Some(NOW_MS))];
    let hash = write(redis, persist(), key("k", 24), past).unwrap();
    assert_eq!(hash.concat(), ["RESTORE k 0 <4:\\x01\\x01f\\x017> REPLACE"]);
}

#[test]
fn what_the_target_cannot_hold_stops_or_is_counted() {
    let fails = write(
        target(Flavor::Redis, 7, 0),
        config(),
        key("k", 24),
        vec![field(Some(FAR_MS))],
    );
    let error = fails.unwrap_err();
    assert_eq!(
        error.to_string(),
        "target unix:t cannot hold the expiry of a hash field of key \"k\" in db 2"
    );
    let drops = ValueConfig {
        on_lossy: OnLossy::Drop,
        ..config()
    };
    let batches = write(
        target(Flavor::Redis, 7, 0),
        drops,
        key("k", 24),
        vec![field(Some(FAR_MS))],
    );
    assert_eq!(
        batches.unwrap().concat(),
        ["RESTORE k 0 <4:\\x01\\x01f\\x017> REPLACE"]
    );
    let no_db = write(
        target(Flavor::Redis, 7, 0),
        config(),
        key("k", 0),
        vec![string("v")],
    );
    assert!(no_db.is_ok());
    let mut writer = ValueWriter::new(target(Flavor::Redis, 7, 0), config());
    let error = writer.begin(Db(16), key("k", 0), NOW_MS).unwrap_err();
    assert!(matches!(*error.kind, ErrorKind::NoSuchDb { .. }));
}

#[test]
fn strings_are_gathered_until_the_batch_is_full() {
    let mut writer = ValueWriter::new(target(Flavor::Redis, 7, 0), config());
    for _ in 0..600 {
        writer.begin(Db(0), key("k", 0), NOW_MS).unwrap();
        writer.take(string("v")).unwrap();
        writer.take(Event::ValueEnd).unwrap();
    }
    writer.flush().unwrap();
    let (_, batch) = writer.ready().unwrap();
    let counts: Vec<_> = batch
        .requests
        .iter()
        .map(|request| request.writes)
        .collect();
    let keys = |count| Writes::Keys {
        value_type: ValueType::common(0),
        count,
    };
    assert_eq!(counts, [keys(512), keys(88)]);
}

/// A value of a type that the target has not is lost as a whole, or said in another way.
#[test]
fn values_of_newer_servers_and_forks_are_written_or_lost() {
    let redis = |major, minor| target(Flavor::Redis, major, minor);
    let mut with_json = Target::clone(&redis(7, 2));
    with_json.modules.push("rejson".into());
    let with_json = Arc::new(with_json);
    let (ours, theirs) = (rdb::Family::Redis, rdb::Family::Dragonfly);
    let body = || vec![Event::Body(Bytes::from_static(b"B"))];
    let json = vec![Event::Part(Part::Json("{}".into()))];
    let member = Event::Part(Part::ExpiringSetMember {
        member: Element::Bytes("m".into()),
        expire_at_ms: FAR_MS,
    });
    let set = "RESTORE k 0 <2:\\x01\\x01m> REPLACE";
    let lost = Loss::MemberExpiry;
    for (to, byte, family, events, written, loss) in [
        (
            redis(8, 8),
            28,
            ours,
            body(),
            "RESTORE k 0 <28:B> REPLACE",
            None,
        ),
        (redis(8, 6), 28, ours, vec![], "", Some(Loss::Array)),
        (redis(8, 8), 64, ours, vec![], "", Some(Loss::CronJob)),
        (
            redis(8, 8),
            33,
            theirs,
            vec![],
            "",
            Some(Loss::DragonflyValue),
        ),
        (redis(8, 8), 20, theirs, vec![], "", Some(Loss::Json)),
        (with_json, 20, theirs, json, "JSON.SET staged . {}", None),
        (redis(7, 0), 32, theirs, vec![member], set, Some(lost)),
    ] {
        let case = format!("type {byte} to {to}");
        let key = rdb::Key {
            value_type: ValueType::of(byte, family),
            ..key("k", 0)
        };
        let failed = write(to.clone(), config(), key.clone(), events.clone());
        let lossy = failed.err().map(|error| match *error.kind {
            ErrorKind::Lossy { lossy, .. } => lossy.loss,
            other => panic!("{case}: {other:?}"),
        });
        assert_eq!(lossy, loss, "{case}");
        let drop = ValueConfig {
            on_lossy: OnLossy::Drop,
            ..config()
        };
        let staging = String::from_utf8(staging_key(0).to_vec()).unwrap();
        let batches = write(to, drop, key, events).unwrap();
        let batches = batches.concat().join("; ").replace(&staging, "staged");
        assert!(batches.contains(written), "{case}: {batches}");
        assert_eq!(batches.is_empty(), written.is_empty(), "{case}: {batches}");
    }
}
