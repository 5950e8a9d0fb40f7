//! Values that real servers dumped, read to their elements, written anew and restored on every
//! other server.

use bytes::Bytes;
use keyferry::rdb::{
    Event, Limits, PlainEncoder, ServerVersion, ValueParser, ValueType, convert, payload,
};
use redis::Value;

use crate::support::{
    client::{Command, bytes, items},
    dataset::Dataset,
    oracle::{Difference, Oracle},
    server::Server,
    version::Version,
};

/// How a value is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From its elements, in the plain encoding that every server takes.
    Plain,
    /// As the newest type that the server takes.
    Converted,
}

/// A key and its value as DUMP says it.
type Dumped = (Vec<u8>, payload::Payload);

/// A server with one value of every type and encoding, none of which expires.
fn source_of(version: Version) -> Server {
    let server = Server::of(version).config("list-compress-depth 1").start();
    let mut dataset = Dataset::seeded(11);
    dataset.small_keys = 50;
    dataset.expiring = false;
    dataset.load(&server);
    let mut client = server.client();
    for db in [1, 9] {
        client.select(db);
        client.run(command!["FLUSHDB"]);
    }
    client.select(0);
    // The second one has fields that expire while values are compared.
    client.run(command!["DEL", "string:big", "hash:ttl:soon"]);
    let keys = client.run(command!["KEYS", "*"]);
    let persist: Vec<Command> = items(&keys)
        .iter()
        .map(|key| command!["PERSIST", bytes(key)])
        .collect();
    client.pipeline(&persist);
    server
}

/// Every payload of a server, checked.
fn dumped(server: &Server) -> Vec<Dumped> {
    let mut client = server.client();
    let keys = client.run(command!["KEYS", "*"]);
    let keys: Vec<Vec<u8>> = items(&keys).iter().map(bytes).collect();
    let dumps: Vec<Command> = keys.iter().map(|key| command!["DUMP", key]).collect();
    let payloads = client.pipeline(&dumps);
    let checked = keys.into_iter().zip(&payloads).map(|(key, reply)| {
        let checked = payload::check(&Bytes::from(bytes(reply))).unwrap();
        (key, checked)
    });
    checked.collect()
}

/// The value as a payload for a server; `None` where that has no such thing.
fn written(dumped: &payload::Payload, server: ServerVersion, way: Way) -> Option<Vec<u8>> {
    let from = dumped.value_type;
    let (value_type, body) = match way {
        _ if from.is_module() => {
            let is_vector_set =
                keyferry::rdb::module_name(&dumped.body).as_deref() == Some("vectorset");
            assert!(is_vector_set, "the servers have no other modules");
            if !server.has_vector_sets() {
                return None;
            }
            (from, converted(dumped, from))
        }
        Way::Plain if !from.is_stream() => plain(dumped, server),
        _ => {
            let to = server.type_for(from).unwrap();
            (to, converted(dumped, to))
        }
    };
    let footer = payload::footer(value_type.byte, &body, server.header().version);
    Some([&[value_type.byte], &body[..], &footer].concat())
}

fn converted(dumped: &payload::Payload, to: ValueType) -> Vec<u8> {
    let body = dumped.body.clone();
    convert(body, dumped.value_type, to, &Limits::default())
        .unwrap()
        .body
}

fn plain(dumped: &payload::Payload, server: ServerVersion) -> (ValueType, Vec<u8>) {
    let mut values = ValueParser::new(dumped.value_type, dumped.body.clone(), Limits::default());
    let mut encoder = PlainEncoder::new(server.field_expiry());
    while let Some(event) = values.next_event().unwrap() {
        if let Event::Part(part) = event {
            encoder.push(&part).unwrap();
        }
    }
    encoder.finish().expect("servers hold nothing empty")
}

/// Restores the values of one version on each that is here.
fn on_each(source: &str) {
    let source = Version::named(source);
    let here = Version::available();
    if !here.contains(&source) {
        return;
    }
    let from = source_of(source);
    let values = dumped(&from);
    for target in here {
        let to = Server::of(target).start();
        let server: ServerVersion = target.name.parse().unwrap();
        for way in [Way::Plain, Way::Converted] {
            restore_all(&values, &to, server, way);
            let is_vector_set =
                |one: &Difference| one.what == "missing on the target" && one.source == "vectorset";
            let mut found = Oracle::between(&from, &to).differences(&from, &to);
            found.retain(|one| {
                let expected = !target.has_vector_sets() && is_vector_set(one);
                !expected && one.what != "function library"
            });
            let shown: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
            assert!(
                found.is_empty(),
                "{source} to {target}, {way:?}:\n{}",
                shown.join("\n")
            );
        }
    }
}

fn restore_all(values: &[Dumped], to: &Server, server: ServerVersion, way: Way) {
    let mut client = to.client();
    client.run(command!["FLUSHALL"]);
    let written = values.iter().filter_map(|(key, value)| {
        let payload = written(value, server, way)?;
        Some(command!["RESTORE", key, 0, payload])
    });
    let commands: Vec<Command> = written.collect();
    for (command, reply) in commands.iter().zip(client.try_pipeline(&commands).unwrap()) {
        let (key, value_type) = (&command[1], command[3].first());
        assert!(
            matches!(reply, Value::Okay),
            "{server}, {way:?}: {} as type {value_type:?}: {reply:?}",
            key.escape_ascii()
        );
    }
}

#[test]
fn of_redis_6_0() {
    on_each("redis-6.0");
}

#[test]
fn of_redis_6_2() {
    on_each("redis-6.2");
}

#[test]
fn of_redis_7_0() {
    on_each("redis-7.0");
}

#[test]
fn of_redis_8_0() {
    on_each("redis-8.0");
}

#[test]
fn of_redis_8_6() {
    on_each("redis-8.6");
}

#[test]
fn of_valkey_8_1() {
    on_each("valkey-8.1");
}

#[test]
fn of_valkey_9_1() {
    on_each("valkey-9.1");
}

#[test]
fn function_libraries_come_back_in_a_payload_of_ours() {
    let code: &[u8] = b"#!lua name=tides\nredis.register_function('high', function() return 1 end)";
    for target in Version::available() {
        if !target.has_functions() {
            continue;
        }
        let server = Server::of(target).start();
        let version = target
            .name
            .parse::<ServerVersion>()
            .unwrap()
            .header()
            .version;
        let ours = payload::of_functions([code], version);
        let mut client = server.client();
        client.run(command!["FUNCTION", "RESTORE", ours]);
        let theirs = bytes(&client.run(command!["FUNCTION", "DUMP"]));
        assert_eq!(
            payload::functions(&theirs.into()).unwrap(),
            [code],
            "{target}"
        );
    }
}
