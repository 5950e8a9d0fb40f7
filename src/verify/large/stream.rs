//! Streams: by ranges of entries and of pending entries, and what XINFO tells.

mod rows;

use bytes::Bytes;

use crate::{
    keyspace::StreamId,
    resp::Reply,
    verify::{
        compare::{
            Finds, Rules,
            stream::{
                Consumer, Counters, Group, consumers, counters, entry, group, groups, pending_entry,
            },
        },
        peer::Request,
    },
};

use super::{LargeError, Pair, one::One, replies};

use rows::{Entries, PendingEntries, in_pairs};

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), LargeError> {
    let seen = in_pairs(pair, &Entries { key }, |ours, theirs| {
        entry(finds, ours, theirs)
    })
    .await?;
    let can = pair.source_can;
    let (mut source, mut target) = pair.split();
    let (ours, theirs) = tokio::join!(state(&mut source, key), state(&mut target, key));
    let ((mut ours, our_groups), (mut theirs, their_groups)) = (ours?, theirs?);
    [ours.entries, theirs.entries] = seen;
    counters(finds, &ours, &theirs);
    for (ours, theirs) in groups(finds, &our_groups, &their_groups) {
        group(finds, ours, theirs, can.entries_read);
        let name = &ours.name;
        let (mut source, mut target) = pair.split();
        let (ours, theirs) = tokio::join!(
            consumers_of(&mut source, key, name),
            consumers_of(&mut target, key, name),
        );
        consumers(finds, name, &ours?, &theirs?);
        let rows = PendingEntries { key, group: name };
        in_pairs(pair, &rows, |ours, theirs| {
            // The times that they were delivered at are known as exactly as the clocks were read.
            let mut rules = *rules;
            for row in [ours, theirs].into_iter().flatten() {
                rules.ttl_tolerance_ms += row.1;
            }
            let [ours, theirs] = [ours, theirs].map(|of| of.map(|(pending, _)| pending));
            pending_entry(finds, name, ours, theirs, &rules);
        })
        .await?;
    }
    Ok(())
}

/// The counters of a stream, but for how many entries it has, and its groups in the order of their
/// names, without what is in them.
async fn state(one: &mut One<'_>, key: &Bytes) -> Result<(Counters, Vec<Group>), LargeError> {
    let mut request = Request::default();
    request.add(&[b"XINFO", b"STREAM", key]);
    request.add(&[b"XINFO", b"GROUPS", key]);
    let mut replies = one.ask(request).await?.into_iter();
    let stream = replies.next().and_then(replies::fields);
    let stream = stream.and_then(|fields| read_counters(&fields));
    let groups = replies.next().and_then(replies::list);
    let groups = groups.and_then(|groups| {
        let groups = groups
            .into_iter()
            .map(|group| read_group(&replies::fields(group)?));
        groups.collect::<Option<Vec<Group>>>()
    });
    let (Some(counters), Some(mut groups)) = (stream, groups) else {
        return Err(one.odd("XINFO"));
    };
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    Ok((counters, groups))
}

/// The consumers of a group, in the order of their names.
async fn consumers_of(
    one: &mut One<'_>,
    key: &Bytes,
    group: &Bytes,
) -> Result<Vec<Consumer>, LargeError> {
    let mut request = Request::default();
    request.add(&[b"XINFO", b"CONSUMERS", key, group]);
    let consumers = one.ask(request).await?.pop().and_then(replies::list);
    let consumers = consumers.and_then(|consumers| {
        let consumers = consumers.into_iter().map(|consumer| {
            let fields = replies::fields(consumer)?;
            Some(Consumer {
                name: text(&fields, "name")?,
                pending: number(&fields, "pending")?,
            })
        });
        consumers.collect::<Option<Vec<Consumer>>>()
    });
    let mut consumers = consumers.ok_or_else(|| one.odd("XINFO CONSUMERS"))?;
    consumers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(consumers)
}

type Fields = [(Bytes, Reply)];

fn read_counters(fields: &Fields) -> Option<Counters> {
    let duration_s = number(fields, "idmp-duration");
    Some(Counters {
        last_id: id(fields, "last-generated-id")?,
        entries_added: number(fields, "entries-added"),
        max_deleted_id: id(fields, "max-deleted-entry-id"),
        length: number(fields, "length")?,
        entries: 0,
        idempotency: duration_s.zip(number(fields, "idmp-maxsize")),
    })
}

fn read_group(fields: &Fields) -> Option<Group> {
    Some(Group {
        name: text(fields, "name")?,
        last_id: id(fields, "last-delivered-id")?,
        entries_read: number(fields, "entries-read"),
        consumers: Vec::new(),
        pending: Vec::new(),
    })
}

fn field<'f>(fields: &'f Fields, name: &str) -> Option<&'f Reply> {
    let mut found = fields.iter().filter(|(of, _)| of == name);
    found.next().map(|(_, value)| value)
}

fn text(fields: &Fields, name: &str) -> Option<Bytes> {
    replies::string(field(fields, name)?.clone())
}

fn id(fields: &Fields, name: &str) -> Option<StreamId> {
    replies::stream_id(&text(fields, name)?)
}

fn number(fields: &Fields, name: &str) -> Option<u64> {
    replies::number(field(fields, name)?)
}
