//! Values of modules (type 7): only their framing is known, their content belongs to the module.

use bytes::Bytes;

use crate::rdb::cursor::Cursor;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The name in a module type's id: nine characters of six bits each, above ten bits of version
/// (redis module.c moduleTypeEncodeId).
pub(crate) fn type_name(id: u64) -> String {
    characters(id >> 10, 9)
}

/// So many characters of six bits each, the last one lowest.
pub(crate) fn characters(bits: u64, count: u32) -> String {
    let shifts = (0..count).rev().map(|n| 6 * n);
    shifts.map(|shift| character(bits >> shift)).collect()
}

fn character(bits: u64) -> char {
    ALPHABET
        .get((bits & 63) as usize)
        .copied()
        .unwrap_or(b'?')
        .into()
}

/// The name of the module that a body of type 7 belongs to, e.g. `vectorset`; `None` if the body
/// is too short to say.
pub fn module_name(body: &Bytes) -> Option<String> {
    Cursor::new(body, 0, 0).length().ok().map(type_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_module() {
        let body = Bytes::from_static(b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00\x00");
        assert_eq!(module_name(&body).as_deref(), Some("vectorset"));
        assert_eq!(module_name(&body.slice(..5)), None);
    }
}
