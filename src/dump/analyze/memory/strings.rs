//! What strings take: sds headers, and elements of listpacks.

use crate::{dump::encoding::integer, rdb::Element};

/// The bytes of an sds: header, text, NUL. The smallest header is for texts below 32 bytes.
///
/// `redis 7.2 sds.h`: headers of 1, 3, 5, 9 and 17 bytes.
pub(super) fn sds(len: u64) -> u64 {
    match len {
        0 => 4,
        1..32 => 1 + len + 1,
        _ => sds_from_8(len),
    }
}

/// The bytes of an sds that may not have the smallest header.
pub(super) fn sds_from_8(len: u64) -> u64 {
    let header = match len {
        0..0x100 => 3,
        0x100..0x1_0000 => 5,
        0x1_0000..0x1_0000_0000 => 9,
        _ => 17,
    };
    len.saturating_add(header + 1)
}

/// The bytes of an element of a listpack: `redis 7.2 listpack.c lpEncodeGetType`.
pub(super) fn listpack_element(element: &Element) -> u64 {
    let int = match element {
        Element::Int(int) => Some(*int),
        Element::Bytes(bytes) => integer(bytes),
    };
    int.map_or_else(|| listpack_text(element.len() as u64), listpack_int)
}

/// The bytes of an integer in a listpack.
pub(super) fn listpack_int(int: i64) -> u64 {
    let encoded = match int {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    };
    encoded + 1
}

/// The bytes of a text in a listpack.
pub(super) fn listpack_text(len: u64) -> u64 {
    let header = match len {
        0..64 => 1,
        64..4096 => 2,
        _ => 5,
    };
    let encoded = len.saturating_add(header);
    // Seven bits of the length to each byte behind it.
    let back = match encoded {
        0..128 => 1,
        128..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    };
    encoded + back
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn sds_headers_grow_with_the_text() {
        for (len, bytes) in [
            (0, 4),
            (1, 3),
            (31, 33),
            (32, 36),
            (255, 259),
            (256, 262),
            (65_535, 65_541),
            (65_536, 65_546),
        ] {
            assert_eq!(sds(len), bytes, "{len}");
        }
    }

    #[test]
    fn listpack_elements_are_as_short_as_can_be() {
        let long = "x".repeat(5000);
        for (text, bytes) in [
            ("", 2),
            ("5", 2),
            ("-5", 3),
            ("05", 4),
            ("300", 3),
            ("70000", 5),
            ("9223372036854775807", 10),
            ("9223372036854775808", 21),
            ("abc", 5),
            (long.as_str(), 5007),
        ] {
            let element = Element::Bytes(Bytes::copy_from_slice(text.as_bytes()));
            assert_eq!(listpack_element(&element), bytes, "{text:.20}");
        }
        assert_eq!(listpack_element(&Element::Int(127)), 2);
    }
}
