//! SHA-256 (FIPS 180-4): the expectations hold long strings as digests.

/// The digest as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut state = first_bits(8, |prime| f64::from(prime).sqrt());
    let rounds = first_bits(64, |prime| f64::from(prime).cbrt());
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() < bytes.len() + 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let len_at = padded.len() - 8;
    padded[len_at..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        compress(&mut state, &rounds, block);
    }
    state.iter().map(|word| format!("{word:08x}")).collect()
}

/// The first 32 bits of the fractional parts of the roots of the first primes.
fn first_bits(count: usize, root: impl Fn(u32) -> f64) -> Vec<u32> {
    let is_prime = |n: &u32| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    let bits = |prime| (root(prime).fract() * 4_294_967_296.0) as u32;
    (2..).filter(is_prime).take(count).map(bits).collect()
}

fn compress(state: &mut [u32], rounds: &[u32], block: &[u8]) {
    let mut words: Vec<u32> = block
        .chunks(4)
        .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
        .collect();
    for t in 16..64 {
        let (a, b) = (words[t - 15], words[t - 2]);
        let a = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let b = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        words.push(
            words[t - 16]
                .wrapping_add(a)
                .wrapping_add(words[t - 7])
                .wrapping_add(b),
        );
    }
    let mut v: [u32; 8] = (*state).try_into().unwrap();
    for t in 0..64 {
        let [a, b, c, d, e, f, g, h] = v;
        let one = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let one = h.wrapping_add(one).wrapping_add((e & f) ^ (!e & g));
        let one = one.wrapping_add(rounds[t]).wrapping_add(words[t]);
        let two = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let two = two.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        v = [one.wrapping_add(two), a, b, c, d.wrapping_add(one), e, f, g];
    }
    state
        .iter_mut()
        .zip(v)
        .for_each(|(word, value)| *word = word.wrapping_add(value));
}

#[test]
fn gives_the_published_digests() {
    for (text, digest) in [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ] {
        assert_eq!(hex(text.as_bytes()), digest, "{text:?}");
    }
}
