//! The checksum of RDB files and payloads: CRC-64 with the Jones polynomial, reflected, starting
//! at zero (redis crc64.c).
//!
//! `123456789` gives `e9c6d914c4b8d9ca`. CRC-64/XZ and CRC-64/NVME, which other crates offer under
//! similar names, are different sums.

use crc_fast::{CrcAlgorithm, Digest};

/// A running checksum.
#[derive(Debug)]
pub(crate) struct Crc64(Digest);

impl Crc64 {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Redis))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.finalize()
    }
}

/// The checksum of bytes that lie in one piece.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Redis, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_jones_polynomial() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn pieces_sum_up_like_the_whole() {
        let bytes: Vec<u8> = (0..2000_u32).map(|n| (n * 7) as u8).collect();
        for cut in [0, 1, 17, 255, 256, 1024, 1999, 2000] {
            let (head, tail) = bytes.split_at(cut);
            let mut sum = Crc64::new();
            sum.update(head);
            sum.update(tail);
            assert_eq!(sum.value(), crc64(&bytes), "cut at {cut}");
        }
    }
}
