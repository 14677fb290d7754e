//! Pseudo-random numbers from a seed that is printed, so that a failure can be repeated: SplitMix64.

/// A seeded generator.
pub struct Random(u64);

impl Random {
    /// From the environment variable `KAKUNIN_TEST_SEED`, or else from the clock. Prints the seed.
    #[allow(clippy::print_stdout)]
    pub fn seeded(test: &str) -> Random {
        let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("KAKUNIN_TEST_SEED").map_or_else(|_| clock(), |text| text.parse().expect("KAKUNIN_TEST_SEED is a number"));
        println!("{test}: KAKUNIN_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number() as u8).collect()
    }
}
