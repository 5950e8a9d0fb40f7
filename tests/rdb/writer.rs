//! Files written again: what our writer makes of the records of a file is read as the same.

use keyferry::keyspace::Db;
use keyferry::rdb::{Altitude, Checksum, Event, Limits, Parser, Writer};

use crate::fixture;
use crate::fuzz::{pieces, read};

/// Writes a file again, record by record, and every value in pieces. What has no place in our
/// files is left out: what modules keep, and the order of servers' AUX fields stays.
fn written_again(file: &[u8], limits: Limits) -> Vec<u8> {
    let mut parser = Parser::new(limits);
    let (mut writer, mut out) = (None, Vec::new());
    for piece in pieces(file, &[1, 997, 64, 4096, 3]) {
        parser.feed(piece);
        while let Some(event) = parser.next_event().unwrap() {
            if let Event::Header(header) = event {
                writer = Some(Writer::new(header));
            }
            let writer = writer.as_mut().unwrap();
            match event {
                Event::Aux { name, value } => writer.aux(&name, &value),
                Event::SelectDb(db) => writer.select_db(db),
                Event::ResizeDb { keys, expires } => writer.resize_db(keys, expires),
                Event::Function { code } => writer.function(&code),
                Event::Key(key) => {
                    writer.key(&key, key.value_type);
                    parser.choose(Altitude::Pieces);
                }
                Event::BodyPiece(piece) => writer.body(&piece),
                Event::End(_) => writer.finish(),
                _ => {}
            }
            // Drained at odd places: the checksum goes on.
            if writer.len() > 1000 {
                out.extend(writer.take());
            }
        }
    }
    out.extend(writer.unwrap().take());
    out
}

#[test]
fn files_read_the_same_when_they_are_written_again() {
    let mut files = 0;
    for fixture in fixture::rdbs() {
        let limits = Limits::default();
        let raw = Altitude::Raw {
            bytes_max: usize::MAX,
        };
        let before = read([&fixture.bytes[..]], raw, limits);
        // What comes in parts has no body that could stand in another file.
        let in_parts = |event: &Event| matches!(event, Event::Part(_));
        if before.end.is_err() || before.events.iter().any(in_parts) {
            continue;
        }
        let again = written_again(&fixture.bytes, limits);
        let after = read([&again[..]], raw, limits);
        let kept = |event: &Event| !is_left_out(event);
        let events = |events: &[Event]| -> Vec<Event> {
            let mut events: Vec<_> = events.iter().filter(|event| kept(event)).cloned().collect();
            for event in &mut events {
                if let Event::Key(key) = event {
                    key.has_metadata = false;
                    // What expired before 1970 is written as expired in 1970.
                    key.expire_at_ms = key.expire_at_ms.map(|at| at.max(0));
                }
            }
            events
        };
        let name = &fixture.name;
        assert_eq!(events(&after.events), events(&before.events), "{name}");
        assert_eq!(after.end, Ok(()), "{name}");
        let checksum = match after.events.first() {
            Some(Event::Header(header)) if header.version < 5 => Checksum::Absent,
            _ => Checksum::Verified,
        };
        assert_eq!(after.events.last(), Some(&Event::End(checksum)), "{name}");
        files += 1;
    }
    assert!(files > 100, "{files} files");
}

/// Hints, what modules and other servers keep beside the keys, and the end.
fn is_left_out(event: &Event) -> bool {
    matches!(
        event,
        Event::ModuleAux { .. }
            | Event::KeyMeta { .. }
            | Event::SlotInfo { .. }
            | Event::SlotImport { .. }
            | Event::MemberExpiry { .. }
            | Event::KeyFlags { .. }
            | Event::SearchIndex { .. }
            | Event::End(_)
    )
}

#[test]
fn old_versions_get_no_records_that_they_do_not_know() {
    for (server, expected) in [
        ("redis-3.0", &b"REDIS0006\xfe\x05"[..]),
        ("redis-4.0", b"REDIS0008\xfa\x01a\x01b\xfe\x05\xfb\x02\x01"),
        ("valkey-9.1", b"VALKEY080\xfa\x01a\x01b\xfe\x05\xfb\x02\x01"),
    ] {
        let server: keyferry::rdb::ServerVersion = server.parse().unwrap();
        let mut writer = Writer::new(server.header());
        writer.aux(b"a", b"b");
        writer.select_db(Db(5));
        writer.resize_db(2, 1);
        assert_eq!(writer.take(), expected, "{server}");
    }
}
