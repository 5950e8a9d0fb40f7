//! Streams.

use keyferry::rdb::{Altitude, ErrorKind, Event, Limits, Part};

use super::{Corrupt, MUCH, Passes, TooLarge, Trap, Truncated, cut, listpack, value};
use crate::fuzz::read;

fn id(seq: u8) -> [u8; 16] {
    u128::from(seq).to_be_bytes()
}

/// Nodes of a stream with these ids and listpacks, and nothing else.
fn stream(nodes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = vec![nodes.len() as u8];
    for (seq, elements) in nodes {
        let node = listpack(u16::MAX, elements);
        body.extend([&[16], &id(*seq)[..], &[node.len() as u8], &node].concat());
    }
    value(15, &[&body[..], b"\x01\0\0\0"].concat())
}

/// One node of one live entry and no deleted one; the entry is given.
fn entry(entry: &[u8]) -> Vec<u8> {
    stream(&[(1, &[b"\x01\x01\0\x01\0\x01\0\x01", entry].concat())])
}

/// An empty stream with one group: its pending entries, and those that its one consumer owns.
fn group(pending: &[u8], owned: &[u8]) -> Vec<u8> {
    let mut body = b"\0\0\0\0\x01\x01g\0\0".to_vec();
    body.push(pending.len() as u8);
    for seq in pending {
        body.extend([&id(*seq)[..], &[0; 8], &[1]].concat());
    }
    body.extend(b"\x01\x01c\0\0\0\0\0\0\0\0");
    body.push(owned.len() as u8);
    owned.iter().for_each(|seq| body.extend(id(*seq)));
    value(15, &body)
}

pub(super) fn traps() -> Vec<Trap> {
    let negative = "negative number of entries or fields in a stream node";
    let counts = Corrupt("a stream node's counts differ from its entries");
    let node: &[u8] = b"\0\x01\0\x01\0\x01\0\x01";
    // -2^63, and the length to walk backwards by.
    let least = b"\xf4\0\0\0\0\0\0\0\x80\x09";
    let most = b"\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09";
    let with = |elements: &[&[u8]]| stream(&[(1, &elements.concat())]);
    let twice = b"\x02\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\x04\x01\0\x01\0\x01\0\x01\0\x01\x04\x01";
    vec![
        (
            "node id of 15 bytes",
            value(
                15,
                &[
                    b"\x01\x0f",
                    &[0; 15][..],
                    b"\x07",
                    &listpack(0, b""),
                    b"\0\0\0\0",
                ]
                .concat(),
            ),
            Corrupt("the id of a stream node is not 16 bytes long"),
        ),
        (
            "nodes that do not ascend",
            stream(&[(2, node), (1, node)]),
            Corrupt("the nodes of a stream do not ascend"),
        ),
        (
            "the same node twice",
            stream(&[(1, node), (1, node)]),
            Corrupt("the nodes of a stream do not ascend"),
        ),
        (
            "the same entry twice",
            stream(&[(1, twice)]),
            Corrupt("the entries of a stream do not ascend"),
        ),
        (
            "-2^63 live entries",
            with(&[least, b"\0\x01\0\x01\0\x01"]),
            Corrupt(negative),
        ),
        (
            "-1 deleted entries",
            with(&[b"\0\x01\xdf\xff\x02\0\x01\0\x01"]),
            Corrupt(negative),
        ),
        (
            "-1 fields of the master entry",
            with(&[b"\0\x01\0\x01\xdf\xff\x02\0\x01"]),
            Corrupt(negative),
        ),
        (
            "2^63-1 fields of the master entry",
            with(&[b"\0\x01\0\x01", most, b"\0\x01"]),
            TooLarge,
        ),
        (
            "2000 fields that are not there",
            with(&[b"\0\x01\0\x01\xc7\xd0\x02\0\x01"]),
            Corrupt("a packed blob ends in the middle of a pair"),
        ),
        (
            "master entry that goes on",
            with(&[b"\0\x01\0\x01\0\x01\x01\x01"]),
            Corrupt("the master entry of a stream node does not end"),
        ),
        (
            "-1 fields of an entry",
            entry(b"\0\x01\0\x01\0\x01\xdf\xff\x02\x04\x01"),
            Corrupt(negative),
        ),
        (
            "2^63-1 fields of an entry",
            entry(&[b"\0\x01\0\x01\0\x01", &most[..], b"\x04\x01"].concat()),
            TooLarge,
        ),
        (
            "flags that are no number",
            entry(b"\x81x\x02\0\x01\0\x01\0\x01\x04\x01"),
            Corrupt("wrong entry flags"),
        ),
        (
            "wrong number of elements in an entry",
            entry(b"\0\x01\0\x01\0\x01\0\x01\x05\x01"),
            Corrupt("a stream entry has the wrong number of elements"),
        ),
        (
            "entry that is said to be there and is not",
            entry(b""),
            counts,
        ),
        (
            "entry that is there and not said to be",
            stream(&[(1, &[node, b"\0\x01\0\x01\0\x01\0\x01\x04\x01"].concat())]),
            Corrupt("a stream node's counts differ from its entries"),
        ),
        (
            "deleted entry that is said to be live",
            entry(b"\x01\x01\0\x01\0\x01\0\x01\x04\x01"),
            Corrupt("a stream node's counts differ from its entries"),
        ),
        ("length that no entry stands for", stream(&[]), Passes),
        (
            "2^62 pending entries",
            cut(15, &[b"\0\0\0\0\x01\x01g\0\0", MUCH].concat()),
            Truncated,
        ),
        (
            "the same entry pending twice",
            group(&[1, 1], &[]),
            Corrupt("an entry is pending twice in one group"),
        ),
        (
            "owner of what is not pending",
            group(&[1], &[2]),
            Corrupt("a consumer owns an entry that is not pending in its group"),
        ),
        ("pending entry of nobody", group(&[1, 2], &[2]), Passes),
        ("pending entry claimed twice", group(&[1], &[1, 1]), Passes),
    ]
}

/// The fields of one entry are held together, and take 32 times as much as in a listpack, which
/// can be compressed 88 to one.
#[test]
fn the_fields_of_an_entry_are_bounded_like_a_string() {
    let limits = Limits {
        string_bytes_max: 64 * 100,
        ..Limits::default()
    };
    for (fields, fits) in [(100_u8, true), (101, false)] {
        let elements = b"\x80\x01".repeat(2 * usize::from(fields));
        let total = u16::from(fields) * 2 + 4;
        // Sixteen bits, and the length to walk backwards by.
        let total = [&[0xf1][..], &total.to_le_bytes(), &[3]].concat();
        let entry = [b"\0\x01\0\x01\0\x01", &[fields, 1][..], &elements, &total].concat();
        let node = listpack(
            u16::MAX,
            &[b"\x01\x01\0\x01\0\x01\0\x01", &entry[..]].concat(),
        );
        let body = [
            &[1, 16],
            &id(1)[..],
            &(0x4000 | node.len() as u16).to_be_bytes(),
            &node,
            b"\x01\0\0\0",
        ];
        let read = read([&value(15, &body.concat())[..]], Altitude::Elements, limits);
        let found = read.events.iter().find_map(|event| match event {
            Event::Part(Part::StreamEntry { fields, .. }) => Some(fields.len()),
            _ => None,
        });
        assert_eq!(found, fits.then_some(fields.into()), "{:?}", read.end);
        assert_eq!(
            read.end
                .is_err_and(|error| matches!(error.kind, ErrorKind::Limit { .. })),
            !fits
        );
    }
}
