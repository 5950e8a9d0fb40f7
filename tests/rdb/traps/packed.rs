//! Packed blobs.

use super::{Corrupt, Passes, Trap, listpack, value};

/// The file of a value in one blob.
fn blob(value_type: u8, blob: &[u8]) -> Vec<u8> {
    value(value_type, &[&[blob.len() as u8], blob].concat())
}

/// A ziplist whose last entry begins so many bytes behind the first.
fn ziplist(count: u16, last: u32, entries: &[u8]) -> Vec<u8> {
    let size = (entries.len() as u32 + 11).to_le_bytes();
    let last = (last + 10).to_le_bytes();
    [&size[..], &last, &count.to_le_bytes(), entries, b"\xff"].concat()
}

fn intset(width: u32, count: u32, members: &[u8]) -> Vec<u8> {
    [&width.to_le_bytes(), &count.to_le_bytes(), members].concat()
}

pub(super) fn traps() -> Vec<Trap> {
    let two_back = [&b"\xf0\x80\0\0\0"[..], &[b'a'; 128], b"\x01\x84"].concat();
    let pair_ends = Corrupt("a packed blob ends in the middle of a pair");
    vec![
        (
            "integer as a blob",
            value(16, b"\xc0\x01"),
            Corrupt("an integer stands in the place of a packed blob"),
        ),
        (
            "intset without a count",
            blob(11, b"\x02\0\0\0\0"),
            Corrupt("an intset is shorter than its header"),
        ),
        (
            "intset without members",
            blob(11, &intset(2, 0, b"")),
            Corrupt("an intset's count differs from its size"),
        ),
        (
            "intset of width 3",
            blob(11, &intset(3, 1, b"abc")),
            Corrupt("impossible width of an intset's members"),
        ),
        (
            "intset whose size wraps",
            blob(11, &intset(8, 0x2000_0001, &[0; 8])),
            Corrupt("an intset's count differs from its size"),
        ),
        (
            "intset in descending order",
            blob(11, &intset(2, 2, b"\x02\0\x01\0")),
            Passes,
        ),
        (
            "listpack of five bytes",
            blob(20, b"\x05\0\0\0\0"),
            Corrupt("a listpack is shorter than its header"),
        ),
        (
            "listpack of another size",
            blob(20, &listpack(0, b"")[..6]),
            Corrupt("a listpack's size differs from that of its blob"),
        ),
        (
            "listpack without an end",
            blob(20, b"\x07\0\0\0\0\0\0"),
            Corrupt("a listpack has no end byte"),
        ),
        (
            "listpack of nothing but a header",
            blob(20, b"\x06\0\0\0\0\xff"),
            Corrupt("a listpack has no end byte"),
        ),
        (
            "listpack that ends twice",
            blob(20, &listpack(u16::MAX, b"\x01\x01\xff\x01\x01")),
            Corrupt("a listpack ends in the middle of its blob"),
        ),
        (
            "string near 4 GiB in a listpack",
            blob(20, &listpack(1, b"\xf0\xff\xff\xff\xff")),
            Corrupt("a listpack element leaves the listpack"),
        ),
        (
            "string over the end byte of a listpack",
            blob(20, &listpack(1, b"\x83hi")),
            Corrupt("wrong back length of a listpack element"),
        ),
        (
            "integer over the end of a listpack",
            blob(20, &listpack(1, b"\xf4\0\0")),
            Corrupt("a listpack element leaves the listpack"),
        ),
        (
            "undefined listpack encoding",
            blob(20, &listpack(1, b"\xf5\x01")),
            Corrupt("undefined listpack encoding"),
        ),
        (
            "wrong back length",
            blob(20, &listpack(1, b"\x01\x02")),
            Corrupt("wrong back length of a listpack element"),
        ),
        (
            "wrong back length of two bytes",
            value(20, &[&[0x40, 142], &listpack(1, &two_back)[..]].concat()),
            Corrupt("wrong back length of a listpack element"),
        ),
        (
            "wrong count of a listpack",
            blob(20, &listpack(2, b"\x01\x01")),
            Corrupt("a listpack's count differs from its elements"),
        ),
        (
            "listpack that nobody counted",
            blob(20, &listpack(65_535, b"\x01\x01")),
            Passes,
        ),
        (
            "field without a value",
            blob(16, &listpack(1, b"\x01\x01")),
            pair_ends,
        ),
        (
            "member without a score",
            blob(17, &listpack(1, b"\x01\x01")),
            Corrupt("a packed blob ends in the middle of a pair"),
        ),
        (
            "field without an expiry",
            value(
                25,
                &[&[0; 8][..], &[11], &listpack(2, b"\x01\x01\x01\x01")].concat(),
            ),
            Corrupt("a packed blob ends in the middle of a pair"),
        ),
        (
            "expiry that is no number",
            blob(23, &listpack(3, b"\x01\x01\x01\x01\x81x\x02")),
            Corrupt("a packed blob holds a string in the place of an integer"),
        ),
        (
            "expiry before 1970",
            blob(23, &listpack(3, b"\x01\x01\x01\x01\xdf\xff\x02")),
            Corrupt("impossible expiry of a hash field"),
        ),
        (
            "score nan in a listpack",
            blob(17, &listpack(2, b"\x01\x01\x83nan\x04")),
            Corrupt("a score is not a number"),
        ),
        (
            "score that is no number",
            blob(17, &listpack(2, b"\x01\x01\x83abc\x04")),
            Corrupt("a score is not a number"),
        ),
        (
            "ziplist of five bytes",
            blob(10, b"\x05\0\0\0\0"),
            Corrupt("a ziplist is shorter than its header"),
        ),
        (
            "ziplist of another size",
            blob(10, &[&ziplist(0, 0, b"")[..], b"\xff"].concat()),
            Corrupt("a ziplist's size differs from that of its blob"),
        ),
        (
            "ziplist without an end",
            blob(10, b"\x0b\0\0\0\x0a\0\0\0\0\0\0"),
            Corrupt("a ziplist has no end byte"),
        ),
        (
            "ziplist that ends twice",
            blob(10, &ziplist(u16::MAX, 0, b"\0\xf1\xff\x02\xf1")),
            Corrupt("a ziplist ends in the middle of its blob"),
        ),
        (
            "string near 4 GiB in a ziplist",
            blob(10, &ziplist(1, 0, b"\0\x80\xff\xff\xff\xff")),
            Corrupt("a ziplist entry leaves the ziplist"),
        ),
        (
            "string over the end byte of a ziplist",
            blob(10, &ziplist(1, 0, b"\0\x03hi")),
            Corrupt("a ziplist entry leaves the ziplist"),
        ),
        (
            "undefined ziplist encoding",
            blob(10, &ziplist(1, 0, b"\0\xc1\0\0")),
            Corrupt("undefined ziplist encoding"),
        ),
        (
            "wrong size of the entry before",
            blob(10, &ziplist(2, 2, b"\0\xf1\x03\xf1")),
            Corrupt("a ziplist entry has the wrong size of the one before"),
        ),
        (
            "wrong offset of the last entry",
            blob(10, &ziplist(2, 0, b"\0\xf1\x02\xf1")),
            Corrupt("a ziplist has the wrong offset of its last entry"),
        ),
        (
            "last entry near 4 GiB",
            blob(10, &ziplist(1, 0xffff_fff0, b"\0\xf1")),
            Corrupt("a ziplist has the wrong offset of its last entry"),
        ),
        (
            "wrong count of a ziplist",
            blob(10, &ziplist(2, 0, b"\0\xf1")),
            Corrupt("a ziplist's count differs from its entries"),
        ),
        (
            "ziplist that nobody counted",
            blob(10, &ziplist(65_535, 0, b"\0\xf1")),
            Passes,
        ),
        (
            "field without a value in a ziplist",
            blob(13, &ziplist(1, 0, b"\0\xf1")),
            Corrupt("a packed blob ends in the middle of a pair"),
        ),
        (
            "member without a score in a ziplist",
            blob(12, &ziplist(1, 0, b"\0\xf1")),
            Corrupt("a packed blob ends in the middle of a pair"),
        ),
        (
            "zipmap of nothing",
            value(9, b"\0"),
            Corrupt("a zipmap is empty"),
        ),
        (
            "zipmap without an end",
            blob(9, b"\x01\x01a\x01\0b"),
            Corrupt("a zipmap has no end byte"),
        ),
        (
            "zipmap that ends twice",
            blob(9, b"\xfe\x01a\x01\0b\xff\x01a\x01\0b\xff"),
            Corrupt("a zipmap ends in the middle of its blob"),
        ),
        (
            "zipmap that ends behind a field",
            blob(9, b"\x01\x01a\xff"),
            Corrupt("a zipmap ends in the middle of a pair"),
        ),
        (
            "field near 4 GiB in a zipmap",
            blob(9, b"\x01\xfe\xff\xff\xff\xffa\xff"),
            Corrupt("a zipmap entry leaves the zipmap"),
        ),
        (
            "value over the end byte of a zipmap",
            blob(9, b"\x01\x01a\x02\0b\xff"),
            Corrupt("a zipmap entry leaves the zipmap"),
        ),
        (
            "unused bytes over the end of a zipmap",
            blob(9, b"\x01\x01a\x01\x05b\xff"),
            Corrupt("a zipmap entry leaves the zipmap"),
        ),
        (
            "wrong count of a zipmap",
            blob(9, b"\x02\x01a\x01\0b\xff"),
            Corrupt("a zipmap's count differs from its pairs"),
        ),
    ]
}
