//! HyperLogLogs: strings that count without keeping what they counted (redis 7.2 hyperloglog.c).
//!
//! ```text
//! "HYLL" | u8 encoding | 3 bytes, zero | 8 bytes cached count | registers
//!
//! encoding 0, dense:   16384 * 6 bits, the lowest bits of each byte first
//! encoding 1, sparse:  00nnnnnn            n + 1 registers of 0
//!                      01nnnnnn nnnnnnnn   n + 1 registers of 0
//!                      1vvvvvnn            n + 1 registers of v + 1
//! ```
//!
//! Reading one with PFCOUNT writes its cached count, and PFMERGE leaves a dense one on a primary where
//! a replica has a sparse one. The registers are all there is to it.

const HEADER_BYTES: usize = 16;
const REGISTERS: usize = 16384;
const DENSE_BYTES: usize = REGISTERS * 6 / 8;

/// Whether both are HyperLogLogs that have counted the same.
pub(super) fn same(source: &[u8], target: &[u8]) -> bool {
    let registers = |bytes| registers(bytes);
    source.get(5..8) == target.get(5..8)
        && matches!((registers(source), registers(target)), (Some(ours), Some(theirs)) if ours == theirs)
}

/// The registers; `None` for what is no HyperLogLog.
pub(in crate::verify) fn registers(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    match header {
        [b'H', b'Y', b'L', b'L', 0, ..] => dense(body),
        [b'H', b'Y', b'L', b'L', 1, ..] => sparse(body),
        _ => None,
    }
}

fn dense(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() != DENSE_BYTES {
        return None;
    }
    let (groups, _) = body.as_chunks();
    let registers = groups.iter().flat_map(|[low, mid, high]| {
        [
            low & 63,
            low >> 6 | mid << 2 & 63,
            mid >> 4 | high << 4 & 63,
            high >> 2,
        ]
    });
    Some(registers.collect())
}

fn sparse(body: &[u8]) -> Option<Vec<u8>> {
    let mut registers = Vec::with_capacity(REGISTERS);
    let mut body = body.iter().copied();
    while let Some(byte) = body.next() {
        let (value, count) = match byte {
            0..=0x3f => (0, usize::from(byte) + 1),
            0x40..=0x7f => (
                0,
                (usize::from(byte & 63) << 8 | usize::from(body.next()?)) + 1,
            ),
            0x80.. => ((byte >> 2 & 31) + 1, usize::from(byte & 3) + 1),
        };
        if registers.len() + count > REGISTERS {
            return None;
        }
        registers.resize(registers.len() + count, value);
    }
    (registers.len() == REGISTERS).then_some(registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hll(encoding: u8, cached: u8, body: &[u8]) -> Vec<u8> {
        [b"HYLL", &[encoding, 0, 0, 0][..], &[cached; 8], body].concat()
    }

    /// Register 0 is 1, register 5 is 32, register 16383 is 3; all others are 0.
    fn dense_one() -> Vec<u8> {
        let mut body = vec![0; DENSE_BYTES];
        body[0] = 1;
        // Register 5 begins with bit 30.
        body[4] = 32 >> 2;
        body[DENSE_BYTES - 1] = 3 << 2;
        body
    }

    /// 1 * 1, 4 * 0, 1 * 32, 16377 * 0, 1 * 3.
    const SPARSE_ONE: &[u8] = b"\x80\x03\xfc\x7f\xf8\x88";

    #[test]
    fn dense_and_sparse_say_the_same() {
        let sparse = hll(1, 7, SPARSE_ONE);
        let dense = hll(0, 9, &dense_one());
        assert!(same(&sparse, &dense) && same(&dense, &sparse));
        assert!(
            same(&sparse, &hll(1, 8, SPARSE_ONE)),
            "another cached count"
        );
        let in_pieces = hll(1, 7, b"\x80\x01\x01\xfc\x7f\xf7\x00\x88");
        assert!(same(&sparse, &in_pieces), "zeros in pieces");
    }

    #[test]
    fn registers_are_six_bits_each_from_the_lowest_on() {
        let body: Vec<u8> = (0..DENSE_BYTES).map(|n| (n * 7 + n / 256) as u8).collect();
        let bit = |at: usize| body[at / 8] >> (at % 8) & 1;
        let register = |n: usize| (0..6).map(|k| bit(6 * n + k) << k).sum::<u8>();
        let expected: Vec<u8> = (0..REGISTERS).map(register).collect();
        assert_eq!(dense(&body), Some(expected));
    }

    #[test]
    fn every_bit_counts() {
        let dense = hll(0, 0, &dense_one());
        for bit in (0..DENSE_BYTES * 8).step_by(997) {
            let mut other = dense.clone();
            other[HEADER_BYTES + bit / 8] ^= 1 << (bit % 8);
            assert!(!same(&dense, &other), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_hyperloglog_is_not_the_same() {
        let good = hll(1, 0, SPARSE_ONE);
        assert!(same(&good, &good));
        for (name, other) in [
            ("empty", Vec::new()),
            ("only a header", hll(1, 0, b"")),
            ("another magic", [b"HYLK", &good[4..]].concat()),
            ("another encoding", hll(2, 0, SPARSE_ONE)),
            ("reserved bytes", [&good[..5], b"\x01", &good[6..]].concat()),
            ("a register too few", hll(1, 0, b"\x7f\xfe")),
            ("a register too many", hll(1, 0, b"\x7f\xff\x00")),
            ("cut in an opcode", hll(1, 0, b"\x80\x03\xfc\x7f")),
            ("a dense byte too few", hll(0, 0, &[0; DENSE_BYTES - 1])),
        ] {
            assert!(!same(&good, &other), "{name}");
            assert!(
                registers(&other).is_none() || name == "reserved bytes",
                "{name}"
            );
        }
        assert!(
            same(&hll(1, 0, b"\x7f\xff"), &hll(0, 1, &[0; DENSE_BYTES])),
            "empty ones"
        );
    }
}
