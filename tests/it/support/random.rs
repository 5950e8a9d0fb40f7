//! A small seeded generator, so that a failing run can be played again.

/// What [`Random::text`] is made of.
const WORDS: [&str; 5] = ["ferry ", "harbour ", "tide ", "quay ", "rope "];

/// SplitMix64: one word of state, the same sequence on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// The seed of `KEYFERRY_TEST_SEED`, or a fixed one; printed, because a failure needs it.
    pub(crate) fn seed_of_this_run() -> u64 {
        let seed = std::env::var("KEYFERRY_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(20_260_117);
        eprintln!("KEYFERRY_TEST_SEED={seed}");
        seed
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Bytes of every value: they do not compress and are no text.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(len).collect()
    }

    /// Text with repetitions, which LZF compresses.
    pub(crate) fn text(&mut self, len: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            text.extend_from_slice(self.pick(&WORDS).as_bytes());
            if self.chance(8) {
                text.extend_from_slice(self.below(10_000).to_string().as_bytes());
            }
        }
        text.truncate(len);
        text
    }

    /// A double of any magnitude and full precision; never NaN, sometimes infinite or -0.
    pub(crate) fn score(&mut self) -> f64 {
        match self.below(12) {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => -0.0,
            3..=6 => self.below(1000) as f64,
            7 => self.next() as i64 as f64,
            8 => f64::MIN_POSITIVE * self.below(100) as f64,
            _ => {
                let score = f64::from_bits(self.next());
                if score.is_nan() { 0.1 } else { score }
            }
        }
    }
}
