//! What Redis 8.8 and 8.10, Valkey 9, Dragonfly and KeyDB write beside the rest.

use std::io::Write as _;

use super::{
    Corrupt, Fate, MOST, MUCH, Passes, TooLarge, Trap, Truncated, Unknown, cut, file, listpack,
    value,
};

/// A file of Dragonfly.
fn dragonfly(records: &[u8]) -> Vec<u8> {
    [
        b"REDIS0009\xfa\x06df-ver\x041.30",
        records,
        b"\xff",
        &[0; 8],
    ]
    .concat()
}

/// A file of Dragonfly with one value.
fn dragonfly_value(value_type: u8, body: &[u8]) -> Vec<u8> {
    dragonfly(&[&[value_type][..], b"\x01k", body].concat())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(0x4000 | bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A string in the compression of its own, as literals only.
fn lzf(bytes: &[u8]) -> Vec<u8> {
    let runs = bytes
        .chunks(32)
        .map(|run| [&[run.len() as u8 - 1], run].concat());
    let compressed = runs.collect::<Vec<_>>().concat();
    let size = |bytes: &[u8]| (0x4000 | bytes.len() as u16).to_be_bytes();
    [&b"\xc3"[..], &size(&compressed), &size(bytes), &compressed].concat()
}

/// Records that stand in the file as an LZ4 frame.
fn section(records: &[u8]) -> Vec<u8> {
    dragonfly(&[&[202][..], &string(&lz4(records))].concat())
}

fn lz4(records: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_size(Some(records.len() as u64));
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(records).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(records: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(records, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(super) fn traps() -> Vec<Trap> {
    [
        arrays(),
        templates(),
        slots(),
        sections(),
        dragonfly_values(),
        keydb(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn arrays() -> Vec<Trap> {
    vec![
        (
            "array of nothing",
            value(28, b"\0\0"),
            Corrupt("an array without elements"),
        ),
        (
            "flag of an array",
            value(28, b"\x01\x02\x05\x05\0\0\0"),
            Corrupt("undefined flag of an array"),
        ),
        (
            "tag of an element",
            value(28, b"\x01\0\x05\x04\x02hi"),
            Corrupt("undefined tag of an array's element"),
        ),
        (
            "index of 2^64-1",
            value(28, &[b"\x01\0", MOST, b"\0\0"].concat()),
            Corrupt("impossible index of an array"),
        ),
        (
            "array of 2^62 elements",
            cut(28, &[MUCH, b"\0"].concat()),
            Truncated,
        ),
        (
            "array before it was known",
            [b"REDIS0013\x1c\x01k\x01\0\x05\0\x02hi\xff", &[0; 8][..]].concat(),
            Unknown(9),
        ),
    ]
}

fn templates() -> Vec<Trap> {
    // Two fields, a and b, with the id 7; behind it a hash that is given.
    let hash = |hash: &[u8]| file(&[b"\xf2\x07\x02\x01a\x01b", hash].concat());
    let packed = |elements: &[u8]| {
        let blob = listpack(u16::MAX, elements);
        hash(&[b"\x1e\x01k", &[blob.len() as u8][..], &blob].concat())
    };
    vec![
        (
            "template of no fields",
            file(b"\xf2\x07\0"),
            Corrupt("a hash template without fields"),
        ),
        (
            "template of 2^62 fields",
            [b"REDIS0015\xf2\x07", MUCH].concat(),
            Truncated,
        ),
        (
            "template whose fields do not ascend",
            file(b"\xf2\x07\x02\x01b\x01a"),
            Corrupt("the fields of a hash template do not ascend"),
        ),
        (
            "template defined twice",
            hash(b"\xf2\x07\x01\x01a"),
            Corrupt("a hash template is defined twice"),
        ),
        (
            "template that is not defined",
            hash(b"\x20\x01k\x08\x01x\x01y"),
            Corrupt("a hash refers to a template that is not defined"),
        ),
        (
            "template of id -1",
            packed(b"\xdf\xff\x02"),
            Corrupt("impossible id of a hash template"),
        ),
        (
            "too few values",
            packed(b"\x07\x01\x01\x01"),
            Corrupt("a packed blob ends in the middle of a pair"),
        ),
        (
            "too many values",
            packed(b"\x07\x01\x01\x01\x01\x01\x01\x01"),
            Corrupt("a hash has more values than its template has fields"),
        ),
        (
            "hash that brings its names",
            value(31, b"\x01\x01\x01a\x01b"),
            Unknown(9),
        ),
    ]
}

fn slots() -> Vec<Trap> {
    let import = |ranges: &[u8]| {
        [
            b"VALKEY080\xf3\x28",
            &[b'j'; 40][..],
            ranges,
            b"\xff",
            &[0; 8],
        ]
        .concat()
    };
    vec![
        (
            "slot import of no name",
            b"VALKEY080\xf3\x01j\0\xff\0\0\0\0\0\0\0\0".to_vec(),
            Corrupt("the name of a slot import is not 40 bytes long"),
        ),
        (
            "more ranges than slots",
            import(b"\x80\0\0\x40\x01"),
            Corrupt("more ranges of slots than there are slots"),
        ),
        (
            "slot 16384",
            import(b"\x01\0\x80\0\0\x40\0"),
            Corrupt("impossible slot"),
        ),
    ]
}

fn sections() -> Vec<Trap> {
    let record = b"\0\x01k\x01v";
    let (lz4_frame, zstandard_frame) = (lz4(record), zstandard(record));
    let in_file = |opcode: u8, frame: &[u8]| dragonfly(&[&[opcode], &string(frame)[..]].concat());
    // The last four bytes are the checksum of the content.
    let mut summed_wrongly = zstandard_frame.clone();
    summed_wrongly
        .last_mut()
        .into_iter()
        .for_each(|byte| *byte ^= 1);
    // Eight bytes behind the magic, the flags and the size of a block.
    let mut of_another_size = lz4_frame.clone();
    of_another_size[6] += 1;
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(record).unwrap();
    let of_no_size = encoder.finish().unwrap();
    let bomb = lz4(&b"\xfe\0".repeat(1 << 15));
    vec![
        (
            "section that is a number",
            dragonfly(b"\xca\xc0\x01"),
            Corrupt("an integer stands in the place of a compressed section"),
        ),
        (
            "section whose frame is compressed by LZF, too",
            dragonfly(&[&[202][..], &lzf(&lz4_frame)].concat()),
            Corrupt("a compressed section is compressed once more"),
        ),
        (
            "section of another kind",
            in_file(201, &lz4_frame),
            Corrupt("a compressed section does not inflate"),
        ),
        (
            "section that goes on",
            in_file(201, &[&zstandard_frame[..], b"more"].concat()),
            Corrupt("a compressed section goes on behind its frame"),
        ),
        (
            "section of a wrong checksum",
            in_file(201, &summed_wrongly),
            Corrupt("wrong checksum of a compressed section"),
        ),
        (
            "section of no size",
            in_file(202, &of_no_size),
            Corrupt("a compressed section inflates to another size than it says"),
        ),
        (
            "section of a wrong size",
            in_file(202, &of_another_size),
            SIZE,
        ),
        (
            "section that ends within a record",
            section(b"\0\x01k\x05v"),
            Corrupt("a record leaves its compressed section"),
        ),
        (
            "section with the end of the file",
            section(b"\xff"),
            Corrupt("the file ends inside a compressed section"),
        ),
        (
            "section in a section",
            section(&[&[202][..], &string(&lz4_frame)].concat()),
            Corrupt("compressed sections do not nest"),
        ),
        (
            "end of a section without one",
            dragonfly(b"\xcb"),
            Corrupt("compressed sections do not nest"),
        ),
        (
            "section that inflates to more than the limit",
            in_file(202, &bomb),
            TooLarge,
        ),
        ("section of records", section(record), Passes),
        (
            "Zstandard section of records",
            in_file(201, &zstandard_frame),
            Passes,
        ),
    ]
}

/// The decoder of LZ4 compares the size by itself.
const SIZE: Fate = Corrupt("a compressed section does not inflate");

fn dragonfly_values() -> Vec<Trap> {
    vec![
        (
            "expiry of a member that is no number",
            dragonfly_value(32, b"\x01\x01m\x01x"),
            Corrupt("impossible expiry of a member"),
        ),
        (
            "expiry of a member over the end of time",
            dragonfly_value(32, b"\x01\x01m\x139223372036854775807"),
            Corrupt("impossible expiry of a member"),
        ),
        (
            "sketch of 2^124 numbers",
            dragonfly_value(35, &[MUCH, MUCH, b"\0"].concat()),
            Corrupt("impossible size of a sketch"),
        ),
        (
            "filter in pieces of nothing",
            dragonfly_value(34, DRAGONFLY_FILTER),
            Corrupt("pieces of a filter differ from its size"),
        ),
        ("journal", dragonfly(b"\xd2"), Unknown(22)),
    ]
}

/// A filter in pieces that makes no progress.
const DRAGONFLY_FILTER: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x05\0";

fn keydb() -> Vec<Trap> {
    let with = |aux: &[u8]| file(&[b"\x02\x01k\x01\x01m", aux].concat());
    let member = b"\xfa\x13keydb-subexpire-key\x01m";
    let when = |time: &[u8]| {
        [
            b"\xfa\x14keydb-subexpire-when",
            &[time.len() as u8][..],
            time,
        ]
        .concat()
    };
    vec![
        (
            "member without a time",
            with(&[member, &member[..]].concat()),
            Corrupt("the expiry of a member says no time"),
        ),
        (
            "time that is no number",
            with(&[member, &when(b"x")[..]].concat()),
            Corrupt("the expiry of a member is not a number"),
        ),
        (
            "time of no member",
            with(&when(b"5")),
            Corrupt("the expiry of a member names no member of a key"),
        ),
        (
            "time of no key",
            file(&[member, &when(b"5")[..]].concat()),
            Corrupt("the expiry of a member names no member of a key"),
        ),
        (
            "time of a member",
            with(&[member, &when(b"5")[..]].concat()),
            Passes,
        ),
        (
            "job with 2^62 keys",
            cut(64, &[&b"\x01s"[..], &[0; 16], MUCH].concat()),
            Truncated,
        ),
    ]
}
