//! Which of the 16384 slots of a cluster a key belongs to.

use crc_fast::{CrcAlgorithm, checksum};

/// A slot, 0 to 16383.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// How many slots there are.
    pub const COUNT: u16 = 16384;

    /// The slot of a key: the CRC-16 (XMODEM) of its hash tag, or of all of it when it has none
    /// (redis 7.2 cluster.c `keyHashSlot`).
    pub fn of(key: &[u8]) -> Slot {
        let crc = checksum(CrcAlgorithm::Crc16Xmodem, hash_tag(key));
        Slot((crc % u64::from(Slot::COUNT)) as u16)
    }
}

/// What stands between the first `{` and the next `}`; the whole key where that is nothing.
fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let len = key.get(start..)?.iter().position(|byte| *byte == b'}')?;
        key.get(start..start + len).filter(|tag| !tag.is_empty())
    };
    tag().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_servers_put_them() {
        // As CLUSTER KEYSLOT of Redis 7.0 answers.
        for (key, slot) in [
            (&b"123456789"[..], 0x31c3),
            (b"foo", 12182),
            (b"{foo}bar", 12182),
            (b"bar{foo}{zap}", 12182),
            (b"", 0),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
        ] {
            assert_eq!(Slot::of(key), Slot(slot), "{key:?}");
        }
    }
}
